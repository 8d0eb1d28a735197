//! `waybill copy`: a ledger that began on SQLite moves to PostgreSQL.

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;

use super::{ConfigArgs, say};
use crate::{
    config::database_url::{Backend, DatabaseUrl},
    serve::connect,
    store::{copy::Batch, db::Db, error::StoreError},
    usecase::copy::{Copied, CopyError, Order, Step, copy},
};

/// One for the claim, one for the lock of the migrations, two to work on.
const CONNECTIONS: u32 = 4;

/// How long nothing is said where nobody watches.
const SILENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
#[command(after_help = "\
Stop the server first, and make an empty database. The source is read and never changed. The \
target's schema is brought up to date, so its user must own the database, as for `waybill migrate up`. \
A copy that was interrupted goes on when the same command is run again; until it is finished, no server \
starts on the target. At the end every row is compared and the audit chain checked.\n\n\
Example:\n  waybill copy --from sqlite://waybill.db --to postgres://waybill@db.example.com/waybill\n\n\
The password need not be in the URL: WAYBILL__DATABASE__PASSWORD or WAYBILL__DATABASE__PASSWORD_FILE has it.")]
pub struct CopyArgs {
    /// The ledger: `sqlite://FILE` (writable, on a local disk).
    #[arg(long, value_name = "URL")]
    from: DatabaseUrl,
    /// An empty database: `postgres://…`.
    #[arg(long, value_name = "URL")]
    to: DatabaseUrl,
    /// Delete what an interrupted copy has left in the target, and begin again.
    #[arg(long)]
    start_over: bool,
    /// The configuration file; `waybill.toml` where it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub async fn run(args: CopyArgs) -> anyhow::Result<ExitCode> {
    check_direction(&args)?;
    let to = args.to.to_string();
    let config = ConfigArgs { config: args.config, database_url: Some(args.to.expose().to_owned()) };
    let mut database = config.load(None)?.database;
    database.max_connections = database.max_connections.max(CONNECTIONS);
    database.statement_timeout = Duration::ZERO;
    let mut source = database.clone();
    (source.url, source.password) = (args.from, None);
    let source_name = source.url.to_string();
    let source = Db::connect_alone(&source).await.map_err(CopyError::opening)?;
    let target = connect(&database).await?;
    let order = Order { source, source_name, target, start_over: args.start_over, batch: Batch::default() };
    let progress = Progress::new();
    let outcome = copy(&order, &|step| progress.tell(step)).await;
    progress.end();
    let copied = outcome.map_err(with_remedy)?;
    order.target.close().await;
    order.source.close().await;
    say(&summary(&copied, &to))
}

fn check_direction(args: &CopyArgs) -> anyhow::Result<()> {
    match (args.from.backend(), args.to.backend()) {
        (Backend::Sqlite, Backend::Postgres) => {}
        (Backend::Sqlite, Backend::Sqlite) => anyhow::bail!(
            "--to must be a PostgreSQL URL; a SQLite ledger is copied to another file by \
             `sqlite3 FILE 'VACUUM INTO …'` or, with the server stopped, by `cp`"
        ),
        (Backend::Postgres, Backend::Postgres) => anyhow::bail!(
            "--from must be a SQLite URL; PostgreSQL databases are copied by `pg_dump` and `pg_restore`"
        ),
        (Backend::Postgres, Backend::Sqlite) => anyhow::bail!(
            "a ledger moves from SQLite to PostgreSQL only: --from sqlite://FILE --to postgres://…"
        ),
    }
    let file = args.from.sqlite_path().context("--from names no file")?;
    anyhow::ensure!(file.exists(), "there is no database at {}", args.from);
    Ok(())
}

fn with_remedy(error: CopyError) -> anyhow::Error {
    let target = if let CopyError::Target(error) = &error { Some(error) } else { None };
    let remedy = match target {
        Some(StoreError::Unavailable(_)) => {
            "the copy is not finished; the same command goes on where this one stopped"
        }
        Some(StoreError::Busy(_)) => {
            "somebody else uses the target's tables (a backup?), so the copy is not finished; when they are done, the same \
             command goes on where this one stopped"
        }
        Some(error) if error.is_forbidden() => {
            "the user of --to must own every table in the database too, as the one that `waybill migrate up` runs as does"
        }
        Some(_) | None => return error.into(),
    };
    anyhow::Error::new(error).context(remedy)
}

fn summary(copied: &Copied, to: &str) -> String {
    let rows: i64 = copied.rows.values().sum();
    let tables = copied.rows.len();
    let head = &copied.head;
    let waiting = match copied.unsealed {
        0 => String::new(),
        some => format!("; {some} more wait to be sealed by a running server"),
    };
    format!(
        "Copied {rows} rows in {tables} tables; every one was compared.\n\
         The chain is whole, as in the source: {} events, head {}:{}{waiting}\n\
         `waybill serve` may run on {to} now. The source is as it was; keep it as a backup, and start no server on it.",
        head.seq, head.seq, head.hash
    )
}

/// Tells people how far it is: on a terminal in lines that change, elsewhere with a line now and then.
struct Progress {
    terminal: bool,
    /// Whether the last line is one that the next replaces, and when it was written.
    last: Mutex<(bool, Instant)>,
}

impl Progress {
    fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), last: Mutex::new((false, Instant::now())) }
    }

    fn tell(&self, step: Step<'_>) {
        match step {
            Step::Following(whose) => self.passing(&format!("Following the audit chain of the {whose} …")),
            Step::Checked { rows, events } => {
                self.line(&format!("The source has {rows} rows; its chain of {events} events is whole."));
            }
            Step::Migrated(names) => self.line(&format!("Applied {} to the target.", names.join(", "))),
            Step::GoingOn(since) => {
                let since = since.format("%F %T UTC");
                self.line(&format!("Going on with the copy that was begun at {since}."));
            }
            Step::Copied { table, done, total } if done >= total => {
                self.line(&format!("Copied {table}: {done} rows"));
            }
            Step::Copied { table, done, total } => {
                self.passing(&format!("Copying {table}: {done} of {total} rows"));
            }
            Step::Compared { table, rows } => self.line(&format!("Compared {table}: {rows} rows")),
        }
    }

    /// A line that stays.
    fn line(&self, text: &str) {
        self.write(text, false);
    }

    /// A line that the next one replaces.
    fn passing(&self, text: &str) {
        let is_due = || self.last.lock().is_ok_and(|last| last.1.elapsed() > SILENCE);
        if self.terminal {
            self.write(text, true);
        } else if is_due() {
            self.line(text);
        }
    }

    fn end(&self) {
        if self.last.lock().is_ok_and(|last| last.0) {
            self.passing("");
        }
    }

    fn write(&self, text: &str, passing: bool) {
        let Ok(mut last) = self.last.lock() else { return };
        let begin = if last.0 { "\r\u{1b}[2K" } else { "" };
        let end = if passing { "" } else { "\n" };
        *last = (passing, Instant::now());
        let mut out = std::io::stderr().lock();
        // Nobody may be listening, and the copy is what matters.
        drop(write!(out, "{begin}{text}{end}"));
        drop(out.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_be_in_the_way_is_said_in_plain_words() {
        let busy = StoreError::busy("canceling statement due to lock timeout");
        assert!(
            with_remedy(CopyError::Target(busy))
                .to_string()
                .contains("somebody else uses the target's tables")
        );
        let lost = StoreError::unavailable("connection reset");
        assert!(with_remedy(CopyError::Target(lost)).to_string().starts_with("the copy is not finished"));
    }
}
