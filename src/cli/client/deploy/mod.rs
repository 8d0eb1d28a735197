//! `waybill deploy`: around a command, or step by step from several jobs.

mod ask;
mod body;
mod child;
mod lease;
mod preview;
mod report;
mod shim;
mod signals;
mod steps;
mod wrap;

use std::{ffi::OsString, time::Duration};

use clap::ValueEnum;

use self::steps::Step;
pub use self::{
    body::{Intent, Start},
    preview::target,
    shim::{SHIM, ShimArgs, run as watch_over},
    wrap::{Plan, run as run_plan},
};
use super::{
    error::Error,
    release::{Origin, Source},
    session::Session,
    view::Override,
};
use crate::{
    cli::{exit::Exit, words::one_of},
    domain::vocabulary::{Kind, Strategy},
};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct DeployArgs {
    #[command(subcommand)]
    step: Option<Step>,
    #[command(flatten)]
    what: WhatArgs,
    #[command(flatten)]
    options: OptionArgs,
    #[command(flatten)]
    wrap: WrapArgs,
}

/// What goes where.
#[derive(Debug, Clone, clap::Args)]
pub struct WhatArgs {
    /// The service to deploy.
    // Not needed by the steps, which is why these three are optional for the compiler.
    #[arg(long, required = true)]
    service: Option<String>,
    /// The environment to deploy to.
    #[arg(long, required = true)]
    environment: Option<String>,
    /// The release's version.
    #[arg(long, required = true)]
    version: Option<String>,
    #[command(flatten)]
    origin: Origin,
    /// What kind of deployment it is; without it, the server tells deploy and redeploy apart.
    #[arg(long, value_parser = one_of(&[Kind::Deploy, Kind::Hotfix, Kind::Redeploy]))]
    kind: Option<Kind>,
}

/// What can be said about any start.
#[derive(Debug, Clone, clap::Args)]
pub struct OptionArgs {
    /// How the new version replaces the old one.
    #[arg(long, value_parser = one_of(Strategy::ALL))]
    strategy: Option<Strategy>,
    /// The deployment whose failure this one repairs.
    #[arg(long, value_name = "ID")]
    remediates: Option<String>,
    /// Why this is done.
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    source: Source,
    /// Start although the gate says no, for this reason; the token needs the right to.
    #[arg(long = "override", value_name = "REASON")]
    override_reason: Option<String>,
    /// How long to wait for the gate to open, like 30m.
    #[arg(long, value_name = "DURATION", default_value = "0s", hide_default_value = true, value_parser = humantime::parse_duration)]
    pub wait: Duration,
}

/// How to go about the command.
#[derive(Debug, Clone, clap::Args)]
pub struct WrapArgs {
    /// How long the deployment may stay silent before others may start; a third of it is the heartbeat.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = lease)]
    pub lease: Duration,
    /// What to do when Waybill cannot be reached.
    #[arg(long, value_enum, default_value_t)]
    pub on_error: OnError,
    /// What to do when the target is somebody else's while the command runs, or the deployment was canceled.
    #[arg(long, value_enum, default_value_t)]
    on_lease_lost: OnLeaseLost,
    /// Leave `WAYBILL_TOKEN` and `WAYBILL_TOKEN_FILE` to the command, which calls waybill itself.
    #[arg(long)]
    pass_token: bool,
    /// Only look, and run nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// The command that deploys; its exit code says whether it succeeded, and is returned.
    #[arg(last = true, value_name = "COMMAND", required_unless_present = "dry_run")]
    command: Vec<OsString>,
}

/// What to do when Waybill cannot be reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum OnError {
    /// Run nothing, and exit with 122.
    #[default]
    Fail,
    /// Run the command all the same, and report it afterwards as ungated.
    Continue,
}

/// What to do when the lease is lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum OnLeaseLost {
    /// Stop the command (SIGTERM, after five seconds SIGKILL), and exit with 123.
    #[default]
    Terminate,
    /// Let the command end, and report its result late.
    Continue,
}

pub const EXAMPLES: &str = "\
Examples:
  Ask the gate, deploy, and put the result on record:
    waybill deploy --service shop --environment prod --version 1.4.2 -- kubectl apply -k prod

  Wait up to half an hour for the gate to open, and bring the release along:
    waybill deploy --service shop --environment prod --version 1.4.2 \\
      --commit 3f1c9e0 --image registry.example.com/shop@sha256:… --wait 30m -- ./deploy.sh

  A canary over several jobs:
    id=$(waybill deploy start --service shop --environment prod --version 1.4.2 --strategy canary)
    waybill deploy heartbeat \"$id\" --traffic-percent 10
    waybill deploy finish \"$id\" --status succeeded

The command finds the deployment's id in WAYBILL_DEPLOYMENT_ID and the version in WAYBILL_VERSION. It gets
the rest of the environment too, but not the token, unless with --pass-token.
Signals are passed on to it, and its exit code is returned. In a GitLab job the commit, ref, commit
time, pipeline and user are known without being named.

Where Waybill cannot be reached the command goes on, also beyond the lease; it is stopped only when Waybill
says that somebody else has the target, or that the deployment was canceled. A result that cannot be put
on record is said, with the command that does it later. When waybill is killed, the command is stopped too.

Own exit codes: 121 refused by the gate, 122 Waybill unreachable, 123 lease lost.
With --dry-run: 0 the gate is open, 5 it is not.";

impl WhatArgs {
    fn start(self, options: &OptionArgs, lease: Duration) -> Result<Start, Error> {
        let missing = |flag: &str| Error::Usage(format!("{flag} is missing"));
        let what = Intent {
            service: self.service.ok_or_else(|| missing("--service"))?,
            environment: self.environment.ok_or_else(|| missing("--environment"))?,
            version: self.version.ok_or_else(|| missing("--version"))?,
            release: self.origin.release(&options.source)?,
            kind: self.kind,
            ..Intent::default()
        };
        Ok(options.start(what, lease, false))
    }
}

impl OptionArgs {
    /// What the server is asked for: what goes where, and all that these options say about it.
    pub fn start(&self, what: Intent, lease: Duration, preempt: bool) -> Start {
        let intent = Intent {
            strategy: self.strategy,
            remediates: self.remediates.clone(),
            reason: self.reason.clone(),
            source: self.source.clone(),
            ..what
        };
        let override_ = self.override_reason.clone().map(|reason| Override { reason });
        Start { intent, lease_seconds: lease.as_secs(), preempt, override_ }
    }
}

/// A lease so short that no heartbeat gets through in time would be lost at once.
fn lease(text: &str) -> Result<Duration, String> {
    let lease = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if lease < Duration::from_secs(10) { Err("a lease has at least 10s".into()) } else { Ok(lease) }
}

pub(super) async fn run(session: &Session, args: DeployArgs) -> Result<Exit, Error> {
    if let Some(step) = args.step {
        return steps::run(session, step).await;
    }
    let start = args.what.start(&args.options, args.wrap.lease)?;
    if args.wrap.dry_run {
        return preview::run(session, &start).await;
    }
    wrap::run(session, &Plan { start, wait: args.options.wait, wrap: args.wrap }).await
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::Cli;

    fn parses(line: &str) -> bool {
        Cli::try_parse_from(line.split(' ')).is_ok()
    }

    #[test]
    fn a_command_is_needed_unless_only_to_look() {
        let what = "waybill deploy --service shop --environment prod --version 1";
        assert!(parses(&format!("{what} -- true --flag")));
        assert!(parses(&format!("{what} --dry-run")));
        assert!(!parses(what));
        assert!(!parses("waybill deploy --service shop --environment prod -- true"));
        assert!(!parses(&format!("{what} --lease 1s -- true")));
    }

    #[test]
    fn steps_need_nothing_of_the_wrapper() {
        assert!(parses("waybill deploy start --service shop --environment prod --version 1"));
        assert!(parses("waybill deploy heartbeat 0199 --traffic-percent 10"));
        assert!(parses("waybill deploy finish 0199 --status succeeded"));
        assert!(!parses("waybill deploy finish 0199"));
        assert!(!parses("waybill deploy --service shop finish 0199 --status failed"));
    }
}
