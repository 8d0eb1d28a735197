//! Asking the gate without starting anything.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    clock,
    domain::{
        gate::{
            Decision, Inputs, evaluate,
            facts::{Facts, RunningFact},
            redact::redacted,
        },
        scope::Narrowing,
        target::Target,
        text::{Name, Version},
        vocabulary::{Kind, Scope, Status},
    },
    store::{
        decision::{self, About},
        deployment,
        gate::{self, Wanted},
        service,
        target::{self, Locked},
    },
    usecase::{
        context::{Ctx, Render},
        error::Error,
        gate::facts::{self, Asked, Case, Scene, running_fact},
        register,
    },
};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// The service.
    pub service: Name,
    /// The environment.
    pub environment: Name,
    /// The version.
    pub version: Version,
    /// What it would be for; told by what is current when it is not given.
    pub kind: Option<Kind>,
    /// Whether what is running is to be cancelled, which only a rollback may.
    pub preempt: bool,
    /// The person who would set it off.
    pub initiated_by: Option<String>,
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
pub struct Answer {
    /// What was asked.
    pub question: Question,
    /// What it would be for.
    pub kind: Kind,
    /// The subject that it was judged for; none where it was nobody in particular.
    pub deployer: Option<String>,
    /// For a rollback: what became current after this moment is what it would revert.
    pub reverts_since: Option<DateTime<Utc>>,
    /// The decision, as far as the caller may see it.
    pub decision: Decision,
    /// Whether the decision is kept.
    pub kept: bool,
}

/// What a start would be told now. Changes nothing, and locks nothing.
pub async fn check(ctx: &Ctx, question: &Question) -> Result<Answer, Error> {
    Ok(visible(ctx, judge(ctx, question).await?.answer))
}

/// As [`check`], and keeps the decision.
pub async fn record(ctx: &Ctx, question: &Question, render: Render<'_, Answer>) -> Result<Answer, Error> {
    ctx.require(Scope::Deploy)?;
    let judged = &judge(ctx, question).await?;
    ctx.app
        .db
        .write(|tx| async move {
            let Judged { answer, inputs, target, release_id } = judged;
            let about = About {
                service_id: target.service_id,
                environment_id: target.environment_id,
                release_id: *release_id,
                deployment_id: None,
                kind: answer.kind,
                actor: ctx.actor(),
            };
            let mut kept = Answer { kept: true, ..answer.clone() };
            if kept.decision.verdict.allowed {
                decision::insert(tx.conn(), &kept.decision, inputs, about).await?;
            } else {
                kept.decision.id = decision::insert_denial(tx.conn(), &kept.decision, inputs, about).await?;
            }
            let shown = visible(ctx, kept);
            ctx.commit(tx, answer.decision.evaluated_at, shown, render).await
        })
        .await
}

/// What the gate says, to whoever may see all of it.
struct Judged {
    answer: Answer,
    inputs: Inputs,
    target: Target,
    release_id: Uuid,
}

async fn judge(ctx: &Ctx, question: &Question) -> Result<Judged, Error> {
    ctx.require(Scope::Read)?;
    if question.override_reason.is_some() {
        ctx.require(Scope::Override)?;
    }
    let conn = ctx.app.db.read();
    let Locked { target, environment, now, .. } = peek(ctx, question).await?;
    let wanted = Wanted {
        service_id: target.service_id,
        environment: &environment,
        version: question.version.as_str(),
        given: None,
        current: target.current.as_ref().map(|current| current.release_id),
        now,
    };
    let mut evidence = gate::evidence(conn, &wanted).await?;
    let release = evidence.release.take().ok_or_else(|| {
        let name = format!("{} of {}; register it first", question.version, question.service);
        Error::not_found("release", &name)
    })?;
    let running = running(ctx, &target, now).await?;
    let asked = Asked {
        kind: question.kind,
        preempt: question.preempt,
        initiated_by: question.initiated_by.as_deref(),
        deployer: question.deployer.subject(ctx),
        lifted: question.override_reason.is_some(),
    };
    let scene = Scene {
        target: &target,
        environment: &environment,
        release: &release,
        named: None,
        running,
        evidence,
        now,
    };
    let Case { inputs, back, now } = facts::gather(ctx, conn, asked, scene).await?;
    let decision = Decision {
        id: clock::new_id(),
        evaluated_at: now,
        verdict: evaluate(&inputs, now),
        policy_version: inputs.policy_version,
        override_reason: question.override_reason.clone(),
    };
    let Facts { kind, deployer, .. } = &inputs.facts;
    let (kind, deployer) = (*kind, deployer.clone());
    let (question, reverts_since) = (question.clone(), back.reverts_since);
    let answer = Answer { question, kind, deployer, reverts_since, decision, kept: false };
    Ok(Judged { answer, inputs, target, release_id: release.id })
}

async fn peek(ctx: &Ctx, question: &Question) -> Result<Locked, Error> {
    let (conn, within) = (ctx.app.db.read(), ctx.within());
    let (service, environment) = (&question.service, &question.environment);
    if let Some(found) = target::peek(conn, within, service.as_str(), environment.as_str()).await? {
        register::refuse_closed(&found, service, environment)?;
        return Ok(found);
    }
    if service::find(conn, within, service.as_str()).await?.is_none() {
        return Err(Error::not_found("service", service));
    }
    Err(Error::no_environment(environment.as_str()))
}

/// What is under way in the target, unless its lease has run out: a start would end it.
async fn running(ctx: &Ctx, target: &Target, now: DateTime<Utc>) -> Result<Option<RunningFact>, Error> {
    let Some(running) = &target.running else { return Ok(None) };
    let named = deployment::find(ctx.app.db.read(), &Narrowing::default(), running.deployment_id).await?;
    let named = named.filter(|named| named.deployment.status == Status::Running);
    Ok(named.as_ref().map(running_fact).filter(|running| running.lease_expires_at > now))
}

/// The answer as far as its caller may see it.
fn visible(ctx: &Ctx, mut answer: Answer) -> Answer {
    answer.decision = redacted(answer.decision, ctx.within());
    answer
}
