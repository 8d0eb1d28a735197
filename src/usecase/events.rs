//! Reading the audit log, and checking its chain.

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;

use crate::{
    domain::{
        chain::{Broken, Link, follow},
        event::{Event, Filter},
        scope::Narrowing,
        vocabulary::Scope,
    },
    store::{db::Db, error::StoreError, event},
    usecase::{context::Ctx, error::Error},
};

/// How many events one step of a verification reads.
const STEP: u64 = 500;

/// A part of the log.
#[derive(Clone, Debug)]
pub struct Log {
    /// Its events, in order.
    pub events: Vec<Event>,
    /// The number of the last event that was sealed when this was read.
    pub sealed_through: i64,
    /// The number to go on after; none when this reaches the end of the log.
    pub next: Option<i64>,
}

/// Lists sealed events in order, after a number.
pub async fn list(ctx: &Ctx, filter: Filter, after: i64, limit: u64) -> Result<Log, Error> {
    ctx.require(Scope::Read)?;
    let conn = ctx.app.db.read();
    // They name no service, so a narrowed admin could not be shown those within its narrowing alone.
    let without_tokens = !(ctx.principal.holds(Scope::Admin) && ctx.within().is_none());
    let filter = Filter { without_tokens, ..filter };
    let (head, _) = event::head(conn).await?;
    let mut events = event::list(conn, ctx.within(), &filter, after, limit + 1).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = events.len() > limit;
    events.truncate(limit);
    let last = events.last().and_then(|event| event.seal.as_ref()).map(|seal| seal.seq);
    Ok(Log { next: last.filter(|_| more), sealed_through: head.seq.max(last.unwrap_or(0)), events })
}

/// The head of the chain, and when it was last moved.
pub async fn head(ctx: &Ctx) -> Result<(Link, Option<DateTime<Utc>>), Error> {
    ctx.require(Scope::Read)?;
    Ok(event::head(ctx.app.db.read()).await?)
}

/// Why a verification found the log not to be what it should.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The chain is broken.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The chain is whole, but does not end where its head is.
    #[error("the chain ends with event {found}, but its head is event {head}")]
    Head {
        /// The last event that is there.
        found: i64,
        /// The event that the head names.
        head: i64,
    },
    /// The chain is whole, but is not the one that was anchored.
    #[error("event {0} is not the one that was anchored")]
    Anchor(i64),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks the whole chain, event by event, and that it holds the `anchor` that was kept elsewhere.
pub async fn verify(db: &Db, anchor: Option<&Link>) -> Result<Link, VerifyError> {
    verify_on(db.read(), anchor).await
}

/// As [`verify`], on a connection.
pub(super) async fn verify_on(
    conn: &impl ConnectionTrait,
    anchor: Option<&Link>,
) -> Result<Link, VerifyError> {
    let (head, _) = event::head(conn).await?;
    let mut link = Link::default();
    let mut anchored = anchor.is_none_or(|anchor| *anchor == link);
    loop {
        let events = event::list(conn, &Narrowing::default(), &Filter::default(), link.seq, STEP).await?;
        if events.is_empty() {
            break;
        }
        for event in &events {
            let seal = event.seal.as_ref().ok_or(StoreError::Corrupt("seal"))?;
            link = follow(&link, event, seal)?;
            anchored |= anchor == Some(&link);
        }
    }
    if link.seq < head.seq || (link.seq == head.seq && link.hash != head.hash) {
        return Err(VerifyError::Head { found: link.seq, head: head.seq });
    }
    match anchor {
        Some(anchor) if !anchored => Err(VerifyError::Anchor(anchor.seq)),
        Some(_) | None => Ok(link),
    }
}

/// How many events wait for their place in the chain, counted no further than ten thousand.
pub async fn unsealed(db: &Db) -> Result<i64, StoreError> {
    event::backlog(db.read(), 10_000).await
}
