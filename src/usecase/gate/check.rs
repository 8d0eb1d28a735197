//! Asking the gate without starting anything.

use crate::{
    domain::{
        gate::{facts::RunningFact, redact::redacted},
        idempotency::Answer,
        scope::Narrowing,
        text::{Name, Version},
        vocabulary::{Kind, Scope, Status},
    },
    store::{
        decision::Answers,
        deployment,
        evidence::{self, Wanted},
        target::{self, LockedTarget},
    },
    usecase::{
        context::Ctx,
        error::Error,
        gate::decide::{self, Asked, Decided, Scene, decide, running_fact},
        named, register,
        work::Render,
    },
};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    pub service: Name,
    pub environment: Name,
    /// None where it is whatever runs there that would be removed.
    pub version: Option<Version>,
    /// What it would be for; told by what is current when it is not given.
    pub kind: Option<Kind>,
    /// Whether what is running is to be cancelled, which only a rollback may.
    pub preempt: bool,
    /// The person who would set it off; several where it was asked before, and who of them did is not told apart.
    pub initiated_by: Vec<String>,
    /// Who would deploy it.
    pub deployer: Deployer,
    /// Why the gate's rules would be lifted.
    pub override_reason: Option<String>,
}

/// For whom the gate is asked. Whoever asks need not be who deploys: an approver looks whether their voice is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deployer {
    /// For nobody in particular.
    Anybody,
    /// For whoever asks.
    Caller,
    /// For this subject.
    Named(String),
}

impl Deployer {
    /// The subject, where it is for one.
    pub fn subject<'a>(&'a self, ctx: &'a Ctx) -> Option<&'a str> {
        match self {
            Self::Anybody => None,
            Self::Caller => Some(&ctx.actor().subject),
            Self::Named(subject) => Some(subject),
        }
    }
}

/// What a start would be told now.
#[derive(Clone, Debug)]
pub struct GateAnswer {
    /// What was asked.
    pub question: Question,
    /// The decision, as far as the caller may see it, and what it went by.
    pub decided: Decided,
    /// Whether the decision is kept.
    pub kept: bool,
}

impl GateAnswer {
    fn of(ctx: &Ctx, question: &Question, mut decided: Decided, kept: bool) -> Self {
        decided.decision = redacted(decided.decision, ctx.within());
        Self { question: question.clone(), decided, kept }
    }
}

/// What a start would be told now. Changes nothing, and locks nothing.
pub async fn check(ctx: &Ctx, question: &Question) -> Result<GateAnswer, Error> {
    Ok(GateAnswer::of(ctx, question, judge(ctx, question, None).await?, false))
}

/// As [`check`], and keeps the decision.
pub async fn keep(ctx: &Ctx, question: &Question, render: Render<'_, GateAnswer>) -> Result<Answer, Error> {
    let judged = &judge(ctx, question, Some(Scope::Deploy)).await?;
    ctx.write(|work| async move {
        let mut decided = judged.clone();
        decide::keep(&work, &mut decided, Answers::Question).await?;
        let at = decided.decision.evaluated_at;
        work.answer(at, &GateAnswer::of(ctx, question, decided, true), render).await
    })
    .await
}

/// Judges it for a caller who may read there, and has the scope there that what is done with the answer needs.
async fn judge(ctx: &Ctx, question: &Question, needs: Option<Scope>) -> Result<Decided, Error> {
    ctx.require(Scope::Read)?;
    let conn = ctx.app.db.read();
    let (LockedTarget { target, environment, now, .. }, running) = look(ctx, question).await?;
    let overrides = question.override_reason.as_ref().map(|_| Scope::Override);
    for scope in needs.into_iter().chain(overrides) {
        ctx.require_at(&[scope], &question.service, &question.environment)?;
    }
    let current = target.current.as_ref().map(|current| current.release_id);
    let there = (question.kind.unwrap_or(Kind::Deploy), current);
    let place = (&question.service, &question.environment);
    let version = register::meant(conn, there, place, question.version.as_ref()).await?;
    let wanted = Wanted {
        service_id: target.service_id,
        environment: &environment,
        version: &version,
        given: None,
        current,
        now,
    };
    let mut evidence = evidence::of(conn, &wanted).await?;
    let Some(release) = evidence.release.take() else {
        let service = named::service(ctx, question.service.as_str()).await?;
        return Err(named::no_release(conn, &service, version.as_str()).await);
    };
    let asked = Asked {
        kind: question.kind,
        preempt: question.preempt,
        initiated_by: &question.initiated_by,
        deployer: question.deployer.subject(ctx),
        override_reason: question.override_reason.as_deref(),
    };
    let scene = Scene {
        target: &target,
        service: &question.service,
        environment: &environment,
        release: &release,
        named: None,
        running,
        evidence,
        now,
    };
    decide(ctx, conn, asked, scene).await
}

/// So often a target is looked at whose deployments take each other's place meanwhile.
const LOOKS: u32 = 3;

/// The target, and what is under way there unless its lease has run out: a start would end it. What has ended between the look
/// at the target and the one at the deployment may have made room for another one, which must not be missed.
async fn look(ctx: &Ctx, question: &Question) -> Result<(LockedTarget, Option<RunningFact>), Error> {
    let mut found = peek(ctx, question).await?;
    for _ in 0..LOOKS {
        let Some(running) = &found.target.running else { break };
        let named = deployment::find(ctx.app.db.read(), &Narrowing::default(), running.deployment_id).await?;
        if let Some(named) = named.filter(|named| named.deployment.status == Status::Running) {
            let running = running_fact(&named);
            let is_leased = running.lease_expires_at > found.now;
            return Ok((found, is_leased.then_some(running)));
        }
        found = peek(ctx, question).await?;
    }
    Ok((found, None))
}

async fn peek(ctx: &Ctx, question: &Question) -> Result<LockedTarget, Error> {
    let (conn, within) = (ctx.app.db.read(), ctx.within());
    let (service, environment) = (&question.service, &question.environment);
    let Some(found) = target::peek(conn, within, service.as_str(), environment.as_str()).await? else {
        let unknown = register::unknown(ctx, conn, service.as_str(), environment.as_str()).await?;
        return Err(unknown.unwrap_or(Error::Raced));
    };
    register::refuse_closed(&found, service, environment)?;
    Ok(found)
}
