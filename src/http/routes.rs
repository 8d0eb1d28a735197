//! Puts everything that is served in its place and the middleware around it.

use std::sync::Arc;

use bytes::Bytes;
use poem::{
    EndpointExt as _, Error, Request, Response, Route,
    endpoint::{BoxEndpoint, make},
};
use poem_openapi::{OpenApi, OpenApiService, Webhook};

use crate::{
    domain::address::Pages,
    http::{
        docs, icon,
        middleware::{
            access_log::access_log,
            body_limit::{BodyLimits, body_limit},
            compress::compress,
            error_roof::error_roof,
            guard::{TimeLimits, catch_panic, refuse_nul, time_limit},
            headers::security_headers,
            heads::heads,
            methods::methods,
            queries::queries,
            request_id::request_id,
        },
        ops::{self, Ops, Readiness},
        problem::{Code, Problem, page},
        spec::{Matched, Spec, Unless},
    },
    metrics::Metrics,
    shutdown::Shutdown,
};

/// Where the API begins.
pub const API_PREFIX: &str = "/api/v1";

/// What the shell around the API needs to know.
#[derive(Clone)]
pub struct Shell {
    /// What links and problem types begin with.
    pub public_url: String,
    /// Where people find pages.
    pub pages: Pages,
    /// How long requests may take.
    pub time_limits: TimeLimits,
    /// How large a body may be.
    pub body_limits: BodyLimits,
    /// Whether `/metrics` is served here and not on a port of its own.
    pub serve_metrics: bool,
    /// What bodies must have in some cases only.
    pub required: &'static [Unless],
    /// Where requests are counted.
    pub metrics: Arc<Metrics>,
    /// Who knows whether the server can do its work.
    pub readiness: Arc<dyn Readiness>,
    /// Whether the server is about to stop.
    pub shutdown: Shutdown,
}

/// Everything that the server serves. An API whose document cannot be read back is an error.
pub fn routes<T, W>(
    api: impl Fn() -> OpenApiService<T, W> + Clone + Send + 'static,
    pages: impl FnOnce(Route, &mut Spec) -> Route,
    shell: &Shell,
) -> Result<BoxEndpoint<'static, Response>, serde_json::Error>
where
    T: OpenApi + 'static,
    W: Webhook + 'static,
{
    let document = Bytes::from(api().spec());
    let mut spec = Spec::parse(API_PREFIX, &document)?;
    shell.required.iter().for_each(|unless| spec.require(*unless));
    for (path, operation) in [
        ("/favicon.ico", "icon"),
        ("/api/v1/openapi.json", "openapi"),
        ("/docs", "docs"),
        ("/problems/{slug}", "problem"),
    ] {
        spec.add_get(path, operation);
    }
    let routes = Route::new()
        .at("/favicon.ico", icon::endpoint())
        .at("/problems/:slug", page::endpoint())
        .nest(API_PREFIX, api())
        .at("/api/v1/openapi.json", docs::document(document))
        .at("/docs", docs::page(move || (api().swagger_ui_html(), api().spec())));
    let routes = pages(routes, &mut spec);
    let routes = with_ops(routes, &mut spec, shell);
    Ok(wrap(routes, spec, shell))
}

/// What is served before the server can do its work: what tells whoever runs it so. Nothing else is available yet.
pub fn waiting_routes(shell: &Shell) -> BoxEndpoint<'static, Response> {
    let not_yet = || {
        let problem =
            || Problem::new(Code::Unavailable, "The server waits for its database; `/readyz` says why.");
        make(move |_| async move { Err::<(), Error>(problem().into()) })
    };
    let mut spec = Spec::default();
    let routes = with_ops(Route::new(), &mut spec, shell);
    wrap(routes.at("/", not_yet()).at("/*path", not_yet()), spec, shell)
}

/// Adds the endpoints for whoever runs the server.
fn with_ops(routes: Route, spec: &mut Spec, shell: &Shell) -> Route {
    for operation in ["livez", "readyz", "health", "version"] {
        spec.add_get(&format!("/{operation}"), operation);
    }
    let routes = Ops::new(Arc::clone(&shell.readiness), shell.shutdown.clone()).add_to(routes);
    if !shell.serve_metrics {
        return routes;
    }
    spec.add_get("/metrics", "metrics");
    routes.at("/metrics", ops::metrics(Arc::clone(&shell.metrics)))
}

/// The metrics alone, for a listener of their own.
pub fn metrics_routes(shell: &Shell) -> BoxEndpoint<'static, Response> {
    let mut spec = Spec::default();
    spec.add_get("/metrics", "metrics");
    wrap(Route::new().at("/metrics", ops::metrics(Arc::clone(&shell.metrics))), spec, shell)
}

fn wrap(routes: Route, spec: Spec, shell: &Shell) -> BoxEndpoint<'static, Response> {
    let (spec, metrics) = (Arc::new(spec), Arc::clone(&shell.metrics));
    let (public_url, pages): (Arc<str>, _) = (shell.public_url.as_str().into(), shell.pages.clone());
    let (time_limits, body_limits) = (shell.time_limits, shell.body_limits);
    routes
        .around(methods)
        .around(queries)
        .around(refuse_nul)
        .around(heads)
        .around(move |next, request| body_limit(next, request, body_limits))
        .around(move |next, request| time_limit(next, request, time_limits))
        // Boxed, because a future that holds all the others is more than the compiler lays out.
        .boxed()
        .around(catch_panic)
        .around(move |next, request| error_roof(next, request, Arc::clone(&public_url), pages.clone()))
        .around(compress)
        .around(security_headers)
        .around(move |next, request| access_log(next, request, Arc::clone(&metrics)))
        .before(move |mut request: Request| {
            let matched = Matched::new(Arc::clone(&spec), &request);
            request.set_data(matched);
            async { Ok(request) }
        })
        .around(request_id)
        .boxed()
}
