//! `waybill status`: the matrix of what runs where, as a table that fits the terminal.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Deserialize as _;

use super::{
    Session,
    error::Error,
    exit::Exit,
    http::Call,
    output::{self, DIM, Format, age, plain, print},
    view::{Matrix, MatrixTarget},
};
use crate::clock;

/// The examples of `waybill status --help`.
pub const EXAMPLES: &str = "\
Examples:
  waybill status
  waybill status --service shop
  waybill status --as-of 2h
  waybill status --as-of 2026-03-01T12:00:00Z --output json";

/// The options of `status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// The moment to show instead of now: a time like 2026-03-01T12:00:00Z, or how long ago, like 2h.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    as_of: Option<DateTime<Utc>>,
    /// Show this service only.
    #[arg(long)]
    service: Option<String>,
}

pub(super) async fn run(session: &Session, args: &StatusArgs) -> Result<Exit, Error> {
    let as_of = args.as_of.map(|at| at.to_rfc3339_opts(SecondsFormat::Micros, true));
    let mut answer = session.client.send(&Call::get(&["matrix"]).query("as_of", as_of)).await?;
    if let Some(service) = &args.service {
        let rows = answer.get_mut("services").and_then(serde_json::Value::as_array_mut);
        let rows = rows.map(|rows| {
            rows.retain(|row| row.get("name").and_then(|name| name.as_str()) == Some(service));
            rows.len()
        });
        if rows == Some(0) {
            return Err(Error::Failed(format!(
                "there is no service \"{service}\" to be seen with this token"
            )));
        }
    }
    if session.format == Format::Json {
        output::print_json(&answer)?;
        return Ok(Exit::DONE);
    }
    let matrix = Matrix::deserialize(&answer)?;
    if matrix.services.is_empty() {
        output::say(match args.as_of {
            Some(_) => "Nothing was on record then.",
            None => "No services yet. `waybill deploy` registers the first one.",
        });
        return Ok(Exit::DONE);
    }
    print(render(&matrix, output::width()))?;
    for line in legend(&matrix) {
        print(format_args!("{DIM}{line}{DIM:#}"))?;
    }
    Ok(Exit::DONE)
}

fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.to_utc());
    }
    let ago: Duration = humantime::parse_duration(text)
        .map_err(|_neither| "neither a time like 2026-03-01T12:00:00Z nor a duration like 2h".to_owned())?;
    TimeDelta::from_std(ago)
        .ok()
        .and_then(|ago| clock::now().checked_sub_signed(ago))
        .ok_or("too long ago".to_owned())
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
        let columns = || std::iter::once(&services).chain(block);
        let row =
            |index: usize| columns().filter_map(|column| column.get(index).cloned()).collect::<Vec<_>>();
        let rows: Vec<_> = (1..services.len()).map(row).collect();
        output::table(&row(0), &rows, width)
    });
    tables.collect::<Vec<_>>().join("\n\n")
}

fn column(header: &str, cells: impl Iterator<Item = String>) -> Vec<String> {
    std::iter::once(header.to_owned()).chain(cells).collect()
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
fn cell(target: &MatrixTarget, now: DateTime<Utc>) -> String {
    let current = target.current.as_ref().map(|current| {
        let behind = target.behind.filter(|behind| *behind > 0).map(|behind| format!(" −{behind}"));
        format!("{} {}{}", plain(&current.version), age(now - current.since), behind.unwrap_or_default())
    });
    let running = target
        .running
        .as_ref()
        .map(|running| format!("▶ {} {}", plain(&running.version), age(now - running.since)));
    let lines: Vec<_> = current.into_iter().chain(running).collect();
    if lines.is_empty() { "–".into() } else { lines.join("\n") }
}

/// Explains the marks that occur, and no others.
fn legend(matrix: &Matrix) -> Vec<&'static str> {
    let targets = || matrix.services.iter().flat_map(|service| &service.targets);
    let marks = [
        (targets().any(|target| target.running.is_some()), "▶ being deployed"),
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

    #[test]
    fn moments_are_times_or_ages() {
        assert_eq!(
            moment("2026-03-01T12:00:00+01:00").map(|at| at.to_rfc3339()),
            Ok("2026-03-01T11:00:00+00:00".into())
        );
        let ago = moment("2h").map(|at| (clock::now() - at).num_minutes());
        assert_eq!(ago, Ok(120));
        assert!(moment("yesterday").is_err());
    }
}
