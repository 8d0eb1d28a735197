//! The server's side of the command line: running it, and looking after its database.

mod audit;
mod config;
mod copy;
mod health;
mod migrate;
mod token;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Args, Subcommand};

use crate::{
    cli::client::credentials::ConnectionArgs,
    config::{
        Config,
        database_url::DatabaseUrl,
        load::{Loaded, load},
        local::{self, LocalFile},
        sources::{Flag, Sources},
    },
    serve::{self, connect},
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
    fn sources(&self, more: Option<Flag>) -> Sources {
        let url = self.database_url.clone();
        let url = url.map(|value| Flag { name: "--database-url", key: "database.url", value });
        Sources::of_process(self.config.clone(), more.into_iter().chain(url).collect())
    }

    /// Loads the configuration and sets the log up.
    fn load(&self, more: Option<Flag>) -> anyhow::Result<Config> {
        Ok(self.loaded(more)?.config)
    }

    fn loaded(&self, more: Option<Flag>) -> anyhow::Result<Loaded> {
        let loaded = load(&self.sources(more))?;
        telemetry::init(&loaded.config.log)?;
        Ok(loaded)
    }

    /// Loads the configuration and opens a database that is there, with its schema up to date.
    async fn open(&self) -> anyhow::Result<Db> {
        Ok(self.open_with_config().await?.1)
    }

    /// As [`ConfigArgs::open`], for who needs more of the configuration.
    async fn open_with_config(&self) -> anyhow::Result<(Config, Db)> {
        let config = self.load(None)?;
        let url = &config.database.url;
        ensure_is_there(url)?;
        let db = connect(&config.database).await?;
        let status = schema::status(&db).await?;
        anyhow::ensure!(!status.half_copied, error::HALF_COPIED);
        anyhow::ensure!(status.pending.is_empty(), "the schema of {url} is behind; run `waybill migrate up`");
        Ok((config, db))
    }

    /// Loads the configuration and opens the database to look at its schema or change it, which may take longer than a
    /// statement may otherwise. A SQLite file is made only where one is asked for by name.
    async fn open_for_migration(&self, goal: Goal) -> anyhow::Result<Db> {
        let loaded = self.loaded(None)?;
        let is_named = loaded.is_set("database.url");
        let mut config = loaded.config.database;
        config.statement_timeout = Duration::ZERO;
        let patience = match goal {
            Goal::Bring { patience } if is_named => patience,
            Goal::Bring { patience } => ensure_is_there(&config.url).map(|()| patience)?,
            Goal::Look => ensure_is_there(&config.url).map(|()| Duration::ZERO)?,
        };
        let given_up = Instant::now() + patience;
        loop {
            match connect(&config).await {
                Err(error) if Instant::now() < given_up => {
                    tracing::warn!(error = format!("{error:#}"), "waiting for the database");
                    tokio::time::sleep(BETWEEN_ATTEMPTS).await;
                }
                outcome => return outcome,
            }
        }
    }
}

/// What a database is opened for by those who look after its schema.
#[derive(Clone, Copy, Debug)]
enum Goal {
    /// To bring it up to date. A database that does not answer is asked again until it was waited for so long.
    Bring { patience: Duration },
    /// To work on what is there.
    Look,
}

/// Fails where a SQLite file is not there: whoever looks after a ledger would else begin a second one elsewhere.
fn ensure_is_there(url: &DatabaseUrl) -> anyhow::Result<()> {
    if url.sqlite_path().is_none_or(Path::exists) {
        return Ok(());
    }
    let servers = local::path().and_then(|path| LocalFile::read(&path).ok()).unwrap_or_default().servers;
    let known: Vec<_> =
        servers.iter().filter(|server| server.lives()).map(|server| &*server.database).collect();
    let known = if known.is_empty() { "sqlite://FILE".to_owned() } else { known.join(" or --database-url ") };
    anyhow::bail!("there is no database at {url}; name the server's own: --database-url {known}")
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The address to listen on; the same as `WAYBILL__SERVER__LISTEN`.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Run the server.
    Serve(ServeArgs),
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

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the effective values with their origin, secrets masked; report every fault.
    Check(ConfigArgs),
}

pub async fn run(command: ServerCommand, connection: &ConnectionArgs) -> anyhow::Result<ExitCode> {
    match command {
        ServerCommand::Serve(ServeArgs { listen, config }) => {
            let listen = listen.map(|value| Flag { name: "--listen", key: "server.listen", value });
            serve::run(config.load(listen)?).await?;
            Ok(ExitCode::SUCCESS)
        }
        ServerCommand::Migrate(command) => migrate::run(&command).await,
        ServerCommand::Token(command) => token::run(command).await,
        ServerCommand::Config(ConfigCommand::Check(args)) => config::check(&args.sources(None)),
        ServerCommand::Openapi => say(&crate::api::document()),
        ServerCommand::Healthcheck(args) => health::run(&args).await,
        ServerCommand::Audit(command) => audit::run(&command, connection).await,
        ServerCommand::Copy(args) => copy::run(args).await,
    }
}

fn say(text: &str) -> anyhow::Result<ExitCode> {
    match crate::cli::output::print(text) {
        // Whoever closed the pipe has read all they wanted.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(ExitCode::SUCCESS),
    }
}
