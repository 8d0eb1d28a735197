//! `/settings/access`: everything that lets somebody in, for whoever reviews it.

use std::collections::BTreeSet;

use askama::Template;
use poem::{Request, Response, Result, http::StatusCode};

use super::{Tab, listed, next, places, scopes, tabs};
use crate::{
    api::page::page_request,
    domain::{credential::Credential, people::shown, scope::Narrowing, vocabulary::Scope},
    http::problem::Problem,
    usecase::access::{self, Access},
    web::{
        form::Form,
        page::{Frame, Visitor, app, page, to_login},
        when::When,
    },
};

#[derive(Template)]
#[template(path = "access.html")]
struct Page {
    frame: Frame,
    tabs: Vec<Tab>,
    rows: Vec<Row>,
    next: Option<String>,
}

struct Row {
    kind: &'static str,
    name: String,
    /// Whom it lets in.
    who: String,
    scopes: String,
    groups: String,
    places: String,
    since: Option<When>,
    until: Option<When>,
}

/// Shows who can do what.
pub(super) async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    let frame = Frame::of(app, Some(&visitor)).at("settings");
    let asked = page_request(None, Form::of_query(&request).given("cursor").as_deref())?;
    let found = access::list(&visitor.ctx, &asked).await.map_err(Problem::from)?;
    let issuer = app.config.auth.oidc.issuer.as_deref().unwrap_or_default();
    let page_of = Page {
        tabs: tabs(&visitor, "access"),
        rows: found.items.into_iter().map(|access| row(access, issuer)).collect(),
        next: found.next.map(|cursor| next(&frame.base, "access", &cursor)),
        frame,
    };
    page(StatusCode::OK, &page_of)
}

fn row(access: Access, issuer: &str) -> Row {
    match access {
        Access::Role(_, role) => Row {
            who: format!("{issuer}: group {}", role.group),
            ..rights("role", role.group, &role.scopes, &role.narrowing)
        },
        Access::Trust(trust) => {
            let definition = trust.definition;
            let claims = definition.claims.iter().map(|(claim, wanted)| format!("{claim}={wanted}"));
            Row {
                who: format!("{}: {}", definition.issuer, claims.collect::<Vec<_>>().join(", ")),
                groups: listed(definition.groups.iter().map(String::as_str)),
                since: Some(When::at(trust.created_at)),
                ..rights("trust", definition.name, &definition.scopes, &definition.places)
            }
        }
        Access::Token(known) => of_credential("token", known),
        Access::Session(known) => of_credential("session", known),
    }
}

fn of_credential(kind: &'static str, credential: Credential) -> Row {
    let Credential { principal, created_at, expires_at, .. } = credential;
    let name = principal.session().and_then(|session| session.shown_name.as_deref());
    Row {
        who: shown(name, &principal.actor.subject),
        groups: listed(principal.groups.iter().map(String::as_str)),
        since: Some(When::at(created_at)),
        until: expires_at.map(When::at),
        ..rights(kind, principal.actor.token, &principal.scopes, &principal.narrowing)
    }
}

/// What may be done, and where.
fn rights(kind: &'static str, name: String, may: &BTreeSet<Scope>, within: &Narrowing) -> Row {
    Row {
        kind,
        name,
        who: String::new(),
        scopes: scopes(may),
        groups: String::new(),
        places: places(within),
        since: None,
        until: None,
    }
}
