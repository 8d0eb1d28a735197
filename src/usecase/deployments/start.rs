//! Starting a deployment: the one transaction in which the gate decides.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use uuid::Uuid;

use crate::{
    clock,
    domain::{
        deployment::{Command, Deployment, Move, Named, Plan, Progress, Standing, Times, advance, moment},
        event::{EventKind, NewEvent},
        gate::{
            Decision, Inputs, evaluate,
            facts::{CurrentFact, Facts, ReleaseFact, RunningFact},
        },
        policy::Policy,
        release::Release,
        rollback::choices,
        scope::Narrowing,
        target::{Running, Target},
        text::{Name, Version},
        vocabulary::{Kind, Scope, Status, Strategy},
    },
    store::{
        db::Tx,
        decision::{self, About},
        deployment::{self, Locked},
        release, target,
    },
    usecase::{
        context::{Ctx, Render},
        deployments::end,
        error::Error,
        register::{self, GivenRelease, Slot},
    },
};

/// A deployment that is asked for.
#[derive(Clone, Debug)]
pub struct Start {
    /// The service.
    pub service: Name,
    /// The environment.
    pub environment: Name,
    /// The version.
    pub version: Version,
    /// The release, for when it is not on record yet.
    pub release: Option<GivenRelease>,
    /// How it replaces what was there.
    pub strategy: Strategy,
    /// What it is for; told by what is current when it is not given.
    pub kind: Option<Kind>,
    /// Whether a rollback cancels what is running.
    pub preempt: bool,
    /// The deployment whose damage it repairs.
    pub remediates: Option<Uuid>,
    /// The person who set it off.
    pub initiated_by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The pipeline that does it.
    pub pipeline_url: Option<String>,
    /// How long it may stay silent, in seconds.
    pub lease_seconds: i64,
    /// Why the gate's rules are to be lifted.
    pub override_reason: Option<String>,
}

/// What the gate let happen.
#[derive(Clone, Debug)]
pub enum Started {
    /// It runs.
    Running(Box<Named>, Decision),
    /// It may not start now.
    Denied(Decision),
}

/// Asks the gate, and starts the deployment if it allows.
pub async fn start(ctx: &Ctx, asked: &Start, render: Render<'_, Started>) -> Result<Started, Error> {
    ctx.require(Scope::Deploy)?;
    ctx.require_service(asked.service.as_str())?;
    ctx.require_environment(asked.environment.as_str())?;
    if asked.override_reason.is_some() {
        ctx.require(Scope::Override)?;
    }
    let (started, ended) =
        ctx.app.db.write(|tx| async move { start_in(ctx, tx, asked, render).await }).await?;
    for named in &ended {
        end::count(&ctx.app, named);
    }
    let (Started::Running(_, decision) | Started::Denied(decision)) = &started;
    ctx.app.metrics.gate_decided(decision.verdict.allowed);
    for check in decision.verdict.failing() {
        ctx.app.metrics.gate_check_failed(check.rule.as_str(), check.mode.as_str());
    }
    Ok(started)
}

/// What a start has found out so far.
struct Found {
    target: Target,
    release: Release,
    kind: Kind,
    verified: bool,
    reverts_since: Option<DateTime<Utc>>,
    running: Option<Locked>,
    /// What this start has ended: an overdue deployment, or the one it takes the place of.
    ended: Vec<Named>,
    events: Vec<NewEvent>,
    at: DateTime<Utc>,
}

/// Gives the deployments that it has ended, too: they are counted once all is committed.
async fn start_in(
    ctx: &Ctx,
    tx: Tx,
    asked: &Start,
    render: Render<'_, Started>,
) -> Result<(Started, Vec<Named>), Error> {
    let (mut found, facts) = find_out(ctx, &tx, asked).await?;
    let inputs = Inputs {
        facts,
        policy: Policy::default(),
        policy_version: 0,
        lifted: asked.override_reason.is_some(),
    };
    let verdict = evaluate(&inputs, found.at);
    let mut decision = Decision {
        id: clock::new_id(),
        evaluated_at: found.at,
        verdict,
        override_reason: asked.override_reason.clone(),
    };
    let mut about = About {
        service_id: found.target.service_id,
        environment_id: found.target.environment_id,
        release_id: found.release.id,
        deployment_id: None,
        kind: found.kind,
        actor: ctx.actor(),
    };
    if !decision.verdict.allowed {
        ctx.refuse_repeated(&tx).await?;
        decision.id = decision::insert_denial(tx.conn(), &decision, &inputs, about).await?;
        if !found.events.is_empty() {
            ctx.record(&tx, found.events, found.at).await?;
        }
        return Ok((Started::Denied(tx.commit(decision).await?), found.ended));
    }
    preempt(ctx, &tx, &mut found).await?;
    let deployment = deployment_of(ctx, asked, &found, decision.id);
    about.deployment_id = Some(deployment.id);
    decision::insert(tx.conn(), &decision, &inputs, about).await?;
    deployment::insert(tx.conn(), &deployment).await?;
    let Found { mut target, release, ended, mut events, at, .. } = found;
    target.running = Some(Running {
        deployment_id: deployment.id,
        release_id: release.id,
        since: at,
        actor: ctx.actor().clone(),
    });
    target.last_started_at = Some(at);
    target.last_at = Some(at);
    target::save(tx.conn(), &target).await?;
    let named = Named {
        service: asked.service.to_string(),
        environment: asked.environment.to_string(),
        release: release.identity,
        deployment,
    };
    events.push(started_event(ctx, &named, &decision));
    ctx.record(&tx, events, at).await?;
    let started = ctx.commit(tx, at, Started::Running(Box::new(named), decision), render).await?;
    Ok((started, ended))
}

/// Locks the target, registers what is new, lets an overdue lease run out, and gathers what the gate looks at.
async fn find_out(ctx: &Ctx, tx: &Tx, asked: &Start) -> Result<(Found, Facts), Error> {
    let mut events = Vec::new();
    let pair = (&asked.service, &asked.environment);
    let locked = register::lock_target(ctx, tx, pair, asked.release.is_some(), &mut events).await?;
    let (mut target, now) = (locked.target, locked.now);
    let current_id = target.current.as_ref().map(|current| current.release_id);
    let ids: Vec<Uuid> = current_id.into_iter().collect();
    let version = asked.version.as_str();
    let (releases, last_number) =
        release::read_for_start(tx.conn(), target.service_id, version, &ids).await?;
    let current = releases.iter().find(|release| Some(release.id) == current_id).cloned();
    let known = releases.into_iter().find(|release| release.identity.version == asked.version);
    let slot = Slot {
        service_id: target.service_id,
        service: &asked.service,
        version: &asked.version,
        last_number,
        now,
        may_register: ctx.app.config.ledger.auto_register,
    };
    let release = register::release(ctx, tx, slot, known, asked.release.as_ref(), &mut events).await?.release;
    register::check_remediates(ctx, tx, asked.remediates, &asked.service).await?;
    let mut ended = Vec::new();
    let running = running_of(tx, &mut target, &mut ended, &mut events).await?;
    let at = moment(now, target.last_at);
    let is_current = current_id == Some(release.id);
    let kind = asked.kind.unwrap_or(if is_current { Kind::Redeploy } else { Kind::Deploy });
    let artefact = release.identity.artefact();
    let (verified, reverts_since) = match kind {
        Kind::Rollback => rollback_of(ctx, tx, &target, &artefact, asked).await?,
        Kind::Deploy | Kind::Hotfix | Kind::Redeploy => (false, None),
    };
    if kind == Kind::Redeploy && target.current.as_ref().is_none_or(|current| current.artefact != artefact) {
        let detail = "only what is current can be redeployed; leave the kind out, or give another";
        return Err(Error::invalid("/kind", "not-current", detail));
    }
    let facts = Facts {
        kind,
        hotfix: ctx.principal.holds(Scope::Hotfix),
        verified,
        preempt: asked.preempt,
        release: ReleaseFact {
            version: release.identity.version.to_string(),
            number: release.number,
            image: release.identity.image.as_ref().map(ToString::to_string),
        },
        lockdown: None,
        freezes: Vec::new(),
        sources: Vec::new(),
        approvals: Vec::new(),
        insiders: std::collections::BTreeSet::new(),
        reverted_at: None,
        scans: Vec::new(),
        within_budget: None,
        current: current.map(|current| CurrentFact {
            version: current.identity.version.to_string(),
            number: current.number,
        }),
        running: running.as_ref().map(running_fact),
    };
    Ok((Found { target, release, kind, verified, reverts_since, running, ended, events, at }, facts))
}

fn running_fact(running: &Locked) -> RunningFact {
    let Named { deployment, release, .. } = &running.named;
    RunningFact {
        deployment_id: deployment.id,
        version: release.version.to_string(),
        actor: deployment.actor.clone(),
        since: deployment.times.started_at,
        lease_expires_at: deployment.times.lease_expires_at.unwrap_or(deployment.times.started_at),
    }
}

/// The deployment that is under way, unless its lease has run out: then it ends here and now.
async fn running_of(
    tx: &Tx,
    target: &mut Target,
    ended: &mut Vec<Named>,
    events: &mut Vec<NewEvent>,
) -> Result<Option<Locked>, Error> {
    let Some(running) = &target.running else { return Ok(None) };
    let locked = deployment::lock(tx.conn(), running.deployment_id, &Narrowing::default()).await?;
    let Some(mut locked) = locked else { return Ok(None) };
    let situation = locked.named.deployment.situation(locked.target.last_started_at);
    let Ok(Move::End(status)) = advance(situation, Command::Expire, locked.now) else {
        return Ok(Some(locked));
    };
    let server = crate::domain::actor::Actor::server();
    events.push(end::apply(tx, &mut locked, status, None, &server).await?);
    *target = locked.target;
    ended.push(locked.named);
    Ok(None)
}

/// Whether a rollback goes to a verified choice, and since when what it reverts has been there.
async fn rollback_of(
    ctx: &Ctx,
    tx: &Tx,
    target: &Target,
    artefact: &str,
    asked: &Start,
) -> Result<(bool, Option<DateTime<Utc>>), Error> {
    let Some(current) = &target.current else { return Ok((false, None)) };
    if current.artefact == artefact {
        return Err(Error::Conflict(format!(
            "{} is current in {} already; a rollback returns to an earlier release",
            asked.version, asked.environment
        )));
    }
    let history = deployment::successes(tx.conn(), target.service_id, target.environment_id).await?;
    let depth = usize::try_from(ctx.app.config.ledger.rollback_depth).unwrap_or(usize::MAX);
    let verified =
        choices(&history, Some(&current.artefact), depth).iter().any(|choice| choice.artefact == artefact);
    let last_there =
        history.iter().find(|success| success.artefact == artefact).map(|success| success.finished_at);
    let since = last_there.unwrap_or(current.since - TimeDelta::microseconds(1));
    Ok((verified, Some(since)))
}

/// Cancels what is running, where the gate has let a rollback take its place.
async fn preempt(ctx: &Ctx, tx: &Tx, found: &mut Found) -> Result<(), Error> {
    let Some(mut running) = found.running.take() else { return Ok(()) };
    let situation = running.named.deployment.situation(running.target.last_started_at);
    if let Ok(Move::End(status)) = advance(situation, Command::Preempt, found.at) {
        running.named.deployment.standing.preempted = true;
        let message = Some("cancelled by a rollback".to_owned());
        found.events.push(end::apply(tx, &mut running, status, message, ctx.actor()).await?);
        found.at = moment(found.at, running.target.last_at);
        found.target = running.target;
        found.ended.push(running.named);
    }
    Ok(())
}

fn deployment_of(ctx: &Ctx, asked: &Start, found: &Found, decision_id: Uuid) -> Deployment {
    let at = found.at;
    Deployment {
        id: clock::new_id(),
        service_id: found.target.service_id,
        environment_id: found.target.environment_id,
        release_id: found.release.id,
        artefact: found.release.identity.artefact(),
        status: Status::Running,
        plan: Plan {
            kind: found.kind,
            strategy: asked.strategy,
            reason: asked.reason.clone(),
            override_reason: asked.override_reason.clone(),
            pipeline_url: asked.pipeline_url.clone(),
            initiated_by: asked.initiated_by.clone(),
            remediates: asked.remediates,
            lease_seconds: asked.lease_seconds,
        },
        progress: Progress::default(),
        actor: ctx.actor().clone(),
        decision_id: Some(decision_id),
        times: Times {
            started_at: at,
            heartbeat_at: Some(at),
            lease_expires_at: Some(at + TimeDelta::seconds(asked.lease_seconds)),
            finished_at: None,
            expired_at: None,
            stay_started_at: None,
            superseded_at: None,
            reverts_since: found.reverts_since,
        },
        standing: Standing { credited: true, verified: found.verified, ..Standing::default() },
    }
}

fn started_event(ctx: &Ctx, named: &Named, decision: &Decision) -> NewEvent {
    let Deployment { plan, standing, .. } = &named.deployment;
    let data = json!({
        "kind": plan.kind,
        "strategy": plan.strategy,
        "release": named.release,
        "reason": plan.reason,
        "initiated_by": plan.initiated_by,
        "pipeline_url": plan.pipeline_url,
        "remediates": plan.remediates,
        "lease_seconds": plan.lease_seconds,
        "verified": standing.verified,
        "decision_id": decision.id,
        "override": plan.override_reason,
    });
    end::about(NewEvent::new(EventKind::DeploymentStarted, ctx.actor(), data), named)
}
