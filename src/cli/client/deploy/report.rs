//! Delivers the result of a command to Waybill, and says which exit code that gives.

use std::time::Duration;

use serde::Serialize;

use super::{
    args::OnLeaseLost,
    body::{FinishBody, RecordBody},
    signals::Signals,
};
use crate::{
    cli::{
        client::{call::Call, error::Error, http::Client, view::ignored},
        exit::Exit,
        output::{error, plain, warn},
    },
    domain::vocabulary::Outcome,
};

/// How long a result is tried to be delivered.
const PATIENCE: Duration = Duration::from_mins(2);

/// What became of a result.
#[derive(Debug)]
pub enum Delivery {
    Done,
    /// The deployment had ended otherwise in the meantime.
    Rejected(Error),
    Failed(Error),
}

impl Delivery {
    /// Says loudly what is not on record, and the command that puts it there later.
    pub fn announce(&self, later: impl FnOnce() -> String) {
        match self {
            Self::Done => {}
            Self::Rejected(why) => warn(format_args!("the result came too late: {why}")),
            Self::Failed(why) => error(format_args!(
                "THE RESULT OF THIS DEPLOYMENT IS NOT ON RECORD: {why}\n\
                 Once Waybill is back, this puts it on record:\n  {}",
                later()
            )),
        }
    }
}

/// The command that finishes a deployment later.
pub fn finish_later(id: &str, status: Outcome) -> String {
    format!("waybill deploy finish {} --status {status}", plain(id))
}

/// The command that puts a deployment on record later.
pub fn record_later(body: &RecordBody<'_>) -> String {
    let body = serde_json::to_string(body).unwrap_or_default();
    // What ends a word in quotes is put outside of them.
    let quoted = plain(&body).to_string().replace('\'', r"'\''");
    format!(
        "curl --fail-with-body -H \"Authorization: Bearer $WAYBILL_TOKEN\" -H 'Content-Type: application/json' \
         \"$WAYBILL_URL/api/v1/deployments/record\" -d '{quoted}'"
    )
}

pub async fn finish(
    client: &Client,
    id: &str,
    status: Outcome,
    message: Option<&str>,
    signals: &mut Signals,
) -> Delivery {
    deliver(client, &["deployments", id, "finish"], &FinishBody { status, message }, signals).await
}

/// Puts a deployment on record that went on without the gate.
pub async fn record(client: &Client, body: &RecordBody<'_>, signals: &mut Signals) -> Delivery {
    deliver(client, &["deployments", "record"], body, signals).await
}

/// Goes on trying for a while; Ctrl-C gives up, any other signal does not, since it is the end that matters most.
async fn deliver(client: &Client, path: &[&str], body: &impl Serialize, signals: &mut Signals) -> Delivery {
    let call = match Call::post(path, body) {
        Ok(call) => call.patience(PATIENCE),
        Err(error) => return Delivery::Failed(error),
    };
    let answer = tokio::select! {
        answer = client.send(&call) => answer,
        () = signals.interrupt() => return Delivery::Failed(Error::Failed("interrupted".into())),
    };
    match answer {
        Ok(deployment) => {
            ignored(&deployment).iter().for_each(warn);
            Delivery::Done
        }
        Err(error) if error.is_conflict() => Delivery::Rejected(error.into()),
        Err(error) => Delivery::Failed(error.into()),
    }
}

/// The exit code after a command ran under a lease.
pub fn exit(code: u8, delivery: &Delivery, lease_lost: bool, on_lost: OnLeaseLost) -> Exit {
    let terminate = on_lost == OnLeaseLost::Terminate;
    match delivery {
        _ if lease_lost && terminate => Exit::LEASE_LOST,
        Delivery::Rejected(_) if code == 0 && terminate => Exit::LEASE_LOST,
        Delivery::Done | Delivery::Rejected(_) | Delivery::Failed(_) => Exit(code),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::body::Intent, *};

    fn failed() -> Delivery {
        Delivery::Failed(Error::Failed(String::new()))
    }

    fn rejected() -> Delivery {
        Delivery::Rejected(Error::Failed(String::new()))
    }

    #[test]
    fn the_commands_code_is_returned() {
        for code in [0, 3, 143] {
            assert_eq!(exit(code, &Delivery::Done, false, OnLeaseLost::Terminate), Exit(code));
        }
    }

    #[test]
    fn what_is_not_on_record_changes_no_exit_code_and_is_said() {
        for code in [0, 3] {
            assert_eq!(exit(code, &failed(), false, OnLeaseLost::Terminate), Exit(code));
        }
        assert_eq!(finish_later("01a1", Outcome::Canceled), "waybill deploy finish 01a1 --status canceled");
        let intent = Intent { service: "shop".into(), reason: Some("it's late".into()), ..Intent::default() };
        let (intent, status, at) = (&intent, Outcome::Failed, String::new());
        let body = RecordBody { intent, status, started_at: at.clone(), finished_at: at, ungated: true };
        assert!(record_later(&body).contains(r"it'\''s late"), "{}", record_later(&body));
    }

    #[test]
    fn a_lost_lease_shows_unless_told_to_continue() {
        assert_eq!(exit(143, &Delivery::Done, true, OnLeaseLost::Terminate), Exit::LEASE_LOST);
        assert_eq!(exit(0, &rejected(), false, OnLeaseLost::Terminate), Exit::LEASE_LOST);
        assert_eq!(exit(0, &rejected(), true, OnLeaseLost::Continue), Exit::DONE);
        assert_eq!(exit(3, &rejected(), true, OnLeaseLost::Continue), Exit(3));
    }
}
