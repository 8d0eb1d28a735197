//! PostgreSQL databases for tests: one template per run, migrated and closed, and a copy of it for each test. They are
//! on a throw-away server that this process starts, or on the one that `WAYBILL_TEST_DATABASE_URL` names.

mod server;

use std::{
    path::PathBuf,
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, anyhow};
use migration::Migrator;
use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};
use sea_orm_migration::MigratorTrait;
use tokio::sync::OnceCell;
use url::Url;

pub use self::server::Server;

const URL_VARIABLE: &str = "WAYBILL_TEST_DATABASE_URL";
const PREFIX: &str = "waybill_test_";
/// Databases that are older belong to a run that was killed.
const OLDEST: Duration = Duration::from_hours(2);
const DROP_PATIENCE: Duration = Duration::from_secs(2);
const COPY_ATTEMPTS: u32 = 50;

static RUN: OnceCell<Result<Run, String>> = OnceCell::const_new();
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// What the tests of one run share.
#[derive(Debug)]
struct Run {
    admin_url: Url,
    template: String,
    /// Stops with the process, and not before.
    _server: Option<Server>,
}

/// A database of one test; it is deleted when this is dropped.
#[derive(Debug)]
pub struct Database {
    admin_url: Url,
    name: String,
}

/// Where the programs of the server are that the tests start, and with them its clients of the same version.
pub fn programs() -> Option<PathBuf> {
    server::find_programs()
}

/// A copy of the template.
pub async fn create() -> Result<Database> {
    // The first failure is told to every test: it is the same for all of them.
    let run = RUN
        .get_or_init(|| async { prepare().await.map_err(|error| format!("{error:#}")) })
        .await
        .as_ref()
        .map_err(|error| anyhow!("{error}"))?;
    let admin = connect(&run.admin_url).await?;
    let name = fresh_name();
    copy(&admin, &run.template, &name).await?;
    admin.close().await?;
    Ok(Database { admin_url: run.admin_url.clone(), name })
}

impl Database {
    /// Where it is, as `database.url` takes it.
    pub fn url(&self) -> String {
        let mut url = self.admin_url.clone();
        url.set_path(&self.name);
        url.into()
    }
}

impl Drop for Database {
    /// A thread with a runtime of its own, because the test's runtime cannot be waited for here. Not waited for without
    /// end either: the server may itself wait for a session that this very runtime is about to open.
    fn drop(&mut self) {
        let (admin_url, name) = (self.admin_url.clone(), self.name.clone());
        let (done, wait) = mpsc::channel();
        thread::spawn(move || {
            if let Err(error) = drop_database(&admin_url, &name) {
                eprintln!("database {name} was not dropped: {error:#}");
            }
            done.send(())
        });
        // Whatever is left after that is dropped soon, or swept by a later run.
        let _ = wait.recv_timeout(DROP_PATIENCE);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn drop_database(admin_url: &Url, name: &str) -> Result<()> {
    let admin = connect(admin_url).await?;
    admin.execute_unprepared(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
    Ok(admin.close().await?)
}

/// The server, without leftovers, and the template.
async fn prepare() -> Result<Run> {
    let (admin_url, server) = if let Ok(url) = std::env::var(URL_VARIABLE) {
        (Url::parse(&url).with_context(|| format!("{URL_VARIABLE} is not a URL"))?, None)
    } else {
        let server = tokio::task::spawn_blocking(Server::start).await??;
        (server.url.clone(), Some(server))
    };
    let admin = connect(&admin_url).await.context("PostgreSQL cannot be reached")?;
    if server.is_none() {
        sweep(&admin).await?;
    }
    let template = fresh_name();
    admin.execute_unprepared(&format!("CREATE DATABASE {template}")).await?;
    let mut url = admin_url.clone();
    url.set_path(&template);
    let db = connect(&url).await?;
    Migrator::up(&db, None).await.context("the migrations do not run on PostgreSQL")?;
    db.close().await?;
    admin.close().await?;
    Ok(Run { admin_url, template, _server: server })
}

async fn connect(url: &Url) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(url.as_str());
    options.max_connections(1).sqlx_logging(false);
    sea_orm::Database::connect(options).await
}

/// A template cannot be copied while a session uses it; one that was just closed may linger for a moment.
async fn copy(admin: &DatabaseConnection, template: &str, name: &str) -> Result<()> {
    let statement = format!("CREATE DATABASE {name} TEMPLATE {template}");
    let mut attempt = 0;
    while let Err(error) = admin.execute_unprepared(&statement).await {
        attempt += 1;
        if attempt == COPY_ATTEMPTS || !error.to_string().contains("is being accessed by other users") {
            return Err(error).context("the template cannot be copied");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Drops what killed runs have left behind on a server that is not ours.
async fn sweep(admin: &DatabaseConnection) -> Result<()> {
    let query = format!("SELECT datname FROM pg_database WHERE datname LIKE '{PREFIX}%'");
    for row in admin.query_all_raw(Statement::from_string(DbBackend::Postgres, query)).await? {
        let name: String = row.try_get("", "datname")?;
        let created = name.strip_prefix(PREFIX).and_then(|rest| rest.split('_').next()?.parse().ok());
        if created.is_some_and(|created: u64| created + OLDEST.as_secs() < epoch_seconds()) {
            admin.execute_unprepared(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
        }
    }
    Ok(())
}

fn fresh_name() -> String {
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}{}_{}_{number}", epoch_seconds(), std::process::id())
}

fn epoch_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}
