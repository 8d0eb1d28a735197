//! `waybill approvals`: what waits for whom, and what people said.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    call::Call,
    error::Error,
    moment,
    session::{PageArgs, Session},
    view::Actor,
};
use crate::{
    cli::{
        exit::Exit,
        output::{age, plain, print},
    },
    clock,
    domain::people::shown,
};

/// Also those of `approve` and `reject`.
pub const EXAMPLES: &str = "\
Examples:
  waybill approvals pending --group release-managers
  waybill approve --service shop --environment prod --version 1.4.2 --comment \"seen in staging\"
  waybill reject --service shop --environment prod --version 1.4.2 --comment \"breaks the checkout\"";

#[derive(Debug, clap::Subcommand)]
pub enum ApprovalsCommand {
    /// List the releases that the gate keeps waiting for approvals, the latest first.
    #[command(after_help = EXAMPLES)]
    Pending(PendingArgs),
    /// List what people said about a release, the latest first.
    List(ListArgs),
    /// Withdraw what you have said; `approvals list` shows the ids.
    Withdraw(WithdrawArgs),
}

#[derive(Debug, clap::Args)]
pub struct PendingArgs {
    /// Only what members of this group can approve.
    #[arg(long)]
    group: Option<String>,
    /// Of this service only.
    #[arg(long)]
    service: Option<String>,
    /// For this environment only.
    #[arg(long)]
    environment: Option<String>,
    /// Judged for this subject as the one that would deploy, whose own approval does not count; for nobody in particular
    /// when not given.
    #[arg(long = "for", value_name = "SUBJECT")]
    deployer: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// The service.
    #[arg(long)]
    service: String,
    /// The release's version.
    #[arg(long)]
    version: String,
    /// For this environment only.
    #[arg(long)]
    environment: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

#[derive(Debug, clap::Args)]
pub struct WithdrawArgs {
    /// What to withdraw.
    #[arg(value_name = "ID")]
    id: String,
    /// The service.
    #[arg(long)]
    service: String,
    /// The release's version.
    #[arg(long)]
    version: String,
}

/// What somebody said.
#[derive(Debug, Deserialize)]
pub struct Approval {
    pub id: String,
    pub service: String,
    pub version: String,
    pub environment: String,
    pub decision: String,
    #[serde(default)]
    comment: Option<String>,
    #[serde(default)]
    pub actor: Actor,
    created_at: DateTime<Utc>,
    #[serde(default)]
    withdrawn_at: Option<DateTime<Utc>>,
}

/// A release that waits.
#[derive(Debug, Deserialize)]
pub struct Pending {
    service: String,
    environment: String,
    pub version: String,
    required: u32,
    #[serde(default)]
    approved_by: Vec<String>,
    #[serde(default)]
    rejected_by: Vec<String>,
    #[serde(default)]
    rejections: Vec<Rejection>,
    #[serde(default)]
    not_counted: Vec<NotCounted>,
    #[serde(default)]
    rules: Vec<Standing>,
    #[serde(default)]
    groups: Vec<String>,
    waiting_since: DateTime<Utc>,
    #[serde(default)]
    asked_by: Actor,
    /// What people call these subjects.
    #[serde(default)]
    names: BTreeMap<String, String>,
}

/// An approval that does not count.
#[derive(Debug, Deserialize)]
struct NotCounted {
    subject: String,
    why: String,
}

/// A rejection.
#[derive(Debug, Deserialize)]
struct Rejection {
    subject: String,
    #[serde(default)]
    comment: Option<String>,
}

/// How far one of several rules is.
#[derive(Debug, Deserialize)]
struct Standing {
    #[serde(default)]
    groups: Vec<String>,
    required: u32,
    #[serde(default)]
    approved_by: Vec<String>,
}

impl Pending {
    fn who(&self, subject: &str) -> String {
        shown(self.names.get(subject).map(String::as_str), subject)
    }

    /// As `1 of 2 (ada)`.
    fn count(&self, approved_by: &[String], required: u32) -> String {
        let names: Vec<_> = approved_by.iter().map(|subject| self.who(subject)).collect();
        let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
        format!("{} of {required}{names}", approved_by.len())
    }

    /// As `leads or managers: 1 of 2 (ada)`.
    fn of_rule(&self, rule: &Standing) -> String {
        let who = if rule.groups.is_empty() { "anybody".to_owned() } else { rule.groups.join(" or ") };
        format!("{who}: {}", self.count(&rule.approved_by, rule.required))
    }

    fn rejection(&self, Rejection { subject, comment }: &Rejection) -> String {
        let who = self.who(subject);
        comment.as_ref().map_or(who.clone(), |comment| format!("{who}: {comment}"))
    }

    /// Where it stands: `1 of 2 (ada); not counted: bob: expired`.
    pub fn standing(&self) -> String {
        let mut text = match self.rules.as_slice() {
            [] | [_] => self.count(&self.approved_by, self.required),
            several => several.iter().map(|rule| self.of_rule(rule)).collect::<Vec<_>>().join("; "),
        };
        let mut rejections: Vec<_> = self.rejections.iter().map(|one| self.rejection(one)).collect();
        if rejections.is_empty() {
            rejections = self.rejected_by.iter().map(|subject| self.who(subject)).collect();
        }
        if !rejections.is_empty() {
            text = format!("rejected by {}; {text}", rejections.join(", "));
        }
        if !self.not_counted.is_empty() {
            let why: Vec<_> = self
                .not_counted
                .iter()
                .map(|one| format!("{}: {}", self.who(&one.subject), one.why))
                .collect();
            text = format!("{text}; not counted: {}", why.join(", "));
        }
        plain(&text).into_owned()
    }
}

pub(super) async fn run(session: &Session, command: ApprovalsCommand) -> Result<Exit, Error> {
    match command {
        ApprovalsCommand::Pending(args) => pending(session, &args).await,
        ApprovalsCommand::List(args) => list(session, &args).await,
        ApprovalsCommand::Withdraw(args) => withdraw(session, &args).await,
    }
}

async fn pending(session: &Session, args: &PendingArgs) -> Result<Exit, Error> {
    let call = Call::get(&["approvals", "pending"])
        .query("group", args.group.as_ref())
        .query("service", args.service.as_ref())
        .query("environment", args.environment.as_ref())
        .query("deployer", args.deployer.as_ref());
    let header = ["SERVICE", "VERSION", "ENVIRONMENT", "SINCE", "ASKED BY", "APPROVALS", "GROUPS"];
    let now = clock::now();
    let row = |it: Pending| {
        let (standing, asked_by) = (it.standing(), it.asked_by.shown());
        let since = age(now - it.waiting_since);
        [it.service, it.version, it.environment, since, asked_by, standing, it.groups.join(", ")]
    };
    let rows = |found: Vec<_>| found.into_iter().map(row).collect();
    session.list(&call, args.page.limit, "Nothing waits for approval.", header, rows).await
}

async fn list(session: &Session, args: &ListArgs) -> Result<Exit, Error> {
    let call = Call::get(&["services", &args.service, "releases", &args.version, "approvals"])
        .query("environment", args.environment.as_ref());
    let header = ["WHEN (UTC)", "ENVIRONMENT", "DECISION", "BY", "COMMENT", "ID"];
    let row = |said: Approval| {
        let mark = if said.withdrawn_at.is_some() { " (withdrawn)" } else { "" };
        let (by, decision) = (said.actor.shown(), format!("{}{mark}", said.decision));
        let when = moment::second(said.created_at);
        [when, said.environment, decision, by, said.comment.unwrap_or_default(), said.id]
    };
    let rows = |found: Vec<_>| found.into_iter().map(row).collect();
    session.list(&call, args.page.limit, "Nobody has said anything about it.", header, rows).await
}

async fn withdraw(session: &Session, args: &WithdrawArgs) -> Result<Exit, Error> {
    let path = ["services", &args.service, "releases", &args.version, "approvals", &args.id];
    session.client.send(&Call::delete(&path)).await?;
    session.show(&json!({ "id": args.id }), |_: Value| print("it is withdrawn"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_release_stands_is_one_line() {
        let value = json!({"service": "shop", "environment": "prod", "version": "1", "required": 2, "approved_by": ["ada"],
            "rejected_by": ["eve"], "not_counted": [{"subject": "bob", "why": "expired"}],
            "waiting_since": "2026-03-04T12:00:00.000000Z", "new_field": 1});
        let standing = Pending::deserialize(&value).map(|pending| pending.standing()).unwrap_or_default();
        assert_eq!(standing, "rejected by eve; 1 of 2 (ada); not counted: bob: expired");
        let value = json!({"service": "shop", "environment": "prod", "version": "1", "required": 2, "approved_by": ["ada"],
            "rejected_by": ["eve"], "rejections": [{"subject": "eve", "comment": "the\ncheckout\u{202e} breaks"}],
            "rules": [{"groups": ["leads", "managers"], "required": 2, "approved_by": ["ada"], "missing": 1},
                {"groups": [], "required": 1, "approved_by": [], "missing": 1}],
            "waiting_since": "2026-03-04T12:00:00.000000Z"});
        let standing = Pending::deserialize(&value).map(|pending| pending.standing()).unwrap_or_default();
        assert_eq!(
            standing,
            "rejected by eve: the checkout\\u{202e} breaks; leads or managers: 1 of 2 (ada); anybody: 0 of 1"
        );
        let value = json!({"service": "shop", "environment": "prod", "version": "1", "required": 2,
            "approved_by": ["gitlab:42"], "names": {"gitlab:42": "Ada"},
            "waiting_since": "2026-03-04T12:00:00.000000Z"});
        let standing = Pending::deserialize(&value).map(|pending| pending.standing()).unwrap_or_default();
        assert_eq!(standing, "1 of 2 (Ada (gitlab:42))");
    }
}
