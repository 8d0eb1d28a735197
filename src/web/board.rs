//! `/`: the board, which shows what runs where, now or at any moment of the past.

use askama::Template;
use chrono::{DateTime, Utc};
use poem::{Request, Response, Result};
use serde::Deserialize;

use super::{
    address::address,
    assets::Production,
    form::Form,
    moment::word,
    named::{Peopled, named},
    page::{Frame, Visitor, app, live, to_login},
    when::{Shown, When},
};
use crate::{
    api::{matrix::WRITER, page::page_request},
    domain::{
        matrix::{Filter, Label},
        vocabulary::Tier,
    },
    http::problem::Problem,
    usecase::matrix::{self, Ask},
};

/// How many services one page shows.
const SERVICES: usize = 100;

/// A matrix as it is answered.
#[derive(Deserialize)]
struct Matrix {
    as_of: DateTime<Utc>,
    environments: Vec<Environment>,
    services: Vec<Service>,
}

impl Matrix {
    /// How many deployments are under way.
    fn moving(&self) -> usize {
        self.services
            .iter()
            .flat_map(|service| &service.targets)
            .filter(|target| target.running.is_some())
            .count()
    }

    /// How production is, as far as it is shown.
    fn production(&self) -> Production {
        let of_tier = |environment: &&Environment| environment.tier == Tier::Production.as_str();
        let production: Vec<_> = self.environments.iter().filter(of_tier).collect();
        let is_there =
            |target: &&Target| production.iter().any(|environment| environment.name == target.environment);
        let mut targets = self.services.iter().flat_map(|service| &service.targets).filter(is_there);
        if production.iter().any(|environment| environment.locked_down) {
            Production::Troubled
        } else if targets.any(|target| target.running.is_some()) {
            Production::Moving
        } else {
            Production::Calm
        }
    }
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

#[derive(Template)]
#[template(path = "board.html")]
struct Board {
    frame: Frame,
    shown: Shown,
    /// How many deployments are under way.
    moving: usize,
    environments: Vec<Environment>,
    rows: Vec<Row>,
    /// What it is confined to, as it was asked for.
    asked: Asked,
    tiers: Vec<&'static str>,
    /// The next page.
    next: Option<String>,
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
    current: Option<Here>,
    /// What is on its way, and whether it is being taken away.
    running: Option<(Here, bool)>,
    behind: Option<i64>,
}

struct Here {
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
}

impl Asked {
    fn of(form: &Form) -> Self {
        let [service, owner, label, tier] =
            ["service", "owner", "label", "tier"].map(|name| form.get(name).trim().to_owned());
        Self { service, owner, label, tier }
    }

    fn filter(&self, form: &Form) -> Result<Filter, Problem> {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        Ok(Filter {
            service: some(&self.service),
            owner: some(&self.owner),
            label: some(&self.label).as_deref().map(Label::parse),
            tier: word(form, "tier", Tier::ALL, Tier::as_str)?,
            ..Filter::default()
        })
    }

    /// The address of the same board behind a service.
    fn address(&self, base: &str, cursor: &str) -> String {
        let Self { service, owner, label, tier } = self;
        let fields = [
            ("service", service.as_str()),
            ("owner", owner),
            ("label", label),
            ("tier", tier),
            ("cursor", cursor),
        ];
        address(&format!("{base}/"), fields)
    }

    fn is_confined(&self) -> bool {
        [&self.service, &self.owner, &self.label, &self.tier].iter().any(|field| !field.is_empty())
    }
}

/// Shows the board to whoever has signed in.
pub async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    let form = Form::of_query(&request);
    let asked = Asked::of(&form);
    let after = page_request(None, form.given("cursor").as_deref())?.after;
    let ask = Ask { filter: asked.filter(&form)?, limit: Some(SERVICES), after };
    let as_of = visitor.as_of();
    let sheet = matrix::get(&visitor.ctx, ask, as_of, WRITER, &|_| false).await.map_err(Problem::from)?;
    let written = sheet.written.ok_or_else(Problem::internal)?;
    let matrix: Matrix = serde_json::from_slice(&written.body).map_err(|error| {
        tracing::error!(%error, "a matrix could not be read back");
        Problem::internal()
    })?;
    let frame = Frame::of(app, Some(&visitor)).at("board").telling().showing(matrix.production());
    let server = app.config.server.base_url();
    let board = Board::new(frame, matrix, asked, as_of.is_some(), sheet.next.as_deref(), server);
    live(&named(&visitor.ctx, board).await?)
}

impl Peopled for Board {
    fn people(&mut self) -> Vec<&mut String> {
        let cells = self.rows.iter_mut().flat_map(|row| &mut row.cells);
        let there = cells
            .flat_map(|cell| cell.current.iter_mut().chain(cell.running.iter_mut().map(|(here, _)| here)));
        there.map(|here| &mut here.by).collect()
    }
}

impl Board {
    fn new(
        frame: Frame,
        matrix: Matrix,
        asked: Asked,
        is_past: bool,
        next: Option<&str>,
        server: String,
    ) -> Self {
        let at = matrix.as_of;
        Self {
            next: next.map(|next| asked.address(&frame.base, next)),
            moving: matrix.moving(),
            rows: matrix.services.into_iter().map(|service| row(service, at)).collect(),
            environments: matrix.environments,
            shown: Shown::of(is_past.then_some(at), at),
            asked,
            tiers: Tier::ALL.iter().map(|tier| tier.as_str()).collect(),
            server,
            frame,
        }
    }
}

fn row(service: Service, at: DateTime<Utc>) -> Row {
    let cell = |target: Target| Cell {
        environment: target.environment,
        current: target.current.map(|current| here(current, at)),
        running: target.running.map(|running| {
            let removal = running.removal;
            (here(running, at), removal)
        }),
        behind: target.behind.filter(|behind| *behind > 0),
    };
    Row { name: service.name, cells: service.targets.into_iter().map(cell).collect() }
}

fn here(occupant: Occupant, at: DateTime<Utc>) -> Here {
    Here {
        version: occupant.version,
        commit: occupant.commit_sha.map(|commit| commit.chars().take(8).collect()),
        since: When::of(occupant.since, at),
        by: occupant.actor.subject,
    }
}
