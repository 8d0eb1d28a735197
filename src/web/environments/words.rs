//! Policies in words.

use serde_json::Value;

use crate::domain::{
    policy::{ApprovalRule, GroupRule, Policy, PromotionRule, VulnerabilitiesRule},
    vocabulary::{Mode, Require, Severity},
};

/// One rule of a policy in words.
pub struct Rule {
    pub name: &'static str,
    mode: Mode,
    /// What it wants, in sentences.
    pub wants: String,
}

impl Rule {
    /// Whether a failure refuses a start.
    pub fn is_enforced(&self) -> bool {
        self.mode == Mode::Enforce
    }

    /// How it counts.
    pub fn counts(&self) -> &'static str {
        match self.mode {
            Mode::Enforce => "enforced",
            Mode::Report => "only reported",
            Mode::Off => "off",
        }
    }
}

/// The rules of a policy, in the order in which the gate names them.
pub fn rules(policy: &Policy) -> Vec<Rule> {
    let rule = |name, mode, wants| Rule { name, mode, wants };
    vec![
        rule("freeze", policy.freeze.mode, freeze(policy)),
        rule("promotion", policy.promotion.mode, promotion(&policy.promotion)),
        rule("approval", policy.approval.mode, approval(&policy.approval)),
        rule("vulnerabilities", policy.vulnerabilities.mode, vulnerabilities(&policy.vulnerabilities)),
        rule("image", policy.image.mode, image(policy)),
        rule(
            "outdated",
            policy.outdated.mode,
            "Nothing older than the release that is current goes there, but as a rollback.".to_owned(),
        ),
    ]
}

fn freeze(policy: &Policy) -> String {
    let kinds: Vec<_> = policy.freeze.exempt_kinds.iter().map(|kind| kind.as_str()).collect();
    match kinds.as_slice() {
        [] => "Nothing starts while a freeze window holds.".to_owned(),
        _ => format!("While a freeze window holds, nothing starts but {}.", any_of(&kinds)),
    }
}

fn promotion(rule: &PromotionRule) -> String {
    if rule.from.is_empty() {
        return "A release need not have run anywhere before.".to_owned();
    }
    let from = match rule.require {
        Require::All => all_of(&rule.from),
        Require::Any => any_of(&rule.from),
    };
    let soak = match rule.soak_seconds {
        0 => String::new(),
        seconds => format!(" for {} without a break", span(seconds)),
    };
    format!("The same artefact has run in {from}{soak}.")
}

fn approval(rule: &ApprovalRule) -> String {
    let wants = |rule: &GroupRule| {
        let people =
            if rule.required == 1 { "one person".to_owned() } else { format!("{} people", rule.required) };
        match rule.groups.as_slice() {
            [] => people,
            groups => format!("{people} of {}", any_of(groups)),
        }
    };
    let all: Vec<_> = rule.all().iter().map(wants).collect();
    let own = if rule.allow_self {
        "Who made or deploys the release may be one of them."
    } else {
        "Who made or deploys the release is not counted."
    };
    let known = if rule.require_known_initiator { " Somebody is known to have initiated it." } else { "" };
    let lasts = span(rule.expires_after_seconds);
    format!("Approved by {}. {own}{known} An approval counts for {lasts}.", all_of(&all))
}

fn vulnerabilities(rule: &VulnerabilitiesRule) -> String {
    let room = Severity::ALL.iter().filter_map(|severity| {
        rule.max.of(*severity).map(|room| match room {
            0 => format!("no {severity} one"),
            room => format!("at most {room} {severity}"),
        })
    });
    let room: Vec<_> = room.collect();
    let mut said = Vec::new();
    if !room.is_empty() {
        let fixable = if rule.only_fixable { " that has a fix" } else { "" };
        said.push(format!("Of known vulnerabilities{fixable} there is {}.", all_of(&room)));
    }
    if rule.require_scan {
        said.push("There is a scan.".to_owned());
    }
    if let Some(age) = rule.max_scan_age_seconds {
        said.push(format!("The newest scan is at most {} old.", span(age)));
    }
    if !rule.scanners.is_empty() {
        said.push(format!("Scans of {} count.", all_of(&rule.scanners)));
    }
    if said.is_empty() { "Vulnerabilities are not counted.".to_owned() } else { said.join(" ") }
}

fn image(policy: &Policy) -> String {
    let mut said = Vec::new();
    if policy.image.require_digest {
        said.push("The release names its image by digest.".to_owned());
    }
    if !policy.image.allowed_repositories.is_empty() {
        said.push(format!("The image comes from {}.", any_of(&policy.image.allowed_repositories)));
    }
    if said.is_empty() { "The image may be any, or none.".to_owned() } else { said.join(" ") }
}

fn any_of(list: &[impl AsRef<str>]) -> String {
    listed(list, "or")
}

fn all_of(list: &[impl AsRef<str>]) -> String {
    listed(list, "and")
}

fn listed(list: &[impl AsRef<str>], word: &str) -> String {
    match list {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [before @ .., end] => {
            let before: Vec<_> = before.iter().map(AsRef::as_ref).collect();
            format!("{} {word} {}", before.join(", "), end.as_ref())
        }
    }
}

/// A span of time in its largest whole unit.
fn span(seconds: i64) -> String {
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let whole = units.iter().find(|(unit, _)| seconds >= *unit && seconds % unit == 0);
    let (unit, word) = whole.copied().unwrap_or((1, "second"));
    match seconds / unit {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    }
}

/// What a change of a policy changed: each setting, what it was, and what it is.
pub fn changes(event: &Value) -> Vec<(String, String, String)> {
    let at = |side: &str, pointer: &str| event[side].pointer(pointer).map_or("not set".to_owned(), said);
    let changed = event["changed"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let change = |pointer: &str| {
        let name = pointer.trim_start_matches('/').replace('/', ".");
        (name, at("before", pointer), at("after", pointer))
    };
    changed.map(change).collect()
}

/// A setting in words.
fn said(setting: &Value) -> String {
    match setting {
        Value::Null => "not set".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) if list.is_empty() => "none".to_owned(),
        Value::Array(list) => list.iter().map(said).collect::<Vec<_>>().join(", "),
        Value::Object(members) => {
            let members = members.iter().map(|(name, member)| format!("{name} {}", said(member)));
            members.collect::<Vec<_>>().join(" ")
        }
        Value::Bool(_) | Value::Number(_) => setting.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::policy::Budget;

    fn wants(policy: &Policy, name: &str) -> String {
        rules(policy).into_iter().find(|rule| rule.name == name).unwrap().wants
    }

    #[test]
    fn a_policy_reads_as_sentences() {
        let mut policy = Policy::default();
        assert_eq!(wants(&policy, "freeze"), "While a freeze window holds, nothing starts but rollback.");
        assert_eq!(wants(&policy, "promotion"), "A release need not have run anywhere before.");
        policy.promotion.from = ["qa", "staging"].map(str::to_owned).into();
        policy.promotion.soak_seconds = 5_400;
        assert_eq!(
            wants(&policy, "promotion"),
            "The same artefact has run in qa or staging for 90 minutes without a break."
        );
        policy.approval.rules = vec![GroupRule { groups: vec!["leads".to_owned()], required: 2 }];
        assert_eq!(
            wants(&policy, "approval"),
            "Approved by 2 people of leads. Who made or deploys the release is not counted. An approval counts for 7 days."
        );
        policy.vulnerabilities.max = Budget { critical: Some(0), high: Some(5), ..Budget::default() };
        assert_eq!(
            wants(&policy, "vulnerabilities"),
            "Of known vulnerabilities there is no critical one and at most 5 high."
        );
    }

    #[test]
    fn a_change_names_each_setting_with_what_it_was_and_is() {
        let event = json!({"before": null, "after": {"approval": {"required": 2, "mode": "enforce"}},
            "changed": ["/approval/required", "/approval/mode"]});
        let expected = [("approval.required", "not set", "2"), ("approval.mode", "not set", "enforce")];
        let expected = expected.map(|(name, was, is)| (name.to_owned(), was.to_owned(), is.to_owned()));
        assert_eq!(changes(&event), expected);
    }
}
