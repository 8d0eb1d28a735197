//! What is done where Waybill does not answer: how often it is asked again, when it is left alone for a while, and whether
//! the command runs all the same.

use std::{fs, io, path::PathBuf, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    cli::{
        client::{call::Call, error::NoAnswer, http::Client},
        output::{say, warn},
    },
    clock,
};

/// What to do when Waybill cannot be reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum OnError {
    /// Run nothing, and exit with 122; a step exits with 3.
    #[default]
    Fail,
    /// Run the command all the same, and report it afterwards as ungated.
    Continue,
}

#[derive(Debug, Clone, Default, clap::Args)]
pub struct AwayArgs {
    /// How often to ask Waybill again where it does not answer; for half a minute when not given. The command itself is run
    /// once.
    #[arg(long, value_name = "N", env = "WAYBILL_RETRY", value_parser = clap::value_parser!(u32).range(..=20))]
    retry: Option<u32>,
    /// A file that remembers from run to run that Waybill does not answer, so that it is left alone for a while.
    #[arg(long, value_name = "FILE", env = "WAYBILL_BREAKER")]
    breaker: Option<PathBuf>,
    /// After how many runs in a row without an answer it is left alone.
    #[arg(long, value_name = "N", env = "WAYBILL_BREAKER_FAILURES", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    breaker_failures: u32,
    /// For how long it is left alone.
    #[arg(long, value_name = "DURATION", env = "WAYBILL_BREAKER_COOLDOWN", default_value = "10m", value_parser = humantime::parse_duration)]
    breaker_cooldown: Duration,
}

/// What the file holds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    /// How many runs in a row got no answer.
    failures: u32,
    /// When the last of them did not.
    at: DateTime<Utc>,
}

impl AwayArgs {
    /// Why Waybill is not to be asked now, where it is left alone.
    pub fn left_alone(&self) -> Option<NoAnswer> {
        self.left_alone_at(clock::now())
    }

    fn left_alone_at(&self, now: DateTime<Utc>) -> Option<NoAnswer> {
        let Kept { failures, at } = self.read();
        let cooldown = TimeDelta::from_std(self.breaker_cooldown).unwrap_or(TimeDelta::MAX);
        // What lies ahead is of a clock that was wrong.
        let since = now - at;
        let alone = failures >= self.breaker_failures && (TimeDelta::zero()..cooldown).contains(&since);
        alone.then(|| NoAnswer::LeftAlone { failures, left: cooldown - since })
    }

    /// Makes a call unless Waybill is left alone, and remembers whether it answered.
    pub async fn send(&self, client: &Client, call: &Call) -> Result<Value, NoAnswer> {
        if let Some(alone) = self.left_alone() {
            return Err(alone);
        }
        let answer = client.send(&self.patient(call.clone())).await;
        self.note(!matches!(&answer, Err(error) if error.is_outage()));
        answer
    }

    /// The call, tried again as often as these options say.
    pub fn patient(&self, call: Call) -> Call {
        match self.retry {
            Some(retries) => call.retries(retries),
            None => call,
        }
    }

    /// Remembers whether Waybill answered. What it said does not matter: a refusal is an answer.
    pub fn note(&self, answered: bool) {
        let Some(file) = &self.breaker else { return };
        let before = self.read();
        let after = match (answered, before.failures) {
            (true, 0) => return,
            (true, _) => Kept { failures: 0, at: clock::now() },
            (false, failures) => Kept { failures: failures.saturating_add(1), at: clock::now() },
        };
        let folder = file.parent().map_or(Ok(()), fs::create_dir_all);
        let written = folder.and_then(|()| {
            // Whole or not at all, since other jobs read it.
            let new = file.with_extension(format!("{}.new", std::process::id()));
            fs::write(&new, serde_json::to_string(&after)?)?;
            fs::rename(&new, file)
        });
        match written {
            Err(error) => {
                warn(format_args!("--breaker {}: cannot remember what happened: {error}", file.display()));
            }
            Ok(()) if answered => say("Waybill answers again"),
            Ok(()) => {}
        }
    }

    /// What is remembered; nothing where nothing is, or nothing that can be read.
    fn read(&self) -> Kept {
        let text = self.breaker.as_ref().map_or_else(|| Err(io::ErrorKind::NotFound.into()), fs::read);
        text.ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_some_failures_in_a_row_it_is_left_alone_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let away = AwayArgs {
            retry: None,
            breaker: Some(folder.path().join("state/breaker")),
            breaker_failures: 2,
            breaker_cooldown: Duration::from_mins(10),
        };
        let after = |minutes| away.left_alone_at(clock::now() + TimeDelta::minutes(minutes)).is_some();
        assert!(!after(0), "nothing is remembered");
        away.note(false);
        assert!(!after(0), "once is not enough");
        away.note(true);
        away.note(false);
        assert!(!after(0), "in between it has answered");
        away.note(false);
        assert!(after(0) && after(9) && !after(10) && !after(-1));
        let for_ever = AwayArgs { breaker_cooldown: Duration::MAX, ..away.clone() };
        assert!(for_ever.left_alone_at(clock::now() - TimeDelta::days(1)).is_none());
        assert!(for_ever.left_alone().is_some());
        let said =
            away.left_alone().map(|alone| (alone.is_outage(), alone.is_transient(), alone.to_string()));
        let (outage, transient, words) = said.unwrap();
        assert!(
            outage && !transient && words.starts_with("Waybill did not answer the last 2 times and"),
            "{words}"
        );
        // The run after that asks again, and one more failure is enough.
        away.note(false);
        assert!(after(0));
        away.note(true);
        assert!(!after(0));
        fs::write(folder.path().join("state/breaker"), "not ours").unwrap();
        assert!(!after(0));
    }

    #[test]
    fn without_a_file_nothing_is_remembered() {
        let away = AwayArgs { breaker_failures: 1, breaker_cooldown: Duration::MAX, ..AwayArgs::default() };
        away.note(false);
        assert!(away.left_alone().is_none());
    }
}
