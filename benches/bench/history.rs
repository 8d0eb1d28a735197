//! Whether anything takes longer where a long history lies behind it: the same operations on a ledger of 10,000 deployments
//! and on one of a million, in turn.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    fill,
    ledger::{Ledger, Server},
    load::{self, Client},
    measure::{self, Figures, say, used, versus},
};

const SHORT: usize = 10_000;
/// Enough to keep it busy, and few enough that nobody waits in a line.
const CLIENTS: usize = 2;

/// Fills both ledgers and compares them.
pub async fn measure(
    short: &Ledger,
    long: &Ledger,
    deployments: usize,
    time: Duration,
) -> anyhow::Result<()> {
    fill::fill(short, SHORT).await?;
    fill::fill(long, deployments).await?;
    say(format_args!(
        "{:<52} {:>9} {:>9}   {:>8} {:>8} {:>8}   {:>8} {:>8} {:>8}",
        short.name, "ratio CPU", "ratio p50", "p50 ms", "CPU ms", "DB ms", "p50 ms", "CPU ms", "DB ms"
    ))?;
    let (short, long) = (short.serve().await, long.serve().await);
    for ((name, one), (_, other)) in reads(&short.client).await?.into_iter().zip(reads(&long.client).await?) {
        let read = async |server: &Server, path: &str, slice| {
            let read = async |_| server.client.read(Method::GET, path, None).await.map(drop);
            used(server, measure::run(CLIENTS, slice, read)).await
        };
        let one = async |slice| read(&short, &one, slice).await;
        let other = async |slice| read(&long, &other, slice).await;
        row(name, &versus(time, one, other).await?)?;
    }
    for (name, work) in WORK {
        let one = async |slice| used(&short, work.run(&short.client, slice)).await;
        let other = async |slice| used(&long, work.run(&long.client, slice)).await;
        row(name, &versus(time, one, other).await?)?;
    }
    short.stop().await;
    long.stop().await;
    Ok(())
}

/// What is not read alone.
#[derive(Clone, Copy)]
enum Work {
    Check,
    Deploy,
    DeployAndRead,
}

const WORK: [(&str, Work); 3] = [
    ("POST /gate/check", Work::Check),
    ("start + finish", Work::Deploy),
    ("start + finish, then GET /matrix", Work::DeployAndRead),
];

impl Work {
    async fn run(self, client: &Client, time: Duration) -> anyhow::Result<Figures> {
        let question = json!({
            "service": load::service_name(1),
            "environment": load::environment_name(1),
            "version": load::version_name(0),
        });
        let work = async |own| match self {
            Self::Check => client.read(Method::POST, "/gate/check", Some(&question)).await.map(drop),
            Self::Deploy => client.deploy_next(own).await,
            Self::DeployAndRead => {
                client.deploy_next(own).await?;
                client.read(Method::GET, "/matrix", None).await.map(drop)
            }
        };
        measure::run(CLIENTS, time, work).await
    }
}

/// What is read of a ledger, some of it in the middle of its history.
async fn reads(client: &Client) -> anyhow::Result<Vec<(&'static str, String)>> {
    let (service, environment) = (load::service_name(1), load::environment_name(1));
    let target = format!("/services/{service}/environments/{environment}");
    let newest = client.get("/deployments?limit=1").await?;
    let id = newest.pointer("/items/0/id").and_then(Value::as_str).context("an id")?;
    let events = client.get("/events?order=newest-first&limit=1").await?;
    let seq = events.pointer("/items/0/seq").and_then(Value::as_i64).context("an event")? / 2;
    // Half of the events lie before it, so that both ledgers have all targets then. Half of the time would not do: of the
    // short ledger's, most is what the server takes for the first two deployments of each target.
    let events = client.get(&format!("/events?after_seq={seq}&limit=1")).await?;
    let middle = events.pointer("/items/0/at").and_then(Value::as_str).context("a time")?;
    Ok(vec![
        ("GET /matrix", "/matrix".to_owned()),
        ("GET /matrix?as_of (the middle)", format!("/matrix?as_of={middle}")),
        ("GET /matrix?as_of, a page of 100", format!("/matrix?as_of={middle}&limit=100")),
        ("GET a target", target),
        ("GET /deployments/{id}", format!("/deployments/{id}")),
        ("GET /deployments", "/deployments".to_owned()),
        ("GET /deployments?until (the middle)", format!("/deployments?until={middle}")),
        ("GET /deployments of a service", format!("/deployments?service={service}")),
        (
            "GET /deployments of a target, 10",
            format!("/deployments?service={service}&environment={environment}&limit=10"),
        ),
        ("GET /events", "/events?order=newest-first".to_owned()),
        ("GET /events (the middle)", format!("/events?after_seq={seq}")),
        ("GET /events of a service", format!("/events?service={service}")),
        ("GET /decisions", "/decisions".to_owned()),
        ("GET the releases of a service, 10", format!("/services/{service}/releases?limit=10")),
    ])
}

fn row(name: &str, (short, long): &(Figures, Figures)) -> anyhow::Result<()> {
    let ((short_cpu, short_db), (long_cpu, long_db)) = (short.cpu_ms(), long.cpu_ms());
    say(format_args!(
        "{name:<52} {:>9.2} {:>9.2}   {:>8.2} {short_cpu:>8.3} {short_db:>8.3}   {:>8.2} {long_cpu:>8.3} {long_db:>8.3}",
        (long_cpu + long_db) / (short_cpu + short_db),
        long.ms(500)? / short.ms(500)?,
        short.ms(500)?,
        long.ms(500)?,
    ))
}
