//! Each rule by example.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;

use super::{
    super::{facts::*, *},
    lockdown, now, running,
};
use crate::domain::{
    policy::*,
    vocabulary::{Kind, PackageClass, Require, Severity, Voice},
};
/// A release that nothing stands in the way of.
pub(super) fn fine() -> Inputs {
    let facts = Facts {
        kind: Kind::Deploy,
        hotfix: false,
        verified: false,
        preempt: false,
        release: ReleaseFact {
            version: "2.0".into(),
            number: 2,
            ordered_at: None,
            image: Some("registry.example.com/shop/web@sha256:0".into()),
            platforms: Vec::new(),
        },
        current: Some(CurrentFact { version: "1.0".into(), number: 1, ordered_at: None }),
        running: None,
        lockdown: None,
        freezes: Vec::new(),
        sources: Vec::new(),
        approvals: Vec::new(),
        insiders: BTreeSet::from(["ada".to_owned()]),
        deployer: None,
        initiator: Initiator::Known,
        reverted_at: None,
        scans: Vec::new(),
        waivers: BTreeMap::new(),
        within_budget: None,
    };
    Inputs { facts, policy: Policy::default(), policy_version: 0, lifted: false }
}

pub(super) fn check(inputs: &Inputs, rule: Rule) -> Check {
    evaluate(inputs, now()).checks.into_iter().find(|check| check.rule == rule).unwrap()
}

#[test]
fn without_a_policy_only_what_somebody_declared_stands_in_the_way() {
    let mut inputs = fine();
    assert!(evaluate(&inputs, now()).allowed);
    inputs.facts.release.number = 0;
    let verdict = evaluate(&inputs, now());
    assert!(verdict.allowed && verdict.failing().any(|check| check.code == "outdated"), "reported only");
    inputs.facts.lockdown = Some(lockdown());
    let refused = evaluate(&inputs, now());
    assert!(!refused.allowed && refused.retry_at.is_none(), "nobody knows when it is lifted");
    assert!(check(&inputs, Rule::Lockdown).message.contains("dan"));
}

#[test]
fn a_running_deployment_blocks_until_its_lease_ends_and_no_override_helps() {
    let mut inputs = fine();
    inputs.facts.running = Some(running());
    inputs.lifted = true;
    let verdict = evaluate(&inputs, now());
    assert!(!verdict.allowed);
    assert_eq!(verdict.retry_at, Some(running().lease_expires_at));
    inputs.facts.preempt = true;
    assert!(!evaluate(&inputs, now()).allowed, "only a rollback takes its place");
    inputs.facts.kind = Kind::Rollback;
    assert!(evaluate(&inputs, now()).allowed);
    assert_eq!(check(&inputs, Rule::Concurrency).code, "preempts");
}

#[test]
fn only_a_rollback_asks_to_preempt() {
    for kind in Kind::ALL {
        assert_eq!(rules::preempts(Some(*kind), true).is_ok(), *kind == Kind::Rollback, "{kind}");
        assert_eq!(rules::preempts(Some(*kind), false), Ok(false));
    }
    let refused = rules::preempts(None, true).unwrap_err();
    assert_eq!(refused.code, "not-a-rollback");
    assert!(refused.detail.contains("kind rollback") && refused.detail.contains("leave it out"));
}

#[test]
fn a_removal_is_judged_by_when_it_happens_alone() {
    let mut inputs = fine();
    inputs.facts.kind = Kind::Remove;
    inputs.policy.image =
        ImageRule { mode: Mode::Enforce, require_digest: true, allowed_repositories: Vec::new() };
    inputs.policy.approval.mode = Mode::Enforce;
    inputs.facts.release.image = None;
    assert!(evaluate(&inputs, now()).allowed);
    for rule in [Rule::Image, Rule::Approval] {
        assert_eq!(
            (check(&inputs, rule).code.as_str(), check(&inputs, rule).mode),
            ("exempt", Mode::Enforce)
        );
    }
    inputs.facts.running = Some(running());
    assert!(!evaluate(&inputs, now()).allowed);
}

#[test]
fn several_windows_are_one_freeze() {
    let mut inputs = fine();
    let period = |from: i64, until: i64| Period {
        window_id: Uuid::from_u128(1),
        name: "sale".into(),
        reason: "it is on".into(),
        starts_at: now() + TimeDelta::minutes(from),
        ends_at: Some(now() + TimeDelta::minutes(until)),
    };
    inputs.facts.freezes = vec![period(-10, 20), period(5, 15), period(20, 45), period(50, 60)];
    let found = check(&inputs, Rule::Freeze);
    assert_eq!(
        found.retry_at,
        Some(now() + TimeDelta::minutes(45)),
        "they touch; the last comes after a gap"
    );
    assert!(found.message.contains("; then sale; opens"), "whose end it is: {}", found.message);
    inputs.facts.freezes.push(Period { ends_at: None, ..period(30, 0) });
    assert_eq!(check(&inputs, Rule::Freeze).retry_at, None);
    inputs.facts.kind = Kind::Hotfix;
    inputs.policy.freeze.exempt_kinds = vec![Kind::Hotfix];
    assert_eq!(check(&inputs, Rule::Freeze).code, "freeze-window", "the word alone opens nothing");
    inputs.facts.hotfix = true;
    assert_eq!(check(&inputs, Rule::Freeze).code, "exempt");
}

#[test]
fn soak_is_the_longest_stay_even_when_another_build_came_since() {
    let mut inputs = fine();
    inputs.policy.promotion = PromotionRule {
        mode: Mode::Enforce,
        from: vec!["staging".into()],
        require: Require::Any,
        soak_seconds: 3600,
    };
    let mut source = Source {
        environment: "staging".into(),
        standing: SourceStanding::Confirmed,
        longest: None,
        current_since: Some(now() - TimeDelta::minutes(22)),
        reverted_at: None,
    };
    let judge = |inputs: &mut Inputs, source: &Source| {
        inputs.facts.sources = vec![source.clone()];
        check(inputs, Rule::Promotion)
    };
    let found = judge(&mut inputs, &source);
    assert_eq!(found.code, "soak-not-met");
    assert!(found.message.starts_with("in staging for 22m of 1h; opens "), "{}", found.message);
    assert_eq!(found.retry_at, Some(now() + TimeDelta::minutes(38)));
    source.longest = Some(Stay { since: now() - TimeDelta::hours(9), until: now() - TimeDelta::hours(8) });
    assert_eq!(judge(&mut inputs, &source).outcome, CheckOutcome::Pass);
    source.longest = None;
    source.current_since = None;
    assert_eq!(judge(&mut inputs, &source).code, "promotion-missing");
    source.standing = SourceStanding::Unconfirmed;
    assert_eq!(judge(&mut inputs, &source).code, "promotion-source-invalid");
    inputs.facts.sources.clear();
    assert_eq!(check(&inputs, Rule::Promotion).outcome, CheckOutcome::Fail, "from nowhere is from nowhere");
}

#[test]
fn stays_count_from_the_gate_on_and_until_a_revert() {
    let at = |minutes| now() + TimeDelta::minutes(minutes);
    let stays = [(at(-500), Some(at(-300))), (at(-200), Some(at(-190))), (at(-5), None)];
    let name = || "staging".to_owned();
    let found = rules::source(name(), SourceStanding::Confirmed, &stays, None, now());
    assert_eq!(found.longest, Some(Stay { since: at(-500), until: at(-300) }));
    assert_eq!(found.current_since, Some(at(-5)));
    let reverted = rules::source(name(), SourceStanding::Confirmed, &stays, Some(at(-250)), now());
    assert_eq!(
        reverted.longest,
        Some(Stay { since: at(-200), until: at(-190) }),
        "only what came after counts"
    );
    let lost = rules::source(name(), SourceStanding::Confirmed, &stays[..2], Some(at(-100)), now());
    assert_eq!((lost.longest, lost.current_since), (None, None));
}

#[test]
fn approvals_count_one_voice_for_each_subject_and_none_of_insiders() {
    let mut inputs = fine();
    inputs.policy.approval = ApprovalRule {
        mode: Mode::Enforce,
        required: 2,
        groups: vec!["ops".into()],
        ..ApprovalRule::default()
    };
    let mut say = |subject: &str, group: &str, decision, minutes: i64| {
        inputs.facts.approvals.push(ApprovalFact {
            id: Uuid::nil(),
            decision,
            subject: subject.into(),
            groups: BTreeSet::from([group.to_owned()]),
            at: now() - TimeDelta::minutes(minutes),
            comment: None,
            for_image: true,
        });
        check(&inputs, Rule::Approval)
    };
    for (subject, group, minutes) in [
        ("ada", "ops", 1),
        ("bob", "ops", 1),
        ("bob", "ops", 2),
        ("cleo", "qa", 1),
        ("dan", "ops", 60 * 24 * 7),
    ] {
        let found = say(subject, group, Voice::Approved, minutes);
        assert_eq!(found.code, "approval-missing", "{subject}");
    }
    let found = say("eve", "ops", Voice::Approved, 1);
    assert_eq!((found.outcome, found.message.as_str()), (CheckOutcome::Pass, "2 of 2 (bob, eve)"));
    let found = say("cleo", "qa", Voice::Rejected, 1);
    assert_eq!((found.code.as_str(), found.message.as_str()), ("approval-rejected", "rejected by cleo"));
}

#[test]
fn the_budget_is_each_scanners_and_an_old_scan_is_no_scan() {
    let mut inputs = fine();
    inputs.policy.vulnerabilities = VulnerabilitiesRule {
        mode: Mode::Enforce,
        max: Budget { critical: Some(0), ..Budget::default() },
        only_fixable: false,
        scanners: vec!["trivy".into()],
        require_scan: true,
        max_scan_age_seconds: Some(3600),
    };
    let code = |inputs: &Inputs| check(inputs, Rule::Vulnerabilities).code;
    assert_eq!(code(&inputs), "scan-missing");
    let mut scan = ScanFact {
        id: Uuid::nil(),
        scanner: "grype".into(),
        platform: None,
        class: PackageClass::Any,
        scanned_at: now(),
        counts: Counts { critical: 1, ..Counts::default() },
        fixable: None,
        plain: false,
        waived: Vec::new(),
    };
    inputs.facts.scans = vec![scan.clone()];
    assert_eq!(code(&inputs), "scan-missing", "nobody asked grype");
    scan.scanner = "trivy".into();
    inputs.facts.scans.push(scan.clone());
    assert_eq!(code(&inputs), "vulnerability-budget");
    let found = check(&inputs, Rule::Vulnerabilities);
    assert_eq!(found.message, "over the budget: 1 critical of 0 (trivy)");
    scan.counts.critical = 0;
    scan.scanned_at = now() - TimeDelta::hours(2);
    inputs.facts.scans = vec![scan];
    assert_eq!(code(&inputs), "scan-stale");
}

#[test]
fn only_what_has_a_fix_counts_where_the_policy_says_so_and_a_scan_tells() {
    let mut inputs = fine();
    inputs.policy.vulnerabilities = VulnerabilitiesRule {
        mode: Mode::Enforce,
        max: Budget { high: Some(1), ..Budget::default() },
        only_fixable: true,
        ..VulnerabilitiesRule::default()
    };
    let high = |high| Counts { high, ..Counts::default() };
    let scan = |scanner: &str, fixable: Option<u32>| ScanFact {
        id: Uuid::nil(),
        scanner: scanner.to_owned(),
        platform: None,
        class: PackageClass::All,
        scanned_at: now(),
        counts: high(3),
        fixable: fixable.map(high),
        plain: false,
        waived: Vec::new(),
    };
    inputs.facts.scans = vec![scan("trivy", Some(1))];
    let found = check(&inputs, Rule::Vulnerabilities);
    assert_eq!((found.outcome, &found.details["counted_whole"]), (CheckOutcome::Pass, &json!([])));
    assert_eq!(found.details["scans"][0]["fixable"]["high"], 1);
    inputs.facts.scans = vec![scan("trivy", Some(2))];
    let found = check(&inputs, Rule::Vulnerabilities);
    assert_eq!(found.message, "over the budget of what has a fix: 2 high of 1 (trivy)");
    inputs.facts.scans = vec![scan("snyk", None), scan("trivy", Some(0))];
    let found = check(&inputs, Rule::Vulnerabilities);
    assert_eq!(found.details["counted_whole"], json!(["snyk"]));
    let whole = "all of it counts by snyk, where nothing tells what has a fix";
    assert_eq!(found.message, format!("over the budget of what has a fix: 3 high of 1 (snyk); {whole}"));
    inputs.policy.vulnerabilities.only_fixable = false;
    assert_eq!(
        check(&inputs, Rule::Vulnerabilities).message,
        "over the budget: 3 high of 1 (snyk), 3 high of 1 (trivy)"
    );
}

#[test]
fn what_is_waived_counts_again_at_the_very_moment_at_which_the_waiver_ends() {
    let mut inputs = fine();
    inputs.policy.vulnerabilities = VulnerabilitiesRule {
        mode: Mode::Enforce,
        max: Budget { critical: Some(0), ..Budget::default() },
        ..VulnerabilitiesRule::default()
    };
    let waived = |number, finding: &str, until| Waived {
        waiver: Uuid::from_u128(number),
        expires_at: now() + TimeDelta::seconds(until),
        finding: finding.to_owned(),
        severity: Severity::Critical,
        found: 1,
        fixable: 0,
    };
    inputs.facts.scans = vec![ScanFact {
        id: Uuid::nil(),
        scanner: "trivy".into(),
        platform: None,
        class: PackageClass::All,
        scanned_at: now(),
        counts: Counts { critical: 2, ..Counts::default() },
        fixable: Some(Counts::default()),
        plain: false,
        waived: vec![waived(1, "CVE-1", 60), waived(2, "CVE-2", 30), waived(3, "CVE-2", 90)],
    }];
    let says = |(number, vulnerability): (u128, &str)| {
        let (vulnerability, reason) = (vulnerability.to_owned(), "nobody reaches it".to_owned());
        (Uuid::from_u128(number), WaiverFact { vulnerability, reason })
    };
    inputs.facts.waivers = [(1, "CVE-1"), (2, "CVE-2"), (3, "CVE-2")].into_iter().map(says).collect();
    let at = |seconds| {
        let verdict = evaluate(&inputs, now() + TimeDelta::seconds(seconds));
        verdict.checks.into_iter().find(|check| check.rule == Rule::Vulnerabilities).unwrap()
    };
    let both = "2 waived (CVE-1 until 2027-01-15 08:01:00 UTC, CVE-2 until 2027-01-15 08:01:30 UTC)";
    assert_eq!(at(0).message, format!("within the budget; {both}"));
    assert_eq!(at(0).details["waived"][1]["id"], json!(Uuid::from_u128(3)), "the one that ends last");
    assert_eq!(at(59).code, "pass");
    assert_eq!(
        at(60).message,
        "over the budget: 1 critical of 0 (trivy); 1 waived (CVE-2 until 2027-01-15 08:01:30 UTC)"
    );
    assert_eq!(at(90).message, "over the budget: 2 critical of 0 (trivy)");
    assert_ne!(at(60).reason(), at(90).reason());
    inputs.policy.vulnerabilities.only_fixable = true;
    let without = evaluate(&inputs, now());
    let without = without.checks.iter().find(|check| check.rule == Rule::Vulnerabilities).unwrap();
    assert_eq!(without.message, "within the budget", "nothing that counts is waived");
}

#[test]
fn images_come_by_digest_and_from_where_they_may() {
    let mut inputs = fine();
    inputs.policy.image = ImageRule {
        mode: Mode::Enforce,
        require_digest: true,
        allowed_repositories: vec!["registry.example.com/*/web".into()],
    };
    let code = |inputs: &Inputs| check(inputs, Rule::Image).code;
    assert_eq!(code(&inputs), "pass");
    for elsewhere in [
        "registry.example.com/shop/api",
        "evil.com/registry.example.com/shop/web",
        "registry.example.com/a/b/web",
    ] {
        inputs.facts.release.image = Some(format!("{elsewhere}@sha256:0"));
        assert_eq!(code(&inputs), "image-repository", "{elsewhere}");
    }
    inputs.facts.release.image = None;
    assert_eq!(code(&inputs), "image-not-pinned");
}
