//! The server's side of the command line: running it, and looking after its database.

pub mod admin;
pub mod audit;
pub mod config;
pub mod copy;
pub mod health;
pub mod migrate;
pub mod serve;
pub mod token;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::{
    config::load::{Flag, Loaded, Sources, load},
    store::{db::Db, error, schema},
    telemetry,
};

/// How long a database that did not answer is left alone.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(1);

/// Where the configuration comes from.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// The configuration file; `waybill.toml` where it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The database: `sqlite://FILE` or `postgres://…`; the same as `DATABASE_URL`.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
}

impl ConfigArgs {
    fn sources(&self, more: Vec<Flag>) -> Sources {
        let mut flags = more;
        if let Some(value) = self.database_url.clone() {
            flags.push(Flag { name: "--database-url".to_owned(), key: "database.url".to_owned(), value });
        }
        Sources::of_process(self.config.clone(), flags)
    }

    /// Loads the configuration and sets the log up.
    fn load(&self, more: Vec<Flag>) -> anyhow::Result<Loaded> {
        let loaded = load(&self.sources(more)).map_err(|faults| anyhow::anyhow!("{faults}"))?;
        telemetry::init(&loaded.config.log)?;
        Ok(loaded)
    }

    /// Loads the configuration and opens a database that is there, with its schema up to date.
    async fn open(&self) -> anyhow::Result<Db> {
        let loaded = self.load(Vec::new())?;
        let url = &loaded.config.database.url;
        if let Some(path) = url.sqlite_path() {
            anyhow::ensure!(path.exists(), "there is no database at {url}; `waybill serve` makes one");
        }
        let db = connect(&loaded).await?;
        let status = schema::status(&db).await?;
        anyhow::ensure!(!status.half_copied, error::HALF_COPIED);
        anyhow::ensure!(status.pending.is_empty(), "the schema of {url} is behind; run `waybill migrate up`");
        Ok(db)
    }

    /// Loads the configuration and opens the database to change its schema, which may take longer than a statement may
    /// otherwise. A database that does not answer is asked again until it was waited for so long.
    async fn open_for_migration(&self, patience: Duration) -> anyhow::Result<Db> {
        let mut loaded = self.load(Vec::new())?;
        loaded.config.database.statement_timeout = Duration::ZERO;
        let given_up = Instant::now() + patience;
        loop {
            match connect(&loaded).await {
                Err(error) if Instant::now() < given_up => {
                    tracing::warn!(error = format!("{error:#}"), "waiting for the database");
                    tokio::time::sleep(BETWEEN_ATTEMPTS).await;
                }
                outcome => return outcome,
            }
        }
    }
}

async fn connect(loaded: &Loaded) -> anyhow::Result<Db> {
    let url = &loaded.config.database.url;
    Db::connect(&loaded.config.database).await.with_context(|| format!("cannot open the database {url}"))
}

/// What runs or looks after the server.
#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Run the server.
    Serve(serve::ServeArgs),
    /// Bring the database's schema up to date, or take steps back.
    #[command(subcommand)]
    Migrate(migrate::MigrateCommand),
    /// Make, list and revoke tokens, right in the database.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the OpenAPI document.
    Openapi,
    /// Ask a running server whether it is ready, as a container's health check does.
    Healthcheck(health::HealthArgs),
    /// Check the audit log.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Copy a whole ledger from SQLite to an empty PostgreSQL database; goes on where it was interrupted.
    Copy(copy::CopyArgs),
}

/// What can be done with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the effective values with their origin, secrets masked; report every fault.
    Check(ConfigArgs),
}

/// Does what is asked.
pub async fn run(command: ServerCommand) -> anyhow::Result<ExitCode> {
    match command {
        ServerCommand::Serve(args) => serve::run(&args).await,
        ServerCommand::Migrate(command) => migrate::run(&command).await,
        ServerCommand::Token(command) => token::run(command).await,
        ServerCommand::Config(ConfigCommand::Check(args)) => {
            let (mut out, mut err) = (anstream::stdout().lock(), anstream::stderr().lock());
            Ok(config::check(&args.sources(Vec::new()), &mut out, &mut err)?)
        }
        ServerCommand::Openapi => say(&crate::api::document()),
        ServerCommand::Healthcheck(args) => health::run(&args).await,
        ServerCommand::Audit(command) => audit::run(&command).await,
        ServerCommand::Copy(args) => copy::run(args).await,
    }
}

/// Prints a text.
fn say(text: &str) -> anyhow::Result<ExitCode> {
    match crate::cli::client::output::print(text) {
        // Whoever closed the pipe has read all they wanted.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(ExitCode::SUCCESS),
    }
}
