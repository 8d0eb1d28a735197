//! `waybill migrate`: the database's schema.

use std::{process::ExitCode, time::Duration};

use clap::Subcommand;

use super::{ConfigArgs, Goal, say};
use crate::store::{error, schema};

#[derive(Debug, Subcommand)]
pub enum MigrateCommand {
    /// Apply every pending migration. Safe when several run at once, and content when the database is ahead.
    Up {
        /// How long to wait for a database that does not answer yet, such as `2m`.
        #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
        wait: Duration,
        /// Where the database is.
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Take back the last migrations, and what they hold.
    Down {
        /// How many.
        #[arg(long, default_value_t = 1)]
        steps: u32,
        /// Do it although data is lost.
        #[arg(long)]
        yes: bool,
        /// Where the database is.
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Tell which migrations are applied and which are pending; exits 1 when some are.
    Status(ConfigArgs),
}

pub async fn run(command: &MigrateCommand) -> anyhow::Result<ExitCode> {
    match command {
        MigrateCommand::Up { wait, config } => {
            let done = schema::up(&config.open_for_migration(Goal::Bring { patience: *wait }).await?).await?;
            if done.is_empty() {
                return say("The schema is up to date.");
            }
            say(&format!("Applied {}.", done.join(", ")))
        }
        MigrateCommand::Down { steps, yes, config } => {
            anyhow::ensure!(yes, "this drops tables with all they hold; back up first, then say --yes");
            let left = schema::down(&config.open_for_migration(Goal::Look).await?, *steps).await?;
            say(&format!("{left} migrations are left."))
        }
        MigrateCommand::Status(config) => {
            let status = schema::status(&config.open_for_migration(Goal::Look).await?).await?;
            let lines = |mark: &str, names: &[String]| {
                names.iter().map(|name| format!("{mark} {name}")).collect::<Vec<_>>()
            };
            let known = status
                .applied
                .iter()
                .filter(|name| !status.ahead.contains(name))
                .cloned()
                .collect::<Vec<_>>();
            let ahead = lines("applied by a newer version", &status.ahead);
            let text = [lines("applied", &known), ahead, lines("pending", &status.pending)].concat();
            say(&text.join("\n"))?;
            anyhow::ensure!(!status.half_copied, error::HALF_COPIED);
            Ok(if status.pending.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}
