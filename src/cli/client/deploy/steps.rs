//! The steps of a deployment that spans several jobs: start, heartbeat, finish.

use std::{io, time::Duration};

use serde_json::Value;

use super::{
    args::{OptionArgs, WhatArgs, lease},
    ask::{self, Reply},
    body::{FinishBody, HeartbeatBody},
    signals::Signals,
};
use crate::{
    cli::{
        client::{call::Call, error::Error, moment, session::Session, view::Deployment},
        exit::Exit,
        output::{plain, print},
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
}

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
            let body = FinishBody { status, message: message.as_deref() };
            session
                .tell(&Call::post(&["deployments", &id, "finish"], &body)?, |deployment| told(&deployment))
                .await
        }
    }
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
    print(format_args!(
        "{} {} to {}: {}{}",
        plain(&deployment.service),
        plain(&deployment.version),
        plain(&deployment.environment),
        plain(&deployment.status),
        until.unwrap_or_default()
    ))
}
