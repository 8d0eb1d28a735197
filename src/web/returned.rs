//! `/login/start` and `/login/callback`: the way to the issuer, and back.

use std::time::Duration;

use poem::{
    Request, Response, Result,
    http::{StatusCode, header},
};

use super::{
    form::Form,
    login::{from, signed_in, wanted},
    page::{Frame, Message, app, page, with_cookie},
};
use crate::{
    api::auth::named_cookie,
    domain::sign_in::{
        cookie,
        flow::{Flows, GOOD_FOR},
    },
    http::problem::{Code, Problem},
    usecase::{
        app::App,
        sign_in::at_issuer::{self, Refusal, Returned},
    },
};

const STALE: &str = "What came back does not go with a sign-in that this browser has begun: it may have been used already, \
                     have taken more than ten minutes, or have been begun in another browser.";

const STRANGER: &str =
    "If you did not ask to sign in just now, close this page: somebody may have sent you a link.";

/// Sends a browser to the issuer.
pub async fn start(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let name = flow_cookie(app)?;
    let leaving = match at_issuer::leave(app, wanted(&Form::of_query(&request))).await {
        Ok(leaving) => leaving,
        Err(refusal) => return refused(app, refusal),
    };
    let flows = Flows::read(&named_cookie(&request, name).unwrap_or_default()).with(leaving.flow);
    let response =
        Response::builder().status(StatusCode::FOUND).header(header::LOCATION, leaving.url.as_str()).finish();
    let lasts = GOOD_FOR.to_std().unwrap_or(Duration::ZERO);
    Ok(with_cookie(response, &cookie::set(name, &flows.written(), lasts)))
}

/// Signs in whoever comes back from the issuer.
pub async fn callback(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let name = flow_cookie(app)?;
    let query = Form::of_query(&request);
    let mut flows = Flows::read(&named_cookie(&request, name).unwrap_or_default());
    let Some(flow) = flows.take(query.get("state")) else {
        let text = vec![STALE.to_owned(), STRANGER.to_owned()];
        return message(app, StatusCode::BAD_REQUEST, "This sign-in cannot be completed", text);
    };
    let returned = Returned {
        code: query.given("code"),
        iss: query.given("iss"),
        error: query.given("error"),
        error_description: query.given("error_description"),
    };
    let response = match at_issuer::arrive(app, &flow, &returned, &from(app, &request).await?).await {
        Ok(begun) => signed_in(app, &begun, &flow.back)?,
        Err(refusal) => refused(app, refusal)?,
    };
    // Each is used once, whatever came of it.
    let lasts = GOOD_FOR.to_std().unwrap_or(Duration::ZERO);
    let left =
        if flows.is_empty() { cookie::remove(name) } else { cookie::set(name, &flows.written(), lasts) };
    Ok(with_cookie(response, &left))
}

fn flow_cookie(app: &App) -> Result<&'static str, Problem> {
    app.people
        .site
        .flow_cookie()
        .ok_or_else(|| Problem::new(Code::NotFound, "Nobody signs in at this server."))
}

/// What a refusal means for the person who wanted to sign in, and what they can do.
fn refused(app: &App, refusal: Refusal) -> Result<Response> {
    let (status, title, text) = match refusal {
        Refusal::NotSet => {
            let text =
                "No issuer is set up here (auth.oidc in the server's configuration). Sign in with a token.";
            (StatusCode::NOT_FOUND, "People do not sign in at an issuer here", vec![text.to_owned()])
        }
        refusal @ Refusal::Unreachable(_) => {
            let remedy = "Try again in a minute. Tokens go on working meanwhile: whoever runs the server makes one with \
                          `waybill token create`, and it signs in on the page before this one.";
            let text = vec![format!("{}.", sentence(&refusal.to_string())), remedy.to_owned()];
            (StatusCode::SERVICE_UNAVAILABLE, "The issuer cannot be reached", text)
        }
        refusal @ Refusal::Invalid(_) => {
            tracing::warn!(error = %refusal, "an issuer's ID token was not taken");
            let remedy = "Try again; where this stays, whoever runs the server has to look at it. A clock that is off by more \
                          than a minute, here or at the issuer, is the usual reason when it is about `iat`, `exp` or `nbf`.";
            let text = vec![format!("{}.", sentence(&refusal.to_string())), remedy.to_owned()];
            (StatusCode::UNAUTHORIZED, "The issuer's answer was not taken", text)
        }
        refusal @ (Refusal::Code(_) | Refusal::Denied(_)) => {
            tracing::info!(error = %refusal, "nobody was signed in");
            let text = vec![format!("{}.", sentence(&refusal.to_string())), STRANGER.to_owned()];
            (StatusCode::UNAUTHORIZED, "You are not signed in", text)
        }
        Refusal::Over => {
            let text = vec![format!("{}.", sentence(&refusal.to_string()))];
            (StatusCode::BAD_REQUEST, "This sign-in took too long", text)
        }
        Refusal::Session(error) => return Err(Problem::from(error).into()),
    };
    message(app, status, title, text)
}

fn message(app: &App, status: StatusCode, title: &str, text: Vec<String>) -> Result<Response> {
    let again = (format!("{}/login", app.people.site.base()), "Sign in again");
    let text = text.into_iter().map(Into::into).collect();
    page(status, &Message { frame: Frame::of(app, None), title, text, meant: None, link: Some(again) })
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}", chars.as_str())
}
