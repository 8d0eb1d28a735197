//! What a matrix of 20,000 targets costs: the processor time of one answer right after a change, and the memory that a server
//! takes for clients that read all the time, and gives back.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    ledger::{Ledger, Server},
    load::{self, CLIENTS, Client},
    measure::{self, Figures, SETTLED, ms, say},
    used::{forget_peak, memory},
};

const SERVICES: usize = 2_000;
const ENVIRONMENTS: usize = 10;
const MATRIX: &str = "/matrix";
const PAGE: &str = "/matrix?limit=100";
/// How many changes are made, each before an answer.
const CHANGES: usize = 40;
/// When a server stands by, or has given back what nobody asks for any more.
const IDLE: Duration = Duration::from_mins(1);

pub async fn measure(ledger: &Ledger, time: Duration) -> anyhow::Result<()> {
    let server = ledger.serve().await;
    sleep(IDLE).await;
    report(ledger, "idle and empty: MiB", memory(server.processes.server, "VmRSS")?)?;

    load::seed(&server.client, SERVICES, ENVIRONMENTS, 1).await?;
    server.stop().await;

    let server = ledger.serve().await;
    let client = &server.client;
    report(ledger, "the whole: MB", bytes(client).await?)?;
    for (path, name) in [(PAGE, "page of 100 services"), (MATRIX, "the whole")] {
        let cost = after_changes(&server, path).await?;
        report(ledger, &format!("{name} after a change: CPU ms"), cost.server)?;
        report(ledger, &format!("{name} after a change: CPU ms of the database"), cost.database)?;
        report(ledger, &format!("{name} after a change: ms"), cost.took)?;
    }
    server.stop().await;

    let server = ledger.serve().await;
    let client = &server.client;
    let read = measure::run(CLIENTS, time, async |_| pages(client).await);
    memory_of(ledger, &server, "16 clients read pages", read).await?;
    let read = measure::run(1, time, async |_| client.read(Method::GET, MATRIX, None).await.map(drop));
    memory_of(ledger, &server, "one reads the whole", read).await?;
    server.stop().await;
    Ok(())
}

fn report(ledger: &Ledger, what: &str, value: f64) -> anyhow::Result<()> {
    say(format_args!("{:<12} {what:<60} {value:>7.1}", ledger.name))
}

async fn bytes(client: &Client) -> anyhow::Result<f64> {
    let length = client.read(Method::GET, MATRIX, None).await?.len();
    Ok(f64::from(u32::try_from(length)?) / 1e6)
}

/// What an answer cost, in milliseconds: the middle of many.
struct Cost {
    server: f64,
    database: f64,
    took: f64,
}

/// Reads right after a deployment has started or ended, each time; of pages the next one.
async fn after_changes(server: &Server, path: &str) -> anyhow::Result<Cost> {
    let client = &server.client;
    let (mut ours, mut database, mut took) = (Vec::new(), Vec::new(), Vec::new());
    let (mut running, mut next) = (None::<String>, path.to_owned());
    for change in 1..=CHANGES {
        running = match running.take() {
            Some(id) => client.finish(&id).await.map(|()| None)?,
            None => Some(begin(client, change).await?),
        };
        let (before, start) = (server.processes.cpu()?, Instant::now());
        let body = client.read(Method::GET, &next, None).await?;
        took.push(start.elapsed());
        let cpu = server.processes.cpu()?.since(before);
        ours.push(cpu.server);
        database.push(cpu.database);
        next = following(path, &body)?.unwrap_or_else(|| path.to_owned());
        sleep(SETTLED).await;
    }
    Ok(Cost { server: middle(ours), database: middle(database), took: middle(took) })
}

async fn begin(client: &Client, change: usize) -> anyhow::Result<String> {
    let service = load::service_name(change * SERVICES / CHANGES);
    client.start(&service, &load::environment_name(1), load::next_version()).await
}

fn middle(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).copied().map_or(f64::NAN, ms)
}

/// The path of the page after one with this body.
fn following(path: &str, body: &[u8]) -> anyhow::Result<Option<String>> {
    let page: Value = serde_json::from_slice(body)?;
    let cursor = page.get("next_cursor").and_then(Value::as_str);
    Ok(cursor.map(|cursor| format!("{path}&cursor={cursor}")))
}

/// Reads all pages.
async fn pages(client: &Client) -> anyhow::Result<()> {
    let mut next = Some(PAGE.to_owned());
    while let Some(path) = next {
        next = following(PAGE, &client.read(Method::GET, &path, None).await?)?;
    }
    Ok(())
}

/// The most memory that the server takes while work is done and deployments are started and finished beside it, and what it
/// takes a minute later.
async fn memory_of(
    ledger: &Ledger,
    server: &Server,
    name: &str,
    work: impl Future<Output = anyhow::Result<Figures>>,
) -> anyhow::Result<()> {
    let pid = server.processes.server;
    forget_peak(pid)?;
    let (_, writes) = load::beside_writes(&server.client, work).await?;
    let name = format!("{name}, {writes:.0} deployments/s beside");
    report(ledger, &format!("{name}: MiB at most"), memory(pid, "VmHWM")?)?;
    sleep(IDLE).await;
    report(ledger, &format!("{name}: MiB a minute later"), memory(pid, "VmRSS")?)
}
