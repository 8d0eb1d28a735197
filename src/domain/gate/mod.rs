//! The gate: may this release go there now, and if not, every reason.
//!
//! [`evaluate`] is one pure function over facts that one transaction has loaded. It looks at every rule, never just
//! the first that fails. Each rule is a function in [`rules`].

pub mod differences;
pub mod facts;
pub mod redact;
pub mod remedy;
pub mod rules;
pub mod stored;
pub mod words;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::domain::{
    gate::facts::Facts,
    policy::Policy,
    vocabulary::{CheckOutcome, Mode, Rule},
};

/// All that a decision depends on, kept with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// What the rules look at.
    pub facts: Facts,
    /// How they count.
    pub policy: Policy,
    /// Which version of the environment's policy that is; 0 where nobody has set one.
    pub policy_version: i64,
    /// Whether an override lifts all of them but concurrency.
    pub lifted: bool,
}

/// What one rule found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
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
    /// What stays the same in the details from one look to the next, as long as the reason does.
    #[serde(default)]
    pub basis: Value,
}

impl Check {
    fn new(rule: Rule, outcome: CheckOutcome, code: &str, message: impl Into<String>) -> Self {
        Self {
            rule,
            mode: Mode::Enforce,
            outcome,
            code: code.to_owned(),
            message: message.into(),
            retry_at: None,
            details: json!({}),
            basis: Value::Null,
        }
    }

    /// The rule holds.
    fn pass(rule: Rule, message: impl Into<String>) -> Self {
        Self::new(rule, CheckOutcome::Pass, "pass", message)
    }

    /// The rule does not hold.
    fn fail(rule: Rule, code: &str, message: impl Into<String>) -> Self {
        Self::new(rule, CheckOutcome::Fail, code, message)
    }

    /// The rule does not apply to such a deployment.
    fn exempt(rule: Rule, message: impl Into<String>) -> Self {
        Self::new(rule, CheckOutcome::Skipped, "exempt", message)
    }

    fn with_details(self, details: Value) -> Self {
        Self { details, ..self }
    }

    fn about(self, basis: Value) -> Self {
        Self { basis, ..self }
    }

    fn retry_at(self, retry_at: Option<DateTime<Utc>>) -> Self {
        Self { retry_at, ..self }
    }

    /// What makes two findings the same, whatever the times in their messages.
    pub fn reason(&self) -> (Rule, Mode, CheckOutcome, &str, &Value) {
        (self.rule, self.mode, self.outcome, &self.code, &self.basis)
    }
}

/// The gate's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether the deployment may start.
    pub allowed: bool,
    /// What each rule found, in the order of [`Rule::ALL`].
    pub checks: Vec<Check>,
    /// When every failing rule will hold; none when one of them cannot tell.
    pub retry_at: Option<DateTime<Utc>>,
}

impl Verdict {
    /// The checks that stand in the way, where no override lifts them.
    pub fn denying(&self) -> impl Iterator<Item = &Check> {
        self.failing().filter(|check| check.mode == Mode::Enforce)
    }

    /// A word for what stands in the way: as long as it is the same, so are the reasons.
    pub fn state(&self) -> String {
        let reasons: Vec<_> = self.failing().map(Check::reason).collect();
        let digest = Sha256::digest(json!([self.allowed, reasons]).to_string());
        hex::encode(digest).chars().take(16).collect()
    }

    /// The checks that failed, whether or not that counts.
    pub fn failing(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.outcome == CheckOutcome::Fail)
    }
}

/// One evaluation of the gate for a start.
#[derive(Clone, Debug)]
pub struct Decision {
    pub id: Uuid,
    /// When it was evaluated.
    pub evaluated_at: DateTime<Utc>,
    /// The answer.
    pub verdict: Verdict,
    /// Which version of the environment's policy it went by; 0 where nobody has set one.
    pub policy_version: i64,
    /// Why the rules were lifted, where they were.
    pub override_reason: Option<String>,
}

/// Evaluates every rule, as of `now`.
pub fn evaluate(Inputs { facts, policy, lifted, .. }: &Inputs, now: DateTime<Utc>) -> Verdict {
    let shipped = |rule: Rule, mode: Mode, judge: &dyn Fn() -> Check| {
        judged(rule, mode, || {
            if facts.kind.ships() { judge() } else { Check::exempt(rule, "a removal ships nothing") }
        })
    };
    let rule = |rule: &Rule| match rule {
        Rule::Concurrency => rules::concurrency(facts),
        Rule::Lockdown => rules::lockdown(facts),
        Rule::Freeze => judged(*rule, policy.freeze.mode, || rules::freeze(facts, &policy.freeze, now)),
        Rule::Promotion => {
            shipped(*rule, policy.promotion.mode, &|| rules::promotion(facts, &policy.promotion, now))
        }
        Rule::Approval => {
            shipped(*rule, policy.approval.mode, &|| rules::approval(facts, &policy.approval, now))
        }
        Rule::Vulnerabilities => shipped(*rule, policy.vulnerabilities.mode, &|| {
            rules::vulnerabilities(facts, &policy.vulnerabilities, now)
        }),
        Rule::Image => shipped(*rule, policy.image.mode, &|| rules::image(facts, &policy.image)),
        Rule::Outdated => shipped(*rule, policy.outdated.mode, &|| rules::outdated(facts)),
    };
    let checks: Vec<Check> = Rule::ALL.iter().map(rule).collect();
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

/// What a rule finds, as much as its mode lets it count.
fn judged(rule: Rule, mode: Mode, judge: impl FnOnce() -> Check) -> Check {
    let check = if mode == Mode::Off {
        Check::new(rule, CheckOutcome::Skipped, "off", "not looked at")
    } else {
        judge()
    };
    Check { mode, ..check }
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
mod tests;
