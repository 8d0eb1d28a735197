//! What a check of the audit log reads: the events whatever their rows hold, and the JSON that is kept beside them.

pub mod history;
pub mod rows;
pub mod unread;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, FromQueryResult as _, QueryResult};
use uuid::Uuid;

use self::unread::{Cursor, Unread, id, shown, told_apart};
use crate::{
    domain::event::Event,
    store::{
        entity::event::{Entity, Model},
        error::StoreError,
        event::from_model,
        sql::{Sql, columns},
    },
};

/// An event as its row holds it, whole or not.
#[derive(Clone, Debug)]
pub struct Logged {
    /// The event, or that its row cannot be read; its seal is there only where all of it is.
    pub event: Result<Event, Unread>,
    /// Its number, if it has one that can be read.
    pub seq: Option<i64>,
}

fn logged(row: &QueryResult) -> Result<Logged, StoreError> {
    let event = Model::from_query_result(row, "").map(from_model).map_err(StoreError::from);
    Ok(Logged { event: told_apart(row, "id", event)?, seq: row.try_get("", "seq").ok() })
}

/// What a reading of the log is confined to; an empty list confines nothing.
#[derive(Clone, Debug, Default)]
pub struct Only {
    /// Events whose kind begins so.
    pub kinds: Vec<&'static str>,
    /// Events about these deployments.
    pub deployments: Vec<Uuid>,
    /// Events about these services.
    pub services: Vec<String>,
    /// Events about these releases.
    pub versions: Vec<String>,
    /// Events about these environments.
    pub environments: Vec<String>,
}

/// How far the log was read: those that have a number first, then those that wait for one.
#[derive(Clone, Debug)]
pub enum Place {
    /// So far in the numbers.
    Numbered(Cursor<i64>),
    /// After so many of those that wait. There are few, and their times may be what cannot be read.
    Waiting(i64),
}

impl Default for Place {
    fn default() -> Self {
        Self::Numbered(Cursor::default())
    }
}

/// Reads the log on from a place, in the order of the numbers and then of time, and moves the place on. Gives nothing at
/// the end.
pub async fn read_on(
    conn: &impl ConnectionTrait,
    place: &mut Place,
    only: &Only,
    limit: i64,
) -> Result<Vec<Logged>, StoreError> {
    let select = |seq: &str| {
        let columns = columns::<Entity>("v", "");
        let mut sql = Sql::new(format!("SELECT {columns} FROM event v WHERE v.seq IS {seq}"));
        confine(&mut sql, only);
        sql
    };
    if let Place::Numbered(cursor) = place {
        let mut sql = select("NOT NULL");
        cursor.seek(&mut sql, "v.seq", limit);
        let read = sql.all(conn).await?.iter().map(logged).collect::<Result<Vec<_>, _>>()?;
        cursor.pass(read.iter().map(|logged| logged.seq));
        if !read.is_empty() {
            return Ok(read);
        }
        *place = Place::Waiting(0);
    }
    let Place::Waiting(passed) = place else { return Ok(Vec::new()) };
    let mut sql = select("NULL");
    sql.push(" ORDER BY v.occurred_at, v.id LIMIT ").bind(limit).push(" OFFSET ").bind(*passed);
    let read = sql.all(conn).await?.iter().map(logged).collect::<Result<Vec<_>, _>>()?;
    *passed += i64::try_from(read.len()).unwrap_or(i64::MAX);
    Ok(read)
}

fn confine(sql: &mut Sql, only: &Only) {
    if !only.kinds.is_empty() {
        sql.push(" AND (1 = 0");
        for kind in &only.kinds {
            sql.push(" OR v.kind LIKE ").bind(format!("{kind}%"));
        }
        sql.push(")");
    }
    within(sql, "v.deployment_id", &only.deployments);
    within(sql, "v.service", &only.services);
    within(sql, "v.version", &only.versions);
    within(sql, "v.environment", &only.environments);
}

fn within<T: Clone + Into<sea_orm::Value>>(sql: &mut Sql, column: &str, values: &[T]) {
    if values.is_empty() {
        return;
    }
    sql.push(" AND ").push(column).push(" IN (NULL");
    for value in values {
        sql.push(", ").bind(value.clone());
    }
    sql.push(")");
}

/// How many events that happened before the moment wait for their seal.
pub async fn waiting_since(conn: &impl ConnectionTrait, before: DateTime<Utc>) -> Result<i64, StoreError> {
    let mut sql = Sql::new("SELECT COUNT(*) AS n FROM event WHERE seq IS NULL AND occurred_at < ");
    sql.bind(before).one(conn).await?.map_or(Ok(0), |row| Ok(row.try_get("", "n")?))
}

/// A table with the columns of it that hold JSON. Its primary key is `id`.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// The table.
    pub table: &'static str,
    /// What people know its rows by.
    pub name: &'static str,
    /// The columns.
    pub columns: &'static [&'static str],
}

/// All JSON that is kept and read again, but for the events' own.
pub const KEPT: [Kept; 7] = [
    Kept { table: "environment", name: "name", columns: &["policy"] },
    Kept { table: "service", name: "name", columns: &["labels"] },
    Kept { table: "release", name: "version", columns: &["changes", "labels", "locations"] },
    Kept { table: "decision", name: "id", columns: &["checks", "inputs"] },
    Kept { table: "approval", name: "id", columns: &["groups"] },
    Kept { table: "token", name: "name", columns: &["scopes", "groups", "services", "environments"] },
    Kept { table: "freeze_window", name: "name", columns: &["environments", "tiers"] },
];

/// Columns of an environment that are there together or not at all: with half of them, nothing starts there.
const TOGETHER: [(&str, &[&str]); 2] = [
    ("policy", &["policy", "policy_version"]),
    ("lockdown", &["lockdown_reason", "lockdown_token", "lockdown_subject", "lockdown_since"]),
];

/// The environments that have half a policy or half a lockdown, with what it is that they have half of.
pub async fn halves(conn: &impl ConnectionTrait) -> Result<Vec<(String, &'static str)>, StoreError> {
    let mut found = Vec::new();
    for (what, columns) in TOGETHER {
        let all = |test: &str| {
            columns.iter().map(|column| format!("{column} {test}")).collect::<Vec<_>>().join(" AND ")
        };
        let (none, whole) = (all("IS NULL"), all("IS NOT NULL"));
        let sql = format!("SELECT name FROM environment WHERE NOT ({none}) AND NOT ({whole}) ORDER BY name");
        for row in Sql::new(sql).all(conn).await? {
            found.push((shown(&row, "name"), what));
        }
    }
    Ok(found)
}

/// A row's JSON.
#[derive(Clone, Debug)]
pub struct KeptRow {
    /// What people know it by: its name, or its id.
    pub name: String,
    /// Those of its columns that hold something, with that.
    pub texts: Vec<(&'static str, String)>,
    /// Those that hold what is no text.
    pub unread: Vec<&'static str>,
}

/// Reads the JSON of a table's rows on from a place, in the order of the ids, and moves the place on.
pub async fn kept(
    conn: &impl ConnectionTrait,
    kept: Kept,
    place: &mut Cursor<Uuid>,
    limit: i64,
) -> Result<Vec<KeptRow>, StoreError> {
    let columns: Vec<_> = kept.columns.iter().map(|column| format!("k.\"{column}\"")).collect();
    let columns = columns.join(", ");
    let Kept { table, name, .. } = kept;
    let mut sql =
        Sql::new(format!("SELECT k.id, k.{name} AS known_as, {columns} FROM \"{table}\" k WHERE 1 = 1"));
    place.seek(&mut sql, "k.id", limit);
    let rows = sql.all(conn).await?;
    place.pass(rows.iter().map(|row| id(row, "id")));
    Ok(rows.iter().map(|row| kept_row(kept, row)).collect())
}

fn kept_row(kept: Kept, row: &QueryResult) -> KeptRow {
    let (mut texts, mut unread) = (Vec::new(), Vec::new());
    for column in kept.columns {
        match row.try_get::<Option<String>>("", column) {
            Ok(Some(text)) => texts.push((*column, text)),
            Ok(None) => {}
            Err(_) => unread.push(*column),
        }
    }
    KeptRow { name: shown(row, "known_as"), texts, unread }
}
