//! Copying a whole ledger from SQLite to PostgreSQL: the way up from the embedded start.
//!
//! The source is held, so that nothing is written that the copy would miss, and is not changed. The target is marked from
//! the first step to the last, and nothing serves it meanwhile. Each batch is a transaction, so a copy that was
//! interrupted goes on after the last row that is there. The last transaction compares every row of both, follows the
//! audit chain, and only then takes the mark away.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;
use sha2::{Digest as _, Sha256};

use crate::{
    domain::chain::{Broken, Link},
    store::{
        copy::{self, Batch, Row, Table, marker, marker::Marker},
        db::{Db, Tx},
        error::{StoreError, Transient},
        event, schema,
    },
    usecase::audit::{self, VerifyError},
};

/// What to copy where.
#[derive(Clone, Debug)]
pub struct Order {
    /// The ledger, opened with [`Db::connect_alone`].
    pub source: Db,
    /// Where it is, as people are told.
    pub source_name: String,
    /// An empty PostgreSQL database, or one with an unfinished copy of the same.
    pub target: Db,
    /// Whether an unfinished copy in the target is thrown away, whatever it is of.
    pub start_over: bool,
    /// How much is copied at once.
    pub batch: Batch,
}

/// What has been done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The audit chain of the source or of the target is followed, which takes a while.
    Following(&'static str),
    /// The source's audit chain is whole.
    Checked {
        /// How many rows the source has.
        rows: i64,
        /// How many sealed events are among them.
        events: i64,
    },
    /// The target's schema was brought up to date.
    Migrated(&'a [String]),
    /// The target holds rows of the same copy, which was interrupted.
    GoingOn(DateTime<Utc>),
    /// Rows are in the target, to stay.
    Copied {
        /// Of this table.
        table: &'a str,
        /// How many, with those that were there already.
        done: i64,
        /// Of how many.
        total: i64,
    },
    /// Every row of a table is the same in both.
    Compared {
        table: &'a str,
        /// How many rows it has.
        rows: i64,
    },
}

/// A ledger that was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// How many rows each table has.
    pub rows: BTreeMap<String, i64>,
    /// The head of the audit chain, in both.
    pub head: Link,
    /// How many events wait to be sealed by a server on the target.
    pub unsealed: i64,
}

/// Why a ledger was not copied, or not to the end.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Somebody has the source open.
    #[error("the source is in use: stop the server that runs on it, then run this again")]
    InUse,
    /// The source is somebody else's file, or an empty one.
    #[error("{0} is not a Waybill ledger")]
    NoLedger(String),
    /// The source was last used by an older version.
    #[error(
        "the schema of the source is behind this version: run `waybill migrate up --database-url {source_name}` first \
         (pending: {})",
        pending.join(", ")
    )]
    SourceBehind {
        /// Where the source is.
        source_name: String,
        /// The migrations that it lacks.
        pending: Vec<String>,
    },
    /// A newer version has changed one of the two.
    #[error("the {0} was used by a newer version of Waybill: copy with that version ({applied})", applied = .1.join(", "))]
    Ahead(&'static str, Vec<String>),
    /// The source's audit log is not whole.
    #[error("the audit log of the source does not verify, so no copy of it could")]
    Broken(#[source] VerifyError),
    /// The target has rows of its own.
    #[error(
        "the target is not empty: its table {0} holds rows; copy into a database that nobody has used yet, or, if a copy \
         into it was just cut off, `waybill audit verify` tells whether it is complete"
    )]
    NotEmpty(String),
    /// The target is somebody else's.
    #[error("the target has a table {0}, which is not Waybill's: make a database for Waybill alone")]
    Foreign(String),
    /// Somebody else owns the target.
    #[error(
        "the target belongs to {owner}, and rights to what {owner} makes in it do not hold for what {user} makes: copy as \
         {owner}, the user that `waybill migrate up` runs as"
    )]
    NotOwner {
        /// Who owns it.
        owner: String,
        /// Who would copy into it.
        user: String,
    },
    /// The target has a part of something else.
    #[error(
        "the target holds a part of another copy, begun at {} from {}; if it is the same ledger, it was used since: \
         --start-over deletes that part and begins again",
        .0.begun_at.format("%F %T UTC"), .0.source
    )]
    Another(Box<Marker>),
    /// The target has a part that another version has copied.
    #[error(
        "another version of Waybill has begun this copy: finish it with that version, or use another database"
    )]
    AnotherVersion,
    /// Somebody else is at it.
    #[error("another copy into the target is under way")]
    UnderWay,
    /// Source and target do not have the same tables and columns.
    #[error("the table {0} is not the same in the source and in the target, although their migrations are")]
    Schema(String),
    /// A row is not the same.
    #[error(
        "the table {table} differs at {key}: the source was used since the copy began, or the target was; \
         --start-over deletes what was copied and begins again"
    )]
    Differs {
        table: String,
        /// The first row that differs, or that only one of the two has.
        key: String,
    },
    /// The target's audit log does not verify.
    #[error("the audit log of the target does not verify")]
    TargetBroken(#[source] VerifyError),
    /// The source cannot be read.
    #[error("the source cannot be read")]
    Source(#[source] StoreError),
    /// The target failed.
    #[error("the target failed")]
    Target(#[from] StoreError),
}

impl Transient for CopyError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Target(error) if error.is_transient())
    }
}

impl CopyError {
    fn source(error: StoreError) -> Self {
        if matches!(error, StoreError::Busy(_)) { Self::InUse } else { Self::Source(error) }
    }

    fn broken_source(error: VerifyError) -> Self {
        // A log that could not be read is not a broken one.
        if let VerifyError::Store(error) = error { Self::source(error) } else { Self::Broken(error) }
    }

    fn broken_target(error: VerifyError) -> Self {
        if let VerifyError::Store(error) = error { Self::Target(error) } else { Self::TargetBroken(error) }
    }

    /// Opening the source failed.
    pub fn opening(error: StoreError) -> Self {
        Self::source(error)
    }
}

/// What is known of the source before anything is written.
struct Source {
    tx: Tx,
    columns: BTreeMap<String, Vec<String>>,
    rows: BTreeMap<String, i64>,
    head: Link,
    unsealed: i64,
    fingerprint: String,
}

/// Copies everything, or goes on with it, and tells each step to `report`.
pub async fn copy(order: &Order, report: &(dyn Fn(Step<'_>) + Sync)) -> Result<Copied, CopyError> {
    report(Step::Following("source"));
    let source = inspect(order).await?;
    report(Step::Checked { rows: source.rows.values().sum(), events: source.head.seq });
    // Held to the end, and given back when this ends in any way.
    let claim = order.target.hold().await?;
    if !marker::claim(claim.conn()).await? {
        return Err(CopyError::UnderWay);
    }
    prepare(order, &source, report).await?;
    let tables = copy::tables(order.target.read()).await?;
    check_columns(&source.columns, &copy::columns(order.target.read()).await?)?;
    let marker = begin(order, &source, &tables, report).await?;
    for table in &tables {
        copy_table(order, &source, table, &marker, report).await?;
    }
    order.target.write(|tx| finish(tx, &source, &tables, &marker, order.batch, report)).await?;
    // It is done, and nothing that could still fail may make it look undone.
    Ok(Copied { rows: source.rows, head: source.head, unsealed: source.unsealed })
}

/// Holds the source and looks whether it can be copied.
async fn inspect(order: &Order) -> Result<Source, CopyError> {
    let tx = order.source.hold().await.map_err(CopyError::source)?;
    let conn = tx.conn();
    let status = schema::status_on(conn).await.map_err(CopyError::source)?;
    let source_name = order.source_name.clone();
    if status.applied.len() == status.ahead.len() {
        return Err(CopyError::NoLedger(source_name));
    }
    if !status.pending.is_empty() {
        return Err(CopyError::SourceBehind { source_name, pending: status.pending });
    }
    if !status.ahead.is_empty() {
        return Err(CopyError::Ahead("source", status.ahead));
    }
    let columns = copy::columns(conn).await.map_err(CopyError::source)?;
    let mut rows = BTreeMap::new();
    for table in columns.keys() {
        rows.insert(table.clone(), copy::count(conn, table).await.map_err(CopyError::source)?);
    }
    let (head, _) = event::head(conn).await.map_err(CopyError::source)?;
    let unsealed = event::backlog(conn, i64::MAX).await.map_err(CopyError::source)?;
    audit::follow_chain(conn, None).await.map_err(CopyError::broken_source)?;
    let state = format!("{:?} {rows:?} {head:?}", status.applied);
    Ok(Source { tx, columns, rows, head, unsealed, fingerprint: hex::encode(Sha256::digest(state)) })
}

/// Brings the schema of an empty target up to date; leaves one that is marked as it is. Whoever makes the tables must be
/// the one whose tables others have rights to, or the server could not read what was copied.
async fn prepare(
    order: &Order,
    source: &Source,
    report: &(dyn Fn(Step<'_>) + Sync),
) -> Result<(), CopyError> {
    let conn = order.target.read();
    let (owner, user) = copy::owner_and_user(conn).await?;
    if owner != user {
        return Err(CopyError::NotOwner { owner, user });
    }
    let status = schema::status_on(conn).await?;
    if !status.ahead.is_empty() {
        return Err(CopyError::Ahead("target", status.ahead));
    }
    if status.half_copied {
        return if status.pending.is_empty() { Ok(()) } else { Err(CopyError::AnotherVersion) };
    }
    let there = copy::columns(conn).await?;
    if let Some(foreign) = there.keys().find(|name| !source.columns.contains_key(*name)) {
        return Err(CopyError::Foreign(foreign.clone()));
    }
    if let Some(table) = copy::occupied(conn, there.keys()).await? {
        return Err(CopyError::NotEmpty(table.clone()));
    }
    let applied = schema::up(&order.target).await?;
    if !applied.is_empty() {
        report(Step::Migrated(&applied));
    }
    Ok(())
}

fn check_columns(
    source: &BTreeMap<String, Vec<String>>,
    target: &BTreeMap<String, Vec<String>>,
) -> Result<(), CopyError> {
    let differs = |name: &&String| source.get(*name) != target.get(*name);
    source
        .keys()
        .chain(target.keys())
        .find(differs)
        .map_or(Ok(()), |name| Err(CopyError::Schema(name.clone())))
}

/// Marks the target, unless it carries the mark of the same copy already.
async fn begin(
    order: &Order,
    source: &Source,
    tables: &[Table],
    report: &(dyn Fn(Step<'_>) + Sync),
) -> Result<Marker, CopyError> {
    let (name, fingerprint) = (&order.source_name, &source.fingerprint);
    let begin = async |tx: Tx| {
        let conn = tx.conn();
        marker::lock(conn, tables).await?;
        if !schema::status_on(conn).await?.half_copied {
            if let Some(table) = copy::occupied(conn, source.columns.keys()).await? {
                return Err(CopyError::NotEmpty(table.clone()));
            }
            marker::set(conn, name, fingerprint).await?;
        } else if order.start_over {
            marker::renew(conn, tables, name, fingerprint).await?;
        } else {
            let marker = marker::read(conn).await?;
            if marker.fingerprint != *fingerprint {
                return Err(CopyError::Another(Box::new(marker)));
            }
            report(Step::GoingOn(marker.begun_at));
        }
        let marker = marker::read(conn).await?;
        Ok(tx.commit(marker).await?)
    };
    order.target.write(begin).await
}

/// Copies the rows of a table that come after the last one that is there.
async fn copy_table(
    order: &Order,
    source: &Source,
    table: &Table,
    marker: &Marker,
    report: &(dyn Fn(Step<'_>) + Sync),
) -> Result<(), CopyError> {
    let total = source.rows.get(&table.name).copied().unwrap_or_default();
    let mut done = copy::count(order.target.read(), &table.name).await?;
    let mut last = copy::last_key(order.target.read(), table).await?;
    loop {
        let rows = copy::batch(source.tx.conn(), table, last.as_ref(), order.batch);
        let rows = rows.await.map_err(CopyError::source)?;
        let Some(newest) = rows.last() else { return Ok(()) };
        let write = async |tx: Tx| {
            if !marker::is_ours(tx.conn(), marker).await? {
                return Err(CopyError::UnderWay);
            }
            copy::insert(tx.conn(), table, &rows).await?;
            Ok(tx.commit(()).await?)
        };
        order.target.write(write).await?;
        done += i64::try_from(rows.len()).unwrap_or_default();
        last = Some(table.key(newest));
        report(Step::Copied { table: &table.name, done, total });
    }
}

/// Compares everything while nobody can change anything, and makes the target a ledger.
async fn finish(
    tx: Tx,
    source: &Source,
    tables: &[Table],
    marker: &Marker,
    batch: Batch,
    report: &(dyn Fn(Step<'_>) + Sync),
) -> Result<(), CopyError> {
    let conn = tx.conn();
    marker::lock(conn, tables).await?;
    if !marker::is_ours(conn, marker).await? {
        return Err(CopyError::UnderWay);
    }
    for table in tables {
        let rows = compare(source.tx.conn(), conn, table, batch).await?;
        report(Step::Compared { table: &table.name, rows });
    }
    report(Step::Following("target"));
    let head = audit::follow_chain(conn, Some(&source.head)).await.map_err(CopyError::broken_target)?;
    if head != source.head {
        let head = Broken::Head { found: head.seq, head: source.head.seq };
        return Err(CopyError::TargetBroken(head.into()));
    }
    marker::remove(conn, tables).await?;
    Ok(tx.commit(()).await?)
}

/// Tells how many rows the table has in both, if they are the same.
async fn compare(
    source: &impl ConnectionTrait,
    target: &impl ConnectionTrait,
    table: &Table,
    batch: Batch,
) -> Result<i64, CopyError> {
    let differs = |row: &Row| CopyError::Differs { table: table.name.clone(), key: table.key_text(row) };
    let (mut last, mut compared) = (None, 0);
    loop {
        let rows = copy::batch(source, table, last.as_ref(), batch).await.map_err(CopyError::source)?;
        let copies = copy::rows(target, table, last.as_ref(), rows.len().max(1)).await?;
        if let Some((row, _)) = rows.iter().zip(&copies).find(|(row, copy)| row != copy) {
            return Err(differs(row));
        }
        if let Some(lone) = rows.get(copies.len()).or_else(|| copies.get(rows.len())) {
            return Err(differs(lone));
        }
        let Some(newest) = rows.last() else { return Ok(compared) };
        compared += i64::try_from(rows.len()).unwrap_or_default();
        last = Some(table.key(newest));
    }
}
