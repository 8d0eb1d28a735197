//! `waybill status`: the matrix of what runs where, as a table that fits the terminal.

use std::{io, iter};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::{call::Call, error::Error, moment, session::Session, view::Target};
use crate::cli::{
    exit::Exit,
    output::{self, DIM, age, plain, print, say},
    table::table,
};
use crate::domain::nearest::nearest;

pub const EXAMPLES: &str = "\
Examples:
  waybill status
  waybill status --service shop
  waybill status --environment prod
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
    let as_of = args.as_of.map(moment::text);
    let mut answer = session.client.send(&Call::get(&["matrix"]).query("as_of", as_of)).await?;
    if let Some(service) = &args.service {
        keep(answer.get_mut("services"), "service", "name", service)?;
    }
    if let Some(environment) = &args.environment {
        keep(answer.get_mut("environments"), "environment", "name", environment)?;
        for service in answer.get_mut("services").and_then(Value::as_array_mut).into_iter().flatten() {
            retain(service.get_mut("targets"), "environment", environment);
        }
    }
    session.show(&answer, |matrix| told(&matrix, args.as_of.is_some()))
}

fn told(matrix: &Matrix, then: bool) -> io::Result<()> {
    if matrix.services.is_empty() {
        say(if then {
            "Nothing was on record then."
        } else {
            "No services yet. `waybill deploy` registers the first one."
        });
        return Ok(());
    }
    print(render(matrix, output::width()))?;
    legend(matrix).iter().try_for_each(|line| print(format_args!("{DIM}{line}{DIM:#}")))
}

/// Keeps the one row that bears this name, which must be there.
fn keep(rows: Option<&mut Value>, what: &str, field: &str, name: &str) -> Result<(), Error> {
    let known = rows.as_deref().and_then(Value::as_array).into_iter().flatten();
    let known: Vec<_> = known.filter_map(|row| row.get(field)?.as_str()).map(ToOwned::to_owned).collect();
    if retain(rows, field, name) == 0 {
        let offer = nearest(name, known).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
        return Err(Error::Failed(format!("there is no {what} {name} to be seen with this token{offer}")));
    }
    Ok(())
}

/// Keeps the rows whose field has this value, and tells how many there are.
fn retain(rows: Option<&mut Value>, field: &str, value: &str) -> usize {
    let Some(rows) = rows.and_then(Value::as_array_mut) else { return 0 };
    rows.retain(|row| row.get(field).and_then(Value::as_str) == Some(value));
    rows.len()
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
    fn one_row_is_kept_when_it_is_there() {
        let mut rows = serde_json::json!([{"name": "a"}, {"name": "b"}]);
        assert!(keep(Some(&mut rows), "service", "name", "b").is_ok());
        assert_eq!(rows, serde_json::json!([{"name": "b"}]));
        assert!(keep(Some(&mut rows), "service", "name", "a").is_err());
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
