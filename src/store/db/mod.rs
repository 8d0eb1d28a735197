//! The connections to the database, and the only place that begins and commits a transaction.
//!
//! SQLite: one writing connection, handed out in order, and `BEGIN IMMEDIATE`, beside many reading ones.
//! PostgreSQL: one pool, READ COMMITTED, and the row locks that the statements take.
//!
//! Every transaction is an outermost one: a begin is never cut short, a connection on which the driver counts an open
//! transaction is not used again, and a commit fails unless every statement before it ended well.

mod file;
mod health;
mod options;
mod tx;

use std::{
    fs, io, os::unix::fs::OpenOptionsExt as _, path::Path, str::FromStr as _, sync::Arc, time::Duration,
};

use chrono::{DateTime, Utc};
use sea_orm::{
    AccessMode, ConnAcquireErr, ConnectionTrait, Database, DatabaseBackend, DatabaseConnection, DbErr,
    IsolationLevel, RuntimeErr, SqliteTransactionMode, TransactionOptions, TransactionTrait,
    sqlx::{self, ConnectOptions as _, Connection as _, postgres::PgConnectOptions},
};
use tokio_util::task::TaskTracker;

pub use self::tx::{Tx, TxConn};
use self::{
    file::{Changed, LedgerFile, Permit},
    health::Writes,
};
use crate::{
    config::{DatabaseConfig, database_url::Backend},
    domain::chain::went_back,
    store::{
        error::{StoreError, Transient, Unwritable},
        event, sql,
    },
    telemetry::chain,
};

/// How often a transaction that met another one is tried again.
const RETRIES: u32 = 5;

/// A handle on the database; cheap to clone.
#[derive(Clone, Debug)]
pub struct Db {
    read: DatabaseConnection,
    write: DatabaseConnection,
    writes: Arc<Writes>,
    /// SQLite's file; none where somebody else looks after the database.
    file: Option<Arc<LedgerFile>>,
    config: Arc<DatabaseConfig>,
    forgets: Forgets,
    /// What must be done to its end though nobody waits for it any more.
    tasks: TaskTracker,
}

impl Db {
    /// Opens the database. A SQLite file that is not there is made.
    pub async fn connect(config: &DatabaseConfig) -> Result<Self, StoreError> {
        match config.url.backend() {
            Backend::Postgres => {
                // A pool that cannot connect says only that it timed out; a plain connection says why.
                let plain = PgConnectOptions::from_str(&config.connection_url()).map_err(connection_error)?;
                let plain = tokio::time::timeout(config.acquire_timeout, plain.connect()).await;
                let forgets = match plain {
                    Ok(plain) => {
                        what_it_forgets(plain.map_err(connection_error)?).await.map_err(connection_error)?
                    }
                    Err(_elapsed) => Forgets::default(),
                };
                let pool = Database::connect(options::postgres(config, forgets)).await?;
                Ok(Self { forgets, ..Self::of(config, pool.clone(), pool, None) })
            }
            Backend::Sqlite => {
                let path = config.url.sqlite_path().ok_or(StoreError::Corrupt("URL of a file"))?;
                if file::is_orphaned_log(path) {
                    return Err(StoreError::OrphanedLog);
                }
                make_private(path).map_err(file_error)?;
                let file = Arc::new(LedgerFile::new(path).map_err(file_error)?);
                // The writer comes first: it turns WAL on, which readers cannot.
                let write = Database::connect(options::sqlite_writer(config, Arc::clone(&file))).await?;
                let read =
                    Database::connect(options::sqlite(config, options::sqlite_readers(config))).await?;
                Ok(Self::of(config, read, write, Some(file)))
            }
        }
    }

    /// Opens a SQLite file that nobody else has open, and keeps everybody else out until it is closed. Fails with
    /// [`StoreError::Busy`] when somebody has it open. Reading it so changes nothing in it.
    pub async fn connect_alone(config: &DatabaseConfig) -> Result<Self, StoreError> {
        let only = Database::connect(options::alone(config)).await?;
        Ok(Self::of(config, only.clone(), only, None))
    }

    fn of(
        config: &DatabaseConfig,
        read: DatabaseConnection,
        write: DatabaseConnection,
        file: Option<Arc<LedgerFile>>,
    ) -> Self {
        let (writes, tasks) = (Arc::default(), TaskTracker::new());
        Self {
            read,
            write,
            writes,
            file,
            config: Arc::new(config.clone()),
            forgets: Forgets::default(),
            tasks,
        }
    }

    /// Begins a transaction that is held while others work. Of a SQLite file, nobody else can change anything meanwhile.
    pub async fn hold(&self) -> Result<Tx, StoreError> {
        self.begin().await
    }

    /// Begins a transaction in which every statement reads the ledger as it is at the first, while others go on writing. It
    /// changes nothing, so it is dropped and not committed.
    pub async fn still(&self) -> Result<Tx, StoreError> {
        let postgres = self.is_postgres();
        let options = TransactionOptions {
            isolation_level: postgres.then_some(IsolationLevel::RepeatableRead),
            access_mode: postgres.then_some(AccessMode::ReadOnly),
            sqlite_transaction_mode: (!postgres).then_some(SqliteTransactionMode::Deferred),
        };
        self.begin_on(&self.read, options, None).await
    }

    /// As [`Db::still`], and a statement may take as long as it needs.
    pub async fn snapshot(&self) -> Result<Tx, StoreError> {
        let tx = self.still().await?;
        if self.is_postgres() {
            tx.conn().execute_unprepared("SET LOCAL statement_timeout = 0").await?;
        }
        Ok(tx)
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

    async fn begin(&self) -> Result<Tx, StoreError> {
        let sqlite_transaction_mode = (!self.is_postgres()).then_some(SqliteTransactionMode::Immediate);
        let options = TransactionOptions { sqlite_transaction_mode, ..TransactionOptions::default() };
        self.begin_on(&self.write, options, self.file.clone()).await
    }

    /// Goes on to its end when the caller is dropped, and then takes back what it began: PostgreSQL's driver forgets a
    /// BEGIN that it was dropped at, and would hand the connection out as one without a transaction.
    async fn begin_on(
        &self,
        pool: &DatabaseConnection,
        options: TransactionOptions,
        file: Option<Arc<LedgerFile>>,
    ) -> Result<Tx, StoreError> {
        let (this, pool) = (self.clone(), pool.clone());
        // Spawning moves what it is given about, and this is large.
        let begin = self.tasks.spawn(Box::pin(async move {
            let file = match file {
                Some(file) => {
                    let permit = this.permit(&file).await?;
                    Some((file, permit))
                }
                None => None,
            };
            #[expect(clippy::disallowed_methods, reason = "the one place that begins")]
            let inner = pool.begin_with_options(options).await?;
            Ok(Tx::new(inner, file, this.writes, this.tasks))
        }));
        let outcome = begin.await.map_err(|error| DbErr::Custom(format!("a begin ended early: {error}")))?;
        if let Err(error) = &outcome {
            self.writes.failed(error);
        }
        outcome
    }

    /// The right to write to SQLite's file, which is still where it was and as the last transaction left it. A file that
    /// somebody else has changed, as another process of ours may, is read as a new process would read it.
    async fn permit(&self, file: &LedgerFile) -> Result<Permit, StoreError> {
        let permit = tokio::time::timeout(self.config.acquire_timeout, file.permit());
        let permit = permit.await.map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::Timeout))?;
        let changed = file.changed(&permit);
        if matches!(changed, Ok(Changed::Log) | Err(Unwritable::LogDeleted)) {
            // What is only in the log, as this process has it open, goes into the file while it can.
            self.write.execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)").await?;
        }
        if changed.map_err(StoreError::Unwritable)? != Changed::Nothing {
            let whole = self.is_whole().await?;
            tracing::warn!(whole, "the database file was changed otherwise than by this server");
            file.judge(whole);
            file.look().map_err(StoreError::Unwritable)?;
        }
        Ok(permit)
    }

    /// Whether a connection that knows nothing yet finds a sound file, in which nothing is missing that the others see.
    /// Fails when it cannot be looked at now, which says nothing about it.
    async fn is_whole(&self) -> Result<bool, StoreError> {
        let look = async {
            let (seen, _) = event::head(&self.read).await?;
            let fresh = Database::connect(options::sqlite(&self.config, 1)).await?;
            let check = sql::Sql::new("PRAGMA quick_check(1)").one(&fresh).await?;
            let sound =
                check.is_some_and(|row| row.try_get_by_index(0).is_ok_and(|said: String| said == "ok"));
            let whole = sound && went_back(&seen, &event::head(&fresh).await?.0).is_none();
            fresh.close().await?;
            Ok::<_, StoreError>(whole)
        };
        match look.await {
            Err(error) if error.is_outage() && error.unwritable() != Some(Unwritable::Overwritten) => {
                Err(error)
            }
            Err(error) => {
                tracing::error!(error = chain(&error), "the database file holds no ledger");
                Ok(false)
            }
            whole => whole,
        }
    }

    /// What the database forgets in a crash though it has acknowledged it.
    pub fn forgets(&self) -> Forgets {
        self.forgets
    }

    /// Waits until something was committed by this process since the last wait.
    pub async fn committed(&self) {
        self.writes.committed.notified().await;
    }

    /// Why the database takes no writes, as far as a look at its file and the last writes tell.
    pub fn unwritable(&self) -> Option<Unwritable> {
        let file = self.file.as_ref().and_then(|file| file.look().err());
        file.or_else(|| self.writes.fault())
    }

    /// Whether a write is due to show whether the database takes any.
    pub fn is_unproven_for(&self, age: Duration) -> bool {
        self.writes.is_unproven_for(age)
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

/// The clock that decides what happened when: the database's on PostgreSQL, the process's on SQLite.
pub async fn now(conn: &impl ConnectionTrait) -> Result<DateTime<Utc>, StoreError> {
    let query = sql::locking(conn, "SELECT 1", "");
    match sql::Sql::new(query).one(conn).await? {
        Some(row) => sql::now_of(&row),
        None => Err(StoreError::Corrupt("clock")),
    }
}

/// How PostgreSQL is set up to forget what it has acknowledged when its machine crashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgets {
    /// `synchronous_commit` is off; our own sessions turn it on.
    pub commits: bool,
    /// `fsync` is off, which no session can turn on.
    pub writes: bool,
}

async fn what_it_forgets(mut session: sqlx::PgConnection) -> Result<Forgets, sqlx::Error> {
    let settings = "SELECT current_setting('synchronous_commit') = 'off', current_setting('fsync') = 'off'";
    let (commits, writes) = sqlx::query_as(settings).fetch_one(&mut session).await?;
    session.close().await?;
    Ok(Forgets { commits, writes })
}

fn connection_error(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error))))
}

/// Makes a file that nobody else can read, unless there is one: the ledger is its owner's.
fn make_private(path: &Path) -> io::Result<()> {
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands it over")]
fn file_error(error: io::Error) -> StoreError {
    StoreError::Unavailable(DbErr::Conn(RuntimeErr::Internal(error.to_string())))
}

/// A pause that grows, and differs between the processes that met.
fn pause(tried: u32) -> Duration {
    let jitter = u64::from(crate::clock::new_id().as_bytes()[15]);
    Duration::from_millis((10 << tried) + jitter / 8)
}
