//! Who counts as whom, for whom it is judged, and several rules, by example.

use std::collections::BTreeSet;

use chrono::TimeDelta;

use super::{
    super::{facts::*, *},
    examples::{check, fine},
    now,
};
use crate::domain::{
    policy::{ApprovalRule, GroupRule},
    vocabulary::Voice,
};

fn asking(rule: ApprovalRule) -> Inputs {
    let mut inputs = fine();
    inputs.policy.approval = ApprovalRule { mode: Mode::Enforce, ..rule };
    inputs
}

fn voice(subject: &str, groups: &[&str], decision: Voice) -> ApprovalFact {
    ApprovalFact {
        id: Uuid::nil(),
        decision,
        subject: subject.into(),
        groups: groups.iter().map(ToString::to_string).collect(),
        at: now() - TimeDelta::minutes(1),
        comment: None,
        for_image: true,
    }
}

fn yes(subject: &str, groups: &[&str]) -> ApprovalFact {
    voice(subject, groups, Voice::Approved)
}

fn rule(groups: &[&str], required: u32) -> GroupRule {
    GroupRule { groups: groups.iter().map(ToString::to_string).collect(), required }
}

/// The code and the message.
fn said(inputs: &Inputs) -> (String, String) {
    let found = check(inputs, Rule::Approval);
    (found.code, found.message)
}

fn is(inputs: &Inputs, code: &str, message: &str) {
    assert_eq!(said(inputs), (code.to_owned(), message.to_owned()));
}

#[test]
fn nobody_approves_their_own_under_another_spelling() {
    let mut inputs = asking(ApprovalRule::default());
    inputs.facts.approvals = vec![yes("ada", &[])];
    for spelling in ["Ada", "ada ", "ＡＤＡ", "a\u{200d}da", "ada\u{a0}"] {
        inputs.facts.insiders = BTreeSet::from([spelling.to_owned()]);
        is(&inputs, "approval-missing", "0 of 1; not counted: ada: initiated, recorded or deploys it");
        inputs.facts.insiders.clear();
        inputs.facts.deployer = Some(spelling.to_owned());
        is(&inputs, "approval-missing", "0 of 1; not counted: ada: initiated, recorded or deploys it");
        inputs.facts.deployer = None;
        is(&inputs, "pass", "1 of 1 (ada)");
    }
    inputs.facts.insiders = BTreeSet::from(["Ada Lovelace".to_owned()]);
    is(&inputs, "pass", "1 of 1 (ada)");
    inputs.policy.approval.required = 2;
    inputs.facts.approvals.push(yes("ADA\u{200b}", &[]));
    is(&inputs, "approval-missing", "1 of 2 (ada); not counted: ADA\u{200b}: has one voice");
}

#[test]
fn a_decision_of_before_compares_names_as_they_stood_and_says_what_it_said() {
    let mut inputs = asking(ApprovalRule { required: 2, ..ApprovalRule::default() });
    inputs.facts.initiator = Initiator::Untold;
    inputs.facts.insiders = BTreeSet::from(["Ada".to_owned()]);
    inputs.facts.approvals = vec![yes("ada", &[]), yes("ada ", &[])];
    let found = check(&inputs, Rule::Approval);
    assert_eq!((found.code.as_str(), found.message.as_str()), ("pass", "2 of 2 (ada, ada )"));
    let details = json!({ "required": 2, "approved_by": ["ada", "ada "], "rejected_by": [], "not_counted": [],
        "groups": [] });
    assert_eq!(found.details, details);
    let mut stored = serde_json::to_value(&inputs).unwrap();
    for name in ["deployer", "initiator"] {
        stored["facts"].as_object_mut().unwrap().remove(name);
    }
    for name in ["rules", "require_known_initiator"] {
        stored["policy"]["approval"].as_object_mut().unwrap().remove(name);
    }
    let read: Inputs = serde_json::from_value(stored).unwrap();
    assert_eq!(read, inputs);
}

#[test]
fn that_nobody_is_known_to_have_initiated_it_is_said_and_may_stand_in_the_way() {
    let mut inputs = asking(ApprovalRule::default());
    inputs.facts.initiator = Initiator::Unknown;
    is(&inputs, "approval-missing", "0 of 1; nobody is known to have initiated it");
    inputs.facts.approvals = vec![yes("bob", &[])];
    is(&inputs, "pass", "1 of 1 (bob); nobody is known to have initiated it");
    assert_eq!(check(&inputs, Rule::Approval).details["initiator"], "unknown");
    inputs.policy.approval.require_known_initiator = true;
    let (code, message) = said(&inputs);
    assert_eq!(code, "initiator-unknown");
    assert!(message.contains("--initiated-by") && message.ends_with("; 1 of 1 (bob)"), "{message}");
    inputs.facts.approvals.push(voice("eve", &[], Voice::Rejected));
    assert_eq!(said(&inputs).0, "approval-rejected", "what somebody says comes first");
    inputs.facts.approvals.pop();
    inputs.facts.initiator = Initiator::Known;
    is(&inputs, "pass", "1 of 1 (bob)");
    inputs.facts.initiator = Initiator::Unknown;
    inputs.facts.verified = true;
    assert_eq!(said(&inputs).0, "exempt");
}

#[test]
fn a_name_that_says_nothing_is_no_initiator() {
    assert_eq!(Initiator::among([]), Initiator::Unknown);
    assert_eq!(Initiator::among(["", " \u{200b}"]), Initiator::Unknown);
    assert_eq!(Initiator::among(["", "ada"]), Initiator::Known);
}

#[test]
fn a_rejection_says_why_in_one_line() {
    let mut inputs = asking(ApprovalRule::default());
    let mut no = voice("eve", &[], Voice::Rejected);
    no.comment = told(Voice::Rejected, Some("the\ncheckout  breaks"));
    inputs.facts.approvals = vec![no.clone()];
    is(&inputs, "approval-rejected", "rejected by eve: the checkout breaks");
    let state = evaluate(&inputs, now()).state();
    inputs.facts.approvals.push(voice("bob", &[], Voice::Rejected));
    is(&inputs, "approval-rejected", "rejected by eve: the checkout breaks; bob");
    inputs.facts.approvals.remove(1);
    inputs.facts.approvals[0].comment = Some("still".into());
    assert_ne!(evaluate(&inputs, now()).state(), state, "another reason is another state");
    assert_eq!(told(Voice::Approved, Some("fine")), None);
    assert_eq!(told(Voice::Rejected, Some(&"ä".repeat(500))), Some("ä".repeat(500)));
    assert_eq!(told(Voice::Rejected, Some(&"ä".repeat(501))), Some(format!("{}…", "ä".repeat(500))));
}

#[test]
fn every_one_of_several_rules_must_hold_and_one_voice_may_count_for_several() {
    let several = vec![rule(&["security", "legal"], 1), rule(&["managers"], 2)];
    let mut inputs = asking(ApprovalRule { rules: several, ..ApprovalRule::default() });
    is(&inputs, "approval-missing", "security or legal: 0 of 1, 1 missing; managers: 0 of 2, 2 missing");
    inputs.facts.approvals = vec![yes("bob", &["managers"]), yes("cleo", &["managers"]), yes("dan", &["qa"])];
    is(
        &inputs,
        "approval-missing",
        "security or legal: 0 of 1, 1 missing; managers: 2 of 2 (bob, cleo); not counted: dan: is in none of the groups",
    );
    let state = evaluate(&inputs, now()).state();
    inputs.facts.approvals[0] = yes("bob", &["managers", "legal"]);
    is(&inputs, "pass", "security or legal: 1 of 1 (bob); managers: 2 of 2 (bob, cleo)");
    inputs.policy.approval.required = 3;
    is(
        &inputs,
        "pass",
        "anybody: 3 of 3 (bob, cleo, dan); security or legal: 1 of 1 (bob); managers: 2 of 2 (bob, cleo)",
    );
    assert_ne!(evaluate(&inputs, now()).state(), state);
}

#[test]
fn the_flat_form_is_one_rule_beside_the_others_unless_they_imply_it() {
    let flat = ApprovalRule { required: 2, groups: vec!["managers".into()], ..ApprovalRule::default() };
    assert_eq!(flat.all(), [rule(&["managers"], 2)]);
    let implied = ApprovalRule { rules: vec![rule(&["security"], 1)], ..ApprovalRule::default() };
    assert_eq!(implied.all(), [rule(&["security"], 1)]);
    let both = ApprovalRule { rules: vec![rule(&["security"], 1)], ..flat };
    assert_eq!(both.all(), [rule(&["managers"], 2), rule(&["security"], 1)]);
}
