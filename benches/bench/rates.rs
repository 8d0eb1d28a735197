//! What a server of 1,000 targets does per second, beside what the machine could do at best in the same seconds: for reads a
//! bare server that returns the same bytes, for writes the same statements on a bare connection, for the gate and for what
//! has not changed `GET /deployments/{id}`.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use poem::{
    Response, Server as BareServer,
    endpoint::make_sync,
    listener::{Acceptor as _, Listener as _, TcpListener},
};
use reqwest::Method;
use tokio::runtime::Runtime;

use crate::{
    floor, gate,
    ledger::{Ledger, Server},
    load::{self, CLIENTS, ENVIRONMENTS, SERVICES},
    measure::{self, Figures, say, used, versus},
    used::{forget_peak, memory},
};

const MATRIX: &str = "/matrix";
/// How often server and bare statements are measured in turn.
const TURNS: u64 = 3;

/// Measures a server on one ledger, and bare statements on another.
pub async fn measure(ledger: &Ledger, bare: &Ledger, time: Duration) -> anyhow::Result<()> {
    say(format_args!(
        "{:<44} {:>5}   {:>9} {:>7} {:>7} {:>7} {:>7} {:>6}   {:>9} {:>7} {:>7}",
        ledger.name,
        "ratio",
        "waybill",
        "p50 ms",
        "p99 ms",
        "CPU ms",
        "DB ms",
        "MiB",
        "limit",
        "p50 ms",
        "p99 ms"
    ))?;
    let server = bare.serve().await;
    load::seed(&server.client, SERVICES, ENVIRONMENTS, 1).await?;
    server.stop().await;
    let server = ledger.serve().await;
    load::seed(&server.client, SERVICES, ENVIRONMENTS, 1).await?;
    matrix(&server, time).await?;
    gate(&server, time).await?;
    writes(&server, bare, time).await?;
    server.stop().await;
    Ok(())
}

async fn matrix(server: &Server, time: Duration) -> anyhow::Result<()> {
    let client = &server.client;
    let bare = Bare::start(client.read(Method::GET, MATRIX, None).await?).await?;
    let other = client.at(&bare.url);
    let limit = async |slice| load::read(&other, MATRIX, slice).await;
    let ours = async |slice| used(server, load::read(client, MATRIX, slice)).await;
    forget_peak(server.processes.server)?;
    let both = versus(time, ours, limit).await?;
    row("GET /matrix", peak(server)?, &both)?;
    let (both, writes) = load::beside_writes(client, versus(time, ours, limit)).await?;
    row(&format!("GET /matrix, {writes:.0} deployments/s beside"), peak(server)?, &both)?;

    let tag = client.tag(MATRIX).await?;
    let known = async |slice| {
        used(server, measure::run(CLIENTS, slice, async |_| client.read_known(MATRIX, &tag).await)).await
    };
    let deployment = gate::deployment(client, &load::service_name(1), &load::environment_name(1)).await?;
    let limit = async |slice| load::read(client, &deployment, slice).await;
    let both = versus(time, known, limit).await?;
    row("GET /matrix: 304", peak(server)?, &both)
}

async fn gate(server: &Server, time: Duration) -> anyhow::Result<()> {
    gate::seed(&server.client).await?;
    let deployment = gate::deployment(&server.client, gate::SERVICE, gate::ENVIRONMENT).await?;
    let ours = async |slice| used(server, gate::check(&server.client, slice)).await;
    let limit = async |slice| load::read(&server.client, &deployment, slice).await;
    forget_peak(server.processes.server)?;
    let both = versus(time, ours, limit).await?;
    row("POST /gate/check", peak(server)?, &both)
}

/// Starts and finishes deployments on the server, and runs the same statements on the ledger that has none.
async fn writes(server: &Server, bare: &Ledger, time: Duration) -> anyhow::Result<()> {
    let (mut ours, mut limit) = (Figures::default(), Figures::default());
    // pgbench counts in seconds.
    let turn = Duration::from_secs(time.as_secs().div_ceil(TURNS));
    forget_peak(server.processes.server)?;
    for _ in 0..TURNS {
        let work = measure::run(CLIENTS, turn, async |own| server.client.deploy_next(own).await);
        ours.add(used(server, work).await?);
        limit.add(floor::measure(bare, turn).await?);
    }
    row("start + finish", peak(server)?, &(ours, limit))
}

/// The server's memory at most, in MiB.
fn peak(server: &Server) -> anyhow::Result<f64> {
    memory(server.processes.server, "VmHWM")
}

/// A server that does nothing else than return some bytes. It has threads of its own, as Waybill has.
struct Bare {
    url: String,
    runtime: Option<Runtime>,
}

impl Bare {
    async fn start(body: Bytes) -> anyhow::Result<Self> {
        let endpoint = make_sync(move |_| {
            Response::builder().content_type("application/json; charset=utf-8").body(body.clone())
        });
        let runtime = Runtime::new()?;
        let acceptor = runtime.spawn(TcpListener::bind("127.0.0.1:0").into_acceptor()).await??;
        let address = acceptor.local_addr().first().and_then(|local| local.as_socket_addr().copied());
        let url = format!("http://{}", address.context("no address")?);
        drop(runtime.spawn(BareServer::new_with_acceptor(acceptor).run(endpoint)));
        Ok(Self { url, runtime: Some(runtime) })
    }
}

impl Drop for Bare {
    /// A runtime cannot be waited for within another.
    fn drop(&mut self) {
        self.runtime.take().map(Runtime::shutdown_background).unwrap_or_default();
    }
}

fn row(name: &str, peak_mib: f64, (ours, limit): &(Figures, Figures)) -> anyhow::Result<()> {
    let (cpu, database) = ours.cpu_ms();
    say(format_args!(
        "{name:<44} {:>5.2}   {:>7.0}/s {:>7.2} {:>7.2} {cpu:>7.3} {database:>7.3} {peak_mib:>6.1}   {:>7.0}/s {:>7.2} {:>7.2}",
        ours.per_second() / limit.per_second(),
        ours.per_second(),
        ours.ms(500)?,
        ours.ms(990)?,
        limit.per_second(),
        limit.ms(500)?,
        limit.ms(990)?,
    ))
}
