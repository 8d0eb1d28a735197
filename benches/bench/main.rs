//! Drives the release build on SQLite and on PostgreSQL, and prints what it does per second beside what the machine could
//! do at best, measured in the same run: for reads a bare server that returns the same bytes, for writes the same
//! statements on a bare connection, for the gate `GET /deployments/{id}`. Beside that it prints what the server used.

mod floor;
mod gate;
mod load;
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

use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use migration::Migrator;
use poem::{
    Response, Server,
    endpoint::make_sync,
    listener::{Acceptor as _, Listener as _, TcpListener},
};
use reqwest::Method;
use sea_orm_migration::MigratorTrait as _;
use tokio::{runtime::Runtime, task::spawn_blocking};

use crate::{
    load::{Client, Figures},
    support::{db::TestDb, postgres::Server as PostgresServer, process::ServerProcess},
    used::Used,
};

const MATRIX: &str = "/api/v1/matrix";

#[derive(Parser)]
struct Cli {
    /// How long each figure is measured.
    #[arg(default_value_t = 5)]
    seconds: u64,
    /// `cargo bench` says so.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What the server did, and what it used for that.
type Measured = (Figures, Used);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let time = Duration::from_secs(Cli::parse().seconds);
    load::say(format_args!(
        "{:<28} {:>9} {:>7} {:>7} {:>7} {:>6}   {:>9} {:>7} {:>7}  {:>5}",
        "", "waybill", "p50 ms", "p99 ms", "CPU ms", "MiB", "limit", "p50 ms", "p99 ms", "ratio"
    ))?;
    verify::drive(time).await?;
    let db = TestDb::sqlite().await;
    let written = drive("SQLite", &db, &[], time).await?;
    row("SQLite: start + finish", &written, &floor::sqlite(&db.url, time).await?)?;

    // A server of its own that forgets no more than an installation's; the file goes unused.
    let postgres = spawn_blocking(|| PostgresServer::start_with(&[])).await??;
    let url = postgres.url.as_str();
    let connection = sea_orm::Database::connect(url).await?;
    Migrator::up(&connection, None).await?;
    connection.close().await?;
    let more = [("WAYBILL__DATABASE__URL", url), ("WAYBILL__DATABASE__MAX_CONNECTIONS", "16")];
    let written = drive("PostgreSQL", &db, &more, time).await?;
    row("PostgreSQL: start + finish", &written, &floor::postgres(url, time)?)
}

/// Prints the figures of reads and of the gate, and returns those of writes, whose limit is measured once the server has
/// stopped.
async fn drive(name: &str, db: &TestDb, more: &[(&str, &str)], time: Duration) -> anyhow::Result<Measured> {
    let mut env =
        vec![("WAYBILL__LIMITS__REQUESTS_PER_SECOND", "1000000"), ("WAYBILL__LIMITS__BURST", "1000000")];
    env.extend(more);
    let mut server = ServerProcess::start_with(db, &env).await;
    let client = Client::of(&server);
    load::seed(&client).await?;

    let read = Used::by(server.pid(), load::read(&client, MATRIX, time)).await?;
    row(&format!("{name}: GET /matrix"), &read, &bare(&client, time).await?)?;

    gate::seed(&client).await?;
    let limit = gate::deployment(&client, time).await?;
    let checked = Used::by(server.pid(), gate::check(&client, time)).await?;
    row(&format!("{name}: POST /gate/check"), &checked, &limit)?;

    let written = Used::by(server.pid(), load::write(&client, time)).await?;
    server.terminate().await;
    Ok(written)
}

/// How often the bytes of the matrix are read from a server that does nothing else than return them. It has threads of
/// its own, as Waybill has.
async fn bare(client: &Client, time: Duration) -> anyhow::Result<Figures> {
    let body = client.read(Method::GET, MATRIX, None).await?;
    let endpoint = make_sync(move |_| {
        Response::builder().content_type("application/json; charset=utf-8").body(body.clone())
    });
    let runtime = Runtime::new()?;
    let acceptor = runtime.spawn(TcpListener::bind("127.0.0.1:0").into_acceptor()).await??;
    let address = acceptor.local_addr().first().and_then(|local| local.as_socket_addr().copied());
    let url = format!("http://{}", address.context("no address")?);
    drop(runtime.spawn(Server::new_with_acceptor(acceptor).run(endpoint)));
    let figures = load::read(&client.at(&url), MATRIX, time).await;
    // A runtime cannot be waited for within another.
    runtime.shutdown_background();
    figures
}

fn row(name: &str, (ours, used): &Measured, limit: &Figures) -> anyhow::Result<()> {
    load::say(format_args!(
        "{name:<28} {:>7.0}/s {:>7.2} {:>7.2} {:>7.2} {:>6.1}   {:>7.0}/s {:>7.2} {:>7.2}  {:>5.2}",
        ours.per_second,
        ours.p50_ms,
        ours.p99_ms,
        used.cpu_ms,
        used.peak_mib,
        limit.per_second,
        limit.p50_ms,
        limit.p99_ms,
        ours.per_second / limit.per_second,
    ))
}
