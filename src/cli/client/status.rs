//! `waybill status`: the matrix of what runs where, as a table that fits the terminal.

use std::{io, iter};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    call::Call,
    error::Error,
    moment,
    session::{PAGE, Session},
    view::Target,
};
use crate::cli::{
    exit::Exit,
    output::{self, DIM, age, plain, print, say},
    table::table,
    words::one_of,
};
use crate::domain::vocabulary::Tier;

pub const EXAMPLES: &str = "\
Examples:
  waybill status
  waybill status --service shop
  waybill status --environment prod
  waybill status --owner team-shop --tier production
  waybill status --as-of 2h
  waybill status --as-of 2026-03-01T12:00:00Z --output json";

#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// The moment to show instead of now: a time like 2026-03-01T12:00:00Z, or how long ago, like 2h.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    as_of: Option<DateTime<Utc>>,
    /// Show this service only.
    #[arg(long)]
    service: Option<String>,
    /// Show this environment only.
    #[arg(long)]
    environment: Option<String>,
    /// Show the services of this owner only.
    #[arg(long)]
    owner: Option<String>,
    /// Show the services with this label only.
    #[arg(long, value_name = "NAME[=VALUE]")]
    label: Option<String>,
    /// Show the environments of this tier only.
    #[arg(long, value_parser = one_of(Tier::ALL))]
    tier: Option<Tier>,
}

impl StatusArgs {
    fn call(&self) -> Call {
        Call::get(&["matrix"])
            .query("as_of", self.as_of.map(moment::text))
            .query("service", self.service.as_ref())
            .query("environment", self.environment.as_ref())
            .query("owner", self.owner.as_ref())
            .query("label", self.label.as_ref())
            .query("tier", self.tier.map(Tier::as_str))
    }

    /// Whether something may be left out that is there.
    fn is_confined(&self) -> bool {
        self.owner.is_some() || self.label.is_some() || self.tier.is_some()
    }
}

#[derive(Debug, Deserialize)]
struct Matrix {
    /// The moment it shows.
    as_of: DateTime<Utc>,
    /// The columns, in promotion order.
    environments: Vec<Environment>,
    /// The rows.
    services: Vec<Service>,
}

#[derive(Debug, Deserialize)]
struct Environment {
    name: String,
    /// Registered by a deployment, and nobody has edited it since.
    #[serde(default)]
    unconfirmed: bool,
    /// Nothing but an override starts there.
    #[serde(default)]
    locked_down: bool,
}

#[derive(Debug, Deserialize)]
struct Service {
    name: String,
    targets: Vec<Target>,
}

pub(super) async fn run(session: &Session, args: &StatusArgs) -> Result<Exit, Error> {
    let call = args.call();
    let mut whole = page(session, &call, None).await?;
    while let Some(cursor) = next(&whole) {
        join(&mut whole, page(session, &call, Some(cursor)).await?);
    }
    session.show(&whole, |matrix| told(&matrix, args))
}

async fn page(session: &Session, call: &Call, cursor: Option<String>) -> Result<Value, Error> {
    let call = call.clone().query("limit", Some(PAGE)).query("cursor", cursor);
    Ok(session.client.send(&call).await?)
}

fn next(page: &Value) -> Option<String> {
    page.get("next_cursor").and_then(Value::as_str).map(ToOwned::to_owned)
}

/// Adds a page to those before it. The past has on each page the environments that the page is about.
fn join(whole: &mut Value, mut page: Value) {
    let next = page.get_mut("next_cursor").map(Value::take);
    let mut list = |name| match page.get_mut(name).map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    let (services, environments) = (list("services"), list("environments"));
    if let Some(all) = whole.get_mut("services").and_then(Value::as_array_mut) {
        all.extend(services);
    }
    if let Some(all) = whole.get_mut("environments").and_then(Value::as_array_mut) {
        let name = |one: &Value| one.get("name").and_then(Value::as_str).map(ToOwned::to_owned);
        let names: Vec<_> = all.iter().map(name).collect();
        all.extend(environments.into_iter().filter(|one| !names.contains(&name(one))));
        all.sort_by_key(|one| (one.get("rank").and_then(Value::as_i64), name(one)));
    }
    if let Some(members) = whole.as_object_mut() {
        members.insert("next_cursor".to_owned(), json!(next));
    }
}

fn told(matrix: &Matrix, args: &StatusArgs) -> io::Result<()> {
    if matrix.services.is_empty() {
        say(if args.is_confined() {
            "There is nothing of that kind."
        } else if args.as_of.is_some() {
            "Nothing was on record then."
        } else {
            "No services yet. `waybill deploy` registers the first one."
        });
        return Ok(());
    }
    print(render(matrix, output::width()))?;
    legend(matrix).iter().try_for_each(|line| print(format_args!("{DIM}{line}{DIM:#}")))
}

/// The matrix as one table, or as several below one another when the environments do not fit side by side.
fn render(matrix: &Matrix, width: Option<u16>) -> String {
    let services = column("SERVICE", matrix.services.iter().map(|service| plain(&service.name).into_owned()));
    let environments: Vec<Vec<String>> = matrix
        .environments
        .iter()
        .map(|environment| {
            let mark = if environment.unconfirmed { "?" } else { "" };
            let lock = if environment.locked_down { "!" } else { "" };
            let cells = matrix.services.iter().map(|service| {
                let target = service.targets.iter().find(|target| target.environment == environment.name);
                target.map_or_else(|| "–".into(), |target| cell(target, matrix.as_of))
            });
            column(&format!("{}{mark}{lock}", plain(&environment.name)), cells)
        })
        .collect();
    let tables = blocks(&services, &environments, width).into_iter().map(|block| {
        let columns = || iter::once(&services).chain(block);
        let row =
            |index: usize| columns().filter_map(|column| column.get(index).cloned()).collect::<Vec<_>>();
        let rows: Vec<_> = (1..services.len()).map(row).collect();
        table(&row(0), &rows, width)
    });
    tables.collect::<Vec<_>>().join("\n\n")
}

fn column(header: &str, cells: impl Iterator<Item = String>) -> Vec<String> {
    iter::once(header.to_owned()).chain(cells).collect()
}

/// Groups neighbouring environments so that each group fits the width beside the services; at least one a group.
fn blocks<'a>(
    services: &[String],
    environments: &'a [Vec<String>],
    width: Option<u16>,
) -> Vec<&'a [Vec<String>]> {
    let needs = |column: &[String]| {
        let lines = column.iter().flat_map(|cell| cell.lines());
        lines.map(|line| line.chars().count()).max().unwrap_or_default() + 2
    };
    let room = width.map_or(usize::MAX, usize::from).saturating_sub(needs(services));
    let mut blocks = Vec::new();
    let mut rest = environments;
    loop {
        let mut used = 0;
        let fitting = rest.iter().take_while(|column| {
            used += needs(column);
            used <= room
        });
        let (block, others) = rest.split_at(fitting.count().max(1).min(rest.len()));
        blocks.push(block);
        if others.is_empty() {
            return blocks;
        }
        rest = others;
    }
}

/// What is current, how long, how far behind; and below it what is on its way.
fn cell(target: &Target, now: DateTime<Utc>) -> String {
    let current = target.current.as_ref().map(|current| {
        let behind = target.behind.filter(|behind| *behind > 0).map(|behind| format!(" −{behind}"));
        format!("{} {}{}", plain(&current.version), age(now - current.since), behind.unwrap_or_default())
    });
    let running = target.running.as_ref().map(|running| {
        let mark = if running.removal { "✕" } else { "▶" };
        format!("{mark} {} {}", plain(&running.version), age(now - running.since))
    });
    let lines: Vec<_> = current.into_iter().chain(running).collect();
    if lines.is_empty() { "–".into() } else { lines.join("\n") }
}

/// Explains the marks that occur, and no others.
fn legend(matrix: &Matrix) -> Vec<&'static str> {
    let targets = || matrix.services.iter().flat_map(|service| &service.targets);
    let running = |removal| {
        targets().any(|target| target.running.as_ref().is_some_and(|running| running.removal == removal))
    };
    let marks = [
        (running(false), "▶ being deployed"),
        (running(true), "✕ being removed"),
        (
            targets()
                .any(|target| target.current.is_some() && target.behind.is_some_and(|behind| behind > 0)),
            "−n releases behind the newest one in the environments before it",
        ),
        (
            matrix.environments.iter().any(|environment| environment.unconfirmed),
            "? registered by a deployment and not confirmed by anyone yet",
        ),
        (
            matrix.environments.iter().any(|environment| environment.locked_down),
            "! locked down today; `waybill lockdown status` says why",
        ),
    ];
    marks.into_iter().filter_map(|(occurs, text)| occurs.then_some(text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> Option<Matrix> {
        let occupant =
            |version, since| serde_json::json!({"deployment_id": "d", "version": version, "since": since});
        let value = serde_json::json!({
            "as_of": "2026-03-04T12:00:00.000000Z",
            "environments": [
                {"name": "staging", "tier": "staging", "rank": 2, "unconfirmed": true},
                {"name": "prod", "tier": "production", "rank": 3, "unconfirmed": false, "locked_down": true},
            ],
            "services": [{"name": "shop", "targets": [
                {"environment": "staging", "current": occupant("1.4.2", "2026-03-04T11:38:00Z"),
                 "running": occupant("1.4.3", "2026-03-04T11:59:30Z"), "behind": null},
                {"environment": "prod", "current": occupant("1.3.0", "2026-03-01T12:00:00Z"), "running": null, "behind": 3},
            ]}, {"name": "till", "targets": []}],
        });
        Matrix::deserialize(&value).ok()
    }

    fn text(width: Option<u16>) -> String {
        let rendered = matrix().map(|matrix| render(&matrix, width)).unwrap_or_default();
        anstream::adapter::strip_str(&rendered).to_string()
    }

    #[test]
    fn a_wide_terminal_shows_one_table() {
        let expected = "SERVICE  staging?     prod!\nshop     1.4.2 22m    1.3.0 3d −3\n         ▶ 1.4.3 30s\ntill     –            –";
        assert_eq!(text(None), expected);
        assert_eq!(text(Some(80)), expected);
    }

    #[test]
    fn a_narrow_terminal_shows_the_environments_below_one_another() {
        let expected = "SERVICE  staging?\nshop     1.4.2 22m\n         ▶ 1.4.3 30s\ntill     –\n\nSERVICE  prod!\nshop     1.3.0 3d −3\ntill     –";
        assert_eq!(text(Some(24)), expected);
    }

    #[test]
    fn pages_become_one() {
        let page = |services: &[&str], environments: &[(&str, i64)], next: Option<&str>| {
            let services: Vec<_> = services.iter().map(|name| json!({"name": name, "targets": []})).collect();
            let environments = environments.iter().map(|(name, rank)| json!({"name": name, "rank": rank}));
            let environments: Vec<_> = environments.collect();
            json!({"services": services, "environments": environments, "next_cursor": next})
        };
        let mut whole = page(&["a", "b"], &[("prod", 3)], Some("x"));
        assert_eq!(next(&whole).as_deref(), Some("x"));
        join(&mut whole, page(&["c"], &[("dev", 1), ("prod", 3)], None));
        assert_eq!(whole, page(&["a", "b", "c"], &[("dev", 1), ("prod", 3)], None));
        assert_eq!(next(&whole), None);
    }

    #[test]
    fn only_marks_that_occur_are_explained() {
        let marks = matrix().map(|matrix| legend(&matrix)).unwrap_or_default();
        assert_eq!(marks.len(), 4);
        let bare = matrix().map(|mut matrix| {
            matrix.services.clear();
            matrix.environments.clear();
            legend(&matrix)
        });
        assert_eq!(bare, Some(vec![]));
    }
}
