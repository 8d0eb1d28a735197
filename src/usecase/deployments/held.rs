//! A deployment that is held: its row and its target's are locked, so that it can be moved on. What a move comes to is
//! written down and told of here, whatever moved it.

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use crate::{
    domain::{
        actor::Actor,
        deployment::{End, NamedDeployment},
        event::EventKind,
        moment::is_ahead,
        scope::Narrowing,
    },
    store::{
        deployment::{self, LockedDeployment},
        target,
    },
    usecase::{app::App, context::Ctx, error::Error, work::Work},
};

/// Holds the deployment of this id, if the caller may see it.
pub async fn hold(ctx: &Ctx, work: &Work, id: Uuid) -> Result<LockedDeployment, Error> {
    let locked = deployment::lock(work.conn(), id, ctx.within()).await?;
    let locked = locked.ok_or_else(|| Error::not_found("deployment", &id))?;
    ctx.require_started(&locked.named.deployment)?;
    Ok(locked)
}

/// What there is to say of a deployment whose lease may have run out.
pub enum Lease {
    /// It has just run out.
    RanOut(LockedDeployment, End),
    /// It runs.
    Runs(LockedDeployment),
}

/// Lets the deployment end if its lease has run out. None if there is no such deployment.
pub async fn expire(work: &mut Work, id: Uuid) -> Result<Option<Lease>, Error> {
    let locked = deployment::lock(work.conn(), id, &Narrowing::default()).await?;
    let Some(mut held) = locked else { return Ok(None) };
    let Some(end) = held.named.deployment.expire(&mut held.target, held.now) else {
        return Ok(Some(Lease::Runs(held)));
    };
    write_end(work, &held, &end, Actor::server()).await?;
    Ok(Some(Lease::RanOut(held, end)))
}

/// Writes down that it has ended, and tells of it.
pub async fn write_end(work: &mut Work, held: &LockedDeployment, end: &End, by: Actor) -> Result<(), Error> {
    let LockedDeployment { named, target, now } = held;
    warn_if_ahead(named, end.at, *now);
    deployment::end(work.conn(), &named.deployment, end.superseded).await?;
    target::save(work.conn(), target).await?;
    // What ends in passing ends a little before its event is written.
    let data = json!({
        "message": end.message,
        "superseded": end.superseded,
        "preempted": named.deployment.standing.preempted,
        "finished_at": end.at,
    });
    work.tell_as(by, EventKind::DeploymentEnded(named.deployment.status), data).deployment(named);
    Ok(())
}

/// Says in the log that a target's history is ahead of the clock, so that its next step was stored `at` another moment
/// than now: it keeps its order, and everything else goes by the clock.
pub fn warn_if_ahead(named: &NamedDeployment, at: DateTime<Utc>, now: DateTime<Utc>) {
    if is_ahead(at, now) {
        tracing::warn!(
            service = named.service,
            environment = named.environment,
            ahead_seconds = (at - now).num_seconds(),
            "the target's history is ahead of the clock, which is or was wrong"
        );
    }
}

/// Counts an end, once it lasts.
pub fn count(app: &App, named: &NamedDeployment) {
    let deployment = &named.deployment;
    let took = (deployment.ended_at() - deployment.times.started_at).to_std().unwrap_or_default();
    let status = deployment.status.as_str();
    app.metrics.deployment_finished(&named.service, &named.environment, status, took);
}
