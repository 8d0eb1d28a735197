//! Heartbeats: a pipeline says that its deployment is under way. One that was found silent for too long goes on, unless
//! something else has happened in its target.

use chrono::TimeDelta;
use serde_json::json;
use uuid::Uuid;

use crate::{
    domain::{
        deployment::{Beat, NamedDeployment, Progress, Refused},
        event::EventKind,
        idempotency::Answer,
        vocabulary::{Scope, Status},
    },
    store::{
        deployment::{self, LockedDeployment},
        target,
    },
    usecase::{
        context::Ctx,
        deployments::held,
        error::Error,
        register,
        work::{Render, Work},
    },
};

/// Renews the lease of a deployment, also when it has run out, and notes the progress. Only going on after that is an event.
pub async fn heartbeat(
    ctx: &Ctx,
    id: Uuid,
    progress: &Progress,
    render: Render<'_, NamedDeployment>,
) -> Result<Answer, Error> {
    ctx.require_or_linger(Scope::Deploy)?;
    let first = ctx.write(|work| async move { renew_in(ctx, work, id, progress, render).await }).await?;
    let named = match first {
        Heard::Renewed(answer) => return Ok(answer),
        Heard::Silent(named) => named,
    };
    let named = &*named;
    let resumed =
        ctx.write(|work| async move { resume_in(ctx, work, named, progress, render).await }).await?;
    tracing::info!(
        deployment_id = %id,
        service = named.service,
        environment = named.environment,
        "a deployment whose lease had run out goes on"
    );
    Ok(resumed)
}

/// What a heartbeat finds.
enum Heard {
    /// It runs.
    Renewed(Answer),
    /// Its lease has run out. To resume it takes more locks, and they come before those that this has taken.
    Silent(Box<NamedDeployment>),
}

async fn renew_in(
    ctx: &Ctx,
    work: Work,
    id: Uuid,
    progress: &Progress,
    render: Render<'_, NamedDeployment>,
) -> Result<Heard, Error> {
    let LockedDeployment { mut named, now, .. } = held::hold(ctx, &work, id).await?;
    if named.deployment.status == Status::Expired {
        return Ok(Heard::Silent(Box::new(named)));
    }
    if let Err(refused) = named.deployment.renew(progress.clone(), now) {
        let overtaking = deployment::overtaking(work.conn(), &named.deployment).await?;
        return Err(lost_to(named, refused, overtaking));
    }
    deployment::renew(work.conn(), &named.deployment).await?;
    Ok(Heard::Renewed(work.answer(now, &named, render).await?))
}

/// Takes what a start takes, so that neither a start nor a lockdown nor an archiving misses it.
async fn resume_in(
    ctx: &Ctx,
    mut work: Work,
    silent: &NamedDeployment,
    progress: &Progress,
    render: Render<'_, NamedDeployment>,
) -> Result<Answer, Error> {
    let (service, environment) = (&silent.service, &silent.environment);
    let place = target::lock(work.conn(), service, environment, false).await?;
    let place = place.ok_or_else(|| Error::not_found("deployment", &silent.deployment.id))?;
    let LockedDeployment { mut named, mut target, now } =
        held::hold(ctx, &work, silent.deployment.id).await?;
    let overtaking = deployment::overtaking(work.conn(), &named.deployment).await?;
    let max_lease = TimeDelta::from_std(ctx.app.config.ledger.max_lease).unwrap_or(TimeDelta::MAX);
    let bounds = (max_lease, overtaking.is_some());
    match named.deployment.resume(&mut target, progress.clone(), bounds, now) {
        Err(refused) => return Err(lost_to(named, refused, overtaking)),
        // Another heartbeat was quicker.
        Ok(Beat::Renewed) => {}
        Ok(Beat::Resumed { at, expired_at }) => {
            register::refuse_archived(&place, service, environment)?;
            held::warn_if_ahead(&named, at, now);
            target::save(work.conn(), &target).await?;
            let data = json!({ "expired_at": expired_at, "lockdown": place.environment.lockdown });
            work.tell(EventKind::DeploymentResumed, data).deployment(&named);
            work = work.happened_at(at);
        }
    }
    deployment::renew(work.conn(), &named.deployment).await?;
    work.answer(now, &named, render).await
}

fn lost_to(named: NamedDeployment, refused: Refused, overtaking: Option<NamedDeployment>) -> Error {
    let by = overtaking.as_ref().map(|other| format!("{refused}; {}", happened(other)));
    let detail = by.unwrap_or_else(|| refused.to_string());
    Error::Lost { detail, deployment: Box::new(named), taken_by: overtaking.map(Box::new) }
}

fn happened(NamedDeployment { deployment, release, .. }: &NamedDeployment) -> String {
    let how = if deployment.standing.recorded { "was put on record" } else { "was started" };
    format!(
        "{} {how} there by {}, from {} UTC on, and is {}",
        release.version,
        deployment.actor.subject,
        deployment.times.started_at.format("%Y-%m-%d %H:%M:%S"),
        deployment.status
    )
}
