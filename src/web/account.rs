//! `/account`: who somebody is, what they may do, and their sessions; and `/logout`.

use std::collections::BTreeSet;

use askama::Template;
use poem::{Request, Response, Result, http::StatusCode};
use uuid::Uuid;

use super::{
    form::Form,
    page::{Frame, Visitor, app, id, page, see, to_login, with_cookie},
    when::{When, minute},
};
use crate::{
    domain::{
        credential::Credential,
        identity::Identity,
        page::{LIMIT_MAX, PageRequest},
        role::Role,
        scope::Narrowing,
        sign_in::cookie,
        vocabulary::Scope,
    },
    http::problem::Problem,
    usecase::{app::App, sessions},
};

/// A row of the table of what somebody may do.
struct Grant {
    by: String,
    scopes: String,
    services: String,
    environments: String,
}

/// A row of the table of somebody's sessions.
struct Row {
    id: Uuid,
    place: String,
    since: When,
    /// The same, to be read aloud.
    begun: String,
    until: Option<When>,
    is_this: bool,
}

#[derive(Template)]
#[template(path = "account.html")]
struct Account {
    frame: Frame,
    name: String,
    subject: String,
    by: String,
    groups: BTreeSet<String>,
    no_groups: &'static str,
    until: Option<When>,
    grants: Vec<Grant>,
    sessions: Vec<Row>,
    /// Whether they can be ended from here.
    ends: bool,
    csrf: String,
}

/// Shows who somebody is.
pub async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    let first = PageRequest { after: None, limit: LIMIT_MAX };
    let own = sessions::list_own(&visitor.ctx, &first).await.map_err(Problem::from)?;
    let principal = &visitor.ctx.principal;
    let this = own.items.iter().find(|session| session.principal.token_id == principal.token_id);
    let (by, no_groups, grants) = rights(app, &visitor);
    let account = Account {
        name: visitor.name(),
        subject: principal.actor.subject.clone(),
        by,
        groups: principal.groups.clone(),
        no_groups,
        until: this.and_then(until),
        grants,
        sessions: own.items.iter().map(|session| row(session, principal.token_id)).collect(),
        ends: !visitor.travel.is_past(),
        csrf: visitor.csrf(),
        frame: Frame::of(app, Some(&visitor)),
    };
    page(StatusCode::OK, &account)
}

/// By what somebody has signed in, what it means that no groups came, and what they may do.
fn rights(app: &App, visitor: &Visitor) -> (String, &'static str, Vec<Grant>) {
    let principal = &visitor.ctx.principal;
    let issuer = match &principal.identity {
        Identity::Session(session) => session.issuer().map(str::to_owned),
        Identity::Token | Identity::Pipeline(_) => None,
    };
    if let Some(issuer) = issuer {
        let none = "none came from the issuer; whoever runs the server looks at auth.oidc.groups_claim and auth.oidc.scopes";
        let roles = sessions::held_roles(app, principal);
        return (issuer, none, roles.iter().map(of_role).collect());
    }
    let name = format!("token {}", principal.actor.token);
    let grant = grant(name.clone(), &principal.scopes, &principal.narrowing);
    (name, "none: the token is in no group", vec![grant])
}

fn of_role(role: &Role) -> Grant {
    grant(format!("group {}", role.group), &role.scopes, &role.narrowing)
}

fn grant(by: String, scopes: &BTreeSet<Scope>, narrowing: &Narrowing) -> Grant {
    let places = |names: &Option<BTreeSet<String>>| match names {
        Some(names) => names.iter().cloned().collect::<Vec<_>>().join(", "),
        None => "all".to_owned(),
    };
    Grant {
        by,
        scopes: scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", "),
        services: places(&narrowing.services),
        environments: places(&narrowing.environments),
    }
}

fn row(session: &Credential, this: Uuid) -> Row {
    let place = match &session.principal.identity {
        Identity::Session(session) => session.place.clone(),
        Identity::Token | Identity::Pipeline(_) => None,
    };
    Row {
        id: session.principal.token_id,
        place: place.unwrap_or_else(|| "somewhere".to_owned()),
        since: When::at(session.created_at),
        begun: minute(session.created_at),
        until: until(session),
        is_this: session.principal.token_id == this,
    }
}

/// When a session ends, at the latest.
fn until(session: &Credential) -> Option<When> {
    session.expires_at.map(When::at)
}

/// Ends the session of this browser.
pub async fn sign_out(mut request: Request) -> Result<Response> {
    let app = app(&request)?.clone();
    let out = see(&format!("{}/login?said=signed-out", app.people.site.base()));
    // Whose session has ended meanwhile is signed out already.
    let Some(visitor) = Visitor::of(&app, &request).await? else { return Ok(out) };
    Form::of(&app, &mut request, &visitor).await?;
    sessions::end_own(&visitor.ctx).await.map_err(Problem::from)?;
    let gone = app.people.site.session_cookie().map(cookie::remove).unwrap_or_default();
    Ok(with_cookie(out, &gone))
}

/// Ends one of somebody's sessions.
pub async fn end_session(mut request: Request) -> Result<Response> {
    let app = app(&request)?.clone();
    let back = see(&format!("{}/account", app.people.site.base()));
    // The account leads to the sign-in, where this is no path to come back to.
    let Some(visitor) = Visitor::of(&app, &request).await? else { return Ok(back) };
    Form::of(&app, &mut request, &visitor).await?;
    sessions::end(&visitor.ctx, id(&request, "session")?).await.map_err(Problem::from)?;
    Ok(back)
}
