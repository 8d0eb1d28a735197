//! `waybill history`: deployments, newest first.

use chrono::{DateTime, Utc};

use super::{
    call::Call,
    error::Error,
    moment,
    session::{PageArgs, Session},
    view::Deployment,
};
use crate::{
    cli::{exit::Exit, output::duration, words::one_of},
    clock,
    domain::vocabulary::{Kind, Status},
};

/// The examples of `waybill history --help`.
pub const EXAMPLES: &str = "\
Examples:
  waybill history --service shop --environment prod
  waybill history --status failed --limit 10
  waybill history --kind rollback --actor ada --since 30d
  waybill history --output json";

#[derive(Debug, clap::Args)]
pub struct HistoryArgs {
    /// Of this service only.
    #[arg(long)]
    service: Option<String>,
    /// To this environment only.
    #[arg(long)]
    environment: Option<String>,
    /// In this state only.
    #[arg(long, value_parser = one_of(Status::ALL))]
    status: Option<Status>,
    /// Of this kind only.
    #[arg(long, value_parser = one_of(Kind::ALL))]
    kind: Option<Kind>,
    /// By this person, subject or token only.
    #[arg(long, value_name = "WHO")]
    actor: Option<String>,
    /// Started at this time or later: a time like 2026-03-01T12:00:00Z, or how long ago, like 2h.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    since: Option<DateTime<Utc>>,
    /// Started before this time.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    until: Option<DateTime<Utc>>,
    #[command(flatten)]
    page: PageArgs,
}

pub(super) async fn run(session: &Session, args: &HistoryArgs) -> Result<Exit, Error> {
    let call = Call::get(&["deployments"])
        .query("service", args.service.as_ref())
        .query("environment", args.environment.as_ref())
        .query("status", args.status)
        .query("kind", args.kind)
        .query("actor", args.actor.as_ref())
        .query("since", args.since.map(moment::text))
        .query("until", args.until.map(moment::text));
    let header = [
        "STARTED (UTC)",
        "SERVICE",
        "ENVIRONMENT",
        "VERSION",
        "STATUS",
        "WHO",
        "KIND",
        "DURATION",
        "WHY",
        "ID",
    ];
    let now = clock::now();
    let rows = |found: Vec<_>| found.into_iter().map(|deployment| row(deployment, now)).collect();
    session.list(&call, args.page.limit, "No deployments.", header, rows).await
}

fn row(deployment: Deployment, now: DateTime<Utc>) -> [String; 10] {
    let (who, marks) = (deployment.who(), deployment.marks().join(", "));
    let marks = if marks.is_empty() { marks } else { format!(" ({marks})") };
    let overridden = deployment.override_.map(|lifted| lifted.reason);
    let took = deployment.finished_at.unwrap_or(now) - deployment.started_at;
    [
        moment::second(deployment.started_at),
        deployment.service,
        deployment.environment,
        deployment.version,
        format!("{}{marks}", deployment.status),
        who,
        deployment.kind,
        duration(took),
        deployment.message.or(overridden).or(deployment.reason).unwrap_or_default(),
        deployment.id,
    ]
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;

    use super::*;

    #[test]
    fn a_row_says_what_happened() {
        let value = serde_json::json!({"id": "d1", "service": "shop", "environment": "prod", "version": "1.4.2", "status": "succeeded",
            "kind": "deploy", "started_at": "2026-03-04T12:00:00.000000Z", "finished_at": "2026-03-04T12:01:32Z",
            "actor": {"token": "ci", "subject": "mira"}, "ungated": true, "recorded": true, "new_field": 1,
            "override": {"reason": "the house burns"}, "reverted_by": "d2", "initiated_by": "ada",
            "reason": "nightly", "message": "3 of 3 ready"});
        let cells = Deployment::deserialize(&value)
            .map(|deployment| row(deployment, clock::now()))
            .unwrap_or_default();
        let expected = [
            "2026-03-04 12:00:00",
            "shop",
            "prod",
            "1.4.2",
            "succeeded (override, ungated, reverted)",
            "ada",
            "deploy",
            "1m 32s",
            "3 of 3 ready",
            "d1",
        ];
        assert_eq!(cells, expected);
    }
}
