//! Registering in passing: what a deployment names and the ledger does not know yet.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    clock,
    domain::{
        actor::Actor,
        environment::{Environment, EnvironmentSettings, default_rank, infer_tier},
        event::{EventKind, NewEvent},
        policy::InForce,
        release::{Gains, Identity, Release, ReleaseDescription, again},
        release_order::ordered_at,
        scope::Narrowing,
        service::{Service, ServiceDescription},
        text::{CommitSha, Image, Name, Version},
    },
    store::{
        db::{self, Tx},
        deployment, environment,
        release::{self, Before},
        service,
        target::{self, Locked},
    },
    usecase::{context::Ctx, error::Error},
};

/// A release as a caller describes it.
#[derive(Clone, Debug)]
pub struct GivenRelease {
    /// The commit it was built from.
    pub commit_sha: CommitSha,
    /// The image it was built into.
    pub image: Option<Image>,
    /// What is told about it.
    pub description: ReleaseDescription,
}

impl GivenRelease {
    /// The identity it has under a version.
    pub fn identity(&self, version: &Version) -> Identity {
        Identity { version: version.clone(), commit_sha: self.commit_sha.clone(), image: self.image.clone() }
    }
}

/// Locks the target, making it, its service and its environment first where the ledger does not know them and the
/// configuration lets a deployment register them. `registers` tells that a release may be registered, too. Fails when
/// the service or the environment is archived, or the environment only looks like production.
pub async fn lock_target(
    ctx: &Ctx,
    tx: &Tx,
    (service_name, environment_name): (&Name, &Name),
    registers: bool,
    events: &mut Vec<NewEvent>,
) -> Result<Locked, Error> {
    let (service, environment) = (service_name.as_str(), environment_name.as_str());
    let mut locked = target::lock(tx.conn(), service, environment, registers).await?;
    if locked.is_none() {
        make_target(ctx, tx, service_name, environment_name, events).await?;
        locked = target::lock(tx.conn(), service, environment, registers).await?;
    }
    let locked = locked.ok_or(Error::Raced)?;
    refuse_closed(&locked, service_name, environment_name)?;
    Ok(locked)
}

/// Fails when nothing may start in the target because its service or its environment is archived, or the environment only
/// looks like production.
pub fn refuse_closed(target: &Locked, service: &Name, environment: &Name) -> Result<(), Error> {
    refuse_archived(target, service.as_str(), environment.as_str())?;
    refuse_lookalike(&target.environment, target.other_production, "confirm")
}

/// Fails when the target's service or its environment is archived.
pub fn refuse_archived(target: &Locked, service: &str, environment: &str) -> Result<(), Error> {
    for (archived, what, name) in [
        (target.service_archived, "service", service),
        (target.environment.archived_at.is_some(), "environment", environment),
    ] {
        if archived {
            return Err(Error::Conflict(format!(
                "{what} {name} is archived; `PATCH` it with {{\"archived\": false}} to deploy again"
            )));
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

async fn make_target(
    ctx: &Ctx,
    tx: &Tx,
    service_name: &Name,
    environment_name: &Name,
    events: &mut Vec<NewEvent>,
) -> Result<(), Error> {
    let all = Narrowing::default();
    let now = db::now(tx.conn()).await?;
    // Locked as a whole right away: the new target's reference to it would hold a weaker lock, and two transactions that
    // both raise theirs wait for each other.
    let service_id = match service::lock(tx.conn(), service_name.as_str()).await? {
        Some((service, _)) => service.id,
        None => make_service(ctx, tx, service_name, now, events).await?,
    };
    let environment_id = match environment::find(tx.conn(), &all, environment_name.as_str()).await? {
        Some(environment) => environment.id,
        None => make_environment(ctx, tx, environment_name, now, events).await?,
    };
    Ok(target::ensure(tx.conn(), service_id, environment_id).await?)
}

fn unknown(what: &'static str, name: &Name) -> Error {
    Error::Conflict(format!(
        "{what} {name} is not registered, and ledger.auto_register is off; `POST /api/v1/{what}s` registers it"
    ))
}

/// Registers a service in passing, where the configuration lets a request do that, and gives its id.
pub async fn make_service(
    ctx: &Ctx,
    tx: &Tx,
    name: &Name,
    now: DateTime<Utc>,
    events: &mut Vec<NewEvent>,
) -> Result<Uuid, Error> {
    if !ctx.app.config.ledger.auto_register {
        return Err(unknown("service", name));
    }
    let description = ServiceDescription::default();
    let made = new_service(name.clone(), description, now);
    service::insert(tx.conn(), &made).await.map_err(Error::raced)?;
    events.push(
        NewEvent::new(EventKind::ServiceCreated, ctx.actor(), json!({ "auto_registered": true }))
            .service(name),
    );
    Ok(made.id)
}

async fn make_environment(
    ctx: &Ctx,
    tx: &Tx,
    name: &Name,
    now: DateTime<Utc>,
    events: &mut Vec<NewEvent>,
) -> Result<Uuid, Error> {
    if !ctx.app.config.ledger.auto_register {
        return Err(unknown("environment", name));
    }
    let tier = infer_tier(name.as_str());
    let settings = EnvironmentSettings { tier, rank: default_rank(tier), url: None };
    let data = json!({ "auto_registered": true, "settings": settings });
    let made = new_environment(name.clone(), settings, true, now);
    let another_is_kept = environment::other_production_is_kept(tx.conn(), name.as_str()).await?;
    refuse_lookalike(&made, another_is_kept, "create")?;
    environment::insert(tx.conn(), &made).await.map_err(Error::raced)?;
    events.push(NewEvent::new(EventKind::EnvironmentCreated, ctx.actor(), data).environment(name));
    Ok(made.id)
}

/// A service that is registered now.
pub fn new_service(name: Name, description: ServiceDescription, now: DateTime<Utc>) -> Service {
    let id = clock::new_id();
    Service { id, name, description, revision: 1, created_at: now, updated_at: now, archived_at: None }
}

/// An environment that is registered now.
pub fn new_environment(
    name: Name,
    settings: EnvironmentSettings,
    unconfirmed: bool,
    now: DateTime<Utc>,
) -> Environment {
    let id = clock::new_id();
    Environment {
        id,
        name,
        settings,
        unconfirmed,
        policy: InForce::default(),
        lockdown: None,
        freezes: None,
        revision: 1,
        created_at: now,
        updated_at: now,
        archived_at: None,
    }
}

/// What registering a release came to.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The release as it is on record now.
    pub release: Release,
    /// Whether it was not on record before.
    pub new: bool,
    /// The fields whose new values were ignored.
    pub ignored: Vec<&'static str>,
}

/// Where a release is to be registered.
#[derive(Clone, Copy, Debug)]
pub struct Slot<'a> {
    /// The service.
    pub service_id: Uuid,
    /// Its name.
    pub service: &'a Name,
    /// The version.
    pub version: &'a Version,
    /// What it comes after if it is registered now.
    pub before: &'a Before,
    /// The moment.
    pub now: DateTime<Utc>,
    /// Whether a release that is not on record may be put there.
    pub may_register: bool,
}

/// Registers a release that is not on record; on record already, it is compared with what is given.
pub async fn release(
    ctx: &Ctx,
    tx: &Tx,
    slot: Slot<'_>,
    known: Option<Release>,
    given: Option<&GivenRelease>,
    events: &mut Vec<NewEvent>,
) -> Result<Registered, Error> {
    match (known, given) {
        (None, None) => Err(Error::invalid(
            "/release",
            "required",
            format!(
                "version {} of {} is not registered; give `release` with its commit_sha, or register it first",
                slot.version, slot.service
            ),
        )),
        (Some(release), None) => Ok(Registered { release, new: false, ignored: Vec::new() }),
        (Some(release), Some(given)) => compare(ctx, tx, slot, release, given, events).await,
        (None, Some(given)) if slot.may_register => insert(ctx, tx, slot, given, events).await,
        (None, Some(_)) => Err(Error::Conflict(format!(
            "version {} of {} is not registered, and ledger.auto_register is off; \
             `POST /api/v1/services/{}/releases` registers it",
            slot.version, slot.service, slot.service
        ))),
    }
}

async fn insert(
    ctx: &Ctx,
    tx: &Tx,
    slot: Slot<'_>,
    given: &GivenRelease,
    events: &mut Vec<NewEvent>,
) -> Result<Registered, Error> {
    let (identity, before) = (given.identity(slot.version), slot.before);
    let ordered_at = ordered_at(&identity.commit_sha, &given.description, slot.now, &before.neighbours);
    let made = Release {
        id: clock::new_id(),
        service_id: slot.service_id,
        number: before.last_number + 1,
        ordered_at,
        place: release::make_room(tx.conn(), slot.service_id, ordered_at, before).await?,
        identity,
        description: given.description.clone(),
        actor: ctx.actor().clone(),
        created_at: slot.now,
        image_added_by: None,
        locations: Vec::new(),
    };
    release::insert(tx.conn(), &made).await.map_err(Error::raced)?;
    let initiated_by = &made.description.initiated_by;
    let data = json!({
        "identity": made.identity,
        "number": made.number,
        "ordered_at": made.ordered_at,
        "initiated_by": initiated_by,
    });
    events.push(
        NewEvent::new(EventKind::ReleaseRegistered, ctx.actor(), data)
            .service(slot.service)
            .version(slot.version),
    );
    Ok(Registered { release: made, new: true, ignored: Vec::new() })
}

async fn compare(
    ctx: &Ctx,
    tx: &Tx,
    slot: Slot<'_>,
    mut known: Release,
    given: &GivenRelease,
    events: &mut Vec<NewEvent>,
) -> Result<Registered, Error> {
    let identity = given.identity(slot.version);
    let gains_image = known.identity.image.is_none() && identity.image.is_some();
    let used = gains_image && release::is_used(tx.conn(), &known).await?;
    let gains = again(&known, &identity, used).map_err(|fault| Error::Conflict(fault.detail))?;
    if gains != Gains::default() {
        for (kind, data) in take(&mut known, gains, ctx.actor()) {
            let event = NewEvent::new(kind, ctx.actor(), data);
            events.push(event.service(slot.service).version(slot.version));
        }
        release::update(tx.conn(), &known).await?;
    }
    let ignored = known.description.ignored(&given.description);
    Ok(Registered { release: known, new: false, ignored })
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
        release.identity.commit_sha = commit_sha;
    }
    if let Some(location) = gains.location {
        release.locations.push(location);
        events.push((EventKind::ReleaseLocated, json!({ "locations": release.locations })));
    }
    events
}

/// Fails when the deployment whose damage is repaired is none of the service's.
pub async fn check_remediates(ctx: &Ctx, tx: &Tx, id: Option<Uuid>, service: &Name) -> Result<(), Error> {
    let Some(id) = id else { return Ok(()) };
    let damaged = deployment::find(tx.conn(), ctx.within(), id).await?;
    if damaged.is_some_and(|damaged| damaged.service == service.as_str()) {
        return Ok(());
    }
    Err(Error::invalid("/remediates", "unknown", format!("must be the id of a deployment of {service}")))
}
