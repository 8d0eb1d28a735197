//! What the databases themselves can do: the statements of a start and a finish on bare connections, set up as the
//! server's are.

use std::{
    fs,
    process::Command,
    str::FromStr as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use sea_orm::sqlx::{
    self, ConnectOptions as _, Row as _, SqliteConnection,
    query::Query,
    sqlite::{Sqlite, SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    ledger::Ledger,
    load::{self, CLIENTS, ENVIRONMENTS, SERVICES},
    measure::Figures,
    support::{postgres, process::TOKEN},
};

const SQLITE: &str = include_str!("sqlite.sql");
const POSTGRES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/bench/postgres.sql");

/// The values that the statements name by number.
struct Values {
    service: String,
    environment: String,
    token_hash: Vec<u8>,
    service_id: Vec<u8>,
    environment_id: Vec<u8>,
    current_deployment_id: Vec<u8>,
    current_release_id: Vec<u8>,
    ids: [Uuid; 6],
    version: String,
    number: i64,
}

/// Runs the statements on the ledger of a server that has stopped.
pub async fn measure(ledger: &Ledger, time: Duration) -> anyhow::Result<Figures> {
    if ledger.is_postgres() { postgres(&ledger.url, time) } else { sqlite(&ledger.url, time).await }
}

async fn sqlite(url: &str, time: Duration) -> anyhow::Result<Figures> {
    let statements: Vec<&str> =
        SQLITE.lines().filter(|line| !line.is_empty() && !line.starts_with("--")).collect();
    let mut connection = SqliteConnectOptions::from_str(url)?
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .connect()
        .await?;
    let token_hash: Vec<u8> =
        sqlx::query("SELECT secret_hash FROM token").fetch_one(&mut connection).await?.get(0);
    let (begin, mut took) = (Instant::now(), Vec::new());
    while begin.elapsed() < time {
        let nth = took.len();
        let mut values = Values {
            service: load::service_name(nth % SERVICES + 1),
            environment: load::environment_name(nth / SERVICES % ENVIRONMENTS + 1),
            token_hash: token_hash.clone(),
            service_id: Vec::new(),
            environment_id: Vec::new(),
            current_deployment_id: Vec::new(),
            current_release_id: Vec::new(),
            ids: [(); 6].map(|()| waybill::clock::new_id()),
            version: format!("2.0.{}", load::next_version()),
            number: 0,
        };
        let start = Instant::now();
        for statement in &statements {
            run(&mut connection, statement, &mut values).await.with_context(|| (*statement).to_owned())?;
        }
        took.push(start.elapsed());
    }
    Ok(Figures::of(took, begin.elapsed()))
}

/// Lets pgbench run the statements.
fn postgres(url: &str, time: Duration) -> anyhow::Result<Figures> {
    let logs = tempfile::tempdir()?;
    // Some distributions have it with the clients and not with the server.
    let beside = postgres::programs().context("PostgreSQL is gone")?.join("pgbench");
    let program = if beside.is_file() { beside } else { "pgbench".into() };
    let output = Command::new(program)
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=2", "--log", "--file", POSTGRES])
        .arg(format!("--client={CLIENTS}"))
        .arg(format!("--time={}", time.as_secs()))
        .arg(format!("--define=hash={}", hex::encode(Sha256::digest(TOKEN))))
        .arg(format!("--log-prefix={}/log", logs.path().display()))
        .arg(url)
        .output()
        .context("pgbench cannot be run")?;
    ensure!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr));
    let mut took = Vec::new();
    for log in fs::read_dir(logs.path())? {
        for line in fs::read_to_string(log?.path())?.lines() {
            let micros = line.split(' ').nth(2).context("a line of pgbench's log without a time")?;
            took.push(Duration::from_micros(micros.parse()?));
        }
    }
    Ok(Figures::of(took, time))
}

/// Runs one statement. What it returns under the name of a value is that value from then on.
async fn run(connection: &mut SqliteConnection, statement: &str, values: &mut Values) -> anyhow::Result<()> {
    let rows =
        bind(sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())), values).fetch_all(connection).await?;
    let Some(row) = rows.first() else { return Ok(()) };
    for (name, value) in [
        ("service_id", &mut values.service_id),
        ("environment_id", &mut values.environment_id),
        ("current_deployment_id", &mut values.current_deployment_id),
        ("current_release_id", &mut values.current_release_id),
    ] {
        if let Ok(Some(found)) = row.try_get(name) {
            *value = found;
        }
    }
    if let Ok(last) = row.try_get::<i64, _>("last_number") {
        values.number = last + 1;
    }
    Ok(())
}

fn bind<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    values: &Values,
) -> Query<'q, Sqlite, SqliteArguments> {
    let query = query
        .bind(values.service.clone())
        .bind(values.environment.clone())
        .bind(values.token_hash.clone())
        .bind(values.service_id.clone())
        .bind(values.environment_id.clone())
        .bind(values.current_deployment_id.clone())
        .bind(values.current_release_id.clone())
        .bind(values.version.clone())
        .bind(values.number)
        .bind(waybill::clock::now());
    values.ids.iter().fold(query, |query, id| query.bind(*id))
}
