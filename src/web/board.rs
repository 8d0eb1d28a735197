//! `/`: the board, which shows what runs where, now or at any moment of the past.

use std::collections::BTreeSet;

use askama::Template;
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use poem::{Request, Response, Result};
use serde::Deserialize;
use url::form_urlencoded;

use super::{
    assets,
    form::Form,
    page::{Frame, Visitor, app, live, to_login},
    when::{When, stamp, whole},
};
use crate::{
    api::{matrix::WRITER, page::page_request},
    domain::{
        matrix::{Filter, Label},
        people::Names,
        vocabulary::Tier,
    },
    http::problem::{Code, FieldError, Problem},
    usecase::{
        matrix::{self, Ask},
        people,
    },
};

/// How many services one page shows.
const SERVICES: usize = 100;

/// How a moment is written into its field, in UTC.
const FIELD: &str = "%Y-%m-%dT%H:%M";

/// A matrix as it is answered.
#[derive(Deserialize)]
struct Matrix {
    as_of: DateTime<Utc>,
    environments: Vec<Environment>,
    services: Vec<Service>,
}

#[derive(Deserialize)]
struct Environment {
    name: String,
    tier: String,
    unconfirmed: bool,
    locked_down: bool,
}

#[derive(Deserialize)]
struct Service {
    name: String,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    environment: String,
    current: Option<Occupant>,
    running: Option<Occupant>,
    behind: Option<i64>,
}

#[derive(Deserialize)]
struct Occupant {
    version: String,
    commit_sha: Option<String>,
    since: DateTime<Utc>,
    actor: Actor,
    removal: bool,
}

#[derive(Deserialize)]
struct Actor {
    subject: String,
}

impl Matrix {
    /// Whom it names.
    fn subjects(&self) -> BTreeSet<String> {
        let targets = self.services.iter().flat_map(|service| &service.targets);
        let occupants = targets.flat_map(|target| target.current.iter().chain(&target.running));
        occupants.map(|occupant| occupant.actor.subject.clone()).collect()
    }
}

#[derive(Template)]
#[template(path = "board.html")]
struct Board {
    frame: Frame,
    /// What keeps it up to date.
    script: &'static str,
    environments: Vec<Environment>,
    rows: Vec<Row>,
    /// The moment that it shows, for people and for programs.
    at: String,
    stamp: String,
    /// Whether that is over.
    is_past: bool,
    /// What it is confined to, as it was asked for.
    asked: Asked,
    tiers: Vec<&'static str>,
    /// The next page, and other moments.
    next: Option<String>,
    moments: Vec<(&'static str, String)>,
    /// What puts the first line on it.
    server: String,
}

struct Row {
    name: String,
    cells: Vec<Cell>,
}

/// A target in words.
struct Cell {
    environment: String,
    current: Option<Shown>,
    /// What is on its way, and whether it is being taken away.
    running: Option<(Shown, bool)>,
    behind: Option<i64>,
}

struct Shown {
    version: String,
    commit: Option<String>,
    since: When,
    by: String,
}

/// What a board is confined to.
#[derive(Clone, Default)]
struct Asked {
    service: String,
    owner: String,
    label: String,
    tier: String,
    as_of: String,
}

impl Asked {
    fn of(form: &Form) -> Self {
        let [service, owner, label, tier, as_of] =
            ["service", "owner", "label", "tier", "as_of"].map(|name| form.get(name).trim().to_owned());
        Self { service, owner, label, tier, as_of }
    }

    fn filter(&self) -> Result<Filter, Problem> {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        let tier = |text: String| {
            let found = Tier::ALL.iter().find(|tier| tier.as_str() == text);
            found.copied().ok_or_else(|| wrong("tier", "must be one of those that the page offers"))
        };
        let tier = some(&self.tier).map(tier).transpose()?;
        Ok(Filter {
            service: some(&self.service),
            owner: some(&self.owner),
            label: some(&self.label).as_deref().map(Label::parse),
            tier,
            ..Filter::default()
        })
    }

    /// The moment that is asked for; a field of a form has no zone, and means UTC.
    fn moment(&self) -> Result<Option<DateTime<Utc>>, Problem> {
        if self.as_of.is_empty() {
            return Ok(None);
        }
        let whole = DateTime::parse_from_rfc3339(&self.as_of).map(|at| at.to_utc());
        let field = || NaiveDateTime::parse_from_str(&self.as_of, FIELD).map(|at| at.and_utc());
        let at = whole.or_else(|_other| field());
        at.map(Some).map_err(|_unread| wrong("as_of", "must be a moment, such as 2026-03-04T12:00 (UTC)"))
    }

    /// The address of the same board at another moment, or behind a service.
    fn address(&self, base: &str, as_of: &str, cursor: Option<&str>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let fields = [
            ("service", &self.service),
            ("owner", &self.owner),
            ("label", &self.label),
            ("tier", &self.tier),
        ];
        for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
            query.append_pair(name, value);
        }
        if !as_of.is_empty() {
            query.append_pair("as_of", as_of);
        }
        if let Some(cursor) = cursor {
            query.append_pair("cursor", cursor);
        }
        match query.finish() {
            query if query.is_empty() => format!("{base}/"),
            query => format!("{base}/?{query}"),
        }
    }

    fn is_confined(&self) -> bool {
        [&self.service, &self.owner, &self.label, &self.tier].iter().any(|field| !field.is_empty())
    }
}

fn wrong(field: &str, detail: &str) -> Problem {
    let pointer = format!("/query/{field}");
    Problem::new(Code::InvalidRequest, "The board cannot be shown so.").errors(vec![FieldError::new(
        pointer,
        "invalid",
        detail.to_owned(),
    )])
}

/// Shows the board to whoever has signed in.
pub async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    let form = Form::of_query(&request);
    let asked = Asked::of(&form);
    let after = page_request(None, form.given("cursor").as_deref())?.after;
    let ask = Ask { filter: asked.filter()?, limit: Some(SERVICES), after };
    let as_of = asked.moment()?;
    let sheet = matrix::get(&visitor.ctx, ask, as_of, WRITER, &|_| false).await.map_err(Problem::from)?;
    let written = sheet.written.ok_or_else(Problem::internal)?;
    let matrix: Matrix = serde_json::from_slice(&written.body).map_err(|error| {
        tracing::error!(%error, "a matrix could not be read back");
        Problem::internal()
    })?;
    let frame = Frame::of(app, Some(&visitor));
    let names = people::names(&visitor.ctx, matrix.subjects()).await.map_err(Problem::from)?;
    live(&Board::new(
        frame,
        matrix,
        &names,
        asked,
        as_of.is_some(),
        sheet.next.as_deref(),
        app.config.server.base_url(),
    ))
}

impl Board {
    fn new(
        frame: Frame,
        matrix: Matrix,
        names: &Names,
        asked: Asked,
        is_past: bool,
        next: Option<&str>,
        server: String,
    ) -> Self {
        let at = matrix.as_of;
        let before =
            |span: TimeDelta| asked.address(&frame.base, &(at - span).format(FIELD).to_string(), None);
        let mut moments = vec![
            ("an hour before", before(TimeDelta::hours(1))),
            ("a day before", before(TimeDelta::days(1))),
            ("a week before", before(TimeDelta::weeks(1))),
        ];
        if is_past {
            moments.push(("now", asked.address(&frame.base, "", None)));
        }
        Self {
            next: next.map(|next| asked.address(&frame.base, &asked.as_of, Some(next))),
            moments,
            rows: matrix.services.into_iter().map(|service| row(service, names, at)).collect(),
            environments: matrix.environments,
            at: whole(at),
            stamp: stamp(at),
            is_past,
            asked: Asked {
                as_of: if is_past { at.format(FIELD).to_string() } else { String::new() },
                ..asked
            },
            tiers: Tier::ALL.iter().map(|tier| tier.as_str()).collect(),
            server,
            script: assets::LIVE.path(),
            frame,
        }
    }
}

fn row(service: Service, names: &Names, at: DateTime<Utc>) -> Row {
    let cell = |target: Target| Cell {
        environment: target.environment,
        current: target.current.map(|current| shown(current, names, at)),
        running: target.running.map(|running| {
            let removal = running.removal;
            (shown(running, names, at), removal)
        }),
        behind: target.behind.filter(|behind| *behind > 0),
    };
    Row { name: service.name, cells: service.targets.into_iter().map(cell).collect() }
}

fn shown(occupant: Occupant, names: &Names, at: DateTime<Utc>) -> Shown {
    Shown {
        version: occupant.version,
        commit: occupant.commit_sha.map(|commit| commit.chars().take(8).collect()),
        since: When::of(occupant.since, at),
        by: names.shown(&occupant.actor.subject),
    }
}
