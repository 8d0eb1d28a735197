//! Whether the ledger has moved, told by its log: every change that is committed leaves an event with it. So a ledger is as
//! it was when its log holds the same events, and what has changed since is what the events name that came since.
//!
//! Events become visible in the order of their commits and get their numbers later, but none is ever taken away again. Under
//! one head of the chain, which tells all the sealed ones, their number therefore tells those that wait for their seal.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::{
    domain::chain::Link,
    store::{
        prelude::*,
        sql::{Sql, clock, now_of},
    },
};

/// How many events may wait for their seal, or have come since, before it is cheaper to read everything.
const EVENTS_MAX: i64 = 1_000;

/// How many services may have moved before it is cheaper to read all of them.
const SERVICES_MAX: i64 = 200;

/// What tells a state of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The hash of the last sealed event.
    hash: String,
    /// How many wait for their seal, counted up to [`EVENTS_MAX`].
    waiting: i64,
}

impl Mark {
    /// The columns that [`Mark::of`] reads.
    pub(super) fn columns() -> String {
        format!(
            "(SELECT hash FROM chain_head) AS mark_hash, \
             (SELECT COUNT(*) FROM (SELECT 1 FROM event WHERE seq IS NULL LIMIT {EVENTS_MAX}) AS w) AS mark_waiting"
        )
    }

    pub(super) fn of(row: &QueryResult) -> Result<Self, StoreError> {
        Ok(Self { hash: row.try_get("", "mark_hash")?, waiting: row.try_get("", "mark_waiting")? })
    }

    /// Whether nothing was committed between the two.
    pub fn is_still(&self, other: &Self) -> bool {
        self == other && self.waiting < EVENTS_MAX
    }
}

/// Where the ledger is.
#[derive(Clone, Debug)]
pub struct Now {
    pub mark: Mark,
    /// The last sealed event.
    pub head: Link,
    pub at: DateTime<Utc>,
    /// Whether the log still holds the event that was the last one before, and not too many since.
    pub goes_on: bool,
}

/// Looks where the ledger is, and whether it has come there from where it was.
pub async fn look(conn: &impl ConnectionTrait, before: &Link) -> Result<Now, StoreError> {
    let text = format!(
        "SELECT h.seq, h.hash, {}, {} AS now, \
         ($1 = 0 OR EXISTS (SELECT 1 FROM event e WHERE e.seq = $1 AND e.hash = $2)) AS goes_on FROM chain_head h",
        Mark::columns(),
        clock(conn)
    );
    let sql = Sql::with(text, [before.seq.into(), before.hash.as_str().into()]);
    let row = sql.one(conn).await?.ok_or(StoreError::Corrupt("chain head"))?;
    let head = Link { seq: row.try_get("", "seq")?, hash: row.try_get("", "hash")? };
    let near = head.seq - before.seq <= EVENTS_MAX;
    Ok(Now { mark: Mark::of(&row)?, goes_on: near && row.try_get("", "goes_on")?, head, at: now_of(&row)? })
}

/// The services that events name.
#[derive(Clone, Debug, Default)]
pub struct Moved {
    /// In events that came after a number, or wait for their seal.
    pub since: BTreeSet<String>,
    /// In those that wait.
    pub waiting: BTreeSet<String>,
}

/// The services that events name which came after a number; nothing where they are too many to be worth it.
pub async fn services(conn: &impl ConnectionTrait, after: i64) -> Result<Option<Moved>, StoreError> {
    let mut sql = Sql::new("SELECT service, 1 AS sealed FROM event WHERE service IS NOT NULL AND seq > ");
    sql.bind(after).push(
        " UNION SELECT service, 0 AS sealed FROM event WHERE service IS NOT NULL AND seq IS NULL LIMIT ",
    );
    let rows = sql.bind(SERVICES_MAX + 1).all(conn).await?;
    if i64::try_from(rows.len()).is_ok_and(|rows| rows > SERVICES_MAX) {
        return Ok(None);
    }
    let mut moved = Moved::default();
    for row in rows {
        let service: String = row.try_get_by_index(0)?;
        if row.try_get_by_index::<i32>(1)? == 0 {
            moved.waiting.insert(service.clone());
        }
        moved.since.insert(service);
    }
    Ok(Some(moved))
}
