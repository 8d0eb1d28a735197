//! `/settings/waivers`: vulnerabilities that do not stand in the way for a while.

use askama::Template;
use poem::{Request, Response, Result};
use uuid::Uuid;

use super::{Tab, places, tabs};
use crate::{
    api::{body, page::page_request, waivers::CreateWaiver},
    domain::{scan::spelled, vocabulary::Scope, waiver::Filter},
    http::problem::Problem,
    usecase::waivers::{self, Seen},
    web::{
        address::{address, segment},
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

const HERE: &str = "/settings/waivers";

#[derive(Template)]
#[template(path = "waivers.html")]
struct Page {
    frame: Frame,
    tabs: Vec<Tab>,
    asked: Asked,
    rows: Vec<Row>,
    form: Option<Blank>,
    next: Option<String>,
}

/// What the list is confined to.
#[derive(Default)]
struct Asked {
    vulnerability: String,
    service: String,
    environment: String,
    all: bool,
}

struct Row {
    vulnerability: String,
    /// Where its page is.
    address: String,
    reason: String,
    places: String,
    active: bool,
    until: When,
    withdrawn: Option<When>,
    by: String,
    withdraw: Option<Blank>,
}

impl Peopled for Page {
    fn people(&mut self) -> Vec<&mut String> {
        self.rows.iter_mut().map(|row| &mut row.by).collect()
    }
}

impl Asked {
    fn of(query: &Form) -> Self {
        let [vulnerability, service, environment] =
            ["vulnerability", "service", "environment"].map(|name| query.get(name).trim().to_owned());
        Self { vulnerability, service, environment, all: query.get("all") == "true" }
    }

    fn filter(&self) -> Filter {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        Filter {
            vulnerability: some(&self.vulnerability).map(|id| spelled(&id)),
            service: some(&self.service),
            environment: some(&self.environment),
            at: None,
        }
    }

    fn next(&self, base: &str, cursor: &str) -> String {
        let fields = [
            ("vulnerability", self.vulnerability.as_str()),
            ("service", &self.service),
            ("environment", &self.environment),
            ("all", if self.all { "true" } else { "" }),
            ("cursor", cursor),
        ];
        address(&format!("{base}{HERE}"), fields)
    }
}

/// Shows the waivers that hold, or all that ever did.
pub(super) async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    shown(Frame::of(app, Some(&visitor)).at("settings"), &visitor, &Form::of_query(&request), None).await
}

/// The form that was refused: the one in which a waiver is made, or the one that withdraws this one.
type Refused = (Option<Uuid>, Sent);

async fn shown(frame: Frame, visitor: &Visitor, query: &Form, refused: Option<Refused>) -> Result<Response> {
    let asked = Asked::of(query);
    let page_of = page_request(None, query.given("cursor").as_deref())?;
    let found = waivers::list(&visitor.ctx, &asked.filter(), asked.all, &page_of).await;
    let found = found.map_err(Problem::from)?;
    let sent = |of: Option<Uuid>| refused.as_ref().filter(|(id, _)| *id == of).map(|(_, sent)| sent);
    let reach = visitor.reach(Scope::Override);
    let row = |Seen { waiver, active }: Seen| {
        let definition = waiver.definition;
        let may = reach.as_ref().is_some_and(|reach| reach.covers(&definition.places)) && active;
        let means = format!("{} counts again, at once.", definition.vulnerability);
        let action = format!("{}{HERE}/{}/withdraw", frame.base, waiver.id);
        let withdraw = Blank::new(&format!("withdraw-{}", waiver.id), action, &visitor.csrf())
            .folded("Withdraw …", &means)
            .bad_button("Withdraw it");
        Row {
            withdraw: may.then(|| withdraw.after(sent(Some(waiver.id)))),
            places: places(&definition.places),
            address: format!("{}/vulnerabilities/{}", frame.base, segment(&definition.vulnerability)),
            vulnerability: definition.vulnerability,
            reason: definition.reason,
            active,
            until: When::at(definition.expires_at),
            withdrawn: waiver.withdrawn_at.map(When::at),
            by: waiver.actor.subject,
        }
    };
    let rows = found.items.into_iter().map(row).collect();
    let form = form(&frame.base, &visitor.csrf());
    let shown = Page {
        tabs: tabs(visitor, "waivers"),
        rows,
        form: reach.is_some().then(|| form.after(sent(None))),
        next: found.next.map(|cursor| asked.next(&frame.base, &cursor)),
        asked,
        frame,
    };
    let status = status(refused.as_ref().map(|(_, sent)| sent));
    page(status, &named(&visitor.ctx, shown).await?)
}

fn form(base: &str, csrf: &str) -> Blank {
    Blank::new("waive", format!("{base}{HERE}"), csrf)
        .field(
            Field::line("vulnerability", "Vulnerability")
                .hint("By any id that reports give it, such as CVE-2021-44228.")
                .required(),
        )
        .field(
            Field::area("reason", "Reason")
                .hint("Why it need not stand in the way: at least ten characters.")
                .required(),
        )
        .field(Field::moment("expires_at", "Until (UTC)").hint("Within a year.").required())
        .field(Field::names("services", "Only for the services").hint("All where none is named."))
        .field(Field::names("environments", "Only in the environments").hint("All where none is named."))
        .button("Waive it")
}

/// Waives a vulnerability.
pub(super) async fn create(mut request: Request) -> Result<Response> {
    let sender = Sender::of(&mut request).await?;
    finish(&sender, None, made(&sender).await).await
}

async fn made(sender: &Sender) -> Result<(), Problem> {
    let body = body::read::<CreateWaiver>(&sender.spec, &sender.body(&form("", "")))?;
    waivers::create(&sender.visitor.ctx, &body.draft(), &unseen).await?;
    Ok(())
}

/// Withdraws a waiver.
pub(super) async fn withdraw(mut request: Request) -> Result<Response> {
    let id = id(&request, "waiver")?;
    let sender = Sender::of(&mut request).await?;
    let done = waivers::withdraw(&sender.visitor.ctx, id).await.map_err(Problem::from);
    finish(&sender, Some(id), done).await
}

async fn finish(sender: &Sender, which: Option<Uuid>, done: Result<(), Problem>) -> Result<Response> {
    let frame = Frame::of(&sender.app, Some(&sender.visitor)).at("settings");
    let Err(problem) = done else { return Ok(see(&format!("{}{HERE}", frame.base))) };
    let sent = Sent::of(sender.form.clone(), problem)?;
    shown(frame, &sender.visitor, &Form::default(), Some((which, sent))).await
}
