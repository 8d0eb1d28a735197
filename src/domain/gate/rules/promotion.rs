//! The rule about promotion: what must have run elsewhere, and for how long.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::domain::{
    gate::{
        Check,
        facts::{Facts, Source, SourceStanding, Stay},
        for_people, time,
    },
    moment::is_ahead,
    policy::PromotionRule,
    vocabulary::{Require, Rule},
};

/// What one source makes of the promotion, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Finding {
    /// It soaked there for long enough.
    Soaked,
    /// It runs there, or ran, but not for long enough; it will have at this time, if it stays.
    Soaking(Option<DateTime<Utc>>),
    /// It never ran there, or was reverted since.
    Missing,
    /// Nothing can be promoted from there.
    Invalid,
}

/// The artefact ran where the policy says, for as long as it says.
pub fn promotion(facts: &Facts, rule: &PromotionRule, now: DateTime<Utc>) -> Check {
    if facts.verified {
        return Check::exempt(Rule::Promotion, "a verified rollback has run here before");
    }
    let soak = TimeDelta::seconds(rule.soak_seconds);
    let findings: Vec<(&Source, Finding)> =
        facts.sources.iter().map(|source| (source, find(source, soak, now))).collect();
    let soaked = |(_, finding): &(&Source, Finding)| *finding == Finding::Soaked;
    let holds = match rule.require {
        Require::All => findings.iter().all(soaked),
        Require::Any => findings.iter().any(soaked),
    };
    let details = json!({
        "require": rule.require,
        "soak_seconds": rule.soak_seconds,
        "sources": findings.iter().map(|found| details(found, now)).collect::<Vec<_>>(),
    });
    // A policy without a source lets nothing through, however it came about.
    if holds && !findings.is_empty() {
        let names: Vec<_> = findings
            .iter()
            .filter(|found| soaked(found))
            .map(|(source, _)| source.environment.as_str())
            .collect();
        return Check::pass(Rule::Promotion, format!("from {}", names.join(", "))).with_details(details);
    }
    let failing = findings.iter().filter(|found| !soaked(found));
    let decisive = match rule.require {
        Require::All => failing.clone().map(|(_, finding)| *finding).max(),
        Require::Any => failing.clone().map(|(_, finding)| *finding).min(),
    };
    let mut times = failing.clone().map(|(_, finding)| match finding {
        Finding::Soaking(until) => *until,
        Finding::Soaked | Finding::Missing | Finding::Invalid => None,
    });
    let retry_at = match rule.require {
        Require::All => times.collect::<Option<Vec<_>>>().and_then(|times| times.into_iter().max()),
        Require::Any => times.by_ref().flatten().min(),
    };
    let words: Vec<_> = failing.map(|(source, finding)| in_words(source, *finding, soak, now)).collect();
    let opens = retry_at.map(|at| format!("; opens {}", for_people(at))).unwrap_or_default();
    let between = if rule.require == Require::All { ", and " } else { ", or " };
    let message = format!("{}{opens}", words.join(between));
    let each = |(source, finding): &(&Source, Finding)| json!([source.environment, word(*finding)]);
    Check::fail(Rule::Promotion, word(decisive.unwrap_or(Finding::Invalid)), message)
        .about(findings.iter().map(each).collect())
        .with_details(details)
        .retry_at(retry_at)
}

fn find(source: &Source, soak: TimeDelta, now: DateTime<Utc>) -> Finding {
    if source.standing != SourceStanding::Confirmed {
        return Finding::Invalid;
    }
    match soaked(source, now) {
        None => Finding::Missing,
        Some(soaked) if soaked >= soak => Finding::Soaked,
        Some(_) => Finding::Soaking(source.current_since.map(|since| since + soak)),
    }
}

fn word(finding: Finding) -> &'static str {
    match finding {
        Finding::Soaked => "pass",
        Finding::Soaking(_) => "soak-not-met",
        Finding::Missing => "promotion-missing",
        Finding::Invalid => "promotion-source-invalid",
    }
}

fn details((source, finding): &(&Source, Finding), now: DateTime<Utc>) -> Value {
    let longest = source.longest.map(|stay| json!({ "since": time(stay.since), "until": time(stay.until) }));
    json!({
        "environment": source.environment,
        "finding": word(*finding),
        "standing": source.standing,
        "current_since": source.current_since.map(time),
        "longest_stay": longest,
        "soaked_seconds": soaked(source, now).map(|soaked| soaked.num_seconds()),
        "reverted_at": source.reverted_at.map(time),
    })
}

fn soaked(source: &Source, now: DateTime<Utc>) -> Option<TimeDelta> {
    let longest = source.longest.map(|stay| length(stay.since, stay.until, now));
    longest.max(source.current_since.map(|since| length(since, now, now)))
}

/// How long a stay has lasted by now. One that ended in the future, because a clock was wrong when that was stored, ended
/// nobody knows when: it has no length.
fn length(since: DateTime<Utc>, until: DateTime<Utc>, now: DateTime<Utc>) -> TimeDelta {
    if until > now { TimeDelta::zero() } else { (until - since).max(TimeDelta::zero()) }
}

fn in_words(source: &Source, finding: Finding, soak: TimeDelta, now: DateTime<Utc>) -> String {
    let name = &source.environment;
    match (finding, source.standing) {
        (Finding::Soaked, _) => format!("in {name} long enough"),
        (Finding::Soaking(_), _) => {
            let soaked = soaked(source, now).unwrap_or_default();
            let current = source.current_since.map(|at| ("since", at));
            let longest = source.longest.map(|stay| ("until", stay.until));
            let ahead = current.or(longest).filter(|(_, at)| is_ahead(*at, now));
            let ahead = ahead.map(|(word, at)| format!(" ({word} {}, ahead of the clock)", for_people(at)));
            format!("in {name} for {} of {}{}", span(soaked), span(soak), ahead.unwrap_or_default())
        }
        (Finding::Missing, _) if source.reverted_at.is_some() => format!("reverted in {name}"),
        (Finding::Missing, _) => format!("never in {name}"),
        (Finding::Invalid, SourceStanding::Unconfirmed) => {
            format!("{name} is unconfirmed; `waybill environment confirm {name}` confirms it")
        }
        (Finding::Invalid, SourceStanding::Archived) => format!("{name} is archived"),
        (Finding::Invalid, _) => format!("there is no environment {name}"),
    }
}

/// A span of time in its two largest units.
fn span(span: TimeDelta) -> String {
    let seconds = span.num_seconds().max(0);
    let parts = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut rest = seconds;
    let mut words = Vec::new();
    for (size, unit) in parts {
        let count = rest / size;
        rest %= size;
        if count > 0 {
            words.push(format!("{count}{unit}"));
        }
    }
    words.truncate(2);
    if words.is_empty() { "0s".to_owned() } else { words.join(" ") }
}

/// What the rules know of a source: of the artefact's stays there, `(since, until)`, those since it or the release was last
/// reverted.
pub fn source(
    environment: String,
    standing: SourceStanding,
    stays: &[(DateTime<Utc>, Option<DateTime<Utc>>)],
    reverted_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Source {
    let counts = |since: DateTime<Utc>| reverted_at.is_none_or(|at| since >= at);
    let over = stays.iter().filter_map(|(since, until)| {
        until.filter(|_| counts(*since)).map(|until| Stay { since: *since, until })
    });
    let current = stays.iter().find(|(since, until)| until.is_none() && counts(*since));
    Source {
        environment,
        standing,
        longest: over.max_by_key(|stay| length(stay.since, stay.until, now)),
        current_since: current.map(|(since, _)| *since),
        reverted_at,
    }
}
