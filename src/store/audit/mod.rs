//! What a check of the audit log reads: the events whatever their rows hold, and the JSON that is kept beside them.

pub mod history;
pub mod rows;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, FromQueryResult as _, QueryResult};
use uuid::Uuid;

use crate::{
    domain::{
        actor::Actor,
        event::{Event, Seal},
    },
    store::{
        entity::event::{Entity, Model},
        error::StoreError,
        sql::{Sql, columns},
    },
};

/// An event as its row holds it, whole or not.
#[derive(Clone, Debug)]
pub struct Logged {
    /// The event; its seal is there only where all of it is.
    pub event: Event,
    /// Its number, if it has one.
    pub seq: Option<i64>,
}

fn logged(row: &QueryResult) -> Result<Logged, StoreError> {
    let model = Model::from_query_result(row, "")?;
    let seal = model.seq.zip(model.prev_hash).zip(model.hash);
    Ok(Logged {
        seq: model.seq,
        event: Event {
            id: model.id,
            seal: seal.map(|((seq, prev_hash), hash)| Seal { seq, prev_hash, hash }),
            at: model.occurred_at,
            kind: model.kind,
            actor: Actor { token: model.actor_token, subject: model.actor_subject },
            service: model.service,
            environment: model.environment,
            version: model.version,
            deployment_id: model.deployment_id,
            request_id: model.request_id,
            data: model.data,
        },
    })
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
    /// After this number.
    Numbered(i64),
    /// After the one of this moment and id, of those that wait; none before the first.
    Waiting(Option<(DateTime<Utc>, Uuid)>),
}

impl Default for Place {
    fn default() -> Self {
        Self::Numbered(i64::MIN)
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
    if let Place::Numbered(after) = *place {
        let mut sql = Sql::new(format!("SELECT {} FROM event v WHERE v.seq > ", columns::<Entity>("v", "")));
        confine(sql.bind(after), only);
        let rows = sql.push(" ORDER BY v.seq LIMIT ").bind(limit).all(conn).await?;
        let read = rows.iter().map(logged).collect::<Result<Vec<_>, _>>()?;
        if let Some(seq) = read.last().and_then(|last| last.seq) {
            *place = Place::Numbered(seq);
            return Ok(read);
        }
        *place = Place::Waiting(None);
    }
    let Place::Waiting(after) = *place else { return Ok(Vec::new()) };
    let mut sql = Sql::new(format!("SELECT {} FROM event v WHERE v.seq IS NULL", columns::<Entity>("v", "")));
    if let Some((at, id)) = after {
        sql.push(" AND (v.occurred_at, v.id) > (").bind(at).push(", ").bind(id).push(")");
    }
    confine(&mut sql, only);
    let rows = sql.push(" ORDER BY v.occurred_at, v.id LIMIT ").bind(limit).all(conn).await?;
    let read = rows.iter().map(logged).collect::<Result<Vec<_>, _>>()?;
    if let Some(last) = read.last() {
        *place = Place::Waiting(Some((last.event.at, last.event.id)));
    }
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
    Kept { table: "release", name: "version", columns: &["changes", "labels"] },
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
            found.push((row.try_get("", "name")?, what));
        }
    }
    Ok(found)
}

/// A row's JSON.
#[derive(Clone, Debug)]
pub struct KeptRow {
    /// Its identity.
    pub id: Uuid,
    /// What people know it by, where that is not its id.
    pub name: Option<String>,
    /// Its columns with what they hold; none where they hold nothing.
    pub texts: Vec<(&'static str, Option<String>)>,
}

/// Reads the JSON of a table's rows after an id, in the order of the ids.
pub async fn kept(
    conn: &impl ConnectionTrait,
    kept: Kept,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<KeptRow>, StoreError> {
    let columns: Vec<_> = kept.columns.iter().map(|column| format!("k.\"{column}\"")).collect();
    let columns = columns.join(", ");
    let named = kept.name != "id";
    let name = if named { format!(", k.{} AS known_as", kept.name) } else { String::new() };
    let mut sql = Sql::new(format!("SELECT k.id{name}, {columns} FROM \"{}\" k WHERE 1 = 1", kept.table));
    if let Some(after) = after {
        sql.push(" AND k.id > ").bind(after);
    }
    let rows = sql.push(" ORDER BY k.id LIMIT ").bind(limit).all(conn).await?;
    let read = |row: &QueryResult| {
        let text = |column: &&'static str| Ok((*column, row.try_get("", column)?));
        Ok(KeptRow {
            id: row.try_get("", "id")?,
            name: if named { Some(row.try_get("", "known_as")?) } else { None },
            texts: kept.columns.iter().map(text).collect::<Result<_, StoreError>>()?,
        })
    };
    rows.iter().map(read).collect()
}
