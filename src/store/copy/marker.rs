//! The mark of a database that a copy was begun into: the table `unfinished_copy`. It comes with the first statement of
//! the copy and goes in the transaction that completes it; as long as it is there, nothing else may use the database.
//!
//! Foreign keys are off meanwhile, so that the order of rows and tables does not matter. They are made again, and so
//! checked, in the same transaction that takes the mark away.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr};

use crate::store::{
    copy::{Table, quoted},
    error::StoreError,
    sql::Sql,
};

/// The advisory lock of the copy that is under way.
const LOCK: i64 = 0x0077_6179_636f_7079;

/// What is copied, since when.
#[derive(Clone, Debug)]
pub struct Marker {
    /// Where from, as people read it.
    pub source: String,
    /// Which state of which ledger.
    pub fingerprint: String,
    /// Since when.
    pub begun_at: DateTime<Utc>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct ForeignKey {
    table: String,
    name: String,
    definition: String,
}

/// Takes the right to copy into the database, until the transaction ends; false when somebody else has it.
pub async fn claim(conn: &impl ConnectionTrait) -> Result<bool, StoreError> {
    // It idles while others work, which is what that limit would end.
    conn.execute_unprepared("SET LOCAL idle_in_transaction_session_timeout = 0").await?;
    let mut sql = Sql::new("SELECT pg_try_advisory_xact_lock(");
    let row = sql.bind(LOCK).push(") AS claimed").one(conn).await?.ok_or(StoreError::Corrupt("lock"))?;
    Ok(row.try_get("", "claimed")?)
}

/// Reads the mark of a database that has one.
pub async fn read(conn: &impl ConnectionTrait) -> Result<Marker, StoreError> {
    let row = one(conn, "SELECT source, fingerprint, begun_at FROM unfinished_copy").await?;
    Ok(Marker {
        source: row.try_get("", "source")?,
        fingerprint: row.try_get("", "fingerprint")?,
        begun_at: row.try_get("", "begun_at")?,
    })
}

/// Waits until nobody else uses the tables, and keeps everybody out; gives up after a while.
pub async fn lock(conn: &impl ConnectionTrait, tables: &[Table]) -> Result<(), StoreError> {
    conn.execute_unprepared("SET LOCAL lock_timeout = '5s'").await?;
    conn.execute_unprepared(&format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", list(tables))).await?;
    Ok(())
}

/// Marks the database, and makes it ready for rows in any order.
pub async fn set(conn: &impl ConnectionTrait, source: &str, fingerprint: &str) -> Result<(), StoreError> {
    let query = r"SELECT c.relname::text AS table, f.conname::text AS name, pg_get_constraintdef(f.oid) AS definition
        FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = current_schema()
        WHERE f.contype = 'f' ORDER BY 1, 2";
    let mut keys = Vec::new();
    for row in Sql::new(query).all(conn).await? {
        let (table, name) = (row.try_get("", "table")?, row.try_get("", "name")?);
        keys.push(ForeignKey { table, name, definition: row.try_get("", "definition")? });
    }
    for key in &keys {
        let statement = format!("ALTER TABLE {} DROP CONSTRAINT {}", quoted(&key.table), quoted(&key.name));
        conn.execute_unprepared(&statement).await?;
    }
    // The migration has made one row; it comes with the copy, as every other does.
    conn.execute_unprepared("DELETE FROM chain_head").await?;
    conn.execute_unprepared(
        "CREATE TABLE unfinished_copy (source text NOT NULL, fingerprint text NOT NULL, foreign_keys text NOT NULL, \
         begun_at timestamptz NOT NULL DEFAULT clock_timestamp())",
    )
    .await?;
    let keys = serde_json::to_string(&keys).map_err(|error| DbErr::Json(error.to_string()))?;
    let mut sql = Sql::new("INSERT INTO unfinished_copy (source, fingerprint, foreign_keys) VALUES (");
    sql.bind(source).push(", ").bind(fingerprint).push(", ").bind(keys).push(")").run(conn).await?;
    Ok(())
}

/// Deletes what was copied, and marks the database anew.
pub async fn renew(
    conn: &impl ConnectionTrait,
    tables: &[Table],
    source: &str,
    fingerprint: &str,
) -> Result<(), StoreError> {
    conn.execute_unprepared(&format!("TRUNCATE {}", list(tables))).await?;
    let mut sql = Sql::new("UPDATE unfinished_copy SET begun_at = clock_timestamp(), source = ");
    sql.bind(source).push(", fingerprint = ").bind(fingerprint).run(conn).await?;
    Ok(())
}

/// Whether the mark is still the same, which it then stays until the transaction ends.
pub async fn is_ours(conn: &impl ConnectionTrait, marker: &Marker) -> Result<bool, StoreError> {
    let mut sql = Sql::new("SELECT 1 FROM unfinished_copy WHERE fingerprint = ");
    sql.bind(marker.fingerprint.as_str()).push(" AND begun_at = ").bind(marker.begun_at).push(" FOR SHARE");
    Ok(sql.one(conn).await?.is_some())
}

/// Takes the mark away, and has the database check and hold its foreign keys again.
pub async fn remove(conn: &impl ConnectionTrait, tables: &[Table]) -> Result<(), StoreError> {
    let row = one(conn, "SELECT foreign_keys FROM unfinished_copy").await?;
    let keys: String = row.try_get("", "foreign_keys")?;
    let keys: Vec<ForeignKey> =
        serde_json::from_str(&keys).map_err(|_| StoreError::Corrupt("mark of a copy"))?;
    for ForeignKey { table, name, definition } in keys {
        let statement =
            format!("ALTER TABLE {} ADD CONSTRAINT {} {definition}", quoted(&table), quoted(&name));
        conn.execute_unprepared(&statement).await?;
    }
    conn.execute_unprepared("DROP TABLE unfinished_copy").await?;
    // The planner must not take the tables for empty until it has looked by itself.
    conn.execute_unprepared(&format!("ANALYZE {}", list(tables))).await?;
    Ok(())
}

async fn one(conn: &impl ConnectionTrait, query: &str) -> Result<sea_orm::QueryResult, StoreError> {
    Sql::new(query).one(conn).await?.ok_or(StoreError::Corrupt("mark of a copy"))
}

fn list(tables: &[Table]) -> String {
    tables.iter().map(|table| quoted(&table.name)).collect::<Vec<_>>().join(", ")
}
