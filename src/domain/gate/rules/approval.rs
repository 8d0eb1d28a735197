//! The rule about approvals.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::domain::{
    gate::{
        Check,
        facts::{ApprovalFact, Facts, Initiator},
        time,
    },
    moment::is_ahead,
    person::Person,
    policy::{ApprovalRule, GroupRule},
    vocabulary::{Rule, Voice},
};

/// What the people who spoke come to.
#[derive(Debug)]
pub struct Count<'a> {
    /// Those who reject it.
    pub rejecting: Vec<&'a ApprovalFact>,
    /// The approvals that count for at least one of the rules.
    pub counting: Vec<&'a ApprovalFact>,
    /// The approvals that do not, with the reason why.
    pub discounted: Vec<(&'a ApprovalFact, &'static str)>,
    /// How far each of the policy's rules is.
    pub standings: Vec<Standing>,
}

/// How far one rule is.
#[derive(Clone, Debug)]
pub struct Standing {
    pub rule: GroupRule,
    /// Whose approvals count for it.
    pub approved_by: Vec<String>,
    /// How many are missing.
    pub missing: u32,
}

impl Count<'_> {
    /// Whether nobody's word stands in the way and none is missing.
    pub fn suffices(&self) -> bool {
        self.rejecting.is_empty() && self.standings.iter().all(|standing| standing.missing == 0)
    }
}

impl Standing {
    fn new(rule: GroupRule, counting: &[&ApprovalFact]) -> Self {
        let voices = counting.iter().filter(|voice| rule.takes_any(voice.groups.iter()));
        let approved_by: Vec<_> = voices.map(|voice| voice.subject.clone()).collect();
        let approved = u32::try_from(approved_by.len()).unwrap_or(u32::MAX);
        Self { missing: rule.required.saturating_sub(approved), rule, approved_by }
    }

    /// As `1 of 2 (ada)`.
    fn count(&self) -> String {
        let names = match self.approved_by.as_slice() {
            [] => String::new(),
            names => format!(" ({})", names.join(", ")),
        };
        format!("{} of {}{names}", self.approved_by.len(), self.rule.required)
    }

    /// As `security or legal: 1 of 2 (ada), 1 missing`.
    fn of_several(&self) -> String {
        let who =
            if self.rule.groups.is_empty() { "anybody".to_owned() } else { self.rule.groups.join(" or ") };
        let missing = if self.missing == 0 { String::new() } else { format!(", {} missing", self.missing) };
        format!("{who}: {}{missing}", self.count())
    }
}

/// Enough subjects approved, nobody rejected, and where it must be, somebody is known to have initiated it.
pub fn approval(facts: &Facts, rule: &ApprovalRule, now: DateTime<Utc>) -> Check {
    if facts.verified {
        return Check::exempt(Rule::Approval, "a verified rollback was approved when it first went out");
    }
    let count = counted(facts, rule, now);
    let details = details(facts, rule, &count);
    if !count.rejecting.is_empty() {
        return Check::fail(Rule::Approval, "approval-rejected", rejection(&count.rejecting))
            .about(rejections(&count.rejecting))
            .with_details(details);
    }
    let unknown = facts.initiator == Initiator::Unknown;
    let standing = in_words(&count, unknown && !rule.require_known_initiator);
    if unknown && rule.require_known_initiator {
        let message = format!(
            "nobody is known to have initiated it, which the policy requires: start it with `initiated_by` \
             (`--initiated-by`), or record the release with it; {standing}"
        );
        return Check::fail(Rule::Approval, "initiator-unknown", message)
            .about(basis(&count))
            .with_details(details);
    }
    if count.suffices() {
        return Check::pass(Rule::Approval, standing).with_details(details);
    }
    Check::fail(Rule::Approval, "approval-missing", standing).about(basis(&count)).with_details(details)
}

/// How far it is: the count of each rule, and while some are missing who might approve and who does not count.
fn in_words(count: &Count<'_>, initiator_is_unknown: bool) -> String {
    let missing = !count.suffices();
    let mut parts = match count.standings.as_slice() {
        [only] => {
            let groups = only.rule.groups.join(", ");
            let groups = (missing && !groups.is_empty()).then(|| format!("groups: {groups}"));
            [Some(only.count()), groups].into_iter().flatten().collect()
        }
        several => several.iter().map(Standing::of_several).collect::<Vec<_>>(),
    };
    if missing && !count.discounted.is_empty() {
        let why: Vec<_> =
            count.discounted.iter().map(|(voice, why)| format!("{}: {why}", voice.subject)).collect();
        parts.push(format!("not counted: {}", why.join(", ")));
    }
    if initiator_is_unknown {
        parts.push("nobody is known to have initiated it".to_owned());
    }
    parts.join("; ")
}

/// Who rejects it and why, each in one line.
fn rejection(rejecting: &[&ApprovalFact]) -> String {
    let words = |voice: &&ApprovalFact| match &voice.comment {
        Some(comment) => {
            format!("{}: {}", voice.subject, comment.split_whitespace().collect::<Vec<_>>().join(" "))
        }
        None => voice.subject.clone(),
    };
    let between = if rejecting.iter().any(|voice| voice.comment.is_some()) { "; " } else { ", " };
    format!("rejected by {}", rejecting.iter().map(words).collect::<Vec<_>>().join(between))
}

fn rejections(rejecting: &[&ApprovalFact]) -> Value {
    let told = |voice: &&ApprovalFact| match &voice.comment {
        Some(comment) => json!([voice.subject, comment]),
        None => json!(voice.subject),
    };
    rejecting.iter().map(told).collect()
}

/// Whose approvals there are, which tells one state from another.
fn basis(count: &Count<'_>) -> Value {
    match count.standings.as_slice() {
        [only] => json!(only.approved_by),
        several => several.iter().map(|standing| json!(standing.approved_by)).collect(),
    }
}

fn details(facts: &Facts, rule: &ApprovalRule, count: &Count<'_>) -> Value {
    let by = |voices: &[&ApprovalFact]| voices.iter().map(|voice| voice.subject.clone()).collect::<Vec<_>>();
    let not_counted: Vec<_> = count
        .discounted
        .iter()
        .map(|(voice, why)| json!({ "subject": voice.subject, "why": why, "at": time(voice.at) }))
        .collect();
    let mut details = json!({
        "required": rule.required,
        "approved_by": by(&count.counting),
        "rejected_by": by(&count.rejecting),
        "not_counted": not_counted,
        "groups": rule.groups,
    });
    // A decision of before comes out as it was.
    if let (Value::Object(members), false) = (&mut details, facts.initiator == Initiator::Untold) {
        let standing = |standing: &Standing| {
            json!({ "groups": standing.rule.groups, "required": standing.rule.required,
                "approved_by": standing.approved_by, "missing": standing.missing })
        };
        let rejection = |voice: &&ApprovalFact| json!({ "subject": voice.subject, "comment": voice.comment });
        members.insert("rules".to_owned(), count.standings.iter().map(standing).collect());
        members.insert("rejections".to_owned(), count.rejecting.iter().map(rejection).collect());
        members.insert("initiator".to_owned(), json!(facts.initiator));
    }
    details
}

/// Who rejects, whose approvals count and for which rules, and whose do not.
pub fn counted<'a>(facts: &'a Facts, rule: &ApprovalRule, now: DateTime<Utc>) -> Count<'a> {
    let rules = rule.all();
    let insiders: BTreeSet<Person> =
        facts.insiders.iter().chain(&facts.deployer).map(|name| facts.person(name)).collect();
    let (approving, rejecting): (Vec<&ApprovalFact>, _) =
        facts.approvals.iter().partition(|voice| voice.decision == Voice::Approved);
    let (mut counting, mut discounted, mut heard) = (Vec::new(), Vec::new(), BTreeSet::new());
    for voice in approving {
        let person = facts.person(&voice.subject);
        let why_not = if !rule.allow_self && insiders.contains(&person) {
            Some("initiated, recorded or deploys it")
        } else if !rules.iter().any(|rule| rule.takes_any(voice.groups.iter())) {
            Some("is in none of the groups")
        } else {
            no_more(voice, rule, facts.reverted_at, now)
        };
        let why_not = why_not.or_else(|| (!heard.insert(person)).then_some("has one voice"));
        match why_not {
            Some(why) => discounted.push((voice, why)),
            None => counting.push(voice),
        }
    }
    let standings = rules.into_iter().map(|rule| Standing::new(rule, &counting)).collect();
    Count { rejecting, counting, discounted, standings }
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
