//! What runs where, for all targets or for one.

mod rows;
mod sheet;

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;
use uuid::Uuid;

pub use self::{
    rows::{Shown, TargetWriter, read},
    sheet::{Ask, Sheet, SheetWriter, Sheets, Written},
};
use crate::{
    domain::{
        matrix::Column,
        rollback::{HISTORY_MAX, NEWEST, Success, choices, nearest_choice},
        target::{Occupant, Occupied},
        vocabulary::Scope,
    },
    store::{db, deployment, matrix, release},
    usecase::{
        context::Ctx,
        error::Error,
        named::{self, Confined},
    },
};

/// How a matrix is written.
#[derive(Clone, Copy, Debug)]
pub struct Writer {
    /// What there is to show of a target.
    pub target: TargetWriter,
    /// What is answered.
    pub sheet: SheetWriter,
}

/// The matrix, now or at a moment of the past; without its body for whoever `has` what bears its tag already. Now is read
/// from what is kept, which holds every change that was committed before the request came.
pub async fn get(
    ctx: &Ctx,
    ask: Ask,
    as_of: Option<DateTime<Utc>>,
    writer: Writer,
    has: &(dyn Fn(&str) -> bool + Sync),
) -> Result<Sheet, Error> {
    ctx.require(Scope::Read)?;
    let now = match &ctx.seen {
        Some(seen) => seen.at,
        None => db::now(ctx.app.db.read()).await?,
    };
    let filter = ask.filter.clone();
    let sheet = if let Some(at) = as_of.filter(|at| *at < now) {
        past(ctx, &ask, at, writer, has).await?
    } else {
        let kept = ctx.app.matrix.current(&ctx.app.db, ctx.seen.as_ref(), writer.target);
        let (known, at) = kept.await?;
        let key = (ctx.within().clone(), ask);
        known.sheets.get(key, (&known.columns, &known.rows), at, writer.sheet, has)?
    };
    if sheet.is_empty {
        let (service, environment) = (filter.service.as_deref(), filter.environment.as_deref());
        named::check(ctx, Confined { service, environment, ..Confined::default() }).await?;
    }
    Ok(sheet)
}

/// The past does not change, but there is too much of it to be kept: of that, only what is shown is read.
async fn past(
    ctx: &Ctx,
    ask: &Ask,
    at: DateTime<Utc>,
    writer: Writer,
    has: &(dyn Fn(&str) -> bool + Sync),
) -> Result<Sheet, Error> {
    let (conn, within) = (ctx.app.db.read(), ctx.within());
    let columns = matrix::columns(conn, within, Some(at)).await?;
    let mut services = matrix::services(conn, within, Some(at), None).await?;
    services.retain(|service| ask.filter.takes(service) && ask.is_after(&service.name));
    // Which are shown may be told only by what they ran.
    let limit = ask.limit.filter(|_| ask.filter.only.is_none());
    let more = limit.is_some_and(|limit| services.len() > limit);
    services.truncate(limit.unwrap_or(usize::MAX));
    let next = services.last().filter(|_| more).map(|last| last.name.clone());
    let mut rows = read(conn, services, Some(at), writer.target).await?;
    // What was registered later is left out, unless something was put on record there for that moment.
    rows.retain(|row| row.service.created_at <= at || !row.cells.is_empty());
    let used =
        |column: &Column| rows.iter().any(|row| row.cells.iter().any(|cell| cell.environment == column.name));
    let columns: Vec<_> =
        columns.into_iter().filter(|column| column.created_at <= at || used(column)).collect();
    sheet::of(&columns, &rows, within, ask, next, at, writer.sheet, has)
}

/// One target, with the release it may return to.
#[derive(Clone, Debug)]
pub struct TargetState {
    /// What it runs and what is under way.
    pub occupied: Occupied,
    /// The newest verified choice for a rollback.
    pub rollback_to: Option<Occupant>,
}

/// A service in an environment, with what occupies it there.
#[derive(Clone, Debug)]
pub struct Place {
    pub environment: Column,
    /// What it runs there.
    pub current: Option<Occupant>,
    /// What is under way there.
    pub running: Option<Occupant>,
}

/// A service in every environment, in the order of promotion, now or as it was at a moment.
pub async fn of_service(
    ctx: &Ctx,
    service_name: &str,
    at: Option<DateTime<Utc>>,
) -> Result<Vec<Place>, Error> {
    ctx.require(Scope::Read)?;
    let conn = ctx.app.db.read();
    named::service(ctx, service_name).await?;
    let columns = matrix::columns(conn, ctx.within(), at).await?;
    let mut occupied = occupied(ctx, service_name, at).await?;
    let place = |environment: Column| {
        let found = occupied.iter().position(|target| target.environment == environment.name);
        let found = found.map(|found| occupied.swap_remove(found));
        let (current, running) = found.map_or((None, None), |target| (target.current, target.running));
        Place { environment, current, running }
    };
    Ok(columns.into_iter().map(place).collect())
}

async fn occupied(ctx: &Ctx, service: &str, at: Option<DateTime<Utc>>) -> Result<Vec<Occupied>, Error> {
    let conn = ctx.app.db.read();
    Ok(match at {
        None => matrix::now(conn, &[service], None).await?,
        Some(at) => matrix::as_of(conn, &[service], at).await?,
    })
}

/// One target as it was at a moment.
pub async fn target_at(
    ctx: &Ctx,
    service_name: &str,
    environment_name: &str,
    at: DateTime<Utc>,
) -> Result<Occupied, Error> {
    ctx.require(Scope::Read)?;
    named::service(ctx, service_name).await?;
    named::environment(ctx, environment_name).await?;
    let then = occupied(ctx, service_name, Some(at)).await?;
    let found = then.into_iter().find(|target| target.environment == environment_name);
    Ok(found.unwrap_or_else(|| vacant(service_name, environment_name)))
}

fn vacant(service: &str, environment: &str) -> Occupied {
    Occupied {
        service: service.to_owned(),
        environment: environment.to_owned(),
        current: None,
        running: None,
    }
}

/// One target. A service that was never deployed to an environment has an empty one there.
pub async fn target(ctx: &Ctx, service_name: &str, environment_name: &str) -> Result<TargetState, Error> {
    ctx.require(Scope::Read)?;
    let (conn, within) = (ctx.app.db.read(), ctx.within());
    let service = named::service(ctx, service_name).await?;
    let environment = named::environment(ctx, environment_name).await?;
    let now = matrix::now(conn, &[service_name], Some(environment_name)).await?.pop();
    let occupied = now.unwrap_or_else(|| vacant(service_name, environment_name));
    let current = occupied.current.as_ref().map(|current| current.deployment_id);
    let rollback_to = match choice(conn, (service.id, environment.id), current).await? {
        None => None,
        Some(choice) => {
            let found = release::get(conn, choice.release_id).await?;
            let named = deployment::find(conn, within, choice.deployment_id).await?;
            found.zip(named).map(|(release, named)| Occupant {
                deployment_id: choice.deployment_id,
                release: release.identity,
                place: release.place,
                since: named.deployment.times.stay_started_at.unwrap_or(choice.finished_at),
                actor: named.deployment.actor.clone(),
                removal: false,
            })
        }
    };
    Ok(TargetState { occupied, rollback_to })
}

/// The newest verified choice of a target whose current deployment this is.
async fn choice(
    conn: &impl ConnectionTrait,
    target: (Uuid, Uuid),
    current: Option<Uuid>,
) -> Result<Option<Success>, Error> {
    let release = |history: &[Success]| {
        let current = history.iter().find(|success| Some(success.deployment_id) == current);
        current.map(|current| current.release_id)
    };
    let newest = deployment::successes(conn, target, None, NEWEST).await?;
    if let Some(choice) = nearest_choice(&newest, release(&newest)) {
        return Ok(Some(choice.clone()));
    }
    let history = deployment::successes(conn, target, None, HISTORY_MAX).await?;
    Ok(choices(&history, release(&history), 1).pop().cloned())
}
