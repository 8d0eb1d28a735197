//! The steps of a deployment that spans several jobs: start, heartbeat, finish.

use std::time::Duration;

use serde::Deserialize as _;
use serde_json::Value;

use super::{
    OptionArgs, WhatArgs,
    body::{FinishBody, HeartbeatBody, Outcome, OverrideBody, StartBody},
    gate::{self, Asking, Verdict},
    signals::Signals,
};
use crate::cli::client::{
    Session,
    error::Error,
    exit::Exit,
    http::Call,
    output::{self, Format, plain},
    view::Deployment,
};

/// One step of a deployment that spans several jobs.
#[derive(Debug, clap::Subcommand)]
pub enum Step {
    /// Ask the gate, start the deployment and print its id.
    Start(Box<StartArgs>),
    /// Say that a deployment is still going on, and how far it is.
    Heartbeat(HeartbeatArgs),
    /// Say how a deployment ended.
    Finish(FinishArgs),
}

/// The options of `deploy start`.
#[derive(Debug, clap::Args)]
pub struct StartArgs {
    #[command(flatten)]
    what: WhatArgs,
    #[command(flatten)]
    options: OptionArgs,
    /// How long the deployment may stay silent before others may start.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = super::lease)]
    lease: Duration,
}

/// The options of `deploy heartbeat`.
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

/// The options of `deploy finish`.
#[derive(Debug, clap::Args)]
pub struct FinishArgs {
    /// The deployment.
    id: String,
    /// How it ended.
    #[arg(long, value_enum)]
    status: Outcome,
    /// What there is to say about it.
    #[arg(long)]
    message: Option<String>,
}

/// Does one step.
pub async fn run(session: &Session, step: Step) -> Result<Exit, Error> {
    match step {
        Step::Start(args) => start(session, *args).await,
        Step::Heartbeat(args) => {
            let body = HeartbeatBody {
                message: args.message,
                phase: args.phase,
                traffic_percent: args.traffic_percent,
            };
            let answer =
                session.client.send(&Call::post(&["deployments", &args.id, "heartbeat"], &body)?).await?;
            show(session, &answer)
        }
        Step::Finish(args) => {
            let body = FinishBody { status: args.status, message: args.message.as_deref() };
            let answer =
                session.client.send(&Call::post(&["deployments", &args.id, "finish"], &body)?).await?;
            show(session, &answer)
        }
    }
}

async fn start(session: &Session, args: StartArgs) -> Result<Exit, Error> {
    let intent = args.what.intent(&args.options)?;
    let override_ = args.options.override_reason.as_deref().map(|reason| OverrideBody { reason });
    let body = StartBody { intent: &intent, lease_seconds: args.lease.as_secs(), preempt: false, override_ };
    let asking = Asking {
        start: Call::post(&["deployments"], &body)?,
        question: intent.question(false, args.options.override_reason.as_deref()),
        wait: args.options.wait,
    };
    match gate::ask(&session.client, &asking, &mut Signals::new()?).await? {
        Verdict::Open(started, answer) => {
            gate::show_reports(&started.decision);
            match session.format {
                Format::Json => output::print_json(&answer)?,
                Format::Table => output::print(&started.deployment.id)?,
            }
            Ok(Exit::DONE)
        }
        Verdict::Refused(problem) => {
            gate::show_refusal(&problem);
            if session.format == Format::Json {
                output::print_json(&problem.raw)?;
            }
            Ok(Exit::REFUSED)
        }
        Verdict::Interrupted(caught) => Ok(Exit(caught.exit_code())),
    }
}

fn show(session: &Session, answer: &Value) -> Result<Exit, Error> {
    if session.format == Format::Json {
        output::print_json(answer)?;
        return Ok(Exit::DONE);
    }
    let deployment = Deployment::deserialize(answer)?;
    let lease = deployment.lease_expires_at.filter(|_| deployment.status == "running");
    let until = lease.map(|at| format!(", the lease ends at {} UTC", at.format("%Y-%m-%d %H:%M:%S")));
    output::print(format_args!(
        "{} {} to {}: {}{}",
        plain(&deployment.service),
        plain(&deployment.version),
        plain(&deployment.environment),
        plain(&deployment.status),
        until.unwrap_or_default()
    ))?;
    Ok(Exit::DONE)
}
