//! Registering, editing and archiving environments.

use serde_json::json;

use crate::{
    domain::{
        environment::{Environment, EnvironmentSettings},
        event::{EventKind, NewEvent},
        page::{Page, PageRequest, page},
        revision::Expected,
        text::Name,
        vocabulary::Scope,
    },
    store::{
        db::{self, Tx},
        environment,
    },
    usecase::{
        context::{Ctx, Render},
        error::Error,
        register::new_environment,
    },
};

/// Registers an environment.
pub async fn create(
    ctx: &Ctx,
    name: &Name,
    settings: &EnvironmentSettings,
    render: Render<'_, Environment>,
) -> Result<Environment, Error> {
    ctx.require(Scope::Admin)?;
    ctx.require_environment(name.as_str())?;
    ctx.require_all_services()?;
    ctx.app
        .db
        .write(|tx| async move {
            let now = db::now(tx.conn()).await?;
            let made = new_environment(name.clone(), settings.clone(), false, now);
            environment::insert(tx.conn(), &made).await.map_err(|error| {
                if error.is_taken("environment") {
                    Error::Conflict(format!("environment {name} is on record already"))
                } else {
                    error.into()
                }
            })?;
            let data = json!({ "settings": settings });
            ctx.record(
                &tx,
                vec![NewEvent::new(EventKind::EnvironmentCreated, ctx.actor(), data).environment(name)],
                now,
            )
            .await?;
            ctx.commit(tx, now, made, render).await
        })
        .await
}

/// What a change of an environment leaves alone is `None`; `Some(None)` empties a field.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// The settings after the change, made from those before.
    pub settings: Option<EnvironmentSettings>,
    /// Whether it is to be archived, or revived.
    pub archived: Option<bool>,
}

/// Edits an environment: `change` is made from what it finds. Only a revision that is `expected` is edited.
pub async fn update(
    ctx: &Ctx,
    name: &str,
    expected: &Expected,
    change: &(dyn Fn(&Environment) -> Result<Change, Error> + Send + Sync),
) -> Result<Environment, Error> {
    ctx.require(Scope::Admin)?;
    ctx.require_all_services()?;
    ctx.app.db.write(|tx| async move { update_in(ctx, tx, name, expected, change).await }).await
}

async fn update_in(
    ctx: &Ctx,
    tx: Tx,
    name: &str,
    expected: &Expected,
    change: &(dyn Fn(&Environment) -> Result<Change, Error> + Send + Sync),
) -> Result<Environment, Error> {
    let found = environment::lock_with_dependents(tx.conn(), name).await?;
    let found = found.filter(|_| ctx.within().allows_environment(name));
    let (mut environment, now) = found.ok_or_else(|| Error::no_environment(name))?;
    if !expected.admits(environment.revision) {
        return Err(Error::edited());
    }
    let change = change(&environment)?;
    let mut events = Vec::new();
    let mut event = |kind, data| events.push(NewEvent::new(kind, ctx.actor(), data).environment(name));
    if let Some(settings) = change.settings.filter(|settings| *settings != environment.settings) {
        event(EventKind::EnvironmentUpdated, json!({ "before": environment.settings, "after": settings }));
        environment.settings = settings;
    }
    match change.archived {
        Some(true) if environment.archived_at.is_none() => {
            if environment::is_busy(tx.conn(), environment.id).await? {
                return Err(Error::Conflict(format!(
                    "a deployment into {name} is running; finish it, then archive"
                )));
            }
            environment.archived_at = Some(now);
            event(EventKind::EnvironmentArchived, json!({}));
        }
        Some(false) if environment.archived_at.is_some() => {
            environment.archived_at = None;
            event(EventKind::EnvironmentRevived, json!({}));
        }
        Some(_) | None => {}
    }
    if events.is_empty() && environment.unconfirmed {
        event_confirmed(ctx, name, &mut events);
    }
    if events.is_empty() {
        return Ok(environment);
    }
    // Whoever edits it has looked at it.
    environment.unconfirmed = false;
    environment.revision += 1;
    environment.updated_at = now;
    environment::update(tx.conn(), &environment).await?;
    ctx.record(&tx, events, now).await?;
    Ok(tx.commit(environment).await?)
}

/// Reads an environment.
pub async fn get(ctx: &Ctx, name: &str) -> Result<Environment, Error> {
    ctx.require(Scope::Read)?;
    let found = environment::find(ctx.app.db.read(), ctx.within(), name).await?;
    found.ok_or_else(|| Error::no_environment(name))
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

/// Confirming what was registered in passing is a change too, even when every setting was right.
fn event_confirmed(ctx: &Ctx, name: &str, events: &mut Vec<NewEvent>) {
    let data = json!({ "confirmed": true });
    events.push(NewEvent::new(EventKind::EnvironmentUpdated, ctx.actor(), data).environment(name));
}
