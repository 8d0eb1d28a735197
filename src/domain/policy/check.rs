//! Whether a policy can be set: every fault of it at once, each with its JSON pointer.

use std::ops::RangeInclusive;

use crate::domain::{
    environment::Environment,
    fault::{Faults, Malformed},
    policy::{
        ApprovalRule, Budget, ImageRule, Policy, PromotionRule, VulnerabilitiesRule,
        limits::{
            APPROVAL, KINDS_MAX, NAMES_MAX, REPOSITORIES_MAX, REQUIRED, ROOM, RULES_MAX, SCAN_AGE, SOAK,
        },
    },
    repository::{REPOSITORY_MAX, parse},
    text::{self, Name},
    vocabulary::{Mode, Severity},
};

impl Policy {
    /// Checks everything, for the environment of this name; `known` are the environments that the policy may name.
    pub fn validate(&self, environment: &Name, known: &[Environment]) -> Result<(), Faults> {
        let mut faults = Faults::default();
        let kinds = self.freeze.exempt_kinds.iter().map(|kind| kind.as_str());
        each(&mut faults, "/freeze/exempt_kinds", KINDS_MAX, kinds, |_| Ok(()));
        check_promotion(&mut faults, &self.promotion, environment, known);
        check_approval(&mut faults, &self.approval);
        check_vulnerabilities(&mut faults, &self.vulnerabilities);
        check_image(&mut faults, &self.image);
        faults.finish(Some(()))
    }
}

fn at_most(faults: &mut Faults, pointer: &str, max: usize, members: usize) {
    if members > max {
        faults.add(pointer, "too-many", format!("must have at most {max} members"));
    }
}

fn within(faults: &mut Faults, pointer: &str, range: RangeInclusive<i64>, number: impl Into<i64>) {
    if !range.contains(&number.into()) {
        let detail = format!("must be from {} to {}", range.start(), range.end());
        faults.add(pointer, "out-of-range", detail);
    }
}

/// Checks the members of a list: how many there are, each by itself, and that none comes twice.
fn each(
    faults: &mut Faults,
    pointer: &str,
    max: usize,
    list: impl IntoIterator<Item = impl AsRef<str>>,
    check: impl Fn(&str) -> Result<(), Malformed>,
) {
    let list: Vec<_> = list.into_iter().collect();
    at_most(faults, pointer, max, list.len());
    let mut seen = std::collections::BTreeSet::new();
    for (index, member) in list.into_iter().enumerate() {
        let pointer = format!("{pointer}/{index}");
        let right = faults.take(&pointer, check(member.as_ref())).is_some();
        if !seen.insert(member.as_ref().to_owned()) && right {
            faults.add(&pointer, "duplicate", "must not be named twice");
        }
    }
}

fn names(faults: &mut Faults, pointer: &str, names: &[String]) {
    each(faults, pointer, NAMES_MAX, names, |name| Name::parse(name).map(drop));
}

fn groups(faults: &mut Faults, pointer: &str, groups: &[String]) {
    each(faults, pointer, NAMES_MAX, groups, text::group);
}

fn check_approval(faults: &mut Faults, rule: &ApprovalRule) {
    within(faults, "/approval/required", REQUIRED, rule.required);
    within(faults, "/approval/expires_after_seconds", APPROVAL, rule.expires_after_seconds);
    groups(faults, "/approval/groups", &rule.groups);
    at_most(faults, "/approval/rules", RULES_MAX, rule.rules.len());
    for (index, rule) in rule.rules.iter().enumerate() {
        within(faults, &format!("/approval/rules/{index}/required"), REQUIRED, rule.required);
        groups(faults, &format!("/approval/rules/{index}/groups"), &rule.groups);
    }
}

fn check_promotion(faults: &mut Faults, rule: &PromotionRule, own: &Name, known: &[Environment]) {
    within(faults, "/promotion/soak_seconds", SOAK, rule.soak_seconds);
    if rule.mode == Mode::Off {
        return names(faults, "/promotion/from", &rule.from);
    }
    if rule.from.is_empty() {
        let detail = "must name the environments that releases are promoted from, or the mode must be off";
        faults.add("/promotion/from", "required", detail);
    }
    each(faults, "/promotion/from", NAMES_MAX, &rule.from, |name| {
        let name = Name::parse(name)?;
        let fault = |code, detail: &str| Err(Malformed::new(code, format!("{name} {detail}")));
        if name == *own {
            return fault("itself", "cannot be promoted from itself");
        }
        match known.iter().find(|environment| environment.name == name) {
            None => fault("unknown", "is not registered"),
            Some(environment) if environment.archived_at.is_some() => fault("archived", "is archived"),
            Some(environment) if environment.unconfirmed => {
                let detail = format!(
                    "was registered by a deployment, and nobody has confirmed it; `waybill environment confirm {name}` \
                     or PATCH /environments/{name} does"
                );
                fault("unconfirmed", &detail)
            }
            Some(_) => Ok(()),
        }
    });
}

fn check_vulnerabilities(faults: &mut Faults, rule: &VulnerabilitiesRule) {
    let idle = rule.max == Budget::default() && !rule.require_scan && rule.max_scan_age_seconds.is_none();
    if rule.mode != Mode::Off && idle {
        let detail = "must have room for a number of some severity, or `require_scan` or `max_scan_age_seconds` must \
                      be given, or the mode must be off: so the rule would never fail";
        faults.add("/vulnerabilities/max", "required", detail);
    }
    for severity in Severity::ALL {
        if let Some(room) = rule.max.of(*severity) {
            within(faults, &format!("/vulnerabilities/max/{severity}"), ROOM, room);
        }
    }
    if let Some(age) = rule.max_scan_age_seconds {
        within(faults, "/vulnerabilities/max_scan_age_seconds", SCAN_AGE, age);
    }
    names(faults, "/vulnerabilities/scanners", &rule.scanners);
}

fn check_image(faults: &mut Faults, rule: &ImageRule) {
    if rule.mode != Mode::Off && !rule.require_digest && rule.allowed_repositories.is_empty() {
        let detail = "must be true, or `allowed_repositories` must name some, or the mode must be off: so the rule \
                      would never fail";
        faults.add("/image/require_digest", "required", detail);
    }
    each(faults, "/image/allowed_repositories", REPOSITORIES_MAX, &rule.allowed_repositories, |pattern| {
        if pattern.len() <= REPOSITORY_MAX && is_repository_pattern(pattern) {
            return Ok(());
        }
        let detail = format!(
            "must be a repository as images name it, like `registry.example.com:5000/shop/*`, in lower case, without \
             scheme, tag and empty parts, at most {REPOSITORY_MAX} characters, with '*' for a part of a path and '**' for any number of parts"
        );
        Err(Malformed::new("invalid-repository", detail))
    });
}

/// Whether it can match a repository: one that cannot would keep everything out.
fn is_repository_pattern(pattern: &str) -> bool {
    let whole = |part: &str| part == "**" || !part.contains("**");
    let small = !pattern.contains(|c: char| c.is_ascii_uppercase());
    let example = pattern.replace("**", "a").replace(":*", ":1").replace('*', "a");
    pattern.split('/').all(whole) && small && parse(&example).is_ok()
}

#[cfg(test)]
pub(super) mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        environment::EnvironmentSettings,
        policy::{GroupRule, InForce},
        vocabulary::{Kind, Tier},
    };

    /// A confirmed environment.
    pub(in crate::domain::policy) fn environment(name: &str, rank: i64) -> Environment {
        let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        Environment {
            id: Uuid::nil(),
            name: Name::parse(name).unwrap(),
            settings: EnvironmentSettings { tier: Tier::Other, rank, url: None },
            unconfirmed: false,
            policy: InForce::default(),
            lockdown: None,
            freezes: None,
            revision: 1,
            created_at: at,
            updated_at: at,
            archived_at: None,
        }
    }

    fn known() -> Vec<Environment> {
        let mut known = ["dev", "old", "prod", "staging"].map(|name| environment(name, 1));
        known[0].unconfirmed = true;
        known[1].archived_at = Some(known[1].created_at);
        known.into()
    }

    fn faults(policy: &Policy) -> Vec<(String, &'static str)> {
        let checked = policy.validate(&Name::parse("prod").unwrap(), &known());
        let faults = checked.map_or_else(Faults::into_vec, |()| Vec::new());
        faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect()
    }

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_fault_is_found_at_once() {
        let mut policy = Policy::default();
        policy.freeze.exempt_kinds = vec![Kind::Rollback, Kind::Hotfix, Kind::Rollback];
        policy.promotion.mode = Mode::Report;
        policy.promotion.from = names(&["dev", "old", "prod", "nowhere", "staging", "staging", "A", "A"]);
        policy.approval.groups = names(&["acme/managers", " managers", "acme/managers"]);
        let rule = |groups: &[&str]| GroupRule { groups: names(groups), required: 1 };
        policy.approval.rules = vec![rule(&["security"]), rule(&["leads", "", "leads"])];
        policy.vulnerabilities.mode = Mode::Enforce;
        policy.vulnerabilities.scanners = names(&["trivy", "Trivy", "", "a\u{0}", "trivy"]);
        policy.image.mode = Mode::Report;
        policy.image.allowed_repositories = names(&["registry.example.com:5000/**", "a@b", "", "[a]"]);
        let expected = [
            ("/freeze/exempt_kinds/2", "duplicate"),
            ("/promotion/from/0", "unconfirmed"),
            ("/promotion/from/1", "archived"),
            ("/promotion/from/2", "itself"),
            ("/promotion/from/3", "unknown"),
            ("/promotion/from/5", "duplicate"),
            ("/promotion/from/6", "invalid-name"),
            ("/promotion/from/7", "invalid-name"),
            ("/approval/groups/1", "invalid-group"),
            ("/approval/groups/2", "duplicate"),
            ("/approval/rules/1/groups/1", "invalid-group"),
            ("/approval/rules/1/groups/2", "duplicate"),
            ("/vulnerabilities/max", "required"),
            ("/vulnerabilities/scanners/1", "invalid-name"),
            ("/vulnerabilities/scanners/2", "invalid-name"),
            ("/vulnerabilities/scanners/3", "invalid-name"),
            ("/vulnerabilities/scanners/4", "duplicate"),
            ("/image/allowed_repositories/1", "invalid-repository"),
            ("/image/allowed_repositories/2", "invalid-repository"),
            ("/image/allowed_repositories/3", "invalid-repository"),
        ];
        assert_eq!(faults(&policy), expected.map(|(pointer, code)| (pointer.to_owned(), code)));
    }

    #[test]
    fn a_pattern_can_match_a_repository() {
        for right in [
            "shop",
            "**",
            "*/shop",
            "ghcr.io/acme/**",
            "r.example.com:5000/a-*/b",
            "localhost:*/x",
            "[fd00::1]:5000/shop/*",
        ] {
            assert!(is_repository_pattern(right), "{right}");
        }
        for wrong in [
            "https://ghcr.io/a",
            "ghcr.io/a/",
            "/a",
            "a//b",
            "***",
            "a**/b",
            "ghcr.io/a:1.0",
            "shop:1",
            ":1/a",
            "registry.example.com/Shop/*",
            "Registry.example.com/*",
            "registry.example.com/../*",
            "registry.example.com/shop?",
            "!registry.example.com/shop",
            "registry.example.com/{a,b}",
            "[a-z]/shop",
            "shop/[a-z]",
            "[::1/shop",
        ] {
            assert!(!is_repository_pattern(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_rule_that_is_off_keeps_its_settings() {
        let mut policy = Policy::default();
        policy.promotion.from = names(&["old", "nowhere"]);
        assert_eq!(faults(&policy), []);
        policy.promotion.mode = Mode::Report;
        policy.promotion.from.clear();
        policy.image.mode = Mode::Enforce;
        let pointers: Vec<_> = faults(&policy).into_iter().map(|(pointer, _)| pointer).collect();
        assert_eq!(pointers, ["/promotion/from", "/image/require_digest"]);
    }

    proptest! {
        #[test]
        fn a_fault_points_to_a_member_that_is_there(groups in prop::collection::vec(".{0,5}", 0..5), from in prop::collection::vec("[a-z]{0,3}|staging", 0..5)) {
            let mut policy = Policy::default();
            policy.approval.groups = groups;
            policy.promotion.mode = Mode::Enforce;
            policy.promotion.from = from;
            let value = serde_json::to_value(&policy).unwrap();
            for (pointer, _) in faults(&policy) {
                prop_assert!(value.pointer(&pointer).is_some(), "{pointer}");
            }
        }
    }
}
