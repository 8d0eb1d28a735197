//! Reading deployments.

use uuid::Uuid;

use crate::{
    domain::{
        deployment::{Filter, NamedDeployment},
        event::Event,
        page::{Page, PageRequest, TimeKey, page},
        vocabulary::Scope,
    },
    store::{deployment, event},
    usecase::{
        context::Ctx,
        error::Error,
        named::{self, Confined},
    },
};

/// The most events that a timeline shows.
const TIMELINE_MAX: i64 = 200;

/// Reads a deployment with its timeline, sealed events and others.
pub async fn get(ctx: &Ctx, id: Uuid) -> Result<(NamedDeployment, Vec<Event>), Error> {
    ctx.require_or_linger(Scope::Read)?;
    let conn = ctx.app.db.read();
    let named = deployment::find(conn, ctx.within(), id).await?;
    let named = named.ok_or_else(|| Error::not_found("deployment", &id))?;
    ctx.require_started(&named.deployment)?;
    Ok((named, event::of_deployment(conn, id, TIMELINE_MAX).await?))
}

/// Lists deployments, newest first.
pub async fn list(
    ctx: &Ctx,
    filter: &Filter,
    request: &PageRequest<TimeKey>,
) -> Result<Page<NamedDeployment>, Error> {
    ctx.require(Scope::Read)?;
    let rows = deployment::list(ctx.app.db.read(), ctx.within(), filter, request).await?;
    if rows.is_empty() {
        let Filter { service, environment, version, .. } = filter;
        let (service, environment) = (service.as_deref(), environment.as_deref());
        let version = version.as_deref();
        named::check(ctx, Confined { service, environment, version, ..Confined::default() }).await?;
    }
    Ok(page(rows, request.limit, |named| TimeKey {
        at: named.deployment.times.started_at,
        id: named.deployment.id,
    }))
}
