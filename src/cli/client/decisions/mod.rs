//! `waybill decisions`: what the gate said before, why, and whether it would say the same again.

mod replay;
mod show;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::{
    call::Call,
    error::Error,
    moment,
    session::{PageArgs, Session},
    view::{Actor, Decision},
};
use crate::cli::exit::Exit;

pub const EXAMPLES: &str = "\
Examples:
  waybill decisions list --service shop --environment prod --denied
  waybill decisions show 01997e1c-5b0a-7cc3-9d4e-2f1b6a7c8d90
  waybill decisions replay --since 30d";

#[derive(Debug, clap::Subcommand)]
pub enum DecisionsCommand {
    /// List decisions, newest first.
    List(ListArgs),
    /// Explain one: who asked, what each rule found, and by which facts.
    Show(ShowArgs),
    /// Evaluate decisions again, by the facts and the policy that were kept with each, and report every difference.
    #[command(
        after_help = "Exit codes: 0 all come out the same, 6 some differ or could not be evaluated again."
    )]
    Replay(FilterArgs),
}

#[derive(Debug, clap::Args)]
pub struct FilterArgs {
    /// About this service only.
    #[arg(long)]
    service: Option<String>,
    /// About this environment only.
    #[arg(long)]
    environment: Option<String>,
    /// About this version only.
    #[arg(long)]
    version: Option<String>,
    /// Only those that allowed.
    #[arg(long, conflicts_with = "denied")]
    allowed: bool,
    /// Only those that did not.
    #[arg(long)]
    denied: bool,
    /// From this time on: a time like 2026-03-01T12:00:00Z, or how long ago, like 2h.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    since: Option<DateTime<Utc>>,
    /// Before this time.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    until: Option<DateTime<Utc>>,
}

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    page: PageArgs,
}

#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The decision.
    id: String,
}

impl FilterArgs {
    fn call(&self) -> Call {
        let allowed = (self.allowed || self.denied).then_some(self.allowed);
        Call::get(&["decisions"])
            .query("service", self.service.as_ref())
            .query("environment", self.environment.as_ref())
            .query("version", self.version.as_ref())
            .query("allowed", allowed)
            .query("since", self.since.map(moment::text))
            .query("until", self.until.map(moment::text))
    }
}

/// A decision on record.
#[derive(Debug, Clone, Deserialize)]
struct Stored {
    /// What the gate said; where it said the same several times in a row, what it said last.
    #[serde(flatten)]
    decision: Decision,
    service: String,
    environment: String,
    version: String,
    kind: String,
    actor: Actor,
    #[serde(default)]
    deployment_id: Option<String>,
    /// How often in a row the same was said.
    count: u64,
    /// When it was said first.
    first_evaluated_at: DateTime<Utc>,
    /// What it was decided by, as far as the token may see it.
    #[serde(default)]
    inputs: Value,
}

impl Stored {
    fn id(&self) -> &str {
        self.decision.id.as_deref().unwrap_or_default()
    }

    /// When it was said last.
    fn at(&self) -> DateTime<Utc> {
        self.decision.evaluated_at.unwrap_or(self.first_evaluated_at)
    }

    fn verdict(&self) -> String {
        let word = match (self.decision.allowed, &self.decision.override_) {
            (true, Some(_)) => "overridden",
            (true, None) => "allowed",
            (false, _) => "denied",
        };
        let asked = if self.was_only_asked() { ", only asked" } else { "" };
        if self.count > 1 { format!("{word} ×{}{asked}", self.count) } else { format!("{word}{asked}") }
    }

    /// What was allowed has started a deployment, or was no more than a question.
    fn was_only_asked(&self) -> bool {
        self.decision.allowed && self.deployment_id.is_none()
    }
}

pub(super) async fn run(session: &Session, command: DecisionsCommand) -> Result<Exit, Error> {
    match command {
        DecisionsCommand::List(args) => list(session, &args).await,
        DecisionsCommand::Show(args) => show::run(session, &args.id).await,
        DecisionsCommand::Replay(filter) => replay::run(session, filter.call()).await,
    }
}

async fn list(session: &Session, args: &ListArgs) -> Result<Exit, Error> {
    let header =
        ["AT (UTC)", "SERVICE", "ENVIRONMENT", "VERSION", "KIND", "VERDICT", "FAILED", "ACTOR", "ID"];
    let rows = |found: Vec<_>| found.iter().map(row).collect();
    session.list(&args.filter.call(), args.page.limit, "No decisions.", header, rows).await
}

fn row(stored: &Stored) -> [String; 9] {
    let failed = stored.decision.checks.iter().filter(|check| check.outcome == "fail");
    let failed: Vec<_> = failed.map(|check| check.rule.as_str()).collect();
    [
        moment::second(stored.at()),
        stored.service.clone(),
        stored.environment.clone(),
        stored.version.clone(),
        stored.kind.clone(),
        stored.verdict(),
        failed.join(", "),
        stored.actor.shown(),
        stored.id().to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_says_what_the_gate_said() {
        let value = json!({"id": "d1", "service": "shop", "environment": "prod", "version": "1.4.2", "kind": "deploy",
            "allowed": false, "evaluated_at": "2026-03-04T12:00:00.000000Z", "first_evaluated_at": "2026-03-04T11:00:00Z",
            "actor": {"token": "ci", "subject": "mira"}, "deployment_id": null, "count": 3, "inputs": null,
            "checks": [{"rule": "freeze", "mode": "enforce", "outcome": "fail", "code": "freeze-window", "message": "x"},
                {"rule": "image", "mode": "off", "outcome": "skipped", "code": "off", "message": "x"}]});
        let cells = Stored::deserialize(&value).map(|stored| row(&stored)).unwrap_or_default();
        let expected =
            ["2026-03-04 12:00:00", "shop", "prod", "1.4.2", "deploy", "denied ×3", "freeze", "mira", "d1"];
        assert_eq!(cells, expected);
    }
}
