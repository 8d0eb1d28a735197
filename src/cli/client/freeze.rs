//! `waybill freeze`: declaring, editing and taking back freeze windows, and seeing what they come to.

use std::io;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    call::Call,
    card::print_lines,
    error::Error,
    moment::minute,
    named,
    session::{ALL, Session},
};
use crate::{
    cli::{
        exit::Exit,
        output::{self, duration, plain, say},
        words::one_of,
    },
    domain::vocabulary::Tier,
};

#[derive(Debug, clap::Subcommand)]
pub enum FreezeCommand {
    /// List the freeze windows, newest first.
    List(ListArgs),
    /// Show one freeze window.
    Show(WhichArgs),
    /// Declare a freeze window: once from a time to another, or again and again.
    #[command(after_help = EXAMPLES)]
    Create(Box<CreateArgs>),
    /// Change what is named of a freeze window, and leave the rest.
    Update(Box<UpdateArgs>),
    /// Take a freeze window back, at once.
    Delete(WhichArgs),
    /// Show when environments are frozen: windows that overlap or touch are one stretch.
    Calendar(CalendarArgs),
}

const EXAMPLES: &str = "\
Examples:
  waybill freeze create --name christmas --reason 'few people are here' --tier production \\
    --from 2026-12-24T00:00:00+01:00 --until 2026-12-27T00:00:00+01:00
  waybill freeze create --name weekend --reason 'nobody is here' --environment prod-eu --environment prod-us \\
    --start-cron '0 18 * * FRI' --end-cron '0 8 * * MON' --timezone Europe/Berlin
  waybill freeze create --name closing --reason 'the books are closed' --tier production --service billing \\
    --from 2026-12-30T00:00:00+01:00 --until 2027-01-04T00:00:00+01:00";

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Those that count in this environment only.
    #[arg(long)]
    environment: Option<String>,
    /// Those that count for this service only.
    #[arg(long)]
    service: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct WhichArgs {
    /// Its name, or its id, as `waybill freeze list` shows them.
    #[arg(value_name = "WINDOW")]
    which: String,
}

impl WhichArgs {
    async fn id(&self, session: &Session) -> Result<String, Error> {
        named::id_of(session, "freeze window", &Call::get(&["freeze-windows"]), "name", &self.which).await
    }
}

#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    /// Its name.
    #[arg(long)]
    name: String,
    /// Why it is there; whoever is held up reads it.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    rest: DefinitionArgs,
}

#[derive(Debug, clap::Args)]
pub struct UpdateArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Its name.
    #[arg(long)]
    name: Option<String>,
    /// Why it is there.
    #[arg(long)]
    reason: Option<String>,
    /// Let it count for every service again.
    #[arg(long, conflicts_with = "services")]
    all_services: bool,
    #[command(flatten)]
    rest: DefinitionArgs,
}

#[derive(Debug, Default, clap::Args)]
pub struct DefinitionArgs {
    /// An environment in which it counts; repeat for more.
    #[arg(long = "environment", value_name = "ENVIRONMENT", conflicts_with = "tiers")]
    environments: Vec<String>,
    /// A tier in whose environments it counts; repeat for more.
    #[arg(long = "tier", value_name = "TIER", value_parser = one_of(Tier::ALL))]
    tiers: Vec<Tier>,
    /// A service that it counts for; repeat for more. Without any, it counts for all.
    #[arg(long = "service", value_name = "SERVICE")]
    services: Vec<String>,
    /// When it begins, once, such as 2026-12-24T00:00:00Z.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["start_cron", "end_cron", "timezone"])]
    from: Option<String>,
    /// When it ends, once.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["start_cron", "end_cron", "timezone"])]
    until: Option<String>,
    /// When it begins, again and again: minute, hour, day of the month, month, day of the week.
    #[arg(long, value_name = "CRON")]
    start_cron: Option<String>,
    /// When it ends, again and again.
    #[arg(long, value_name = "CRON")]
    end_cron: Option<String>,
    /// Whose clocks those are read on, such as Europe/Berlin.
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct CalendarArgs {
    /// Of this environment only.
    #[arg(long)]
    environment: Option<String>,
    /// Of what counts for this service only.
    #[arg(long)]
    service: Option<String>,
    /// From this time on; now when absent.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Up to this time, at most 366 days later; 30 days later when absent.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Window {
    id: String,
    name: String,
    reason: String,
    environments: Option<Vec<String>>,
    tiers: Option<Vec<String>>,
    #[serde(default)]
    services: Option<Vec<String>>,
    starts_at: Option<DateTime<Utc>>,
    ends_at: Option<DateTime<Utc>>,
    start_cron: Option<String>,
    end_cron: Option<String>,
    timezone: Option<String>,
    active: bool,
    opens_at: Option<DateTime<Utc>>,
    next_starts_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Deserialize)]
struct Calendar {
    to: DateTime<Utc>,
    items: Vec<Stretch>,
}

#[derive(Debug, Deserialize)]
struct Stretch {
    environment: String,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    windows: Vec<WindowName>,
}

#[derive(Debug, Deserialize)]
struct WindowName {
    name: String,
    #[serde(default)]
    services: Option<Vec<String>>,
}

impl DefinitionArgs {
    /// The members that these options set. What one of them rules out is set to null, since an edit has to say so.
    fn members(self, edits: bool) -> Map<String, Value> {
        let mut members = Map::new();
        let mut set = |name: &str, value: Value| {
            members.insert(name.to_owned(), value);
        };
        let (once, recurring) = (self.from.is_some() || self.until.is_some(), self.recurs());
        if !self.environments.is_empty() {
            set("environments", json!(self.environments));
            if edits {
                set("tiers", Value::Null);
            }
        }
        if !self.tiers.is_empty() {
            set("tiers", json!(self.tiers));
            if edits {
                set("environments", Value::Null);
            }
        }
        if !self.services.is_empty() {
            set("services", json!(self.services));
        }
        for (name, value, ruled_out) in [
            ("starts_at", self.from, recurring),
            ("ends_at", self.until, recurring),
            ("start_cron", self.start_cron, once),
            ("end_cron", self.end_cron, once),
            ("timezone", self.timezone, once),
        ] {
            match value {
                Some(value) => set(name, Value::String(value)),
                None if edits && ruled_out => set(name, Value::Null),
                None => {}
            }
        }
        members
    }

    fn recurs(&self) -> bool {
        self.start_cron.is_some() || self.end_cron.is_some() || self.timezone.is_some()
    }
}

#[derive(Debug, Serialize)]
struct Body {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

pub(super) async fn run(session: &Session, command: FreezeCommand) -> Result<Exit, Error> {
    match command {
        FreezeCommand::List(args) => list(session, args).await,
        FreezeCommand::Show(args) => {
            let id = args.id(session).await?;
            session.tell(&Call::get(&["freeze-windows", &id]), |window| told(&window, "")).await
        }
        FreezeCommand::Create(args) => {
            let CreateArgs { name, reason, rest } = *args;
            let body = Body { name: Some(name), reason: Some(reason), rest: rest.members(false) };
            let call = Call::post(&["freeze-windows"], &body)?;
            session.tell(&call, |window| told(&window, "declared: ")).await
        }
        FreezeCommand::Update(args) => {
            let UpdateArgs { which, name, reason, all_services, rest } = *args;
            let mut body = Body { name, reason, rest: rest.members(true) };
            if all_services {
                body.rest.insert("services".to_owned(), Value::Null);
            }
            let call = Call::patch(&["freeze-windows", &which.id(session).await?], &body)?;
            session.tell(&call, |window| told(&window, "changed: ")).await
        }
        FreezeCommand::Delete(args) => {
            session.client.send(&Call::delete(&["freeze-windows", &args.id(session).await?])).await?;
            say(format_args!("The freeze window {} is taken back.", plain(&args.which)));
            Ok(Exit::DONE)
        }
        FreezeCommand::Calendar(args) => calendar(session, args).await,
    }
}

async fn list(session: &Session, args: ListArgs) -> Result<Exit, Error> {
    let call =
        Call::get(&["freeze-windows"]).query("environment", args.environment).query("service", args.service);
    let header = ["ID", "NAME", "WHERE", "WHEN", "STATE (UTC)"];
    let row = |window: Window| {
        let (covers, timing, state) = (window.covers(), window.timing(), window.state());
        [window.id, window.name, covers, timing, state]
    };
    let rows = |windows: Vec<_>| windows.into_iter().map(row).collect();
    session.list(&call, ALL, "No freeze windows.", header, rows).await
}

fn told(window: &Window, did: &str) -> io::Result<()> {
    let lines = [
        ("reason", window.reason.clone()),
        ("where", window.covers()),
        ("when", window.timing()),
        ("state", window.state()),
    ];
    print_lines(&format!("{did}{} ({})", window.name, window.id), &lines)
}

async fn calendar(session: &Session, args: CalendarArgs) -> Result<Exit, Error> {
    let call = Call::get(&["freeze-windows", "calendar"])
        .query("environment", args.environment)
        .query("service", args.service)
        .query("from", args.from)
        .query("to", args.until);
    let words = |Calendar { to, items }| {
        let row = |Stretch { environment, starts_at, ends_at, windows }| {
            let name = |WindowName { name, services }| match services {
                Some(services) => format!("{name} (of {})", services.join(", ")),
                None => name,
            };
            let names: Vec<_> = windows.into_iter().map(name).collect();
            let lasts = duration(ends_at - starts_at);
            [environment, minute(starts_at), minute(ends_at), lasts, names.join(", ")]
        };
        let rows: Vec<_> = items.into_iter().map(row).collect();
        let none = format_args!("Nothing is frozen until {} UTC.", minute(to));
        output::list(none, ["ENVIRONMENT", "FROM (UTC)", "UNTIL (UTC)", "LASTS", "WINDOWS"], &rows)
    };
    session.tell(&call, words).await
}

impl Window {
    fn covers(&self) -> String {
        let all =
            |names: &Option<Vec<String>>| plain(&names.clone().unwrap_or_default().join(", ")).into_owned();
        let there =
            if self.tiers.is_some() { format!("tier {}", all(&self.tiers)) } else { all(&self.environments) };
        if self.services.is_some() { format!("{} in {there}", all(&self.services)) } else { there }
    }

    fn timing(&self) -> String {
        if let Some((from, until)) = self.starts_at.zip(self.ends_at) {
            return format!("{} to {} UTC", minute(from), minute(until));
        }
        let text = |text: &Option<String>| plain(text.as_deref().unwrap_or("?")).into_owned();
        format!("{} to {} {}", text(&self.start_cron), text(&self.end_cron), text(&self.timezone))
    }

    fn state(&self) -> String {
        match (self.active, self.opens_at, self.next_starts_at) {
            (true, Some(opens_at), _) => format!("holds until {}", minute(opens_at)),
            (true, None, _) => "holds".to_owned(),
            (false, _, Some(next)) => format!("next {}", minute(next)),
            (false, _, None) => "over".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_says_what_no_longer_counts() {
        let args = || DefinitionArgs {
            tiers: vec![Tier::Production],
            until: Some("2026-12-27T00:00:00Z".into()),
            ..DefinitionArgs::default()
        };
        let made = json!({"tiers": ["production"], "ends_at": "2026-12-27T00:00:00Z"});
        assert_eq!(Value::Object(args().members(false)), made);
        let edited = json!({"tiers": ["production"], "environments": null, "ends_at": "2026-12-27T00:00:00Z",
            "start_cron": null, "end_cron": null, "timezone": null});
        assert_eq!(Value::Object(args().members(true)), edited);
        assert_eq!(DefinitionArgs::default().members(true), Map::new());
        let zone = DefinitionArgs { timezone: Some("UTC".into()), ..DefinitionArgs::default() };
        let zoned = json!({"timezone": "UTC", "starts_at": null, "ends_at": null});
        assert_eq!(Value::Object(zone.members(true)), zoned);
    }

    #[test]
    fn a_window_says_where_when_and_how_it_stands() {
        let value = json!({"id": "1", "name": "weekend", "reason": "r", "tiers": ["production", "staging"],
            "start_cron": "0 18 * * FRI", "end_cron": "0 8 * * MON", "timezone": "Europe/Berlin", "active": true,
            "opens_at": "2026-11-23T07:00:00.000000Z", "new_field": 1});
        let window = Window::deserialize(&value).unwrap();
        assert_eq!(window.covers(), "tier production, staging");
        assert_eq!(window.timing(), "0 18 * * FRI to 0 8 * * MON Europe/Berlin");
        assert_eq!(window.state(), "holds until 2026-11-23 07:00");
        let value = json!({"id": "1", "name": "n", "reason": "r", "environments": ["a", "b\u{1b}"], "active": false,
            "services": ["shop"], "starts_at": "2026-12-24T00:00:00Z", "ends_at": "2026-12-27T00:00:00Z"});
        let window = Window::deserialize(&value).unwrap();
        assert_eq!((window.covers().as_str(), window.state().as_str()), ("shop in a, b\\u{1b}", "over"));
        assert_eq!(window.timing(), "2026-12-24 00:00 to 2026-12-27 00:00 UTC");
    }
}
