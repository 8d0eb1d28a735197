//! The rule about known vulnerabilities.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use crate::domain::{
    gate::{
        Check,
        facts::{Facts, ScanFact},
        for_people, time,
    },
    moment::is_ahead,
    policy::VulnerabilitiesRule,
    vocabulary::{Rule, Severity},
};

/// The latest scan of every accepted scanner is within the budget, and the newest of them is not too old.
pub fn vulnerabilities(facts: &Facts, rule: &VulnerabilitiesRule, now: DateTime<Utc>) -> Check {
    if facts.verified {
        return Check::exempt(Rule::Vulnerabilities, "a verified rollback is better than what it reverts");
    }
    let scans: Vec<&ScanFact> = accepted(rule, &facts.scans).collect();
    let details = |more: Value| {
        let scan = |scan: &&ScanFact| json!({ "id": scan.id, "scanner": scan.scanner, "scanned_at": time(scan.scanned_at), "counts": scan.counts });
        let mut details = json!({ "scans": scans.iter().map(scan).collect::<Vec<_>>(), "max": rule.max });
        if let (Some(details), Value::Object(more)) = (details.as_object_mut(), more) {
            details.extend(more);
        }
        details
    };
    let Some(newest) = scans.iter().max_by_key(|scan| scan.scanned_at) else {
        if !rule.require_scan {
            return Check::pass(Rule::Vulnerabilities, "no scan, and none is demanded");
        }
        let by = if rule.scanners.is_empty() {
            String::new()
        } else {
            format!(" by {}", rule.scanners.join(" or "))
        };
        return Check::fail(Rule::Vulnerabilities, "scan-missing", format!("no scan{by} is on record"))
            .with_details(details(json!({})));
    };
    let over: Vec<(&ScanFact, Severity)> = over(rule, &facts.scans).collect();
    if !over.is_empty() {
        let mut counts = Map::new();
        for (scan, severity) in &over {
            let found = json!({ "found": scan.counts.of(*severity), "max": rule.max.of(*severity) });
            let per_scanner = counts.entry(scan.scanner.as_str()).or_insert_with(|| json!({}));
            if let Some(per_scanner) = per_scanner.as_object_mut() {
                per_scanner.insert(severity.to_string(), found);
            }
        }
        let instead = facts.within_budget.as_ref();
        let instead = instead.map(|version| format!("; {version} is within it")).unwrap_or_default();
        let message = format!("over the budget: {}{instead}", in_words(rule, &over));
        return Check::fail(Rule::Vulnerabilities, "vulnerability-budget", message)
            .about(json!(counts))
            .with_details(details(json!({ "over": counts, "newest_within_budget": facts.within_budget })));
    }
    // A scan from the future would be fresh until then, however old it is.
    let ahead = is_ahead(newest.scanned_at, now);
    let stale = |age: i64| ahead || newest.scanned_at < now - TimeDelta::seconds(age);
    if rule.max_scan_age_seconds.is_some_and(stale) {
        let hint = if ahead { ", which is ahead of the clock; upload a new one" } else { "" };
        let message =
            format!("the newest scan, by {}, is of {}{hint}", newest.scanner, for_people(newest.scanned_at));
        return Check::fail(Rule::Vulnerabilities, "scan-stale", message).with_details(details(json!({})));
    }
    Check::pass(Rule::Vulnerabilities, "within the budget").with_details(details(json!({})))
}

/// The scans whose scanner counts.
pub fn accepted<'a>(
    rule: &'a VulnerabilitiesRule,
    scans: &'a [ScanFact],
) -> impl Iterator<Item = &'a ScanFact> {
    scans.iter().filter(|scan| rule.scanners.is_empty() || rule.scanners.contains(&scan.scanner))
}

/// Which scans that count have more of which severity than the budget has room for.
pub fn over<'a>(
    rule: &'a VulnerabilitiesRule,
    scans: &'a [ScanFact],
) -> impl Iterator<Item = (&'a ScanFact, Severity)> {
    accepted(rule, scans).flat_map(|scan| {
        let too_many =
            |severity: &Severity| rule.max.of(*severity).is_some_and(|max| scan.counts.of(*severity) > max);
        Severity::ALL.iter().copied().filter(too_many).map(move |severity| (scan, severity))
    })
}

fn in_words(rule: &VulnerabilitiesRule, over: &[(&ScanFact, Severity)]) -> String {
    let words = over.iter().map(|(scan, severity)| {
        let max = rule.max.of(*severity).unwrap_or_default();
        format!("{} {severity} of {max} ({})", scan.counts.of(*severity), scan.scanner)
    });
    words.collect::<Vec<_>>().join(", ")
}
