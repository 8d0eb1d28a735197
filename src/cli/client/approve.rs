//! `waybill approve`, `waybill reject` and `waybill approvals`: people say what may go where.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Session,
    error::Error,
    exit::Exit,
    history,
    http::Call,
    output::{self, Format, age, plain},
    view::{Actor, Release},
};
use crate::clock;

/// The examples of `waybill approve --help` and `waybill reject --help`.
pub const EXAMPLES: &str = "\
Examples:
  waybill approvals pending --group release-managers
  waybill approve --service shop --environment prod --version 1.4.2 --comment \"seen in staging\"
  waybill reject --service shop --environment prod --version 1.4.2 --comment \"breaks the checkout\"";

/// The options of `approve`.
#[derive(Debug, clap::Args)]
pub struct ApproveArgs {
    #[command(flatten)]
    say: SayArgs,
    /// The image that you looked at, as repository@sha256:…; when not given, the one that the release has now, which is
    /// shown. When the release gets another meanwhile, nothing is approved.
    #[arg(long)]
    image: Option<String>,
}

/// The options of `approve` and `reject`.
#[derive(Debug, clap::Args)]
pub struct SayArgs {
    /// The service.
    #[arg(long)]
    service: String,
    /// The environment that the release is to go to.
    #[arg(long)]
    environment: String,
    /// The release's version.
    #[arg(long)]
    version: String,
    /// Why.
    #[arg(long)]
    comment: Option<String>,
}

/// What can be done with approvals.
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

/// The options of `approvals pending`.
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
    /// How many to list at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// The options of `approvals list`.
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
    /// How many to list at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// The options of `approvals withdraw`.
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
struct Approval {
    id: String,
    service: String,
    version: String,
    environment: String,
    decision: String,
    #[serde(default)]
    comment: Option<String>,
    #[serde(default)]
    actor: Actor,
    created_at: DateTime<Utc>,
    #[serde(default)]
    withdrawn_at: Option<DateTime<Utc>>,
}

/// A release that waits.
#[derive(Debug, Deserialize)]
struct Pending {
    service: String,
    environment: String,
    version: String,
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

/// As `1 of 2 (ada)`.
fn count(approved_by: &[String], required: u32) -> String {
    let names = if approved_by.is_empty() { String::new() } else { format!(" ({})", approved_by.join(", ")) };
    format!("{} of {required}{names}", approved_by.len())
}

impl Standing {
    /// As `leads or managers: 1 of 2 (ada)`.
    fn in_words(&self) -> String {
        let who = if self.groups.is_empty() { "anybody".to_owned() } else { self.groups.join(" or ") };
        format!("{who}: {}", count(&self.approved_by, self.required))
    }
}

impl Rejection {
    fn in_words(&self) -> String {
        match &self.comment {
            Some(comment) => format!("{}: {comment}", self.subject),
            None => self.subject.clone(),
        }
    }
}

impl Pending {
    /// Where it stands: `1 of 2 (ada); not counted: bob: expired`.
    fn standing(&self) -> String {
        let mut text = match self.rules.as_slice() {
            [] | [_] => count(&self.approved_by, self.required),
            several => several.iter().map(Standing::in_words).collect::<Vec<_>>().join("; "),
        };
        let rejections: Vec<_> = self.rejections.iter().map(Rejection::in_words).collect();
        let rejections = if rejections.is_empty() { &self.rejected_by } else { &rejections };
        if !rejections.is_empty() {
            text = format!("rejected by {}; {text}", rejections.join(", "));
        }
        if !self.not_counted.is_empty() {
            let why: Vec<_> =
                self.not_counted.iter().map(|one| format!("{}: {}", one.subject, one.why)).collect();
            text = format!("{text}; not counted: {}", why.join(", "));
        }
        plain(&text).into_owned()
    }
}

/// Approves the image that its caller looked at, and no other.
pub(super) async fn approve(
    session: &Session,
    ApproveArgs { say: args, image }: &ApproveArgs,
) -> Result<Exit, Error> {
    let mut body = body(args, "approved");
    let image = match image {
        Some(image) => Some(json!(image)),
        None => look_up(session, args).await?,
    };
    body.extend(image.map(|image| ("image".to_owned(), image)));
    say(session, args, body).await
}

/// Rejects, whichever image it is.
pub(super) async fn reject(session: &Session, args: &SayArgs) -> Result<Exit, Error> {
    say(session, args, body(args, "rejected")).await
}

fn body(args: &SayArgs, decision: &str) -> Map<String, Value> {
    let body = [
        ("environment", json!(args.environment)),
        ("decision", json!(decision)),
        ("comment", json!(args.comment)),
    ];
    body.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The image that the release has now, or null, and shows the release. Nothing with a token that may not read it.
async fn look_up(session: &Session, args: &SayArgs) -> Result<Option<Value>, Error> {
    let call = Call::get(&["services", &args.service, "releases", &args.version]);
    let release = match session.client.send(&call).await {
        Err(error) if error.is_forbidden() => {
            output::warn(
                "the token cannot read the release: what is approved is the image that it has, unless --image names it",
            );
            return Ok(None);
        }
        answer => Release::deserialize(answer?)?,
    };
    let (version, commit) = (&release.version, release.commit_sha.as_deref().unwrap_or("unknown"));
    let image = release.image.as_deref().unwrap_or("no image yet");
    output::say(format_args!(
        "{} {}: commit {}, {}",
        plain(&release.service),
        plain(version),
        plain(commit),
        plain(image)
    ));
    Ok(Some(json!(release.image)))
}

async fn say(session: &Session, args: &SayArgs, body: Map<String, Value>) -> Result<Exit, Error> {
    let body = Value::Object(body);
    let call = Call::post(&["services", &args.service, "releases", &args.version, "approvals"], &body)?;
    let answer = session.client.send(&call).await?;
    if session.format == Format::Json {
        output::print_json(&answer)?;
        return Ok(Exit::DONE);
    }
    let said = Approval::deserialize(answer)?;
    output::print(format_args!(
        "{} {} is {} for {} by {} ({})",
        plain(&said.service),
        plain(&said.version),
        plain(&said.decision),
        plain(&said.environment),
        plain(said.actor.name()),
        plain(&said.id)
    ))?;
    if let Some(waits) = still_waits(session, args).await {
        output::say(format_args!("the gate still waits: {}", waits.standing()));
    }
    Ok(Exit::DONE)
}

/// What the release still waits for, as far as the token may see it.
async fn still_waits(session: &Session, args: &SayArgs) -> Option<Pending> {
    let call = Call::get(&["approvals", "pending"])
        .query("service", Some(args.service.clone()))
        .query("environment", Some(args.environment.clone()))
        .quiet();
    let (items, _) = history::collect(session, &call, u32::MAX).await.ok()?;
    let waiting = items.iter().filter_map(|item| Pending::deserialize(item).ok());
    waiting.into_iter().find(|pending| pending.version == args.version)
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
        .query("group", args.group.clone())
        .query("service", args.service.clone())
        .query("environment", args.environment.clone())
        .query("deployer", args.deployer.clone());
    let (items, next_cursor) = history::collect(session, &call, args.limit).await?;
    if session.format == Format::Json {
        output::print_json(&json!({"items": items, "next_cursor": next_cursor}))?;
        return Ok(Exit::DONE);
    }
    let header = ["SERVICE", "VERSION", "ENVIRONMENT", "SINCE", "ASKED BY", "APPROVALS", "GROUPS"];
    let now = clock::now();
    let row = |pending: Pending| {
        let texts = [
            pending.service.as_str(),
            &pending.version,
            &pending.environment,
            &age(now - pending.waiting_since),
            pending.asked_by.name(),
            &pending.standing(),
            &pending.groups.join(", "),
        ];
        texts.into_iter().map(|text| plain(text).into_owned()).collect()
    };
    print_rows(&items, &header, "Nothing waits for approval.", row)
}

async fn list(session: &Session, args: &ListArgs) -> Result<Exit, Error> {
    let call = Call::get(&["services", &args.service, "releases", &args.version, "approvals"])
        .query("environment", args.environment.clone());
    let (items, next_cursor) = history::collect(session, &call, args.limit).await?;
    if session.format == Format::Json {
        output::print_json(&json!({"items": items, "next_cursor": next_cursor}))?;
        return Ok(Exit::DONE);
    }
    let header = ["WHEN (UTC)", "ENVIRONMENT", "DECISION", "BY", "COMMENT", "ID"];
    let row = |said: Approval| {
        let mark = if said.withdrawn_at.is_some() { " (withdrawn)" } else { "" };
        let texts = [
            said.created_at.format("%Y-%m-%d %H:%M:%S").to_string(),
            said.environment,
            format!("{}{mark}", said.decision),
            said.actor.name().to_owned(),
            said.comment.unwrap_or_default(),
            said.id,
        ];
        texts.iter().map(|text| plain(text).into_owned()).collect()
    };
    print_rows(&items, &header, "Nobody has said anything about it.", row)
}

fn print_rows<T: for<'a> Deserialize<'a>>(
    items: &[Value],
    header: &[&str],
    none: &str,
    row: impl Fn(T) -> Vec<String>,
) -> Result<Exit, Error> {
    if items.is_empty() {
        output::say(none);
        return Ok(Exit::DONE);
    }
    let rows = items.iter().map(|item| Ok(row(T::deserialize(item)?))).collect::<Result<Vec<_>, Error>>()?;
    let header: Vec<_> = header.iter().map(ToString::to_string).collect();
    output::print(output::table(&header, &rows, output::width()))?;
    Ok(Exit::DONE)
}

async fn withdraw(session: &Session, args: &WithdrawArgs) -> Result<Exit, Error> {
    let path = ["services", &args.service, "releases", &args.version, "approvals", &args.id];
    session.client.send(&Call::delete(&path)).await?;
    if session.format == Format::Json {
        output::print_json(&json!({ "id": args.id }))?;
    } else {
        output::print("it is withdrawn")?;
    }
    Ok(Exit::DONE)
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
    }
}
