//! The gate: may this release go there now, and if not, every reason.
//!
//! [`evaluate`] is one pure function over facts that one transaction has loaded. It looks at every rule, never just
//! the first that fails.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::domain::{
    actor::Actor,
    vocabulary::{CheckOutcome, Kind, Mode, Rule},
};

/// Everything the rules look at, stored with the decision so that it can be evaluated again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// What the deployment is for.
    pub kind: Kind,
    /// Whether it is a rollback that takes the place of what is running.
    pub preempt: bool,
    /// The release's place in the order of registration.
    pub number: i64,
    /// The release that is current in the target.
    pub current: Option<CurrentFact>,
    /// The deployment that is under way in the target.
    pub running: Option<RunningFact>,
}

/// What the rules know of the current release.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CurrentFact {
    /// Its version.
    pub version: String,
    /// Its place in the order of registration.
    pub number: i64,
}

/// What the rules know of a deployment under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunningFact {
    /// The deployment.
    pub deployment_id: Uuid,
    /// The version it puts there.
    pub version: String,
    /// Who started it.
    pub actor: Actor,
    /// When it started.
    pub since: DateTime<Utc>,
    /// When its lease runs out.
    pub lease_expires_at: DateTime<Utc>,
}

/// The settings of the rules for one environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// How `outdated` counts.
    pub outdated: Mode,
}

impl Default for Policy {
    /// What holds where nobody has set a policy.
    fn default() -> Self {
        Self { outdated: Mode::Report }
    }
}

/// All that a decision depends on, kept with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Inputs {
    /// What the rules look at.
    pub facts: Facts,
    /// How they count.
    pub policy: Policy,
    /// Whether an override lifts all of them but concurrency.
    pub lifted: bool,
}

/// What one rule found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The rule.
    pub rule: Rule,
    /// How it counts.
    pub mode: Mode,
    /// What it found.
    pub outcome: CheckOutcome,
    /// A stable word for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// When it will hold, where that is known.
    pub retry_at: Option<DateTime<Utc>>,
    /// What it looked at.
    pub details: Value,
}

impl Check {
    /// What makes two findings the same, whatever the times in their messages.
    pub fn reason(&self) -> (Rule, Mode, CheckOutcome, &str, Option<&Value>) {
        (self.rule, self.mode, self.outcome, &self.code, self.details.get("deployment_id"))
    }
}

/// The gate's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether the deployment may start.
    pub allowed: bool,
    /// What each rule found, in a fixed order.
    pub checks: Vec<Check>,
    /// When every failing rule will hold; none when one of them cannot tell.
    pub retry_at: Option<DateTime<Utc>>,
}

impl Verdict {
    /// The checks that stand in the way, where no override lifts them.
    pub fn denying(&self) -> impl Iterator<Item = &Check> {
        self.failing().filter(|check| check.mode == Mode::Enforce)
    }

    /// The checks that failed, whether or not that counts.
    pub fn failing(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.outcome == CheckOutcome::Fail)
    }
}

/// One evaluation of the gate for a start.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Identity.
    pub id: Uuid,
    /// When it was evaluated.
    pub evaluated_at: DateTime<Utc>,
    /// The answer.
    pub verdict: Verdict,
    /// Why the rules were lifted, where they were.
    pub override_reason: Option<String>,
}

/// Evaluates every rule.
pub fn evaluate(Inputs { facts, policy, lifted }: &Inputs) -> Verdict {
    let checks = vec![concurrency(facts), outdated(facts, policy.outdated)];
    let blocks = |check: &&Check| {
        check.outcome == CheckOutcome::Fail
            && check.mode == Mode::Enforce
            && (check.rule == Rule::Concurrency || !*lifted)
    };
    let blocking: Vec<&Check> = checks.iter().filter(blocks).collect();
    let retry_at = blocking.iter().map(|check| check.retry_at).collect::<Option<Vec<_>>>();
    Verdict {
        allowed: blocking.is_empty(),
        retry_at: retry_at.and_then(|times| times.into_iter().max()),
        checks,
    }
}

/// At most one deployment of a target is under way. No override lifts this; a rollback may take its place.
fn concurrency(facts: &Facts) -> Check {
    let check = |outcome, code: &str, message: String, retry_at, details| Check {
        rule: Rule::Concurrency,
        mode: Mode::Enforce,
        outcome,
        code: code.to_owned(),
        message,
        retry_at,
        details,
    };
    let Some(running) = &facts.running else {
        return check(CheckOutcome::Pass, "pass", "nothing else is running".to_owned(), None, json!({}));
    };
    let details = json!({
        "deployment_id": running.deployment_id,
        "version": running.version,
        "actor": running.actor,
        "since": time(running.since),
        "lease_expires_at": time(running.lease_expires_at),
    });
    if facts.preempt {
        let message = format!("takes the place of {}, which is running", running.version);
        return check(CheckOutcome::Pass, "preempts", message, None, details);
    }
    let message = format!(
        "{} is being deployed by {} since {}; its lease ends {}",
        running.version,
        running.actor.subject,
        for_people(running.since),
        for_people(running.lease_expires_at)
    );
    let retry_at = Some(running.lease_expires_at);
    check(CheckOutcome::Fail, "concurrent-deployment", message, retry_at, details)
}

/// A release that was registered before the current one goes back in time, as a retried old job does.
fn outdated(facts: &Facts, mode: Mode) -> Check {
    let check = |outcome, code: &str, message: String, details| Check {
        rule: Rule::Outdated,
        mode,
        outcome,
        code: code.to_owned(),
        message,
        retry_at: None,
        details,
    };
    if mode == Mode::Off {
        return check(CheckOutcome::Skipped, "off", "not looked at".to_owned(), json!({}));
    }
    if facts.kind != Kind::Deploy {
        let message = format!("a {} may be older than what is current", facts.kind);
        return check(CheckOutcome::Skipped, "exempt", message, json!({}));
    }
    match &facts.current {
        Some(current) if facts.number < current.number => check(
            CheckOutcome::Fail,
            "outdated",
            format!("was registered before {}, which is current", current.version),
            json!({ "current_version": current.version, "releases_between": current.number - facts.number }),
        ),
        Some(_) | None => {
            check(CheckOutcome::Pass, "pass", "not older than what is current".to_owned(), json!({}))
        }
    }
}

/// A time as people read it.
fn for_people(at: DateTime<Utc>) -> impl std::fmt::Display {
    at.format("%Y-%m-%d %H:%M:%S UTC")
}

/// A time as the API writes it.
fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judge(facts: &Facts, policy: Policy, lifted: bool) -> Verdict {
        evaluate(&Inputs { facts: facts.clone(), policy, lifted })
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    fn running() -> RunningFact {
        RunningFact {
            deployment_id: Uuid::nil(),
            version: "1.0".into(),
            actor: Actor { token: "ci".into(), subject: "ada".into() },
            since: at(0),
            lease_expires_at: at(60),
        }
    }

    fn facts(
        kind: Kind,
        number: i64,
        current: Option<i64>,
        running: Option<RunningFact>,
        preempt: bool,
    ) -> Facts {
        let current = current.map(|number| CurrentFact { version: format!("{number}.0"), number });
        Facts { kind, preempt, number, current, running }
    }

    #[test]
    fn a_running_deployment_blocks_until_its_lease_ends_and_names_itself() {
        let facts = facts(Kind::Deploy, 2, Some(1), Some(running()), false);
        let verdict = judge(&facts, Policy::default(), true);
        assert!(!verdict.allowed, "no override lifts concurrency");
        assert_eq!(verdict.retry_at, Some(at(60)));
        assert_eq!(verdict.checks[0].code, "concurrent-deployment");
        assert!(verdict.checks[0].message.contains("ada"), "{}", verdict.checks[0].message);
    }

    #[test]
    fn a_preempting_rollback_goes_past_what_is_running() {
        let facts = facts(Kind::Rollback, 1, Some(2), Some(running()), true);
        let verdict = judge(&facts, Policy { outdated: Mode::Enforce }, false);
        assert!(verdict.allowed);
        assert_eq!(verdict.checks[1].code, "exempt");
    }

    #[test]
    fn an_old_release_is_reported_or_refused() {
        let facts = facts(Kind::Deploy, 1, Some(3), None, false);
        let reported = judge(&facts, Policy::default(), false);
        assert!(reported.allowed && reported.checks[1].outcome == CheckOutcome::Fail);
        let enforced = Policy { outdated: Mode::Enforce };
        let refused = judge(&facts, enforced, false);
        assert!(!refused.allowed && refused.retry_at.is_none(), "time alone does not heal it");
        assert!(judge(&facts, enforced, true).allowed, "an override lifts it");
    }

    proptest! {
        #[test]
        fn adding_a_blocking_fact_never_allows(
            number in 1i64..5, current in prop::option::of(1i64..5), kind in prop::sample::select(Kind::ALL),
            mode in prop::sample::select(Mode::ALL), lifted: bool,
        ) {
            let policy = Policy { outdated: mode };
            let free = judge(&facts(kind, number, current, None, false), policy, lifted);
            let busy = judge(&facts(kind, number, current, Some(running()), false), policy, lifted);
            prop_assert!(!busy.allowed);
            prop_assert!(free.checks.len() == busy.checks.len(), "every rule is named in every answer");
            prop_assert_eq!(&free.checks[1], &busy.checks[1]);
        }

        #[test]
        fn stored_facts_evaluate_to_the_same_verdict(
            number in 1i64..5, current in prop::option::of(1i64..5), kind in prop::sample::select(Kind::ALL), busy: bool,
        ) {
            let facts = facts(kind, number, current, busy.then(running), false);
            let stored: Facts = serde_json::from_str(&serde_json::to_string(&facts).unwrap()).unwrap();
            prop_assert_eq!(judge(&facts, Policy::default(), false), judge(&stored, Policy::default(), false));
        }
    }
}
