//! The steps of a deployment that spans several jobs: start, heartbeat, finish; and what was kept of one, sent later.

use std::{io, path::PathBuf, time::Duration};

use serde_json::Value;

use super::{
    args::{OptionArgs, WhatArgs, lease},
    ask::{self, Reply},
    body::HeartbeatBody,
    kept::{Report, ReportFile},
    report,
    signals::Signals,
};
use crate::{
    cli::{
        client::{call::Call, error::Error, moment, session::Session, view::Deployment},
        exit::Exit,
        output::{error as say_error, plain, print, say},
        words::one_of,
    },
    domain::vocabulary::Outcome,
};

#[derive(Debug, clap::Subcommand)]
pub enum Step {
    /// Ask the gate, start the deployment and print its id.
    Start(Box<StartArgs>),
    /// Say that a deployment is still going on, and how far it is.
    Heartbeat(HeartbeatArgs),
    /// Say how a deployment ended.
    Finish(FinishArgs),
    /// Put results on record that could not be when they were due; the same again changes nothing.
    #[command(after_help = REPORT_HELP)]
    Report(ReportArgs),
}

const REPORT_HELP: &str = "\
Where Waybill cannot be reached, `waybill deploy` leaves the result in waybill-report-….json in the folder \
that it runs in, and says so. Keep these files as artefacts of the pipeline, and send them when Waybill is \
back. They hold no secret. For what went on without the gate, the token's scope `deploy` is enough while \
its start is less than `ledger.max_lease` (7 days) ago, later it needs `record`.

Example:
  waybill deploy report waybill-report-*.json";

#[derive(Debug, clap::Args)]
pub struct StartArgs {
    #[command(flatten)]
    what: WhatArgs,
    #[command(flatten)]
    options: OptionArgs,
    /// How long the deployment may stay silent before others may start.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = lease)]
    lease: Duration,
}

#[derive(Debug, clap::Args)]
pub struct HeartbeatArgs {
    /// The deployment.
    id: String,
    /// What is going on, for people.
    #[arg(long)]
    message: Option<String>,
    /// The phase it is in.
    #[arg(long)]
    phase: Option<String>,
    /// How much of the traffic the new version has.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    traffic_percent: Option<u8>,
}

#[derive(Debug, clap::Args)]
pub struct FinishArgs {
    /// The deployment.
    id: String,
    /// How it ended.
    #[arg(long, value_parser = one_of(Outcome::ALL))]
    status: Outcome,
    /// What there is to say about it.
    #[arg(long)]
    message: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// The files that `waybill deploy` has left, or `-` for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub async fn run(session: &Session, step: Step) -> Result<Exit, Error> {
    match step {
        Step::Start(args) => start(session, *args).await,
        Step::Heartbeat(HeartbeatArgs { id, message, phase, traffic_percent }) => {
            let body = HeartbeatBody { message, phase, traffic_percent };
            session
                .tell(&Call::post(&["deployments", &id, "heartbeat"], &body)?, |deployment| told(&deployment))
                .await
        }
        Step::Finish(FinishArgs { id, status, message }) => {
            finish(session, &Report::finish(&id, status, message)).await
        }
        Step::Report(ReportArgs { files }) => report(session, &files).await,
    }
}

/// Sends how a deployment ended; where nobody takes it, it is kept as that of a command would be.
async fn finish(session: &Session, result: &Report) -> Result<Exit, Error> {
    let told = session.tell(&result.call()?, |deployment| told(&deployment)).await;
    if let Err(Error::Client(error)) = &told
        && error.is_outage()
    {
        let later = report::later(result, &mut ReportFile::new());
        say(format_args!("Once Waybill is back, this puts the result on record:\n  {later}"));
    }
    told
}

/// Sends what was kept, all of it, though some of it be refused.
async fn report(session: &Session, files: &[PathBuf]) -> Result<Exit, Error> {
    let reports = files.iter().map(|file| Report::read(file)).collect::<Result<Vec<_>, _>>()?;
    let mut exit = Exit::DONE;
    for (file, result) in files.iter().zip(reports) {
        if let Err(error) = session.tell(&result.call()?, |deployment| told(&deployment)).await {
            say_error(format_args!("{}: {error}", file.display()));
            exit = error.exit();
        }
    }
    Ok(exit)
}

async fn start(session: &Session, args: StartArgs) -> Result<Exit, Error> {
    let start = args.what.start(&args.options, args.lease)?;
    match ask::ask(&session.client, &start, args.options.wait, &mut Signals::new()?).await? {
        Reply::Open(started, answer) => {
            ask::show_reports(&started.decision);
            session.show(&answer, |_: Value| print(&started.deployment.id))
        }
        Reply::Refused(problem) => {
            ask::show_refusal(session, &problem)?;
            Ok(Exit::REFUSED)
        }
        Reply::Interrupted(caught) => Ok(Exit(caught.exit_code())),
    }
}

fn told(deployment: &Deployment) -> io::Result<()> {
    let lease = deployment.lease_expires_at.filter(|_| deployment.status == "running");
    let until = lease.map(|at| format!(", the lease ends at {} UTC", moment::second(at)));
    let (what, status) = (deployment.what(), plain(&deployment.status));
    print(format_args!("{what}: {status}{}", until.unwrap_or_default()))
}
