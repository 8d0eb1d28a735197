//! Registering and reading releases.

use crate::{
    domain::{
        idempotency::Answer,
        page::{OrderKey, Page, PageRequest, page},
        passage::{PASSAGE_MAX, Passage, Way},
        release::Release,
        text::{Name, Version},
        vocabulary::Scope,
    },
    store::{release, service},
    usecase::{
        context::Ctx,
        error::Error,
        named,
        register::{self, GivenRelease, Registered, Slot},
        work::{Render, Work},
    },
};

/// Registers a release, and its service where that is not on record yet, as a deployment does.
pub async fn create(
    ctx: &Ctx,
    service_name: &Name,
    version: &Version,
    given: &GivenRelease,
    render: Render<'_, Registered>,
) -> Result<Answer, Error> {
    ctx.require(Scope::Deploy)?;
    ctx.require_service(service_name.as_str())?;
    let given = &given.clone().by(ctx);
    ctx.write(|work| async move { create_in(ctx, work, service_name, version, given, render).await }).await
}

async fn create_in(
    ctx: &Ctx,
    mut work: Work,
    service_name: &Name,
    version: &Version,
    given: &GivenRelease,
    render: Render<'_, Registered>,
) -> Result<Answer, Error> {
    let locked = service::lock(work.conn(), service_name.as_str()).await?;
    let (service_id, now) = if let Some((service, now)) = locked {
        if service.archived_at.is_some() {
            return Err(Error::archived("service", service_name, "it takes no new releases"));
        }
        (service.id, now)
    } else {
        let now = work.now().await?;
        (register::make_service(ctx, &mut work, service_name, now).await?, now)
    };
    let identity = given.identity(version);
    let (known, before) = release::find_or_before(work.conn(), service_id, version, Some(&identity)).await?;
    let slot = Slot {
        service_id,
        service: service_name,
        version,
        before: &before,
        now,
        commit: ctx.commit(),
        may_register: true,
    };
    let registered = register::release(&mut work, slot, known, Some(given)).await?;
    work.answer(now, &registered, render).await
}

/// Reads a release.
pub async fn get(ctx: &Ctx, service_name: &str, version: &str) -> Result<Release, Error> {
    ctx.require(Scope::Read)?;
    Ok(named::release(ctx, service_name, version).await?.1)
}

/// Lists a service's releases, newest first: all, or those of which this digest is the image or a platform.
pub async fn list(
    ctx: &Ctx,
    service_name: &str,
    digest: Option<&str>,
    request: &PageRequest<OrderKey>,
) -> Result<Page<Release>, Error> {
    ctx.require(Scope::Read)?;
    let service = named::service(ctx, service_name).await?;
    let rows = release::list(ctx.app.db.read(), service.id, digest, request).await?;
    Ok(page(rows, request.limit, |release| OrderKey { at: release.ordered_at, number: release.number }))
}

/// What goes along when a release takes the place of another, or of nothing.
pub async fn passage(ctx: &Ctx, service_name: &str, from: Option<&str>, to: &str) -> Result<Passage, Error> {
    ctx.require(Scope::Read)?;
    let (service, to) = named::release(ctx, service_name, to).await?;
    let from = match from {
        Some(version) => Some(named::release(ctx, service_name, version).await?.1),
        None => None,
    };
    let way = Way::between(from.as_ref(), &to);
    let (older, newer) = match (way, from) {
        (Way::Back, Some(from)) => (Some(to), from),
        (Way::Same | Way::Forward | Way::Back, from) => (from, to),
    };
    // What follows the key directly is the newer one itself.
    let after = Some(OrderKey { at: newer.ordered_at, number: newer.number + 1 });
    let request = PageRequest { after, limit: PASSAGE_MAX };
    let rows = release::list(ctx.app.db.read(), service.id, None, &request).await?;
    Ok(Passage::of(way, older.as_ref(), rows))
}
