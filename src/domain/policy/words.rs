//! A policy in words, as people read it: for each rule that has settings what it demands, and how that counts.

use chrono::TimeDelta;

use crate::domain::{
    policy::{ApprovalRule, FreezeRule, GroupRule, ImageRule, Policy, PromotionRule, VulnerabilitiesRule},
    span::duration,
    vocabulary::{Mode, Require, Rule, Severity},
};

/// What a policy says of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub rule: Rule,
    /// How it counts.
    pub mode: Mode,
    /// What it demands; also while it is off, because that is what it would demand.
    pub words: String,
}

impl Said {
    /// How it counts, in words.
    pub fn how(&self) -> &'static str {
        match self.mode {
            Mode::Enforce => "enforced",
            Mode::Report => "only reported",
            Mode::Off => "off",
        }
    }
}

/// What a policy says of each rule that it has settings for, in the order in which answers name them.
pub fn in_words(policy: &Policy) -> Vec<Said> {
    let Policy { freeze, promotion, approval, vulnerabilities, image, outdated } = policy;
    let said = |rule, mode, words| Said { rule, mode, words };
    vec![
        said(Rule::Freeze, freeze.mode, of_freeze(freeze)),
        said(Rule::Promotion, promotion.mode, of_promotion(promotion)),
        said(Rule::Approval, approval.mode, of_approval(approval)),
        said(Rule::Vulnerabilities, vulnerabilities.mode, of_vulnerabilities(vulnerabilities)),
        said(Rule::Image, image.mode, of_image(image)),
        said(Rule::Outdated, outdated.mode, "nothing older than what is current".to_owned()),
    ]
}

/// The rules that two policies say something else of, with what each says.
pub fn differing(before: &Policy, after: &Policy) -> Vec<(Said, Said)> {
    in_words(before).into_iter().zip(in_words(after)).filter(|(before, after)| before != after).collect()
}

fn of_freeze(rule: &FreezeRule) -> String {
    let nothing = "nothing starts within a freeze window";
    let exempt: Vec<_> = rule.exempt_kinds.iter().map(|kind| kind.noun()).collect();
    if exempt.is_empty() {
        nothing.to_owned()
    } else {
        format!("{nothing}, but for a {}", exempt.join(" or a "))
    }
}

fn of_promotion(rule: &PromotionRule) -> String {
    if rule.from.is_empty() {
        return "it ran in an environment before, of which none is named".to_owned();
    }
    let between = match rule.require {
        Require::All => " and ",
        Require::Any => " or ",
    };
    let soak = match rule.soak_seconds {
        0 => String::new(),
        seconds => format!(" for {} without a break", span(seconds)),
    };
    format!("it ran in {} before{soak}", rule.from.join(between))
}

fn of_approval(rule: &ApprovalRule) -> String {
    let mut parts: Vec<_> = rule.all().iter().map(of_group).collect();
    parts.push(format!("an approval counts for {}", span(rule.expires_after_seconds)));
    if rule.allow_self {
        parts.push("whoever made it may approve it too".to_owned());
    }
    if rule.require_known_initiator {
        parts.push("somebody is known to have initiated it".to_owned());
    }
    parts.join("; ")
}

fn of_group(rule: &GroupRule) -> String {
    let approve = if rule.required == 1 { "approves" } else { "approve" };
    let who =
        if rule.groups.is_empty() { String::new() } else { format!(" of {}", rule.groups.join(" or ")) };
    format!("{}{who} {approve}", rule.required)
}

fn of_vulnerabilities(rule: &VulnerabilitiesRule) -> String {
    let room = |severity: &Severity| rule.max.of(*severity).map(|max| format!("{max} {severity}"));
    let room: Vec<_> = Severity::ALL.iter().filter_map(room).collect();
    let mut parts = Vec::new();
    if !room.is_empty() {
        let fixable = if rule.only_fixable { ", counting those that have a fix" } else { "" };
        parts.push(format!("at most {} vulnerabilities{fixable}", room.join(", ")));
    }
    if rule.require_scan {
        parts.push("a scan is on record".to_owned());
    }
    parts
        .extend(rule.max_scan_age_seconds.map(|age| format!("the newest scan is at most {} old", span(age))));
    if !rule.scanners.is_empty() {
        parts.push(format!("scans by {} count", rule.scanners.join(" or ")));
    }
    if parts.is_empty() { "no budget is set".to_owned() } else { parts.join("; ") }
}

fn of_image(rule: &ImageRule) -> String {
    let mut parts = Vec::new();
    if rule.require_digest {
        parts.push("the image is told by its digest".to_owned());
    }
    if !rule.allowed_repositories.is_empty() {
        parts.push(format!("it comes from {}", rule.allowed_repositories.join(" or ")));
    }
    if parts.is_empty() { "any image, or none".to_owned() } else { parts.join("; ") }
}

/// A span of seconds, in whole units where there is nothing beside them.
fn span(seconds: i64) -> String {
    let words = duration(TimeDelta::seconds(seconds));
    words.split_once(" 0").map_or(words.clone(), |(whole, _)| whole.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{policy::Budget, vocabulary::Kind};

    fn words(policy: &Policy, rule: Rule) -> String {
        in_words(policy).into_iter().find(|said| said.rule == rule).unwrap().words
    }

    #[test]
    fn without_any_policy_little_is_demanded() {
        let policy = Policy::default();
        assert_eq!(words(&policy, Rule::Freeze), "nothing starts within a freeze window, but for a rollback");
        assert_eq!(words(&policy, Rule::Vulnerabilities), "no budget is set");
        assert_eq!(words(&policy, Rule::Image), "any image, or none");
        let off: Vec<_> = in_words(&policy).into_iter().filter(|said| said.mode == Mode::Off).collect();
        assert_eq!(off.len(), 4);
    }

    #[test]
    fn what_differs_is_said_of_each_rule_with_what_it_was() {
        let before = Policy::default();
        assert_eq!(differing(&before, &before), []);
        let mut after = Policy::default();
        after.approval.required = 2;
        after.image.mode = Mode::Report;
        let found = differing(&before, &after);
        let rules: Vec<_> = found.iter().map(|(was, is)| (was.rule, is.rule)).collect();
        assert_eq!(rules, [(Rule::Approval, Rule::Approval), (Rule::Image, Rule::Image)]);
        assert!(found.iter().all(|(was, is)| was != is) && found[0].1.words.starts_with("2 approve"));
    }

    #[test]
    fn every_setting_is_told() {
        let mut policy = Policy::default();
        policy.freeze.exempt_kinds = vec![Kind::Hotfix, Kind::Remove];
        policy.promotion.from = vec!["qa".to_owned(), "staging".to_owned()];
        policy.promotion.soak_seconds = 5_400;
        policy.approval.required = 2;
        policy.approval.groups = vec!["leads".to_owned()];
        policy.approval.require_known_initiator = true;
        policy.approval.allow_self = true;
        policy.vulnerabilities.max = Budget { critical: Some(0), high: Some(3), ..Budget::default() };
        policy.vulnerabilities.only_fixable = true;
        policy.vulnerabilities.require_scan = true;
        policy.vulnerabilities.max_scan_age_seconds = Some(86_400);
        policy.vulnerabilities.scanners = vec!["trivy".to_owned()];
        policy.image.require_digest = true;
        policy.image.allowed_repositories = vec!["registry.example.com/**".to_owned()];
        let expected = [
            (Rule::Freeze, "nothing starts within a freeze window, but for a hotfix or a removal"),
            (Rule::Promotion, "it ran in qa or staging before for 1h 30m without a break"),
            (
                Rule::Approval,
                "2 of leads approve; an approval counts for 7d; whoever made it may approve it too; somebody is known to \
                 have initiated it",
            ),
            (
                Rule::Vulnerabilities,
                "at most 0 critical, 3 high vulnerabilities, counting those that have a fix; a scan is on record; the \
                 newest scan is at most 1d old; scans by trivy count",
            ),
            (Rule::Image, "the image is told by its digest; it comes from registry.example.com/**"),
        ];
        for (rule, text) in expected {
            assert_eq!(words(&policy, rule), text);
        }
        policy.promotion.require = Require::All;
        assert!(words(&policy, Rule::Promotion).starts_with("it ran in qa and staging"));
    }
}
