//! Declaring, editing and taking back freeze windows, and what they come to.

mod memo;

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;
use serde_json::json;
use uuid::Uuid;

pub use self::memo::Memo;
use crate::{
    clock,
    domain::{
        environment::Environment,
        event::{EventKind, NewEvent},
        fault::Malformed,
        freeze::{
            Covers, Definition, FreezeWindow, Standing, WINDOWS_MAX,
            calendar::{Interval, Span, TooMany, merged, spans},
            draft::Draft,
            standing,
        },
        gate::facts::Period,
        page::{Page, PageRequest, TimeKey, page},
        revision::Expected,
        vocabulary::Scope,
    },
    store::{
        db::{self, Tx},
        environment,
        error::StoreError,
        freeze, matrix,
    },
    usecase::{
        context::{Ctx, Render},
        error::Error,
    },
};

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
    freeze.definition.covers = freeze.definition.covers.within(ctx.within());
    let standing = standing(&freeze.definition.timing, now);
    Seen { freeze, standing }
}

/// Declares a freeze window.
pub async fn create(ctx: &Ctx, draft: &Draft, render: Render<'_, Seen>) -> Result<Seen, Error> {
    ctx.require(Scope::Admin)?;
    ctx.require_all_services()?;
    ctx.app.db.write(|tx| async move { create_in(ctx, tx, draft, render).await }).await
}

async fn create_in(ctx: &Ctx, tx: Tx, draft: &Draft, render: Render<'_, Seen>) -> Result<Seen, Error> {
    // Names are never taken off the record, so that they can be looked up, and schedules judged, before the lock.
    let definition = parse(ctx, &tx, draft, None).await?;
    require_covered(ctx, &definition.covers)?;
    freeze::lock(tx.conn()).await?;
    let now = db::now(tx.conn()).await?;
    if freeze::count(tx.conn()).await? >= WINDOWS_MAX {
        let detail = format!(
            "there are {WINDOWS_MAX} freeze windows, the most there can be; delete those that are over"
        );
        return Err(Error::Conflict(detail));
    }
    let made = FreezeWindow {
        id: clock::new_id(),
        definition,
        revision: 1,
        actor: ctx.actor().clone(),
        created_at: now,
        updated_at: now,
    };
    freeze::insert(tx.conn(), &made).await?;
    let data = json!({ "id": made.id, "window": made.definition });
    ctx.record(&tx, vec![about(ctx, EventKind::FreezeCreated, data, [&made.definition.covers])], now).await?;
    ctx.commit(tx, now, seen(ctx, made, now), render).await
}

async fn parse(
    ctx: &Ctx,
    tx: &Tx,
    draft: &Draft,
    before: Option<&FreezeWindow>,
) -> Result<Definition, Error> {
    // Before it is looked up: what lies outside is refused the same way whether or not it is there.
    draft.names().iter().try_for_each(|name| ctx.require_environment(name.as_str()))?;
    let known = freeze::known(tx.conn(), &draft.names()).await?;
    let now = db::now(tx.conn()).await?;
    let before = before.map(|before| &before.definition.timing);
    draft.parse(&known, before, now).map_err(|faults| Error::Invalid(faults.into_vec()))
}

/// Fails when a window counts where the token does not reach.
fn require_covered(ctx: &Ctx, covers: &Covers) -> Result<(), Error> {
    match covers {
        Covers::Environments(names) => names.iter().try_for_each(|name| ctx.require_environment(name)),
        Covers::Tiers(_) => ctx.require_all_environments(),
    }
}

/// An event about the one environment that is concerned, if it is one.
fn about<'a>(
    ctx: &Ctx,
    kind: EventKind,
    data: serde_json::Value,
    covers: impl IntoIterator<Item = &'a Covers>,
) -> NewEvent {
    let mut only: Option<&str> = None;
    let event = NewEvent::new(kind, ctx.actor(), data);
    for covers in covers {
        let Covers::Environments(names) = covers else { return event };
        for name in names {
            if only.is_some_and(|only| only != name) {
                return event;
            }
            only = Some(name);
        }
    }
    match only {
        Some(name) => event.environment(name),
        None => event,
    }
}

/// The periods in which an environment is kept shut: those of [`periods`](crate::domain::freeze::periods).
pub async fn periods(
    ctx: &Ctx,
    conn: &impl ConnectionTrait,
    environment: &Environment,
    now: DateTime<Utc>,
) -> Result<Vec<Period>, Error> {
    let memo = &ctx.app.freezes;
    if let Some(periods) = memo.recall(environment, now) {
        return Ok(periods);
    }
    Ok(memo.keep(environment, freeze::concerning(conn, environment).await?, now))
}

/// What an edit makes of what it finds.
pub type Edit<'a> = &'a (dyn Fn(Draft) -> Draft + Send + Sync);

/// Edits a freeze window. Only a revision that is `expected` is edited.
pub async fn update(ctx: &Ctx, id: Uuid, expected: &Expected, edit: Edit<'_>) -> Result<Seen, Error> {
    ctx.require(Scope::Admin)?;
    ctx.require_all_services()?;
    ctx.app.db.write(|tx| async move { update_in(ctx, tx, id, expected, edit).await }).await
}

async fn update_in(ctx: &Ctx, tx: Tx, id: Uuid, expected: &Expected, edit: Edit<'_>) -> Result<Seen, Error> {
    let mut freeze = lock(ctx, &tx, id, expected).await?;
    let definition = parse(ctx, &tx, &edit(Draft::from(&freeze.definition)), Some(&freeze)).await?;
    require_covered(ctx, &definition.covers)?;
    let now = db::now(tx.conn()).await?;
    if definition == freeze.definition {
        return Ok(seen(ctx, freeze, now));
    }
    let before = std::mem::replace(&mut freeze.definition, definition);
    freeze.revision += 1;
    freeze.updated_at = now;
    freeze::update(tx.conn(), &freeze).await?;
    let data = json!({ "id": id, "before": before, "after": freeze.definition });
    let covers = [&before.covers, &freeze.definition.covers];
    ctx.record(&tx, vec![about(ctx, EventKind::FreezeUpdated, data, covers)], now).await?;
    Ok(tx.commit(seen(ctx, freeze, now)).await?)
}

/// Takes a freeze window back. Only a revision that is `expected`.
pub async fn delete(ctx: &Ctx, id: Uuid, expected: &Expected) -> Result<(), Error> {
    ctx.require(Scope::Admin)?;
    ctx.require_all_services()?;
    ctx.app.db.write(|tx| async move { delete_in(ctx, tx, id, expected).await }).await
}

async fn delete_in(ctx: &Ctx, tx: Tx, id: Uuid, expected: &Expected) -> Result<(), Error> {
    let freeze = lock(ctx, &tx, id, expected).await?;
    let now = db::now(tx.conn()).await?;
    freeze::delete(tx.conn(), id).await?;
    let data = json!({ "id": id, "window": freeze.definition });
    ctx.record(&tx, vec![about(ctx, EventKind::FreezeDeleted, data, [&freeze.definition.covers])], now)
        .await?;
    Ok(tx.commit(()).await?)
}

/// Locks out every start, and finds the window that is to be changed.
async fn lock(ctx: &Ctx, tx: &Tx, id: Uuid, expected: &Expected) -> Result<FreezeWindow, Error> {
    freeze::lock(tx.conn()).await?;
    let found = freeze::find(tx.conn(), ctx.within(), id).await?;
    let freeze = found.ok_or_else(|| Error::not_found("freeze window", &id))?;
    require_covered(ctx, &freeze.definition.covers)?;
    if !expected.admits(freeze.revision) {
        return Err(Error::edited());
    }
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

/// Lists freeze windows, newest first; with `environment`, those that count there.
pub async fn list(
    ctx: &Ctx,
    environment: Option<&str>,
    request: &PageRequest<TimeKey>,
) -> Result<Page<Seen>, Error> {
    ctx.require(Scope::Read)?;
    let conn = ctx.app.db.read();
    let rows = freeze::list(conn, ctx.within(), environment, request).await?;
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

/// When environments are frozen, or one of them is.
pub async fn calendar(
    ctx: &Ctx,
    only: Option<&str>,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
) -> Result<Calendar, NoCalendar> {
    ctx.require(Scope::Read)?;
    let conn = ctx.app.db.read();
    let environments = match only {
        None => matrix::environments(conn, ctx.within(), None).await?,
        Some(name) => {
            let found = environment::find(conn, ctx.within(), name).await?;
            vec![found.ok_or_else(|| Error::no_environment(name))?]
        }
    };
    let concerns = |freeze: &FreezeWindow, environment: &Environment| {
        freeze.definition.covers.includes(environment.name.as_str(), environment.settings.tier)
    };
    let mut windows = freeze::all(conn, ctx.within()).await?;
    windows.retain(|freeze| environments.iter().any(|environment| concerns(freeze, environment)));
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
