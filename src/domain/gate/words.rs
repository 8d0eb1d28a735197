//! What the gate's rules looked at, in words: for people who ask why it said what it said.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::{
    gate::{
        facts::{Facts, Initiator, Source, SourceStanding},
        for_people,
    },
    span::{age, duration},
    vocabulary::{Rule, Severity},
};

/// Something that a rule looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The rule that it matters to most.
    pub rule: Rule,
    pub words: String,
}

/// Everything that the rules looked at, one by one.
pub fn in_words(facts: &Facts, now: DateTime<Utc>) -> Vec<Fact> {
    let mut told = Vec::new();
    let mut tell = |rule, words: String| told.push(Fact { rule, words });
    let image = facts.release.image.as_deref().unwrap_or("without an image");
    tell(Rule::Image, format!("release: number {}, {image}", facts.release.number));
    tell(
        Rule::Outdated,
        match &facts.current {
            Some(current) => format!("current: {}, number {}", current.version, current.number),
            None => "current: nothing".to_owned(),
        },
    );
    if let Some(running) = &facts.running {
        let (version, by, since) = (&running.version, &running.actor.subject, for_people(running.since));
        let ends = for_people(running.lease_expires_at);
        tell(Rule::Concurrency, format!("running: {version} by {by} since {since}, its lease ends {ends}"));
    }
    let marks = [
        (facts.verified, Rule::Promotion, "a rollback to a verified choice"),
        (facts.preempt, Rule::Concurrency, "takes the place of what is running"),
        (facts.hotfix, Rule::Freeze, "from a token whose hotfixes count as such"),
    ];
    marks.iter().filter(|(holds, ..)| *holds).for_each(|(_, rule, words)| tell(*rule, (*words).to_owned()));
    if let Some(lockdown) = &facts.lockdown {
        let (by, since) = (&lockdown.actor.subject, for_people(lockdown.since));
        tell(Rule::Lockdown, format!("lockdown: by {by} since {since}: {}", lockdown.reason));
    }
    for period in &facts.freezes {
        let until =
            period.ends_at.map_or_else(|| "an end too far away".to_owned(), |at| for_people(at).to_string());
        let since = for_people(period.starts_at);
        tell(Rule::Freeze, format!("freeze: {} from {since} to {until}: {}", period.name, period.reason));
    }
    facts.sources.iter().for_each(|source| tell(Rule::Promotion, from(source, now)));
    for words in people(facts) {
        tell(Rule::Approval, words);
    }
    for scan in &facts.scans {
        let counts = Severity::ALL.iter().map(|severity| format!("{} {severity}", scan.counts.of(*severity)));
        let (counts, at) = (counts.collect::<Vec<_>>().join(", "), for_people(scan.scanned_at));
        tell(Rule::Vulnerabilities, format!("scan: {} of {at}: {counts}", scan.scanner));
    }
    told
}

fn from(source: &Source, now: DateTime<Utc>) -> String {
    let standing = match source.standing {
        SourceStanding::Confirmed => "",
        SourceStanding::Unconfirmed => ", which is unconfirmed",
        SourceStanding::Archived => ", which is archived",
        SourceStanding::Unknown => ", which does not exist",
    };
    let current = source.current_since.map(|since| format!("there for {}", span(now - since)));
    let longest = source.longest.map(|stay| format!("once there for {}", span(stay.until - stay.since)));
    let reverted = source.reverted_at.map(|at| format!("reverted there {}", for_people(at)));
    let mut words: Vec<_> = [current, longest, reverted].into_iter().flatten().collect();
    if words.is_empty() {
        words.push("never there".to_owned());
    }
    format!("source: {}{standing}: {}", source.environment, words.join(", "))
}

fn people(facts: &Facts) -> Vec<String> {
    let voices = facts.approvals.iter().map(|voice| {
        let groups = voice.groups.iter().cloned().collect::<Vec<_>>().join(", ");
        let groups = if groups.is_empty() { String::new() } else { format!(" for {groups}") };
        let why = voice.comment.as_ref().map(|comment| format!(": {comment}")).unwrap_or_default();
        format!("{}: by {}{groups}, {}{why}", voice.decision, voice.subject, for_people(voice.at))
    });
    let mut told: Vec<_> = voices.collect();
    if !facts.insiders.is_empty() {
        let insiders = facts.insiders.iter().cloned().collect::<Vec<_>>().join(", ");
        let what = match facts.initiator {
            Initiator::Untold => "initiated, recorded or deployed by",
            Initiator::Unknown => "nobody is known to have initiated it; recorded by",
            Initiator::Known => "initiated or recorded by",
        };
        told.push(format!("{what}: {insiders}"));
    }
    told.extend(facts.deployer.as_ref().map(|deployer| format!("deployed by: {deployer}")));
    told.extend(facts.reverted_at.map(|at| format!("last reverted here {}", for_people(at))));
    told
}

fn span(span: TimeDelta) -> String {
    if span.num_days() > 60 { age(span) } else { duration(span) }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;
    use serde_json::json;

    use super::*;

    #[test]
    fn facts_are_told_in_words() {
        let value = json!({"kind": "rollback", "hotfix": false, "verified": true, "preempt": false,
            "release": {"version": "1", "number": 1, "image": null}, "current": {"version": "2", "number": 2},
            "running": null, "lockdown": null,
            "freezes": [{"window_id": "01997e1c-5b0a-7cc3-9d4e-2f1b6a7c8d90", "name": "weekend", "reason": "quiet",
                "starts_at": "2026-03-06T17:00:00Z", "ends_at": null}],
            "sources": [{"environment": "staging", "standing": "unconfirmed", "longest": null,
                "current_since": "2026-03-07T11:38:00Z", "reverted_at": null}],
            "approvals": [{"id": "01997e1c-5b0a-7cc3-9d4e-2f1b6a7c8d90", "decision": "approved", "subject": "mira",
                "groups": ["leads"], "at": "2026-03-07T11:00:00Z"}],
            "insiders": ["ci"], "reverted_at": null,
            "scans": [{"id": "01997e1c-5b0a-7cc3-9d4e-2f1b6a7c8d90", "scanner": "trivy", "scanned_at": "2026-03-07T10:00:00Z",
                "counts": {"critical": 1, "high": 2, "medium": 0, "low": 0, "unknown": 0}}],
            "within_budget": null});
        let now: DateTime<Utc> = "2026-03-07T12:00:00Z".parse().unwrap_or_default();
        let told = Facts::deserialize(value).map(|facts| in_words(&facts, now)).unwrap_or_default();
        let expected = [
            "release: number 1, without an image",
            "current: 2, number 2",
            "a rollback to a verified choice",
            "freeze: weekend from 2026-03-06 17:00:00 UTC to an end too far away: quiet",
            "source: staging, which is unconfirmed: there for 22m 0s",
            "approved: by mira for leads, 2026-03-07 11:00:00 UTC",
            "initiated, recorded or deployed by: ci",
            "scan: trivy of 2026-03-07 10:00:00 UTC: 1 critical, 2 high, 0 medium, 0 low, 0 unknown",
        ];
        assert_eq!(told.into_iter().map(|fact| fact.words).collect::<Vec<_>>(), expected);
    }
}
