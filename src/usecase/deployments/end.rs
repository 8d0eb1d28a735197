//! Ending a deployment whose row and target are locked, whatever ended it.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::{
    app::App,
    domain::{
        actor::Actor,
        deployment::Named,
        event::{EventKind, NewEvent},
        moment::{is_ahead, stored_at},
        target::{Current, Target},
        vocabulary::Status,
    },
    store::{
        db::Tx,
        deployment::{self, Locked},
        target,
    },
    usecase::error::Error,
};

/// Writes the end down, moves the target on, and gives the event that tells of it.
pub async fn apply(
    tx: &Tx,
    locked: &mut Locked,
    status: Status,
    message: Option<String>,
    actor: &Actor,
) -> Result<NewEvent, Error> {
    let Locked { named, target, now } = locked;
    let deployment = &mut named.deployment;
    let at = next_at(target, *now, (&named.service, &named.environment));
    deployment.status = status;
    deployment.times.finished_at = Some(at);
    if status == Status::Expired {
        deployment.times.expired_at = Some(at);
    }
    if message.is_some() {
        deployment.progress.message.clone_from(&message);
    }
    target.last_at = Some(at);
    target.running = target.running.take().filter(|running| running.deployment_id != deployment.id);
    let mut superseded = None;
    if status == Status::Succeeded {
        let since = target.stay(&deployment.artefact, at);
        deployment.times.stay_started_at = Some(since);
        let current = Current {
            deployment_id: deployment.id,
            release_id: deployment.release_id,
            artefact: deployment.artefact.clone(),
            since,
            finished_at: at,
            actor: deployment.actor.clone(),
        };
        superseded = target.current.replace(current).map(|before| before.deployment_id);
    }
    deployment::end(tx.conn(), deployment, superseded).await?;
    target::save(tx.conn(), target).await?;
    let preempted = deployment.standing.preempted;
    // What ends in passing ends a little before its event is written.
    let data =
        json!({ "message": message, "superseded": superseded, "preempted": preempted, "finished_at": at });
    Ok(about(NewEvent::new(EventKind::DeploymentEnded(status), actor, data), named))
}

/// The moment at which the next step of a target is stored. A history that is ahead of the clock is told of: it keeps its
/// order, and everything else goes by the clock.
pub fn next_at(target: &Target, now: DateTime<Utc>, (service, environment): (&str, &str)) -> DateTime<Utc> {
    if let Some(last) = target.last_at.filter(|last| is_ahead(*last, now)) {
        let ahead_seconds = (last - now).num_seconds();
        tracing::warn!(
            service,
            environment,
            ahead_seconds,
            "the target's history is ahead of the clock, which is or was wrong"
        );
    }
    stored_at(now, target.last_at)
}

/// When a deployment ended.
pub fn at(locked: &Locked) -> DateTime<Utc> {
    locked.named.deployment.times.finished_at.unwrap_or(locked.now)
}

/// Says what an event is about.
pub fn about(event: NewEvent, named: &Named) -> NewEvent {
    event
        .service(&named.service)
        .environment(&named.environment)
        .version(&named.release.version)
        .deployment(named.deployment.id)
}

/// Counts an end.
pub fn count(app: &App, named: &Named) {
    let times = &named.deployment.times;
    let took = times.finished_at.and_then(|end| (end - times.started_at).to_std().ok()).unwrap_or_default();
    app.metrics.deployment_finished(
        &named.service,
        &named.environment,
        named.deployment.status.as_str(),
        took,
    );
}
