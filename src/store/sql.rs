//! Statements by hand, where SeaORM's would be longer or cannot be: text and bound values, built side by side.

use std::collections::BTreeSet;

use chrono::{DateTime, SubsecRound as _, Utc};
use sea_orm::{ConnectionTrait, EntityTrait, IdenStatic as _, Iterable as _, QueryResult, Statement, Value};

use crate::{domain::scope::Narrowing, store::error::StoreError};

/// A statement under construction. Values are only ever bound, never written into the text.
pub(super) struct Sql {
    text: String,
    values: Vec<Value>,
}

impl Sql {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self::with(text, [])
    }

    /// A statement that refers to these values by number.
    pub(super) fn with<const N: usize>(text: impl Into<String>, values: [Value; N]) -> Self {
        Self { text: text.into(), values: values.into() }
    }

    pub(super) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Appends a placeholder for a value.
    pub(super) fn bind(&mut self, value: impl Into<Value>) -> &mut Self {
        let number = self.number(value);
        self.push(&number)
    }

    /// A placeholder for a value, to be written into the text wherever it is needed.
    pub(super) fn number(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }

    /// Appends `AND <column> = <value>` when there is a value.
    pub(super) fn and_equals(&mut self, column: &str, value: Option<impl Into<Value>>) -> &mut Self {
        if let Some(value) = value {
            self.push(" AND ").push(column).push(" = ").bind(value);
        }
        self
    }

    /// Confines the rows to what the narrowing allows.
    pub(super) fn and_within(
        &mut self,
        narrowing: &Narrowing,
        service: Option<&str>,
        environment: Option<&str>,
    ) -> &mut Self {
        let mut confine = |column: Option<&str>, names: &Option<BTreeSet<String>>| {
            let (Some(column), Some(names)) = (column, names) else { return };
            self.push(" AND ").push(column).among(names);
        };
        confine(service, &narrowing.services);
        confine(environment, &narrowing.environments);
        self
    }

    /// Appends the values of a list, as `IN` has them; a list of none holds nothing.
    pub(super) fn among<T: Into<Value>>(&mut self, values: impl IntoIterator<Item = T>) -> &mut Self {
        self.push(" IN (NULL");
        for value in values {
            self.push(", ").bind(value);
        }
        self.push(")")
    }

    fn statement(&self, conn: &impl ConnectionTrait) -> Statement {
        Statement::from_sql_and_values(conn.get_database_backend(), self.text.as_str(), self.values.clone())
    }

    pub(super) async fn one(&self, conn: &impl ConnectionTrait) -> Result<Option<QueryResult>, StoreError> {
        Ok(conn.query_one_raw(self.statement(conn)).await?)
    }

    pub(super) async fn all(&self, conn: &impl ConnectionTrait) -> Result<Vec<QueryResult>, StoreError> {
        Ok(conn.query_all_raw(self.statement(conn)).await?)
    }

    /// Runs it and tells how many rows it changed.
    pub(super) async fn run(&self, conn: &impl ConnectionTrait) -> Result<u64, StoreError> {
        Ok(conn.execute_raw(self.statement(conn)).await?.rows_affected())
    }
}

/// `alias.column AS prefix_column` for every column of a table, as its model is read with that prefix.
pub(super) fn columns<E: EntityTrait>(alias: &str, prefix: &str) -> String {
    let mut list = String::new();
    for column in E::Column::iter() {
        if !list.is_empty() {
            list.push_str(", ");
        }
        let name = column.as_str();
        // Most statements have several such lists, and formatting them was a twentieth of a question to the gate.
        for part in [alias, ".\"", name, "\" AS \"", prefix, name, "\""] {
            list.push_str(part);
        }
    }
    list
}

/// Wraps a query so that it locks the rows it names, in that order, before anything is read from them; `now` is then
/// the database's clock, read after the locks. SQLite has one writer, so there is nothing to lock and no clock to ask.
pub(super) fn locking(conn: &impl ConnectionTrait, query: &str, locks: &str) -> String {
    let clock = clock(conn);
    if conn.get_database_backend() == sea_orm::DatabaseBackend::Postgres {
        return format!(
            "WITH locked AS MATERIALIZED ({query} {locks}) SELECT locked.*, {clock} AS now FROM locked"
        );
    }
    format!("SELECT locked.*, {clock} AS now FROM ({query}) AS locked")
}

/// A column of JSON, up to the query whose rows become objects of these fields; it ends with `) AS o)`. An id is written
/// as text, which both databases read back as one.
pub(super) fn objects(postgres: bool, fields: &[&str]) -> String {
    if postgres {
        return "(SELECT COALESCE(json_agg(o), '[]')::text FROM (".to_owned();
    }
    let field = |name: &&str| match *name {
        "id" => "'id', lower(hex(id))".to_owned(),
        name => format!("'{name}', {name}"),
    };
    let fields = fields.iter().map(field).collect::<Vec<_>>().join(", ");
    format!("(SELECT json_group_array(json_object({fields})) FROM (")
}

/// The expression that reads the database's clock, where it is the one that decides.
pub(super) fn clock(conn: &impl ConnectionTrait) -> &'static str {
    let postgres = conn.get_database_backend() == sea_orm::DatabaseBackend::Postgres;
    if postgres { "clock_timestamp()" } else { "NULL" }
}

/// The moment that [`clock`] read into the column `now`.
pub(super) fn now_of(row: &QueryResult) -> Result<DateTime<Utc>, StoreError> {
    Ok(moment(row.try_get("", "now")?))
}

/// The moment that [`clock`] read.
pub(super) fn moment(now: Option<DateTime<Utc>>) -> DateTime<Utc> {
    now.map_or_else(crate::clock::now, |now| now.trunc_subsecs(6))
}
