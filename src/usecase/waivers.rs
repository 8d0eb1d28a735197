//! Waiving a vulnerability for a while, and taking that back.

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use crate::{
    clock,
    domain::{
        event::EventKind,
        idempotency::Answer,
        page::{Page, PageRequest, TimeKey, page},
        places,
        scope::Narrowing,
        vocabulary::Scope,
        waiver::{Draft, Filter, WAIVERS_MAX, Waiver},
    },
    store::{db, environment, waiver},
    usecase::{
        context::Ctx,
        error::Error,
        named::{self, Confined},
        work::{Render, Work},
    },
};

/// A waiver, and whether it holds at the moment.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The waiver, as the caller may see it.
    pub waiver: Waiver,
    /// Whether it holds.
    pub active: bool,
}

impl Seen {
    fn of(ctx: &Ctx, mut waiver: Waiver, now: DateTime<Utc>) -> Self {
        waiver.definition.places = waiver.definition.places.within(ctx.within());
        let active = waiver.holds(now);
        Self { waiver, active }
    }
}

/// Waives a vulnerability.
pub async fn create(ctx: &Ctx, draft: &Draft, render: Render<'_, Seen>) -> Result<Answer, Error> {
    ctx.require(Scope::Override)?;
    ctx.write(|work| async move { create_in(ctx, work, draft, render).await }).await
}

async fn create_in(
    ctx: &Ctx,
    mut work: Work,
    draft: &Draft,
    render: Render<'_, Seen>,
) -> Result<Answer, Error> {
    let services = places::names(draft.services.as_ref());
    let environments = places::names(draft.environments.as_ref());
    // Before they are looked up: what lies outside is refused the same way whether or not it is there.
    services.iter().try_for_each(|name| ctx.require_service(name.as_str()))?;
    environments.iter().try_for_each(|name| ctx.require_environment(name.as_str()))?;
    let known = named::known(work.conn(), &services, &environments).await?;
    let is_scanned = waiver::is_scanned(work.conn(), &draft.vulnerability()).await?;
    environment::lock_table(work.conn()).await?;
    let now = work.now().await?;
    let definition =
        draft.parse(is_scanned, &known, now).map_err(|faults| Error::Invalid(faults.into_vec()))?;
    require_covered(ctx, &definition.places)?;
    if waiver::count(work.conn(), now).await? >= WAIVERS_MAX {
        let detail =
            format!("{WAIVERS_MAX} waivers hold, the most there can be; withdraw those that nobody needs");
        return Err(Error::Conflict(detail));
    }
    let made = Waiver {
        id: clock::new_id(),
        definition,
        actor: ctx.actor().clone(),
        created_at: now,
        withdrawn_at: None,
    };
    waiver::insert(work.conn(), &made).await?;
    tell(&mut work, EventKind::WaiverCreated, &made);
    work.answer(now, &Seen::of(ctx, made, now), render).await
}

/// Fails when a waiver counts where the token does not reach.
fn require_covered(ctx: &Ctx, Narrowing { services, environments }: &Narrowing) -> Result<(), Error> {
    match services {
        Some(names) => names.iter().try_for_each(|name| ctx.require_service(name))?,
        None => ctx.require_all_services()?,
    }
    ctx.require_environments(environments.as_ref())
}

/// Tells of a change, as one of the one service and of the one environment that it concerns, where it is one.
fn tell(work: &mut Work, kind: EventKind, waiver: &Waiver) {
    let event = work.tell(kind, json!({ "id": waiver.id, "waiver": waiver.definition }));
    let Narrowing { services, environments } = &waiver.definition.places;
    if let Some(only) = places::only([services.as_ref()]) {
        event.service(only);
    }
    if let Some(only) = places::only([environments.as_ref()]) {
        event.environment(only);
    }
}

/// Withdraws a waiver: the vulnerability counts again, at once. One that holds no more is left as it is.
pub async fn withdraw(ctx: &Ctx, id: Uuid) -> Result<(), Error> {
    ctx.require(Scope::Override)?;
    ctx.write(|work| async move { withdraw_in(ctx, work, id).await }).await
}

async fn withdraw_in(ctx: &Ctx, mut work: Work, id: Uuid) -> Result<(), Error> {
    environment::lock_table(work.conn()).await?;
    let found = waiver::find(work.conn(), ctx.within(), id).await?;
    let found = found.ok_or_else(|| Error::not_found("waiver", &id))?;
    require_covered(ctx, &found.definition.places)?;
    let now = work.now().await?;
    if found.holds(now) {
        waiver::withdraw(work.conn(), id, now).await?;
        tell(&mut work, EventKind::WaiverWithdrawn, &found);
    }
    work.commit(now, ()).await
}

/// Reads a waiver.
pub async fn get(ctx: &Ctx, id: Uuid) -> Result<Seen, Error> {
    ctx.require(Scope::Read)?;
    let conn = ctx.app.db.read();
    let found = waiver::find(conn, ctx.within(), id).await?;
    let waiver = found.ok_or_else(|| Error::not_found("waiver", &id))?;
    Ok(Seen::of(ctx, waiver, db::now(conn).await?))
}

/// Lists waivers, newest first: those that hold, or all that ever did.
pub async fn list(
    ctx: &Ctx,
    filter: &Filter,
    all: bool,
    request: &PageRequest<TimeKey>,
) -> Result<Page<Seen>, Error> {
    ctx.require(Scope::Read)?;
    let conn = ctx.app.db.read();
    let now = db::now(conn).await?;
    let (service, environment) = (filter.service.as_deref(), filter.environment.as_deref());
    named::check(ctx, Confined { service, environment, ..Confined::default() }).await?;
    let filter = Filter { at: (!all).then_some(now), ..filter.clone() };
    let rows = waiver::list(conn, ctx.within(), &filter, request).await?;
    let key = |waiver: &Waiver| TimeKey { at: waiver.created_at, id: waiver.id };
    let Page { items, next } = page(rows, request.limit, key);
    Ok(Page { items: items.into_iter().map(|waiver| Seen::of(ctx, waiver, now)).collect(), next })
}
