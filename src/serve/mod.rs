//! The running server: puts the parts together, runs them, and takes them apart in order.

mod admin;
mod claim;
mod ready;

use std::{io, net::SocketAddr, num::NonZeroU32, sync::Arc};

use anyhow::Context as _;
use poem::{Endpoint, EndpointExt as _, endpoint::BoxEndpoint};
use tokio::net::{TcpListener, TcpSocket};

use self::ready::Ready;
use crate::{
    api,
    config::{Config, DatabaseConfig, commit::commit},
    http::{
        middleware::{body_limit::BodyLimits, rate_limit::RateLimiter},
        ops::VERSION,
        routes::{Shell, metrics_routes, routes},
        server::{self, Limits},
    },
    metrics::Metrics,
    shutdown::Shutdown,
    store::{db::Db, error, schema},
    usecase::app::App,
    worker,
};

/// How many connections the system keeps that were not accepted yet.
const BACKLOG: u32 = 1024;

/// Runs the server until it is told to stop.
pub async fn run(mut config: Config) -> anyhow::Result<()> {
    // What another server has already is found out before anything is made or changed.
    let socket = bind(config.server.listen)?;
    let metrics_socket = config.metrics.listen.map(bind).transpose()?;
    let _claim = claim::ledger(&config.database.url)?;
    let db = connect(&config.database).await?;
    prepare_schema(&db).await?;
    tell_what_is_forgotten(&db);
    admin::ensure(&db, &config).await?;

    let listener = listen(socket)?;
    let metrics_listener = metrics_socket.map(listen).transpose()?;
    let address = listener.local_addr()?;
    config.server.listen = address;
    let app = App::new(config, db, Metrics::new(VERSION, commit())?);
    let shutdown = Shutdown::new();
    let shell = shell(&app, &shutdown);
    worker::start(&app, &shutdown);
    admin::leave_for_client(&app.config);
    tracing::info!(%address, url = app.config.server.base_url(), version = VERSION, "listening");

    let signals = shutdown.on_signals(app.config.server.drain_delay)?;
    let served = tokio::select! {
        served = serve_all(&app, listener, metrics_listener, &shell, &shutdown) => served,
        () = signals => Err(anyhow::anyhow!("stopped by a second signal")),
    };
    if !shutdown.stop_workers(app.config.server.drain_timeout).await {
        tracing::warn!("a worker did not stop in time");
    }
    app.db.close().await;
    served?;
    tracing::info!("stopped");
    Ok(())
}

/// Opens the database.
pub async fn connect(config: &DatabaseConfig) -> anyhow::Result<Db> {
    Db::connect(config).await.with_context(|| format!("cannot open the database {}", config.url))
}

/// Takes an address, at which nobody is heard yet.
fn bind(address: SocketAddr) -> anyhow::Result<TcpSocket> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Connections of a server that has just ended do not stand in the way of the next one.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok::<_, io::Error>(socket)
    };
    bind().with_context(|| format!("cannot listen on {address}"))
}

fn listen(socket: TcpSocket) -> anyhow::Result<TcpListener> {
    let address = socket.local_addr()?;
    socket.listen(BACKLOG).with_context(|| format!("cannot listen on {address}"))
}

fn tell_what_is_forgotten(db: &Db) {
    let forgets = db.forgets();
    if forgets.commits {
        tracing::warn!("synchronous_commit is off in PostgreSQL; Waybill turns it on in its own sessions");
    }
    if forgets.writes {
        tracing::warn!("fsync is off in PostgreSQL: a crash of its machine loses what was acknowledged");
    }
}

/// SQLite brings its schema up to date by itself; a PostgreSQL database is shared, so that is a step of its own.
async fn prepare_schema(db: &Db) -> anyhow::Result<()> {
    if db.is_postgres() {
        let status = schema::status(db).await?;
        anyhow::ensure!(!status.half_copied, error::HALF_COPIED);
        anyhow::ensure!(
            status.pending.is_empty(),
            "the database's schema is behind this version: run `waybill migrate up` first (pending: {})",
            status.pending.join(", ")
        );
    } else {
        let applied = schema::up(db).await?;
        if !applied.is_empty() {
            tracing::info!(migrations = applied.join(", "), "brought the schema up to date");
        }
    }
    Ok(())
}

/// What surrounds the API, as the configuration has it.
pub fn shell(app: &App, shutdown: &Shutdown) -> Shell {
    let server = &app.config.server;
    Shell {
        public_url: server.base_url(),
        request_timeout: server.request_timeout,
        body_limits: BodyLimits {
            report: usize::try_from(app.config.limits.scan_bytes).unwrap_or(usize::MAX),
            other: usize::try_from(server.body_limit_bytes).unwrap_or(usize::MAX),
        },
        required: &api::deployments::body::REQUIRED,
        serve_metrics: app.config.metrics.listen.is_none(),
        metrics: Arc::clone(&app.metrics),
        readiness: Arc::new(Ready(app.clone())),
        shutdown: shutdown.clone(),
    }
}

/// Everything that the server serves, for whoever brings an [`App`].
pub fn endpoint(app: &App, shell: &Shell) -> anyhow::Result<BoxEndpoint<'static, poem::Response>> {
    let limits = &app.config.limits;
    let at_least_one = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    let limiter = RateLimiter::new(at_least_one(limits.requests_per_second), at_least_one(limits.burst));
    let routes = routes(api::service, shell)?.data(app.clone()).data(shell.shutdown.clone());
    Ok(routes.data(Arc::new(limiter)).map_to_response().boxed())
}

async fn serve_all(
    app: &App,
    listener: TcpListener,
    metrics_listener: Option<TcpListener>,
    shell: &Shell,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let limits = limits(&app.config);
    let api = serve_one(listener, endpoint(app, shell)?, limits, shutdown);
    let metrics = async {
        match metrics_listener {
            Some(listener) => serve_one(listener, metrics_routes(shell), limits, shutdown).await,
            None => Ok(()),
        }
    };
    tokio::try_join!(api, metrics)?;
    Ok(())
}

async fn serve_one<E: Endpoint + 'static>(
    listener: TcpListener,
    endpoint: E,
    limits: Limits,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    Ok(server::serve(listener, endpoint, limits, shutdown).await?)
}

fn limits(config: &Config) -> Limits {
    Limits {
        max_connections: usize::try_from(config.server.max_connections).unwrap_or(usize::MAX),
        header_timeout: config.server.header_timeout,
        write_timeout: config.server.write_timeout,
        drain_timeout: config.server.drain_timeout,
    }
}
