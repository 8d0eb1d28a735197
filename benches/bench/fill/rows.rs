//! Many rows at once: COPY on PostgreSQL, one statement for as many rows as it may bind values on SQLite.

use std::fmt::Write as _;

use anyhow::bail;
use sea_orm::{
    ActiveModelTrait, ConnectOptions, ConnectionTrait as _, Database, DatabaseBackend, DatabaseConnection,
    EntityTrait, IdenStatic as _, IntoActiveModel, Iterable as _, Value, sqlx::postgres::PgPoolCopyExt as _,
};

/// How many values SQLite lets a statement bind.
const VALUES_MAX: usize = 32_766;

/// The connection that writes; what it writes is only lost when the machine fails.
pub async fn connect(url: &str) -> anyhow::Result<DatabaseConnection> {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    let conn = Database::connect(options).await?;
    let is_postgres = conn.get_database_backend() == DatabaseBackend::Postgres;
    let hasty = if is_postgres { "SET synchronous_commit = off" } else { "PRAGMA synchronous = OFF" };
    conn.execute_unprepared(hasty).await?;
    Ok(conn)
}

/// Writes rows.
pub async fn insert<E: EntityTrait>(
    conn: &DatabaseConnection,
    rows: Vec<E::ActiveModel>,
) -> anyhow::Result<()>
where
    E::ActiveModel: Send,
    E::Model: IntoActiveModel<E::ActiveModel>,
{
    if conn.get_database_backend() == DatabaseBackend::Postgres {
        return copy::<E>(conn, &rows).await;
    }
    let at_once = VALUES_MAX / E::Column::iter().count();
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        E::insert_many(rows.by_ref().take(at_once)).exec_without_returning(conn).await?;
    }
    Ok(())
}

async fn copy<E: EntityTrait>(conn: &DatabaseConnection, rows: &[E::ActiveModel]) -> anyhow::Result<()> {
    let columns: Vec<_> = E::Column::iter().map(|column| format!("\"{}\"", column.as_str())).collect();
    let table = E::default();
    let statement =
        format!("COPY \"{}\" ({}) FROM STDIN (FORMAT csv)", table.table_name(), columns.join(", "));
    let mut text = String::new();
    for row in rows {
        for (index, column) in E::Column::iter().enumerate() {
            text.push_str(if index == 0 { "" } else { "," });
            field(&mut text, row.get(column).into_value())?;
        }
        text.push('\n');
    }
    let mut copy = conn.get_postgres_connection_pool().copy_in_raw(&statement).await?;
    copy.send(text.into_bytes()).await?;
    copy.finish().await?;
    Ok(())
}

/// What is quoted is a text, and nothing at all is null.
fn field(text: &mut String, value: Option<Value>) -> anyhow::Result<()> {
    match value {
        Some(Value::String(Some(value))) => write!(text, "\"{}\"", value.replace('"', "\"\""))?,
        Some(Value::Uuid(Some(value))) => write!(text, "{value}")?,
        Some(Value::ChronoDateTimeUtc(Some(value))) => text.push_str(&value.to_rfc3339()),
        Some(Value::BigInt(Some(value))) => write!(text, "{value}")?,
        Some(Value::Int(Some(value))) => write!(text, "{value}")?,
        Some(Value::Bool(Some(value))) => write!(text, "{value}")?,
        Some(value) if value != value.as_null() => bail!("COPY does not know how {value:?} is written"),
        _ => {}
    }
    Ok(())
}
