//! What the ledger held at a moment of the past, from nothing but the audit log.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use serde_json::Value;

use crate::gate::model::{
    edits::time,
    ledger::{Described, Environment, Found, Ledger, Run, Scan, Time, Voice, When, Window},
    policy::{Policy, SEVERITIES},
    rules::Question,
};

/// Every name that occurs.
pub const NAMES: [&str; 5] = ["shop", "pay", "dev", "staging", "prod"];
const KINDS: [&str; 4] = ["deploy", "rollback", "hotfix", "redeploy"];
const TIERS: [&str; 5] = ["production", "staging", "testing", "development", "other"];

fn word(words: &[&'static str], value: &Value) -> &'static str {
    words.iter().find(|word| value == **word).unwrap_or_else(|| panic!("{value} is none of {words:?}"))
}

fn name(value: &Value) -> &'static str {
    word(&NAMES, value)
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn words(words: &[&'static str], list: &Value) -> Vec<&'static str> {
    list.as_array().into_iter().flatten().map(|value| word(words, value)).collect()
}

/// The audit log, read once from its beginning.
pub struct History {
    events: std::vec::IntoIter<Value>,
    next: Option<Value>,
    /// What each version of each policy says; the log is only asked when it came into force.
    policies: BTreeMap<(String, i64), Policy>,
    /// When each decision was made.
    decided: BTreeMap<String, Time>,
    pub ledger: Ledger,
}

impl History {
    pub fn new(
        mut events: Vec<Value>,
        policies: BTreeMap<(String, i64), Policy>,
        decisions: &[Value],
    ) -> Self {
        let decided = decisions.iter().map(|it| (text(&it["id"]), time(&it["evaluated_at"]))).collect();
        events.sort_by_key(|event| (time(&event["at"]), event["seq"].as_i64()));
        let mut events = events.into_iter();
        let next = events.next();
        Self { events, next, policies, decided, ledger: Ledger::default() }
    }

    /// Goes on to a moment: what happened before it has happened, and nothing else.
    pub fn until(&mut self, at: Time) {
        while let Some(event) = self.next.take_if(|event| time(&event["at"]) < at) {
            self.apply(&event);
            self.next = self.events.next();
        }
    }

    fn apply(&mut self, event: &Value) {
        let (kind, data, at) = (event["kind"].as_str().unwrap(), &event["data"], time(&event["at"]));
        let (aggregate, what) = kind.split_once('.').unwrap();
        match aggregate {
            "environment" => self.environment(event, what),
            "policy" => {
                let environment = name(&event["environment"]);
                let version = (environment.to_owned(), data["version"].as_i64().unwrap());
                self.ledger.environments.get_mut(environment).unwrap().policy =
                    self.policies[&version].clone();
            }
            "lockdown" => {
                let environment = self.ledger.environments.get_mut(name(&event["environment"])).unwrap();
                environment.locked_down = what == "placed";
            }
            "freeze" => self.freeze(data, what),
            "approval" => self.approval(event, what),
            "scan" => {
                let (service, version) = (name(&event["service"]), text(&event["version"]));
                let artefact = self.ledger.artefact(service, &version);
                let counts = SEVERITIES
                    .map(|severity| u32::try_from(data["counts"][severity].as_u64().unwrap()).unwrap());
                let (scanner, at) = (text(&data["scanner"]), time(&data["scanned_at"]));
                let scan = Scan {
                    scanner,
                    at,
                    platform: None,
                    parts: vec![Found { class: "all", counts, fixable: [0; 5] }],
                };
                self.ledger.scans.entry((service, artefact)).or_default().push(scan);
            }
            "release" => {
                let described = Described {
                    image: data["identity"]["image"].as_str().map(str::to_owned),
                    by: text(&event["actor"]["subject"]),
                    initiated_by: data["initiated_by"].as_str().map(str::to_owned),
                    committed: None,
                };
                self.ledger.registered(name(&event["service"]), &text(&event["version"]), described);
            }
            "deployment" if what == "started" => self.started(event, at),
            "deployment" => {
                let succeeded = what == "succeeded";
                self.ledger.finished(&text(&event["deployment_id"]), succeeded.then_some(at));
            }
            "gate" | "service" | "token" => {}
            _ => panic!("what is {kind}?"),
        }
    }

    fn environment(&mut self, event: &Value, what: &str) {
        let (environment, data) = (name(&event["environment"]), &event["data"]);
        if what == "created" {
            let tier = word(&TIERS, &data["settings"]["tier"]).to_owned();
            let policy = Policy::default();
            let made = Environment { tier, confirmed: true, archived: false, locked_down: false, policy };
            self.ledger.environments.insert(environment, made);
        }
        let environment = self.ledger.environments.get_mut(environment).unwrap();
        match what {
            "archived" => environment.archived = true,
            "revived" => environment.archived = false,
            "updated" => word(&TIERS, &data["after"]["tier"]).clone_into(&mut environment.tier),
            _ => {}
        }
    }

    fn freeze(&mut self, data: &Value, what: &str) {
        let id = text(&data["id"]);
        self.ledger.windows.remove(&id);
        if what == "deleted" {
            return;
        }
        let said = if what == "created" { &data["window"] } else { &data["after"] };
        let (environments, tiers) = (words(&NAMES, &said["environments"]), words(&TIERS, &said["tiers"]));
        let when = When::Once(time(&said["starts_at"]), time(&said["ends_at"]));
        self.ledger.windows.insert(id, Window { environments, tiers, services: vec![], when });
    }

    fn approval(&mut self, event: &Value, what: &str) {
        let id = text(&event["data"]["id"]);
        if what == "withdrawn" {
            self.ledger.voices.remove(&id).expect("what is withdrawn stood");
            return;
        }
        let about = (name(&event["service"]), text(&event["version"]), name(&event["environment"]));
        let subject = text(&event["actor"]["subject"]);
        let image = event["data"]["image"].as_str().map(str::to_owned);
        let (approves, at) = (what == "approved", time(&event["at"]));
        let voice = Voice { subject, groups: BTreeSet::new(), approves, at, image };
        self.ledger.voices.insert(id, (about, voice));
    }

    fn started(&mut self, event: &Value, at: Time) {
        let place = (name(&event["service"]), name(&event["environment"]));
        let (version, data) = (text(&event["version"]), &event["data"]);
        let artefact = self.ledger.artefact(place.0, &version);
        let reverts_after = (data["kind"] == "rollback")
            .then(|| self.ledger.target(place).reverts_after(&version, &artefact, at))
            .flatten();
        // A start that ended another deployment stands after that end, and its lease begins when it was decided.
        let lease_ends = self.decided[&text(&data["decision_id"])]
            + TimeDelta::seconds(data["lease_seconds"].as_i64().unwrap());
        let (started_at, found_silent, recorded_since) = (at, false, false);
        let run = Run {
            place,
            version,
            artefact,
            started_at,
            lease_ends,
            found_silent,
            recorded_since,
            reverts_after,
            removal: false,
        };
        self.ledger.started(text(&event["deployment_id"]), run);
    }
}

/// What was asked when a stored decision was made.
pub fn question(stored: &Value) -> Question {
    Question {
        service: name(&stored["service"]),
        environment: name(&stored["environment"]),
        version: text(&stored["version"]),
        kind: word(&KINDS, &stored["kind"]),
        preempt: stored["inputs"]["facts"]["preempt"].as_bool().unwrap(),
        initiated_by: None,
        deployer: Some(text(&stored["actor"]["subject"])),
        may_hotfix: false,
        overrides: false,
        at: time(&stored["evaluated_at"]),
    }
}
