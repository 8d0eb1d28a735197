//! Copying a ledger, table by table, from a SQLite file into an empty PostgreSQL database.
//!
//! Which tables there are and what they look like is read from PostgreSQL's catalogue, so a migration that adds one need
//! not be told here. Rows are read in the order of their primary keys, so the last one in the target says where to go on.

pub mod marker;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DatabaseBackend, DbErr, QueryResult, Value};
use uuid::Uuid;

use crate::store::{error::StoreError, sql::Sql};

/// How many values PostgreSQL lets one statement bind.
const MOST_VALUES: usize = 65_535;

/// A table, and how its rows are read and written.
#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    columns: Vec<Column>,
    /// The places of the primary key's columns, in the key's order.
    key: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Column {
    name: String,
    kind: Kind,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Uuid,
    Text,
    Bytes,
    BigInt,
    Integer,
    Bool,
    Time,
}

/// The values of a row, in the order of the table's columns; or of a key, in the order of its.
pub type Row = Vec<Value>;

/// How much is read, written and kept in memory at once.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// The most rows.
    pub rows: usize,
    /// The most bytes in texts, unless one row alone has more.
    pub bytes: i64,
}

impl Default for Batch {
    fn default() -> Self {
        Self { rows: 1000, bytes: 4 * 1024 * 1024 }
    }
}

impl Kind {
    fn of(postgres_type: &str) -> Option<Self> {
        Some(match postgres_type {
            "uuid" => Self::Uuid,
            "text" | "character varying" => Self::Text,
            "bytea" => Self::Bytes,
            "bigint" => Self::BigInt,
            "integer" => Self::Integer,
            "boolean" => Self::Bool,
            "timestamp with time zone" => Self::Time,
            _ => return None,
        })
    }

    fn read(self, row: &QueryResult, name: &str) -> Result<Value, DbErr> {
        Ok(match self {
            Self::Uuid => row.try_get::<Option<Uuid>>("", name)?.into(),
            Self::Text => row.try_get::<Option<String>>("", name)?.into(),
            Self::Bytes => row.try_get::<Option<Vec<u8>>>("", name)?.into(),
            Self::BigInt => row.try_get::<Option<i64>>("", name)?.into(),
            Self::Integer => row.try_get::<Option<i32>>("", name)?.into(),
            Self::Bool => row.try_get::<Option<bool>>("", name)?.into(),
            Self::Time => row.try_get::<Option<DateTime<Utc>>>("", name)?.into(),
        })
    }
}

impl Table {
    /// The key of one of its rows.
    pub fn key(&self, row: &Row) -> Row {
        self.key.iter().filter_map(|place| row.get(*place).cloned()).collect()
    }

    /// A key as people read it.
    pub fn key_text(&self, row: &Row) -> String {
        let text = |value: Value| {
            if let Value::Uuid(Some(id)) = value {
                id.to_string()
            } else if let Value::String(Some(text)) = value {
                text
            } else {
                format!("{value:?}")
            }
        };
        self.key(row).into_iter().map(text).collect::<Vec<_>>().join(", ")
    }

    fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().filter_map(|place| self.columns.get(*place))
    }

    fn column_list(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|column| quoted(&column.name)).collect();
        names.join(", ")
    }

    /// The key's columns, as they are compared and ordered: texts by their bytes, as SQLite does by itself.
    fn order(&self, conn: &impl ConnectionTrait, suffix: &str) -> String {
        let collate = if is_postgres(conn) { r#" COLLATE "C""# } else { "" };
        let column = |column: &Column| {
            let collate = if column.kind == Kind::Text { collate } else { "" };
            format!("{}{collate}{suffix}", quoted(&column.name))
        };
        self.key_columns().map(column).collect::<Vec<_>>().join(", ")
    }

    /// How many bytes of texts a row has.
    fn size(&self) -> String {
        let long = |column: &&Column| matches!(column.kind, Kind::Text | Kind::Bytes);
        let size = |column: &Column| format!("COALESCE(octet_length({}), 0)", quoted(&column.name));
        let sizes: Vec<_> = self.columns.iter().filter(long).map(size).collect();
        if sizes.is_empty() { "0".to_owned() } else { sizes.join(" + ") }
    }

    /// `SELECT <what> FROM <table>` of the rows after a key, in the order of their keys.
    fn select(&self, conn: &impl ConnectionTrait, what: &str, after: Option<&Row>, limit: usize) -> Sql {
        let mut sql = Sql::new(format!("SELECT {what} FROM {}", quoted(&self.name)));
        if let Some(after) = after {
            sql.push(" WHERE (").push(&self.order(conn, "")).push(") > (");
            bind_all(&mut sql, after);
            sql.push(")");
        }
        sql.push(" ORDER BY ").push(&self.order(conn, "")).push(" LIMIT ");
        sql.bind(i64::try_from(limit).unwrap_or(i64::MAX));
        sql
    }

    fn read(&self, row: &QueryResult) -> Result<Row, StoreError> {
        let read = |column: &Column| column.kind.read(row, &column.name).map_err(StoreError::from);
        self.columns.iter().map(read).collect()
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn is_postgres(conn: &impl ConnectionTrait) -> bool {
    conn.get_database_backend() == DatabaseBackend::Postgres
}

fn bind_all(sql: &mut Sql, values: &[Value]) {
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            sql.push(", ");
        }
        sql.bind(value.clone());
    }
}

/// Who owns the PostgreSQL database, and who is connected to it.
pub async fn owner_and_user(conn: &impl ConnectionTrait) -> Result<(String, String), StoreError> {
    let sql = r#"SELECT pg_get_userbyid(datdba)::text AS owner, current_user::text AS "user" FROM pg_database
        WHERE datname = current_database()"#;
    let row = Sql::new(sql).one(conn).await?.ok_or(StoreError::Corrupt("catalogue"))?;
    Ok((row.try_get("", "owner")?, row.try_get("", "user")?))
}

/// The columns of every table but the migrations' own, by the tables' names.
pub async fn columns(conn: &impl ConnectionTrait) -> Result<BTreeMap<String, Vec<String>>, StoreError> {
    let sql = if is_postgres(conn) {
        r#"SELECT c.relname::text AS "table", a.attname::text AS "column" FROM pg_class c
           JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = current_schema()
           JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
           WHERE c.relkind IN ('r', 'p') AND c.relname NOT IN ('seaql_migrations', 'unfinished_copy') ORDER BY 1, 2"#
    } else {
        r#"SELECT t.name AS "table", c.name AS "column" FROM sqlite_master t JOIN pragma_table_info(t.name) c
           WHERE t.type = 'table' AND t.name <> 'seaql_migrations' AND t.name NOT LIKE 'sqlite@_%' ESCAPE '@'
           ORDER BY 1, 2"#
    };
    let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in Sql::new(sql).all(conn).await? {
        columns.entry(row.try_get("", "table")?).or_default().push(row.try_get("", "column")?);
    }
    Ok(columns)
}

/// Every table of a migrated PostgreSQL database, by name.
pub async fn tables(conn: &impl ConnectionTrait) -> Result<Vec<Table>, StoreError> {
    let sql = r#"SELECT c.relname::text AS "table", a.attname::text AS "column",
        format_type(a.atttypid, NULL) AS "type", array_position(i.indkey::int2[], a.attnum) AS place
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = current_schema()
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
        WHERE c.relkind IN ('r', 'p') AND c.relname NOT IN ('seaql_migrations', 'unfinished_copy')
        ORDER BY c.relname, a.attnum"#;
    let mut tables: Vec<(Table, Vec<(i32, usize)>)> = Vec::new();
    for row in Sql::new(sql).all(conn).await? {
        let (table, name): (String, String) = (row.try_get("", "table")?, row.try_get("", "column")?);
        let kind: String = row.try_get("", "type")?;
        let unknown = || DbErr::Type(format!("copying a column of the type {kind} ({table}.{name})"));
        let column = Column { kind: Kind::of(&kind).ok_or_else(unknown)?, name };
        if tables.last().is_none_or(|(last, _)| last.name != table) {
            tables.push((Table { name: table, columns: Vec::new(), key: Vec::new() }, Vec::new()));
        }
        if let Some((table, key)) = tables.last_mut() {
            if let Some(place) = row.try_get::<Option<i32>>("", "place")? {
                key.push((place, table.columns.len()));
            }
            table.columns.push(column);
        }
    }
    let in_key_order = |(mut table, mut key): (Table, Vec<(i32, usize)>)| {
        key.sort_unstable();
        table.key = key.into_iter().map(|(_, column)| column).collect();
        table
    };
    Ok(tables.into_iter().map(in_key_order).collect())
}

/// How many rows a table has.
pub async fn count(conn: &impl ConnectionTrait, table: &str) -> Result<i64, StoreError> {
    let sql = Sql::new(format!("SELECT COUNT(*) AS rows FROM {}", quoted(table)));
    let row = sql.one(conn).await?.ok_or(StoreError::Corrupt("count"))?;
    Ok(row.try_get("", "rows")?)
}

/// The first of these tables that holds rows; but for the chain's head as the migration made it.
pub async fn occupied<'a>(
    conn: &impl ConnectionTrait,
    names: impl IntoIterator<Item = &'a String>,
) -> Result<Option<&'a String>, StoreError> {
    for name in names {
        let but = if name == "chain_head" { " WHERE seq > 0" } else { "" };
        let sql = Sql::new(format!("SELECT 1 FROM {}{but} LIMIT 1", quoted(name)));
        if sql.one(conn).await?.is_some() {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// The last key of a table.
pub async fn last_key(conn: &impl ConnectionTrait, table: &Table) -> Result<Option<Row>, StoreError> {
    let order = table.order(conn, " DESC");
    let sql = format!("SELECT {} FROM {} ORDER BY {order} LIMIT 1", table.column_list(), quoted(&table.name));
    let row = Sql::new(sql).one(conn).await?;
    row.map(|row| Ok(table.key(&table.read(&row)?))).transpose()
}

/// The rows after a key, as many as fit into a batch; at least one, unless there is none.
pub async fn batch(
    conn: &impl ConnectionTrait,
    table: &Table,
    after: Option<&Row>,
    most: Batch,
) -> Result<Vec<Row>, StoreError> {
    let limit = most.rows.clamp(1, MOST_VALUES / table.columns.len().max(1));
    let sizes = table.select(conn, &format!("CAST({} AS BIGINT) AS size", table.size()), after, limit);
    let (mut fit, mut bytes) = (0, 0_i64);
    for row in sizes.all(conn).await? {
        bytes += row.try_get::<i64>("", "size")?;
        if fit > 0 && bytes > most.bytes {
            break;
        }
        fit += 1;
    }
    rows(conn, table, after, fit).await
}

/// The next rows after a key.
pub async fn rows(
    conn: &impl ConnectionTrait,
    table: &Table,
    after: Option<&Row>,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    let rows = table.select(conn, &table.column_list(), after, limit).all(conn).await?;
    rows.iter().map(|row| table.read(row)).collect()
}

/// Inserts rows, in one statement.
pub async fn insert(conn: &impl ConnectionTrait, table: &Table, rows: &[Row]) -> Result<(), StoreError> {
    let mut sql = Sql::new(format!("INSERT INTO {} ({}) VALUES ", quoted(&table.name), table.column_list()));
    for (index, row) in rows.iter().enumerate() {
        sql.push(if index == 0 { "(" } else { ", (" });
        bind_all(&mut sql, row);
        sql.push(")");
    }
    sql.run(conn).await?;
    Ok(())
}
