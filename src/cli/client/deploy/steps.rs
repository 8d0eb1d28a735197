//! The steps of a deployment that spans several jobs: start, heartbeat, finish; and what was kept of one, sent later.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    args::{OptionArgs, WhatArgs, lease},
    ask::{self, Reply},
    away::{AwayArgs, OnError},
    body::{EndBody, HeartbeatBody, RecordBody, Start},
    kept::{Report, ReportFile},
    report,
    signals::Signals,
};
use crate::{
    cli::{
        client::{call::Call, error::Error, moment, session::Session, view::Deployment},
        exit::Exit,
        output::{error as say_error, plain, print, say, warn},
        words::one_of,
    },
    clock,
    domain::vocabulary::Outcome,
};

#[derive(Debug, clap::Subcommand)]
pub enum Step {
    /// Ask the gate, start the deployment and print its id.
    #[command(after_help = START_HELP)]
    Start(Box<StartArgs>),
    /// Say that a deployment is still going on, and how far it is.
    Heartbeat(HeartbeatArgs),
    /// Say how a deployment ended.
    Finish(FinishArgs),
    /// Put results on record that could not be when they were due; the same again changes nothing.
    #[command(after_help = REPORT_HELP)]
    Report(ReportArgs),
}

const START_HELP: &str = "\
Where Waybill does not answer, --on-error decides: `fail` starts nothing, and exits with 3. `continue` goes on \
without the gate: it leaves a report in waybill-report-….json and prints the file's name in the place of the id. \
`heartbeat` and `finish` take that name too, `finish` completes the report and sends it, and what it cannot send \
`waybill deploy report FILE` sends later. Later jobs need the file: keep it as an artefact.";

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
    /// What to do when Waybill cannot be reached.
    #[arg(long, value_enum, default_value_t, env = "WAYBILL_ON_ERROR")]
    on_error: OnError,
    #[command(flatten)]
    away: AwayArgs,
}

#[derive(Debug, clap::Args)]
pub struct HeartbeatArgs {
    /// The deployment: its id, or the file that stands for it.
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
    #[command(flatten)]
    away: AwayArgs,
}

#[derive(Debug, clap::Args)]
pub struct FinishArgs {
    /// The deployment: its id, or the file that stands for it.
    id: String,
    /// How it ended.
    #[arg(long, value_parser = one_of(Outcome::ALL))]
    status: Outcome,
    /// What there is to say about it.
    #[arg(long)]
    message: Option<String>,
    #[command(flatten)]
    away: AwayArgs,
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
        Step::Heartbeat(HeartbeatArgs { id, .. }) if is_file(&id) => {
            say("Waybill does not know of this deployment yet; `finish` will tell");
            Ok(Exit::DONE)
        }
        Step::Heartbeat(HeartbeatArgs { id, message, phase, traffic_percent, away }) => {
            let body = HeartbeatBody { message, phase, traffic_percent };
            let call = Call::post(&["deployments", &id, "heartbeat"], &body)?;
            session.show(&away.send(&session.client, &call).await?, |deployment| told(&deployment))
        }
        Step::Finish(args) => finish(session, args).await,
        Step::Report(ReportArgs { files }) => report(session, &files).await,
    }
}

/// Whether a file stands for the deployment, because it was started while Waybill was away.
fn is_file(id: &str) -> bool {
    Path::new(id).is_file()
}

/// Sends how a deployment ended; where nobody takes it, it is kept as that of a command would be.
async fn finish(session: &Session, args: FinishArgs) -> Result<Exit, Error> {
    let FinishArgs { id, status, message, away } = args;
    let (result, mut file) = if is_file(&id) {
        let end = EndBody { status, finished_at: moment::text(clock::now()), message };
        let result = Report::read(Path::new(&id))?.ended(&end)?;
        let known = || {
            Error::Usage(format!(
                "{id} tells already how its deployment ended; `waybill deploy report` sends it"
            ))
        };
        (result.ok_or_else(known)?, ReportFile::at(Path::new(&id)))
    } else {
        (Report::finish(&id, status, message), ReportFile::new())
    };
    match away.send(&session.client, &result.call()?).await {
        Ok(answer) => {
            file.remove();
            session.show(&answer, |deployment| told(&deployment))
        }
        Err(error) => {
            if error.is_outage() {
                let later = report::later(&result, &mut file);
                say(format_args!("Once Waybill is back, this puts the result on record:\n  {later}"));
            }
            Err(error.into())
        }
    }
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
    let mut signals = Signals::new()?;
    match ask::ask(&session.client, &start, args.options.wait, &args.away, &mut signals).await {
        Ok(Reply::Open(started, answer)) => {
            ask::show_reports(&started.decision);
            session.show(&answer, |_: Value| print(&started.deployment.id))
        }
        Ok(Reply::Refused(problem)) => {
            ask::show_refusal(session, &problem)?;
            Ok(Exit::REFUSED)
        }
        Ok(Reply::Interrupted(caught)) => Ok(Exit(caught.exit_code())),
        Err(Error::Client(error)) if error.is_outage() && args.on_error == OnError::Continue => {
            warn(format_args!("{error}; going on WITHOUT the gate, as --on-error continue says"));
            start_ungated(session, &start)
        }
        Err(error) => Err(error),
    }
}

/// Leaves a report that says so where nobody says how it ended, and the file's name for its id.
fn start_ungated(session: &Session, start: &Start) -> Result<Exit, Error> {
    let now = moment::text(clock::now());
    let report = Report::record(&RecordBody {
        intent: &start.intent,
        status: Outcome::Canceled,
        started_at: now.clone(),
        finished_at: now,
        message: Some("nobody has said how it ended".into()),
        ungated: true,
    })?;
    let mut file = ReportFile::new();
    let path = file.write(&report).map_err(|error| {
        Error::Failed(format!(
            "no report can be kept ({error}), so that nothing would tell of it; nothing was started"
        ))
    })?;
    let here = std::env::current_dir().unwrap_or_default();
    let name = path.strip_prefix(&here).unwrap_or(path).display().to_string();
    session.show(&json!({ "report": name }), |_: Value| print(&name))
}

fn told(deployment: &Deployment) -> io::Result<()> {
    let lease = deployment.lease_expires_at.filter(|_| deployment.status == "running");
    let until = lease.map(|at| format!(", the lease ends at {} UTC", moment::second(at)));
    let (what, status) = (deployment.what(), plain(&deployment.status));
    print(format_args!("{what}: {status}{}", until.unwrap_or_default()))
}
