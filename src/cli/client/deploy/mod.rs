//! `waybill deploy`: around a command, or step by step from several jobs.

mod args;
mod ask;
mod away;
mod body;
mod child;
mod kept;
mod lease;
pub mod preview;
mod report;
mod shim;
mod signals;
mod steps;
mod wrap;

use self::{args::WhatArgs, steps::Step};
pub use self::{
    args::{OptionArgs, WrapArgs},
    away::OnError,
    body::{Intent, Start},
    preview::target,
    shim::{SHIM, ShimArgs, run as watch_over},
    wrap::{Plan, run as run_plan},
};
use super::{error::Error, session::Session};
use crate::cli::exit::Exit;

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

impl DeployArgs {
    /// Whether it is around a command whose exit code it returns.
    pub fn runs_a_command(&self) -> bool {
        self.step.is_none() && !self.wrap.dry_run
    }
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

Where Waybill does not answer, it is asked again for half a minute (with --retry N, N times), and then --on-error
decides: `fail` runs nothing, `continue` runs the command without the gate. With --breaker FILE, after three
such runs in a row (--breaker-failures) Waybill is not asked at all for ten minutes (--breaker-cooldown), and
--on-error decides at once; the run after that asks again. Any answer counts as one, a refusal too.

While the command runs, a Waybill that is away does not touch it, also beyond the lease; it is stopped only when
Waybill says that somebody else has the target, or that the deployment was canceled. A result that is not put
on record, because it cannot be or Waybill is left alone, is kept in waybill-report-….json in the current
folder, which `waybill deploy report FILE` sends later. When waybill is killed, the command is stopped too.

Own exit codes: 120 not taken as asked, 121 refused, 122 Waybill unreachable, 123 lease lost; `waybill --help` has all.
With --dry-run: 0 the gate is open, 5 it is not.";

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
