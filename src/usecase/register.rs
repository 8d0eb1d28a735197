//! Registering in passing: what a deployment names and the ledger does not know yet.

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    clock,
    domain::{
        actor::Actor,
        deployment::{Deployment, NamedDeployment},
        environment::{Environment, EnvironmentSettings},
        event::EventKind,
        platform::Platform,
        release::{Gains, Identity, Release, ReleaseDescription, again},
        release_order::ordered_at,
        scope::Narrowing,
        service::{Service, ServiceDescription},
        text::{CommitSha, Image, Name, Version},
        vocabulary::{Kind, Scope},
    },
    store::{
        deployment, environment,
        error::StoreError,
        release::{self, Before},
        service,
        target::{self, LockedTarget},
    },
    usecase::{context::Ctx, error::Error, named, work::Work},
};

/// A release as a caller describes it.
#[derive(Clone, Debug)]
pub struct GivenRelease {
    /// The commit it was built from; none where the image alone is known.
    pub commit_sha: Option<CommitSha>,
    /// The image it was built into.
    pub image: Option<Image>,
    /// The platforms of that.
    pub platforms: Vec<Platform>,
    /// What is told about it.
    pub description: ReleaseDescription,
}

impl GivenRelease {
    /// As the caller may say: who set it off is not for a pipeline to say.
    #[must_use]
    pub fn by(mut self, ctx: &Ctx) -> Self {
        self.description.initiated_by = ctx.initiator(self.description.initiated_by.take());
        self
    }

    /// The identity it has under a version.
    pub fn identity(&self, version: &Version) -> Identity {
        Identity { version: version.clone(), commit_sha: self.commit_sha.clone(), image: self.image.clone() }
    }
}

/// A release and the target that it goes to, by their names.
#[derive(Clone, Debug)]
pub struct Placement {
    pub service: Name,
    pub environment: Name,
    /// None where it is whatever runs there that is to be removed.
    pub version: Option<Version>,
    /// The release, for when it is not on record yet.
    pub release: Option<GivenRelease>,
}

impl Placement {
    /// As the caller may say it.
    #[must_use]
    pub fn by(self, ctx: &Ctx) -> Self {
        Self { release: self.release.map(|given| given.by(ctx)), ..self }
    }

    /// Fails when the caller has none of the scopes there.
    pub fn require(&self, ctx: &Ctx, scopes: &[Scope]) -> Result<(), Error> {
        ctx.require_at(scopes, &self.service, &self.environment)
    }

    /// The identity that the release of this version has, as far as it is given.
    pub fn identity(&self, version: &Version) -> Option<Identity> {
        self.release.as_ref().map(|given| given.identity(version))
    }

    /// A deployment of it.
    pub fn named(&self, deployment: Deployment, release: Identity) -> NamedDeployment {
        let (service, environment) = (self.service.to_string(), self.environment.to_string());
        NamedDeployment { deployment, service, environment, release }
    }
}

/// Locks the target, making it, its service and its environment first where the ledger does not know them and the
/// configuration lets a deployment register them. Fails where nothing may start ([`refuse_closed`]); an environment that
/// comes back is still archived.
pub async fn lock_target(ctx: &Ctx, work: &mut Work, place: &Placement) -> Result<LockedTarget, Error> {
    let (service, environment) = (place.service.as_str(), place.environment.as_str());
    let registers = place.release.is_some();
    let mut locked = target::lock(work.conn(), service, environment, registers).await?;
    if locked.is_none() {
        make_target(ctx, work, place).await?;
        locked = target::lock(work.conn(), service, environment, registers).await?;
    }
    let locked = locked.ok_or(Error::Raced)?;
    refuse_closed(&locked, &place.service, &place.environment)?;
    Ok(locked)
}

/// So often an environment is revived for one deployment, while others archive it again.
const REVIVALS: u32 = 5;

/// Does a piece of work that deploys; where it finds the environment archived and one that comes back, that is revived
/// first, whether or not the gate then lets the deployment in. In a transaction of its own: what deploys shares the
/// environment's row with others, and two that both wanted it alone would wait for each other.
pub async fn reviving<T, W, F>(ctx: &Ctx, environment: &Name, work: W) -> Result<T, Error>
where
    W: Fn(Work) -> F,
    F: Future<Output = Result<T, Error>>,
{
    for _ in 0..REVIVALS {
        match ctx.write(&work).await {
            Err(Error::Dormant) => ctx.write(|work| revive(work, environment)).await?,
            outcome => return outcome,
        }
    }
    ctx.write(&work).await
}

/// Fails where a deployment of this kind has to revive the environment first ([`reviving`]). Nobody needs an environment
/// back to take something out of it.
pub fn refuse_dormant(environment: &Environment, kind: Kind) -> Result<(), Error> {
    if kind.ships() && environment.comes_back() { Err(Error::Dormant) } else { Ok(()) }
}

async fn revive(mut work: Work, name: &Name) -> Result<(), Error> {
    let found = environment::lock_with_dependents(work.conn(), name.as_str()).await?;
    let Some((mut environment, now)) = found.filter(|(found, _)| found.comes_back()) else {
        return Ok(());
    };
    environment.archived_at = None;
    environment.revision += 1;
    environment.updated_at = now;
    environment::update(work.conn(), &environment).await?;
    let data = json!({ "auto_revived": true });
    work.tell(EventKind::EnvironmentRevived, data).environment(name);
    work.commit(now, ()).await
}

/// Locks the target of a removal, which registers nothing: what is not on record runs nowhere.
pub async fn lock_known_target(ctx: &Ctx, work: &Work, place: &Placement) -> Result<LockedTarget, Error> {
    let (service, environment) = (place.service.as_str(), place.environment.as_str());
    let Some(locked) = target::lock(work.conn(), service, environment, false).await? else {
        let unknown = unknown(ctx, work.conn(), service, environment).await?;
        return Err(unknown.unwrap_or_else(|| nothing_runs(service, environment)));
    };
    refuse_closed(&locked, &place.service, &place.environment)?;
    Ok(locked)
}

/// What of a target the caller does not see: its service, its environment, or neither.
pub async fn unknown(
    ctx: &Ctx,
    conn: &impl ConnectionTrait,
    service: &str,
    environment: &str,
) -> Result<Option<Error>, Error> {
    let within = ctx.within();
    if service::find(conn, within, service).await?.is_none() {
        return Ok(Some(named::no_service(conn, within, service).await));
    }
    if environment::find(conn, within, environment).await?.is_none() {
        return Ok(Some(named::no_environment(conn, within, environment).await));
    }
    Ok(None)
}

fn nothing_runs(service: &str, environment: &str) -> Error {
    Error::Conflict(format!(
        "there is nothing to remove: {service} does not run in {environment}; \
         `waybill status --service {service}` shows where it runs"
    ))
}

/// The version that is meant: the one that is named; of a removal that of the release which is `there`.
pub async fn meant(
    conn: &impl ConnectionTrait,
    (kind, there): (Kind, Option<Uuid>),
    (service, environment): (&Name, &Name),
    named: Option<&Version>,
) -> Result<Version, Error> {
    if kind.ships() {
        let missing = || {
            Error::invalid("/version", "required", "must name the version; only a removal may leave it out")
        };
        return named.cloned().ok_or_else(missing);
    }
    let there = there.ok_or_else(|| nothing_runs(service.as_str(), environment.as_str()))?;
    let there = release::get(conn, there).await?.ok_or(StoreError::Corrupt("release"))?.identity.version;
    if let Some(named) = named.filter(|named| **named != there) {
        return Err(Error::Conflict(format!(
            "{there} of {service} runs in {environment}, and not {named}; to remove whatever runs there, leave the version out"
        )));
    }
    Ok(there)
}

/// Fails when nothing may start in the target because its service is archived, or its environment is and does not come back,
/// or the environment only looks like production.
pub fn refuse_closed(target: &LockedTarget, service: &Name, environment: &Name) -> Result<(), Error> {
    if target.service_archived || !target.environment.comes_back() {
        refuse_archived(target, service.as_str(), environment.as_str())?;
    }
    refuse_lookalike(&target.environment, target.other_production, "confirm")
}

/// Fails when the target's service or its environment is archived.
pub fn refuse_archived(target: &LockedTarget, service: &str, environment: &str) -> Result<(), Error> {
    for (archived, what, name) in [
        (target.service_archived, "service", service),
        (target.environment.archived_at.is_some(), "environment", environment),
    ] {
        if archived {
            return Err(Error::archived(what, name, "nothing is deployed there or removed"));
        }
    }
    Ok(())
}

fn refuse_lookalike(environment: &Environment, another_is_kept: bool, remedy: &str) -> Result<(), Error> {
    if !environment.only_looks_like_production(another_is_kept) {
        return Ok(());
    }
    let name = &environment.name;
    Err(Error::Conflict(format!(
        "environment {name} looks like production and nobody has confirmed it, while there is a production that somebody \
         keeps; if it is meant, an admin runs `waybill environment {remedy} {name}`"
    )))
}

async fn make_target(ctx: &Ctx, work: &mut Work, place: &Placement) -> Result<(), Error> {
    let now = work.now().await?;
    // Locked as a whole right away: the new target's reference to it would hold a weaker lock, and two transactions that
    // both raise theirs wait for each other.
    let service_id = match service::lock(work.conn(), place.service.as_str()).await? {
        Some((service, _)) => service.id,
        None => make_service(ctx, work, &place.service, now).await?,
    };
    let all = Narrowing::default();
    let environment_id = match environment::find(work.conn(), &all, place.environment.as_str()).await? {
        Some(environment) => environment.id,
        None => make_environment(ctx, work, &place.environment, now).await?,
    };
    Ok(target::ensure(work.conn(), service_id, environment_id).await?)
}

fn require_auto_register(ctx: &Ctx, what: &'static str, name: &Name) -> Result<(), Error> {
    if ctx.app.config.ledger.auto_register {
        return Ok(());
    }
    Err(Error::Conflict(format!(
        "{what} {name} is not registered, and ledger.auto_register is off; `POST /api/v1/{what}s` registers it"
    )))
}

/// Registers a service in passing, where the configuration lets a request do that, and gives its id.
pub async fn make_service(
    ctx: &Ctx,
    work: &mut Work,
    name: &Name,
    now: DateTime<Utc>,
) -> Result<Uuid, Error> {
    require_auto_register(ctx, "service", name)?;
    let made = Service::new(clock::new_id(), name.clone(), ServiceDescription::default(), now);
    service::insert(work.conn(), &made).await.map_err(Error::raced)?;
    work.tell(EventKind::ServiceCreated, json!({ "auto_registered": true })).service(name);
    Ok(made.id)
}

async fn make_environment(
    ctx: &Ctx,
    work: &mut Work,
    name: &Name,
    now: DateTime<Utc>,
) -> Result<Uuid, Error> {
    require_auto_register(ctx, "environment", name)?;
    let settings = EnvironmentSettings::of(name, None, None, None);
    let made = Environment::new(clock::new_id(), name.clone(), settings, true, now);
    let another_is_kept = environment::other_production_is_kept(work.conn(), name.as_str()).await?;
    refuse_lookalike(&made, another_is_kept, "create")?;
    environment::insert(work.conn(), &made).await.map_err(Error::raced)?;
    let data = json!({ "auto_registered": true, "settings": made.settings });
    work.tell(EventKind::EnvironmentCreated, data).environment(name);
    Ok(made.id)
}

/// What registering a release came to.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The release as it is on record now.
    pub release: Release,
    /// Whether it was not on record before.
    pub new: bool,
    /// The fields that were ignored because others are on record.
    pub otherwise: Vec<&'static str>,
}

/// Where a release is to be registered.
#[derive(Clone, Copy, Debug)]
pub struct Slot<'a> {
    pub service_id: Uuid,
    pub service: &'a Name,
    pub version: &'a Version,
    /// What it comes after if it is registered now.
    pub before: &'a Before,
    pub now: DateTime<Utc>,
    /// The commit that the caller's ID token names, if it does: nothing is registered as any other's.
    pub commit: Option<&'a str>,
    /// Whether a release that is not on record may be put there.
    pub may_register: bool,
}

/// Registers a release that is not on record; on record already, it is compared with what is given.
pub async fn release(
    work: &mut Work,
    slot: Slot<'_>,
    known: Option<Release>,
    given: Option<&GivenRelease>,
) -> Result<Registered, Error> {
    if let (None, Some(twin)) = (&known, &slot.before.twin) {
        let detail = format!(
            "{} of {} is not registered, and {twin} is, which differs only by its `v`; use that: people would take the two for \
             one release",
            slot.version, slot.service
        );
        return Err(Error::invalid("/version", "spelled-otherwise", detail));
    }
    match (known, given) {
        (None, None) => Err(Error::invalid(
            "/release",
            "required",
            format!(
                "version {} of {} is not registered; give `release` with its commit_sha or image, or register it first",
                slot.version, slot.service
            ),
        )),
        (Some(release), None) => Ok(Registered { release, new: false, otherwise: Vec::new() }),
        (Some(release), Some(given)) => compare(work, slot, release, given).await,
        (None, Some(given)) if slot.may_register => insert(work, slot, given).await,
        (None, Some(_)) => Err(Error::Conflict(format!(
            "version {} of {} is not registered, and ledger.auto_register is off; \
             `POST /api/v1/services/{}/releases` registers it",
            slot.version, slot.service, slot.service
        ))),
    }
}

/// Fails when a release would be registered as of another commit than the one that the caller's ID token names. They are
/// compared in full: what is cut short could be another's.
fn refuse_other_commit(slot: Slot<'_>, given: Option<&CommitSha>) -> Result<(), Error> {
    match (slot.commit, given) {
        (Some(vouched), Some(given)) if given.as_str() != vouched => Err(Error::Untrusted(format!(
            "the ID token is for commit {vouched}, and {} of {} would be registered with commit {given}; register it in the \
             pipeline of that commit, with all of its digits",
            slot.version, slot.service
        ))),
        _ => Ok(()),
    }
}

async fn insert(work: &mut Work, slot: Slot<'_>, given: &GivenRelease) -> Result<Registered, Error> {
    refuse_other_commit(slot, given.commit_sha.as_ref())?;
    let (identity, before) = (given.identity(slot.version), slot.before);
    let ordered_at =
        ordered_at(identity.commit_sha.as_ref(), &given.description, slot.now, &before.neighbours);
    let made = Release {
        id: clock::new_id(),
        service_id: slot.service_id,
        number: before.last_number + 1,
        ordered_at,
        place: release::make_room(work.conn(), slot.service_id, ordered_at, before).await?,
        identity,
        description: given.description.clone(),
        actor: work.actor().clone(),
        created_at: slot.now,
        image_added_by: None,
        locations: Vec::new(),
        platforms: given.platforms.clone(),
    };
    release::insert(work.conn(), &made).await.map_err(Error::raced)?;
    let data = json!({
        "identity": made.identity,
        "number": made.number,
        "ordered_at": made.ordered_at,
        "initiated_by": made.description.initiated_by,
        "platforms": made.platforms,
    });
    work.tell(EventKind::ReleaseRegistered, data).service(slot.service).version(slot.version);
    Ok(Registered { release: made, new: true, otherwise: Vec::new() })
}

async fn compare(
    work: &mut Work,
    slot: Slot<'_>,
    mut known: Release,
    given: &GivenRelease,
) -> Result<Registered, Error> {
    let identity = given.identity(slot.version);
    let gains_image = known.identity.image.is_none() && identity.image.is_some();
    let used = gains_image && release::is_used(work.conn(), &known).await?;
    let gains =
        again(&known, &identity, &given.platforms, used).map_err(|fault| Error::Conflict(fault.detail))?;
    if gains != Gains::default() {
        if gains.commit_sha.is_some() || gains.image.is_some() {
            refuse_other_commit(slot, given.commit_sha.as_ref())?;
        }
        for (kind, data) in take(&mut known, gains, work.actor()) {
            work.tell(kind, data).service(slot.service).version(slot.version);
        }
        release::update(work.conn(), &known).await?;
    }
    let otherwise = known.description.otherwise(&given.description);
    Ok(Registered { release: known, new: false, otherwise })
}

/// Gives a release what it gains, and tells each as an event.
fn take(release: &mut Release, gains: Gains, actor: &Actor) -> Vec<(EventKind, Value)> {
    let mut events = Vec::new();
    if let Some(image) = gains.image {
        events.push((EventKind::ReleaseImageAdded, json!({ "image": image })));
        release.identity.image = Some(image);
        release.image_added_by = Some(actor.subject.clone());
    }
    if let Some(commit_sha) = gains.commit_sha {
        events.push((EventKind::ReleaseCommitCompleted, json!({ "commit_sha": commit_sha })));
        release.identity.commit_sha = Some(commit_sha);
    }
    if let Some(location) = gains.location {
        release.locations.push(location);
        events.push((EventKind::ReleaseLocated, json!({ "locations": release.locations })));
    }
    if let Some(platforms) = gains.platforms {
        release.platforms = platforms;
        events.push((EventKind::ReleasePlatformsAdded, json!({ "platforms": release.platforms })));
    }
    events
}

/// Fails when the deployment whose damage is repaired is none of the service's.
pub async fn check_remediates(ctx: &Ctx, work: &Work, id: Option<Uuid>, service: &Name) -> Result<(), Error> {
    let Some(id) = id else { return Ok(()) };
    let damaged = deployment::find(work.conn(), ctx.within(), id).await?;
    if damaged.is_some_and(|damaged| damaged.service == service.as_str()) {
        return Ok(());
    }
    Err(Error::invalid("/remediates", "unknown", format!("must be the id of a deployment of {service}")))
}
