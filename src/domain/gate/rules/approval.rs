//! The rule about approvals.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use crate::domain::{
    gate::{
        Check,
        facts::{ApprovalFact, Facts},
        time,
    },
    moment::is_ahead,
    policy::ApprovalRule,
    vocabulary::{Rule, Voice},
};

/// Enough subjects approved, and nobody rejected.
pub fn approval(facts: &Facts, rule: &ApprovalRule, now: DateTime<Utc>) -> Check {
    if facts.verified {
        return Check::exempt(Rule::Approval, "a verified rollback was approved when it first went out");
    }
    let by = |voices: &[&ApprovalFact]| voices.iter().map(|voice| voice.subject.clone()).collect::<Vec<_>>();
    let rejected: Vec<&ApprovalFact> =
        facts.approvals.iter().filter(|voice| voice.decision == Voice::Rejected).collect();
    let (counting, discounted) = counted(facts, rule, now);
    let approved = by(&counting);
    let uncounted: Vec<_> = discounted
        .iter()
        .map(|(voice, why)| json!({ "subject": voice.subject, "why": why, "at": time(voice.at) }))
        .collect();
    let details = json!({
        "required": rule.required,
        "approved_by": approved,
        "rejected_by": by(&rejected),
        "not_counted": uncounted,
        "groups": rule.groups,
    });
    if !rejected.is_empty() {
        let message = format!("rejected by {}", by(&rejected).join(", "));
        return Check::fail(Rule::Approval, "approval-rejected", message)
            .about(json!(by(&rejected)))
            .with_details(details);
    }
    let names = if approved.is_empty() { String::new() } else { format!(" ({})", approved.join(", ")) };
    let count = format!("{} of {}{names}", approved.len(), rule.required);
    if usize::try_from(rule.required).is_ok_and(|required| approved.len() >= required) {
        return Check::pass(Rule::Approval, count).with_details(details);
    }
    let groups =
        if rule.groups.is_empty() { String::new() } else { format!("; groups: {}", rule.groups.join(", ")) };
    let not_counted: Vec<_> =
        discounted.iter().map(|(voice, why)| format!("{}: {why}", voice.subject)).collect();
    let not_counted = if not_counted.is_empty() {
        String::new()
    } else {
        format!("; not counted: {}", not_counted.join(", "))
    };
    Check::fail(Rule::Approval, "approval-missing", format!("{count}{groups}{not_counted}"))
        .about(json!(approved))
        .with_details(details)
}

/// The approvals that count, and those that do not, with the reason why.
pub fn counted<'a>(
    facts: &'a Facts,
    rule: &ApprovalRule,
    now: DateTime<Utc>,
) -> (Vec<&'a ApprovalFact>, Vec<(&'a ApprovalFact, &'static str)>) {
    let (mut counting, mut discounted): (Vec<&ApprovalFact>, Vec<_>) = (Vec::new(), Vec::new());
    for voice in facts.approvals.iter().filter(|voice| voice.decision == Voice::Approved) {
        let why_not = why_not(voice, facts, rule, now).or_else(|| {
            counting.iter().any(|other| other.subject == voice.subject).then_some("has one voice")
        });
        match why_not {
            Some(why) => discounted.push((voice, why)),
            None => counting.push(voice),
        }
    }
    (counting, discounted)
}

fn why_not(
    voice: &ApprovalFact,
    facts: &Facts,
    rule: &ApprovalRule,
    now: DateTime<Utc>,
) -> Option<&'static str> {
    if !rule.allow_self && facts.insiders.contains(&voice.subject) {
        return Some("initiated, recorded or deploys it");
    }
    if !rule.groups.is_empty() && !rule.groups.iter().any(|group| voice.groups.contains(group)) {
        return Some("is in none of the groups");
    }
    no_more(voice, rule, facts.reverted_at, now)
}

/// Why what was said then does not count any more, if it does not.
pub fn no_more(
    voice: &ApprovalFact,
    rule: &ApprovalRule,
    reverted_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<&'static str> {
    if !voice.for_image {
        return Some("given before the image was added");
    }
    // It would count for longer than it may, and nobody knows when it was given.
    if is_ahead(voice.at, now) {
        return Some("said at a time ahead of the clock; to be said again");
    }
    if voice.at + TimeDelta::seconds(rule.expires_after_seconds) <= now {
        return Some("expired");
    }
    let reverted_at = reverted_at.filter(|at| voice.at <= *at)?;
    // Whether it was said before or after, nobody knows.
    let ahead = is_ahead(reverted_at, now);
    Some(if ahead {
        "void since it was reverted here, at a time ahead of the clock; an override is the way out"
    } else {
        "void since it was reverted here"
    })
}
