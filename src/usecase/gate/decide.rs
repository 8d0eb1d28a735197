//! The one way to a decision: gathers what the gate's rules look at, evaluates them, and keeps what they say. A start
//! does so under its locks, in one transaction; whoever only asks, without.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use crate::{
    clock,
    domain::{
        deployment::NamedDeployment,
        environment::Environment,
        fault::Malformed,
        gate::{
            Decision, Inputs, evaluate,
            facts::{Facts, Initiator, ReleaseFact, RunningFact},
            rules,
        },
        person::Person,
        release::Release,
        rollback::{HISTORY_MAX, Return, back_to},
        target::Target,
        text::{Image, Name},
        vocabulary::{Kind, Mode, Scope},
    },
    store::{
        decision::{self, About, Answers},
        deployment,
        evidence::Evidence,
        scan::{self, Budgeted},
    },
    usecase::{context::Ctx, error::Error, freezes, work::Work},
};

/// Among so many of the newest releases one that is within the vulnerability budget is looked for.
const ALTERNATIVES_MAX: i64 = 50;

/// What is asked of the gate, beside which release goes where.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What it is for; told by what is current when it is not given.
    pub kind: Option<Kind>,
    /// Whether what is running is to be cancelled, which only a rollback may.
    pub preempt: bool,
    /// The person who sets it off.
    pub initiated_by: &'a [String],
    /// The subject that deploys it; none where it is asked for nobody in particular.
    pub deployer: Option<&'a str>,
    /// Why an override lifts the rules.
    pub override_reason: Option<&'a str>,
}

/// Where the release is to go, and what was read of that.
#[derive(Debug)]
pub struct Scene<'a> {
    pub target: &'a Target,
    /// The name of the target's service.
    pub service: &'a Name,
    pub environment: &'a Environment,
    pub release: &'a Release,
    /// Its image where the request has named one, which may be in another place than the one on record.
    pub named: Option<&'a Image>,
    /// What is under way in the target.
    pub running: Option<RunningFact>,
    /// What is on record about the release.
    pub evidence: Evidence,
    /// The moment of the decision: the clock's, whatever was stored before.
    pub now: DateTime<Utc>,
}

/// A decision, and all that it went by.
#[derive(Clone, Debug)]
pub struct Decided {
    pub decision: Decision,
    pub inputs: Inputs,
    /// What it means as a rollback.
    pub back: Return,
    target: (Uuid, Uuid),
    release_id: Uuid,
}

/// Gathers the rest of the facts, and decides.
pub async fn decide(
    ctx: &Ctx,
    conn: &impl ConnectionTrait,
    asked: Asked<'_>,
    scene: Scene<'_>,
) -> Result<Decided, Error> {
    let (target, release_id, now) = (scene.target.place(), scene.release.id, scene.now);
    let (inputs, back) = gather(ctx, conn, asked, scene).await?;
    let decision = Decision {
        id: clock::new_id(),
        evaluated_at: now,
        verdict: evaluate(&inputs, now),
        policy_version: inputs.policy_version,
        override_reason: asked.override_reason.map(ToOwned::to_owned),
    };
    Ok(Decided { decision, inputs, back, target, release_id })
}

/// Keeps a decision. Tells whether it is news: a denial that a start was given before is counted there, and has that one's id.
pub async fn keep(work: &Work, decided: &mut Decided, answers: Answers) -> Result<bool, Error> {
    let Decided { decision, inputs, target: (service_id, environment_id), release_id, .. } = decided;
    let about = About {
        service_id: *service_id,
        environment_id: *environment_id,
        release_id: *release_id,
        answers,
        kind: inputs.facts.kind,
        actor: work.actor(),
    };
    if decision.verdict.allowed {
        decision::insert(work.conn(), decision, inputs, about).await?;
        return Ok(true);
    }
    let kept = decision::insert_denial(work.conn(), decision, inputs, about).await?;
    decision.id = kept.id;
    Ok(kept.is_news)
}

async fn gather(
    ctx: &Ctx,
    conn: &impl ConnectionTrait,
    asked: Asked<'_>,
    scene: Scene<'_>,
) -> Result<(Inputs, Return), Error> {
    let Scene { target, service, environment, release, named, running, evidence, now } = scene;
    let policy = &environment.policy.policy;
    let (kind, preempt) = kind(asked, target, release)?;
    let back = match kind {
        Kind::Rollback => rollback(ctx, conn, target, environment, release).await?,
        Kind::Deploy | Kind::Hotfix | Kind::Redeploy | Kind::Remove => Return::default(),
    };
    let freezes = match policy.freeze.mode {
        Mode::Off => Vec::new(),
        Mode::Enforce | Mode::Report => {
            freezes::periods(ctx, conn, (service.as_str(), environment), now).await?
        }
    };
    let image = release.identity.image.as_ref();
    let judged = kind.ships() && !back.verified;
    let within_budget =
        if judged { within_budget(conn, target, environment, &evidence, now).await? } else { None };
    let facts = Facts {
        kind,
        hotfix: ctx.holds_at(Scope::Hotfix, service, &environment.name),
        verified: back.verified,
        preempt,
        release: ReleaseFact {
            version: release.identity.version.to_string(),
            number: release.place,
            ordered_at: Some(release.ordered_at),
            image: named.or(image).map(ToString::to_string),
            platforms: release.platforms.iter().map(|platform| platform.name.clone()).collect(),
        },
        current: evidence.current,
        running,
        lockdown: environment.lockdown.clone(),
        freezes,
        sources: evidence.sources,
        approvals: evidence.approvals.into_iter().map(|said| said.of(image)).collect(),
        insiders: insiders(release, asked.initiated_by),
        deployer: asked.deployer.map(ToOwned::to_owned),
        initiator: Initiator::among(
            release.description.initiated_by.iter().chain(asked.initiated_by).map(String::as_str),
        ),
        reverted_at: evidence.reverted_at,
        scans: evidence.scans,
        waivers: evidence.waivers,
        within_budget,
    };
    let inputs = Inputs {
        facts,
        policy: policy.clone(),
        policy_version: environment.policy.version,
        lifted: asked.override_reason.is_some(),
    };
    Ok((inputs, back))
}

/// What it is for, and whether it cancels what is running.
fn kind(asked: Asked<'_>, target: &Target, release: &Release) -> Result<(Kind, bool), Error> {
    let current = target.current.as_ref();
    let is_current = current.is_some_and(|current| current.release_id == release.id);
    let kind = asked.kind.unwrap_or(if is_current { Kind::Redeploy } else { Kind::Deploy });
    let preempt = rules::preempts(Some(kind), asked.preempt)
        .map_err(|Malformed { code, detail }| Error::invalid("/preempt", code, detail))?;
    let artefact = release.identity.artefact();
    if kind == Kind::Redeploy && current.is_none_or(|current| current.artefact != artefact) {
        let detail = "only what is current can be redeployed; leave the kind out, or give another";
        return Err(Error::invalid("/kind", "not-current", detail));
    }
    Ok((kind, preempt))
}

/// A release to take instead, where this one is over the budget.
async fn within_budget(
    conn: &impl ConnectionTrait,
    target: &Target,
    environment: &Environment,
    evidence: &Evidence,
    now: DateTime<Utc>,
) -> Result<Option<String>, Error> {
    let rule = &environment.policy.policy.vulnerabilities;
    if rule.mode == Mode::Off || rules::over(rule, &evidence.scans, now).is_empty() {
        return Ok(None);
    }
    let (service_id, environment) = (target.service_id, environment.name.as_str());
    Ok(scan::newest_within(conn, Budgeted { service_id, environment, rule, now }, ALTERNATIVES_MAX).await?)
}

async fn rollback(
    ctx: &Ctx,
    conn: &impl ConnectionTrait,
    target: &Target,
    environment: &Environment,
    release: &Release,
) -> Result<Return, Error> {
    // Nothing may be current because it was removed, and then there is something to return to.
    let history = match target.last_at {
        Some(_) => deployment::successes(conn, target.place(), None, HISTORY_MAX).await?,
        None => Vec::new(),
    };
    let depth = usize::try_from(ctx.app.config.ledger.rollback_depth).unwrap_or(usize::MAX);
    let artefact = release.identity.artefact();
    let current = target.current.as_ref().map(|current| current.release_id);
    back_to(&history, current, (release.id, &artefact), depth).ok_or_else(|| {
        Error::Conflict(format!(
            "release {} is current in {} already; a rollback returns to another one",
            release.identity.version, environment.name
        ))
    })
}

/// Those whose approval would be their own release's or deployment's, beside the deployer. Whoever added the image decided
/// what runs.
fn insiders(release: &Release, initiated_by: &[String]) -> BTreeSet<String> {
    let made = release.description.initiated_by.iter().chain(&release.image_added_by).chain(initiated_by);
    let named = made.filter(|name| !Person::of(name).is_nobody());
    named.chain([&release.actor.subject]).cloned().collect()
}

/// What the rules know of a deployment under way.
pub fn running_fact(NamedDeployment { deployment, release, .. }: &NamedDeployment) -> RunningFact {
    RunningFact {
        deployment_id: deployment.id,
        version: release.version.to_string(),
        removal: !deployment.kind.ships(),
        actor: deployment.actor.clone(),
        since: deployment.times.started_at,
        lease_expires_at: deployment.times.lease_expires_at.unwrap_or(deployment.times.started_at),
    }
}
