//! What holds for every policy and all facts.

mod examples;
mod voices;

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use proptest::{prelude::*, sample::select};

use super::{facts::*, *};
use crate::domain::{
    actor::Actor,
    environment::Lockdown,
    policy::*,
    vocabulary::{Kind, PackageClass, Require, Voice},
};

const PEOPLE: [&str; 4] = ["ada", "bob", "cleo", "dan"];
const GROUPS: [&str; 2] = ["ops", "qa"];
const REPOSITORIES: [&str; 2] = ["registry.example.com/shop/*", "docker.io/**"];

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

/// A moment within two hours of now.
fn moment() -> impl Strategy<Value = DateTime<Utc>> {
    (-7200_i64..7200).prop_map(|seconds| now() + TimeDelta::seconds(seconds))
}

fn past() -> impl Strategy<Value = DateTime<Utc>> {
    (1_i64..7200).prop_map(|seconds| now() - TimeDelta::seconds(seconds))
}

fn some_of(words: &'static [&'static str]) -> impl Strategy<Value = BTreeSet<String>> {
    proptest::sample::subsequence(words, 0..=words.len())
        .prop_map(|words| words.into_iter().map(ToOwned::to_owned).collect())
}

fn mode() -> impl Strategy<Value = Mode> {
    select(Mode::ALL)
}

prop_compose! {
    fn policy()(
        modes in prop::array::uniform6(mode()), exempt_kinds in proptest::sample::subsequence(Kind::ALL, 0..=Kind::ALL.len()),
        require in select(Require::ALL), soak_seconds in select(vec![0_i64, 600, 3600]), required in 1_u32..4,
        groups in some_of(&GROUPS), allow_self: bool, expires in select(vec![60_i64, 3600, 86_400]),
        critical in prop::option::of(0_u32..3), high in prop::option::of(0_u32..3), scanners in some_of(&["trivy", "grype"]),
        (require_scan, only_fixable, age, require_digest, repositories) in
            (any::<bool>(), any::<bool>(), prop::option::of(60_i64..7200), any::<bool>(), some_of(&REPOSITORIES)),
        rules in prop::collection::vec((some_of(&GROUPS), 1_u32..3), 0..3), require_known_initiator in prop::bool::weighted(0.2),
    ) -> Policy {
        let [freeze, promotion, approval, vulnerabilities, image, outdated] = modes;
        Policy {
            freeze: FreezeRule { mode: freeze, exempt_kinds },
            promotion: PromotionRule { mode: promotion, from: vec!["staging".into(), "qa".into()], require, soak_seconds },
            approval: ApprovalRule {
                mode: approval, required, groups: groups.into_iter().collect(), allow_self, expires_after_seconds: expires,
                rules: rules.into_iter().map(|(groups, required)| GroupRule { groups: groups.into_iter().collect(), required }).collect(),
                require_known_initiator,
            },
            vulnerabilities: VulnerabilitiesRule {
                mode: vulnerabilities,
                max: Budget { critical, high, ..Budget::default() },
                only_fixable,
                scanners: scanners.into_iter().collect(),
                require_scan,
                max_scan_age_seconds: age,
            },
            image: ImageRule { mode: image, require_digest, allowed_repositories: repositories.into_iter().collect() },
            outdated: OutdatedRule { mode: outdated },
        }
    }
}

prop_compose! {
    fn source(name: &'static str)(
        standing in select(vec![
            SourceStanding::Confirmed, SourceStanding::Confirmed, SourceStanding::Unconfirmed, SourceStanding::Archived,
            SourceStanding::Unknown,
        ]),
        longest in prop::option::of((past(), 0_i64..5000)), current_since in prop::option::of(past()),
    ) -> Source {
        let stay = |(since, seconds)| Stay { since, until: (since + TimeDelta::seconds(seconds)).min(now()) };
        Source {
            environment: name.to_owned(), standing, longest: longest.map(stay), current_since, reverted_at: None,
        }
    }
}

prop_compose! {
    fn period()(starts_at in moment(), seconds in 1_i64..7200, endless in prop::bool::weighted(0.1)) -> Period {
        let ends_at = (!endless).then(|| starts_at + TimeDelta::seconds(seconds));
        Period { window_id: Uuid::nil(), name: "sale".into(), reason: "it is on".into(), starts_at, ends_at }
    }
}

prop_compose! {
    fn voice()(
        decision in select(vec![Voice::Approved, Voice::Approved, Voice::Approved, Voice::Rejected]),
        subject in select([PEOPLE.as_slice(), &["Ada", "bob ", "ｃleo"]].concat()), groups in some_of(&GROUPS), at in past(),
    ) -> ApprovalFact {
        ApprovalFact {
            id: Uuid::nil(), decision, subject: subject.to_owned(), groups, at, comment: None, for_image: true,
        }
    }
}

prop_compose! {
    fn scan()(
        scanner in select(vec!["trivy", "grype", "other"]), platform in prop::option::of(select(vec!["linux/amd64", "linux/arm64"])),
        class in select(PackageClass::ALL), scanned_at in past(), critical in 0_u32..4, high in 0_u32..4,
        fixable in prop::option::of(0_u32..4),
    )
        -> ScanFact
    {
        let counts = Counts { critical, high, ..Counts::default() };
        let platform = platform.map(str::to_owned);
        let fixable = fixable.map(|high| Counts { high: high.min(counts.high), ..Counts::default() });
        ScanFact { id: Uuid::nil(), scanner: scanner.to_owned(), platform, class, scanned_at, counts, fixable, plain: false, waived: Vec::new() }
    }
}

fn past_of(number: i64) -> DateTime<Utc> {
    now() - TimeDelta::days(10 - number)
}

fn running() -> RunningFact {
    RunningFact {
        deployment_id: Uuid::from_u128(7),
        version: "0.9".into(),
        removal: false,
        actor: Actor { token: "ci".into(), subject: "ada".into() },
        since: now() - TimeDelta::minutes(1),
        lease_expires_at: now() + TimeDelta::minutes(1),
    }
}

fn lockdown() -> Lockdown {
    let actor = Actor { token: "sre".into(), subject: "dan".into() };
    Lockdown { reason: "the database burns".into(), actor, since: now() - TimeDelta::minutes(5) }
}

prop_compose! {
    fn facts()(
        kind in select(Kind::ALL), (hotfix, verified, preempt) in any::<(bool, bool, bool)>(), number in 1_i64..5,
        image in prop::option::of(select(vec!["registry.example.com/shop/web@sha256:0", "quay.io/x@sha256:0"])),
        current in prop::option::of(1_i64..5), busy in prop::bool::weighted(0.2), locked in prop::bool::weighted(0.2),
        freezes in prop::collection::vec(period(), 0..4), sources in (source("staging"), source("qa")),
        approvals in prop::collection::vec(voice(), 0..5), insiders in some_of(&PEOPLE),
        deployer in prop::option::of(select(PEOPLE.to_vec())),
        initiator in select(vec![Initiator::Untold, Initiator::Unknown, Initiator::Known]),
        platforms in some_of(&["linux/amd64", "linux/arm64"]).prop_map(Vec::from_iter),
        reverted_at in prop::option::of(past()), scans in prop::collection::vec(scan(), 0..4),
    ) -> Facts {
        Facts {
            kind,
            hotfix,
            verified: verified && kind == Kind::Rollback,
            preempt: preempt && kind == Kind::Rollback,
            release: ReleaseFact { version: "1.0".into(), number, ordered_at: Some(past_of(number)), image: image.map(ToOwned::to_owned), platforms },
            current: current.map(|number| CurrentFact { version: format!("{number}.0"), number, ordered_at: Some(past_of(number)) }),
            running: busy.then(running),
            lockdown: locked.then(lockdown),
            freezes,
            sources: vec![sources.0, sources.1],
            approvals,
            insiders,
            deployer: deployer.map(ToOwned::to_owned),
            initiator,
            reverted_at,
            scans,
            waivers: BTreeMap::new(),
            within_budget: None,
        }
    }
}

prop_compose! {
    fn inputs()(facts in facts(), policy in policy(), lifted in prop::bool::weighted(0.2)) -> Inputs {
        Inputs { facts, policy, policy_version: 3, lifted }
    }
}

/// Everything that can only make it worse.
fn worse() -> impl Strategy<Value = fn(&mut Facts)> {
    select(vec![
        (|facts| facts.running = Some(running())) as fn(&mut Facts),
        |facts| facts.lockdown = Some(lockdown()),
        |facts| {
            facts.freezes.push(Period {
                window_id: Uuid::from_u128(1),
                name: "audit".into(),
                reason: "quiet please".into(),
                starts_at: now() - TimeDelta::minutes(1),
                ends_at: Some(now() + TimeDelta::hours(3)),
            });
        },
        |facts| {
            facts.sources.iter_mut().for_each(|source| (source.longest, source.current_since) = (None, None));
        },
        |facts| facts.sources.iter_mut().for_each(|source| source.standing = SourceStanding::Archived),
        |facts| facts.approvals.retain(|voice| voice.decision == Voice::Rejected),
        |facts| {
            let no = ApprovalFact {
                id: Uuid::from_u128(2),
                decision: Voice::Rejected,
                subject: "zoe".into(),
                groups: BTreeSet::new(),
                at: now() - TimeDelta::seconds(1),
                comment: Some("no".into()),
                for_image: true,
            };
            facts.approvals.push(no);
        },
        |facts| facts.insiders.extend(PEOPLE.map(ToOwned::to_owned)),
        // In place of another deployer, that one could approve.
        |facts| facts.deployer = facts.deployer.take().or(Some("Bob".into())),
        |facts| facts.initiator = Initiator::Unknown,
        |facts| facts.reverted_at = Some(now()),
        |facts| facts.scans.iter_mut().for_each(|scan| scan.counts.critical += 1),
        |facts| facts.scans.iter_mut().for_each(|scan| scan.fixable = None),
        |facts| facts.scans.iter_mut().for_each(|scan| scan.scanned_at -= TimeDelta::days(1)),
        |facts| facts.scans.clear(),
        |facts| facts.release.platforms.push("linux/s390x".into()),
        |facts| facts.release.image = None,
        |facts| {
            facts.release.number = 1;
            facts.current = Some(CurrentFact { version: "9.0".into(), number: 9, ordered_at: None });
        },
        |facts| facts.verified = false,
        |facts| facts.hotfix = false,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_blocking_fact_never_turns_no_into_yes(inputs in inputs(), changes in prop::collection::vec(worse(), 1..4)) {
        // Without scans there is no budget to be over, unless scans are demanded.
        let mut inputs = inputs;
        inputs.policy.vulnerabilities.require_scan = true;
        let before = evaluate(&inputs, now());
        let mut after = inputs.clone();
        for worsen in changes {
            worsen(&mut after.facts);
        }
        let after = evaluate(&after, now());
        prop_assert!(before.allowed || !after.allowed, "{before:?}\n{after:?}");
        for (before, after) in before.checks.iter().zip(&after.checks) {
            let failed = |check: &Check| check.outcome == CheckOutcome::Fail;
            prop_assert!(!failed(before) || failed(after), "{before:?}\n{after:?}");
        }
    }

    #[test]
    fn every_rule_is_named_and_judged_as_if_it_were_alone(inputs in inputs()) {
        let verdict = evaluate(&inputs, now());
        let rules: Vec<Rule> = verdict.checks.iter().map(|check| check.rule).collect();
        prop_assert_eq!(&rules, Rule::ALL);
        for rule in Rule::ALL {
            let mut alone = inputs.clone();
            let policy = &mut alone.policy;
            for (other, mode) in [
                (Rule::Freeze, &mut policy.freeze.mode), (Rule::Promotion, &mut policy.promotion.mode),
                (Rule::Approval, &mut policy.approval.mode), (Rule::Vulnerabilities, &mut policy.vulnerabilities.mode),
                (Rule::Image, &mut policy.image.mode), (Rule::Outdated, &mut policy.outdated.mode),
            ] {
                if other != *rule {
                    *mode = Mode::Off;
                }
            }
            let find = |verdict: &Verdict| verdict.checks.iter().find(|check| check.rule == *rule).cloned();
            prop_assert_eq!(find(&verdict), find(&evaluate(&alone, now())));
        }
    }

    #[test]
    fn it_is_allowed_exactly_when_no_enforced_rule_fails_or_an_override_lifts_it(inputs in inputs()) {
        let verdict = evaluate(&inputs, now());
        let counts = |check: &&Check| !inputs.lifted || check.rule == Rule::Concurrency;
        prop_assert_eq!(verdict.allowed, verdict.denying().filter(counts).count() == 0);
        for check in &verdict.checks {
            prop_assert!(check.mode != Mode::Off || check.outcome == CheckOutcome::Skipped);
            prop_assert!((check.outcome == CheckOutcome::Pass) == (check.code == "pass" || check.code == "preempts"));
        }
    }

    #[test]
    fn once_the_time_has_come_what_could_tell_it_holds(inputs in inputs()) {
        let verdict = evaluate(&inputs, now());
        for check in verdict.denying().filter(|check| check.rule != Rule::Concurrency) {
            let Some(at) = check.retry_at else { continue };
            prop_assert!(at > now(), "{check:?}");
            let holds = |at| {
                let later = evaluate(&inputs, at);
                later.checks.iter().any(|later| later.rule == check.rule && later.outcome == CheckOutcome::Pass)
            };
            prop_assert!(holds(at), "{check:?}");
            prop_assert!(!holds(at - TimeDelta::seconds(1)), "not a moment too late: {check:?}");
        }
    }

    #[test]
    fn what_was_stored_evaluates_to_the_same(inputs in inputs()) {
        let stored: Inputs = serde_json::from_str(&serde_json::to_string(&inputs).unwrap()).unwrap();
        prop_assert_eq!(&inputs, &stored);
        let (verdict, again) = (evaluate(&inputs, now()), evaluate(&stored, now()));
        prop_assert_eq!(verdict.state(), again.state());
        prop_assert_eq!(verdict, again);
    }

    #[test]
    fn a_verified_rollback_is_exempt_from_what_the_design_says_and_from_nothing_else(mut inputs in inputs()) {
        inputs.facts.kind = Kind::Rollback;
        let exempt = |inputs: &Inputs| -> Vec<Rule> {
            let checks = evaluate(inputs, now()).checks.into_iter();
            checks.filter(|check| check.code == "exempt").map(|check| check.rule).collect()
        };
        inputs.facts.verified = true;
        let allowed = [Rule::Freeze, Rule::Promotion, Rule::Approval, Rule::Vulnerabilities, Rule::Image, Rule::Outdated];
        prop_assert!(exempt(&inputs).iter().all(|rule| allowed.contains(rule)));
        let failing: Vec<Rule> = evaluate(&inputs, now()).failing().map(|check| check.rule).collect();
        prop_assert!(failing.iter().all(|rule| [Rule::Concurrency, Rule::Lockdown, Rule::Freeze].contains(rule)));
        inputs.facts.verified = false;
        prop_assert!(exempt(&inputs).iter().all(|rule| *rule == Rule::Outdated), "a rollback by name alone");
    }
}
