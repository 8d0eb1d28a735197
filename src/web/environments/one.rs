//! `/environments/{environment}`: what holds there, why and since when, and changing it.

use askama::Template;
use chrono::{DateTime, Datelike as _, Utc};
use poem::{Request, Response, Result};
use serde_json::{Value, json};

use super::{
    calendar::{self, Month},
    freezes::{self, Row as Freeze},
    may, words,
};
use crate::{
    api::{body, environments::UpdateEnvironment, lockdown::PlaceLockdown, view::refuse},
    clock,
    domain::{
        environment::Environment,
        event::{Event, EventKind, Filter, Stretch},
        page::{LIMIT_MAX, PageRequest},
        policy::words::{Said, in_words},
        vocabulary::{Mode, Order, Scope, Tier},
    },
    http::problem::Problem,
    usecase::{
        environments,
        error::Error,
        events,
        freezes::{self as windows, NoCalendar, Only},
        lockdown::{self, Saw},
        people,
    },
    web::{
        form::{
            Form,
            blank::Blank,
            field::Field,
            sent::{Sender, Sent, status},
        },
        page::{Frame, Visitor, app, page, see, to_login},
        when::When,
    },
};

/// So many of the last changes of the policy are shown.
const CHANGES: u64 = 20;

#[derive(Template)]
#[template(path = "environment.html")]
struct Page {
    frame: Frame,
    name: String,
    tier: &'static str,
    rank: i64,
    url: Option<String>,
    unconfirmed: bool,
    archived: bool,
    locked: Option<Locked>,
    /// What may be done here, of that which whoever looks may do.
    forms: Forms,
    version: i64,
    rules: Vec<Said>,
    changes: Vec<Change>,
    /// Whether it is told how it was: all but freezes and settings.
    is_past: bool,
    freezes: Vec<Freeze>,
    /// Where all of them are, if there are more.
    all_freezes: Option<String>,
    year: i32,
    /// None where freezes begin and end too often to be shown.
    months: Option<Vec<Month>>,
}

struct Locked {
    reason: String,
    by: String,
    since: When,
}

/// A change of the policy.
struct Change {
    version: String,
    when: When,
    by: String,
    /// Each setting, what it was, and what it is.
    settings: Vec<(String, String, String)>,
}

struct Forms {
    /// Whether the policy and the freezes are edited, which have pages of their own.
    edits_policy: bool,
    edits_freezes: bool,
    confirm: Option<Blank>,
    lock: Option<Blank>,
    lift: Option<Blank>,
    settings: Option<Blank>,
    archive: Option<Blank>,
}

/// The form of the page that was sent and refused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Confirm,
    Lock,
    Lift,
    Settings,
    Archive,
}

/// Shows an environment.
pub(super) async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let name = request.path_params::<String>()?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    let year = Form::of_query(&request).get("year").parse().ok();
    let shown =
        Page::read(Frame::of(app, Some(&visitor)).at("environments"), &visitor, &name, year, None).await?;
    page(status(None), &shown)
}

impl Page {
    async fn read(
        frame: Frame,
        visitor: &Visitor,
        name: &str,
        year: Option<i32>,
        sent: Option<(Which, &Sent)>,
    ) -> Result<Self, Problem> {
        let ctx = &visitor.ctx;
        let then = match visitor.as_of() {
            None => None,
            Some(at) => environments::get_at(ctx, name, at).await?.map(|environment| (environment, at)),
        };
        let is_told = then.is_some() || visitor.as_of().is_none();
        let (environment, now, is_past) = match then {
            Some((environment, at)) => (environment, at, true),
            None => (environments::get(ctx, name).await?, clock::now(), false),
        };
        let only = Only { service: None, environment: Some(name) };
        let all = PageRequest { limit: LIMIT_MAX, after: None };
        let freezes = windows::list(ctx, only, &all).await?;
        let (year, bounds) = year
            .and_then(|year| Some((year, calendar::bounds(year)?)))
            .or_else(|| Some((now.year(), calendar::bounds(now.year())?)))
            .ok_or_else(Problem::internal)?;
        let months = match windows::calendar(ctx, only, Some(bounds.0), Some(bounds.1)).await {
            Ok(calendar) => Some(calendar::months(year, &calendar, now)),
            Err(NoCalendar::To(_)) => None,
            Err(NoCalendar::Error(error)) => return Err(error.into()),
        };
        let locker = environment.lockdown.iter().map(|lockdown| lockdown.actor.subject.clone());
        let names = people::names(ctx, locker.collect()).await?;
        Ok(Self {
            forms: Forms::of(&frame.base, visitor, &environment, sent),
            changes: changes(visitor, name, now).await?,
            is_past,
            all_freezes: freezes
                .next
                .is_some()
                .then(|| format!("{}/freeze-windows?environment={name}", frame.base)),
            freezes: freezes.items.into_iter().map(freezes::row).collect(),
            year,
            months,
            rules: in_words(&environment.policy.policy),
            version: environment.policy.version,
            locked: environment.lockdown.map(|lockdown| Locked {
                reason: lockdown.reason,
                by: names.shown(&lockdown.actor.subject),
                since: When::of(lockdown.since, now),
            }),
            name: environment.name.to_string(),
            tier: environment.settings.tier.as_str(),
            rank: environment.settings.rank,
            url: environment.settings.url,
            unconfirmed: environment.unconfirmed,
            archived: environment.archived_at.is_some(),
            frame: if is_told { frame.telling() } else { frame },
        })
    }
}

/// The last changes of its policy by then, newest first.
async fn changes(visitor: &Visitor, name: &str, now: DateTime<Utc>) -> Result<Vec<Change>, Error> {
    let kind = Some(EventKind::PolicyUpdated.as_str().to_owned());
    let filter = Filter { kind, environment: Some(name.to_owned()), ..Filter::default() };
    // The log is not read from a moment on: of the past, what came later is read and left out.
    let limit = if visitor.as_of().is_some() { LIMIT_MAX } else { CHANGES };
    let last = Stretch { order: Order::NewestFirst, from: None, limit };
    let mut log = events::list(&visitor.ctx, filter, last).await?;
    log.events.retain(|event| event.at <= now);
    log.events.truncate(usize::try_from(CHANGES).unwrap_or(usize::MAX));
    let subjects = log.events.iter().map(|event| event.actor.subject.clone()).collect();
    let names = people::names(&visitor.ctx, subjects).await?;
    let change = |event: Event| {
        let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
        Change {
            version: data.get("version").map(Value::to_string).unwrap_or_default(),
            when: When::of(event.at, now),
            by: names.shown(&event.actor.subject),
            settings: words::changes(&data),
        }
    };
    Ok(log.events.into_iter().map(change).collect())
}

impl Forms {
    fn of(base: &str, visitor: &Visitor, environment: &Environment, sent: Option<(Which, &Sent)>) -> Self {
        let name = environment.name.as_str();
        let after = |which: Which| sent.filter(|(sent, _)| *sent == which).map(|(_, sent)| sent);
        let may_lock = may(visitor, Scope::Freeze, name) || may(visitor, Scope::Override, name);
        let may_edit = may(visitor, Scope::Admin, name);
        let csrf = visitor.csrf();
        let made = |is: bool, which, blank: Blank| is.then(|| blank.after(after(which)));
        let (is_used, is_locked) = (environment.archived_at.is_none(), environment.lockdown.is_some());
        Self {
            edits_policy: may(visitor, Scope::Policy, name) && is_used,
            edits_freezes: may(visitor, Scope::Freeze, name),
            confirm: made(
                may_edit && environment.unconfirmed,
                Which::Confirm,
                revised("confirm", base, environment, &csrf).hidden("does", &"confirm").button("Confirm it"),
            ),
            lock: made(may_lock && is_used, Which::Lock, lock_form(base, environment, &csrf)),
            lift: made(may_lock && is_locked, Which::Lift, lift_form(base, environment, &csrf)),
            settings: made(may_edit, Which::Settings, settings_form(base, environment, &csrf)),
            archive: made(may_edit, Which::Archive, archive_form(base, environment, &csrf)),
        }
    }
}

fn revised(id: &str, base: &str, environment: &Environment, csrf: &str) -> Blank {
    let action = format!("{base}/environments/{}/settings", environment.name);
    Blank::new(id, action, csrf).hidden("revision", &environment.revision)
}

fn settings_form(base: &str, environment: &Environment, csrf: &str) -> Blank {
    let settings = &environment.settings;
    let tiers = Tier::ALL.iter().map(|tier| (tier.as_str(), ""));
    revised("settings", base, environment, csrf)
        .hidden("does", &"settings")
        .field(Field::choice("tier", "Tier", tiers).value(settings.tier))
        .field(
            Field::number("rank", "Rank")
                .hint("Its place in the order of promotion, low to high.")
                .value(settings.rank)
                .required(),
        )
        .field(
            Field::line("url", "URL")
                .hint("Where it can be seen: http:// or https://.")
                .value_if(settings.url.as_ref())
                .cleared(),
        )
        .button("Save")
}

fn archive_form(base: &str, environment: &Environment, csrf: &str) -> Blank {
    let name = &environment.name;
    let blank = revised("archive", base, environment, csrf);
    if environment.archived_at.is_some() {
        return blank.hidden("does", &"revive").plain_button(&format!("Bring {name} back"));
    }
    let means = "Its history stays, and nothing is deployed there any more until it is brought back. Its name is not given to \
                 another.";
    blank
        .hidden("does", &"archive")
        .folded(&format!("Archive {name} …"), means)
        .bad_button(&format!("Archive {name}"))
}

fn saw(environment: &Environment) -> &str {
    environment.lockdown.as_ref().map_or("", |lockdown| lockdown.reason.as_str())
}

fn lock_form(base: &str, environment: &Environment, csrf: &str) -> Blank {
    let name = &environment.name;
    let is_locked = environment.lockdown.is_some();
    let (opens, sends) = if is_locked {
        ("Give another reason …".to_owned(), "Give this reason".to_owned())
    } else {
        (format!("Lock {name} down …"), format!("Lock {name} down"))
    };
    let means =
        "Nothing but an override starts there from then on, not even a rollback. What is running goes on.";
    let hint = "Everybody whose start is refused reads it.";
    Blank::new("lock", format!("{base}/environments/{name}/lockdown"), csrf)
        .hidden("saw", &saw(environment))
        .field(Field::area("reason", "Reason").hint(hint).required())
        .folded(&opens, if is_locked { "" } else { means })
        .bad_button(&sends)
}

fn lift_form(base: &str, environment: &Environment, csrf: &str) -> Blank {
    let name = &environment.name;
    Blank::new("lift", format!("{base}/environments/{name}/lockdown/lift"), csrf)
        .hidden("saw", &saw(environment))
        .folded("Lift the lockdown …", "Starts are judged by the other rules again, at once.")
        .button(&format!("Let deployments into {name} again"))
}

/// Locks an environment down, or gives another reason for it.
pub(super) async fn lock(mut request: Request) -> Result<Response> {
    let name = request.path_params::<String>()?;
    let sender = Sender::of(&mut request).await?;
    let done = place(&sender, &name).await;
    finish(&sender, &name, Which::Lock, done).await
}

async fn place(sender: &Sender, name: &str) -> Result<(), Problem> {
    let body = match sender.form.get("reason") {
        "" => json!({}),
        reason => json!({ "reason": reason }),
    };
    let reason = body::read::<PlaceLockdown>(&sender.spec, &body)?.parse().map_err(refuse)?;
    let saw = Saw::Reason(sender.form.get("saw"));
    lockdown::place(&sender.visitor.ctx, name, &reason, saw).await?;
    Ok(())
}

/// Lifts the lockdown of an environment.
pub(super) async fn lift(mut request: Request) -> Result<Response> {
    let name = request.path_params::<String>()?;
    let sender = Sender::of(&mut request).await?;
    let saw = Saw::Reason(sender.form.get("saw"));
    let done = lockdown::lift(&sender.visitor.ctx, &name, saw).await.map_err(Problem::from);
    finish(&sender, &name, Which::Lift, done).await
}

/// Edits, confirms, archives or revives an environment.
pub(super) async fn edit(mut request: Request) -> Result<Response> {
    let name = request.path_params::<String>()?;
    let sender = Sender::of(&mut request).await?;
    let which = match sender.form.get("does") {
        "confirm" => Which::Confirm,
        "archive" | "revive" => Which::Archive,
        _ => Which::Settings,
    };
    let done = update(&sender, &name).await;
    finish(&sender, &name, which, done).await
}

async fn update(sender: &Sender, name: &str) -> Result<(), Problem> {
    let ctx = &sender.visitor.ctx;
    let body = match sender.form.get("does") {
        "confirm" => json!({}),
        "archive" => json!({ "archived": true }),
        "revive" => json!({ "archived": false }),
        _ => sender.body(&settings_form("", &environments::get(ctx, name).await?, "")),
    };
    let body: UpdateEnvironment = body::read(&sender.spec, &body)?;
    let edit = |before: &Environment| body.edit(before);
    environments::update(ctx, name, &sender.expected(), &edit).await?;
    Ok(())
}

/// Leads back to the environment, or shows it with what was refused.
async fn finish(sender: &Sender, name: &str, which: Which, done: Result<(), Problem>) -> Result<Response> {
    let frame = Frame::of(&sender.app, Some(&sender.visitor)).at("environments");
    let Err(problem) = done else { return Ok(see(&format!("{}/environments/{name}", frame.base))) };
    let sent = Sent::of(sender.form.clone(), problem)?;
    let shown = Page::read(frame, &sender.visitor, name, None, Some((which, &sent))).await?;
    page(status(Some(&sent)), &shown)
}
