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
    usecase::{context::Ctx, error::Error, named, work::Work},
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

/// Stops an environment: from its commit on, nothing but an override starts there. When it is stopped already, another
/// reason takes the place of the one before.
pub async fn place(ctx: &Ctx, name: &str, reason: &str) -> Result<Placed, Error> {
    ctx.require_one_of(&[Scope::Freeze, Scope::Override])?;
    ctx.require_all_services()?;
    ctx.write(|work| async move { place_in(ctx, work, name, reason).await }).await
}

async fn place_in(ctx: &Ctx, mut work: Work, name: &str, reason: &str) -> Result<Placed, Error> {
    let (mut environment, now) = lock(ctx, &work, name).await?;
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
pub async fn lift(ctx: &Ctx, name: &str) -> Result<(), Error> {
    ctx.require_one_of(&[Scope::Freeze, Scope::Override])?;
    ctx.require_all_services()?;
    ctx.write(|work| async move { lift_in(ctx, work, name).await }).await
}

async fn lift_in(ctx: &Ctx, mut work: Work, name: &str) -> Result<(), Error> {
    let (mut environment, now) = lock(ctx, &work, name).await?;
    let Some(Lockdown { reason, since, .. }) = environment.lockdown.take() else { return Ok(()) };
    environment::update(work.conn(), &environment).await?;
    let data = json!({ "reason": reason, "since": since });
    work.tell(EventKind::LockdownLifted, data).environment(name);
    work.commit(now, ()).await
}

async fn lock(ctx: &Ctx, work: &Work, name: &str) -> Result<(Environment, DateTime<Utc>), Error> {
    let found = environment::lock(work.conn(), name).await?.filter(|_| ctx.within().allows_environment(name));
    match found {
        Some(found) => Ok(found),
        None => Err(named::no_environment(work.conn(), ctx.within(), name).await),
    }
}
