//! How connections are opened, and which may be handed out.

use std::{future::ready, num::NonZero, sync::Arc, thread::available_parallelism, time::Duration};

use futures_util::future::BoxFuture;
use sea_orm::{
    ConnectOptions,
    sqlx::{
        self, Connection as _,
        sqlite::{SqliteJournalMode, SqliteLockingMode, SqliteSynchronous},
    },
};

use super::{Forgets, file::LedgerFile};
use crate::config::DatabaseConfig;

/// A migration holds its lock on one connection and works on another.
const MIGRATION_CONNECTIONS: u32 = 2;

/// How long a file may stay in use by somebody who is about to leave.
const ALONE_PATIENCE: Duration = Duration::from_secs(1);

/// Sessions that wait until a commit is on disk, also where PostgreSQL forgets some otherwise.
pub(super) fn postgres(config: &DatabaseConfig, forgets: Forgets) -> ConnectOptions {
    let mut options = ConnectOptions::new(config.connection_url());
    options
        .max_connections(config.max_connections.max(MIGRATION_CONNECTIONS))
        .acquire_timeout(config.acquire_timeout)
        .connect_timeout(config.acquire_timeout)
        .statement_timeout(config.statement_timeout)
        .set_application_name("waybill")
        .test_before_acquire(false)
        .test_before_acquire_if_idle_for(Duration::from_secs(5))
        .map_sqlx_postgres_opts(move |options| {
            if forgets.commits { options.options([("synchronous_commit", "on")]) } else { options }
        })
        .map_sqlx_postgres_before_acquire(|conn, _| has_no_transaction::<sqlx::Postgres>(conn))
        .sqlx_logging(false)
        .record_stmt_in_spans(false);
    options
}

/// Whether a connection may be handed out: one on which the driver still counts a transaction would make the next begin a
/// savepoint, whose commit makes nothing last.
fn has_no_transaction<D: sqlx::Database>(
    conn: &mut D::Connection,
) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
    let open = conn.is_in_transaction();
    if open {
        tracing::warn!("a transaction did not end as it should have; its connection is closed");
    }
    Box::pin(ready(Ok(!open)))
}

/// The one writer stays open, so that nobody else is the last to leave and deletes the log.
pub(super) fn sqlite_writer(config: &DatabaseConfig, file: Arc<LedgerFile>) -> ConnectOptions {
    let mut options = sqlite(config, 1);
    options.idle_timeout(None).max_lifetime(None).map_sqlx_sqlite_pool_opts(move |pool| {
        let file = Arc::clone(&file);
        pool.after_connect(move |_, _| {
            file.forget_log();
            Box::pin(ready(Ok(())))
        })
    });
    options
}

/// After so long a reading connection is closed: each holds some MiB of pages and statements, a new one costs a millisecond, and
/// those that are open take turns, so that none of them is idle for long.
const LIFETIME: Duration = Duration::from_secs(30);

/// The least that read at once.
const READERS_MIN: usize = 4;

/// How many connections read a SQLite file. Each reads on a thread of its own: more than twice as many as there are processors
/// read no faster, and hold memory.
pub(super) fn sqlite_readers(config: &DatabaseConfig) -> u32 {
    let busy = available_parallelism().map_or(1, NonZero::get).saturating_mul(2).max(READERS_MIN);
    config.max_connections.min(u32::try_from(busy).unwrap_or(u32::MAX))
}

pub(super) fn sqlite(config: &DatabaseConfig, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(config.connection_url());
    options
        .max_connections(connections)
        .acquire_timeout(config.acquire_timeout)
        .idle_timeout(LIFETIME)
        .max_lifetime(LIFETIME)
        .map_sqlx_sqlite_before_acquire(|conn, _| has_no_transaction::<sqlx::Sqlite>(conn))
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .map_sqlx_sqlite_opts(|options| {
            options
                // A connection that is opened later must not begin a new file where the ledger's was deleted.
                .create_if_missing(false)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .foreign_keys(true)
                .busy_timeout(Duration::from_secs(5))
        });
    options
}

/// A SQLite file that nobody else has open.
pub(super) fn alone(config: &DatabaseConfig) -> ConnectOptions {
    let mut options = ConnectOptions::new(config.connection_url());
    options
        .max_connections(1)
        .acquire_timeout(config.acquire_timeout)
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .map_sqlx_sqlite_opts(|options| {
            // Every connection to a file in WAL mode, even an idle one, shares a lock that this one does not.
            options.locking_mode(SqliteLockingMode::Exclusive).busy_timeout(ALONE_PATIENCE)
        });
    options
}

#[cfg(test)]
mod tests {
    use sea_orm::{ConnectionTrait as _, Database, DatabaseBackend, Statement};

    /// A build that does not see `.cargo/config.toml` works, but reads slower.
    #[tokio::test]
    async fn sqlite_counts_no_memory_under_a_lock_for_all_connections() {
        let memory = Database::connect("sqlite::memory:").await.unwrap();
        let options = Statement::from_string(DatabaseBackend::Sqlite, "PRAGMA compile_options");
        let options = memory.query_all_raw(options).await.unwrap();
        let options: Vec<String> = options.iter().map(|row| row.try_get_by_index(0).unwrap()).collect();
        let counts = !options.iter().any(|option| option == "DEFAULT_MEMSTATUS=0");
        assert!(!counts, "SQLite was not built with LIBSQLITE3_FLAGS of .cargo/config.toml: {options:?}");
    }
}
