//! Reading and setting the policies of environments.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::{
    domain::{
        environment::Environment,
        event::EventKind,
        policy::{self, InForce, Policy, SOURCES_MAX},
        revision::Expected,
        text::Name,
        vocabulary::{Preset, Scope},
    },
    store::{environment, policy::below},
    usecase::{context::Ctx, environments, error::Error, named, work::Work},
};

/// Reads the environment with the policy that a preset comes to there, in place of the one in force.
pub async fn preset(ctx: &Ctx, name: &str, preset: Preset) -> Result<Environment, Error> {
    let mut environment = environments::get(ctx, name).await?;
    let limit = i64::try_from(SOURCES_MAX + 1).unwrap_or(i64::MAX);
    let others = below(ctx.app.db.read(), ctx.within(), environment.settings.rank, limit).await?;
    environment.policy.policy = policy::preset(preset, &environment, &others).map_err(Error::Conflict)?;
    Ok(environment)
}

/// Sets the policy of an environment. Only a version that is `expected` is replaced. The same policy again
/// changes nothing.
pub async fn set(ctx: &Ctx, name: &str, expected: &Expected, policy: &Policy) -> Result<Environment, Error> {
    ctx.require(Scope::Policy)?;
    ctx.require_all_services()?;
    ctx.write(|work| async move { set_in(ctx, work, name, expected, policy).await }).await
}

/// Tells which policy another one would replace, if it may be set. Nothing is changed.
pub async fn review(ctx: &Ctx, name: &str, expected: &Expected, policy: &Policy) -> Result<InForce, Error> {
    ctx.require(Scope::Policy)?;
    ctx.require_all_services()?;
    ctx.write(|work| async move {
        let (environment, _) = admit(ctx, &work, name, expected, policy).await?;
        Ok(environment.policy)
    })
    .await
}

/// Finds the environment whose policy is to be replaced, and fails where it may not be.
async fn admit(
    ctx: &Ctx,
    work: &Work,
    name: &str,
    expected: &Expected,
    policy: &Policy,
) -> Result<(Environment, DateTime<Utc>), Error> {
    // The sources, too: none of them is archived before the policy that is to name them is in force.
    let from = policy.promotion.from.iter().map(String::as_str).filter(|name| Name::parse(name).is_ok());
    let (mut known, now) =
        environment::lock_all(work.conn(), &from.chain([name]).collect::<Vec<_>>()).await?;
    let found = known.iter().find(|environment| environment.name.as_str() == name);
    let found = found.filter(|_| ctx.within().allows_environment(name)).cloned();
    let Some(environment) = found else {
        return Err(named::no_environment(work.conn(), ctx.within(), name).await);
    };
    if environment.archived_at.is_some() {
        return Err(Error::archived("environment", name, "its policy stays as it is"));
    }
    let before = &environment.policy;
    Error::if_edited(expected, before.version)?;
    // Of what the token cannot see, it may keep what the policy names already.
    known.retain(|environment| {
        let name = environment.name.as_str();
        before.policy.promotion.from.iter().any(|from| from == name) || ctx.within().allows_environment(name)
    });
    policy.validate(&environment.name, &known).map_err(|faults| Error::Invalid(faults.into_vec()))?;
    Ok((environment, now))
}

async fn set_in(
    ctx: &Ctx,
    mut work: Work,
    name: &str,
    expected: &Expected,
    policy: &Policy,
) -> Result<Environment, Error> {
    let (mut environment, now) = admit(ctx, &work, name, expected, policy).await?;
    let before = environment.policy.clone();
    // To say for the first time what held anyway is a change: from then on it holds because somebody wants it.
    if before.version > 0 && before.policy == *policy {
        return Ok(environment);
    }
    environment.policy = InForce { version: before.version + 1, policy: policy.clone() };
    environment::update(work.conn(), &environment).await?;
    let data = json!({
        "version": environment.policy.version,
        "before": (before.version > 0).then_some(&before.policy),
        "after": policy,
        "changed": policy::changed(&before.policy, policy),
    });
    work.tell(EventKind::PolicyUpdated, data).environment(name);
    work.commit(now, environment).await
}
