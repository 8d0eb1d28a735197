//! What the events of a row say that it must hold. A member that no event carries is not told of, and not compared.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::{
    Finding,
    rows::{Members, Row},
    shown,
};
use crate::domain::{
    deployment::Plan, event::Event, policy::Policy, release::NOTHING, service::ServiceDescription,
    vocabulary::Kind,
};

/// What is registered in passing is stamped when its deployment is asked for, and told of when that is decided.
const BEFORE_EVENT_MAX: TimeDelta = TimeDelta::minutes(1);

/// A row as its events tell of it.
#[derive(Clone, Debug, Default)]
pub struct Told {
    members: Members,
    /// Moments that the row has a little earlier than the event that tells of them.
    about: BTreeMap<&'static str, DateTime<Utc>>,
    made: bool,
    gone: bool,
}

impl Told {
    /// Whether the events end with the row's deletion.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Takes the next event of the row, with its data.
    pub fn apply(&mut self, event: &Event, data: &Value) {
        let Some((family, what)) = event.kind.split_once('.') else { return };
        match family {
            "service" => self.service(event, what, data),
            "environment" => self.environment(event, what, data),
            "policy" => self.policy(data),
            "lockdown" => self.lockdown(event, what, data),
            "release" => self.release(event, what, data),
            "deployment" => self.deployment(event, what, data),
            "approval" => self.approval(event, what, data),
            "freeze" => self.edited("window", event, what, data),
            "waiver" => self.waiver(event, what, data),
            "token" => self.token(event, what, data),
            "session" => self.session(event, what, data),
            "trust" if what == "exchanged" => self.pipeline(event, data),
            "trust" => self.edited("trust", event, what, data),
            "scan" => self.scan(event, data),
            _ => {}
        }
    }

    fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.members.insert(name.to_owned(), value.into());
    }

    /// Sets the members that the data carries, each under its own name.
    fn copy(&mut self, data: &Value, names: &[&str]) {
        for name in names {
            self.carry(name, data.get(*name));
        }
    }

    fn carry(&mut self, name: &str, value: Option<&Value>) {
        if let Some(value) = value {
            self.set(name, value.clone());
        }
    }

    fn made_by(&mut self, event: &Event) {
        self.made = true;
        self.set("actor", json!(event.actor));
    }

    fn archived(&mut self, event: &Event, what: &str) {
        match what {
            "archived" => self.set("archived_at", json!(event.at)),
            "created" | "revived" => self.set("archived_at", Value::Null),
            _ => {}
        }
        if what == "created" {
            self.made = true;
            self.about.insert("created_at", event.at);
        } else {
            self.set("updated_at", json!(event.at));
        }
    }

    fn service(&mut self, event: &Event, what: &str, data: &Value) {
        match what {
            "created" => {
                let plain = json!(ServiceDescription::default());
                self.set("description", data.get("description").cloned().unwrap_or(plain));
            }
            "updated" => self.carry("description", data.get("after")),
            _ => {}
        }
        self.archived(event, what);
    }

    fn environment(&mut self, event: &Event, what: &str, data: &Value) {
        let auto_revived = data.get("auto_revived") == Some(&Value::Bool(true));
        if what == "created" {
            self.copy(data, &["settings"]);
            self.set("unconfirmed", data.get("auto_registered") == Some(&Value::Bool(true)));
            self.set("policy_version", 0);
            self.set("policy", Value::Null);
            self.set("lockdown", Value::Null);
        } else {
            self.carry("settings", data.get("after"));
            if what == "updated" {
                self.set("unconfirmed", false);
            }
        }
        self.archived(event, what);
        self.about.remove("updated_at");
        if auto_revived {
            // As what is registered in passing.
            self.members.remove("updated_at");
            self.about.insert("updated_at", event.at);
        }
    }

    fn policy(&mut self, data: &Value) {
        self.carry("policy_version", data.get("version"));
        // As it reads now: a rule that came later stands in the row, and not in the event.
        let after = data.get("after").map(|after| {
            serde_json::from_value::<Policy>(after.clone())
                .map_or_else(|_| after.clone(), |policy| json!(policy))
        });
        self.carry("policy", after.as_ref());
    }

    fn lockdown(&mut self, event: &Event, what: &str, data: &Value) {
        if what == "lifted" {
            return self.set("lockdown", Value::Null);
        }
        // Another reason takes the place of the one before, and the time goes on.
        let before = self.members.get("lockdown").and_then(|before| before.get("since"));
        let since = before.cloned().unwrap_or_else(|| json!(event.at));
        let lockdown = json!({ "reason": data.get("reason"), "actor": event.actor, "since": since });
        self.set("lockdown", lockdown);
    }

    fn release(&mut self, event: &Event, what: &str, data: &Value) {
        if what == "registered" {
            self.made_by(event);
            self.about.insert("created_at", event.at);
            self.copy(data, &["number", "initiated_by"]);
            self.carry("ordered_at", data.get("ordered_at"));
            let identity = data.get("identity").unwrap_or(&Value::Null);
            self.copy(identity, &["commit_sha", "image"]);
            self.set("image_added_by", Value::Null);
            self.set("locations", json!([]));
            self.set("platforms", data.get("platforms").cloned().unwrap_or_else(|| json!([])));
            self.set("artefact", artefact(event, identity.get("image")));
        } else if what == "image-added" {
            self.copy(data, &["image"]);
            self.set("image_added_by", event.actor.subject.clone());
            self.set("artefact", artefact(event, data.get("image")));
        } else {
            self.copy(data, &["commit_sha", "locations", "platforms"]);
        }
    }

    fn deployment(&mut self, event: &Event, what: &str, data: &Value) {
        match what {
            "started" | "recorded" => self.deployment_made(event, what == "recorded", data),
            "late" => self.copy(data, &["late_status"]),
            "resumed" => {
                self.set("status", "running");
                for moment in ["finished_at", "expired_at"] {
                    self.about.remove(moment);
                    self.set(moment, Value::Null);
                }
            }
            ended => {
                self.set("status", ended);
                self.ended("finished_at", event, data);
                if ended == "expired" {
                    self.ended("expired_at", event, data);
                }
                // Without one, what the last heartbeat said stays.
                self.carry("message", data.get("message").filter(|message| !message.is_null()));
                self.copy(data, &["preempted"]);
            }
        }
    }

    /// An event of an earlier version does not carry when the deployment ended.
    fn ended(&mut self, name: &'static str, event: &Event, data: &Value) {
        if let Some(at) = data.get("finished_at") {
            self.about.remove(name);
            return self.set(name, at.clone());
        }
        self.members.remove(name);
        self.about.insert(name, event.at);
    }

    fn deployment_made(&mut self, event: &Event, recorded: bool, data: &Value) {
        self.made_by(event);
        self.set("service", event.service.clone());
        self.set("environment", event.environment.clone());
        for absent in ["late_status", "expired_at"] {
            self.set(absent, Value::Null);
        }
        self.copy(data, &["kind", "reverts_since"]);
        // The commit may have become known with more digits since; it is compared with the events of the release.
        let release = data.get("release").unwrap_or(&Value::Null);
        self.copy(release, &["version", "image"]);
        for name in json!(Plan::default()).as_object().into_iter().flat_map(Map::keys) {
            self.carry(name, data.get(name));
        }
        let removes = data.get("kind") == Some(&json!(Kind::Remove));
        let left = || if removes { json!(NOTHING) } else { artefact(event, release.get("image")) };
        self.carry("artefact", data.get("release").map(|_| left()).as_ref());
        self.set("recorded", recorded);
        if recorded {
            self.copy(data, &["status", "started_at", "finished_at", "message", "ungated", "credited"]);
            self.set("decision_id", Value::Null);
            self.set("override_reason", Value::Null);
            self.set("verified", false);
            self.set("preempted", false);
            self.set("lease_seconds", 0);
        } else {
            self.copy(data, &["lease_seconds", "verified", "decision_id"]);
            self.carry("override_reason", data.get("override"));
            self.set("status", "running");
            self.set("started_at", json!(event.at));
            self.set("finished_at", Value::Null);
            self.set("ungated", false);
            self.set("credited", true);
        }
    }

    fn approval(&mut self, event: &Event, what: &str, data: &Value) {
        if what == "withdrawn" {
            return self.set("withdrawn_at", json!(event.at));
        }
        self.made_by(event);
        self.set("decision", what);
        self.copy(data, &["comment", "groups", "image"]);
        self.set("service", event.service.clone());
        self.set("version", event.version.clone());
        self.set("environment", event.environment.clone());
        self.set("created_at", json!(event.at));
        self.set("withdrawn_at", Value::Null);
    }

    /// What is edited as a whole, the `member`, and deleted in the end: a freeze window or a trust.
    fn edited(&mut self, member: &str, event: &Event, what: &str, data: &Value) {
        match what {
            "created" => {
                self.made_by(event);
                self.copy(data, &[member]);
                self.set("created_at", json!(event.at));
            }
            "updated" => self.carry(member, data.get("after")),
            _ => self.gone = true,
        }
        self.set("updated_at", json!(event.at));
    }

    fn waiver(&mut self, event: &Event, what: &str, data: &Value) {
        if what == "withdrawn" {
            return self.set("withdrawn_at", json!(event.at));
        }
        self.made_by(event);
        self.copy(data, &["waiver"]);
        self.set("created_at", json!(event.at));
        self.set("withdrawn_at", Value::Null);
    }

    fn token(&mut self, event: &Event, what: &str, data: &Value) {
        if what == "revoked" {
            return self.set("revoked_at", json!(event.at));
        }
        self.copy(data, &["name"]);
        self.credential(event, data);
        self.set("revoked_at", Value::Null);
    }

    /// One that ends with its token has no event of its own for that.
    fn session(&mut self, event: &Event, what: &str, data: &Value) {
        if what == "ended" {
            return self.set("revoked_at", json!(event.at));
        }
        self.copy(data, &["name", "issuer", "token", "place"]);
        self.credential(event, data);
    }

    /// It ends with its trust, and has no event of its own for that.
    fn pipeline(&mut self, event: &Event, data: &Value) {
        self.carry("trust_id", data.get("id"));
        self.copy(data, &["trust", "initiator", "commit", "lingers_until"]);
        self.credential(event, data);
    }

    /// What every credential has.
    fn credential(&mut self, event: &Event, data: &Value) {
        self.made = true;
        self.copy(data, &["subject", "scopes", "groups", "services", "environments", "expires_at"]);
        self.set("created_at", json!(event.at));
    }

    fn scan(&mut self, event: &Event, data: &Value) {
        self.made_by(event);
        self.copy(data, &["format", "platform", "scanned_at", "counts"]);
        for part in data.get("parts").and_then(Value::as_array).into_iter().flatten() {
            if let Some(class) = part.get("class").and_then(Value::as_str) {
                self.carry(class, part.get("counts"));
                self.carry(&format!("{class} fixable"), part.get("fixable"));
            }
        }
        // One that counted at first may have been superseded since; one that did not never counts.
        self.carry("latest", data.get("latest").filter(|latest| **latest == Value::Bool(false)));
    }

    /// Everything in which a row differs from what its events say.
    pub fn compare(&self, row: &Row) -> Vec<Finding> {
        let about = |wrong: String| Finding::about(row.key.to_string(), wrong);
        if !self.made {
            return vec![about("it is on record, but no event tells that it was made".to_owned())];
        }
        let differs = |(name, told): (&String, &Value)| {
            let held = row.members.get(name).unwrap_or(&Value::Null);
            (held != told)
                .then(|| about(format!("its {name} is {}, but its events say {}", shown(held), shown(told))))
        };
        let mut findings: Vec<_> = self.members.iter().filter_map(differs).collect();
        for (name, at) in &self.about {
            let held = row.members.get(*name).unwrap_or(&Value::Null);
            let read: Option<DateTime<Utc>> = serde_json::from_value(held.clone()).ok();
            if !read.is_some_and(|read| read <= *at && *at - read <= BEFORE_EVENT_MAX) {
                let (held, told) = (shown(held), shown(&json!(at)));
                findings.push(about(format!("its {name} is {held}, but its events say about {told}")));
            }
        }
        findings
    }
}

/// What a release is compared by (see [`crate::domain::release::Identity::artefact`]), from what its event carries.
fn artefact(event: &Event, image: Option<&Value>) -> Value {
    let digest = image.and_then(Value::as_str).and_then(|image| image.rsplit_once('@'));
    digest.map_or_else(|| json!(event.version), |(_, digest)| json!(digest))
}
