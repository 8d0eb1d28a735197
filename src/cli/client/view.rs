//! The server's answers as the client reads them. Tolerant: unknown fields are ignored and states are plain words, so
//! that an older client reads a newer server.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    cli::output::{plain, say},
    domain::{people::shown, vocabulary::Kind},
};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Actor {
    pub token: String,
    /// The person or pipeline behind the token.
    pub subject: String,
    /// What people call them, where that is known.
    pub name: Option<String>,
}

impl Actor {
    /// Who it is, for people: the subject behind its name, or the token's name where there is none.
    pub fn shown(&self) -> String {
        if self.subject.is_empty() { self.token.clone() } else { shown(self.name.as_deref(), &self.subject) }
    }

    /// The same, unless somebody is known who set it off.
    fn unless(&self, initiator: Option<&str>, name: Option<&str>) -> String {
        initiator.map_or_else(|| self.shown(), |subject| shown(name, subject))
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct Deployment {
    pub id: String,
    pub service: String,
    pub environment: String,
    pub version: String,
    pub status: String,
    #[serde(default)]
    pub kind: String,
    #[serde(default)]
    pub actor: Actor,
    pub started_at: DateTime<Utc>,
    #[serde(default)]
    pub finished_at: Option<DateTime<Utc>>,
    /// Until when it may stay silent.
    #[serde(default)]
    pub lease_expires_at: Option<DateTime<Utc>>,
    /// The person who set it off.
    #[serde(default)]
    pub initiated_by: Option<String>,
    /// What people call them.
    #[serde(default)]
    pub initiator_name: Option<String>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// What its pipeline last said.
    #[serde(default)]
    pub message: Option<String>,
    /// The deployment that went back past this one.
    #[serde(default)]
    pub reverted_by: Option<String>,
    /// Put on record past the gate.
    #[serde(default)]
    pub recorded: bool,
    /// Went on while the gate could not be asked.
    #[serde(default)]
    pub ungated: bool,
    /// Why the gate's rules were lifted, where they were.
    #[serde(default, rename = "override")]
    pub override_: Option<Override>,
    /// Where people look at it.
    #[serde(default)]
    pub web_url: Option<String>,
}

impl Deployment {
    /// Whether it takes the service out of the environment.
    pub fn is_removal(&self) -> bool {
        self.kind == Kind::Remove.as_str()
    }

    /// Who is behind it, for people: whoever set it off, or else who started it.
    pub fn who(&self) -> String {
        self.actor.unless(self.initiated_by.as_deref(), self.initiator_name.as_deref())
    }

    /// What it is about, for people.
    pub fn what(&self) -> String {
        let (service, version) = (plain(&self.service), plain(&self.version));
        let environment = plain(&self.environment);
        if self.is_removal() {
            return format!("removal of {service} {version} from {environment}");
        }
        format!("{service} {version} to {environment}")
    }

    /// What is remarkable about it, in the words of the lists.
    pub fn marks(&self) -> Vec<&'static str> {
        let marks = [
            (self.override_.is_some(), "override"),
            (self.ungated, "ungated"),
            (self.recorded && !self.ungated, "recorded"),
            (self.reverted_by.is_some(), "reverted"),
        ];
        marks.into_iter().filter_map(|(is, mark)| is.then_some(mark)).collect()
    }
}

/// What the gate said.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Decision {
    /// None where it was not kept.
    pub id: Option<String>,
    /// Tells what stands in the way from anything else that may.
    pub state: Option<String>,
    pub policy_version: Option<i64>,
    /// Why the rules were lifted, where they were.
    #[serde(rename = "override")]
    pub override_: Option<Override>,
    pub allowed: bool,
    /// The server's time at which it was judged.
    pub evaluated_at: Option<DateTime<Utc>>,
    pub checks: Vec<Check>,
    /// From when it may be allowed, where that is known.
    pub retry_at: Option<DateTime<Utc>>,
    /// Where people look at it, or at the target that it is about.
    pub web_url: Option<String>,
}

impl Decision {
    /// The checks that stand in the way.
    pub fn denials(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.denies())
    }
}

/// Why the gate's rules are lifted, as it is sent and as it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Override {
    pub reason: String,
}

/// One rule's verdict.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Check {
    pub rule: String,
    /// `enforce`, `report` or `off`.
    pub mode: String,
    /// `pass`, `fail` or `skipped`.
    pub outcome: String,
    /// Why, as a word for programs.
    pub code: Option<String>,
    /// Why, for people.
    pub message: Option<String>,
    /// From when it may pass.
    pub retry_at: Option<DateTime<Utc>>,
    /// What the rule saw.
    pub details: Value,
}

impl Check {
    /// Whether this check alone keeps the deployment from starting.
    pub fn denies(&self) -> bool {
        self.outcome == "fail" && self.mode == "enforce"
    }
}

/// The answer to a start.
#[derive(Debug, Clone, Deserialize)]
pub struct Started {
    pub deployment: Deployment,
    #[serde(default)]
    pub decision: Decision,
}

/// Says where people look at something, on a line of its own, as terminals make links of it.
pub fn say_page(web_url: Option<&str>) {
    if let Some(url) = web_url {
        say(plain(url));
    }
}

/// What an answer says of where people look at what it is about.
pub fn page(answer: &Value) -> Option<&str> {
    answer.get("web_url").or_else(|| answer.pointer("/deployment/web_url"))?.as_str()
}

/// What the server did not keep of a request as it was sent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ignored {
    ignored: Vec<String>,
    changes_left_out: u64,
}

/// What an answer says of it, in one line; none where all was kept.
pub fn ignored(answer: &Value) -> Option<String> {
    let Ignored { ignored, changes_left_out } = Ignored::deserialize(answer).ok()?;
    // What is said of a release and of its deployment comes from the same flags.
    let fields: BTreeSet<_> =
        ignored.iter().map(|field| field.strip_prefix("release.").unwrap_or(field)).collect();
    if fields.is_empty() {
        return None;
    }
    let fields = fields.into_iter().map(plain).collect::<Vec<_>>().join(", ");
    let left_out = match changes_left_out {
        0 => String::new(),
        1 => " (the oldest one is left out)".to_owned(),
        many => format!(" (the {many} oldest are left out)"),
    };
    Some(format!("not kept as sent: {}", fields.replace("changes", &format!("changes{left_out}"))))
}

/// What is in a target, or on its way there.
#[derive(Debug, Clone, Deserialize)]
pub struct Occupant {
    pub version: String,
    pub since: DateTime<Utc>,
    #[serde(default)]
    pub actor: Actor,
    /// Whether it is being taken away from there.
    #[serde(default)]
    pub removal: bool,
}

/// A service in an environment, on its own or in the matrix.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Target {
    pub environment: String,
    pub current: Option<Occupant>,
    /// What is on its way there.
    pub running: Option<Occupant>,
    /// What a rollback would return to; the matrix does not tell.
    pub rollback_to: Option<Occupant>,
    /// How many releases it is behind the ranks below; the matrix alone tells.
    pub behind: Option<u64>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Release {
    pub service: String,
    pub version: String,
    /// Its place in the order of registration.
    #[serde(default)]
    pub number: Option<u64>,
    #[serde(default)]
    pub commit_sha: Option<String>,
    #[serde(default)]
    pub image: Option<String>,
    #[serde(default, rename = "ref")]
    pub git_ref: Option<String>,
    /// The person who set its build off.
    #[serde(default)]
    pub initiated_by: Option<String>,
    /// What people call them.
    #[serde(default)]
    pub initiator_name: Option<String>,
    #[serde(default)]
    pub actor: Actor,
    #[serde(default)]
    pub created_at: Option<DateTime<Utc>>,
}

impl Release {
    /// Who is behind it, for people: whoever set its build off, or else who registered it.
    pub fn who(&self) -> String {
        self.actor.unless(self.initiated_by.as_deref(), self.initiator_name.as_deref())
    }
}

/// An entry of the audit log, or of a deployment's timeline.
#[derive(Debug, Clone, Deserialize)]
pub struct Event {
    /// Its number; the timeline does not tell.
    #[serde(default)]
    pub seq: i64,
    pub at: DateTime<Utc>,
    pub kind: String,
    #[serde(default)]
    pub actor: Actor,
    #[serde(default)]
    pub service: Option<String>,
    #[serde(default)]
    pub environment: Option<String>,
    #[serde(default)]
    pub version: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_not_kept_is_said_once() {
        let answer = json!({"ignored": ["pipeline_url", "release.pipeline_url", "release.ref"]});
        assert_eq!(ignored(&answer).as_deref(), Some("not kept as sent: pipeline_url, ref"));
        let answer = json!({"ignored": ["release.changes", "release.ref"], "changes_left_out": 234});
        let expected = "not kept as sent: changes (the 234 oldest are left out), ref";
        assert_eq!(ignored(&answer).as_deref(), Some(expected));
        for nothing in [json!({"ignored": [], "changes_left_out": 0}), json!({"items": []}), json!([])] {
            assert_eq!(ignored(&nothing), None);
        }
    }
}
