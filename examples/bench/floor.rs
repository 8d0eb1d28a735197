//! What SQLite itself can do: the statements of a start and a finish on a bare connection, set up as the server's is.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use sea_orm::sqlx::{
    self, ConnectOptions as _, Row as _, SqliteConnection,
    query::Query,
    sqlite::{Sqlite, SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use uuid::Uuid;

/// How many targets the seed has made.
const SERVICES: usize = 200;
const ENVIRONMENTS: usize = 5;

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

/// Runs the statements until the time is over, and prints what came of it.
pub async fn sqlite(database: &Path, statements: &Path, time: Duration) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(statements)?;
    let statements: Vec<&str> =
        text.lines().filter(|line| !line.is_empty() && !line.starts_with("--")).collect();
    let mut connection = SqliteConnectOptions::new()
        .filename(database)
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
            service: format!("service-{}", nth % SERVICES + 1),
            environment: format!("environment-{}", nth / SERVICES % ENVIRONMENTS + 1),
            token_hash: token_hash.clone(),
            service_id: Vec::new(),
            environment_id: Vec::new(),
            current_deployment_id: Vec::new(),
            current_release_id: Vec::new(),
            ids: [(); 6].map(|()| waybill::clock::new_id()),
            version: format!("2.0.{nth}"),
            number: 0,
        };
        let start = Instant::now();
        for statement in &statements {
            run(&mut connection, statement, &mut values).await.with_context(|| (*statement).to_owned())?;
        }
        took.push(start.elapsed());
    }
    crate::load::print(took, begin.elapsed())
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
