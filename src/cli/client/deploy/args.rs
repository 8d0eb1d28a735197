//! What can be said of a deployment on the command line, and the start that this makes.

use std::{ffi::OsString, time::Duration};

use clap::ValueEnum;

use super::{
    away::{AwayArgs, OnError},
    body::{Intent, Start},
};
use crate::{
    cli::{
        client::{
            error::Error,
            release::{Origin, Prefix, Source},
            view::Override,
        },
        words::one_of,
    },
    domain::vocabulary::{Kind, Strategy},
};

#[derive(Debug, Clone, clap::Args)]
pub struct WhatArgs {
    /// The service to deploy.
    // Not needed by the steps, which is why these three are optional for the compiler.
    #[arg(long, required = true)]
    service: Option<String>,
    /// The environment to deploy to.
    #[arg(long, required = true)]
    environment: Option<String>,
    /// The release's version; a removal may leave it out.
    #[arg(long, required_unless_present = "kind")]
    version: Option<String>,
    #[command(flatten)]
    prefix: Prefix,
    #[command(flatten)]
    origin: Origin,
    /// What kind of deployment it is; without it, the server tells deploy and redeploy apart.
    #[arg(long, value_parser = one_of(&[Kind::Deploy, Kind::Hotfix, Kind::Redeploy, Kind::Remove]))]
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

#[derive(Debug, Clone, clap::Args)]
pub struct WrapArgs {
    /// How long the deployment may stay silent before others may start; a third of it is the heartbeat.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = lease)]
    pub lease: Duration,
    /// What to do when Waybill cannot be reached.
    #[arg(long, value_enum, default_value_t, env = "WAYBILL_ON_ERROR")]
    pub on_error: OnError,
    #[command(flatten)]
    pub away: AwayArgs,
    /// What to do when the target is somebody else's while the command runs, or the deployment was canceled.
    #[arg(long, value_enum, default_value_t)]
    pub on_lease_lost: OnLeaseLost,
    /// Leave the token (`WAYBILL_TOKEN`) and the ID token (`WAYBILL_ID_TOKEN`) to the command, which calls waybill itself.
    #[arg(long)]
    pub pass_token: bool,
    /// Only look, and run nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// The command that deploys; its exit code says whether it succeeded, and is returned.
    #[arg(last = true, value_name = "COMMAND", required_unless_present = "dry_run")]
    pub command: Vec<OsString>,
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

impl WhatArgs {
    pub fn start(self, options: &OptionArgs, lease: Duration) -> Result<Start, Error> {
        let missing = |flag: &str| Error::Usage(format!("{flag} is missing"));
        let ships = self.kind.is_none_or(Kind::ships);
        if ships && self.version.is_none() {
            return Err(missing("--version"));
        }
        let what = Intent {
            service: self.service.ok_or_else(|| missing("--service"))?,
            environment: self.environment.ok_or_else(|| missing("--environment"))?,
            version: self.version.map(|version| self.prefix.take_off(version)),
            // A pipeline's own commit is not what it removes.
            release: if ships { self.origin.release(&options.source) } else { None },
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
pub fn lease(text: &str) -> Result<Duration, String> {
    let lease = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if lease < Duration::from_secs(10) { Err("a lease has at least 10s".into()) } else { Ok(lease) }
}
