//! The ledgers that are measured, and servers on them.

use anyhow::Context as _;
use migration::Migrator;
use rustix::process::Pid;
use sea_orm::{ConnectionTrait as _, Database, DatabaseBackend, Statement};
use sea_orm_migration::MigratorTrait as _;
use tokio::task::spawn_blocking;

use crate::{
    load::Client,
    support::{db::TestDb, postgres::Server as PostgresServer, process::ServerProcess},
    used::Processes,
};

/// A PostgreSQL server that forgets no more than an installation's.
pub struct Postgres {
    server: PostgresServer,
    pid: Pid,
}

impl Postgres {
    pub async fn start() -> anyhow::Result<Self> {
        let server = spawn_blocking(|| PostgresServer::start_with(&[])).await??;
        let admin = Database::connect(server.url.as_str()).await?;
        let query = "SELECT split_part(pg_read_file('postmaster.pid'), chr(10), 1)::int4";
        let row = admin.query_one_raw(Statement::from_string(DatabaseBackend::Postgres, query)).await?;
        let pid = row.context("no row")?.try_get_by_index(0)?;
        Ok(Self { server, pid: Pid::from_raw(pid).context("no process")? })
    }

    /// A database of its own.
    async fn create(&self, name: &str) -> anyhow::Result<String> {
        let admin = Database::connect(self.server.url.as_str()).await?;
        admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await?;
        let mut url = self.server.url.clone();
        url.set_path(name);
        Ok(url.into())
    }
}

/// A ledger.
pub struct Ledger {
    /// Of its kind of database.
    pub name: &'static str,
    pub url: String,
    database: Option<Pid>,
    /// The ledger itself on SQLite; elsewhere it goes unused.
    file: TestDb,
}

impl Ledger {
    /// An empty one in a file.
    pub async fn sqlite() -> Self {
        let file = TestDb::sqlite().await;
        Self { name: "SQLite", url: file.url.clone(), database: None, file }
    }

    /// An empty one in a database with this name.
    pub async fn postgres(server: &Postgres, name: &str) -> anyhow::Result<Self> {
        let url = server.create(name).await?;
        Ok(Self { name: "PostgreSQL", database: Some(server.pid), ..Self::at(url).await? })
    }

    /// An empty one that somebody else keeps.
    pub async fn at(url: String) -> anyhow::Result<Self> {
        let connection = Database::connect(&url).await?;
        Migrator::up(&connection, None).await?;
        connection.close().await?;
        Ok(Self { name: "", url, database: None, file: TestDb::sqlite().await })
    }

    pub fn is_postgres(&self) -> bool {
        self.url.starts_with("postgres")
    }

    /// A server that limits no client.
    pub async fn serve(&self) -> Server {
        let mut env = vec![
            ("WAYBILL__DATABASE__URL", self.url.as_str()),
            ("WAYBILL__LIMITS__REQUESTS_PER_SECOND", "1000000"),
            ("WAYBILL__LIMITS__BURST", "1000000"),
        ];
        if self.is_postgres() {
            env.push(("WAYBILL__DATABASE__MAX_CONNECTIONS", "16"));
        }
        let process = ServerProcess::start_with(&self.file, &env).await;
        let processes = Processes { server: process.pid(), database: self.database };
        Server { client: Client::of(&process), processes, process }
    }
}

/// A server, and a client of it.
pub struct Server {
    pub client: Client,
    pub processes: Processes,
    process: ServerProcess,
}

impl Server {
    /// Ends it in order: what it has to seal is sealed.
    pub async fn stop(mut self) {
        self.process.terminate().await;
    }
}
