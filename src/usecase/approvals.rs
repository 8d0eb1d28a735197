//! Approving, rejecting, withdrawing, and what waits for whom.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    clock,
    domain::{
        approval::{Approval, NamedApproval, Pending, Said, pending},
        event::EventKind,
        idempotency::Answer,
        page::{self, Page, PageRequest, TimeKey, page},
        person::Person,
        release::Release,
        service::Service,
        text::Image,
        vocabulary::{Scope, Voice},
    },
    store::{
        approval::{self, AskedFor, AskedKey},
        db, environment, release, service,
    },
    usecase::{
        context::Ctx,
        error::Error,
        named::{self, Confined},
        work::{Render, Work},
    },
};

/// How long a release waits for approvals after the gate was last asked, before nobody is asked for them any more.
const PENDING_DAYS: i64 = 7;
/// How many waiting releases are looked at in one go.
const CHUNK: u64 = 200;
/// How often that is done for one page.
const CHUNKS: usize = 5;

/// A release and the environment it may go to, by their names.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    pub service: &'a str,
    pub version: &'a str,
    pub environment: &'a str,
}

/// What somebody's saying so came to.
#[derive(Clone, Debug)]
pub struct Given {
    /// What stands now.
    pub named: NamedApproval,
    /// Whether it stood before.
    pub new: bool,
}

/// Approves or rejects a release for an environment. A subject has one voice: what it said before is withdrawn, unless it
/// said and counted the same.
pub async fn give(
    ctx: &Ctx,
    about: About<'_>,
    said: &Said,
    render: Render<'_, Given>,
) -> Result<Answer, Error> {
    ctx.require(Scope::Approve)?;
    ctx.write(|work| async move { give_in(ctx, work, about, said, render).await }).await
}

async fn give_in(
    ctx: &Ctx,
    mut work: Work,
    about: About<'_>,
    said: &Said,
    render: Render<'_, Given>,
) -> Result<Answer, Error> {
    let (service, release) = lock_release(ctx, &work, about.service, about.version).await?;
    let found = environment::lock(work.conn(), about.environment).await?;
    let found = found.filter(|_| ctx.within().allows_environment(about.environment));
    let Some((environment, now)) = found else {
        return Err(named::no_environment(work.conn(), ctx.within(), about.environment).await);
    };
    not_archived(service.archived_at, "service", about.service)?;
    not_archived(environment.archived_at, "environment", about.environment)?;
    let image = release.identity.image.as_ref();
    if !said.saw.is_still(image, &release.platforms) {
        return Err(Error::Stale(other_image(about, image)));
    }
    let (mut before, reverted_at) = approval::standing(work.conn(), &release, environment.id).await?;
    let own = Person::of(&ctx.actor().subject);
    before.retain(|one| Person::of(&one.actor.subject) == own);
    let named = |approval: Approval| NamedApproval {
        approval,
        service: about.service.to_owned(),
        version: about.version.to_owned(),
        environment: about.environment.to_owned(),
    };
    let (rule, groups) = (&environment.policy.policy.approval, &ctx.principal.groups);
    if let [stands] = before.as_slice()
        && stands.covers(said, groups, rule, (image, reverted_at), now)
    {
        return work.answer(now, &Given { named: named(stands.clone()), new: false }, render).await;
    }
    let replaces = before.last().map(|before| before.id);
    for before in before.into_iter().map(named) {
        approval::withdraw(work.conn(), before.approval.id, now).await?;
        tell_withdrawn(&mut work, &before);
    }
    let made = named(Approval {
        id: clock::new_id(),
        release_id: release.id,
        environment_id: environment.id,
        voice: said.voice,
        comment: said.comment.clone(),
        groups: groups.clone(),
        actor: ctx.actor().clone(),
        created_at: now,
        withdrawn_at: None,
        image: image.cloned(),
    });
    approval::insert(work.conn(), &made.approval).await.map_err(Error::raced)?;
    let kind = match said.voice {
        Voice::Approved => EventKind::ApprovalApproved,
        Voice::Rejected => EventKind::ApprovalRejected,
    };
    let data = json!({
        "id": made.approval.id,
        "comment": said.comment,
        "groups": groups,
        "image": image,
        "replaces": replaces,
    });
    tell(&mut work, kind, data, &made);
    work.answer(now, &Given { named: made, new: true }, render).await
}

fn not_archived(archived_at: Option<DateTime<Utc>>, what: &str, name: &str) -> Result<(), Error> {
    if archived_at.is_some() {
        return Err(Error::archived(what, name, "nothing is approved for it"));
    }
    Ok(())
}

/// What to say to who looked at another image than the release has.
fn other_image(About { service, version, .. }: About<'_>, image: Option<&Image>) -> String {
    let now = image.map_or_else(|| "no image yet".to_owned(), |image| format!("the image {image}"));
    format!(
        "the release {service} {version} has {now}, which is not what you looked at; look at it, and say it again"
    )
}

/// Withdraws what the caller's subject has said. Withdrawing it again changes nothing.
pub async fn withdraw(ctx: &Ctx, service: &str, version: &str, id: Uuid) -> Result<(), Error> {
    ctx.require(Scope::Approve)?;
    ctx.write(|work| async move { withdraw_in(ctx, work, service, version, id).await }).await
}

async fn withdraw_in(ctx: &Ctx, mut work: Work, service: &str, version: &str, id: Uuid) -> Result<(), Error> {
    lock_release(ctx, &work, service, version).await?;
    let found = approval::find(work.conn(), ctx.within(), (service, version), id).await?;
    let named = found.ok_or_else(|| Error::not_found("approval", &id))?;
    let NamedApproval { approval: Approval { actor, .. }, environment: environment_name, .. } = &named;
    if Person::of(&actor.subject) != Person::of(&ctx.actor().subject) {
        return Err(Error::Forbidden(format!(
            "this is what {} said; one withdraws only what one has said oneself",
            actor.subject
        )));
    }
    let locked = environment::lock(work.conn(), environment_name).await?;
    let (_, now) = locked.ok_or_else(|| Error::not_found("environment", environment_name))?;
    if approval::withdraw(work.conn(), id, now).await? {
        tell_withdrawn(&mut work, &named);
    }
    work.commit(now, ()).await
}

/// Keeps the service, and with it the release's image, from being changed.
async fn lock_release(
    ctx: &Ctx,
    work: &Work,
    service: &str,
    version: &str,
) -> Result<(Service, Release), Error> {
    let found = service::share(work.conn(), ctx.within(), service).await?;
    let Some(found) = found else { return Err(named::no_service(work.conn(), ctx.within(), service).await) };
    match release::find(work.conn(), found.id, version).await? {
        Some(release) => Ok((found, release)),
        None => Err(named::no_release(work.conn(), &found, version).await),
    }
}

fn tell_withdrawn(work: &mut Work, named: &NamedApproval) {
    let data = json!({ "id": named.approval.id, "decision": named.approval.voice });
    tell(work, EventKind::ApprovalWithdrawn, data, named);
}

fn tell(work: &mut Work, kind: EventKind, data: Value, named: &NamedApproval) {
    work.tell(kind, data).service(&named.service).environment(&named.environment).version(&named.version);
}

/// Lists what people said about a release, newest first, for one environment or for all.
pub async fn list(
    ctx: &Ctx,
    service_name: &str,
    version: &str,
    environment: Option<&str>,
    request: &PageRequest<TimeKey>,
) -> Result<Page<NamedApproval>, Error> {
    ctx.require(Scope::Read)?;
    let (conn, within) = (ctx.app.db.read(), ctx.within());
    let (_, release) = named::release(ctx, service_name, version).await?;
    let rows = approval::list(conn, within, release.id, environment, request).await?;
    if rows.is_empty() {
        named::check(ctx, Confined { environment, ..Confined::default() }).await?;
    }
    Ok(page(rows, request.limit, |named| TimeKey { at: named.approval.created_at, id: named.approval.id }))
}

/// What a list of what waits is confined to.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    /// What the approvals of this group's members can count for.
    pub group: Option<String>,
    pub service: Option<String>,
    pub environment: Option<String>,
    /// The subject that would deploy; nobody in particular where it is not given.
    pub deployer: Option<String>,
}

/// Lists the releases that wait for approvals now, those that have waited for the shortest time first.
pub async fn waiting(
    ctx: &Ctx,
    only: &Waiting,
    request: &PageRequest<AskedKey>,
) -> Result<Page<Pending>, Error> {
    ctx.require(Scope::Read)?;
    let now = db::now(ctx.app.db.read()).await?;
    let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
    let (mut items, mut after) = (Vec::new(), request.after.clone());
    for _ in 0..CHUNKS {
        let chunk = PageRequest { limit: CHUNK, after };
        let (found, next) = waiting_in(ctx, only, &chunk, now).await?;
        items.extend(found);
        after = next;
        if items.len() > limit || after.is_none() {
            break;
        }
    }
    if items.len() > limit {
        return Ok(page(items, request.limit, |item| AskedKey::of(&item.asked)));
    }
    if items.is_empty() && after.is_none() {
        let (service, environment) = (only.service.as_deref(), only.environment.as_deref());
        named::check(ctx, Confined { service, environment, ..Confined::default() }).await?;
    }
    // Where many do not wait any more, a page is short, and the next one goes on behind what was looked at.
    Ok(Page { items, next: after.map(|key| page::encode(&key)) })
}

/// Those that wait among the next ones that did, and the last of these unless there are no more.
async fn waiting_in(
    ctx: &Ctx,
    only: &Waiting,
    request: &PageRequest<AskedKey>,
    now: DateTime<Utc>,
) -> Result<(Vec<Pending>, Option<AskedKey>), Error> {
    let conn = ctx.app.db.read();
    let asked_for = AskedFor {
        service: only.service.as_deref(),
        environment: only.environment.as_deref(),
        since: now - TimeDelta::days(PENDING_DAYS),
    };
    let mut asked = approval::asked(conn, ctx.within(), asked_for, request).await?;
    let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
    let more = asked.len() > limit;
    asked.truncate(limit);
    let last = asked.last().map(AskedKey::of).filter(|_| more);
    let releases: BTreeSet<Uuid> = asked.iter().map(|one| one.release_id).collect();
    if releases.is_empty() {
        return Ok((Vec::new(), last));
    }
    let said = approval::of_releases(conn, &releases).await?;
    let about =
        |one: &Approval, release, environment| one.release_id == release && one.environment_id == environment;
    let waiting = asked.into_iter().filter_map(|one| {
        let voices = said.iter().filter(|said| about(said, one.release_id, one.environment_id));
        let voices = voices.map(|said| said.fact(one.image.as_ref())).collect();
        pending(one, voices, only.deployer.as_deref(), now)
    });
    let of_group = |one: &Pending| only.group.as_deref().is_none_or(|group| one.asks(group));
    Ok((waiting.filter(of_group).collect(), last))
}
