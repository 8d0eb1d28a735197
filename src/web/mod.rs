//! The pages: what a browser is shown. Each asks who looks at it, calls a use case and fills a template; what they may do is
//! decided where it is for the API, in `api/auth` and in the use cases.
//!
//! A page stands in `templates/layout.html`, is styled by `assets/style.css` alone, runs without script, and is sent with the
//! headers that `page.rs` gives it.

mod account;
mod answer;
mod approvals;
mod assets;
mod audit;
mod board;
mod command_line;
mod decision;
mod deployment;
mod deployments;
mod environments;
mod escape;
mod form;
mod lanes;
mod login;
mod moment;
mod named;
mod page;
mod problem;
mod promotion;
mod release;
mod returned;
mod routes;
mod rows;
mod search;
mod service;
mod services;
mod settings;
mod target;
mod travel;
mod vulnerability;
mod when;
mod words;

use poem::{Endpoint, Request, Response, Route, endpoint::make, http::Method};

use self::answer::Wanted;
use crate::{domain::address, http::spec::Spec};

/// The endpoints, for the routes, and what they are called in logs and metrics, for `spec`.
pub fn add_to(routes: Route, spec: &mut Spec) -> Route {
    let get = [Method::GET].as_slice();
    let post = [Method::POST].as_slice();
    let both = [Method::GET, Method::POST].as_slice();
    for (path, operation, methods) in [
        ("/", "page_board", get),
        ("/services", "page_services", get),
        ("/services/{service}", "page_service", get),
        ("/services/{service}/environments/{environment}", "page_target", get),
        ("/services/{service}/releases/{version}", "page_release", get),
        ("/deployments", "page_deployments", get),
        ("/deployments/{id}", "page_deployment", get),
        ("/decisions/{id}", "page_decision", get),
        ("/vulnerabilities/{id}", "page_vulnerability", get),
        ("/search", "page_search", get),
        ("/login", "page_login", both),
        ("/login/start", "page_login_start", get),
        ("/login/callback", "page_login_callback", get),
        ("/login/device", "page_login_device", both),
        ("/login/cli", "page_login_cli", both),
        ("/logout", "page_logout", post),
        ("/account", "page_account", get),
        ("/account/sessions/{id}/end", "page_end_session", post),
        ("/assets/{name}", "asset", get),
    ] {
        spec.add_page(path, operation, methods);
    }
    let parts = [approvals::add_to, environments::add_to, audit::add_to, settings::add_to];
    let routes = parts.into_iter().fold(routes, |routes, add_to| add_to(routes, spec));
    routes
        .at("/", getting(board::show))
        .at("/services", getting(services::show))
        .at("/services/:service", getting(service::show))
        .at("/services/:service/environments/:environment", getting(target::show))
        .at("/services/:service/releases/:version", getting(release::show))
        .at("/deployments", getting(deployments::show))
        .at("/deployments/:id", getting(deployment::show))
        .at("/decisions/:id", getting(decision::show))
        .at("/vulnerabilities/:id", getting(vulnerability::show))
        .at("/search", getting(search::show))
        .at("/login", by_method(login::show, login::with_token))
        .at("/login/start", getting(returned::start))
        .at("/login/callback", getting(returned::callback))
        .at("/login/device", by_method(command_line::show_device, command_line::let_device_in))
        .at("/login/cli", by_method(command_line::show, command_line::let_in))
        .at("/logout", getting(account::sign_out))
        .at("/account", getting(account::show))
        .at("/account/sessions/:id/end", getting(account::end_session))
        .at("/assets/:name", getting(assets::serve))
        // Not `/*path`, which would take `/` as well.
        .at("/:first", getting(problem::nothing))
        .at("/:first/*more", getting(problem::nothing))
}

/// An endpoint of a page. Which methods there are is judged before, by the spec.
fn getting<F, R>(page: F) -> impl Endpoint<Output = Response> + 'static
where
    F: Fn(Request) -> R + Send + Sync + Copy + 'static,
    R: Future<Output = poem::Result<Response>> + Send + 'static,
{
    by_method(page, page)
}

/// An endpoint of a page that is read and sent.
fn by_method<F, G, R, S>(read: F, sent: G) -> impl Endpoint<Output = Response> + 'static
where
    F: Fn(Request) -> R + Send + Sync + Copy + 'static,
    G: Fn(Request) -> S + Send + Sync + Copy + 'static,
    R: Future<Output = poem::Result<Response>> + Send + 'static,
    S: Future<Output = poem::Result<Response>> + Send + 'static,
{
    make(move |mut request: Request| async move {
        let wanted = Wanted::of(&mut request);
        let answer = if request.method() == Method::POST { sent(request).await } else { read(request).await };
        wanted.finish(answer).await
    })
}
