//! `waybill deploy … -- command`: asks the gate, runs the command under a lease, and finishes by its exit code.

use std::{future::pending, io, process::ExitStatus, time::Duration};

use rustix::process::{Signal, getpid, kill_process};
use tokio::time::timeout;

use super::{
    args::{OnLeaseLost, WrapArgs},
    ask::{self, Reply},
    away::OnError,
    body::{RecordBody, Start},
    child::{self, Child, Given},
    kept::{Report, ReportFile},
    lease,
    report::{self, Delivery},
    signals::{Caught, Pauses, Signals},
};
use crate::{
    cli::{
        client::{
            error::Error,
            http::Client,
            moment,
            session::Session,
            view::{Deployment, Started, ignored, say_page},
        },
        exit::Exit,
        output::{error as say_error, plain, say, warn},
    },
    clock,
    domain::vocabulary::Outcome,
};

/// How long after its end a signal may still be the reason for it.
const GRACE: Duration = Duration::from_millis(50);

/// Everything there is to know before the gate is asked.
#[derive(Debug)]
pub struct Plan {
    pub start: Start,
    pub wait: Duration,
    pub wrap: WrapArgs,
}

impl Plan {
    /// Runs the command, if there is one: a removal may have happened already.
    async fn run(
        &self,
        deployment: Option<&Deployment>,
        signals: &mut Signals,
        lost: impl Future<Output = Error>,
    ) -> Ended {
        if self.wrap.command.is_empty() {
            return Ended::already();
        }
        let version = deployment.map(|deployment| &deployment.version).or(self.start.intent.version.as_ref());
        let given = Given {
            version: version.map(String::as_str),
            deployment: deployment.map(|deployment| deployment.id.as_str()),
            token: self.wrap.pass_token,
        };
        match Child::spawn(&self.wrap.command, given).await {
            Ok(child) => watch(child, signals, lost, self.wrap.on_lease_lost).await,
            Err(error) => {
                say_error(format_args!("cannot start the command: {error}"));
                Ended::never(error)
            }
        }
    }
}

struct Ended {
    status: io::Result<ExitStatus>,
    caught: Option<Caught>,
    lease_lost: bool,
}

impl Ended {
    fn already() -> Self {
        Self { status: Ok(ExitStatus::default()), caught: None, lease_lost: false }
    }

    fn never(error: io::Error) -> Self {
        Self { status: Err(error), caught: None, lease_lost: false }
    }

    fn code(&self) -> u8 {
        match &self.status {
            Ok(status) => child::exit_code(*status),
            Err(error) => child::spawn_exit(error).0,
        }
    }

    fn outcome(&self) -> Outcome {
        match (self.code(), self.caught) {
            (0, _) => Outcome::Succeeded,
            (_, Some(_)) => Outcome::Canceled,
            (_, None) => Outcome::Failed,
        }
    }

    fn message(&self) -> Option<String> {
        match (&self.status, self.caught) {
            (Err(error), _) => Some(format!("the command did not run: {error}")),
            (Ok(status), _) if status.success() => None,
            (Ok(_), Some(caught)) => Some(format!("canceled by {}", caught.name())),
            (Ok(_), None) if self.lease_lost => Some("stopped because the lease was lost".into()),
            (Ok(status), None) => Some(format!("the command ended with {status}")),
        }
    }
}

pub async fn run(session: &Session, plan: &Plan) -> Result<Exit, Error> {
    let mut signals = Signals::new()?;
    match ask::ask(&session.client, &plan.start, plan.wait, &plan.wrap.away, &mut signals).await {
        Ok(Reply::Open(started, answer)) => {
            ignored(&answer).iter().for_each(warn);
            Ok(gated(&session.client, plan, &started, &mut signals).await)
        }
        Ok(Reply::Refused(problem)) => {
            ask::show_refusal(session, &problem)?;
            Ok(Exit::GATE)
        }
        Ok(Reply::Interrupted(caught)) => Ok(Exit(caught.exit_code())),
        Err(Error::Client(error)) if error.is_outage() => {
            if plan.wrap.on_error == OnError::Continue {
                warn(format_args!("{error}; going on WITHOUT the gate, as --on-error continue says"));
                return ungated(&session.client, plan, &mut signals).await;
            }
            say_error(format_args!("{error}; nothing was run"));
            Ok(Exit::UNREACHABLE)
        }
        Err(error) => Err(error),
    }
}

async fn gated(client: &Client, plan: &Plan, started: &Started, signals: &mut Signals) -> Exit {
    let deployment = &started.deployment;
    ask::show_reports(&started.decision);
    say(format_args!("deployment {}: {}", plain(&deployment.id), deployment.what()));
    say_page(deployment.web_url.as_deref());
    let lost = lease::keep(client, &deployment.id, plan.wrap.lease);
    let ended = plan.run(Some(deployment), signals, lost).await;
    let result = Report::finish(&deployment.id, ended.outcome(), ended.message());
    let delivery = report::settle(client, &result, ReportFile::new(), signals).await;
    if ended.outcome() != Outcome::Succeeded && matches!(delivery, Delivery::Done) {
        say(format_args!("{}: {}", deployment.what(), ended.outcome()));
    }
    report::exit(ended.code(), &delivery, ended.lease_lost, plan.wrap.on_lease_lost)
}

async fn ungated(client: &Client, plan: &Plan, signals: &mut Signals) -> Result<Exit, Error> {
    let started_at = moment::text(clock::now());
    let record = |status, finished_at, message| {
        let (intent, started_at) = (&plan.start.intent, started_at.clone());
        Report::record(&RecordBody { intent, status, started_at, finished_at, message, ungated: true })
    };
    // Waybill knows nothing of it: if this process is killed, there must be something that does.
    let mut file = ReportFile::new();
    let killed = "waybill deploy was killed, and its command with it";
    if let Err(error) = file.write(&record(Outcome::Canceled, started_at.clone(), Some(killed.into()))?) {
        warn(format_args!("no report can be kept ({error}): if this process is killed, nothing tells of it"));
    }
    let ended = plan.run(None, signals, pending()).await;
    let result = record(ended.outcome(), moment::text(clock::now()), ended.message())?;
    // From here on it was not killed, however long it takes to deliver this.
    file.write(&result).ok();
    let away = &plan.wrap.away;
    if let Some(alone) = away.left_alone() {
        report::keep(&result, &mut file, &alone);
    } else if let Delivery::Done = report::settle(client, &result, file, signals).await {
        away.note(true);
    }
    Ok(Exit(ended.code()))
}

/// Waits for the command's end, passes signals on, and sees to it that a lost lease has its consequences.
async fn watch(
    mut child: Child,
    signals: &mut Signals,
    lost: impl Future<Output = Error>,
    on_lost: OnLeaseLost,
) -> Ended {
    tokio::pin!(lost);
    let mut caught = None;
    let mut lease_lost = false;
    // A terminal stops its foreground as a whole.
    let mut pauses = if child.is_in_foreground() { None } else { Pauses::new().ok() };
    loop {
        tokio::select! {
            status = child.wait() => {
                // Ctrl-C reaches the command as well and may have ended it before we came to know of it.
                let caught = caught.or(timeout(GRACE, signals.next()).await.ok());
                return Ended { status, caught, lease_lost };
            }
            signal = signals.next() => {
                caught = Some(signal);
                child.pass_on(signal);
            }
            why = &mut lost, if !lease_lost => {
                lease_lost = true;
                if on_lost == OnLeaseLost::Terminate {
                    say_error(format_args!("the lease is lost, stopping the command: {why}"));
                    child.end();
                } else {
                    warn(format_args!("the lease is lost, the command goes on: {why}"));
                }
            }
            signal = pause(&mut pauses) => {
                child.send(signal);
                if signal == Signal::TSTP {
                    kill_process(getpid(), Signal::STOP).ok();
                }
            }
        }
    }
}

async fn pause(pauses: &mut Option<Pauses>) -> Signal {
    match pauses {
        Some(pauses) => pauses.next().await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn ended(raw: i32, caught: Option<Caught>) -> Ended {
        Ended { status: Ok(ExitStatus::from_raw(raw)), caught, lease_lost: false }
    }

    #[test]
    fn the_exit_code_decides_how_the_deployment_ends() {
        assert_eq!(ended(0, None).outcome(), Outcome::Succeeded);
        assert_eq!(ended(1 << 8, None).outcome(), Outcome::Failed);
        assert_eq!(ended(15, None).outcome(), Outcome::Failed);
        assert_eq!(ended(15, Some(Caught::Terminate)).outcome(), Outcome::Canceled);
        // A command that was asked to stop and still got everything done has succeeded.
        assert_eq!(ended(0, Some(Caught::Interrupt)).outcome(), Outcome::Succeeded);
        assert_eq!(Ended::never(io::ErrorKind::NotFound.into()).outcome(), Outcome::Failed);
    }

    #[test]
    fn the_message_says_why_it_did_not_succeed() {
        assert_eq!(ended(0, None).message(), None);
        assert_eq!(ended(3 << 8, None).message().as_deref(), Some("the command ended with exit status: 3"));
        assert_eq!(ended(2, Some(Caught::Interrupt)).message().as_deref(), Some("canceled by SIGINT"));
    }
}
