//! Starting a deployment: the one transaction in which the gate decides.

use serde_json::{Value, json};

use crate::{
    clock,
    domain::{
        deployment::{Deployment, Entry, NamedDeployment, New, Plan},
        event::EventKind,
        gate::{Decision, redact::redacted},
        idempotency::Answer,
        json::merged,
        release::Release,
        target::Target,
        text::Version,
        vocabulary::{Kind, Scope},
    },
    store::{
        decision::Answers,
        deployment::{self, LockedDeployment},
        evidence::{self, Wanted},
        target,
    },
    usecase::{
        context::Ctx,
        deployments::held::{self, Lease},
        error::Error,
        gate::decide::{self, Asked, Decided, Scene, decide, running_fact},
        register::{self, Placement, Slot},
        work::{Render, Work},
    },
};

/// A deployment that is asked for.
#[derive(Clone, Debug)]
pub struct Start {
    pub placement: Placement,
    /// What it is for; told by what is current when it is not given.
    pub kind: Option<Kind>,
    /// Whether what is running is to be cancelled, which only a rollback may.
    pub preempt: bool,
    pub plan: Plan,
    /// How long it may stay silent.
    pub lease_seconds: i64,
    /// Why the gate's rules are to be lifted.
    pub override_reason: Option<String>,
}

/// A deployment that the gate let start.
#[derive(Clone, Debug)]
pub struct Started {
    pub named: NamedDeployment,
    pub decision: Decision,
}

/// What the gate said, as far as the caller may see it.
enum Gated {
    Started(Decision, Answer),
    Denied(Decision),
}

/// Asks the gate, and starts the deployment if it allows.
pub async fn start(ctx: &Ctx, asked: &Start, render: Render<'_, Started>) -> Result<Answer, Error> {
    asked.placement.require(ctx, &[Scope::Deploy])?;
    if asked.override_reason.is_some() {
        asked.placement.require(ctx, &[Scope::Override])?;
    }
    let plan = Plan { initiated_by: ctx.initiator(asked.plan.initiated_by.clone()), ..asked.plan.clone() };
    let asked = &Start { placement: asked.placement.clone().by(ctx), plan, ..asked.clone() };
    // Boxed: by far the largest of all transactions would otherwise lie on the stack of each.
    let start = |work| Box::pin(start_in(ctx, work, asked, render));
    let (gated, ended) = register::reviving(ctx, &asked.placement.environment, start).await?;
    for named in &ended {
        held::count(&ctx.app, named);
    }
    let (Gated::Started(decision, _) | Gated::Denied(decision)) = &gated;
    ctx.app.metrics.gate_decided(asked.placement.environment.as_str(), decision);
    match gated {
        Gated::Started(_, answer) => Ok(answer),
        Gated::Denied(decision) => Err(Error::Denied(Box::new(decision))),
    }
}

/// What a start has found out so far.
struct Found {
    target: Target,
    /// The version that is meant.
    version: Version,
    release: Release,
    running: Option<LockedDeployment>,
    decided: Decided,
    /// What this start has ended: an overdue deployment, or the one it takes the place of.
    ended: Vec<NamedDeployment>,
}

/// Gives the deployments that it has ended, too: they are counted once all is committed.
async fn start_in(
    ctx: &Ctx,
    mut work: Work,
    asked: &Start,
    render: Render<'_, Started>,
) -> Result<(Gated, Vec<NamedDeployment>), Error> {
    let mut found = find_out(ctx, &mut work, asked).await?;
    let now = found.decided.decision.evaluated_at;
    if !found.decided.decision.verdict.allowed {
        work.refuse_repeated().await?;
        if decide::keep(&work, &mut found.decided, Answers::Refused).await? {
            let Placement { service, environment, .. } = &asked.placement;
            let told = work.tell(EventKind::GateDenied, denied_data(&found.decided.decision));
            told.service(service).environment(environment).version(&found.version);
        }
        let denied = Gated::Denied(redacted(found.decided.decision, ctx.within()));
        return Ok((work.commit(now, denied).await?, found.ended));
    }
    preempt(ctx, &mut work, &mut found).await?;
    let Found { mut target, release, mut decided, ended, .. } = found;
    let new = New {
        id: clock::new_id(),
        release: &release,
        kind: decided.inputs.facts.kind,
        plan: asked.plan.clone(),
        lease_seconds: asked.lease_seconds,
        override_reason: asked.override_reason.clone(),
        decision_id: decided.decision.id,
        back: decided.back,
        actor: ctx.actor().clone(),
        credential: ctx.principal.pipeline().map(|_| ctx.principal.token_id),
    };
    let deployment = Deployment::start(&mut target, new, now);
    decide::keep(&work, &mut decided, Answers::Started(deployment.id)).await?;
    deployment::insert(work.conn(), &deployment).await?;
    target::save(work.conn(), &target).await?;
    let named = asked.placement.named(deployment, release.identity);
    let at = named.deployment.times.started_at;
    held::warn_if_ahead(&named, at, now);
    work.tell(EventKind::DeploymentStarted, started_data(&named)).deployment(&named);
    let decision = redacted(decided.decision, ctx.within());
    let started = Started { named, decision };
    let answer = work.happened_at(at).answer(now, &started, render).await?;
    Ok((Gated::Started(started.decision, answer), ended))
}

/// Locks the target, registers what is new, lets an overdue lease run out, and asks the gate.
async fn find_out(ctx: &Ctx, work: &mut Work, asked: &Start) -> Result<Found, Error> {
    let Start { placement, plan, .. } = asked;
    let removes = asked.kind.is_some_and(|kind| !kind.ships());
    let locked = if removes {
        register::lock_known_target(ctx, work, placement).await?
    } else {
        register::lock_target(ctx, work, placement).await?
    };
    let (mut target, now) = (locked.target, locked.now);
    let current = target.current.as_ref().map(|current| current.release_id);
    let there = (asked.kind.unwrap_or(Kind::Deploy), current);
    let place = (&placement.service, &placement.environment);
    let version = register::meant(work.conn(), there, place, placement.version.as_ref()).await?;
    let identity = placement.identity(&version);
    let wanted = Wanted {
        service_id: target.service_id,
        environment: &locked.environment,
        version: &version,
        given: identity.as_ref(),
        current,
        now,
    };
    let mut evidence = evidence::of(work.conn(), &wanted).await?;
    let slot = Slot {
        service_id: target.service_id,
        service: &placement.service,
        version: &version,
        before: &evidence.before,
        now,
        commit: ctx.commit(),
        may_register: ctx.app.config.ledger.auto_register,
    };
    let (known, given) = (evidence.release.take(), placement.release.as_ref());
    let registered = register::release(work, slot, known, given).await?;
    let release = registered.release;
    if registered.new {
        evidence.make_room(release.place);
    }
    register::check_remediates(ctx, work, plan.remediates, &placement.service).await?;
    register::refuse_dormant(&locked.environment, asked.kind.unwrap_or(Kind::Deploy))?;
    let mut ended = Vec::new();
    let running = running_of(work, &mut target, &mut ended).await?;
    let question = Asked {
        kind: asked.kind,
        preempt: asked.preempt,
        initiated_by: plan.initiated_by.as_slice(),
        deployer: Some(&ctx.actor().subject),
        override_reason: asked.override_reason.as_deref(),
    };
    let scene = Scene {
        target: &target,
        service: &placement.service,
        environment: &locked.environment,
        release: &release,
        named: given.and_then(|given| given.image.as_ref()),
        running: running.as_ref().map(|running| running_fact(&running.named)),
        evidence,
        now,
    };
    let decided = decide(ctx, work.conn(), question, scene).await?;
    Ok(Found { target, version, release, running, decided, ended })
}

/// The deployment that is under way, unless its lease has run out: then it ends here and now.
async fn running_of(
    work: &mut Work,
    target: &mut Target,
    ended: &mut Vec<NamedDeployment>,
) -> Result<Option<LockedDeployment>, Error> {
    let Some(running) = &target.running else { return Ok(None) };
    Ok(match held::expire(work, running.deployment_id).await? {
        Some(Lease::Runs(held)) => Some(held),
        Some(Lease::RanOut(held, _)) => {
            *target = held.target;
            ended.push(held.named);
            None
        }
        None => None,
    })
}

/// Cancels what is running, where the gate has let a rollback take its place.
async fn preempt(ctx: &Ctx, work: &mut Work, found: &mut Found) -> Result<(), Error> {
    let Some(mut held) = found.running.take() else { return Ok(()) };
    if let Some(end) = held.named.deployment.preempt(&mut held.target, held.now) {
        held::write_end(work, &held, &end, ctx.actor().clone()).await?;
        found.target = held.target;
        found.ended.push(held.named);
    }
    Ok(())
}

fn denied_data(decision: &Decision) -> Value {
    let reasons: Vec<_> = decision.verdict.denying().map(|check| &check.code).collect();
    json!({ "decision_id": decision.id, "reasons": reasons, "retry_at": decision.verdict.retry_at })
}

fn started_data(named: &NamedDeployment) -> Value {
    let Entry { kind, plan, standing, times, .. } = &*named.deployment;
    let data = json!({
        "kind": kind,
        "release": named.release,
        "lease_seconds": named.deployment.lease_seconds,
        "verified": standing.verified,
        "reverts_since": times.reverts_since,
        "decision_id": named.deployment.decision_id,
        "override": named.deployment.override_reason,
    });
    merged(data, plan)
}
