//! Registering, editing and archiving services.

use serde_json::json;

use crate::{
    clock,
    domain::{
        event::EventKind,
        idempotency::Answer,
        page::{Page, PageRequest, page},
        revision::Expected,
        service::{Service, ServiceDescription},
        text::Name,
        vocabulary::Scope,
    },
    store::service,
    usecase::{
        context::Ctx,
        error::Error,
        named,
        work::{Render, Work},
    },
};

/// Registers a service.
pub async fn create(
    ctx: &Ctx,
    name: &Name,
    description: &ServiceDescription,
    render: Render<'_, Service>,
) -> Result<Answer, Error> {
    ctx.require(Scope::Admin)?;
    ctx.require_service(name.as_str())?;
    ctx.require_all_environments()?;
    ctx.write(|mut work| async move {
        let now = work.now().await?;
        let made = Service::new(clock::new_id(), name.clone(), description.clone(), now);
        service::insert(work.conn(), &made).await.map_err(|error| {
            if error.is_taken("service") {
                Error::Conflict(format!("service {name} is on record already"))
            } else {
                error.into()
            }
        })?;
        work.tell(EventKind::ServiceCreated, json!({ "description": description })).service(name);
        work.answer(now, &made, render).await
    })
    .await
}

/// What an edit of a service leaves alone is `None`; `Some(None)` empties a field.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// The description after the change, made from the one before.
    pub description: Option<ServiceDescription>,
    /// Whether it is to be archived, or revived.
    pub archived: Option<bool>,
}

/// Edits a service: `edit` is made from what it finds. Only a revision that is `expected` is edited.
pub async fn update(
    ctx: &Ctx,
    name: &str,
    expected: &Expected,
    edit: &(dyn Fn(&Service) -> Result<Edit, Error> + Send + Sync),
) -> Result<Service, Error> {
    ctx.require(Scope::Admin)?;
    ctx.require_all_environments()?;
    ctx.write(|work| async move { update_in(ctx, work, name, expected, edit).await }).await
}

async fn update_in(
    ctx: &Ctx,
    mut work: Work,
    name: &str,
    expected: &Expected,
    edit: &(dyn Fn(&Service) -> Result<Edit, Error> + Send + Sync),
) -> Result<Service, Error> {
    let found = service::lock(work.conn(), name).await?.filter(|_| ctx.within().allows_service(name));
    let Some((mut service, now)) = found else {
        return Err(named::no_service(work.conn(), ctx.within(), name).await);
    };
    Error::if_edited(expected, service.revision)?;
    let edit = edit(&service)?;
    if let Some(description) = edit.description.filter(|description| *description != service.description) {
        work.tell(EventKind::ServiceUpdated, json!({ "before": service.description, "after": description }))
            .service(name);
        service.description = description;
    }
    match edit.archived {
        Some(true) if service.archived_at.is_none() => {
            if service::is_busy(work.conn(), service.id).await? {
                return Err(Error::Conflict(format!(
                    "a deployment of {name} is running; finish it, then archive"
                )));
            }
            service.archived_at = Some(now);
            work.tell(EventKind::ServiceArchived, json!({})).service(name);
        }
        Some(false) if service.archived_at.is_some() => {
            service.archived_at = None;
            work.tell(EventKind::ServiceRevived, json!({})).service(name);
        }
        Some(_) | None => {}
    }
    if !work.has_told() {
        return Ok(service);
    }
    service.revision += 1;
    service.updated_at = now;
    service::update(work.conn(), &service).await?;
    work.commit(now, service).await
}

/// Reads a service.
pub async fn get(ctx: &Ctx, name: &str) -> Result<Service, Error> {
    ctx.require(Scope::Read)?;
    named::service(ctx, name).await
}

/// Lists services by name.
pub async fn list(ctx: &Ctx, archived: bool, request: &PageRequest<String>) -> Result<Page<Service>, Error> {
    ctx.require(Scope::Read)?;
    let rows = service::list(ctx.app.db.read(), ctx.within(), archived, request).await?;
    Ok(page(rows, request.limit, |service| service.name.to_string()))
}
