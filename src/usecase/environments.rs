//! Registering, editing and archiving environments.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::{
    clock,
    domain::{
        environment::{Environment, EnvironmentSettings},
        event::{Event, EventKind, Filter, Stretch},
        idempotency::Answer,
        page::{LIMIT_MAX, Page, PageRequest, page},
        past,
        revision::Expected,
        text::Name,
        vocabulary::{Order, Scope},
    },
    store::environment,
    usecase::{
        context::Ctx,
        error::Error,
        events, named,
        work::{Render, Work},
    },
};

/// Registers an environment.
pub async fn create(
    ctx: &Ctx,
    name: &Name,
    settings: &EnvironmentSettings,
    render: Render<'_, Environment>,
) -> Result<Answer, Error> {
    ctx.require(Scope::Admin)?;
    ctx.require_environment(name.as_str())?;
    ctx.require_all_services()?;
    ctx.write(|mut work| async move {
        let now = work.now().await?;
        let made = Environment::new(clock::new_id(), name.clone(), settings.clone(), false, now);
        environment::insert(work.conn(), &made).await.map_err(|error| {
            if error.is_taken("environment") {
                Error::Conflict(format!("environment {name} is on record already"))
            } else {
                error.into()
            }
        })?;
        work.tell(EventKind::EnvironmentCreated, json!({ "settings": settings })).environment(name);
        work.answer(now, &made, render).await
    })
    .await
}

/// Reads an environment with the policy and the lockdown of a moment; all else is as it is. None, where they have changed too
/// often for all of it to be read.
pub async fn get_at(ctx: &Ctx, name: &str, at: DateTime<Utc>) -> Result<Option<Environment>, Error> {
    let mut environment = get(ctx, name).await?;
    let Some(changes) = all_of(ctx, name, EventKind::PolicyUpdated).await? else { return Ok(None) };
    let Some(placed) = all_of(ctx, name, EventKind::LockdownPlaced).await? else { return Ok(None) };
    let Some(lifted) = all_of(ctx, name, EventKind::LockdownLifted).await? else { return Ok(None) };
    let Some(policy) = past::policy(&changes, at) else { return Ok(None) };
    let mut lockdowns = [placed, lifted].concat();
    lockdowns.sort_by_key(|event| Reverse(event.at));
    environment.policy = policy;
    environment.lockdown = past::lockdown(&lockdowns, at);
    Ok(Some(environment))
}

/// All events of a kind about an environment, newest first; none where there are more than are read at once.
async fn all_of(ctx: &Ctx, name: &str, kind: EventKind) -> Result<Option<Vec<Event>>, Error> {
    let filter = Filter {
        kind: Some(kind.as_str().to_owned()),
        environment: Some(name.to_owned()),
        ..Filter::default()
    };
    let all = Stretch { order: Order::NewestFirst, from: None, limit: LIMIT_MAX };
    let log = events::list(ctx, filter, all).await?;
    Ok(log.next.is_none().then_some(log.events))
}

/// What an edit of an environment leaves alone is `None`; `Some(None)` empties a field.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// The settings after the change, made from those before.
    pub settings: Option<EnvironmentSettings>,
    /// Whether it is to be archived, or revived.
    pub archived: Option<bool>,
}

/// Edits an environment: `edit` is made from what it finds. Only a revision that is `expected` is edited.
pub async fn update(
    ctx: &Ctx,
    name: &str,
    expected: &Expected,
    edit: &(dyn Fn(&Environment) -> Result<Edit, Error> + Send + Sync),
) -> Result<Environment, Error> {
    ctx.require(Scope::Admin)?;
    ctx.require_all_services()?;
    ctx.write(|work| async move { update_in(ctx, work, name, expected, edit).await }).await
}

async fn update_in(
    ctx: &Ctx,
    mut work: Work,
    name: &str,
    expected: &Expected,
    edit: &(dyn Fn(&Environment) -> Result<Edit, Error> + Send + Sync),
) -> Result<Environment, Error> {
    let found = environment::lock_with_dependents(work.conn(), name).await?;
    let found = found.filter(|_| ctx.within().allows_environment(name));
    let Some((mut environment, now)) = found else {
        return Err(named::no_environment(work.conn(), ctx.within(), name).await);
    };
    Error::if_edited(expected, environment.revision)?;
    let edit = edit(&environment)?;
    let mut is_looked_at = edit.archived.is_none();
    if let Some(settings) = edit.settings.filter(|settings| *settings != environment.settings) {
        work.tell(
            EventKind::EnvironmentUpdated,
            json!({ "before": environment.settings, "after": settings }),
        )
        .environment(name);
        environment.settings = settings;
        is_looked_at = true;
    }
    match edit.archived {
        Some(true) if environment.archived_at.is_none() => {
            if environment::is_busy(work.conn(), environment.id).await? {
                return Err(Error::Conflict(format!(
                    "a deployment into {name} is running; finish it, then archive"
                )));
            }
            environment.archived_at = Some(now);
            work.tell(EventKind::EnvironmentArchived, json!({})).environment(name);
        }
        Some(false) if environment.archived_at.is_some() => {
            environment.archived_at = None;
            work.tell(EventKind::EnvironmentRevived, json!({})).environment(name);
        }
        Some(_) | None => {}
    }
    if !work.has_told() && environment.unconfirmed && is_looked_at {
        // Confirming what was registered in passing is a change too, even when every setting was right.
        work.tell(EventKind::EnvironmentUpdated, json!({ "confirmed": true })).environment(name);
    }
    if !work.has_told() {
        return Ok(environment);
    }
    // Whoever edits it has looked at it; to archive or revive it, nobody has to.
    environment.unconfirmed &= !is_looked_at;
    environment.revision += 1;
    environment.updated_at = now;
    environment::update(work.conn(), &environment).await?;
    work.commit(now, environment).await
}

/// Reads an environment.
pub async fn get(ctx: &Ctx, name: &str) -> Result<Environment, Error> {
    ctx.require(Scope::Read)?;
    named::environment(ctx, name).await
}

/// Lists environments by name.
pub async fn list(
    ctx: &Ctx,
    archived: bool,
    request: &PageRequest<String>,
) -> Result<Page<Environment>, Error> {
    ctx.require(Scope::Read)?;
    let rows = environment::list(ctx.app.db.read(), ctx.within(), archived, request).await?;
    Ok(page(rows, request.limit, |environment| environment.name.to_string()))
}
