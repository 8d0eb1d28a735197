//! The emergency stop of an environment: placing and lifting it.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::{
    domain::{
        deployment::NamedDeployment,
        environment::{Environment, Lockdown},
        event::EventKind,
        vocabulary::Scope,
    },
    store::{deployment, environment},
    usecase::{
        context::{Ctx, require_whole},
        error::Error,
        named,
        work::Work,
    },
};

/// How many of the deployments that go on are named.
const RUNNING_MAX: i64 = 200;

/// A lockdown just placed.
#[derive(Clone, Debug)]
pub struct Placed {
    pub lockdown: Lockdown,
    /// The deployments that go on in spite of it, newest first, at most 200.
    pub running: Vec<NamedDeployment>,
}

/// What the caller knows of the lockdown that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saw<'a> {
    /// They do not tell; whatever there is, is meant.
    Untold,
    /// The reason that it had; empty where there was none.
    Reason(&'a str),
}

/// Stops an environment: from its commit on, nothing but an override starts there. When it is stopped already, another
/// reason takes the place of the one before.
pub async fn place(ctx: &Ctx, name: &str, reason: &str, saw: Saw<'_>) -> Result<Placed, Error> {
    require(ctx, name).await?;
    ctx.write(|work| async move { place_in(ctx, work, name, reason, saw).await }).await
}

async fn place_in(
    ctx: &Ctx,
    mut work: Work,
    name: &str,
    reason: &str,
    saw: Saw<'_>,
) -> Result<Placed, Error> {
    let (mut environment, now) = lock(ctx, &work, name).await?;
    require_same(&environment, saw)?;
    if environment.archived_at.is_some() {
        return Err(Error::archived("environment", name, "nothing starts there anyway"));
    }
    let running = deployment::running_in(work.conn(), environment.id, RUNNING_MAX).await?;
    let before = environment.lockdown.take();
    if let Some(lockdown) = before.clone().filter(|before| before.reason == reason) {
        return Ok(Placed { lockdown, running });
    }
    let since = before.as_ref().map_or(now, |before| before.since);
    let lockdown = Lockdown { reason: reason.to_owned(), actor: ctx.actor().clone(), since };
    environment.lockdown = Some(lockdown.clone());
    environment::update(work.conn(), &environment).await?;
    let data = json!({
        "reason": reason,
        "before": before.map(|before| before.reason),
        "running": running.iter().map(|named| named.deployment.id).collect::<Vec<_>>(),
    });
    work.tell(EventKind::LockdownPlaced, data).environment(name);
    work.commit(now, Placed { lockdown, running }).await
}

/// Lifts the lockdown of an environment, if it has one.
pub async fn lift(ctx: &Ctx, name: &str, saw: Saw<'_>) -> Result<(), Error> {
    require(ctx, name).await?;
    ctx.write(|work| async move { lift_in(ctx, work, name, saw).await }).await
}

/// Fails when the caller may lock the environment down with neither scope.
async fn require(ctx: &Ctx, name: &str) -> Result<(), Error> {
    let mut reaches = ctx.reaches(&[Scope::Freeze, Scope::Override])?;
    reaches.retain(|reach| reach.services.is_none());
    require_whole(!reaches.is_empty(), "services")?;
    if reaches.iter().any(|reach| reach.allows_environment(name)) {
        return Ok(());
    }
    Err(named::no_environment(ctx.app.db.read(), ctx.within(), name).await)
}

/// Fails where the lockdown is not the one that the caller looked at.
fn require_same(environment: &Environment, saw: Saw<'_>) -> Result<(), Error> {
    let now = environment.lockdown.as_ref().map(|lockdown| lockdown.reason.as_str());
    // Forms break lines otherwise than it was written.
    let is_same = |seen: &str| seen.split_whitespace().eq(now.unwrap_or_default().split_whitespace());
    match saw {
        Saw::Reason(seen) if !is_same(seen) => Err(Error::Stale(match now {
            Some(reason) => format!("{} was locked down meanwhile: {reason}", environment.name),
            None => format!("the lockdown of {} was lifted meanwhile", environment.name),
        })),
        Saw::Untold | Saw::Reason(_) => Ok(()),
    }
}

async fn lift_in(ctx: &Ctx, mut work: Work, name: &str, saw: Saw<'_>) -> Result<(), Error> {
    let (mut environment, now) = lock(ctx, &work, name).await?;
    require_same(&environment, saw)?;
    let Some(Lockdown { reason, since, .. }) = environment.lockdown.take() else { return Ok(()) };
    environment::update(work.conn(), &environment).await?;
    let data = json!({ "reason": reason, "since": since });
    work.tell(EventKind::LockdownLifted, data).environment(name);
    work.commit(now, ()).await
}

async fn lock(ctx: &Ctx, work: &Work, name: &str) -> Result<(Environment, DateTime<Utc>), Error> {
    match environment::lock(work.conn(), name).await? {
        Some(found) => Ok(found),
        None => Err(named::no_environment(work.conn(), ctx.within(), name).await),
    }
}
