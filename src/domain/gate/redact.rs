//! What a caller sees of an answer: the rules judge by everything, also by environments that the caller may not see.

use serde_json::Value;

use crate::domain::{
    gate::{Check, Decision, Inputs},
    scope::Narrowing,
    vocabulary::{CheckOutcome, Rule},
};

/// Whether the facts tell of nothing that lies outside.
pub fn is_within(inputs: &Inputs, narrowing: &Narrowing) -> bool {
    let named = inputs.facts.sources.iter().map(|source| source.environment.as_str());
    named
        .chain(inputs.policy.promotion.from.iter().map(String::as_str))
        .all(|name| narrowing.allows_environment(name))
}

/// The decision without the environments that lie outside.
#[must_use]
pub fn redacted(mut decision: Decision, narrowing: &Narrowing) -> Decision {
    for check in decision.verdict.checks.iter_mut().filter(|check| check.rule == Rule::Promotion) {
        redact(check, narrowing);
    }
    decision
}

fn redact(check: &mut Check, narrowing: &Narrowing) {
    let Some(Value::Array(sources)) = check.details.get_mut("sources") else { return };
    let before = sources.len();
    sources.retain(|source| {
        source
            .get("environment")
            .and_then(Value::as_str)
            .is_some_and(|name| narrowing.allows_environment(name))
    });
    if sources.len() < before {
        let message = match check.outcome {
            CheckOutcome::Pass => "from where the policy says",
            CheckOutcome::Fail | CheckOutcome::Skipped => {
                "not yet where the policy says; this token does not see every environment it names"
            }
        };
        message.clone_into(&mut check.message);
    }
}
