//! `/sessions`: who has signed in, where, and until when; and how a command line is given a session.

use poem::Request;
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::{Path, Query},
    payload::Json,
    types::Example,
};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    api::{
        Tags,
        auth::Auth,
        page::{List, Listed, Page, Words, page_request},
        reply::Done,
        types::{Nullable, Text, Time},
        view::refuse,
    },
    domain::{credential::Credential, form::TellingShort, identity::Identity, sign_in::code::INTERVAL},
    http::{middleware::request_id::RequestId, peer::network, problem::Problem},
    usecase::{
        app::App,
        sessions,
        sign_in::command_line::{self, Asking},
    },
};

/// The operations.
#[derive(Debug)]
pub struct SessionsApi;

/// A session: somebody who has signed in, in a browser or at a command line.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Session")]
pub struct SessionView {
    /// Identity.
    pub id: Uuid,
    /// Whose it is.
    pub subject: String,
    /// What they are called, as the issuer last said.
    pub name: Nullable<String>,
    /// The issuer that vouched for them; null where they signed in with a token.
    pub issuer: Nullable<String>,
    /// The groups that came with them.
    pub groups: Vec<String>,
    /// Where it was begun: a browser, or the machine of a command line.
    pub place: Nullable<String>,
    /// When it was begun.
    pub created_at: Time,
    /// When it ends unless it is used before.
    pub idle_until: Time,
    /// When it ends in any case.
    pub expires_at: Nullable<Time>,
    /// Whether the request came with it.
    pub current: bool,
}

fn view(session: Credential, current: Uuid) -> SessionView {
    let principal = session.principal;
    let (name, issuer, place, idle_until) = match principal.identity {
        Identity::Session(own) => {
            let issuer = own.issuer().map(str::to_owned);
            (own.shown_name, issuer, own.place, own.idle_until)
        }
        Identity::Token | Identity::Pipeline(_) => (None, None, None, session.created_at),
    };
    SessionView {
        id: principal.token_id,
        subject: principal.actor.subject,
        name: name.into(),
        issuer: issuer.into(),
        groups: principal.groups.into_iter().collect(),
        place: place.into(),
        created_at: Time(session.created_at),
        idle_until: Time(idle_until),
        expires_at: session.expires_at.map(Time).into(),
        current: principal.token_id == current,
    }
}

impl Listed for SessionView {
    const PAGE: Words =
        Words { name: "SessionPage", is: "A page of sessions.", items: "The sessions, oldest first." };
}

/// A command line that asks to be let in.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, example)]
pub struct AskForSession {
    /// The SHA-256 of a random verifier, in base64url without padding (RFC 7636 §4.2).
    pub challenge: Text<TellingShort>,
    /// Where it runs, for the person who is asked: at most 200 characters.
    pub client: Text<TellingShort>,
}

impl Example for AskForSession {
    fn example() -> Self {
        Self {
            challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".into(),
            client: "ada's laptop".into(),
        }
    }
}

/// What a command line shows, and asks with until somebody lets it in.
#[derive(Clone, Debug, Object)]
pub struct SessionAsked {
    /// What it asks with; a secret.
    pub code: String,
    /// What a person types.
    pub user_code: String,
    /// Where they type it.
    pub verification_uri: String,
    /// The same with the code in it.
    pub verification_uri_complete: String,
    /// When both codes are over.
    pub expires_at: Time,
    /// How many seconds to wait before asking again.
    pub interval_seconds: i64,
}

/// A code to change into a session.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, example)]
pub struct RedeemCode {
    /// The code.
    pub code: Text<TellingShort>,
    /// What the challenge was made of.
    pub verifier: Text<TellingShort>,
}

impl Example for RedeemCode {
    fn example() -> Self {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into();
        Self { code: "Xk2mJ0c0Tq5v3m1p8Yz4bW7nR9sL6dF2hG0jK1aQeUo".into(), verifier }
    }
}

/// A session that a command line was given.
#[derive(Clone, Debug, Object)]
pub struct SessionGiven {
    /// The secret, which is sent as a token is; shown this once.
    pub token: String,
    /// The session.
    pub session: SessionView,
}

/// What asking for a session comes to.
#[derive(ApiResponse)]
pub enum Asked {
    /// Show the code, and ask again with `POST /auth/code`.
    #[oai(status = 201)]
    Waiting(Json<SessionAsked>),
}

/// What a code comes to.
#[derive(ApiResponse)]
pub enum Redeemed {
    /// The session.
    #[oai(status = 201)]
    Given(Json<SessionGiven>),
    /// Nobody has let it in yet; ask again after `interval_seconds`.
    #[oai(status = 202)]
    NotYet,
}

#[OpenApi(tag = "Tags::Tokens")]
impl SessionsApi {
    /// List sessions
    ///
    /// One's own; with `admin` and without a narrowing, everybody's. Those that have ended are not there.
    #[oai(path = "/sessions", method = "get", operation_id = "list_sessions")]
    async fn list_sessions(
        &self,
        auth: Auth,
        request: &Request,
        /// At most this many, from 1 to 200.
        limit: Query<Option<u64>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<List<Page<SessionView>>, Problem> {
        let asked = page_request(limit.0, cursor.0.as_deref())?;
        let ctx = auth.ctx();
        let page = sessions::list(&ctx, &asked).await?;
        let current = ctx.principal.token_id;
        List::of(page, request, move |session| view(session, current))
    }

    /// End a session
    ///
    /// One's own; with `admin`, anybody's. It is over with the next request, on every server.
    #[oai(path = "/sessions/:id", method = "delete", operation_id = "end_session")]
    async fn end_session(
        &self,
        auth: Auth,
        /// Its id.
        id: Path<Uuid>,
    ) -> Result<Done, Problem> {
        sessions::end(&auth.ctx(), id.0).await?;
        Ok(Done::Done)
    }

    /// Ask for a session
    ///
    /// For a command line without a browser (as RFC 8628): it shows `user_code`, which somebody types at `verification_uri`, and
    /// changes `code` for a session once they have. Takes no token. No more than a quarter of all that wait may do so from one address.
    #[oai(path = "/auth/device", method = "post", operation_id = "ask_for_session")]
    async fn ask_for_session(&self, request: &Request, body: Json<AskForSession>) -> Result<Asked, Problem> {
        let app = request.data::<App>().ok_or_else(Problem::internal)?;
        let asking = Asking::parse(&body.0.challenge, &body.0.client).map_err(refuse)?;
        let waiting = command_line::ask(app, &asking, &network(request.remote_addr())).await?;
        let uri = format!("{}/login/device", app.config.server.base_url());
        let user_code = waiting.user_code.as_str().to_owned();
        Ok(Asked::Waiting(Json(SessionAsked {
            code: waiting.code,
            verification_uri_complete: format!("{uri}?code={user_code}"),
            verification_uri: uri,
            user_code,
            expires_at: Time(waiting.expires_at),
            interval_seconds: INTERVAL.num_seconds(),
        })))
    }

    /// Change a code for a session
    ///
    /// Once, and with the verifier that its challenge was made of. 202 while nobody has let the command line in. Takes no token.
    #[oai(path = "/auth/code", method = "post", operation_id = "redeem_code")]
    async fn redeem_code(&self, request: &Request, body: Json<RedeemCode>) -> Result<Redeemed, Problem> {
        let app = request.data::<App>().ok_or_else(Problem::internal)?;
        let request_id = RequestId::of(request).unwrap_or_default();
        let begun = command_line::redeem(app, &body.0.code, &body.0.verifier, &request_id).await?;
        let Some(begun) = begun else { return Ok(Redeemed::NotYet) };
        let current = begun.session.principal.token_id;
        Ok(Redeemed::Given(Json(SessionGiven {
            token: begun.secret.expose_secret().to_owned(),
            session: view(begun.session, current),
        })))
    }
}
