//! `/settings/trusts`: which pipelines of an issuer may do what.

use askama::Template;
use poem::{Request, Response, Result};

use super::{Tab, listed, next, places, scopes, tabs};
use crate::{
    api::page::page_request,
    domain::{identity::trust::Trust, vocabulary::Scope},
    http::problem::Problem,
    usecase::trusts,
    web::{
        form::{
            Form,
            blank::Blank,
            sent::{Sender, Sent, status},
        },
        named::{Peopled, named},
        page::{Frame, Visitor, app, page, see, to_login},
        when::When,
    },
};

const HERE: &str = "/settings/trusts";

#[derive(Template)]
#[template(path = "trusts.html")]
struct Page {
    frame: Frame,
    tabs: Vec<Tab>,
    rows: Vec<Row>,
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

async fn shown(
    frame: Frame,
    visitor: &Visitor,
    query: &Form,
    refused: Option<(&str, Sent)>,
) -> Result<Response> {
    let asked = page_request(None, query.given("cursor").as_deref())?;
    let found = trusts::list(&visitor.ctx, &asked).await.map_err(Problem::from)?;
    let row = |trust: Trust| {
        let sent = refused.as_ref().filter(|(name, _)| *name == trust.definition.name);
        row(&frame.base, visitor, trust, sent.map(|(_, sent)| sent))
    };
    let rows = found.items.into_iter().map(row).collect();
    let next = found.next.map(|cursor| next(&frame.base, "trusts", &cursor));
    let status = status(refused.as_ref().map(|(_, sent)| sent));
    let shown = Page { tabs: tabs(visitor, "trusts"), rows, next, frame };
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

/// Deletes a trust.
pub(super) async fn delete(mut request: Request) -> Result<Response> {
    let name = request.path_params::<String>()?;
    let sender = Sender::of(&mut request).await?;
    let frame = Frame::of(&sender.app, Some(&sender.visitor)).at("settings");
    let Err(error) = trusts::delete(&sender.visitor.ctx, &name, &sender.expected()).await else {
        return Ok(see(&format!("{}{HERE}", frame.base)));
    };
    let sent = Sent::of(sender.form.clone(), error.into())?;
    shown(frame, &sender.visitor, &Form::default(), Some((&name, sent))).await
}
