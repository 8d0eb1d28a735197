//! `waybill rollback`: shows what it returns to and what it reverts, then does as `deploy`.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    call::Call,
    deploy::{self, Intent, OnError, OptionArgs, Plan, Start, WrapArgs},
    error::Error,
    gate::Judgement,
    moment,
    session::Session,
    verdict,
    view::{Deployment, Occupant, Target, say_page},
};
use crate::{
    cli::{
        exit::Exit,
        output::{self, Format, error as say_error, plain, say, warn},
    },
    domain::vocabulary::{Kind, Status},
};

/// How far back the list of what is reverted goes.
const DEPTH: u32 = 200;

pub const EXAMPLES: &str = "\
Examples:
  Look what a rollback would do:
    waybill rollback --service shop --environment prod --dry-run

  Return to the release before, canceling whatever is being deployed:
    waybill rollback --service shop --environment prod --preempt -- ./deploy.sh

  The command finds the version to return to in WAYBILL_VERSION.

Releases of one image, of which only the configuration differs, are different releases to return to.

A release that proved itself here is let through by promotion, approval, vulnerabilities and image;
freeze windows let it through unless the policy says otherwise. Any other is judged like a deployment.

Own exit codes: 120 not taken as asked, 121 refused, 122 Waybill unreachable, 123 lease lost; `waybill --help` has all.
With --dry-run: 0 the gate is open, 5 it is not.";

#[derive(Debug, clap::Args)]
pub struct RollbackArgs {
    /// The service to roll back.
    #[arg(long)]
    service: String,
    /// The environment to roll back in.
    #[arg(long)]
    environment: String,
    /// The version to return to, instead of the newest one that proved itself here; any but the current one.
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    /// Cancel the deployment that is running in the target, rather than wait for it.
    #[arg(long)]
    preempt: bool,
    /// Do not ask for confirmation. Without a terminal nobody is asked anyway.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    options: OptionArgs,
    #[command(flatten)]
    wrap: WrapArgs,
}

/// What a rollback would do.
struct Prospect {
    target: Target,
    to: String,
    reverts: Vec<Deployment>,
    /// What the gate would say.
    gate: Judgement,
}

pub(super) async fn run(session: &Session, args: RollbackArgs) -> Result<Exit, Error> {
    let alone = args.wrap.away.left_alone();
    let is_asked = alone.is_none();
    let shown = match alone {
        Some(alone) => Err(alone.into()),
        None => prospect(session, &args).await,
    };
    let to = match (shown, &args.to) {
        (Ok(prospect), _) => {
            show(session, &args, &prospect)?;
            if args.wrap.dry_run {
                let open = prospect.gate.decision.allowed;
                return Ok(if open { Exit::DONE } else { Exit::REFUSED });
            }
            let (service, environment, to) = (&args.service, &args.environment, plain(&prospect.to));
            let question = format!("Roll back {service} in {environment} to {to}? [y/N]");
            if !output::confirmed(args.yes, question)? {
                return Err(Error::Failed("nothing was done".into()));
            }
            prospect.to
        }
        // Whoever knows where to return to must not be kept from it by an outage of the ledger.
        (Err(Error::Client(error)), Some(to))
            if error.is_outage() && args.wrap.on_error == OnError::Continue =>
        {
            warn(format_args!("{error}; cannot show what is reverted"));
            to.clone()
        }
        (Err(Error::Client(error)), _) if error.is_outage() && !args.wrap.dry_run => {
            if is_asked {
                args.wrap.away.note(false);
            }
            say_error(format_args!("{error}; nothing was run"));
            return Ok(Exit::UNREACHABLE);
        }
        (Err(error), _) => return Err(error),
    };
    let start = args.start(to);
    deploy::run_plan(session, &Plan { start, wait: args.options.wait, wrap: args.wrap }).await
}

impl RollbackArgs {
    /// Whether it is around a command whose exit code it returns.
    pub fn runs_a_command(&self) -> bool {
        !self.wrap.dry_run
    }

    fn start(&self, to: String) -> Start {
        let what = Intent {
            service: self.service.clone(),
            environment: self.environment.clone(),
            version: Some(to),
            kind: Some(Kind::Rollback),
            ..Intent::default()
        };
        self.options.start(what, self.wrap.lease, self.preempt)
    }
}

async fn prospect(session: &Session, args: &RollbackArgs) -> Result<Prospect, Error> {
    let (_, target) = deploy::target(session, &args.service, &args.environment).await?;
    let known = target.rollback_to.as_ref().map(|occupant| occupant.version.clone());
    let none = || {
        let message = "there is no release to return to: none before the current one proved itself here; name one with --to";
        Error::Failed(message.into())
    };
    let to = args.to.clone().or(known).ok_or_else(none)?;
    let call = Call::get(&["deployments"])
        .query("service", Some(&args.service))
        .query("environment", Some(&args.environment))
        .query("status", Some(Status::Succeeded));
    let succeeded = session.pages(&call, DEPTH).await?.read()?;
    let gate = args.start(to.clone()).question().ask(&session.client).await?;
    let reverts = reverts(succeeded, gate.reverts_since(), &to);
    Ok(Prospect { target, to, reverts, gate })
}

/// The deployments of other releases that became current after the moment, and that no rollback has reverted since, newest
/// first.
fn reverts(mut succeeded: Vec<Deployment>, since: Option<DateTime<Utc>>, to: &str) -> Vec<Deployment> {
    succeeded.retain(|one| one.version != to && one.reverted_by.is_none() && !one.is_removal());
    succeeded.retain(|one| since.is_some_and(|since| one.finished_at > Some(since)));
    succeeded.sort_by_key(|one| Reverse(one.finished_at));
    succeeded
}

fn show(session: &Session, args: &RollbackArgs, prospect: &Prospect) -> Result<(), Error> {
    let Prospect { target, to, reverts, gate } = prospect;
    if session.format == Format::Json && args.wrap.dry_run {
        let reverts: Vec<_> =
            reverts.iter().map(|gone| json!({"deployment_id": gone.id, "version": gone.version})).collect();
        let version =
            |occupant: &Option<Occupant>| occupant.as_ref().map(|occupant| occupant.version.clone());
        let (current, running) = (version(&target.current), version(&target.running));
        output::print_json(
            &json!({"to": to, "current": current, "running": running, "reverts": reverts, "gate": gate.raw}),
        )?;
        return Ok(());
    }
    for line in lines(args, prospect) {
        if args.wrap.dry_run {
            output::print(line)?;
        } else {
            say(line);
        }
    }
    if args.wrap.dry_run {
        say_page(prospect.gate.decision.web_url.as_deref());
    }
    Ok(())
}

fn lines(args: &RollbackArgs, Prospect { target, to, reverts, gate }: &Prospect) -> Vec<String> {
    let current = target.current.as_ref().map_or("nothing".into(), |current| plain(&current.version));
    let mut lines = vec![format!("{} in {}: {current} → {}", args.service, args.environment, plain(to))];
    lines.extend(reverts.iter().map(|gone| {
        let at = moment::second(gone.finished_at.unwrap_or(gone.started_at));
        let actor = gone.actor.shown();
        let actor = plain(&actor);
        format!(
            "  reverts {} ({}), current from {at} UTC, by {actor}",
            plain(&gone.version),
            plain(&gone.kind)
        )
    }));
    if reverts.is_empty() {
        lines.push("  nothing is known to have become current after it".into());
    }
    if let Some(running) = &target.running {
        let actor = running.actor.shown();
        let (version, actor) = (plain(&running.version), plain(&actor));
        let done = if running.removal { "removed" } else { "deployed" };
        let outlook =
            if args.preempt { "it will be canceled" } else { "--preempt cancels it, --wait waits for it" };
        lines.push(format!("  {version} is being {done} by {actor}: {outlook}"));
    }
    if args.wrap.dry_run {
        let verdict = if gate.decision.allowed { "lets it through" } else { "refuses it" };
        lines.push(format!("the gate {verdict} as things stand:"));
        lines.extend(verdict::lines(&gate.decision));
    }
    lines
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde::Deserialize as _;

    use super::*;

    fn at(day: u32) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(i64::from(day))
    }

    #[test]
    fn what_became_current_after_the_moment_is_reverted() {
        let succeeded = || {
            let deployment = |(version, day, reverted_by): (&str, u32, Option<&str>)| {
                let value = json!({"id": version, "service": "shop", "environment": "prod", "version": version,
                    "status": "succeeded", "started_at": at(0), "finished_at": at(day), "reverted_by": reverted_by});
                Deployment::deserialize(&value).ok()
            };
            let history = [
                ("1.2", 3, None),
                ("1.3", 4, None),
                ("1.1", 2, None),
                ("1.0", 1, None),
                ("1.4", 5, Some("1")),
            ];
            history.into_iter().filter_map(deployment).collect::<Vec<_>>()
        };
        let versions = |since, to| {
            reverts(succeeded(), since, to).into_iter().map(|gone| gone.version).collect::<Vec<_>>()
        };
        assert_eq!(versions(Some(at(2)), "1.1"), ["1.3", "1.2"]);
        assert_eq!(versions(Some(at(1)), "1.2"), ["1.3", "1.1"]);
        assert!(versions(None, "1.1").is_empty());
    }
}
