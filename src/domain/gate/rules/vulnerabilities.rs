//! The rule about known vulnerabilities.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::domain::{
    gate::{
        Check,
        facts::{Counts, Facts, ScanFact, Waived, WaiverFact},
        for_people, time,
    },
    json::merged,
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
    let whole = counted_whole(rule, &scans);
    let waived = waivers(rule, facts, now);
    let details = |more: Value| {
        let mut details =
            json!({ "scans": scans.iter().map(|scan| told(scan)).collect::<Vec<_>>(), "max": rule.max });
        if rule.only_fixable {
            details = merged(details, &json!({ "only_fixable": true, "counted_whole": whole }));
        }
        if !waived.is_empty() {
            let waived: Vec<_> = waived.values().map(Counted::told).collect();
            details = merged(details, &json!({ "waived": waived }));
        }
        merged(details, &more)
    };
    let Some(newest) = newest(&scans) else {
        if !rule.require_scan {
            return Check::pass(Rule::Vulnerabilities, "no scan, and none is demanded");
        }
        let message = format!("no scan{} is on record", by_whom(rule));
        return Check::fail(Rule::Vulnerabilities, "scan-missing", message).with_details(details(json!({})));
    };
    let over = over(rule, &facts.scans, now);
    if !over.is_empty() {
        let counts = counts_by_scanner(rule, &over);
        let instead = facts.within_budget.as_ref();
        let instead = instead.map(|version| format!("; {version} is within it")).unwrap_or_default();
        let only = if rule.only_fixable { " of what has a fix" } else { "" };
        let (words, untold, waived) = (in_words(rule, &over), untold(&whole), waived_in_words(&waived));
        let message = format!("over the budget{only}: {words}{untold}{waived}{instead}");
        return Check::fail(Rule::Vulnerabilities, "vulnerability-budget", message)
            .about(json!(counts))
            .with_details(details(json!({ "over": counts, "newest_within_budget": facts.within_budget })));
    }
    let missing = unscanned(rule, &facts.scans, &facts.release.platforms);
    if !missing.is_empty() {
        let message = format!("no scan{} of {} is on record", by_whom(rule), missing.join(" and "));
        return Check::fail(Rule::Vulnerabilities, "scan-missing", message)
            .about(json!(missing))
            .with_details(details(json!({ "platforms_without_scan": missing })));
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
    let message = format!("within the budget{}", waived_in_words(&waived));
    Check::pass(Rule::Vulnerabilities, message).with_details(details(json!({})))
}

fn told(scan: &ScanFact) -> Value {
    let ScanFact { id, scanner, platform, class, scanned_at, counts, fixable, plain: _, waived: _ } = scan;
    let mut told = json!({ "id": id, "scanner": scanner, "scanned_at": time(*scanned_at), "counts": counts });
    if *class != PackageClass::Any {
        told = merged(told, &json!({ "platform": platform, "class": class }));
    }
    if fixable.is_some() {
        told = merged(told, &json!({ "fixable": fixable }));
    }
    told
}

/// The scanners that are counted whole although only what has a fix is to count, because they do not tell what has one.
fn counted_whole<'a>(rule: &VulnerabilitiesRule, scans: &[&'a ScanFact]) -> BTreeSet<&'a str> {
    let untold = scans.iter().filter(|scan| rule.only_fixable && scan.fixable.is_none());
    untold.map(|scan| scan.scanner.as_str()).collect()
}

fn untold(whole: &BTreeSet<&str>) -> String {
    if whole.is_empty() {
        return String::new();
    }
    let names = whole.iter().copied().collect::<Vec<_>>().join(" and ");
    format!("; all of it counts by {names}, where nothing tells what has a fix")
}

/// How many of what a scan found count.
fn counted(rule: &VulnerabilitiesRule, scan: &ScanFact, now: DateTime<Utc>) -> Counts {
    let mut counts = scan.fixable.filter(|_| rule.only_fixable).unwrap_or(scan.counts);
    for (waived, number) in waived(rule, scan, now) {
        let left = counts.of_mut(waived.severity);
        *left = left.saturating_sub(number);
    }
    counts
}

/// What is taken out of what counts of a scan, and how often it is in there: each vulnerability once, by the waiver that
/// ends last of those that hold.
fn waived<'a>(rule: &VulnerabilitiesRule, scan: &'a ScanFact, now: DateTime<Utc>) -> Vec<(&'a Waived, u32)> {
    let mut last: BTreeMap<(&str, Severity), &Waived> = BTreeMap::new();
    for waived in scan.waived.iter().filter(|waived| waived.expires_at > now) {
        let kept = last.entry((&waived.finding, waived.severity)).or_insert(waived);
        if waived.expires_at > kept.expires_at {
            *kept = waived;
        }
    }
    let only_fixable = rule.only_fixable && scan.fixable.is_some();
    let number = |waived: &Waived| if only_fixable { waived.fixable } else { waived.found };
    let counting = last.into_values().map(|waived| (waived, number(waived)));
    counting.filter(|(waived, number)| *number > 0 && rule.max.of(waived.severity).is_some()).collect()
}

/// A waiver, and how many findings it takes out of the budget.
struct Counted<'a> {
    id: Uuid,
    waiver: &'a WaiverFact,
    expires_at: DateTime<Utc>,
    findings: u32,
}

impl Counted<'_> {
    fn told(&self) -> Value {
        let WaiverFact { vulnerability, reason } = self.waiver;
        json!({ "id": self.id, "vulnerability": vulnerability, "reason": reason, "expires_at": time(self.expires_at),
            "findings": self.findings })
    }
}

/// The waivers that take something out of what counts, by their vulnerabilities.
fn waivers<'a>(
    rule: &'a VulnerabilitiesRule,
    facts: &'a Facts,
    now: DateTime<Utc>,
) -> BTreeMap<(&'a str, Uuid), Counted<'a>> {
    let mut waivers: BTreeMap<_, Counted<'_>> = BTreeMap::new();
    let taken = accepted(rule, &facts.scans).flat_map(|scan| waived(rule, scan, now));
    for (Waived { waiver: id, expires_at, .. }, number) in taken {
        let Some(waiver) = facts.waivers.get(id) else { continue };
        let counted = Counted { id: *id, waiver, expires_at: *expires_at, findings: 0 };
        waivers.entry((waiver.vulnerability.as_str(), *id)).or_insert(counted).findings += number;
    }
    waivers
}

/// So many waivers are named in a sentence; the details have them all.
const NAMED_MAX: usize = 3;

fn waived_in_words(waivers: &BTreeMap<(&str, Uuid), Counted<'_>>) -> String {
    if waivers.is_empty() {
        return String::new();
    }
    let named = waivers.values().take(NAMED_MAX);
    let named = named.map(|Counted { waiver, expires_at, .. }| {
        format!("{} until {}", waiver.vulnerability, for_people(*expires_at))
    });
    let more = waivers.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("; {} waived ({}{more})", waivers.len(), named.collect::<Vec<_>>().join(", "))
}

/// Whose scans count, where not everybody's do.
fn by_whom(rule: &VulnerabilitiesRule) -> String {
    if rule.scanners.is_empty() { String::new() } else { format!(" by {}", rule.scanners.join(" or ")) }
}

/// The platforms among those that a release declares that no scan which counts is of, where one is demanded.
pub fn unscanned<'a>(
    rule: &VulnerabilitiesRule,
    scans: &[ScanFact],
    platforms: &'a [String],
) -> Vec<&'a str> {
    let is_scanned =
        |name: &str| accepted(rule, scans).any(|scan| scan.plain || scan.platform.as_deref() == Some(name));
    let names = platforms.iter().map(String::as_str);
    names.filter(|name| rule.require_scan && !is_scanned(name)).collect()
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
pub fn over<'a>(rule: &'a VulnerabilitiesRule, scans: &'a [ScanFact], now: DateTime<Utc>) -> Vec<Over<'a>> {
    let mut over: BTreeMap<(&str, Severity), Over<'a>> = BTreeMap::new();
    for ((scanner, platform), counts) in by_platform(rule, scans, now) {
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
    now: DateTime<Utc>,
) -> BTreeMap<(&'a str, Option<&'a str>), Counts> {
    let mut found: BTreeMap<_, Counts> = BTreeMap::new();
    for scan in accepted(rule, scans) {
        let counts = found.entry((scan.scanner.as_str(), scan.platform.as_deref())).or_default();
        *counts = counts.plus(counted(rule, scan, now));
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
