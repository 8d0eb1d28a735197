//! The connections to the database, and the only place that begins and commits a transaction.
//!
//! SQLite: one writing connection, handed out in order, and `BEGIN IMMEDIATE`, beside many reading ones.
//! PostgreSQL: one pool, READ COMMITTED, and the row locks that the statements take.

use std::{
    fs, io, os::unix::fs::OpenOptionsExt as _, path::Path, str::FromStr as _, sync::Arc, time::Duration,
};

use chrono::{DateTime, Utc};
use sea_orm::{
    AccessMode, ConnectOptions, ConnectionTrait, Database, DatabaseBackend, DatabaseConnection,
    DatabaseTransaction, DbErr, IsolationLevel, RuntimeErr, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
    sqlx::{
        self, ConnectOptions as _, Connection as _,
        postgres::PgConnectOptions,
        sqlite::{SqliteJournalMode, SqliteLockingMode, SqliteSynchronous},
    },
};
use tokio::sync::Notify;

use crate::{
    config::{DatabaseConfig, database_url::Backend},
    store::{error::StoreError, sql},
};

/// How often a transaction that met another one is tried again.
const RETRIES: u32 = 5;

/// A migration holds its lock on one connection and works on another.
const MIGRATION_CONNECTIONS: u32 = 2;

/// How long a file may stay in use by somebody who is about to leave.
const ALONE_PATIENCE: Duration = Duration::from_secs(1);

/// A handle on the database; cheap to clone.
#[derive(Clone, Debug)]
pub struct Db {
    read: DatabaseConnection,
    write: DatabaseConnection,
    committed: Arc<Notify>,
}

/// A transaction that may write. Dropped without [`Tx::commit`], it changes nothing.
#[derive(Debug)]
pub struct Tx {
    inner: DatabaseTransaction,
    committed: Arc<Notify>,
}

impl Tx {
    /// What the statements of this transaction run on.
    pub fn conn(&self) -> &DatabaseTransaction {
        &self.inner
    }

    /// Makes the changes last, and tells the relay that there may be events.
    pub async fn commit<T>(self, value: T) -> Result<T, StoreError> {
        self.inner.commit().await?;
        self.committed.notify_one();
        Ok(value)
    }
}

impl Db {
    /// Opens the database. A SQLite file that is not there is made.
    pub async fn connect(config: &DatabaseConfig) -> Result<Self, StoreError> {
        let committed = Arc::new(Notify::new());
        match config.url.backend() {
            Backend::Postgres => {
                // A pool that cannot connect says only that it timed out; a plain connection says why.
                let plain = PgConnectOptions::from_str(&config.connection_url()).map_err(connection_error)?;
                let plain = tokio::time::timeout(config.acquire_timeout, plain.connect()).await;
                if let Ok(plain) = plain {
                    plain.map_err(connection_error)?.close().await.map_err(connection_error)?;
                }
                let pool = Database::connect(postgres_options(config)).await?;
                Ok(Self { read: pool.clone(), write: pool, committed })
            }
            Backend::Sqlite => {
                if let Some(path) = config.url.sqlite_path() {
                    make_private(path)?;
                }
                // The writer comes first: it makes the file and turns WAL on, which readers cannot.
                let write = Database::connect(sqlite_options(config, 1)).await?;
                let read = Database::connect(sqlite_options(config, config.max_connections)).await?;
                Ok(Self { read, write, committed })
            }
        }
    }

    /// Opens a SQLite file that nobody else has open, and keeps everybody else out until it is closed. Fails with
    /// [`StoreError::Busy`] when somebody has it open. Reading it so changes nothing in it.
    pub async fn connect_alone(config: &DatabaseConfig) -> Result<Self, StoreError> {
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
        let only = Database::connect(options).await?;
        Ok(Self { read: only.clone(), write: only, committed: Arc::new(Notify::new()) })
    }

    /// Begins a transaction that is held while others work. Of a SQLite file, nobody else can change anything meanwhile.
    pub async fn hold(&self) -> Result<Tx, StoreError> {
        self.begin().await
    }

    /// Begins a transaction in which every statement reads the ledger as it is at the first, while others go on writing,
    /// and in which a statement may take as long as it needs. It changes nothing, so it is dropped and not committed.
    #[expect(clippy::disallowed_methods, reason = "the one place that begins")]
    pub async fn snapshot(&self) -> Result<Tx, StoreError> {
        let postgres = self.is_postgres();
        let options = TransactionOptions {
            isolation_level: postgres.then_some(IsolationLevel::RepeatableRead),
            access_mode: postgres.then_some(AccessMode::ReadOnly),
            sqlite_transaction_mode: (!postgres).then_some(SqliteTransactionMode::Deferred),
        };
        let inner = self.read.begin_with_options(options).await?;
        if postgres {
            inner.execute_unprepared("SET LOCAL statement_timeout = 0").await?;
        }
        Ok(Tx { inner, committed: Arc::clone(&self.committed) })
    }

    /// What reads run on.
    pub fn read(&self) -> &DatabaseConnection {
        &self.read
    }

    /// What the schema is changed on.
    pub fn schema(&self) -> &DatabaseConnection {
        &self.write
    }

    /// Which of the two databases this is.
    pub fn is_postgres(&self) -> bool {
        self.read.get_database_backend() == DatabaseBackend::Postgres
    }

    /// Runs `work` in a transaction of its own, which it commits itself; tries again when another was in the way.
    /// `work` may run several times and must leave nothing behind but what it commits.
    pub async fn write<T, E, W, F>(&self, work: W) -> Result<T, E>
    where
        E: From<StoreError> + Transient,
        W: Fn(Tx) -> F,
        F: Future<Output = Result<T, E>>,
    {
        let mut tried = 0;
        loop {
            let outcome = match self.begin().await {
                Ok(tx) => work(tx).await,
                Err(error) => Err(error.into()),
            };
            match outcome {
                Err(error) if tried < RETRIES && error.is_transient() => {
                    tokio::time::sleep(pause(tried)).await;
                    tried += 1;
                }
                outcome => return outcome,
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that begins")]
    async fn begin(&self) -> Result<Tx, StoreError> {
        let sqlite_transaction_mode = (!self.is_postgres()).then_some(SqliteTransactionMode::Immediate);
        let options = TransactionOptions { sqlite_transaction_mode, ..TransactionOptions::default() };
        let inner = self.write.begin_with_options(options).await?;
        Ok(Tx { inner, committed: Arc::clone(&self.committed) })
    }

    /// Waits until something was committed by this process since the last wait.
    pub async fn committed(&self) {
        self.committed.notified().await;
    }

    /// Fails when the database does not answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.read.ping().await?;
        Ok(())
    }

    /// Closes every connection, once those in use are given back.
    pub async fn close(self) {
        for pool in [self.read, self.write] {
            if let Err(error) = pool.close().await {
                tracing::warn!(%error, "a database pool did not close");
            }
        }
    }

    /// How many connections are open, and how many of them idle.
    pub fn pool_size(&self) -> (u32, usize) {
        if self.is_postgres() {
            let pool = self.read.get_postgres_connection_pool();
            return (pool.size(), pool.num_idle());
        }
        let (read, write) = (self.read.get_sqlite_connection_pool(), self.write.get_sqlite_connection_pool());
        (read.size() + write.size(), read.num_idle() + write.num_idle())
    }
}

/// An error that may pass when the transaction is tried again.
pub trait Transient {
    /// Whether the same transaction may work when it is tried again.
    fn is_transient(&self) -> bool;
}

/// The clock that decides what happened when: the database's on PostgreSQL, the process's on SQLite.
pub async fn now(conn: &impl ConnectionTrait) -> Result<DateTime<Utc>, StoreError> {
    let query = sql::locking(conn, "SELECT 1", "");
    match sql::Sql::new(query).one(conn).await? {
        Some(row) => sql::now_of(&row),
        None => Err(StoreError::Corrupt("clock")),
    }
}

fn connection_error(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error))))
}

/// Makes a file that nobody else can read, unless there is one: the ledger is its owner's.
fn make_private(path: &Path) -> Result<(), StoreError> {
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(StoreError::Unavailable(DbErr::Conn(RuntimeErr::Internal(error.to_string()))))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// A pause that grows, and differs between the processes that met.
fn pause(tried: u32) -> Duration {
    let jitter = u64::from(crate::clock::new_id().as_bytes()[15]);
    Duration::from_millis((10 << tried) + jitter / 8)
}

fn postgres_options(config: &DatabaseConfig) -> ConnectOptions {
    let mut options = ConnectOptions::new(config.connection_url());
    options
        .max_connections(config.max_connections.max(MIGRATION_CONNECTIONS))
        .acquire_timeout(config.acquire_timeout)
        .connect_timeout(config.acquire_timeout)
        .statement_timeout(config.statement_timeout)
        .set_application_name("waybill")
        .test_before_acquire(false)
        .test_before_acquire_if_idle_for(Duration::from_secs(5))
        .sqlx_logging(false)
        .record_stmt_in_spans(false);
    options
}

fn sqlite_options(config: &DatabaseConfig, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(config.connection_url());
    options
        .max_connections(connections)
        .acquire_timeout(config.acquire_timeout)
        .idle_timeout(Duration::from_mins(1))
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .map_sqlx_sqlite_opts(|options| {
            options
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .foreign_keys(true)
                .busy_timeout(Duration::from_secs(5))
        });
    options
}
