//! Declaring, editing and taking back freeze windows, and what they come to.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    clock,
    domain::{
        environment::Environment,
        event::EventKind,
        fault::Malformed,
        freeze::{
            Definition, FreezeWindow, Standing, WINDOWS_MAX,
            calendar::{Interval, Span, TooMany, merged, spans},
            draft::Draft,
            standing,
        },
        gate::{
            facts::Period,
            rules::{Shut, shut},
        },
        idempotency::Answer,
        page::{Page, PageRequest, TimeKey, page},
        places,
        revision::Expected,
        vocabulary::{Mode, Scope},
    },
    store::{db, environment, error::StoreError, freeze},
    usecase::{
        context::Ctx,
        error::Error,
        named::{self, Confined},
        work::{Render, Work},
    },
};

pub use crate::store::freeze::Only;

/// The most intervals that a calendar has.
const INTERVALS_MAX: usize = 10_000;

/// A freeze window, and how it stands at the moment.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The window.
    pub freeze: FreezeWindow,
    /// How it stands.
    pub standing: Standing,
}

/// As the caller may see it.
fn seen(ctx: &Ctx, mut freeze: FreezeWindow, now: DateTime<Utc>) -> Seen {
    freeze.definition = freeze.definition.within(ctx.within());
    let standing = standing(&freeze.definition.timing, now);
    Seen { freeze, standing }
}

/// Declares a freeze window.
pub async fn create(ctx: &Ctx, draft: &Draft, render: Render<'_, Seen>) -> Result<Answer, Error> {
    ctx.require(Scope::Freeze)?;
    ctx.require_all_services()?;
    ctx.write(|work| async move { create_in(ctx, work, draft, render).await }).await
}

async fn create_in(
    ctx: &Ctx,
    mut work: Work,
    draft: &Draft,
    render: Render<'_, Seen>,
) -> Result<Answer, Error> {
    // Names are never taken off the record, so that they can be looked up, and schedules judged, before the lock.
    let definition = parse(ctx, &work, draft, None).await?;
    ctx.require_environments(definition.covers.environments())?;
    environment::lock_table(work.conn()).await?;
    let now = work.now().await?;
    if freeze::count(work.conn()).await? >= WINDOWS_MAX {
        let detail = format!(
            "there are {WINDOWS_MAX} freeze windows, the most there can be; delete those that are over"
        );
        return Err(Error::Conflict(detail));
    }
    let made = FreezeWindow::new(clock::new_id(), definition, ctx.actor().clone(), now);
    freeze::insert(work.conn(), &made).await?;
    let data = json!({ "id": made.id, "window": made.definition });
    tell(&mut work, EventKind::FreezeCreated, data, [&made.definition]);
    work.answer(now, &seen(ctx, made, now), render).await
}

async fn parse(
    ctx: &Ctx,
    work: &Work,
    draft: &Draft,
    before: Option<&FreezeWindow>,
) -> Result<Definition, Error> {
    let environments = places::names(draft.environments.as_ref());
    let services = places::names(draft.services.as_ref());
    // Before it is looked up: what lies outside is refused the same way whether or not it is there.
    environments.iter().try_for_each(|name| ctx.require_environment(name.as_str()))?;
    let known = named::known(work.conn(), &services, &environments).await?;
    let now = work.now().await?;
    let before = before.map(|before| &before.definition.timing);
    draft.parse(&known, before, now).map_err(|faults| Error::Invalid(faults.into_vec()))
}

/// Tells of a change, as one of the one environment and of the one service that are concerned, if it is one.
fn tell<const N: usize>(work: &mut Work, kind: EventKind, data: Value, definitions: [&Definition; N]) {
    let environments = definitions.map(|definition| definition.covers.environments());
    let services = definitions.map(|definition| definition.services.as_ref());
    let event = work.tell(kind, data);
    if let Some(only) = places::only(environments) {
        event.environment(only);
    }
    if let Some(only) = places::only(services) {
        event.service(only);
    }
}

/// The periods in which an environment is kept shut for a service: those of [`periods`](crate::domain::freeze::periods).
pub async fn periods(
    ctx: &Ctx,
    conn: &impl ConnectionTrait,
    (service, environment): (&str, &Environment),
    now: DateTime<Utc>,
) -> Result<Vec<Period>, Error> {
    let memo = &ctx.app.freezes;
    if let Some(periods) = memo.recall(service, environment, now) {
        return Ok(periods);
    }
    Ok(memo.keep(service, environment, freeze::concerning(conn, environment).await?, now))
}

/// What is kept shut at the moment by the freezes that count: environments for every service, and each of these services where
/// it is kept shut, by its own windows or by those for all.
#[derive(Clone, Debug)]
pub struct ShutIn {
    pub environment: String,
    /// For every service.
    pub all: Option<Shut>,
    /// For each of the services, by name.
    pub services: HashMap<String, Shut>,
}

/// Tells which environments are shut for any of these services, and until when.
pub async fn shut_for(ctx: &Ctx, services: &[&str]) -> Result<Vec<ShutIn>, Error> {
    ctx.require(Scope::Read)?;
    let conn = ctx.app.db.read();
    let now = db::now(conn).await?;
    let mut found = Vec::new();
    for environment in environment::in_use(conn, ctx.within()).await? {
        if environment.policy.policy.freeze.mode != Mode::Enforce {
            continue;
        }
        // No service is called so: it stands for those that no window names.
        let all = shut(&periods(ctx, conn, ("", &environment), now).await?, now);
        let mut own = HashMap::new();
        for service in services {
            if let Some(shut) = shut(&periods(ctx, conn, (service, &environment), now).await?, now) {
                own.insert((*service).to_owned(), shut);
            }
        }
        found.push(ShutIn { environment: environment.name.to_string(), all, services: own });
    }
    Ok(found)
}

/// What an edit makes of what it finds.
pub type Edit<'a> = &'a (dyn Fn(Draft) -> Draft + Send + Sync);

/// Edits a freeze window. Only a revision that is `expected` is edited.
pub async fn update(ctx: &Ctx, id: Uuid, expected: &Expected, edit: Edit<'_>) -> Result<Seen, Error> {
    ctx.require(Scope::Freeze)?;
    ctx.require_all_services()?;
    ctx.write(|work| async move { update_in(ctx, work, id, expected, edit).await }).await
}

async fn update_in(
    ctx: &Ctx,
    mut work: Work,
    id: Uuid,
    expected: &Expected,
    edit: Edit<'_>,
) -> Result<Seen, Error> {
    let mut freeze = lock(ctx, &work, id, expected).await?;
    let definition = parse(ctx, &work, &edit(Draft::from(&freeze.definition)), Some(&freeze)).await?;
    ctx.require_environments(definition.covers.environments())?;
    let now = work.now().await?;
    if definition == freeze.definition {
        return Ok(seen(ctx, freeze, now));
    }
    let before = freeze.edit(definition, now);
    freeze::update(work.conn(), &freeze).await?;
    let data = json!({ "id": id, "before": before, "after": freeze.definition });
    tell(&mut work, EventKind::FreezeUpdated, data, [&before, &freeze.definition]);
    work.commit(now, seen(ctx, freeze, now)).await
}

/// Takes a freeze window back. Only a revision that is `expected`.
pub async fn delete(ctx: &Ctx, id: Uuid, expected: &Expected) -> Result<(), Error> {
    ctx.require(Scope::Freeze)?;
    ctx.require_all_services()?;
    ctx.write(|work| async move { delete_in(ctx, work, id, expected).await }).await
}

async fn delete_in(ctx: &Ctx, mut work: Work, id: Uuid, expected: &Expected) -> Result<(), Error> {
    let freeze = lock(ctx, &work, id, expected).await?;
    let now = work.now().await?;
    freeze::delete(work.conn(), id).await?;
    let data = json!({ "id": id, "window": freeze.definition });
    tell(&mut work, EventKind::FreezeDeleted, data, [&freeze.definition]);
    work.commit(now, ()).await
}

/// Locks out every start, and finds the window that is to be changed.
async fn lock(ctx: &Ctx, work: &Work, id: Uuid, expected: &Expected) -> Result<FreezeWindow, Error> {
    environment::lock_table(work.conn()).await?;
    let found = freeze::find(work.conn(), ctx.within(), id).await?;
    let freeze = found.ok_or_else(|| Error::not_found("freeze window", &id))?;
    ctx.require_environments(freeze.definition.covers.environments())?;
    Error::if_edited(expected, freeze.revision)?;
    Ok(freeze)
}

/// Reads a freeze window.
pub async fn get(ctx: &Ctx, id: Uuid) -> Result<Seen, Error> {
    ctx.require(Scope::Read)?;
    let conn = ctx.app.db.read();
    let found = freeze::find(conn, ctx.within(), id).await?;
    let freeze = found.ok_or_else(|| Error::not_found("freeze window", &id))?;
    Ok(seen(ctx, freeze, db::now(conn).await?))
}

/// Lists freeze windows, newest first; of those, what counts for a service and in an environment.
pub async fn list(ctx: &Ctx, only: Only<'_>, request: &PageRequest<TimeKey>) -> Result<Page<Seen>, Error> {
    ctx.require(Scope::Read)?;
    let conn = ctx.app.db.read();
    let rows = freeze::list(conn, ctx.within(), only, request).await?;
    if rows.is_empty() {
        let Only { service, environment } = only;
        named::check(ctx, Confined { service, environment, ..Confined::default() }).await?;
    }
    let now = db::now(conn).await?;
    let key = |freeze: &FreezeWindow| TimeKey { at: freeze.created_at, id: freeze.id };
    let Page { items, next } = page(rows, request.limit, key);
    Ok(Page { items: items.into_iter().map(|freeze| seen(ctx, freeze, now)).collect(), next })
}

/// When environments are frozen.
#[derive(Clone, Debug)]
pub struct Calendar {
    /// From when to when it tells.
    pub within: Span,
    /// The windows that it speaks of.
    pub windows: Vec<FreezeWindow>,
    /// The environments in the order of promotion, each with its intervals; these name windows by their places above.
    pub environments: Vec<(Environment, Vec<Interval>)>,
}

/// Why there is no calendar.
#[derive(Debug)]
pub enum NoCalendar {
    /// It cannot reach to where it is to end.
    To(Malformed),
    /// Anything else.
    Error(Error),
}

impl<E: Into<Error>> From<E> for NoCalendar {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// When environments are frozen, or one of them is, for any service or for one.
pub async fn calendar(
    ctx: &Ctx,
    only: Only<'_>,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
) -> Result<Calendar, NoCalendar> {
    ctx.require(Scope::Read)?;
    let conn = ctx.app.db.read();
    if let Some(name) = only.service {
        named::service(ctx, name).await?;
    }
    let environments = match only.environment {
        None => environment::in_use(conn, ctx.within()).await?,
        Some(name) => {
            vec![named::environment(ctx, name).await?]
        }
    };
    let concerns = |freeze: &FreezeWindow, environment: &Environment| {
        freeze.definition.covers.includes(environment.name.as_str(), environment.settings.tier)
    };
    let mut windows = freeze::all(conn, ctx.within()).await?;
    windows.retain(|freeze| environments.iter().any(|environment| concerns(freeze, environment)));
    windows.retain(|freeze| only.service.is_none_or(|service| freeze.window().is_for(service)));
    for freeze in &mut windows {
        freeze.definition = freeze.definition.clone().within(ctx.within());
    }
    let within = Span::asked(from, to, db::now(conn).await?).map_err(NoCalendar::To)?;
    let timings: Vec<_> = windows.iter().map(|freeze| freeze.definition.timing.clone()).collect();
    // A year of a thousand windows takes longer than other requests should wait for.
    let found = tokio::task::spawn_blocking(move || spans(&timings, within)).await;
    let found = found.map_err(|_panicked| Error::Internal(StoreError::Corrupt("calendar")))?;
    let spans = found.map_err(|TooMany| too_many())?;
    let mut left = INTERVALS_MAX;
    let mut shown = Vec::with_capacity(environments.len());
    for environment in environments {
        let theirs = windows.iter().zip(&spans).enumerate();
        let theirs = theirs.filter(|(_, (freeze, _))| concerns(freeze, &environment));
        let intervals = merged(theirs.map(|(place, (_, spans))| (place, spans.as_slice())));
        left = left.checked_sub(intervals.len()).ok_or_else(too_many)?;
        shown.push((environment, intervals));
    }
    Ok(Calendar { within, windows, environments: shown })
}

fn too_many() -> NoCalendar {
    let detail = "freezes begin and end too often until then; ask for a shorter time, or for one environment";
    NoCalendar::To(Malformed::new("too-many", detail))
}
