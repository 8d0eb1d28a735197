//! What a check of the audit log reads: the events whatever their rows hold, and the JSON that is kept beside them.

pub mod history;
pub mod rows;
pub mod unread;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::Query as Statement;
use uuid::Uuid;

use self::unread::{Cursor, Unread, id, shown, told_apart};
use crate::{
    domain::event::Event,
    store::{
        entity::event::{Column, Entity, Model},
        event::from_model,
        prelude::*,
        sql::Sql,
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
    Ok(Logged { event: told_apart(row, event)?, seq: row.try_get("", "seq").ok() })
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
    Waiting(u64),
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
    if let Place::Numbered(cursor) = place {
        let mut numbered = only.confine(Entity::find().filter(Column::Seq.is_not_null())).into_query();
        let rows = conn.query_all(cursor.seek(&mut numbered, (Entity, Column::Seq), limit)).await?;
        let read = rows.iter().map(logged).collect::<Result<Vec<_>, _>>()?;
        cursor.pass(read.iter().map(|logged| logged.seq));
        if !read.is_empty() {
            return Ok(read);
        }
        *place = Place::Waiting(0);
    }
    let Place::Waiting(passed) = place else { return Ok(Vec::new()) };
    let waiting = only.confine(Entity::find().filter(Column::Seq.is_null()));
    let waiting = waiting.order_by_asc(Column::OccurredAt).order_by_asc(Column::Id);
    let rows = waiting.limit(limit.unsigned_abs()).offset(*passed).rows(conn).await?;
    *passed += rows.len() as u64;
    rows.iter().map(logged).collect()
}

impl Only {
    fn confine(&self, events: Select<Entity>) -> Select<Entity> {
        let kinds = self.kinds.iter().map(|kind| Column::Kind.starts_with(*kind));
        let confined = Condition::all()
            .add_option((!self.kinds.is_empty()).then(|| kinds.fold(Condition::any(), Condition::add)))
            .add_option(among(Column::DeploymentId, &self.deployments))
            .add_option(among(Column::Service, &self.services))
            .add_option(among(Column::Version, &self.versions))
            .add_option(among(Column::Environment, &self.environments));
        if confined.is_empty() { events } else { events.filter(confined) }
    }
}

fn among<T: Clone + Into<Value>>(column: Column, values: &[T]) -> Option<Expr> {
    (!values.is_empty()).then(|| column.is_in(values.iter().cloned()))
}

/// How many events that happened before the moment wait for their seal.
pub async fn waiting_since(conn: &impl ConnectionTrait, before: DateTime<Utc>) -> Result<i64, StoreError> {
    let waiting = Entity::find().select_only().column(Column::Id).filter(Column::Seq.is_null());
    let count = waiting.filter(Column::OccurredAt.lt(before)).count(conn).await?;
    Ok(i64::try_from(count).unwrap_or(i64::MAX))
}

/// A table with the columns of it that hold JSON. Its primary key is `id`.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    pub table: &'static str,
    /// What people know its rows by.
    pub name: &'static str,
    pub columns: &'static [&'static str],
}

/// All JSON that is kept and read again, but for the events' own.
pub const KEPT: [Kept; 9] = [
    Kept { table: "environment", name: "name", columns: &["policy"] },
    Kept { table: "service", name: "name", columns: &["labels"] },
    Kept { table: "release", name: "version", columns: &["changes", "labels", "locations", "platforms"] },
    Kept { table: "decision", name: "id", columns: &["checks", "inputs"] },
    Kept { table: "approval", name: "id", columns: &["groups"] },
    Kept { table: "token", name: "name", columns: &["scopes", "groups", "services", "environments"] },
    Kept {
        table: "trust",
        name: "name",
        columns: &["claims", "environment_map", "scopes", "groups", "services", "environments"],
    },
    Kept { table: "freeze_window", name: "name", columns: &["environments", "tiers"] },
    Kept { table: "waiver", name: "vulnerability", columns: &["services", "environments"] },
];

/// Columns of an environment that are there together or not at all: with half of them, nothing starts there.
const TOGETHER: [(&str, &[&str]); 2] = [
    ("policy", &["policy", "policy_version"]),
    ("lockdown", &["lockdown_reason", "lockdown_token", "lockdown_subject", "lockdown_since"]),
];

/// The environments that have half a policy or half a lockdown, with what it is that they have half of. By hand, as it goes
/// by the names of columns.
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
    let Kept { table, name, columns } = kept;
    let mut query = Statement::select();
    query.columns(["id"].iter().chain(columns).copied()).expr_as(Expr::col(name), "known_as").from(table);
    let rows = conn.query_all(place.seek(&mut query, "id", limit)).await?;
    place.pass(rows.iter().map(id));
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
