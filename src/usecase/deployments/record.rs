//! Putting a finished deployment on record, past the gate: for tools that can only report, and for imports.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use uuid::Uuid;

use crate::{
    clock,
    domain::{
        deployment::{Deployment, Named, Plan, Progress, Standing, Times},
        event::{EventKind, NewEvent},
        moment::{SKEW_MAX, is_ahead},
        release::Release,
        rollback::reverts_since,
        scope::Narrowing,
        target::{Current, Target, mended_stay},
        text::{Name, Version},
        vocabulary::{Kind, Outcome, Scope, Strategy},
    },
    store::{
        db::Tx,
        deployment,
        record::{self, Neighbour},
        release, target,
    },
    usecase::{
        context::{Ctx, Render},
        deployments::end,
        error::Error,
        register::{self, GivenRelease, Slot},
    },
};

/// A deployment that is over.
#[derive(Clone, Debug)]
pub struct Record {
    /// The service.
    pub service: Name,
    /// The environment.
    pub environment: Name,
    /// The version.
    pub version: Version,
    /// The release, for when it is not on record yet.
    pub release: Option<GivenRelease>,
    /// How it replaced what was there.
    pub strategy: Strategy,
    /// What it was for.
    pub kind: Kind,
    /// The deployment whose damage it repaired.
    pub remediates: Option<Uuid>,
    /// The person who set it off.
    pub initiated_by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The pipeline that did it.
    pub pipeline_url: Option<String>,
    /// A line for people.
    pub message: Option<String>,
    /// How it came out.
    pub outcome: Outcome,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it finished.
    pub finished_at: DateTime<Utc>,
    /// Whether its pipeline went on without asking the gate.
    pub ungated: bool,
}

/// What putting on record came to.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The deployment.
    pub named: Named,
    /// Whether it was not on record before.
    pub new: bool,
}

/// Puts a deployment on record. The very same again changes nothing.
pub async fn record(ctx: &Ctx, asked: &Record, render: Render<'_, Recorded>) -> Result<Recorded, Error> {
    ctx.require(Scope::Record)?;
    ctx.require_service(asked.service.as_str())?;
    ctx.require_environment(asked.environment.as_str())?;
    let recorded = ctx.app.db.write(|tx| async move { record_in(ctx, tx, asked, render).await }).await?;
    if recorded.new {
        end::count(&ctx.app, &recorded.named);
    }
    Ok(recorded)
}

async fn record_in(
    ctx: &Ctx,
    tx: Tx,
    asked: &Record,
    render: Render<'_, Recorded>,
) -> Result<Recorded, Error> {
    let mut events = Vec::new();
    let pair = (&asked.service, &asked.environment);
    let locked = register::lock_target(ctx, &tx, pair, asked.release.is_some(), &mut events).await?;
    let (mut target, now) = (locked.target, locked.now);
    // What a pipeline's clock that is a little fast calls the future is now.
    if is_ahead(asked.finished_at, now) {
        return Err(Error::invalid("/finished_at", "future", "must not be in the future"));
    }
    let claimed = asked.finished_at;
    let asked = &Record {
        started_at: asked.started_at.min(now),
        finished_at: asked.finished_at.min(now),
        ..asked.clone()
    };
    let identity = asked.release.as_ref().map(|given| given.identity(&asked.version));
    let (known, before) =
        release::find_or_before(tx.conn(), target.service_id, asked.version.as_str(), identity.as_ref())
            .await?;
    let slot = Slot {
        service_id: target.service_id,
        service: &asked.service,
        version: &asked.version,
        before: &before,
        now,
        may_register: ctx.app.config.ledger.auto_register,
    };
    let release =
        register::release(ctx, &tx, slot, known, asked.release.as_ref(), &mut events).await?.release;
    let mut deployment = deployment_of(ctx, asked, &target, &release);
    // Only an end that is or was the future just now can have been put on record as another moment.
    let slack = if now - claimed < SKEW_MAX { SKEW_MAX } else { TimeDelta::zero() };
    if let Some(twin) = record::twin(tx.conn(), &deployment, claimed, slack).await? {
        let named = deployment::find(tx.conn(), &Narrowing::default(), twin).await?;
        let named = named.ok_or_else(|| Error::not_found("deployment", &twin))?;
        return ctx.commit(tx, now, Recorded { named, new: false }, render).await;
    }
    register::check_remediates(ctx, &tx, asked.remediates, &asked.service).await?;
    if asked.outcome == Outcome::Succeeded {
        place(&tx, &mut target, &mut deployment).await?;
    } else {
        deployment::insert(tx.conn(), &deployment).await?;
    }
    target.last_started_at = target.last_started_at.max(Some(asked.started_at));
    target.last_at = target.last_at.max(Some(asked.finished_at));
    target::save(tx.conn(), &target).await?;
    let named = Named {
        service: asked.service.to_string(),
        environment: asked.environment.to_string(),
        release: release.identity,
        deployment,
    };
    events.push(recorded_event(ctx, &named));
    ctx.record(&tx, events, now).await?;
    ctx.commit(tx, now, Recorded { named, new: true }, render).await
}

fn deployment_of(ctx: &Ctx, asked: &Record, target: &Target, release: &Release) -> Deployment {
    Deployment {
        id: clock::new_id(),
        service_id: target.service_id,
        environment_id: target.environment_id,
        release_id: release.id,
        artefact: release.identity.artefact(),
        status: asked.outcome.into(),
        plan: Plan {
            kind: asked.kind,
            strategy: asked.strategy,
            reason: asked.reason.clone(),
            override_reason: None,
            pipeline_url: asked.pipeline_url.clone(),
            initiated_by: asked.initiated_by.clone(),
            remediates: asked.remediates,
            lease_seconds: 0,
        },
        progress: Progress { message: asked.message.clone(), ..Progress::default() },
        actor: ctx.actor().clone(),
        decision_id: None,
        times: Times {
            started_at: asked.started_at,
            heartbeat_at: None,
            lease_expires_at: None,
            finished_at: Some(asked.finished_at),
            expired_at: None,
            stay_started_at: None,
            superseded_at: None,
            reverts_since: None,
        },
        standing: Standing {
            recorded: true,
            ungated: asked.ungated,
            credited: ctx.principal.holds(Scope::Override) && !asked.ungated,
            ..Standing::default()
        },
    }
}

/// Gives a success its place in the target's history: between the ones before and after it, or as the current one.
async fn place(tx: &Tx, target: &mut Target, deployment: &mut Deployment) -> Result<(), Error> {
    let conn = tx.conn();
    let at = deployment.times.finished_at.unwrap_or(deployment.times.started_at);
    let next = record::from(conn, deployment, at).await?;
    if next.as_ref().is_some_and(|next| next.finished_at == at) {
        return Err(Error::Conflict(
            "another deployment of this target succeeded at this very moment; times of a target must differ"
                .to_owned(),
        ));
    }
    let before = record::before(conn, deployment, at).await?;
    let goes_on = before.as_ref().filter(|before| before.artefact == deployment.artefact);
    let since = goes_on.map_or(at, |before| before.stay_started_at);
    deployment.times.stay_started_at = Some(since);
    deployment.times.superseded_at = next.as_ref().map(|next| next.finished_at);
    deployment.standing.superseded_by = next.as_ref().map(|next| next.id);
    deployment.standing.reverted_by = record::reverter_of(conn, deployment, at).await?;
    if deployment.plan.kind == Kind::Rollback {
        let history = deployment::successes(conn, target.place(), Some(at)).await?;
        let to = (deployment.release_id, deployment.artefact.as_str());
        deployment.times.reverts_since = reverts_since(&history, to);
    }
    deployment::insert(conn, deployment).await?;
    if let Some(before) = &before {
        record::supersede(conn, before.id, at, deployment.id).await?;
    }
    if let Some(since) = deployment.times.reverts_since {
        record::revert(conn, deployment, since, at).await?;
    }
    if let Some(next) = next {
        return mend_stays(tx, target, deployment, before.as_ref(), &next).await;
    }
    target.current = Some(Current {
        deployment_id: deployment.id,
        release_id: deployment.release_id,
        artefact: deployment.artefact.clone(),
        since,
        finished_at: at,
        actor: deployment.actor.clone(),
    });
    Ok(())
}

/// A deployment put between two others may break the stay that they shared, or begin the next one's stay earlier.
async fn mend_stays(
    tx: &Tx,
    target: &mut Target,
    deployment: &Deployment,
    before: Option<&Neighbour>,
    next: &Neighbour,
) -> Result<(), Error> {
    let Some(since) = deployment.times.stay_started_at else { return Ok(()) };
    let start = mended_stay(
        before.map(|before| before.artefact.as_str()),
        (&deployment.artefact, since),
        (&next.artefact, next.finished_at),
    );
    let Some(start) = start else { return Ok(()) };
    record::move_stay(tx.conn(), deployment, next, start).await?;
    if let Some(current) = &mut target.current
        && current.since == next.stay_started_at
        && current.artefact == next.artefact
    {
        current.since = start;
    }
    Ok(())
}

fn recorded_event(ctx: &Ctx, named: &Named) -> NewEvent {
    let Deployment { plan, standing, times, status, progress, .. } = &named.deployment;
    let data = json!({
        "status": status,
        "started_at": times.started_at,
        "finished_at": times.finished_at,
        "kind": plan.kind,
        "strategy": plan.strategy,
        "release": named.release,
        "reason": plan.reason,
        "message": progress.message,
        "initiated_by": plan.initiated_by,
        "pipeline_url": plan.pipeline_url,
        "remediates": plan.remediates,
        "ungated": standing.ungated,
        "credited": standing.credited,
        "reverts_since": times.reverts_since,
    });
    end::about(NewEvent::new(EventKind::DeploymentRecorded, ctx.actor(), data), named)
}
