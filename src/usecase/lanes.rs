//! What was current of a service in each environment over a stretch of time.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    domain::{
        lane::{self, Lane, Window},
        vocabulary::Scope,
    },
    store::{history, matrix},
    usecase::{context::Ctx, error::Error, named},
};

/// So many successes of a service are looked at.
const SUCCESSES: u64 = 1_000;

/// The lanes of a service, in the order of promotion, and since when they are known: later than asked for where more happened
/// than is looked at.
#[derive(Clone, Debug)]
pub struct Lanes {
    pub lanes: Vec<Lane>,
    pub since: DateTime<Utc>,
}

/// Reads the lanes of a service.
pub async fn of_service(ctx: &Ctx, service_name: &str, window: Window) -> Result<Lanes, Error> {
    ctx.require(Scope::Read)?;
    let (conn, within) = (ctx.app.db.read(), ctx.within());
    let service = named::service(ctx, service_name).await?;
    let span = (window.from, window.until);
    let successes = history::of_service(conn, within, service.id, span, SUCCESSES).await?;
    let full = u64::try_from(successes.len()).is_ok_and(|count| count == SUCCESSES);
    let oldest = successes.last().filter(|_| full).and_then(|oldest| oldest.deployment.times.finished_at);
    // Of what happened before the oldest that was read, only what it came to is known.
    let from = oldest.map_or(window.from, |oldest| oldest - TimeDelta::microseconds(1));
    let mut before = matrix::as_of(conn, &[service_name], from).await?;
    before.retain(|target| within.allows_environment(&target.environment));
    let columns = matrix::columns(conn, within, Some(window.until)).await?;
    let mut lanes = lane::lanes(Window { from, ..window }, before, successes);
    // Of those that are archived by now nobody tells the rank; they come last.
    lanes.sort_by_key(|lane| {
        columns.iter().position(|column| column.name == lane.environment).unwrap_or(usize::MAX)
    });
    Ok(Lanes { lanes, since: from })
}
