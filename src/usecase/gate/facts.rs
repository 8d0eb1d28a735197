//! Gathers what the gate's rules look at. A start does so under its locks, in one transaction; whoever only asks, without.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;

use crate::{
    domain::{
        deployment::Named,
        environment::Environment,
        fault::Malformed,
        gate::{
            Inputs,
            facts::{Facts, Initiator, ReleaseFact, RunningFact},
            rules,
        },
        person::Person,
        release::Release,
        rollback::{Return, back_to},
        target::Target,
        text::Image,
        vocabulary::{Kind, Mode, Scope},
    },
    store::{deployment, gate::Evidence, scan},
    usecase::{context::Ctx, error::Error, freezes},
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
    pub initiated_by: Option<&'a str>,
    /// The subject that deploys it; none where it is asked for nobody in particular.
    pub deployer: Option<&'a str>,
    /// Whether an override lifts the rules.
    pub lifted: bool,
}

/// Where the release is to go, and what was read of that.
#[derive(Debug)]
pub struct Scene<'a> {
    /// The target.
    pub target: &'a Target,
    /// Its environment.
    pub environment: &'a Environment,
    /// The release.
    pub release: &'a Release,
    /// Its image where the request has named one, which may be in another place than the one on record.
    pub named: Option<&'a Image>,
    /// What is under way in the target.
    pub running: Option<RunningFact>,
    /// What is on record about the release.
    pub evidence: Evidence,
    /// The moment.
    pub now: DateTime<Utc>,
}

/// Everything that the gate decides by.
#[derive(Clone, Debug)]
pub struct Case {
    /// What the rules look at, and how they count.
    pub inputs: Inputs,
    /// What it means as a rollback.
    pub back: Return,
    /// The moment of the decision: the clock's, whatever was stored before.
    pub now: DateTime<Utc>,
}

/// Gathers the rest of the facts.
pub async fn gather(
    ctx: &Ctx,
    conn: &impl ConnectionTrait,
    asked: Asked<'_>,
    scene: Scene<'_>,
) -> Result<Case, Error> {
    let Scene { target, environment, release, named, running, evidence, now } = scene;
    let policy = &environment.policy.policy;
    let artefact = release.identity.artefact();
    let is_current = target.current.as_ref().is_some_and(|current| current.release_id == release.id);
    let kind = asked.kind.unwrap_or(if is_current { Kind::Redeploy } else { Kind::Deploy });
    let preempt = rules::preempts(Some(kind), asked.preempt)
        .map_err(|Malformed { code, detail }| Error::invalid("/preempt", code, detail))?;
    if kind == Kind::Redeploy && target.current.as_ref().is_none_or(|current| current.artefact != artefact) {
        let detail = "only what is current can be redeployed; leave the kind out, or give another";
        return Err(Error::invalid("/kind", "not-current", detail));
    }
    let back = match kind {
        Kind::Rollback => rollback(ctx, conn, target, environment, release).await?,
        Kind::Deploy | Kind::Hotfix | Kind::Redeploy => Return::default(),
    };
    let freezes = match policy.freeze.mode {
        Mode::Off => Vec::new(),
        Mode::Enforce | Mode::Report => freezes::periods(ctx, conn, environment, now).await?,
    };
    let budget = &policy.vulnerabilities;
    let is_over = budget.mode != Mode::Off && !rules::over(budget, &evidence.scans).is_empty();
    let within_budget = if is_over && !back.verified {
        scan::newest_within(conn, target.service_id, budget, ALTERNATIVES_MAX).await?
    } else {
        None
    };
    let image = release.identity.image.as_ref();
    let facts = Facts {
        kind,
        hotfix: ctx.principal.holds(Scope::Hotfix),
        verified: back.verified,
        preempt,
        release: ReleaseFact {
            version: release.identity.version.to_string(),
            number: release.place,
            ordered_at: Some(release.ordered_at),
            image: named.or(image).map(ToString::to_string),
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
            release.description.initiated_by.as_deref().into_iter().chain(asked.initiated_by),
        ),
        reverted_at: evidence.reverted_at,
        scans: evidence.scans,
        within_budget,
    };
    let inputs = Inputs {
        facts,
        policy: policy.clone(),
        policy_version: environment.policy.version,
        lifted: asked.lifted,
    };
    Ok(Case { inputs, back, now })
}

async fn rollback(
    ctx: &Ctx,
    conn: &impl ConnectionTrait,
    target: &Target,
    environment: &Environment,
    release: &Release,
) -> Result<Return, Error> {
    let history = match &target.current {
        Some(_) => deployment::successes(conn, target.place(), None).await?,
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
fn insiders(release: &Release, initiated_by: Option<&str>) -> BTreeSet<String> {
    let made = [release.description.initiated_by.as_deref(), release.image_added_by.as_deref(), initiated_by];
    let named = made.into_iter().flatten().filter(|name| !Person::of(name).is_nobody());
    named.chain([release.actor.subject.as_str()]).map(ToOwned::to_owned).collect()
}

/// What the rules know of a deployment under way.
pub fn running_fact(Named { deployment, release, .. }: &Named) -> RunningFact {
    RunningFact {
        deployment_id: deployment.id,
        version: release.version.to_string(),
        actor: deployment.actor.clone(),
        since: deployment.times.started_at,
        lease_expires_at: deployment.times.lease_expires_at.unwrap_or(deployment.times.started_at),
    }
}
