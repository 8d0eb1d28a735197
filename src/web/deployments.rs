//! `/deployments`: what was deployed, newest first, confined by links and a form.

use askama::Template;
use chrono::{DateTime, Datelike as _, Utc};
use poem::{Request, Response, Result};

use super::{
    address::address,
    form::Form,
    moment::{moment, word, wrong},
    named::{Peopled, named},
    page::{Frame, Visitor, app, live, to_login},
    rows::DeploymentRow,
    when::Shown,
};
use crate::{
    api::page::page_request,
    clock,
    domain::{
        deployment::Filter,
        people,
        vocabulary::{Kind, Status},
    },
    http::problem::Problem,
    usecase::deployments::read,
};

/// The fields by which the list is confined, as they were asked for.
#[derive(Clone, Default)]
struct Asked {
    service: String,
    environment: String,
    version: String,
    actor: String,
    status: String,
    kind: String,
    since: String,
    until: String,
}

/// A link that confines the list otherwise in one field.
pub struct Choice {
    pub words: String,
    pub address: String,
    /// Whether that is how it is confined.
    pub is_chosen: bool,
}

#[derive(Template)]
#[template(path = "deployments.html")]
struct Page {
    frame: Frame,
    shown: Shown,
    asked: Asked,
    statuses: Vec<Choice>,
    kinds: Vec<Choice>,
    spans: Vec<Choice>,
    rows: Vec<DeploymentRow>,
    /// Whether what happens next is to be seen on it.
    is_live: bool,
    next: Option<String>,
}

impl Asked {
    fn of(form: &Form) -> Self {
        let field = |name| form.get(name).trim().to_owned();
        Self {
            service: field("service"),
            environment: field("environment"),
            version: field("version"),
            actor: field("actor"),
            status: field("status"),
            kind: field("kind"),
            since: field("since"),
            until: field("until"),
        }
    }

    fn filter(&self, form: &Form, as_of: Option<DateTime<Utc>>) -> Result<Filter, Problem> {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        let now = as_of.unwrap_or_else(clock::now);
        let (since, until) = (moment(form, "since", now)?, moment(form, "until", now)?);
        if let (Some(since), Some(until)) = (since, until)
            && until <= since
        {
            return Err(wrong("until", "must come after `since`"));
        }
        if as_of.is_some() && !self.status.is_empty() {
            return Err(wrong("status", "is told of now alone, not of the past"));
        }
        Ok(Filter {
            service: some(&self.service),
            environment: some(&self.environment),
            version: some(&self.version),
            actor: some(&self.actor).map(|actor| people::subject_in(&actor).to_owned()),
            status: word(form, "status", Status::ALL, Status::as_str)?,
            kind: word(form, "kind", Kind::ALL, Kind::as_str)?,
            since,
            until: until.into_iter().chain(as_of).min(),
        })
    }

    fn address(&self, base: &str, cursor: &str) -> String {
        let Self { service, environment, version, actor, status, kind, since, until } = self;
        let fields = [
            ("service", service.as_str()),
            ("environment", environment),
            ("version", version),
            ("actor", actor),
            ("status", status),
            ("kind", kind),
            ("since", since),
            ("until", until),
            ("cursor", cursor),
        ];
        address(&format!("{base}/deployments"), fields)
    }

    /// Links to the same list with another value in one field.
    fn choices(&self, base: &str, values: &[(&str, &str)], set: fn(&mut Self) -> &mut String) -> Vec<Choice> {
        let choice = |(words, value): &(&str, &str)| {
            let mut other = self.clone();
            let is_chosen = std::mem::replace(set(&mut other), (*value).to_owned()) == *value;
            Choice { words: (*words).to_owned(), address: other.address(base, ""), is_chosen }
        };
        values.iter().map(choice).collect()
    }
}

impl Peopled for Page {
    fn people(&mut self) -> Vec<&mut String> {
        self.rows.iter_mut().map(|row| &mut row.by).collect()
    }
}

/// Lists deployments for whoever has signed in.
pub async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    let form = Form::of_query(&request);
    let asked = Asked::of(&form);
    let cursor = form.given("cursor");
    let page = page_request(None, cursor.as_deref())?;
    let as_of = visitor.as_of();
    let filter = asked.filter(&form, as_of)?;
    let found = read::list(&visitor.ctx, &filter, &page).await.map_err(Problem::from)?;
    let now = as_of.unwrap_or_else(clock::now);
    let frame = Frame::of(app, Some(&visitor)).at("deployments").telling();
    let base = frame.base.as_str();
    let words = |names: Vec<&'static str>| -> Vec<(&str, &str)> {
        std::iter::once(("all", "")).chain(names.into_iter().map(|name| (name, name))).collect()
    };
    let month = month(now);
    let spans =
        [("ever", ""), ("2 hours", "2h"), ("a day", "24h"), ("7 days", "7d"), ("this month", month.as_str())];
    // How it came out is told of now alone.
    let statuses = match as_of {
        None => words(Status::ALL.iter().map(|status| status.as_str()).collect()),
        Some(_) => Vec::new(),
    };
    let kinds = words(Kind::ALL.iter().map(|kind| kind.as_str()).collect());
    let page = Page {
        statuses: asked.choices(base, &statuses, |asked| &mut asked.status),
        kinds: asked.choices(base, &kinds, |asked| &mut asked.kind),
        spans: asked.choices(base, &spans, |asked| &mut asked.since),
        next: found.next.map(|next| asked.address(base, &next)),
        rows: DeploymentRow::all(found.items, now),
        shown: Shown::of(as_of, now),
        is_live: cursor.is_none() && as_of.is_none(),
        asked,
        frame,
    };
    live(&named(&visitor.ctx, page).await?)
}

/// The first day of the month.
fn month(now: DateTime<Utc>) -> String {
    format!("{:04}-{:02}-01", now.year(), now.month())
}
