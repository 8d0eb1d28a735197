//! The running server: puts the parts together, runs them, and takes them apart in order.

mod admin;
mod claim;
mod door;
mod ready;

use std::{io, net::SocketAddr, num::NonZeroU32, pin::pin, sync::Arc, time::Duration};

use anyhow::Context as _;
use poem::{Endpoint, EndpointExt as _, endpoint::BoxEndpoint};
use tokio::net::{TcpListener, TcpSocket};

use self::{
    door::Door,
    ready::{Ready, Waiting},
};
use crate::{
    api,
    config::{Config, DatabaseConfig, commit::commit},
    domain::address::Pages,
    http::{
        middleware::{body_limit::BodyLimits, guard::TimeLimits, rate_limit::RateLimiter},
        ops::{Readiness, VERSION},
        routes::{Shell, metrics_routes, routes},
        server::{self, Limits},
    },
    metrics::Metrics,
    shutdown::Shutdown,
    store::{
        db::Db,
        error::{self, StoreError},
        schema,
    },
    usecase::{self, app::App, gate::wait::LONGEST},
    web, worker,
};

/// How many connections the system keeps that were not accepted yet.
const BACKLOG: u32 = 1024;

/// How long a database that did not answer is left alone.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(1);

/// Runs the server until it is told to stop.
pub async fn run(mut config: Config) -> anyhow::Result<()> {
    // What another server has already is found out before anything is made or changed.
    let socket = bind(config.server.listen)?;
    let metrics_socket = config.metrics.listen.map(bind).transpose()?;
    let _claim = claim::ledger(&config.database.url)?;
    let listener = listen(socket)?;
    let metrics_listener = metrics_socket.map(listen).transpose()?;
    let address = listener.local_addr()?;
    config.server.listen = address;

    let (config, metrics) = (Arc::new(config), Arc::new(Metrics::new(VERSION, commit())?));
    let (shutdown, waiting) = (Shutdown::new(), Arc::new(Waiting::default()));
    let shell_until_then = shell_of(&config, &metrics, Arc::<Waiting>::clone(&waiting), &shutdown);
    let door = Arc::new(Door::shut(&shell_until_then));
    let mut serving = pin!(serve_all(&shell_until_then, &config, listener, metrics_listener, &door));
    let mut signals = pin!(shutdown.on_signals(config.server.drain_delay)?);
    let second_signal = || anyhow::anyhow!("stopped by a second signal");
    let db = tokio::select! {
        db = open(&config, &waiting) => db?,
        served = &mut serving => return served,
        () = &mut signals => return Err(second_signal()),
    };

    let app = App::new(Arc::clone(&config), db, metrics);
    door.open(endpoint(&app, &shell(&app, &shutdown))?);
    worker::start(&app, &shutdown);
    admin::leave_for_client(&app.config);
    tracing::info!(%address, url = app.config.server.base_url(), version = VERSION, "listening");
    let served = tokio::select! {
        served = &mut serving => served,
        () = &mut signals => Err(second_signal()),
    };
    if !shutdown.stop_workers(app.config.server.drain_timeout).await {
        tracing::warn!("a worker did not stop in time");
    }
    app.db.close().await;
    served?;
    tracing::info!("stopped");
    Ok(())
}

/// Opens the database with all that must be in it. While PostgreSQL is away, it is waited for: that passes by itself, and a
/// server that ended would only be started again. What somebody has to mend is an error at once.
async fn open(config: &Config, waiting: &Waiting) -> anyhow::Result<Db> {
    loop {
        let error = match prepared(config).await {
            Ok(db) => return Ok(db),
            Err(error) => error,
        };
        let Some(why) = passing(&error).filter(|_| config.database.url.sqlite_path().is_none()) else {
            return Err(error);
        };
        if waiting.note(why) {
            tracing::warn!(error = format!("{error:#}"), "waiting for the database");
        }
        tokio::time::sleep(BETWEEN_ATTEMPTS).await;
    }
}

async fn prepared(config: &Config) -> anyhow::Result<Db> {
    let db = connect(&config.database).await?;
    prepare_schema(&db).await?;
    tell_what_is_forgotten(&db);
    admin::ensure(&db, config).await?;
    Ok(db)
}

/// Why the database cannot be used, where that passes.
fn passing(error: &anyhow::Error) -> Option<String> {
    let of_a_use_case = || match error.downcast_ref() {
        Some(usecase::error::Error::Unavailable(error)) => Some(error),
        _ => None,
    };
    error.downcast_ref::<StoreError>().or_else(of_a_use_case)?.passing()
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
    shell_of(&app.config, &app.metrics, Arc::new(Ready(app.clone())), shutdown)
}

fn shell_of(
    config: &Config,
    metrics: &Arc<Metrics>,
    readiness: Arc<dyn Readiness>,
    shutdown: &Shutdown,
) -> Shell {
    let server = &config.server;
    Shell {
        public_url: server.base_url(),
        pages: Pages::at(server.public_url.as_ref()),
        time_limits: TimeLimits { wait: LONGEST, other: server.request_timeout },
        body_limits: BodyLimits {
            report: usize::try_from(config.limits.scan_bytes).unwrap_or(usize::MAX),
            other: usize::try_from(server.body_limit_bytes).unwrap_or(usize::MAX),
        },
        required: &api::deployments::body::REQUIRED,
        serve_metrics: config.metrics.listen.is_none(),
        metrics: Arc::clone(metrics),
        readiness,
        shutdown: shutdown.clone(),
    }
}

/// Everything that the server serves, for whoever brings an [`App`].
pub fn endpoint(app: &App, shell: &Shell) -> anyhow::Result<BoxEndpoint<'static, poem::Response>> {
    let limits = &app.config.limits;
    let at_least_one = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    let limiter = RateLimiter::new(at_least_one(limits.requests_per_second), at_least_one(limits.burst));
    let routes = routes(api::service, web::add_to, shell)?.data(app.clone()).data(shell.shutdown.clone());
    Ok(routes.data(Arc::new(limiter)).map_to_response().boxed())
}

async fn serve_all(
    shell: &Shell,
    config: &Config,
    listener: TcpListener,
    metrics_listener: Option<TcpListener>,
    door: &Arc<Door>,
) -> anyhow::Result<()> {
    let limits = limits(config);
    let api = serve_one(listener, Arc::clone(door), limits, &shell.shutdown);
    let metrics = async {
        match metrics_listener {
            Some(listener) => serve_one(listener, metrics_routes(shell), limits, &shell.shutdown).await,
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
