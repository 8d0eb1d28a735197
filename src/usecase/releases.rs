//! Registering and reading releases.

use crate::{
    domain::{
        page::{OrderKey, Page, PageRequest, page},
        release::Release,
        text::{Name, Version},
        vocabulary::Scope,
    },
    store::{
        db::{self, Tx},
        release, service,
    },
    usecase::{
        context::{Ctx, Render},
        error::Error,
        register::{self, GivenRelease, Registered, Slot},
    },
};

/// Registers a release, and its service where that is not on record yet, as a deployment does.
pub async fn create(
    ctx: &Ctx,
    service_name: &Name,
    version: &Version,
    given: &GivenRelease,
    render: Render<'_, Registered>,
) -> Result<Registered, Error> {
    ctx.require(Scope::Deploy)?;
    ctx.require_service(service_name.as_str())?;
    ctx.app.db.write(|tx| async move { create_in(ctx, tx, service_name, version, given, render).await }).await
}

async fn create_in(
    ctx: &Ctx,
    tx: Tx,
    service_name: &Name,
    version: &Version,
    given: &GivenRelease,
    render: Render<'_, Registered>,
) -> Result<Registered, Error> {
    let mut events = Vec::new();
    let (service_id, now) =
        if let Some((service, now)) = service::lock(tx.conn(), service_name.as_str()).await? {
            if service.archived_at.is_some() {
                return Err(Error::Conflict(format!(
                    "service {service_name} is archived; it takes no new releases"
                )));
            }
            (service.id, now)
        } else {
            let now = db::now(tx.conn()).await?;
            (register::make_service(ctx, &tx, service_name, now, &mut events).await?, now)
        };
    let identity = given.identity(version);
    let (known, before) =
        release::find_or_before(tx.conn(), service_id, version.as_str(), Some(&identity)).await?;
    let slot = Slot { service_id, service: service_name, version, before: &before, now, may_register: true };
    let registered = register::release(ctx, &tx, slot, known, Some(given), &mut events).await?;
    if !events.is_empty() {
        ctx.record(&tx, events, now).await?;
    }
    ctx.commit(tx, now, registered, render).await
}

/// Reads a release.
pub async fn get(ctx: &Ctx, service_name: &str, version: &str) -> Result<Release, Error> {
    ctx.require(Scope::Read)?;
    let conn = ctx.app.db.read();
    let service = service::find(conn, ctx.within(), service_name).await?;
    let service = service.ok_or_else(|| Error::not_found("service", service_name))?;
    let release = release::find(conn, service.id, version).await?;
    release.ok_or_else(|| Error::not_found("release", &format!("{version} of {service_name}")))
}

/// Lists a service's releases, newest first.
pub async fn list(
    ctx: &Ctx,
    service_name: &str,
    request: &PageRequest<OrderKey>,
) -> Result<Page<Release>, Error> {
    ctx.require(Scope::Read)?;
    let conn = ctx.app.db.read();
    let service = service::find(conn, ctx.within(), service_name).await?;
    let service = service.ok_or_else(|| Error::not_found("service", service_name))?;
    let rows = release::list(conn, service.id, request).await?;
    Ok(page(rows, request.limit, |release| OrderKey { at: release.ordered_at, number: release.number }))
}
