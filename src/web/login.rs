//! `/login`: where people sign in, at the issuer or with a token.

use std::time::Duration;

use askama::Template;
use poem::{
    Request, Response, Result,
    http::{StatusCode, header},
};
use secrecy::ExposeSecret as _;

use super::{
    address::address,
    form::Form,
    page::{Frame, Visitor, app, page, request_id, see, with_cookie},
};
use crate::{
    api::auth::session_cookie,
    domain::{
        session::LONGEST,
        sign_in::{back::Back, cookie, site::Site},
    },
    http::problem::{Code, Problem},
    usecase::{
        app::App,
        error::Error,
        sessions::{self, Begun, From},
    },
};

const EXPOSED: &str = "Nobody signs in here, because this server is reached over plain HTTP, where everybody on the way could \
                       take the cookie. Set server.public_url to its https:// address.";

/// Something that the page says first.
pub(super) struct Said {
    pub(super) text: String,
    pub(super) is_bad: bool,
}

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    frame: Frame,
    said: Option<Said>,
    /// Why nobody signs in here.
    closed: Option<&'static str>,
    /// The issuer, as people are shown it.
    issuer: Option<String>,
    /// Where the way to it begins.
    start: String,
    to: String,
}

impl Login {
    fn new(app: &App, to: &Back, said: Option<Said>) -> Self {
        Self {
            frame: Frame::of(app, None),
            said,
            closed: (app.people.site == Site::Exposed).then_some(EXPOSED),
            issuer: app.config.auth.oidc.issuer.clone(),
            // At the server's own address, which the cookie is for and the issuer leads back to.
            start: match app.config.auth.oidc.issuer {
                Some(_) => {
                    address(&format!("{}/login/start", app.config.server.base_url()), [("to", to.as_str())])
                }
                None => String::new(),
            },
            to: to.as_str().to_owned(),
        }
    }
}

/// Where a request wants to lead afterwards.
pub(super) fn wanted(form: &Form) -> Back {
    Back::parse(form.get("to")).unwrap_or_default()
}

/// Shows the page; whoever has signed in goes on.
pub async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let query = Form::of_query(&request);
    let to = wanted(&query);
    if Visitor::of(app, &request).await?.is_some() {
        return Ok(see(&format!("{}{to}", app.people.site.base())));
    }
    let said = match query.get("said") {
        "signed-out" => Some(Said { text: "You have signed out.".to_owned(), is_bad: false }),
        _ if session_cookie(&request, &app.people.site).is_some() => {
            Some(Said { text: "Your session has ended; sign in again.".to_owned(), is_bad: false })
        }
        _ => None,
    };
    page(StatusCode::OK, &Login::new(app, &to, said))
}

/// Signs in whoever pastes a token.
pub async fn with_token(mut request: Request) -> Result<Response> {
    let app = app(&request)?.clone();
    let form = Form::of_stranger(&app, &mut request).await?;
    let to = wanted(&form);
    let from = from(&app, &request).await?;
    match sessions::begin_with_token(&app, form.get("token").trim(), &from).await {
        Ok(begun) => signed_in(&app, &begun, &to),
        Err(Error::Unauthenticated(_)) => {
            let text = "This token is not known, has expired or is revoked. Look whether all of it was pasted, or ask for another."
                .to_owned();
            page(StatusCode::UNAUTHORIZED, &Login::new(&app, &to, Some(Said { text, is_bad: true })))
        }
        Err(error) => Err(Problem::from(error).into()),
    }
}

/// Where a sign-in comes from, and which session of this browser it takes the place of.
pub(super) async fn from(app: &App, request: &Request) -> Result<From, Problem> {
    let replaces = Visitor::of(app, request).await?.map(|visitor| visitor.ctx.principal.token_id);
    let place = request.header(header::USER_AGENT).map(|agent| browser(agent).to_owned());
    Ok(From { request_id: request_id(request), place, replaces })
}

/// The browser in a few words: what it calls itself is longer than anybody reads.
fn browser(agent: &str) -> &'static str {
    // The first that fits: each of the later ones is part of what some earlier one says.
    let known = [
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ];
    let found = known.iter().find(|(part, _)| agent.contains(part));
    found.map_or("a browser", |(_, name)| name)
}

/// Leads on whoever has signed in, with the cookie of the session.
pub(super) fn signed_in(app: &App, begun: &Begun, to: &Back) -> Result<Response> {
    let name = app.people.site.session_cookie().ok_or_else(|| Problem::new(Code::Forbidden, EXPOSED))?;
    let lasts = LONGEST.to_std().unwrap_or(Duration::ZERO);
    let response = see(&format!("{}{to}", app.people.site.base()));
    Ok(with_cookie(response, &cookie::set(name, begun.secret.expose_secret(), lasts)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_called_what_people_call_them() {
        let chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36";
        assert_eq!(browser(chrome), "Chrome");
        assert_eq!(browser(&format!("{chrome} Edg/120.0")), "Edge");
        assert_eq!(browser("Mozilla/5.0 (X11; rv:120.0) Gecko/20100101 Firefox/120.0"), "Firefox");
        assert_eq!(browser("<script>"), "a browser");
    }
}
