//! `waybill serve`: puts the parts together, runs them, and takes them apart in order.

use std::{num::NonZeroU32, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use clap::Args;
use futures_util::{FutureExt as _, future::BoxFuture};
use poem::{Endpoint, EndpointExt as _, endpoint::BoxEndpoint};
use tokio::net::TcpListener;

use super::{ConfigArgs, admin, connect};
use crate::{
    api,
    config::{Config, commit::commit, load::Flag},
    http::{
        middleware::{body_limit::BodyLimits, rate_limit::RateLimiter},
        ops::{Check, Checks, Readiness, VERSION},
        routes::{Shell, metrics_routes, routes},
        server::{self, Limits},
    },
    metrics::Metrics,
    shutdown::Shutdown,
    store::{
        db::Db,
        error::{self, Unwritable},
        schema,
    },
    telemetry::chain,
    usecase::app::{App, Feed},
    worker,
};

/// How to run the server.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The address to listen on; the same as `WAYBILL__SERVER__LISTEN`.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the server until it is told to stop.
pub async fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let listen = args.listen.clone().map(|value| Flag {
        name: "--listen".to_owned(),
        key: "server.listen".to_owned(),
        value,
    });
    let loaded = args.config.load(listen.into_iter().collect())?;
    let db = connect(&loaded).await?;
    prepare_schema(&db).await?;
    tell_what_is_forgotten(&db);
    admin::ensure(&db, &loaded.config).await?;

    let listener = bind(loaded.config.server.listen).await?;
    let address = listener.local_addr()?;
    let mut config = loaded.config;
    config.server.listen = address;
    let metrics = Arc::new(Metrics::new(VERSION, commit())?);
    let feed = Feed::new(config.limits.waits);
    let app =
        App { config: Arc::new(config), db, metrics, feed, freezes: Arc::default(), chain: Arc::default() };
    let shutdown = Shutdown::new();
    let shell = shell(&app, &shutdown);
    let metrics_listener = match app.config.metrics.listen {
        Some(listen) => Some(bind(listen).await?),
        None => None,
    };
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
    Ok(ExitCode::SUCCESS)
}

async fn bind(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
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

/// Ready when the database answers, takes writes, holds a whole ledger, the one it held before, and its schema is not
/// behind.
struct Ready(App);

impl Readiness for Ready {
    fn checks(&self) -> BoxFuture<'_, Checks> {
        async {
            let db = &self.0.db;
            if let Some(fault) = db.unwritable() {
                return Checks::from([("database", takes_no_writes(fault))]);
            }
            let database = match schema::status(db).await {
                Err(error) => {
                    tracing::warn!(error = chain(&error), "the database is not ready");
                    match error.unwritable() {
                        Some(fault) => takes_no_writes(fault),
                        None => Check::unavailable("It does not answer."),
                    }
                }
                // A PostgreSQL that has failed over to a standby may have lost its last moment, and serves on.
                Ok(_) if !db.is_postgres() && self.0.chain.went_back().is_some() => Check::unavailable(
                    "It is older than what was read from it before; restart the server to use it.",
                ),
                Ok(status) if status.half_copied => Check::unavailable("A copy into it is not finished."),
                Ok(status) if status.pending.is_empty() => Check::ok(),
                Ok(_) => Check::unavailable("Its schema is behind; run `waybill migrate up`."),
            };
            Checks::from([("database", database)])
        }
        .boxed()
    }
}

fn takes_no_writes(fault: Unwritable) -> Check {
    Check::unavailable(format!("It takes no writes: {fault}."))
}
