//! `waybill remove`: takes a service out of one environment, and otherwise does as `deploy`.

use clap::builder::Resettable;

use super::{
    deploy::{self, Intent, OptionArgs, Plan, WrapArgs, preview},
    error::Error,
    session::Session,
};
use crate::{cli::exit::Exit, domain::vocabulary::Kind};

pub const EXAMPLES: &str = "\
Examples:
  Look whether the gate lets it be removed now:
    waybill remove --service shop --environment eu-2 --dry-run

  Remove it, and put that on record:
    waybill remove --service shop --environment eu-2 -- kubectl delete -k eu-2

  It was removed by hand:
    waybill remove --service shop --environment eu-2 --reason 'moved to eu-1'

  Only if this version runs there:
    waybill remove --service shop --environment eu-2 --version 1.4.2 -- ./remove.sh

The command finds the version that is removed in WAYBILL_VERSION. Once it has succeeded nothing is current there;
where it fails, what was current still is. `waybill rollback` brings back what was removed.

Of the gate's rules concurrency, lockdown and freeze apply; those about what is shipped do not.

Own exit codes: 121 refused by the gate, 122 Waybill unreachable, 123 lease lost.
With --dry-run: 0 the gate is open, 5 it is not.";

#[derive(Debug, clap::Args)]
#[command(mut_arg("command", |command| command
    .required_unless_present(Resettable::Reset)
    .help("The command that removes it; its exit code says whether it succeeded, and is returned. Without one, the removal is \
           put on record as done")))]
pub struct RemoveArgs {
    /// The service to remove.
    #[arg(long)]
    service: String,
    /// The environment to remove it from.
    #[arg(long)]
    environment: String,
    /// The version that must run there; when not given, whatever runs there is removed.
    #[arg(long)]
    version: Option<String>,
    #[command(flatten)]
    options: OptionArgs,
    #[command(flatten)]
    wrap: WrapArgs,
}

pub(super) async fn run(session: &Session, args: RemoveArgs) -> Result<Exit, Error> {
    let RemoveArgs { service, environment, version, options, wrap } = args;
    let what = Intent { service, environment, version, kind: Some(Kind::Remove), ..Intent::default() };
    let start = options.start(what, wrap.lease, false);
    if wrap.dry_run {
        return preview::run(session, &start).await;
    }
    deploy::run_plan(session, &Plan { start, wait: options.wait, wrap }).await
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::Cli;

    #[test]
    fn neither_a_command_nor_a_version_is_needed() {
        let parses = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
        assert!(parses("waybill remove --service shop --environment prod"));
        assert!(parses("waybill remove --service shop --environment prod --version 1 -- true --flag"));
        assert!(!parses("waybill remove --service shop"));
        assert!(parses("waybill deploy --service shop --environment prod --kind remove -- true"));
    }
}
