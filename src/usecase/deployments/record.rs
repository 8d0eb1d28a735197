//! Putting a finished deployment on record, past the gate: for tools that can only report, and for imports.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::{
    clock,
    domain::{
        deployment::{Deployment, Entry, NamedDeployment, Neighbour, Past, Plan, Surroundings},
        event::EventKind,
        idempotency::Answer,
        json::merged,
        moment::{SKEW_MAX, is_ahead},
        rollback::{HISTORY_MAX, reverts_since},
        scope::Narrowing,
        target::Target,
        text::Version,
        vocabulary::{Kind, Outcome, Scope},
    },
    store::{deployment, history, release, target},
    usecase::{
        context::Ctx,
        deployments::held,
        error::Error,
        register::{self, Placement, Slot},
        work::{Render, Work},
    },
};

/// A deployment that is over.
#[derive(Clone, Debug)]
pub struct Record {
    pub placement: Placement,
    pub past: Past,
}

/// What putting on record came to.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub named: NamedDeployment,
    /// Whether it was not on record before.
    pub new: bool,
}

/// Puts a deployment on record. The very same again changes nothing but what its release gains by it.
pub async fn record(ctx: &Ctx, asked: &Record, render: Render<'_, Recorded>) -> Result<Answer, Error> {
    asked.placement.require(ctx, &[Scope::Record, Scope::Deploy])?;
    let said = asked.past.plan.initiated_by.clone();
    let plan = Plan { initiated_by: ctx.initiator(said), ..asked.past.plan.clone() };
    let past = Past { plan, ..asked.past.clone() };
    let asked = &Record { placement: asked.placement.clone().by(ctx), past };
    // Boxed: it would otherwise lie on the stack of each request.
    let record = |work| Box::pin(record_in(ctx, work, asked, render));
    let (recorded, answer) = register::reviving(ctx, &asked.placement.environment, record).await?;
    if recorded.new {
        held::count(&ctx.app, &recorded.named);
    }
    Ok(answer)
}

async fn record_in(
    ctx: &Ctx,
    mut work: Work,
    Record { placement, past }: &Record,
    render: Render<'_, Recorded>,
) -> Result<(Recorded, Answer), Error> {
    let mut locked = if past.kind.ships() {
        register::lock_target(ctx, &mut work, placement).await?
    } else {
        register::lock_known_target(ctx, &work, placement).await?
    };
    let now = locked.now;
    placement.require(ctx, past.told_with(now, ctx.app.config.ledger.max_lease))?;
    // What a pipeline's clock that is a little fast calls the future is now.
    if is_ahead(past.finished_at, now) {
        return Err(Error::invalid("/finished_at", "future", "must not be in the future"));
    }
    let claimed = past.finished_at;
    let past =
        Past { started_at: past.started_at.min(now), finished_at: past.finished_at.min(now), ..past.clone() };
    let (remediates, succeeded) = (past.plan.remediates, past.outcome == Outcome::Succeeded);
    let version = meant(&work, placement, &past, &locked.target).await?;
    let identity = placement.identity(&version);
    let (known, before) =
        release::find_or_before(work.conn(), locked.target.service_id, &version, identity.as_ref()).await?;
    let may_register = ctx.app.config.ledger.auto_register;
    let slot = Slot {
        service_id: locked.target.service_id,
        service: &placement.service,
        version: &version,
        before: &before,
        now,
        commit: ctx.commit(),
        may_register,
    };
    let given = placement.release.as_ref();
    let release = register::release(&mut work, slot, known, given).await?.release;
    let maker = (clock::new_id(), ctx.actor().clone());
    let credited = placement.require(ctx, &[Scope::Override]).is_ok();
    let mut deployment = Deployment::record(maker, &mut locked.target, &release, past, credited);
    // Only an end that is or was the future just now can have been put on record as another moment.
    let slack = if now - claimed < SKEW_MAX { SKEW_MAX } else { TimeDelta::zero() };
    if let Some(twin) = history::twin(work.conn(), &deployment, claimed, slack).await? {
        let named = deployment::find(work.conn(), &Narrowing::default(), twin).await?;
        let named = named.ok_or_else(|| Error::not_found("deployment", &twin))?;
        return answered(work, now, Recorded { named, new: false }, render).await;
    }
    register::check_remediates(ctx, &work, remediates, &placement.service).await?;
    register::refuse_dormant(&locked.environment, deployment.kind)?;
    if succeeded {
        place(&work, &mut locked.target, &mut deployment).await?;
    } else {
        deployment::insert(work.conn(), &deployment).await?;
    }
    target::save(work.conn(), &locked.target).await?;
    let named = placement.named(deployment, release.identity);
    work.tell(EventKind::DeploymentRecorded, event_data(&named)).deployment(&named);
    answered(work, now, Recorded { named, new: true }, render).await
}

async fn answered(
    work: Work,
    now: DateTime<Utc>,
    recorded: Recorded,
    render: Render<'_, Recorded>,
) -> Result<(Recorded, Answer), Error> {
    let answer = work.answer(now, &recorded, render).await?;
    Ok((recorded, answer))
}

/// The version that is meant; of a removal that of what was there then.
async fn meant(work: &Work, placement: &Placement, past: &Past, target: &Target) -> Result<Version, Error> {
    let Placement { service, environment, version, .. } = placement;
    let there = if past.kind.ships() {
        None
    } else {
        history::before(work.conn(), target.place(), past.finished_at).await?
    };
    let there = there.filter(Neighbour::left_something).map(|there| there.release_id);
    register::meant(work.conn(), (past.kind, there), (service, environment), version.as_ref()).await
}

/// Gives a success its place in the target's history, and lets the others there make room for it.
async fn place(work: &Work, target: &mut Target, deployment: &mut Deployment) -> Result<(), Error> {
    let (conn, at) = (work.conn(), deployment.ended_at());
    let next = history::from(conn, deployment, at).await?;
    if next.as_ref().is_some_and(|next| next.finished_at == at) {
        return Err(Error::Conflict(
            "another deployment of this target succeeded at this very moment; times of a target must differ"
                .to_owned(),
        ));
    }
    let mut around = Surroundings {
        before: history::before(conn, target.place(), at).await?,
        next,
        reverted_by: history::reverter_of(conn, deployment, at).await?,
        reverts_since: None,
    };
    if deployment.kind == Kind::Rollback {
        let successes = deployment::successes(conn, target.place(), Some(at), HISTORY_MAX).await?;
        let is_current = around.before.as_ref().is_some_and(Neighbour::left_something);
        let to = (deployment.release_id, deployment.artefact.as_str());
        around.reverts_since = reverts_since(&successes, is_current, to);
    }
    let moved = deployment.place(target, &around);
    deployment::insert(conn, deployment).await?;
    if let Some(before) = around.before.as_ref().filter(|before| before.left_something()) {
        history::supersede(conn, before.id, at, deployment.id).await?;
    }
    if let Some(since) = around.reverts_since {
        history::revert(conn, deployment, since, at).await?;
    }
    if let Some((next, start)) = around.next.as_ref().zip(moved) {
        history::move_stay(conn, deployment, next, start).await?;
    }
    Ok(())
}

fn event_data(named: &NamedDeployment) -> Value {
    let Entry { kind, plan, standing, times, status, progress, .. } = &*named.deployment;
    let data = json!({
        "status": status,
        "started_at": times.started_at,
        "finished_at": times.finished_at,
        "kind": kind,
        "release": named.release,
        "message": progress.message,
        "ungated": standing.ungated,
        "credited": standing.credited,
        "reverts_since": times.reverts_since,
    });
    merged(data, plan)
}
