//! `waybill waiver`: answering for a vulnerability for a while, and taking that back.

use std::io;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{
    call::Call,
    card::print_lines,
    error::Error,
    moment, named,
    session::{ALL, Session},
};
use crate::{
    cli::{
        exit::Exit,
        output::{plain, say},
    },
    clock,
    domain::scan::spelled,
};

#[derive(Debug, clap::Subcommand)]
pub enum WaiverCommand {
    /// Waive a vulnerability: until the waiver ends, it does not count against the budget.
    #[command(after_help = EXAMPLES)]
    Create(CreateArgs),
    /// List the waivers that hold, newest first.
    List(ListArgs),
    /// Show one waiver.
    Show(WhichArgs),
    /// Withdraw a waiver: the vulnerability counts again, at once.
    Withdraw(WhichArgs),
}

const EXAMPLES: &str = "\
Examples:
  waybill waiver create CVE-2021-44228 --service shop --for 30d \\
    --reason 'no text of users reaches the logger'
  waybill waiver create GHSA-jfh8-c2jp-5v3q --environment staging \\
    --until 2026-12-31T00:00:00Z --reason 'staging has no users'

Without --service it counts for all services, without --environment in all environments.";

#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    /// Its id, such as CVE-2021-44228: any that a report gives it.
    vulnerability: String,
    /// Why it need not stand in the way; at least ten characters, which everybody reads whom it lets through.
    #[arg(long)]
    reason: String,
    /// When it ends, at most a year ahead, such as 2026-12-31T00:00:00Z.
    #[arg(long, value_name = "TIME", required_unless_present = "lasts")]
    until: Option<String>,
    /// For how long, instead, such as 30d.
    #[arg(long = "for", value_name = "DURATION", conflicts_with = "until", value_parser = humantime::parse_duration)]
    lasts: Option<std::time::Duration>,
    /// A service for which it counts; repeat for more.
    #[arg(long = "service", value_name = "SERVICE")]
    services: Vec<String>,
    /// An environment in which it counts; repeat for more.
    #[arg(long = "environment", value_name = "ENVIRONMENT")]
    environments: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Those that count for this service only.
    #[arg(long)]
    service: Option<String>,
    /// Those that count in this environment only.
    #[arg(long)]
    environment: Option<String>,
    /// Those of this vulnerability only.
    #[arg(long, value_name = "ID")]
    vulnerability: Option<String>,
    /// Those as well that have ended or were withdrawn.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, clap::Args)]
pub struct WhichArgs {
    /// Its id, or that of its vulnerability, as `waybill waiver list` shows them.
    #[arg(value_name = "WAIVER")]
    which: String,
}

#[derive(Debug, Serialize)]
struct Body {
    vulnerability: String,
    reason: String,
    expires_at: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    services: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    environments: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Waiver {
    id: String,
    vulnerability: String,
    reason: String,
    expires_at: DateTime<Utc>,
    services: Option<Vec<String>>,
    environments: Option<Vec<String>>,
    active: bool,
    #[serde(default)]
    withdrawn_at: Option<DateTime<Utc>>,
}

impl CreateArgs {
    fn body(self, now: DateTime<Utc>) -> Result<Body, Error> {
        let ends = || {
            let lasts = TimeDelta::from_std(self.lasts?).ok()?;
            now.checked_add_signed(lasts)
        };
        let expires_at = self.until.or_else(|| ends().map(moment::text));
        let too_far = || Error::Usage("--for: longer than a waiver may be; at most a year".into());
        Ok(Body {
            vulnerability: self.vulnerability,
            reason: self.reason,
            expires_at: expires_at.ok_or_else(too_far)?,
            services: self.services,
            environments: self.environments,
        })
    }
}

pub(super) async fn run(session: &Session, command: WaiverCommand) -> Result<Exit, Error> {
    match command {
        WaiverCommand::Create(args) => {
            let call = Call::post(&["waivers"], &args.body(clock::now())?)?;
            session.tell(&call, |waiver| told(&waiver, "waived: ")).await
        }
        WaiverCommand::List(args) => list(session, args).await,
        WaiverCommand::Show(args) => {
            let id = args.id(session).await?;
            session.tell(&Call::get(&["waivers", &id]), |waiver| told(&waiver, "")).await
        }
        WaiverCommand::Withdraw(args) => {
            session.client.send(&Call::delete(&["waivers", &args.id(session).await?])).await?;
            say(format_args!("The waiver {} is withdrawn.", plain(&args.which)));
            Ok(Exit::DONE)
        }
    }
}

async fn list(session: &Session, args: ListArgs) -> Result<Exit, Error> {
    let call = Call::get(&["waivers"])
        .query("service", args.service)
        .query("environment", args.environment)
        .query("vulnerability", args.vulnerability)
        .query("all", args.all.then_some(true));
    let header = ["ID", "VULNERABILITY", "WHERE", "UNTIL (UTC)", "REASON"];
    let row = |waiver: Waiver| {
        let (places, until) = (waiver.places(), waiver.until());
        [waiver.id, waiver.vulnerability, places, until, waiver.reason]
    };
    let rows = |waivers: Vec<_>| waivers.into_iter().map(row).collect();
    session.list(&call, ALL, "No waivers.", header, rows).await
}

fn told(waiver: &Waiver, did: &str) -> io::Result<()> {
    let lines = [
        ("reason", waiver.reason.clone()),
        ("where", waiver.places()),
        ("until", format!("{} (UTC)", waiver.until())),
    ];
    print_lines(&format!("{did}{} ({})", waiver.vulnerability, waiver.id), &lines)
}

impl WhichArgs {
    async fn id(&self, session: &Session) -> Result<String, Error> {
        let list = Call::get(&["waivers"]);
        named::id_of(session, "waiver", &list, "vulnerability", &spelled(self.which.trim())).await
    }
}

impl Waiver {
    fn places(&self) -> String {
        let named =
            [&self.services, &self.environments].map(|names| names.as_ref().map(|names| names.join(", ")));
        match named {
            [None, None] => "everywhere".to_owned(),
            [Some(services), None] => services,
            [None, Some(environments)] => format!("everything in {environments}"),
            [Some(services), Some(environments)] => format!("{services} in {environments}"),
        }
    }

    fn until(&self) -> String {
        let end = moment::minute(self.withdrawn_at.unwrap_or(self.expires_at));
        match (self.active, self.withdrawn_at) {
            (true, _) => end,
            (false, Some(_)) => format!("{end}, withdrawn"),
            (false, None) => format!("{end}, over"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_waiver_says_where_and_until_when() {
        let mut value = json!({"id": "1", "vulnerability": "CVE-1", "reason": "r", "expires_at": "2026-12-31T00:00:00Z",
            "services": ["shop", "pay"], "environments": ["prod"], "active": true, "new_field": 1});
        let waiver = Waiver::deserialize(&value).unwrap();
        assert_eq!(
            (waiver.places().as_str(), waiver.until().as_str()),
            ("shop, pay in prod", "2026-12-31 00:00")
        );
        value["services"] = json!(null);
        value["active"] = json!(false);
        let waiver = Waiver::deserialize(&value).unwrap();
        assert_eq!(
            (waiver.places().as_str(), waiver.until().as_str()),
            ("everything in prod", "2026-12-31 00:00, over")
        );
        value["environments"] = json!(null);
        value["withdrawn_at"] = json!("2026-12-01T10:00:00Z");
        let waiver = Waiver::deserialize(&value).unwrap();
        assert_eq!(
            (waiver.places().as_str(), waiver.until().as_str()),
            ("everywhere", "2026-12-01 10:00, withdrawn")
        );
    }

    #[test]
    fn it_lasts_from_now() {
        let args = |lasts| CreateArgs {
            vulnerability: "CVE-1".into(),
            reason: "r".into(),
            until: None,
            lasts: Some(std::time::Duration::from_secs(lasts)),
            services: vec![],
            environments: vec![],
        };
        let now = DateTime::UNIX_EPOCH;
        let body = args(3600).body(now).ok().and_then(|body| serde_json::to_value(body).ok());
        let expected =
            json!({"vulnerability": "CVE-1", "reason": "r", "expires_at": "1970-01-01T01:00:00.000000Z"});
        assert_eq!(body, Some(expected));
        assert!(matches!(args(u64::MAX).body(now), Err(Error::Usage(_))));
    }
}
