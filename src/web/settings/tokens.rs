//! `/settings/tokens`: who may do what; making and revoking tokens.

use askama::Template;
use poem::{Request, Response, Result, http::StatusCode};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::{Tab, listed, next, places, scopes, tabs};
use crate::{
    api::{body, page::page_request, tokens::CreateToken, view::refuse},
    clock,
    domain::{
        credential::Credential,
        vocabulary::{Scope, Word as _},
    },
    http::problem::Problem,
    usecase::tokens::{self, Made},
    web::{
        form::{
            Form,
            blank::Blank,
            field::Field,
            sent::{Sender, Sent, status, unseen},
        },
        named::{Peopled, named},
        page::{Frame, Visitor, app, id, page, see, to_login},
        when::When,
    },
};

const HERE: &str = "/settings/tokens";

#[derive(Template)]
#[template(path = "tokens.html")]
struct Page {
    frame: Frame,
    tabs: Vec<Tab>,
    rows: Vec<Row>,
    form: Option<Blank>,
    next: Option<String>,
}

struct Row {
    name: String,
    subject: String,
    scopes: String,
    groups: String,
    places: String,
    since: When,
    until: Option<When>,
    revoked: Option<When>,
    is_over: bool,
    revoke: Option<Blank>,
}

#[derive(Template)]
#[template(path = "token.html")]
struct Shown {
    frame: Frame,
    name: String,
    subject: String,
    scopes: String,
    secret: String,
    /// Where the server is.
    server: String,
}

impl Peopled for Page {
    fn people(&mut self) -> Vec<&mut String> {
        self.rows.iter_mut().map(|row| &mut row.subject).collect()
    }
}

/// Shows all tokens, and the form in which one is made.
pub(super) async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    shown(Frame::of(app, Some(&visitor)).at("settings"), &visitor, &Form::of_query(&request), None).await
}

/// The form that was refused: the one in which a token is made, or the one that revokes this one.
type Refused = (Option<Uuid>, Sent);

async fn shown(frame: Frame, visitor: &Visitor, query: &Form, refused: Option<Refused>) -> Result<Response> {
    let asked = page_request(None, query.given("cursor").as_deref())?;
    let found = tokens::list(&visitor.ctx, &asked).await.map_err(Problem::from)?;
    let sent = |of: Option<Uuid>| refused.as_ref().filter(|(id, _)| *id == of).map(|(_, sent)| sent);
    let row = |token: Credential| {
        let id = token.principal.token_id;
        row(&frame.base, visitor, token, sent(Some(id)))
    };
    let rows = found.items.into_iter().map(row).collect();
    let form = form(&frame.base, &visitor.csrf()).after(sent(None));
    let form = visitor.reach(Scope::Admin).is_some().then_some(form);
    let next = found.next.map(|cursor| next(&frame.base, "tokens", &cursor));
    let status = status(refused.as_ref().map(|(_, sent)| sent));
    let shown = Page { tabs: tabs(visitor, "tokens"), rows, form, next, frame };
    page(status, &named(&visitor.ctx, shown).await?)
}

fn row(base: &str, visitor: &Visitor, token: Credential, sent: Option<&Sent>) -> Row {
    let is_good = token.clone().at(clock::now()).is_ok();
    let (id, name) = (token.principal.token_id, &token.principal.actor.token);
    let means = "It stops working with the next request, and every session that was begun with it ends.";
    let revoke = Blank::new(&format!("revoke-{id}"), format!("{base}{HERE}/{id}/revoke"), &visitor.csrf())
        .folded("Revoke …", means)
        .bad_button(&format!("Revoke {name}"))
        .after(sent);
    Row {
        revoke: (is_good && visitor.reach(Scope::Admin).is_some()).then_some(revoke),
        is_over: !is_good,
        scopes: scopes(&token.principal.scopes),
        groups: listed(token.principal.groups.iter().map(String::as_str)),
        places: places(&token.principal.narrowing),
        since: When::at(token.created_at),
        until: token.expires_at.map(When::at),
        revoked: token.revoked_at.map(When::at),
        name: token.principal.actor.token,
        subject: token.principal.actor.subject,
    }
}

fn form(base: &str, csrf: &str) -> Blank {
    Blank::new("make", format!("{base}{HERE}"), csrf)
        .field(Field::line("name", "Name").hint("Of a-z, 0-9 and -, as in ci-shop.").required())
        .field(
            Field::line("subject", "Whom it stands for").hint(
                "The person or pipeline that holds it; the ledger names them. The name where it is empty.",
            ),
        )
        .field(Field::boxes(
            "scopes",
            "It may",
            Scope::ALL.iter().map(|scope| {
                let (word, meaning) = scope.explained();
                (word, meaning.trim())
            }),
        ))
        .field(Field::lines("groups", "It approves for the groups").hint("One on each line."))
        .field(Field::names("services", "Only for the services").hint("All where none is named."))
        .field(Field::names("environments", "Only in the environments").hint("All where none is named."))
        .field(Field::moment("expires_at", "Until (UTC)").hint("Without an end where it is empty."))
        .button("Make the token")
}

/// Makes a token, and shows its secret this once.
pub(super) async fn create(mut request: Request) -> Result<Response> {
    let sender = Sender::of(&mut request).await?;
    let made = match made(&sender).await {
        Ok(made) => made,
        Err(problem) => return refused(&sender, None, problem).await,
    };
    let principal = made.token.principal;
    let shown = Shown {
        frame: Frame::of(&sender.app, Some(&sender.visitor)).at("settings"),
        name: principal.actor.token,
        subject: principal.actor.subject,
        scopes: scopes(&principal.scopes),
        secret: made.secret.expose_secret().to_owned(),
        server: sender.app.config.server.base_url(),
    };
    page(StatusCode::CREATED, &shown)
}

async fn made(sender: &Sender) -> Result<Made, Problem> {
    let new =
        body::read::<CreateToken>(&sender.spec, &sender.body(&form("", "")))?.parse().map_err(refuse)?;
    Ok(tokens::create(&sender.visitor.ctx, &new, &unseen).await?)
}

/// Revokes a token.
pub(super) async fn revoke(mut request: Request) -> Result<Response> {
    let id = id(&request, "token")?;
    let sender = Sender::of(&mut request).await?;
    match tokens::revoke(&sender.visitor.ctx, id).await {
        Ok(()) => Ok(see(&format!("{}{HERE}", sender.app.people.site.base()))),
        Err(error) => refused(&sender, Some(id), error.into()).await,
    }
}

async fn refused(sender: &Sender, which: Option<Uuid>, problem: Problem) -> Result<Response> {
    let sent = Sent::of(sender.form.clone(), problem)?;
    let frame = Frame::of(&sender.app, Some(&sender.visitor)).at("settings");
    shown(frame, &sender.visitor, &Form::default(), Some((which, sent))).await
}
