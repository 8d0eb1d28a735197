//! `waybill decisions show`: one decision, with the facts it was decided by in words.

use std::io;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize as _;

use super::Stored;
use crate::{
    cli::{
        client::{call::Call, error::Error, moment, session::Session, verdict},
        exit::Exit,
        output::{age, duration, plain, print},
    },
    domain::{
        gate::{
            Inputs,
            facts::{Facts, Initiator, Source, SourceStanding},
        },
        vocabulary::Severity,
    },
};

pub(super) async fn run(session: &Session, id: &str) -> Result<Exit, Error> {
    session.tell(&Call::get(&["decisions", id]), |stored| told(&stored)).await
}

fn told(stored: &Stored) -> io::Result<()> {
    head(stored).iter().try_for_each(print)?;
    verdict::lines(&stored.decision).iter().try_for_each(print)?;
    let off = stored.decision.checks.iter().filter(|check| check.mode == "off");
    let off: Vec<_> = off.map(|check| plain(&check.rule)).collect();
    if !off.is_empty() {
        print(format_args!("  off: {}", off.join(", ")))?;
    }
    print("decided by:")?;
    let facts = match Inputs::deserialize(&stored.inputs) {
        Ok(inputs) => in_words(&inputs.facts, stored.at()),
        Err(_withheld) if stored.inputs.is_null() => {
            vec!["facts that this token may not see, or that an earlier version kept otherwise".to_owned()]
        }
        Err(_of_another_shape) => vec!["facts that this version cannot read".to_owned()],
    };
    facts.iter().try_for_each(|fact| print(format_args!("  {}", plain(fact))))
}

fn head(stored: &Stored) -> Vec<String> {
    let Stored { service, environment, version, kind, actor, .. } = stored;
    let (token, who) = (plain(&actor.token), actor.shown());
    let mut lines = vec![
        format!("decision {}: {}", plain(stored.id()), stored.verdict()),
        format!(
            "{} {} to {} ({}), asked by {} with token {token}",
            plain(service),
            plain(version),
            plain(environment),
            plain(kind),
            plain(&who)
        ),
    ];
    lines.push(if stored.count > 1 {
        format!("first at {}, last at {}", time(stored.first_evaluated_at), time(stored.at()))
    } else {
        format!("at {}", time(stored.at()))
    });
    lines.push(match stored.decision.policy_version {
        Some(0) | None => "without a policy of the environment".to_owned(),
        Some(number) => format!("by version {number} of the environment's policy"),
    });
    if let Some(override_) = &stored.decision.override_ {
        lines.push(format!("under an override: {}", plain(&override_.reason)));
    }
    lines.extend(stored.deployment_id.as_ref().map(|id| format!("started deployment {}", plain(id))));
    lines
}

/// Everything the rules looked at, a line for each.
fn in_words(facts: &Facts, now: DateTime<Utc>) -> Vec<String> {
    let mut lines = vec![format!(
        "release: number {}, {}",
        facts.release.number,
        facts.release.image.as_deref().unwrap_or("without an image")
    )];
    lines.push(match &facts.current {
        Some(current) => format!("current: {}, number {}", current.version, current.number),
        None => "current: nothing".to_owned(),
    });
    lines.extend(facts.running.as_ref().map(|running| {
        format!(
            "running: {} by {} since {}, its lease ends {}",
            running.version,
            running.actor.subject,
            time(running.since),
            time(running.lease_expires_at)
        )
    }));
    let marks = [
        (facts.verified, "a rollback to a verified choice"),
        (facts.preempt, "takes the place of what is running"),
        (facts.hotfix, "from a token whose hotfixes count as such"),
    ];
    lines.extend(marks.iter().filter(|(holds, _)| *holds).map(|(_, words)| (*words).to_owned()));
    lines.extend(facts.lockdown.as_ref().map(|lockdown| {
        format!("lockdown: by {} since {}: {}", lockdown.actor.subject, time(lockdown.since), lockdown.reason)
    }));
    lines.extend(facts.freezes.iter().map(|period| {
        let until = period.ends_at.map_or_else(|| "an end too far away".to_owned(), time);
        format!("freeze: {} from {} to {until}: {}", period.name, time(period.starts_at), period.reason)
    }));
    lines.extend(facts.sources.iter().map(|source| from(source, now)));
    people(facts, &mut lines);
    lines.extend(facts.scans.iter().map(|scan| {
        let counts = Severity::ALL.iter().map(|severity| format!("{} {severity}", scan.counts.of(*severity)));
        let counts: Vec<_> = counts.collect();
        format!("scan: {} of {}: {}", scan.scanner, time(scan.scanned_at), counts.join(", "))
    }));
    lines
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
    let reverted = source.reverted_at.map(|at| format!("reverted there {}", time(at)));
    let mut words: Vec<_> = [current, longest, reverted].into_iter().flatten().collect();
    if words.is_empty() {
        words.push("never there".to_owned());
    }
    format!("source: {}{standing}: {}", source.environment, words.join(", "))
}

fn people(facts: &Facts, lines: &mut Vec<String>) {
    lines.extend(facts.approvals.iter().map(|voice| {
        let groups = voice.groups.iter().cloned().collect::<Vec<_>>().join(", ");
        let groups = if groups.is_empty() { String::new() } else { format!(" for {groups}") };
        let why = voice.comment.as_ref().map(|comment| format!(": {comment}")).unwrap_or_default();
        format!("{}: by {}{groups}, {}{why}", voice.decision, voice.subject, time(voice.at))
    }));
    if !facts.insiders.is_empty() {
        let insiders = facts.insiders.iter().cloned().collect::<Vec<_>>().join(", ");
        let what = match facts.initiator {
            Initiator::Untold => "initiated, recorded or deployed by",
            Initiator::Unknown => "nobody is known to have initiated it; recorded by",
            Initiator::Known => "initiated or recorded by",
        };
        lines.push(format!("{what}: {insiders}"));
    }
    lines.extend(facts.deployer.as_ref().map(|deployer| format!("deployed by: {deployer}")));
    lines.extend(facts.reverted_at.map(|at| format!("last reverted here {}", time(at))));
}

fn span(span: TimeDelta) -> String {
    if span.num_days() > 60 { age(span) } else { duration(span) }
}

fn time(at: DateTime<Utc>) -> String {
    format!("{} UTC", moment::second(at))
}

#[cfg(test)]
mod tests {
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
        assert_eq!(told, expected);
    }
}
