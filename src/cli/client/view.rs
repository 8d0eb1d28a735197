//! The server's answers as the client reads them. Tolerant: unknown fields are ignored and states are plain words, so
//! that an older client reads a newer server.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who did something.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Actor {
    /// The token's name.
    pub token: String,
    /// The person or pipeline behind the token.
    pub subject: String,
}

impl Actor {
    /// The name people know: the subject, or the token's name where there is none.
    pub fn name(&self) -> &str {
        if self.subject.is_empty() { &self.token } else { &self.subject }
    }
}

/// A deployment, as far as the client shows it.
#[derive(Debug, Clone, Deserialize)]
pub struct Deployment {
    /// Its id.
    pub id: String,
    /// The service that is deployed.
    pub service: String,
    /// Where to.
    pub environment: String,
    /// The release's version.
    pub version: String,
    /// `running`, or how it ended.
    pub status: String,
    /// What kind of deployment it is.
    #[serde(default)]
    pub kind: String,
    /// Who started it.
    #[serde(default)]
    pub actor: Actor,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended, if it has.
    #[serde(default)]
    pub finished_at: Option<DateTime<Utc>>,
    /// Until when it may stay silent.
    #[serde(default)]
    pub lease_expires_at: Option<DateTime<Utc>>,
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
}

impl Deployment {
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

/// One page of deployments.
#[derive(Debug, Clone, Deserialize)]
pub struct DeploymentPage {
    /// The deployments, newest first.
    pub items: Vec<Deployment>,
    /// Where the next page begins.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// What the gate said.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Decision {
    /// Its id, where it was kept.
    pub id: Option<String>,
    /// Tells what stands in the way from anything else that may.
    pub state: Option<String>,
    /// Which version of the environment's policy was asked.
    pub policy_version: Option<i64>,
    /// Why the rules were lifted, where they were.
    #[serde(rename = "override")]
    pub override_: Option<Override>,
    /// Whether the deployment may start.
    pub allowed: bool,
    /// The server's time at which it was judged.
    pub evaluated_at: Option<DateTime<Utc>>,
    /// Every rule's verdict.
    pub checks: Vec<Check>,
    /// From when it may be allowed, where that is known.
    pub retry_at: Option<DateTime<Utc>>,
}

impl Decision {
    /// The checks that stand in the way.
    pub fn denials(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.denies())
    }
}

/// Why the gate's rules are lifted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Override {
    /// The reason that was given.
    pub reason: String,
}

/// One rule's verdict.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Check {
    /// The rule.
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
    /// The deployment that is now running.
    pub deployment: Deployment,
    /// What the gate said.
    #[serde(default)]
    pub decision: Decision,
}

/// What is in a target.
#[derive(Debug, Clone, Deserialize)]
pub struct Occupant {
    /// The deployment that put it there.
    pub deployment_id: String,
    /// The release's version.
    pub version: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Who put it there.
    #[serde(default)]
    pub actor: Actor,
}

/// A service in an environment.
#[derive(Debug, Clone, Deserialize)]
pub struct Target {
    /// What runs there.
    #[serde(default)]
    pub current: Option<Occupant>,
    /// What is on its way there.
    #[serde(default)]
    pub running: Option<Occupant>,
    /// What a rollback would return to.
    #[serde(default)]
    pub rollback_to: Option<Occupant>,
}

/// What runs where.
#[derive(Debug, Clone, Deserialize)]
pub struct Matrix {
    /// The moment it shows.
    pub as_of: DateTime<Utc>,
    /// The columns, in promotion order.
    pub environments: Vec<MatrixEnvironment>,
    /// The rows.
    pub services: Vec<MatrixService>,
}

/// A column of the matrix.
#[derive(Debug, Clone, Deserialize)]
pub struct MatrixEnvironment {
    /// The environment's name.
    pub name: String,
    /// Registered by a deployment, and nobody has edited it since.
    #[serde(default)]
    pub unconfirmed: bool,
    /// Nothing but an override starts there.
    #[serde(default)]
    pub locked_down: bool,
}

/// A row of the matrix.
#[derive(Debug, Clone, Deserialize)]
pub struct MatrixService {
    /// The service's name.
    pub name: String,
    /// Its targets.
    pub targets: Vec<MatrixTarget>,
}

/// A cell of the matrix.
#[derive(Debug, Clone, Deserialize)]
pub struct MatrixTarget {
    /// The column it belongs to.
    pub environment: String,
    /// What runs there.
    #[serde(default)]
    pub current: Option<Occupant>,
    /// What is on its way there.
    #[serde(default)]
    pub running: Option<Occupant>,
    /// How many releases it is behind the ranks below.
    #[serde(default)]
    pub behind: Option<u64>,
}

/// The answer to a release put on record.
#[derive(Debug, Clone, Deserialize)]
pub struct Release {
    /// The service.
    pub service: String,
    /// The version.
    pub version: String,
    /// Its place in the order of registration.
    #[serde(default)]
    pub number: Option<u64>,
    /// The commit it was built from.
    #[serde(default)]
    pub commit_sha: Option<String>,
    /// The image it was built into.
    #[serde(default)]
    pub image: Option<String>,
    /// Fields that kept the value they were first recorded with.
    #[serde(default)]
    pub ignored: Vec<String>,
}
