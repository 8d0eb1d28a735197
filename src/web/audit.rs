//! `/audit`: what happened, in order, and how anybody finds out that nothing of it was changed.

use askama::Template;
use chrono::{DateTime, Utc};
use poem::{Request, Response, Result, Route, http::StatusCode};
use serde_json::Value;

use super::{
    address::address,
    form::Form,
    named::{Peopled, named},
    page::{Frame, Visitor, app, page, to_login},
    routes::Pages,
    when::When,
};
use crate::{
    api::view::bad_query,
    clock,
    domain::{
        event::{Event, EventKind, Filter, Stretch},
        page::LIMIT_DEFAULT,
        vocabulary::Order,
    },
    http::{problem::Problem, spec::Spec},
    usecase::events,
    visible,
};

/// The page of this file.
pub fn add_to(routes: Route, spec: &mut Spec) -> Route {
    Pages::new(routes, spec).get("/audit", "page_list_events", show).routes()
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    frame: Frame,
    kinds: &'static [&'static str],
    asked: Asked,
    rows: Vec<Row>,
    /// The number of the last event that is sealed, its hash, and when that was.
    head: i64,
    hash: String,
    sealed: Option<When>,
    next: Option<String>,
}

/// What the log is confined to.
struct Asked {
    kind: String,
    service: String,
    environment: String,
    order: Order,
}

struct Row {
    seq: i64,
    hash: String,
    when: When,
    kind: String,
    by: String,
    /// The token that acted, where it is called otherwise than whom it stands for.
    token: Option<String>,
    service: Option<String>,
    environment: Option<String>,
    version: Option<String>,
    deployment: Option<String>,
    request: Option<String>,
    data: String,
}

impl Peopled for Page {
    fn people(&mut self) -> Vec<&mut String> {
        self.rows.iter_mut().map(|row| &mut row.by).collect()
    }
}

impl Asked {
    fn of(query: &Form) -> Self {
        let [kind, service, environment] =
            ["kind", "service", "environment"].map(|name| query.get(name).trim().to_owned());
        // People look for what happened last.
        let order = query.get("order").parse().unwrap_or(Order::NewestFirst);
        Self { kind, service, environment, order }
    }

    fn filter(&self) -> Filter {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        Filter {
            kind: some(&self.kind),
            service: some(&self.service),
            environment: some(&self.environment),
            ..Filter::default()
        }
    }

    /// Whether it is confined to this kind.
    fn is_of(&self, kind: &str) -> bool {
        self.kind == kind
    }

    /// Whether it begins at the end of the log.
    fn is_newest_first(&self) -> bool {
        self.order == Order::NewestFirst
    }

    /// The address of what comes behind an event.
    fn behind(&self, base: &str, seq: i64) -> String {
        let Self { kind, service, environment, order } = self;
        let cursor = seq.to_string();
        let fields = [
            ("kind", kind.as_str()),
            ("service", service),
            ("environment", environment),
            ("order", order.as_str()),
            ("cursor", &cursor),
        ];
        address(&format!("{base}/audit"), fields)
    }
}

/// Shows a part of the log.
async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    let query = Form::of_query(&request);
    let asked = Asked::of(&query);
    let from = query.given("cursor").map(|cursor| cursor.parse::<i64>()).transpose();
    let from =
        from.map_err(|_no_number| bad_query("cursor", "invalid-cursor", "must be the number of an event"))?;
    let stretch = Stretch { order: asked.order, from, limit: LIMIT_DEFAULT };
    let log = events::list(&visitor.ctx, asked.filter(), stretch).await.map_err(Problem::from)?;
    let (head, sealed_at) = events::head(&visitor.ctx).await.map_err(Problem::from)?;
    let frame = Frame::of(app, Some(&visitor)).at("audit");
    let now = clock::now();
    let shown = Page {
        kinds: EventKind::NAMES,
        rows: log.events.into_iter().filter_map(|event| row(event, now)).collect(),
        head: head.seq,
        hash: head.hash,
        sealed: sealed_at.map(|at| When::of(at, now)),
        next: log.next.map(|seq| asked.behind(&frame.base, seq)),
        asked,
        frame,
    };
    page(StatusCode::OK, &named(&visitor.ctx, shown).await?)
}

fn row(event: Event, now: DateTime<Utc>) -> Option<Row> {
    let seal = event.seal?;
    let data = serde_json::from_str::<Value>(&event.data);
    let data = data.and_then(|data| serde_json::to_string_pretty(&data)).unwrap_or(event.data);
    let data = visible::json(&data).into_owned();
    let actor = event.actor;
    Some(Row {
        seq: seal.seq,
        hash: seal.hash,
        when: When::of(event.at, now),
        kind: event.kind,
        token: (actor.token != actor.subject).then_some(actor.token),
        by: actor.subject,
        service: event.service,
        environment: event.environment,
        version: event.version,
        deployment: event.deployment_id.map(|id| id.to_string()),
        request: event.request_id,
        data: if data == "{}" { String::new() } else { data },
    })
}
