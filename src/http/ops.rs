//! The endpoints for whoever runs the server: liveness, readiness, health, version and metrics. They need no
//! token, so they tell nothing that is secret.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use poem::{
    Endpoint, IntoResponse as _, Response, Result, Route,
    endpoint::make,
    error::InternalServerError,
    http::{StatusCode, header},
    web::Json,
};
use serde::Serialize;
use tokio::time::Instant;

use crate::{config::commit::commit, metrics::Metrics, shutdown::Shutdown};

/// Probes have short deadlines of their own; an answer after that is none.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The state of one thing that the server depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// `ok` or `unavailable`.
    pub status: &'static str,
    /// What is wrong, or what there is to know; anyone may read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Check {
    /// The thing works.
    pub fn ok() -> Self {
        Self { status: "ok", detail: None }
    }

    /// The thing does not work.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self { status: "unavailable", detail: Some(detail.into()) }
    }

    fn is_ok(&self) -> bool {
        self.status == "ok"
    }
}

/// The checks, by name.
pub type Checks = BTreeMap<&'static str, Check>;

/// Whoever knows whether the server can do its work.
pub trait Readiness: Send + Sync + 'static {
    /// Checks everything that requests depend on.
    fn checks(&self) -> BoxFuture<'_, Checks>;
}

#[derive(Serialize)]
struct Report {
    status: &'static str,
    checks: Checks,
    #[serde(flatten)]
    build: Option<Build>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime_seconds: Option<u64>,
}

#[derive(Serialize)]
struct Build {
    version: &'static str,
    commit: &'static str,
}

impl Build {
    fn this() -> Self {
        Self { version: VERSION, commit: commit() }
    }
}

/// What the endpoints ask.
#[derive(Clone)]
pub struct Ops {
    readiness: Arc<dyn Readiness>,
    shutdown: Shutdown,
    started: Instant,
}

impl Ops {
    /// The endpoints of a server that starts now.
    pub fn new(readiness: Arc<dyn Readiness>, shutdown: Shutdown) -> Self {
        Self { readiness, shutdown, started: Instant::now() }
    }

    async fn report(&self, for_people: bool) -> Response {
        let mut checks = match tokio::time::timeout(CHECK_TIMEOUT, self.readiness.checks()).await {
            Ok(checks) => checks,
            Err(_elapsed) => Checks::from([("checks", Check::unavailable("They took too long."))]),
        };
        if self.shutdown.is_draining() {
            checks.insert("server", Check::unavailable("It is shutting down."));
        }
        let ok = checks.values().all(Check::is_ok);
        let report = Report {
            status: if ok { "ok" } else { "unavailable" },
            checks,
            build: for_people.then(Build::this),
            uptime_seconds: for_people.then(|| self.started.elapsed().as_secs()),
        };
        let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        Json(report).with_status(status).into_response()
    }

    /// Adds the endpoints to the routes, except the metrics.
    pub fn add_to(self, routes: Route) -> Route {
        let (ready, health) = (self.clone(), self);
        let report = |ops: Ops, for_people| {
            make(move |_| {
                let ops = ops.clone();
                async move { ops.report(for_people).await }
            })
        };
        routes
            .at("/livez", make(|_| async { Json(serde_json::json!({"status": "ok"})) }))
            .at("/readyz", report(ready, false))
            .at("/health", report(health, true))
            .at("/version", make(|_| async { Json(Build::this()) }))
    }
}

/// The endpoint that Prometheus scrapes.
pub fn metrics(metrics: Arc<Metrics>) -> impl Endpoint + 'static {
    make(move |_| {
        let metrics = Arc::clone(&metrics);
        async move { scrape(&metrics) }
    })
}

fn scrape(metrics: &Metrics) -> Result<Response> {
    let text = metrics.render().map_err(InternalServerError)?;
    Ok(text.with_header(header::CONTENT_TYPE, prometheus::TEXT_FORMAT).into_response())
}
