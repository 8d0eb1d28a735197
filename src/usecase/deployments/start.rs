//! Starting a deployment: the one transaction in which the gate decides.

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use crate::{
    clock,
    domain::{
        actor::Actor,
        deployment::{Command, Deployment, Move, Named, Plan, Progress, Standing, Times, advance, lease_end},
        event::{EventKind, NewEvent},
        gate::{Decision, evaluate, redact::redacted},
        release::Release,
        scope::Narrowing,
        target::{Running, Target},
        text::{Name, Version},
        vocabulary::{Kind, Scope, Status, Strategy},
    },
    store::{
        db::Tx,
        decision::{self, About},
        deployment::{self, Locked},
        gate::{self, Wanted},
        target,
    },
    usecase::{
        context::{Ctx, Render},
        deployments::end,
        error::Error,
        gate::facts::{self, Asked, Case, Scene, running_fact},
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
    /// Whether what is running is to be cancelled, which only a rollback may.
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
    // Boxed: by far the largest of all transactions would otherwise lie on the stack of each.
    let (started, ended) = ctx.app.db.write(|tx| Box::pin(start_in(ctx, tx, asked, render))).await?;
    for named in &ended {
        end::count(&ctx.app, named);
    }
    let (Started::Running(_, decision) | Started::Denied(decision)) = &started;
    ctx.app.metrics.gate_decided(asked.environment.as_str(), decision);
    Ok(started)
}

/// What a start has found out so far.
struct Found {
    target: Target,
    release: Release,
    running: Option<Locked>,
    case: Case,
    /// What this start has ended: an overdue deployment, or the one it takes the place of.
    ended: Vec<Named>,
    events: Vec<NewEvent>,
}

/// Gives the deployments that it has ended, too: they are counted once all is committed.
async fn start_in(
    ctx: &Ctx,
    tx: Tx,
    asked: &Start,
    render: Render<'_, Started>,
) -> Result<(Started, Vec<Named>), Error> {
    let mut found = find_out(ctx, &tx, asked).await?;
    let inputs = &found.case.inputs;
    let mut decision = Decision {
        id: clock::new_id(),
        evaluated_at: found.case.now,
        verdict: evaluate(inputs, found.case.now),
        policy_version: inputs.policy_version,
        override_reason: asked.override_reason.clone(),
    };
    let about = About {
        service_id: found.target.service_id,
        environment_id: found.target.environment_id,
        release_id: found.release.id,
        deployment_id: None,
        kind: inputs.facts.kind,
        actor: ctx.actor(),
    };
    if !decision.verdict.allowed {
        ctx.refuse_repeated(&tx).await?;
        let kept = decision::insert_denial(tx.conn(), &decision, inputs, about).await?;
        if kept == decision.id {
            found.events.push(denied_event(ctx, asked, &decision));
        }
        decision.id = kept;
        if !found.events.is_empty() {
            ctx.record(&tx, found.events, found.case.now).await?;
        }
        let started = Started::Denied(redacted(decision, ctx.within()));
        return Ok((tx.commit(started).await?, found.ended));
    }
    preempt(ctx, &tx, &mut found).await?;
    let at =
        end::next_at(&found.target, found.case.now, (asked.service.as_str(), asked.environment.as_str()));
    let deployment = deployment_of(ctx, asked, &found, decision.id, at);
    let about = About { deployment_id: Some(deployment.id), ..about };
    decision::insert(tx.conn(), &decision, &found.case.inputs, about).await?;
    deployment::insert(tx.conn(), &deployment).await?;
    let Found { mut target, release, ended, mut events, case, .. } = found;
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
    let started = Started::Running(Box::new(named), redacted(decision, ctx.within()));
    Ok((ctx.commit(tx, case.now, started, render).await?, ended))
}

/// Locks the target, registers what is new, lets an overdue lease run out, and gathers what the gate looks at.
async fn find_out(ctx: &Ctx, tx: &Tx, asked: &Start) -> Result<Found, Error> {
    let mut events = Vec::new();
    let pair = (&asked.service, &asked.environment);
    let locked = register::lock_target(ctx, tx, pair, asked.release.is_some(), &mut events).await?;
    let (mut target, now) = (locked.target, locked.now);
    let given = asked.release.as_ref().map(|given| given.identity(&asked.version));
    let mut evidence = gate::evidence(
        tx.conn(),
        &Wanted {
            service_id: target.service_id,
            environment: &locked.environment,
            version: asked.version.as_str(),
            given: given.as_ref(),
            current: target.current.as_ref().map(|current| current.release_id),
            now,
        },
    )
    .await?;
    let slot = Slot {
        service_id: target.service_id,
        service: &asked.service,
        version: &asked.version,
        before: &evidence.before,
        now,
        may_register: ctx.app.config.ledger.auto_register,
    };
    let (known, given) = (evidence.release.take(), asked.release.as_ref());
    let registered = register::release(ctx, tx, slot, known, given, &mut events).await?;
    let release = registered.release;
    if registered.new {
        evidence.make_room(release.place);
    }
    register::check_remediates(ctx, tx, asked.remediates, &asked.service).await?;
    let mut ended = Vec::new();
    let running = running_of(tx, &mut target, &mut ended, &mut events).await?;
    let question = Asked {
        kind: asked.kind,
        preempt: asked.preempt,
        initiated_by: asked.initiated_by.as_deref(),
        deployer: Some(&ctx.actor().subject),
        lifted: asked.override_reason.is_some(),
    };
    let scene = Scene {
        target: &target,
        environment: &locked.environment,
        release: &release,
        named: asked.release.as_ref().and_then(|given| given.image.as_ref()),
        running: running.as_ref().map(|running| running_fact(&running.named)),
        evidence,
        now,
    };
    let case = facts::gather(ctx, tx.conn(), question, scene).await?;
    Ok(Found { target, release, running, case, ended, events })
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
    events.push(end::apply(tx, &mut locked, status, None, &Actor::server()).await?);
    *target = locked.target;
    ended.push(locked.named);
    Ok(None)
}

/// Cancels what is running, where the gate has let a rollback take its place.
async fn preempt(ctx: &Ctx, tx: &Tx, found: &mut Found) -> Result<(), Error> {
    let Some(mut running) = found.running.take() else { return Ok(()) };
    let situation = running.named.deployment.situation(running.target.last_started_at);
    if let Ok(Move::End(status)) = advance(situation, Command::Preempt, found.case.now) {
        running.named.deployment.standing.preempted = true;
        let message = Some("cancelled by a rollback".to_owned());
        found.events.push(end::apply(tx, &mut running, status, message, ctx.actor()).await?);
        found.target = running.target;
        found.ended.push(running.named);
    }
    Ok(())
}

fn deployment_of(
    ctx: &Ctx,
    asked: &Start,
    found: &Found,
    decision_id: Uuid,
    at: DateTime<Utc>,
) -> Deployment {
    let Case { inputs, back, now } = &found.case;
    Deployment {
        id: clock::new_id(),
        service_id: found.target.service_id,
        environment_id: found.target.environment_id,
        release_id: found.release.id,
        artefact: found.release.identity.artefact(),
        status: Status::Running,
        plan: Plan {
            kind: inputs.facts.kind,
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
            heartbeat_at: Some(*now),
            lease_expires_at: Some(lease_end(*now, asked.lease_seconds)),
            finished_at: None,
            expired_at: None,
            stay_started_at: None,
            superseded_at: None,
            reverts_since: back.reverts_since,
        },
        standing: Standing { credited: true, verified: back.verified, ..Standing::default() },
    }
}

fn denied_event(ctx: &Ctx, asked: &Start, decision: &Decision) -> NewEvent {
    let reasons: Vec<_> = decision.verdict.denying().map(|check| &check.code).collect();
    let data =
        json!({ "decision_id": decision.id, "reasons": reasons, "retry_at": decision.verdict.retry_at });
    NewEvent::new(EventKind::GateDenied, ctx.actor(), data)
        .service(&asked.service)
        .environment(&asked.environment)
        .version(&asked.version)
}

fn started_event(ctx: &Ctx, named: &Named, decision: &Decision) -> NewEvent {
    let Deployment { plan, standing, times, .. } = &named.deployment;
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
        "reverts_since": times.reverts_since,
        "decision_id": decision.id,
        "override": plan.override_reason,
    });
    end::about(NewEvent::new(EventKind::DeploymentStarted, ctx.actor(), data), named)
}
