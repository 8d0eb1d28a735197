//! Delivers the result of a command to Waybill, and says which exit code that gives.

use std::{fmt::Display, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{
    args::OnLeaseLost,
    kept::{Report, ReportFile},
    signals::{Caught, Signals},
};
use crate::cli::{
    client::{error::Error, http::Client, view::ignored},
    exit::Exit,
    output::{error, plain, warn},
};

/// How long a result is tried to be delivered.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long it is tried at least, although the job is to end.
const AT_LEAST: Duration = Duration::from_secs(5);

/// What became of a result.
#[derive(Debug)]
pub enum Delivery {
    Done,
    /// The deployment had ended otherwise in the meantime.
    Rejected(Error),
    Failed(Error),
}

/// Puts a result on record, or keeps it in a file and says so loudly, with the command that sends it later.
pub async fn settle(
    client: &Client,
    report: &Report,
    mut file: ReportFile,
    signals: &mut Signals,
) -> Delivery {
    let delivery = deliver(client, report, signals).await;
    match &delivery {
        Delivery::Done => file.remove(),
        Delivery::Rejected(why) => warn(format_args!("the result came too late: {why}")),
        Delivery::Failed(why) => keep(report, &mut file, why),
    }
    delivery
}

/// Keeps a result in a file, and says so loudly.
pub fn keep(report: &Report, file: &mut ReportFile, why: &impl Display) {
    let later = later(report, file);
    error(format_args!(
        "THE RESULT OF THIS DEPLOYMENT IS NOT ON RECORD: {why}\nOnce Waybill is back, this puts it on record:\n  {later}"
    ));
}

/// Keeps a report, and gives the command that sends it.
pub fn later(report: &Report, file: &mut ReportFile) -> String {
    match file.write(report) {
        Ok(path) => format!("waybill deploy report {}", quoted(&path.display().to_string())),
        // Where nothing can be written, what is said has to do.
        Err(_full) => format!("echo {} | waybill deploy report -", quoted(&report.text())),
    }
}

/// The text as one word of a shell.
fn quoted(text: &str) -> String {
    let text = plain(text);
    if text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c)) {
        return text.into_owned();
    }
    // What ends a word in quotes is put outside of them.
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Goes on trying for a while. Ctrl-C gives up, any other signal only once it has been tried for long enough for a Waybill that
/// is there: it is the end that matters most.
async fn deliver(client: &Client, report: &Report, signals: &mut Signals) -> Delivery {
    let call = match report.call() {
        Ok(call) => call.patience(PATIENCE),
        Err(error) => return Delivery::Failed(error),
    };
    let answer = tokio::select! {
        answer = client.send(&call) => answer,
        () = given_up(signals) => return Delivery::Failed(Error::Failed("interrupted".into())),
    };
    match answer {
        Ok(deployment) => {
            ignored(&deployment).iter().for_each(warn);
            Delivery::Done
        }
        Err(error) if error.is_conflict() && report.may_be_late() => Delivery::Rejected(error.into()),
        Err(error) => Delivery::Failed(error.into()),
    }
}

async fn given_up(signals: &mut Signals) {
    let tried_enough = Instant::now() + AT_LEAST;
    if signals.next().await != Caught::Interrupt {
        sleep_until(tried_enough).await;
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
    use super::*;

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
        assert_eq!(quoted("/builds/shop/waybill-report-1.json"), "/builds/shop/waybill-report-1.json");
        assert_eq!(quoted("it's late"), r"'it'\''s late'");
    }

    #[test]
    fn a_lost_lease_shows_unless_told_to_continue() {
        assert_eq!(exit(143, &Delivery::Done, true, OnLeaseLost::Terminate), Exit::LEASE_LOST);
        assert_eq!(exit(0, &rejected(), false, OnLeaseLost::Terminate), Exit::LEASE_LOST);
        assert_eq!(exit(0, &rejected(), true, OnLeaseLost::Continue), Exit::DONE);
        assert_eq!(exit(3, &rejected(), true, OnLeaseLost::Continue), Exit(3));
    }
}
