//! `/environments` and what belongs to each: its policy, its lockdown, its freezes and its settings.

mod calendar;
mod freezes;
mod one;
mod policy;
mod words;

use std::collections::BTreeMap;

use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};
use poem::{Request, Response, Result, Route, http::StatusCode};

use super::{
    address::address,
    form::Form,
    page::{Frame, Visitor, app, page, to_login},
    routes::Pages,
    when::When,
};
use crate::{
    api::page::page_request,
    clock,
    domain::{
        environment::Environment,
        page::{LIMIT_MAX, PageRequest},
        policy::words::in_words,
        vocabulary::{Mode, Scope},
    },
    http::{problem::Problem, spec::Spec},
    usecase::{
        environments,
        freezes::{self as windows, NoCalendar, Only},
    },
};

/// The pages of this folder.
pub fn add_to(routes: Route, spec: &mut Spec) -> Route {
    let policy = ("page_get_policy", "page_set_policy");
    let all = ("page_list_freeze_windows", "page_create_freeze_window");
    let edit = ("page_get_freeze_window", "page_update_freeze_window");
    Pages::new(routes, spec)
        .get("/environments", "page_list_environments", show)
        .get("/environments/{environment}", "page_get_environment", one::show)
        .post("/environments/{environment}/settings", "page_update_environment", one::edit)
        .post("/environments/{environment}/lockdown", "page_place_lockdown", one::lock)
        .post("/environments/{environment}/lockdown/lift", "page_lift_lockdown", one::lift)
        .both("/environments/{environment}/policy", (policy.0, policy::show), (policy.1, policy::set))
        .both("/freeze-windows", (all.0, freezes::show), (all.1, freezes::create))
        .both("/freeze-windows/{id}", (edit.0, freezes::show_one), (edit.1, freezes::edit))
        .post("/freeze-windows/{id}/delete", "page_delete_freeze_window", freezes::delete)
        .routes()
}

/// Whether somebody may do what this scope lets them for a whole environment.
fn may(visitor: &Visitor, scope: Scope, environment: &str) -> bool {
    let reach = visitor.reach(scope);
    reach.is_some_and(|reach| reach.services.is_none() && reach.allows_environment(environment))
}

#[derive(Template)]
#[template(path = "environments.html")]
struct Page {
    frame: Frame,
    rows: Vec<Row>,
    /// Whether it shows those that are archived.
    archived: bool,
    /// The next page of those.
    next: Option<String>,
}

struct Row {
    name: String,
    tier: &'static str,
    rank: i64,
    url: Option<String>,
    unconfirmed: bool,
    /// Why nothing starts there.
    locked: Option<String>,
    frozen: Option<Frozen>,
    /// The number of its policy, and the rules that are enforced.
    version: i64,
    enforced: Vec<&'static str>,
}

/// A freeze that holds or comes.
struct Frozen {
    holds: bool,
    at: When,
    names: String,
}

/// Shows all environments, in the order of promotion.
async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    let form = Form::of_query(&request);
    let archived = form.get("archived") == "true";
    let frame = Frame::of(app, Some(&visitor)).at("environments");
    let (listed, frozen, next) = if archived {
        let asked = page_request(None, form.given("cursor").as_deref())?;
        let found = environments::list(&visitor.ctx, true, &asked).await.map_err(Problem::from)?;
        let fields = |next: &str| {
            address(&format!("{}/environments", frame.base), [("archived", "true"), ("cursor", next)])
        };
        (found.items, Freezes::new(), found.next.as_deref().map(fields))
    } else {
        let mut all = all(&visitor).await?;
        all.sort_by_key(|environment| environment.settings.rank);
        (all, frozen(&visitor, clock::now()).await?, None)
    };
    let rows = listed.into_iter().map(|environment| row(environment, &frozen)).collect();
    page(StatusCode::OK, &Page { frame, rows, archived, next })
}

/// All that are in use: they are the columns of the board.
async fn all(visitor: &Visitor) -> Result<Vec<Environment>, Problem> {
    let mut all = Vec::new();
    let mut asked = PageRequest { limit: LIMIT_MAX, after: None };
    loop {
        let part = environments::list(&visitor.ctx, false, &asked).await?;
        all.extend(part.items);
        asked.after = all.last().map(|last: &Environment| last.name.to_string());
        if part.next.is_none() {
            return Ok(all);
        }
    }
}

/// By the environment its first freeze: whether it holds, when it ends or begins, and what it is called.
type Freezes = BTreeMap<String, (bool, DateTime<Utc>, String)>;

/// The freezes that hold or come within thirty days.
async fn frozen(visitor: &Visitor, now: DateTime<Utc>) -> Result<Freezes, Problem> {
    let until = Some(now + TimeDelta::days(30));
    let calendar = match windows::calendar(&visitor.ctx, Only::default(), Some(now), until).await {
        Ok(calendar) => calendar,
        // There are more than can be told; each environment's own page tells its own.
        Err(NoCalendar::To(_)) => return Ok(Freezes::new()),
        Err(NoCalendar::Error(error)) => return Err(error.into()),
    };
    let mut found = Freezes::new();
    for (environment, intervals) in calendar.environments {
        let Some(first) = intervals.first() else { continue };
        let windows = first.windows.iter().filter_map(|place| calendar.windows.get(*place));
        let names: Vec<_> = windows.map(|window| window.definition.name.as_str()).collect();
        let holds = first.span.starts_at <= now;
        let at = if holds { first.span.ends_at } else { first.span.starts_at };
        found.insert(environment.name.to_string(), (holds, at, names.join(", ")));
    }
    Ok(found)
}

fn row(environment: Environment, frozen: &Freezes) -> Row {
    let frozen = frozen.get(environment.name.as_str());
    let frozen =
        frozen.map(|(holds, at, names)| Frozen { holds: *holds, at: When::at(*at), names: names.clone() });
    let rules = in_words(&environment.policy.policy);
    let enforced = rules.iter().filter(|said| said.mode == Mode::Enforce);
    Row {
        frozen,
        tier: environment.settings.tier.as_str(),
        rank: environment.settings.rank,
        url: environment.settings.url,
        unconfirmed: environment.unconfirmed,
        locked: environment.lockdown.map(|lockdown| lockdown.reason),
        version: environment.policy.version,
        enforced: enforced.map(|said| said.rule.as_str()).collect(),
        name: environment.name.to_string(),
    }
}
