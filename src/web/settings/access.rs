//! `/settings/access`: everything that lets somebody in, for whoever reviews it.

use askama::Template;
use poem::{Request, Response, Result, http::StatusCode};

use super::{Tab, listed, next, places, scopes, tabs};
use crate::{
    api::page::page_request,
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
    since: When,
    until: Option<When>,
}

/// Shows who can do what.
pub(super) async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    let frame = Frame::of(app, Some(&visitor));
    let asked = page_request(None, Form::of_query(&request).given("cursor").as_deref())?;
    let found = access::list(&visitor.ctx, &asked).await.map_err(Problem::from)?;
    let page_of = Page {
        tabs: tabs(&visitor, "access"),
        rows: found.items.into_iter().map(row).collect(),
        next: found.next.map(|cursor| next(&frame.base, "access", &cursor)),
        frame,
    };
    page(StatusCode::OK, &page_of)
}

fn row(access: Access) -> Row {
    match access {
        Access::Token(token) => Row {
            kind: "token",
            scopes: scopes(&token.principal.scopes),
            groups: listed(token.principal.groups.iter().map(String::as_str)),
            places: places(&token.principal.narrowing),
            since: When::at(token.created_at),
            until: token.expires_at.map(When::at),
            name: token.principal.actor.token,
            who: token.principal.actor.subject,
        },
        Access::Trust(trust) => {
            let definition = trust.definition;
            let claims = definition.claims.iter().map(|(claim, wanted)| format!("{claim}={wanted}"));
            Row {
                kind: "trust",
                who: format!("{}: {}", definition.issuer, claims.collect::<Vec<_>>().join(", ")),
                scopes: scopes(&definition.scopes),
                groups: listed(definition.groups.iter().map(String::as_str)),
                places: places(&definition.places),
                since: When::at(trust.created_at),
                until: None,
                name: definition.name,
            }
        }
    }
}
