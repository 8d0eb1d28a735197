//! Asks the gate by starting the deployment, and waits for it to open if told to.

use std::time::Duration;

use chrono::TimeDelta;
use serde::Deserialize as _;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::{
    body::Outcome,
    report,
    signals::{Caught, Signals},
};
use crate::cli::client::{
    error::Error,
    http::{self, Call, Client},
    output::{BAD, DIM, GOOD, WARN, plain, say},
    problem::Problem,
    view::{Check, Decision, Started},
};

/// How long an answer that is on its way is waited for after a signal.
const GRACE: Duration = Duration::from_secs(5);
/// However late the gate is said to open, a lifted freeze or lockdown is noticed within this time.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// How often at least it is asked again while something may end at any time.
const POLL: Duration = Duration::from_secs(30);

/// What came of asking.
pub enum Verdict {
    /// The deployment runs; with the answer as it came.
    Open(Box<Started>, Value),
    /// The gate said no, to the last.
    Refused(Box<Problem>),
    /// A signal came first; nothing is left running.
    Interrupted(Caught),
}

/// Sends the start until it is allowed, the waiting time is up or a signal comes. The call's idempotency key stays the
/// same, so that a start whose answer was lost is found again instead of standing in its own way.
pub async fn ask(
    client: &Client,
    start: &Call,
    wait: Duration,
    signals: &mut Signals,
) -> Result<Verdict, Error> {
    let deadline = Instant::now() + wait;
    let mut refusals = 0;
    let mut said = Vec::new();
    loop {
        let answer = match send(client, start, signals).await {
            Ok(answer) => answer,
            Err(caught) => return Ok(Verdict::Interrupted(caught)),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let rest = match answer {
            Ok(answer) => return Ok(Verdict::Open(Box::new(Started::deserialize(&answer)?), answer)),
            Err(http::Error::Problem { problem, .. }) if problem.slug() == "gate-denied" => {
                if left.is_zero() {
                    return Ok(Verdict::Refused(problem));
                }
                let decision = problem.decision.unwrap_or_default();
                let reasons = reasons(&decision);
                if reasons != said {
                    say(format_args!("waiting for up to {} more:", humantime::format_duration(whole(left))));
                    decision.denials().for_each(|check| say(line(check, 0)));
                    said = reasons;
                }
                refusals += 1;
                pause(&decision, refusals)
            }
            // Whoever has been waiting already goes on waiting while the server restarts.
            Err(error) if refusals > 0 && error.is_outage() && !left.is_zero() => POLL,
            Err(error) => return Err(error.into()),
        };
        tokio::select! {
            () = sleep(rest.min(left)) => {}
            caught = signals.next() => return Ok(Verdict::Interrupted(caught)),
        }
    }
}

/// Sends the start. If a signal comes meanwhile, a deployment that was opened all the same is canceled.
async fn send(
    client: &Client,
    start: &Call,
    signals: &mut Signals,
) -> Result<Result<Value, http::Error>, Caught> {
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
        report::finish(client, &started.deployment.id, Outcome::Canceled, Some(&message), signals)
            .await
            .announce();
    }
    Err(caught)
}

/// What keeps the gate shut, without what changes from one look to the next.
fn reasons(decision: &Decision) -> Vec<(String, Option<String>, Value)> {
    let by = |check: &Check| check.details.get("deployment_id").cloned().unwrap_or_default();
    decision.denials().map(|check| (check.rule.clone(), check.code.clone(), by(check))).collect()
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

fn whole(span: Duration) -> Duration {
    Duration::from_secs(span.as_secs().max(1))
}

/// Shows why the gate said no: every rule, and from when it may be asked again.
pub fn show_refusal(problem: &Problem) {
    say(format_args!("{BAD}refused{BAD:#} by the gate"));
    let Some(decision) = &problem.decision else {
        say(problem);
        return;
    };
    let rules = || decision.checks.iter().filter(|check| check.mode != "off");
    let width = rules().map(|check| check.rule.chars().count()).max().unwrap_or_default();
    rules().for_each(|check| say(line(check, width)));
    if let Some(at) = decision.retry_at {
        say(format_args!("not before {} UTC", at.format("%Y-%m-%d %H:%M:%S")));
    }
}

/// Shows what the gate only reports when it lets a deployment start.
pub fn show_reports(decision: &Decision) {
    decision.checks.iter().filter(|check| check.outcome == "fail").for_each(|check| say(line(check, 0)));
}

/// One rule's verdict: a mark, the rule, and unless it passed the code and the message.
fn line(check: &Check, width: usize) -> String {
    let (style, mark, note) = match check.outcome.as_str() {
        "pass" => (GOOD, "✓", ""),
        "fail" if check.denies() => (BAD, "✗", ""),
        "fail" => (WARN, "!", "  (reported only)"),
        _ => (DIM, "-", ""),
    };
    let rule = plain(&check.rule);
    if check.outcome == "pass" {
        return format!("{style}{mark}{style:#} {rule}");
    }
    let words = [&check.code, &check.message].into_iter().flatten().map(|word| format!("  {}", plain(word)));
    format!("{style}{mark}{style:#} {rule:width$}{}{note}", words.collect::<String>())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::*;

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

    #[test]
    fn reasons_change_with_what_is_in_the_way_but_not_with_its_lease() {
        let (mut one, mut two) = (decision("concurrency", Some(60)), decision("concurrency", Some(99)));
        assert_eq!(reasons(&one), reasons(&two));
        one.checks.iter_mut().for_each(|check| check.details = json!({"deployment_id": "a"}));
        two.checks.iter_mut().for_each(|check| check.details = json!({"deployment_id": "b"}));
        assert_ne!(reasons(&one), reasons(&two));
    }

    #[test]
    fn a_line_says_rule_code_and_message() {
        let shown = |check: &Check| anstream::adapter::strip_str(&line(check, 8)).to_string();
        let mut check = decision("freeze", None).checks.remove(0);
        assert_eq!(shown(&check), "✗ freeze    some-code  since a while");
        check.mode = "report".into();
        assert_eq!(shown(&check), "! freeze    some-code  since a while  (reported only)");
        check.outcome = "pass".into();
        assert_eq!(shown(&check), "✓ freeze");
    }
}
