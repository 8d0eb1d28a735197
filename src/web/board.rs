//! `/`: the board, which shows what runs where, now or at any moment of the past.

use std::collections::HashMap;

use askama::Template;
use chrono::{DateTime, Utc};
use poem::{Request, Response, Result};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    address::address,
    deployments::Choice,
    form::Form,
    moment::word,
    named::{Peopled, named},
    page::{Frame, Visitor, app, live, see, to_login},
    rows::short,
    when::{Shown, When},
};
use crate::{
    api::{matrix::WRITER, page::page_request},
    domain::{
        deployment::{self, Progress},
        gate::rules::Shut,
        matrix::{Filter, Label, Production, State},
        page::{LIMIT_MAX, PageRequest},
        vocabulary::{Only, Status, Tier},
    },
    http::problem::Problem,
    usecase::{
        context::Ctx,
        deployments::read,
        error::Error,
        freezes::{self, ShutIn},
        matrix::{self, Ask},
    },
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
    /// Whether anything of it is under way.
    fn moves(&self) -> bool {
        self.services.iter().flat_map(|service| &service.targets).any(|target| target.running.is_some())
    }
}

#[derive(Deserialize)]
struct Environment {
    name: String,
    tier: String,
    unconfirmed: bool,
    locked_down: bool,
    #[serde(skip)]
    frozen: Option<Frozen>,
}

/// A freeze that holds: when it ends, if that can be told.
struct Frozen(Option<When>);

impl From<Shut> for Frozen {
    fn from(shut: Shut) -> Self {
        Self(shut.until.map(When::at))
    }
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
    deployment_id: Uuid,
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
    state: State,
    environments: Vec<Environment>,
    rows: Vec<Row>,
    /// What it is confined to, as it was asked for.
    asked: Asked,
    tiers: Vec<&'static str>,
    /// The same board with other services on it.
    choices: Vec<Choice>,
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
    /// How far that is, as its pipeline last said.
    progress: Progress,
    behind: Option<i64>,
    /// Where it is frozen, and its environment is not for all.
    frozen: Option<Frozen>,
}

/// What is known of now beside the matrix.
#[derive(Default)]
struct Beside {
    /// How all is, also what is not on this page.
    state: State,
    /// What pipelines last said, by deployment.
    progress: HashMap<Uuid, Progress>,
    /// What is frozen, in which environment.
    shut: Vec<ShutIn>,
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
    only: String,
}

impl Asked {
    fn of(form: &Form) -> Self {
        let [service, owner, label, tier, only] =
            ["service", "owner", "label", "tier", "only"].map(|name| form.get(name).trim().to_owned());
        Self { service, owner, label, tier, only }
    }

    fn filter(&self, form: &Form) -> Result<Filter, Problem> {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        Ok(Filter {
            part: some(&self.service.to_lowercase()),
            owner: some(&self.owner),
            label: some(&self.label).as_deref().map(Label::parse),
            tier: word(form, "tier", Tier::ALL, Tier::as_str)?,
            only: word(form, "only", Only::ALL, Only::as_str)?,
            ..Filter::default()
        })
    }

    /// The address of the same board behind a service.
    fn address(&self, base: &str, cursor: &str) -> String {
        let Self { service, owner, label, tier, only } = self;
        let fields = [
            ("service", service.as_str()),
            ("owner", owner),
            ("label", label),
            ("tier", tier),
            ("only", only),
            ("cursor", cursor),
        ];
        address(&format!("{base}/"), fields)
    }

    /// The same board with all services, or only with some.
    fn choices(&self, base: &str) -> Vec<Choice> {
        let choices = [("all services", ""), ("what differs", "differs"), ("what moves", "moves")];
        let choice = |(words, only): (&str, &str)| Choice {
            words: words.to_owned(),
            address: Self { only: only.to_owned(), ..self.clone() }.address(base, ""),
            is_chosen: self.only == only,
        };
        choices.into_iter().map(choice).collect()
    }

    fn is_confined(&self) -> bool {
        [&self.service, &self.owner, &self.label, &self.tier, &self.only]
            .iter()
            .any(|field| !field.is_empty())
    }
}

/// Shows the board to whoever has signed in.
pub async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    if visitor.ctx.principal.scopes.is_empty() {
        // Their account says whom to ask.
        return Ok(see(&format!("{}/account", app.people.site.base())));
    }
    let form = Form::of_query(&request);
    let asked = Asked::of(&form);
    let after = page_request(None, form.given("cursor").as_deref())?.after;
    let ask = Ask { filter: asked.filter(&form)?, limit: Some(SERVICES), after };
    let as_of = visitor.as_of();
    let sheet = matrix::get(&visitor.ctx, ask, as_of, WRITER, &|_| false).await.map_err(Problem::from)?;
    let written = sheet.written.ok_or_else(Problem::internal)?;
    let matrix: Matrix = serde_json::from_slice(&written.body.joined()).map_err(|error| {
        tracing::error!(%error, "a matrix could not be read back");
        Problem::internal()
    })?;
    let frame = Frame::of(app, Some(&visitor)).at("board").telling();
    let beside = match as_of {
        None => Beside::read(&visitor.ctx, &matrix, sheet.state).await.map_err(Problem::from)?,
        Some(_) => Beside::default(),
    };
    let next = sheet.next.map(|next| asked.address(&frame.base, &next));
    let server = app.config.server.base_url();
    let board = Board::new(frame, (matrix, beside), asked, (as_of.is_some(), next), server);
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
        (mut matrix, mut beside): (Matrix, Beside),
        asked: Asked,
        (is_past, next): (bool, Option<String>),
        server: String,
    ) -> Self {
        let at = matrix.as_of;
        for environment in &mut matrix.environments {
            environment.frozen = beside.shut(&environment.name).and_then(|shut| shut.all).map(Frozen::from);
        }
        Self {
            next,
            state: beside.state,
            choices: asked.choices(&frame.base),
            rows: matrix.services.into_iter().map(|service| row(service, &mut beside, at)).collect(),
            environments: matrix.environments,
            shown: Shown::of(is_past.then_some(at), at),
            asked,
            tiers: Tier::ALL.iter().map(|tier| tier.as_str()).collect(),
            server,
            frame: frame.showing(beside.state.production),
        }
    }
}

impl Beside {
    async fn read(ctx: &Ctx, matrix: &Matrix, state: State) -> Result<Self, Error> {
        let names: Vec<_> = matrix.services.iter().map(|service| service.name.as_str()).collect();
        let shut = freezes::shut_for(ctx, &names).await?;
        if !matrix.moves() {
            return Ok(Self { state, shut, ..Self::default() });
        }
        let running = deployment::Filter { status: Some(Status::Running), ..deployment::Filter::default() };
        let all = PageRequest { after: None, limit: LIMIT_MAX };
        let running = read::list(ctx, &running, &all).await?.items;
        let progress =
            running.into_iter().map(|named| (named.deployment.id, named.deployment.progress.clone()));
        Ok(Self { state, progress: progress.collect(), shut })
    }

    /// What is frozen in an environment.
    fn shut(&self, environment: &str) -> Option<&ShutIn> {
        self.shut.iter().find(|shut| shut.environment == environment)
    }

    /// The freeze of a service that is not the one of its whole environment.
    fn own(&self, service: &str, environment: &str) -> Option<Frozen> {
        let shut = self.shut(environment)?;
        let own = shut.services.get(service).copied();
        own.filter(|own| Some(*own) != shut.all).map(Frozen::from)
    }
}

fn row(service: Service, beside: &mut Beside, at: DateTime<Utc>) -> Row {
    let name = service.name.clone();
    let cell = |target: Target| Cell {
        frozen: beside.own(&name, &target.environment),
        progress: target
            .running
            .as_ref()
            .and_then(|running| beside.progress.remove(&running.deployment_id))
            .unwrap_or_default(),
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
        commit: occupant.commit_sha.as_deref().map(short),
        since: When::of(occupant.since, at),
        by: occupant.actor.subject,
    }
}
