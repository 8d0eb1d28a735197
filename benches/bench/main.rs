//! Measures the release build on SQLite and on PostgreSQL: what it does per second beside what the machine could do at
//! best, what a great matrix costs, and whether a long history makes anything slower. `docs/performance.md` says what is
//! measured and how.

mod fill;
mod floor;
mod gate;
mod history;
mod ledger;
mod load;
mod measure;
mod rates;
#[path = "../../tests/it/support/mod.rs"]
#[expect(
    dead_code,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "it is made for tests, which use all of it and may panic"
)]
mod support;
mod used;
mod verify;
mod wide;

use std::time::Duration;

use clap::Parser;

use crate::ledger::Ledger;

/// Measures Waybill beside what the machine could do at best: 1,000 targets, unless an option says otherwise.
#[derive(Parser)]
struct Cli {
    /// How many seconds each figure is measured.
    #[arg(default_value_t = 5)]
    seconds: u64,
    /// Measures a matrix of 20,000 targets instead: processor time and memory.
    #[arg(long, conflicts_with = "history")]
    wide: bool,
    /// Compares a ledger of this many deployments with one of 10,000 instead.
    #[arg(long, value_name = "DEPLOYMENTS", num_args = 0..=1, default_missing_value = "1000000")]
    history: Option<usize>,
    /// Fills the empty ledger at this URL with deployments, as many as `--history` says, and measures nothing.
    #[arg(long, value_name = "URL", requires = "history")]
    fill: Option<String>,
    /// On this database alone.
    #[arg(long, value_name = "DATABASE", value_parser = ["sqlite", "postgresql"])]
    only: Option<String>,
    /// `cargo bench` says so.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Cli {
    fn is_on(&self, database: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == database)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let time = Duration::from_secs(cli.seconds);
    if let Some(url) = cli.fill {
        return fill::fill(&Ledger::at(url).await?, cli.history.unwrap_or_default()).await;
    }
    if cli.is_on("sqlite") {
        measure(&cli, time, async |_| Ok(Ledger::sqlite().await)).await?;
    }
    if cli.is_on("postgresql") {
        let server = ledger::Postgres::start().await?;
        measure(&cli, time, async |name| Ledger::postgres(&server, name).await).await?;
    }
    if cli.wide || cli.history.is_some() { Ok(()) } else { verify::measure(time).await }
}

/// Measures what was asked for on one kind of database, on which `make` makes ledgers.
async fn measure(
    cli: &Cli,
    time: Duration,
    make: impl AsyncFn(&str) -> anyhow::Result<Ledger>,
) -> anyhow::Result<()> {
    if let Some(deployments) = cli.history {
        history::measure(&make("short").await?, &make("long").await?, deployments, time).await
    } else if cli.wide {
        wide::measure(&make("wide").await?, time).await
    } else {
        rates::measure(&make("rates").await?, &make("bare").await?, time).await
    }
}
