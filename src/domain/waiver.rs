//! Waivers: somebody answers for a vulnerability that is not to stand in the way for a while, and says why.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::domain::{
    actor::Actor,
    deployment::override_reason,
    fault::Faults,
    gate::facts::Waived,
    places::{self, Known},
    scan::{can_be_id, is_id, spelled},
    scope::Narrowing,
};

/// The most waivers that hold at a time.
pub const WAIVERS_MAX: i64 = 1000;
/// How far ahead one may end: a year.
pub const LONGEST: TimeDelta = TimeDelta::days(366);

/// A waiver as it is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiver {
    pub id: Uuid,
    /// What people say about it.
    pub definition: Definition,
    /// Who answers for it.
    pub actor: Actor,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was withdrawn, if it was.
    pub withdrawn_at: Option<DateTime<Utc>>,
}

impl Waiver {
    /// Whether it holds at a moment.
    pub fn holds(&self, now: DateTime<Utc>) -> bool {
        self.withdrawn_at.is_none() && self.definition.expires_at > now
    }
}

/// What people say about a waiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Definition {
    /// The vulnerability, by any id that reports give it.
    pub vulnerability: String,
    /// Why it need not stand in the way.
    pub reason: String,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// Where it counts.
    #[serde(flatten)]
    pub places: Narrowing,
}

/// What a list of waivers is confined to.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Those that count for this service.
    pub service: Option<String>,
    /// Those that count in this environment.
    pub environment: Option<String>,
    /// Those of the vulnerability, by the id that they name.
    pub vulnerability: Option<String>,
    /// Those that hold at this moment.
    pub at: Option<DateTime<Utc>>,
}

/// What a part of a scan holds that a waiver takes out of the budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The scan.
    pub scan_id: Uuid,
    /// The waiver, and what it takes.
    pub waived: Waived,
}

/// A waiver as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub vulnerability: String,
    /// Why it need not stand in the way.
    pub reason: String,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// The services in which it counts; all where they are not given.
    pub services: Option<Vec<String>>,
    /// The environments in which it counts; all where they are not given.
    pub environments: Option<Vec<String>>,
}

impl Draft {
    /// The vulnerability's id in its one spelling.
    pub fn vulnerability(&self) -> String {
        spelled(self.vulnerability.trim())
    }

    /// The waiver, once every field of it is right. `is_scanned` tells whether a scan has named the vulnerability, `known`
    /// which of the places are on record.
    pub fn parse(&self, is_scanned: bool, known: &Known, now: DateTime<Utc>) -> Result<Definition, Faults> {
        let mut faults = Faults::default();
        let vulnerability = self.vulnerability();
        if !is_id(&vulnerability) || !can_be_id(&vulnerability) && !is_scanned {
            let detail = "is no id of a vulnerability, and in no scan; give it as the scanner or the advisory writes it, such as \
                          CVE-2021-44228, GHSA-jfh8-c2jp-5v3q or DSA-5000-1";
            faults.add("/vulnerability", "invalid-vulnerability-id", detail);
        }
        let reason = faults.take("/reason", override_reason(&self.reason));
        if self.expires_at <= now {
            faults.add("/expires_at", "past", "must lie ahead: from then on the vulnerability counts again");
        } else if self.expires_at > now + LONGEST {
            faults.add("/expires_at", "too-far", "must be within a year; make another one when it ends");
        }
        let mut named = |what: &str, given: Option<&Vec<String>>, known: &BTreeSet<String>| {
            given.map(|given| places::check(what, given, "leave it out for all of them", known, &mut faults))
        };
        let services = named("service", self.services.as_ref(), &known.services);
        let environments = named("environment", self.environments.as_ref(), &known.environments);
        let places = Narrowing { services, environments };
        let expires_at = self.expires_at;
        faults.finish(reason.map(|reason| Definition { vulnerability, reason, expires_at, places }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn draft() -> Draft {
        Draft {
            vulnerability: " cve-2021-44228 ".into(),
            reason: "no untrusted text is logged".into(),
            expires_at: now() + LONGEST,
            services: Some(vec!["shop".into()]),
            environments: None,
        }
    }

    fn known() -> Known {
        Known { services: ["shop".to_owned()].into(), ..Known::default() }
    }

    fn faults(draft: &Draft) -> Vec<(String, &'static str)> {
        let faults = draft.parse(false, &known(), now()).unwrap_err().into_vec();
        faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect()
    }

    #[test]
    fn a_waiver_says_what_why_until_when_and_where() {
        let made = draft().parse(false, &known(), now()).unwrap();
        assert_eq!((made.vulnerability.as_str(), made.expires_at), ("CVE-2021-44228", now() + LONGEST));
        assert_eq!(made.places, Narrowing { services: Some(["shop".to_owned()].into()), environments: None });
    }

    #[test]
    fn every_fault_is_named() {
        let wrong = Draft {
            vulnerability: "shop".into(),
            reason: "why not".into(),
            expires_at: now(),
            services: Some(vec!["shop".into(), "pay".into(), "No".into()]),
            environments: Some(vec![]),
        };
        let expected = [
            ("/vulnerability", "invalid-vulnerability-id"),
            ("/reason", "too-short"),
            ("/expires_at", "past"),
            ("/services/1", "unknown"),
            ("/services/2", "invalid-name"),
            ("/environments", "empty"),
        ];
        assert_eq!(faults(&wrong), expected.map(|(pointer, code)| (pointer.to_owned(), code)));
        let late = Draft { expires_at: now() + LONGEST + TimeDelta::microseconds(1), ..draft() };
        assert_eq!(faults(&late), [("/expires_at".to_owned(), "too-far")]);
        let scanned = Draft { vulnerability: "shop".into(), ..draft() };
        assert!(scanned.parse(true, &known(), now()).is_ok(), "what a scanner calls one is one");
        let many = Draft { environments: Some(vec!["prod".into(); places::PLACES_MAX + 1]), ..draft() };
        assert_eq!(faults(&many)[0], ("/environments".to_owned(), "too-many"));
    }

    #[test]
    fn it_ends_at_its_moment_or_when_it_is_withdrawn() {
        let mut waiver = Waiver {
            id: Uuid::nil(),
            definition: draft().parse(false, &known(), now()).unwrap(),
            actor: Actor::server(),
            created_at: now(),
            withdrawn_at: None,
        };
        assert!(waiver.holds(now()) && !waiver.holds(now() + LONGEST));
        waiver.withdrawn_at = Some(now());
        assert!(!waiver.holds(now()));
    }
}
