//! Asks the gate by starting the deployment, and waits for it to open if told to: not by asking again and again, but by
//! a question that the server answers when there is something to say.

use std::{io, time::Duration};

use chrono::TimeDelta;
use serde::Deserialize as _;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::{
    away::AwayArgs,
    body::Start,
    kept::{Report, ReportFile},
    report,
    signals::{Caught, Signals},
};
use crate::{
    cli::{
        client::{
            call::Call,
            error::{Error, NoAnswer},
            gate::{Announcer, Question},
            http::Client,
            moment,
            problem::Problem,
            session::Session,
            verdict,
            view::{Decision, Started, say_page},
        },
        output::{self, BAD, Format, say},
    },
    domain::vocabulary::Outcome,
};

/// How long an answer that is on its way is waited for after a signal.
const GRACE: Duration = Duration::from_secs(5);
/// However late the gate is said to open, a lifted freeze or lockdown is noticed within this time.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// The gate opens and is found shut within this time only when something is wrong, or somebody else is quicker.
const HURRY: Duration = Duration::from_secs(1);
/// How often at least it is asked again while something may end at any time.
const POLL: Duration = Duration::from_secs(30);

/// What came of asking.
pub enum Reply {
    /// The deployment runs; with the answer as it came.
    Open(Box<Started>, Value),
    /// The gate said no, to the last.
    Refused(Box<Problem>),
    /// A signal came first; nothing is left running.
    Interrupted(Caught),
}

/// Sends the start until it is allowed, the waiting time is up or a signal comes; not at all where Waybill is left alone.
pub async fn ask(
    client: &Client,
    start: &Start,
    wait: Duration,
    away: &AwayArgs,
    signals: &mut Signals,
) -> Result<Reply, Error> {
    client.access.refuse_wait(wait, crate::clock::now())?;
    if let Some(alone) = away.left_alone() {
        return Err(alone.into());
    }
    let reply = ask_until(client, start, wait, away, signals).await;
    match &reply {
        Ok(Reply::Interrupted(_)) => {}
        Err(Error::Client(error)) => away.note(!error.is_outage()),
        Ok(_) | Err(_) => away.note(true),
    }
    reply
}

async fn ask_until(
    client: &Client,
    start: &Start,
    wait: Duration,
    away: &AwayArgs,
    signals: &mut Signals,
) -> Result<Reply, Error> {
    let deadline = Instant::now() + wait;
    let question = start.question();
    // Its idempotency key stays the same, so that a start whose answer was lost is found again instead of standing in its
    // own way.
    let start = away.patient(Call::post(&["deployments"], start)?);
    let mut waiting = Waiting::default();
    loop {
        let answer = match send(client, &start, signals).await {
            Ok(answer) => answer,
            Err(caught) => return Ok(Reply::Interrupted(caught)),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        match answer {
            Ok(answer) => return Ok(Reply::Open(Box::new(Started::deserialize(&answer)?), answer)),
            Err(NoAnswer::Problem { problem, .. }) if problem.slug() == "gate-denied" => {
                if left.is_zero() {
                    return Ok(Reply::Refused(problem));
                }
                let decision = problem.decision.unwrap_or_default();
                waiting.denied(Decision { web_url: problem.web_url, ..decision }, left);
            }
            // Whoever has been waiting already goes on waiting while the server restarts.
            Err(error) if waiting.refusals > 0 && error.is_outage() && !left.is_zero() => {}
            Err(error) => return Err(error.into()),
        }
        tokio::select! {
            () = waiting.until_worth_asking(client, &question, deadline) => {}
            caught = signals.next() => return Ok(Reply::Interrupted(caught)),
        }
    }
}

/// What is known of a gate that is shut.
#[derive(Default)]
struct Waiting {
    announcer: Announcer,
    decision: Decision,
    /// How often the start was refused.
    refusals: u32,
    /// How often in a row it was, right after the gate was said to be open.
    contradictions: u32,
}

impl Waiting {
    fn denied(&mut self, decision: Decision, left: Duration) {
        self.refusals += 1;
        self.announcer.say(&decision, left);
        self.decision = decision;
    }

    /// Resolves when the start is worth another try: the server says so the moment the last rule holds. Where it cannot
    /// be asked that, after a pause.
    async fn until_worth_asking(&mut self, client: &Client, question: &Question, deadline: Instant) {
        let left = || deadline.saturating_duration_since(Instant::now());
        let begun = Instant::now();
        loop {
            let seen = self.decision.state.clone();
            let Ok(answer) = question.watch(client, seen.as_deref(), left()).await else {
                return sleep(pause(&self.decision, self.refusals).min(left())).await;
            };
            let changed = answer.decision.state != seen;
            // What lifts the rules is no part of the question that waits.
            let lifted = question.override_.is_some() && changed;
            if answer.decision.allowed || lifted || left().is_zero() {
                break;
            }
            self.announcer.say(&answer.decision, left());
            self.decision = answer.decision;
        }
        // Once, somebody else may have been quicker. Again and again, the start is told something else than the question.
        self.contradictions = if begun.elapsed() < HURRY { self.contradictions + 1 } else { 0 };
        if self.contradictions > 1 {
            sleep(pause(&Decision::default(), self.contradictions).min(left())).await;
        }
    }
}

/// Sends the start. If a signal comes meanwhile, a deployment that was opened all the same is canceled.
async fn send(
    client: &Client,
    start: &Call,
    signals: &mut Signals,
) -> Result<Result<Value, NoAnswer>, Caught> {
    let sending = client.send(start);
    tokio::pin!(sending);
    let caught = tokio::select! {
        answer = &mut sending => return Ok(answer),
        caught = signals.next() => caught,
    };
    if let Ok(Ok(answer)) = timeout(GRACE, sending).await
        && let Ok(started) = Started::deserialize(&answer)
    {
        let message = format!("canceled by {} before anything ran", caught.name());
        let result = Report::finish(&started.deployment.id, Outcome::Canceled, Some(message));
        report::settle(client, &result, ReportFile::new(), signals).await;
    }
    Err(caught)
}

/// How long to wait before asking again. A known time is waited for, counted by the server's clock; but a running
/// deployment may end any time before its lease does, and what has no known time is polled, ever more slowly.
fn pause(decision: &Decision, refusals: u32) -> Duration {
    let poll = Duration::from_secs(1).saturating_mul(2_u32.saturating_pow(refusals)).min(POLL);
    let known = decision.retry_at.zip(decision.evaluated_at).map(|(retry, now)| retry - now);
    let known = known.map(|span| span.max(TimeDelta::seconds(1)).to_std().unwrap_or_default());
    let running = decision.denials().any(|check| check.rule == "concurrency");
    match known {
        Some(known) if running => known.min(poll),
        Some(known) => known.min(LONGEST_PAUSE),
        None => poll,
    }
}

/// Shows why the gate said no: every rule, and from when it may be asked again.
pub fn show_refusal(session: &Session, problem: &Problem) -> io::Result<()> {
    say(format_args!("{BAD}refused{BAD:#} by the gate"));
    if let Some(decision) = &problem.decision {
        verdict::lines(decision).iter().for_each(say);
        if let Some(at) = decision.retry_at {
            say(format_args!("not before {} UTC", moment::second(at)));
        }
        say_page(problem.web_url.as_deref());
    } else {
        say(problem);
    }
    if session.format == Format::Json { output::print_json(&problem.raw) } else { Ok(()) }
}

/// Shows what the gate only reports when it lets a deployment start.
pub fn show_reports(decision: &Decision) {
    verdict::failures(decision).iter().for_each(say);
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::cli::client::view::Check;

    fn decision(rule: &str, retry_seconds: Option<i64>) -> Decision {
        let now = DateTime::UNIX_EPOCH;
        let check = Check {
            rule: rule.into(),
            mode: "enforce".into(),
            outcome: "fail".into(),
            code: Some("some-code".into()),
            message: Some("since a while".into()),
            ..Check::default()
        };
        let retry_at = retry_seconds.map(|seconds| now + TimeDelta::seconds(seconds));
        Decision { evaluated_at: Some(now), retry_at, checks: vec![check], ..Decision::default() }
    }

    #[test]
    fn a_known_time_is_waited_for() {
        assert_eq!(pause(&decision("freeze", Some(90)), 1), Duration::from_secs(90));
        assert_eq!(pause(&decision("freeze", Some(36_000)), 1), LONGEST_PAUSE);
        assert_eq!(pause(&decision("freeze", Some(-5)), 1), Duration::from_secs(1));
    }

    #[test]
    fn a_running_deployment_is_polled_within_its_lease() {
        assert_eq!(pause(&decision("concurrency", Some(3_600)), 1), Duration::from_secs(2));
        assert_eq!(pause(&decision("concurrency", Some(3_600)), 9), POLL);
        assert_eq!(pause(&decision("concurrency", Some(12)), 9), Duration::from_secs(12));
    }

    #[test]
    fn what_has_no_known_time_is_polled_ever_more_slowly() {
        let pauses =
            [1, 2, 3, 4, 5, 99].map(|refusals| pause(&decision("approval", None), refusals).as_secs());
        assert_eq!(pauses, [2, 4, 8, 16, 30, 30]);
    }
}
