//! `/settings`: waivers, tokens, trusts, sessions, and who can do what.

mod access;
mod sessions;
mod tokens;
mod trusts;
mod waivers;

use std::collections::BTreeSet;

use poem::{Request, Response, Result, Route};

use super::{
    address::address,
    page::{Visitor, app, see, to_login},
    routes::Pages,
};
use crate::{
    domain::{scope::Narrowing, vocabulary::Scope},
    http::spec::Spec,
    usecase::sessions::reach,
};

/// The pages of this folder.
pub fn add_to(routes: Route, spec: &mut Spec) -> Route {
    let waivers = ("page_list_waivers", "page_create_waiver");
    let tokens = ("page_list_tokens", "page_create_token");
    let trust = ("page_list_trusts", "page_create_trust");
    Pages::new(routes, spec)
        .get("/settings", "page_settings", first)
        .both("/settings/waivers", (waivers.0, waivers::show), (waivers.1, waivers::create))
        .post("/settings/waivers/{id}/withdraw", "page_withdraw_waiver", waivers::withdraw)
        .both("/settings/tokens", (tokens.0, tokens::show), (tokens.1, tokens::create))
        .post("/settings/tokens/{id}/revoke", "page_revoke_token", tokens::revoke)
        .both("/settings/trusts", (trust.0, trusts::show), (trust.1, trusts::create))
        .post("/settings/trusts/{trust}/delete", "page_delete_trust", trusts::delete)
        .get("/settings/sessions", "page_list_sessions", sessions::show)
        .post("/settings/sessions/{id}/end", "page_end_session", sessions::end)
        .get("/settings/access", "page_list_access", access::show)
        .routes()
}

/// A part of the settings, as its tab shows it.
struct Tab {
    path: &'static str,
    words: &'static str,
    is_here: bool,
}

/// The parts that somebody may look at.
fn tabs(visitor: &Visitor, here: &str) -> Vec<Tab> {
    [
        ("waivers", "Waivers", Some(Scope::Read)),
        ("tokens", "Tokens", Some(Scope::Admin)),
        ("trusts", "Trusts", Some(Scope::Admin)),
        ("sessions", "Sessions", None),
        ("access", "Who can do what", Some(Scope::Audit)),
    ]
    .into_iter()
    .filter(|(_, _, scope)| scope.is_none_or(|scope| reach(&visitor.ctx, scope).is_some()))
    .map(|(path, words, _)| Tab { path, words, is_here: path == here })
    .collect()
}

/// Leads to the first part that somebody may look at.
async fn first(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    let first = tabs(&visitor, "").first().map_or("sessions", |tab| tab.path);
    Ok(see(&format!("{}/settings/{first}", app.people.site.base())))
}

/// Names as they are listed, and `all` where there is no confinement to any.
fn names(names: Option<&BTreeSet<String>>) -> String {
    names.map_or_else(|| "all".to_owned(), |names| listed(names.iter().map(String::as_str)))
}

fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().collect::<Vec<_>>().join(", ")
}

fn scopes(scopes: &BTreeSet<Scope>) -> String {
    listed(scopes.iter().map(|scope| scope.as_str()))
}

/// Where something counts, in words.
fn places(Narrowing { services, environments }: &Narrowing) -> String {
    match (services, environments) {
        (None, None) => "everywhere".to_owned(),
        (Some(_), None) => names(services.as_ref()),
        (None, Some(_)) => format!("everything in {}", names(environments.as_ref())),
        (Some(_), Some(_)) => format!("{} in {}", names(services.as_ref()), names(environments.as_ref())),
    }
}

/// The address of the next page of a list.
fn next(base: &str, part: &str, cursor: &str) -> String {
    address(&format!("{base}/settings/{part}"), [("cursor", cursor)])
}
