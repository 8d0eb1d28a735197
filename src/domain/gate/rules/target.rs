//! The rules about the target itself: what runs there, what is current, and whether its environment is locked down.

use serde_json::json;

use crate::domain::{
    fault::Malformed,
    gate::{
        Check,
        facts::{CurrentFact, Facts, ReleaseFact},
        for_people, time,
    },
    vocabulary::{Kind, Rule},
};

/// Whether a deployment takes the place of what is running, when it asks to: only a rollback may.
pub fn preempts(kind: Option<Kind>, asked: bool) -> Result<bool, Malformed> {
    if !asked || kind == Some(Kind::Rollback) {
        return Ok(asked);
    }
    let detail = "only a deployment of kind rollback may preempt; give that kind, or leave it out and start once what is \
                  running has ended";
    Err(Malformed::new("not-a-rollback", detail))
}

/// At most one deployment of a target is under way. No override lifts this; a rollback may take its place.
pub fn concurrency(facts: &Facts) -> Check {
    let Some(running) = &facts.running else {
        return Check::pass(Rule::Concurrency, "nothing else is running");
    };
    let details = json!({
        "deployment_id": running.deployment_id,
        "version": running.version,
        "actor": running.actor,
        "since": time(running.since),
        "lease_expires_at": time(running.lease_expires_at),
    });
    if preempts(Some(facts.kind), facts.preempt) == Ok(true) {
        let message = format!("takes the place of {}, which is running", running.version);
        return Check { code: "preempts".to_owned(), ..Check::pass(Rule::Concurrency, message) }
            .with_details(details)
            .about(json!(running.deployment_id));
    }
    let message = format!(
        "{} is being {} by {} since {}; its lease ends {}",
        running.version,
        if running.removal { "removed" } else { "deployed" },
        running.actor.subject,
        for_people(running.since),
        for_people(running.lease_expires_at)
    );
    Check::fail(Rule::Concurrency, "concurrent-deployment", message)
        .with_details(details)
        .about(json!(running.deployment_id))
        .retry_at(Some(running.lease_expires_at))
}

/// Nothing starts in an environment that is locked down, a rollback no more than anything else.
pub fn lockdown(facts: &Facts) -> Check {
    let Some(lockdown) = &facts.lockdown else {
        return Check::pass(Rule::Lockdown, "the environment is not locked down");
    };
    let message = format!(
        "locked down by {} since {}: {}",
        lockdown.actor.subject,
        for_people(lockdown.since),
        lockdown.reason
    );
    Check::fail(Rule::Lockdown, "lockdown", message).about(json!(time(lockdown.since))).with_details(json!({
        "reason": lockdown.reason,
        "actor": lockdown.actor,
        "since": time(lockdown.since),
    }))
}

/// A release that is older than the current one goes back in time, as a retried old job does, or the slower build of an
/// older commit.
pub fn outdated(facts: &Facts) -> Check {
    if facts.kind != Kind::Deploy {
        let message = format!("a {} may be older than what is current", facts.kind);
        return Check::exempt(Rule::Outdated, message);
    }
    match &facts.current {
        Some(current) if facts.release.number < current.number => older(&facts.release, current),
        Some(_) | None => Check::pass(Rule::Outdated, "not older than what is current"),
    }
}

fn older(release: &ReleaseFact, current: &CurrentFact) -> Check {
    let version = &current.version;
    let between = current.number - release.number;
    let (message, details) = if let (Some(at), Some(current_at)) = (release.ordered_at, current.ordered_at) {
        let (own, other) = (for_people(at).to_string(), for_people(current_at).to_string());
        // The moment is that of the commit or the registration, unless changes that name commits have moved it.
        let why = if own == other {
            format!(
                "both are of {own}, and {version} was registered later or names its commit among its changes"
            )
        } else {
            format!("it is of {own} and {version} of {other}, by their commits, changes and registration")
        };
        let message = format!(
            "is older than {version}, which is current: {why}; a patch of an older line goes as kind `hotfix` or by an \
             override"
        );
        let details = json!({ "current_version": version, "releases_between": between,
            "ordered_at": time(at), "current_ordered_at": time(current_at) });
        (message, details)
    } else {
        // A decision of before comes out as it was.
        let details = json!({ "current_version": version, "releases_between": between });
        (format!("was registered before {version}, which is current"), details)
    };
    Check::fail(Rule::Outdated, "outdated", message).about(json!(version)).with_details(details)
}
