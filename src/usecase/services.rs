//! Registering, editing and archiving services.

use serde_json::json;

use crate::{
    domain::{
        event::{EventKind, NewEvent},
        page::{Page, PageRequest, page},
        revision::Expected,
        service::{Service, ServiceDescription},
        text::Name,
        vocabulary::Scope,
    },
    store::{
        db::{self, Tx},
        service,
    },
    usecase::{
        context::{Ctx, Render},
        error::Error,
        register::new_service,
    },
};

/// Registers a service.
pub async fn create(
    ctx: &Ctx,
    name: &Name,
    description: &ServiceDescription,
    render: Render<'_, Service>,
) -> Result<Service, Error> {
    ctx.require(Scope::Admin)?;
    ctx.require_service(name.as_str())?;
    ctx.require_all_environments()?;
    ctx.app
        .db
        .write(|tx| async move {
            let now = db::now(tx.conn()).await?;
            let made = new_service(name.clone(), description.clone(), now);
            service::insert(tx.conn(), &made).await.map_err(|error| {
                if error.is_taken("service") {
                    Error::Conflict(format!("service {name} is on record already"))
                } else {
                    error.into()
                }
            })?;
            let data = json!({ "description": description });
            ctx.record(
                &tx,
                vec![NewEvent::new(EventKind::ServiceCreated, ctx.actor(), data).service(name)],
                now,
            )
            .await?;
            ctx.commit(tx, now, made, render).await
        })
        .await
}

/// What a change of a service leaves alone is `None`; `Some(None)` empties a field.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// The description after the change, made from the one before.
    pub description: Option<ServiceDescription>,
    /// Whether it is to be archived, or revived.
    pub archived: Option<bool>,
}

/// Edits a service: `change` is made from what it finds. Only a revision that is `expected` is edited.
pub async fn update(
    ctx: &Ctx,
    name: &str,
    expected: &Expected,
    change: &(dyn Fn(&Service) -> Result<Change, Error> + Send + Sync),
) -> Result<Service, Error> {
    ctx.require(Scope::Admin)?;
    ctx.require_all_environments()?;
    ctx.app.db.write(|tx| async move { update_in(ctx, tx, name, expected, change).await }).await
}

async fn update_in(
    ctx: &Ctx,
    tx: Tx,
    name: &str,
    expected: &Expected,
    change: &(dyn Fn(&Service) -> Result<Change, Error> + Send + Sync),
) -> Result<Service, Error> {
    let found = service::lock(tx.conn(), name).await?.filter(|_| ctx.within().allows_service(name));
    let (mut service, now) = found.ok_or_else(|| Error::not_found("service", name))?;
    if !expected.admits(service.revision) {
        return Err(Error::edited());
    }
    let change = change(&service)?;
    let mut events = Vec::new();
    let mut event = |kind, data| events.push(NewEvent::new(kind, ctx.actor(), data).service(name));
    if let Some(description) = change.description.filter(|description| *description != service.description) {
        event(EventKind::ServiceUpdated, json!({ "before": service.description, "after": description }));
        service.description = description;
    }
    match change.archived {
        Some(true) if service.archived_at.is_none() => {
            if service::is_busy(tx.conn(), service.id).await? {
                return Err(Error::Conflict(format!(
                    "a deployment of {name} is running; finish it, then archive"
                )));
            }
            service.archived_at = Some(now);
            event(EventKind::ServiceArchived, json!({}));
        }
        Some(false) if service.archived_at.is_some() => {
            service.archived_at = None;
            event(EventKind::ServiceRevived, json!({}));
        }
        Some(_) | None => {}
    }
    if events.is_empty() {
        return Ok(service);
    }
    service.revision += 1;
    service.updated_at = now;
    service::update(tx.conn(), &service).await?;
    ctx.record(&tx, events, now).await?;
    Ok(tx.commit(service).await?)
}

/// Reads a service.
pub async fn get(ctx: &Ctx, name: &str) -> Result<Service, Error> {
    ctx.require(Scope::Read)?;
    let found = service::find(ctx.app.db.read(), ctx.within(), name).await?;
    found.ok_or_else(|| Error::not_found("service", name))
}

/// Lists services by name.
pub async fn list(ctx: &Ctx, archived: bool, request: &PageRequest<String>) -> Result<Page<Service>, Error> {
    ctx.require(Scope::Read)?;
    let rows = service::list(ctx.app.db.read(), ctx.within(), archived, request).await?;
    Ok(page(rows, request.limit, |service| service.name.to_string()))
}
