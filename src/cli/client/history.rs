//! `waybill history`: deployments, newest first.

use chrono::{DateTime, Utc};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::{
    Session,
    error::Error,
    exit::Exit,
    http::Call,
    moment,
    output::{self, Format, duration, plain},
    view::Deployment,
};
use crate::clock;

/// The most one page holds.
const PAGE: u32 = 200;

/// The examples of `waybill history --help`.
pub const EXAMPLES: &str = "\
Examples:
  waybill history --service shop --environment prod
  waybill history --status failed --limit 10
  waybill history --kind rollback --since 30d
  waybill history --output json";

/// The options of `history`.
#[derive(Debug, clap::Args)]
pub struct HistoryArgs {
    /// Of this service only.
    #[arg(long)]
    service: Option<String>,
    /// To this environment only.
    #[arg(long)]
    environment: Option<String>,
    /// In this state only.
    #[arg(long, value_parser = ["running", "succeeded", "failed", "canceled", "expired"])]
    status: Option<String>,
    /// Of this kind only.
    #[arg(long, value_parser = ["deploy", "rollback", "hotfix", "redeploy"])]
    kind: Option<String>,
    /// Started at this time or later: a time like 2026-03-01T12:00:00Z, or how long ago, like 2h.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    since: Option<DateTime<Utc>>,
    /// Started before this time.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    until: Option<DateTime<Utc>>,
    /// How many to list at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

pub(super) async fn run(session: &Session, args: &HistoryArgs) -> Result<Exit, Error> {
    let call = Call::get(&["deployments"])
        .query("service", args.service.clone())
        .query("environment", args.environment.clone())
        .query("status", args.status.clone())
        .query("kind", args.kind.clone())
        .query("since", args.since.map(moment::text))
        .query("until", args.until.map(moment::text));
    let (items, next_cursor) = collect(session, &call, args.limit).await?;
    if session.format == Format::Json {
        output::print_json(&json!({"items": items, "next_cursor": next_cursor}))?;
        return Ok(Exit::DONE);
    }
    let deployments = items.iter().map(Deployment::deserialize).collect::<Result<Vec<_>, _>>()?;
    if deployments.is_empty() {
        output::say("No deployments.");
        return Ok(Exit::DONE);
    }
    let header =
        ["STARTED (UTC)", "SERVICE", "ENVIRONMENT", "VERSION", "KIND", "STATUS", "DURATION", "ACTOR"];
    let now = clock::now();
    let rows: Vec<_> = deployments.iter().map(|deployment| row(deployment, now)).collect();
    output::print(output::table(&header.map(str::to_owned), &rows, output::width()))?;
    Ok(Exit::DONE)
}

/// Follows the pages until there are enough items, or no more.
pub(super) async fn collect(
    session: &Session,
    call: &Call,
    limit: u32,
) -> Result<(Vec<Value>, Option<String>), Error> {
    let mut items = Vec::new();
    let mut cursor = None;
    let mut left = limit;
    loop {
        let page = call.clone().query("limit", Some(left.min(PAGE).to_string())).query("cursor", cursor);
        let mut answer = session.client.send(&page).await?;
        let found =
            answer.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
        left = left.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
        let empty = found.is_empty();
        items.extend(found);
        cursor = answer.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
        if left == 0 || empty || cursor.is_none() {
            return Ok((items, cursor));
        }
    }
}

fn row(deployment: &Deployment, now: DateTime<Utc>) -> Vec<String> {
    let marks = deployment.marks().join(", ");
    let marks = if marks.is_empty() { marks } else { format!(" ({marks})") };
    let took = deployment.finished_at.unwrap_or(now) - deployment.started_at;
    vec![
        deployment.started_at.format("%Y-%m-%d %H:%M:%S").to_string(),
        plain(&deployment.service).into_owned(),
        plain(&deployment.environment).into_owned(),
        plain(&deployment.version).into_owned(),
        plain(&deployment.kind).into_owned(),
        format!("{}{marks}", plain(&deployment.status)),
        duration(took),
        plain(deployment.actor.name()).into_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_happened() {
        let value = json!({"id": "d1", "service": "shop", "environment": "prod", "version": "1.4.2", "status": "succeeded",
            "kind": "deploy", "started_at": "2026-03-04T12:00:00.000000Z", "finished_at": "2026-03-04T12:01:32Z",
            "actor": {"token": "ci", "subject": "mira"}, "ungated": true, "recorded": true, "new_field": 1,
            "override": {"reason": "the house burns"}, "reverted_by": "d2"});
        let cells = Deployment::deserialize(&value)
            .map(|deployment| row(&deployment, clock::now()))
            .unwrap_or_default();
        let expected = [
            "2026-03-04 12:00:00",
            "shop",
            "prod",
            "1.4.2",
            "deploy",
            "succeeded (override, ungated, reverted)",
            "1m 32s",
            "mira",
        ];
        assert_eq!(cells, expected);
    }
}
