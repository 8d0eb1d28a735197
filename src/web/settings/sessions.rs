//! `/settings/sessions`: who has signed in: one's own sessions, or everybody's for an admin.

use askama::Template;
use poem::{Request, Response, Result, http::StatusCode};

use super::{Tab, listed, next, tabs};
use crate::{
    api::page::page_request,
    domain::{credential::Credential, identity::Identity},
    http::problem::Problem,
    usecase::sessions,
    web::{
        form::{Form, blank::Blank, sent::Sender},
        page::{Frame, Visitor, app, id, page, see, to_login},
        when::When,
    },
};

const HERE: &str = "/settings/sessions";

#[derive(Template)]
#[template(path = "sessions.html")]
struct Page {
    frame: Frame,
    tabs: Vec<Tab>,
    rows: Vec<Row>,
    next: Option<String>,
}

struct Row {
    name: Option<String>,
    subject: String,
    by: String,
    groups: String,
    place: String,
    since: When,
    idle: Option<When>,
    until: Option<When>,
    is_this: bool,
    end: Option<Blank>,
}

/// Shows the sessions that there are.
pub(super) async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    let frame = Frame::of(app, Some(&visitor)).at("settings");
    let asked = page_request(None, Form::of_query(&request).given("cursor").as_deref())?;
    let found = sessions::list(&visitor.ctx, &asked).await.map_err(Problem::from)?;
    let row = |session: Credential| row(&frame.base, &visitor, session);
    let rows = found.items.into_iter().map(row).collect();
    let next = found.next.map(|cursor| next(&frame.base, "sessions", &cursor));
    page(StatusCode::OK, &Page { tabs: tabs(&visitor, "sessions"), rows, next, frame })
}

fn row(base: &str, visitor: &Visitor, session: Credential) -> Row {
    let principal = session.principal;
    let own = match principal.identity {
        Identity::Session(own) => Some(own),
        Identity::Token | Identity::Pipeline(_) => None,
    };
    let by = own.as_ref().and_then(|own| own.issuer()).unwrap_or("a token").to_owned();
    let id = principal.token_id;
    let end = Blank::new(&format!("end-{id}"), format!("{base}{HERE}/{id}/end"), &visitor.csrf());
    Row {
        end: (!visitor.travel.is_past()).then(|| end.plain_button("End it")),
        is_this: id == visitor.ctx.principal.token_id,
        by,
        name: own.as_ref().and_then(|own| own.shown_name.clone()),
        place: own.as_ref().and_then(|own| own.place.clone()).unwrap_or_default(),
        idle: own.as_ref().map(|own| When::at(own.idle_until)),
        subject: principal.actor.subject,
        groups: listed(principal.groups.iter().map(String::as_str)),
        since: When::at(session.created_at),
        until: session.expires_at.map(When::at),
    }
}

/// Ends a session.
pub(super) async fn end(mut request: Request) -> Result<Response> {
    let id = id(&request, "session")?;
    let sender = Sender::of(&mut request).await?;
    sessions::end(&sender.visitor.ctx, id).await.map_err(Problem::from)?;
    Ok(see(&format!("{}{HERE}", sender.app.people.site.base())))
}
