//! Everything that a database holds, read past the server.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait as _, DatabaseBackend, DatabaseConnection, Statement};

/// The rows of each table, as text and in order.
pub type Rows = BTreeMap<String, Vec<String>>;

async fn texts(sql: &DatabaseConnection, query: String) -> Vec<String> {
    let rows = sql.query_all_raw(Statement::from_string(sql.get_database_backend(), query)).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

/// Reads all of it.
pub async fn rows(sql: &DatabaseConnection) -> Rows {
    let postgres = sql.get_database_backend() == DatabaseBackend::Postgres;
    let tables = if postgres {
        "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()"
    } else {
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    };
    let mut all = Rows::new();
    for table in texts(sql, tables.to_owned()).await {
        let row = if postgres {
            "t::text".to_owned()
        } else {
            let columns = format!("SELECT 'quote(' || name || ')' FROM pragma_table_info('{table}')");
            texts(sql, columns).await.join(" || ',' || ")
        };
        let rows = texts(sql, format!("SELECT {row} FROM {table} AS t ORDER BY 1")).await;
        all.insert(table, rows);
    }
    all
}
