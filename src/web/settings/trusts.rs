//! `/settings/trusts`: which pipelines of an issuer may do what.

use askama::Template;
use poem::{Request, Response, Result};
use serde_json::Value;

use super::{Tab, listed, next, places, scopes, tabs};
use crate::{
    api::{body, page::page_request, trusts::CreateTrust, view::refuse},
    domain::{
        identity::trust::Trust,
        vocabulary::{Scope, Word as _},
    },
    http::problem::Problem,
    usecase::trusts,
    web::{
        form::{
            Form,
            blank::Blank,
            field::{Field, put},
            sent::{Sender, Sent, status, unseen},
        },
        named::{Peopled, named},
        page::{Frame, Visitor, app, page, see, to_login},
        when::When,
    },
};

const HERE: &str = "/settings/trusts";

/// The fields whose lines have two parts each.
const CLAIMS: &str = "claims";
const MAPPED: &str = "environment_map";

#[derive(Template)]
#[template(path = "trusts.html")]
struct Page {
    frame: Frame,
    tabs: Vec<Tab>,
    rows: Vec<Row>,
    /// Whether any issuer is configured.
    knows_issuers: bool,
    /// Where an issuer is configured, and whoever looks may make one.
    form: Option<Blank>,
    next: Option<String>,
}

struct Row {
    name: String,
    issuer: String,
    claims: Vec<(String, String)>,
    mapped: Vec<(String, String)>,
    scopes: String,
    groups: String,
    places: String,
    by: String,
    since: When,
    delete: Option<Blank>,
}

impl Peopled for Page {
    fn people(&mut self) -> Vec<&mut String> {
        self.rows.iter_mut().map(|row| &mut row.by).collect()
    }
}

/// Shows all trusts.
pub(super) async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    shown(Frame::of(app, Some(&visitor)).at("settings"), &visitor, &Form::of_query(&request), None).await
}

/// The form that was refused: the one in which a trust is made, or the one that deletes this one.
type Refused<'a> = (Option<&'a str>, Sent);

async fn shown(
    frame: Frame,
    visitor: &Visitor,
    query: &Form,
    refused: Option<Refused<'_>>,
) -> Result<Response> {
    let asked = page_request(None, query.given("cursor").as_deref())?;
    let found = trusts::list(&visitor.ctx, &asked).await.map_err(Problem::from)?;
    let sent = |of: Option<&str>| refused.as_ref().filter(|(name, _)| *name == of).map(|(_, sent)| sent);
    let row = |trust: Trust| {
        let sent = sent(Some(&trust.definition.name));
        row(&frame.base, visitor, trust, sent)
    };
    let rows = found.items.into_iter().map(row).collect();
    let next = found.next.map(|cursor| next(&frame.base, "trusts", &cursor));
    let issuers: Vec<_> =
        visitor.ctx.app.config.auth.issuer.iter().map(|issuer| issuer.name.as_str()).collect();
    let knows_issuers = !issuers.is_empty();
    let may = visitor.reach(Scope::Admin).is_some() && knows_issuers;
    let form = may.then(|| form(&frame.base, &visitor.csrf(), &issuers).after(sent(None)));
    let status = status(refused.as_ref().map(|(_, sent)| sent));
    let shown = Page { tabs: tabs(visitor, "trusts"), rows, knows_issuers, form, next, frame };
    page(status, &named(&visitor.ctx, shown).await?)
}

fn row(base: &str, visitor: &Visitor, trust: Trust, sent: Option<&Sent>) -> Row {
    let definition = trust.definition;
    let name = definition.name;
    let means = "What was exchanged by it stops working with the next request, also for what is running.";
    let delete =
        Blank::new(&format!("delete-{name}"), format!("{base}{HERE}/{name}/delete"), &visitor.csrf())
            .hidden("revision", &trust.revision)
            .folded("Delete …", means)
            .bad_button(&format!("Delete {name}"))
            .after(sent);
    Row {
        delete: visitor.reach(Scope::Admin).is_some().then_some(delete),
        scopes: scopes(&definition.scopes),
        groups: listed(definition.groups.iter().map(String::as_str)),
        places: places(&definition.places),
        issuer: definition.issuer,
        claims: definition.claims.into_iter().collect(),
        mapped: definition.environment_map.into_iter().flatten().collect(),
        by: trust.actor.subject,
        since: When::at(trust.created_at),
        name,
    }
}

/// What is asked of a trust.
fn form(base: &str, csrf: &str, issuers: &[&str]) -> Blank {
    let scopes = Scope::ALL.iter().map(|scope| {
        let (word, meaning) = scope.explained();
        (word, meaning.trim())
    });
    Blank::new("make", format!("{base}{HERE}"), csrf)
        .field(Field::line("name", "Name").hint("Of a-z, 0-9 and -, as in shop-prod.").required())
        .field(Field::choice("issuer", "Issuer", issuers.iter().map(|issuer| (*issuer, ""))))
        .field(
            Field::lines(CLAIMS, "Lets in who has")
                .required()
                .hint("A claim on each line, as in project_id=4711 or ref_protected=true; * stands for anything up to the next /."),
        )
        .field(Field::boxes("scopes", "They may", scopes))
        .field(Field::lines("groups", "They approve for the groups").hint("One on each line."))
        .field(Field::names("services", "Only for the services").hint("All where none is named."))
        .field(Field::names("environments", "Only in the environments").hint("All where none is named."))
        .field(
            Field::lines(MAPPED, "Their environments")
                .hint("What the issuer calls one, and what it is here, on each line: production=prod. Not looked at where it is empty."),
        )
        .button("Make the trust")
}

/// What stands in lines of two parts each, as the API has it; none where it is no list.
fn pairs(lines: &Value) -> Option<Value> {
    let pair = |line: &Value| {
        let line = line.as_str().unwrap_or_default();
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        (name.trim().to_owned(), Value::from(value.trim()))
    };
    Some(Value::Object(lines.as_array()?.iter().map(pair).collect()))
}

/// Makes a trust.
pub(super) async fn create(mut request: Request) -> Result<Response> {
    let sender = Sender::of(&mut request).await?;
    let frame = Frame::of(&sender.app, Some(&sender.visitor)).at("settings");
    let Err(problem) = made(&sender).await else { return Ok(see(&format!("{}{HERE}", frame.base))) };
    let sent = Sent::of(sender.form.clone(), problem)?;
    shown(frame, &sender.visitor, &Form::default(), Some((None, sent))).await
}

async fn made(sender: &Sender) -> Result<(), Problem> {
    let mut body = sender.body(&form("", "", &[]));
    for name in [CLAIMS, MAPPED] {
        if let Some(pairs) = body.get(name).and_then(pairs) {
            put(&mut body, name, pairs);
        }
    }
    let definition = body::read::<CreateTrust>(&sender.spec, &body)?.parse().map_err(refuse)?;
    trusts::create(&sender.visitor.ctx, &definition, &unseen).await?;
    Ok(())
}

/// Deletes a trust.
pub(super) async fn delete(mut request: Request) -> Result<Response> {
    let name = request.path_params::<String>()?;
    let sender = Sender::of(&mut request).await?;
    let frame = Frame::of(&sender.app, Some(&sender.visitor)).at("settings");
    let Err(error) = trusts::delete(&sender.visitor.ctx, &name, &sender.expected()).await else {
        return Ok(see(&format!("{}{HERE}", frame.base)));
    };
    let sent = Sent::of(sender.form.clone(), error.into())?;
    shown(frame, &sender.visitor, &Form::default(), Some((Some(&name), sent))).await
}
