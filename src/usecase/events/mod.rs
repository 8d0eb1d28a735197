//! Reading the audit log.

pub mod stream;

use chrono::{DateTime, Utc};

use crate::{
    domain::{
        chain::Link,
        event::{Event, Filter, Seal, Stretch},
        page::{Page, page},
        vocabulary::Scope,
    },
    store::event,
    usecase::{
        context::Ctx,
        error::Error,
        named::{self, Confined},
    },
};

/// A part of the log.
#[derive(Clone, Debug)]
pub struct Log {
    /// Its events, in the order that was asked for.
    pub events: Vec<Event>,
    /// The number of the last event that was sealed when this was read.
    pub sealed_through: i64,
    /// The number to go on from; none when this reaches the end of the log.
    pub next: Option<i64>,
}

/// What the caller may see of what a filter asks for.
fn seen_by(ctx: &Ctx, filter: Filter) -> Filter {
    // They name no service, so whoever is narrowed could not be shown those within its narrowing alone.
    let without_tokens = !(ctx.principal.holds(Scope::Audit) && ctx.within().is_none());
    Filter { without_tokens, ..filter }
}

/// Lists sealed events.
pub async fn list(ctx: &Ctx, filter: Filter, asked: Stretch) -> Result<Log, Error> {
    ctx.require_one_of(&[Scope::Read, Scope::Audit])?;
    let conn = ctx.app.db.read();
    let filter = seen_by(ctx, filter);
    let (head, _) = event::head(conn).await?;
    let one_more = Stretch { limit: asked.limit + 1, ..asked };
    let mut events = event::list(conn, ctx.within(), &filter, one_more).await?;
    if events.is_empty() {
        let (service, environment) = (filter.service.as_deref(), filter.environment.as_deref());
        let kind = filter.kind.as_deref();
        named::check(ctx, Confined { service, environment, kind, ..Confined::default() }).await?;
    }
    let limit = usize::try_from(asked.limit).unwrap_or(usize::MAX);
    let more = events.len() > limit;
    events.truncate(limit);
    let seq = |event: &Event| event.seal.as_ref().map(|seal| seal.seq);
    let newest = events.iter().filter_map(seq).max();
    let next = events.last().and_then(seq).filter(|_| more);
    Ok(Log { next, sealed_through: head.seq.max(newest.unwrap_or(0)), events })
}

/// Lists the seals of all events in order, after a number: what follows the chain past events that the caller may not
/// read. They tell nothing but how many there are.
pub async fn seals(ctx: &Ctx, after: i64, limit: u64) -> Result<Page<Seal>, Error> {
    ctx.require_one_of(&[Scope::Read, Scope::Audit])?;
    let seals = event::seals(ctx.app.db.read(), after, limit + 1).await?;
    Ok(page(seals, limit, |seal| seal.seq))
}

/// The head of the chain, and when it was last moved.
pub async fn head(ctx: &Ctx) -> Result<(Link, Option<DateTime<Utc>>), Error> {
    ctx.require_one_of(&[Scope::Read, Scope::Audit])?;
    Ok(event::head(ctx.app.db.read()).await?)
}
