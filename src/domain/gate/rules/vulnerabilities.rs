//! The rule about known vulnerabilities.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use crate::domain::{
    gate::{
        Check,
        facts::{Counts, Facts, ScanFact},
        for_people, time,
    },
    moment::is_ahead,
    policy::VulnerabilitiesRule,
    vocabulary::{PackageClass, Rule, Severity},
};

/// What every accepted scanner found on every platform is within the budget, and what the newest of them says is not too
/// old.
pub fn vulnerabilities(facts: &Facts, rule: &VulnerabilitiesRule, now: DateTime<Utc>) -> Check {
    if facts.verified {
        return Check::exempt(Rule::Vulnerabilities, "a verified rollback is better than what it reverts");
    }
    let scans: Vec<&ScanFact> = accepted(rule, &facts.scans).collect();
    let details = |more: Value| {
        let mut details =
            json!({ "scans": scans.iter().map(|scan| told(scan)).collect::<Vec<_>>(), "max": rule.max });
        if let (Some(details), Value::Object(more)) = (details.as_object_mut(), more) {
            details.extend(more);
        }
        details
    };
    let Some(newest) = newest(&scans) else {
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
    let over = over(rule, &facts.scans);
    if !over.is_empty() {
        let counts = counts_by_scanner(rule, &over);
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
        let (by, at) = (by(&newest.scanner, newest.platform.as_deref()), for_people(newest.scanned_at));
        let message = if newest.class == PackageClass::Any {
            format!("the newest scan, by {by}, is of {at}{hint}")
        } else {
            format!("{} packages were last scanned ({by}) at {at}{hint}", newest.class)
        };
        return Check::fail(Rule::Vulnerabilities, "scan-stale", message).with_details(details(json!({})));
    }
    Check::pass(Rule::Vulnerabilities, "within the budget").with_details(details(json!({})))
}

fn told(scan: &ScanFact) -> Value {
    let ScanFact { id, scanner, platform, class, scanned_at, counts } = scan;
    let scanned_at = time(*scanned_at);
    if *class == PackageClass::Any {
        return json!({ "id": id, "scanner": scanner, "scanned_at": scanned_at, "counts": counts });
    }
    json!({ "id": id, "scanner": scanner, "platform": platform, "class": class, "scanned_at": scanned_at, "counts": counts })
}

/// The part that tells how old what a scanner says is, of the scanner whose word is the newest: all that counts of a
/// scanner is as old as the oldest part of it, and one that is of the future is none to go by.
fn newest<'a>(scans: &[&'a ScanFact]) -> Option<&'a ScanFact> {
    let mut oldest: BTreeMap<&str, &ScanFact> = BTreeMap::new();
    for scan in scans {
        let kept = oldest.entry(&scan.scanner).or_insert(scan);
        if scan.scanned_at < kept.scanned_at {
            *kept = scan;
        }
    }
    oldest.into_values().max_by_key(|scan| scan.scanned_at)
}

/// The scans whose scanner counts.
pub fn accepted<'a>(
    rule: &'a VulnerabilitiesRule,
    scans: &'a [ScanFact],
) -> impl Iterator<Item = &'a ScanFact> {
    scans.iter().filter(|scan| rule.scanners.is_empty() || rule.scanners.contains(&scan.scanner))
}

/// More of a severity than the budget has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over<'a> {
    /// The scanner that says so.
    scanner: &'a str,
    /// The platform that has the most.
    platform: Option<&'a str>,
    severity: Severity,
    found: u32,
}

/// Which scanners that count name more of which severity than the budget has room for, on their worst platform.
pub fn over<'a>(rule: &'a VulnerabilitiesRule, scans: &'a [ScanFact]) -> Vec<Over<'a>> {
    let mut over: BTreeMap<(&str, Severity), Over<'a>> = BTreeMap::new();
    for ((scanner, platform), counts) in by_platform(rule, scans) {
        for severity in Severity::ALL.iter().copied() {
            let found = counts.of(severity);
            let new = Over { scanner, platform, severity, found };
            if rule.max.of(severity).is_some_and(|max| found > max) {
                let worst = over.entry((scanner, severity)).or_insert(new);
                if found > worst.found {
                    *worst = new;
                }
            }
        }
    }
    over.into_values().collect()
}

/// What each scanner that counts found on each platform. Where some packages were looked at again since all of them were,
/// what is in both counts twice rather than not at all.
fn by_platform<'a>(
    rule: &'a VulnerabilitiesRule,
    scans: &'a [ScanFact],
) -> BTreeMap<(&'a str, Option<&'a str>), Counts> {
    let mut found: BTreeMap<_, Counts> = BTreeMap::new();
    for scan in accepted(rule, scans) {
        let counts = found.entry((scan.scanner.as_str(), scan.platform.as_deref())).or_default();
        *counts = counts.plus(scan.counts);
    }
    found
}

/// What is over the budget, as clients read it.
fn counts_by_scanner(rule: &VulnerabilitiesRule, over: &[Over<'_>]) -> Map<String, Value> {
    let mut counts = Map::new();
    for Over { scanner, platform, severity, found } in over {
        let max = rule.max.of(*severity);
        let told = match platform {
            Some(platform) => json!({ "found": found, "max": max, "platform": platform }),
            None => json!({ "found": found, "max": max }),
        };
        let of_scanner = counts.entry(*scanner).or_insert_with(|| json!({}));
        if let Some(of_scanner) = of_scanner.as_object_mut() {
            of_scanner.insert(severity.to_string(), told);
        }
    }
    counts
}

fn in_words(rule: &VulnerabilitiesRule, over: &[Over<'_>]) -> String {
    let words = over.iter().map(|Over { scanner, platform, severity, found }| {
        let max = rule.max.of(*severity).unwrap_or_default();
        format!("{found} {severity} of {max} ({})", by(scanner, *platform))
    });
    words.collect::<Vec<_>>().join(", ")
}

fn by(scanner: &str, platform: Option<&str>) -> String {
    platform.map_or_else(|| scanner.to_owned(), |platform| format!("{scanner}, {platform}"))
}
