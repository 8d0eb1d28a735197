//! Heartbeats: a pipeline says that its deployment is under way. One that was found silent for too long goes on, unless
//! something else has happened in its target.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use uuid::Uuid;

use crate::{
    domain::{
        deployment::{Command, Move, Named, Progress, Refused, advance, lease_end},
        environment::Lockdown,
        event::{EventKind, NewEvent},
        vocabulary::{Scope, Status},
    },
    store::{
        db::Tx,
        deployment::{self, Locked},
        target,
    },
    usecase::{
        context::{Ctx, Render},
        deployments::end,
        error::Error,
        register,
    },
};

/// Renews the lease of a deployment, also when it has run out, and notes the progress. Only going on after that is an event.
pub async fn heartbeat(
    ctx: &Ctx,
    id: Uuid,
    progress: &Progress,
    render: Render<'_, Named>,
) -> Result<Named, Error> {
    ctx.require(Scope::Deploy)?;
    let first = ctx.app.db.write(|tx| async move { renew_in(ctx, tx, id, progress, render).await }).await?;
    let named = match first {
        Beat::Renewed(named) => return Ok(*named),
        Beat::Silent(named) => named,
    };
    let named = &*named;
    let resumed =
        ctx.app.db.write(|tx| async move { resume_in(ctx, tx, named, progress, render).await }).await?;
    tracing::info!(
        deployment_id = %id,
        service = resumed.service,
        environment = resumed.environment,
        "a deployment whose lease had run out goes on"
    );
    Ok(resumed)
}

/// What a heartbeat finds.
enum Beat {
    /// It runs.
    Renewed(Box<Named>),
    /// Its lease has run out. To resume it takes more locks, and they come before those that this has taken.
    Silent(Box<Named>),
}

async fn renew_in(
    ctx: &Ctx,
    tx: Tx,
    id: Uuid,
    progress: &Progress,
    render: Render<'_, Named>,
) -> Result<Beat, Error> {
    let Locked { mut named, target, now } = lock(ctx, &tx, id).await?;
    if named.deployment.status == Status::Expired {
        return Ok(Beat::Silent(Box::new(named)));
    }
    let situation = named.deployment.situation(target.last_started_at);
    if let Err(refused) = advance(situation, Command::Heartbeat, now) {
        return Err(lost(&tx, named, refused).await?);
    }
    hear(&mut named, progress, now);
    deployment::renew(tx.conn(), &named.deployment).await?;
    Ok(Beat::Renewed(Box::new(ctx.commit(tx, now, named, render).await?)))
}

/// Takes what a start takes, so that neither a start nor a lockdown nor an archiving misses it.
async fn resume_in(
    ctx: &Ctx,
    tx: Tx,
    silent: &Named,
    progress: &Progress,
    render: Render<'_, Named>,
) -> Result<Named, Error> {
    let (service, environment) = (&silent.service, &silent.environment);
    let place = target::lock(tx.conn(), service, environment, false).await?;
    let place = place.ok_or_else(|| Error::not_found("deployment", &silent.deployment.id))?;
    let Locked { mut named, mut target, now } = lock(ctx, &tx, silent.deployment.id).await?;
    let overtaking = deployment::overtaking(tx.conn(), &named.deployment).await?;
    let max_lease = TimeDelta::from_std(ctx.app.config.ledger.max_lease).unwrap_or(TimeDelta::MAX);
    let situation = named.deployment.resumption(max_lease, overtaking.is_some());
    match advance(situation, Command::Heartbeat, now) {
        Err(refused) => return Err(lost_to(named, refused, overtaking)),
        // Another heartbeat was quicker.
        Ok(Move::Renew) => hear(&mut named, progress, now),
        Ok(Move::Resume | Move::End(_) | Move::Already | Move::KeepLate(_)) => {
            register::refuse_archived(&place, service, environment)?;
            let at = end::next_at(&target, now, (service, environment));
            let event = resumed_event(ctx, &named, place.environment.lockdown.as_ref());
            named.deployment.resume();
            hear(&mut named, progress, now);
            target.resume(&named.deployment);
            target::save(tx.conn(), &target).await?;
            ctx.record(&tx, vec![event], at).await?;
        }
    }
    deployment::renew(tx.conn(), &named.deployment).await?;
    ctx.commit(tx, now, named, render).await
}

async fn lock(ctx: &Ctx, tx: &Tx, id: Uuid) -> Result<Locked, Error> {
    let locked = deployment::lock(tx.conn(), id, ctx.within()).await?;
    locked.ok_or_else(|| Error::not_found("deployment", &id))
}

fn hear(named: &mut Named, progress: &Progress, now: DateTime<Utc>) {
    let deployment = &mut named.deployment;
    deployment.times.heartbeat_at = Some(now);
    deployment.times.lease_expires_at = Some(lease_end(now, deployment.plan.lease_seconds));
    let Progress { phase, traffic_percent, message } = progress.clone();
    let before = std::mem::take(&mut deployment.progress);
    deployment.progress = Progress {
        phase: phase.or(before.phase),
        traffic_percent: traffic_percent.or(before.traffic_percent),
        message: message.or(before.message),
    };
}

async fn lost(tx: &Tx, named: Named, refused: Refused) -> Result<Error, Error> {
    let overtaking = deployment::overtaking(tx.conn(), &named.deployment).await?;
    Ok(lost_to(named, refused, overtaking))
}

fn lost_to(named: Named, refused: Refused, overtaking: Option<Named>) -> Error {
    let by = overtaking.as_ref().map(|other| format!("{refused}; {}", happened(other)));
    let detail = by.unwrap_or_else(|| refused.to_string());
    Error::Lost { detail, deployment: Box::new(named), taken_by: overtaking.map(Box::new) }
}

fn happened(Named { deployment, release, .. }: &Named) -> String {
    let how = if deployment.standing.recorded { "was put on record" } else { "was started" };
    format!(
        "{} {how} there by {}, from {} UTC on, and is {}",
        release.version,
        deployment.actor.subject,
        deployment.times.started_at.format("%Y-%m-%d %H:%M:%S"),
        deployment.status
    )
}

fn resumed_event(ctx: &Ctx, named: &Named, lockdown: Option<&Lockdown>) -> NewEvent {
    let data = json!({ "expired_at": named.deployment.times.expired_at, "lockdown": lockdown });
    end::about(NewEvent::new(EventKind::DeploymentResumed, ctx.actor(), data), named)
}
