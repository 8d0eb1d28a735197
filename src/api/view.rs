//! Shapes that several resources share.

use std::collections::BTreeMap;

use poem_openapi::{Object, types::MaybeUndefined};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    api::types::{Nullable, Time},
    domain::{
        actor::Actor,
        address::{Page, Pages},
        fault::Faults,
        gate::{Check, Decision},
        vocabulary::{CheckOutcome, Mode, Rule},
    },
    http::problem::{Code, FieldError, Problem},
    usecase::error::Error,
};

/// Labels by name.
pub type LabelsView = BTreeMap<String, String>;

/// Who did it.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Actor")]
pub struct ActorView {
    /// The token's name.
    #[oai(validator(max_length = 200))]
    pub token: String,
    /// The person or pipeline behind it.
    pub subject: String,
    /// What people call the subject, as the issuer last said. Absent where nobody has signed in as it; in the matrix; in events,
    /// whose hash is over all that they show; and in answers to what changes something.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl From<Actor> for ActorView {
    fn from(Actor { token, subject }: Actor) -> Self {
        Self { token, subject, name: None }
    }
}

/// What one rule of the gate found.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Check")]
pub struct CheckView {
    /// The rule.
    pub rule: Rule,
    /// Whether a failure refuses the start.
    pub mode: Mode,
    /// What it found.
    pub outcome: CheckOutcome,
    /// A stable word for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// When it will hold, where that is known.
    pub retry_at: Nullable<Time>,
    /// What it looked at.
    pub details: serde_json::Value,
}

impl From<Check> for CheckView {
    fn from(check: Check) -> Self {
        Self {
            rule: check.rule,
            mode: check.mode,
            outcome: check.outcome,
            code: check.code,
            message: check.message,
            retry_at: check.retry_at.map(Time).into(),
            details: check.details,
        }
    }
}

/// Why the gate's rules were lifted.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Override")]
pub struct OverrideView {
    /// The reason that was given.
    pub reason: String,
}

/// The gate's answer to a start.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Decision")]
pub struct DecisionView {
    /// Identity.
    pub id: Uuid,
    /// Whether the deployment may start.
    pub allowed: bool,
    /// When the rules were evaluated.
    pub evaluated_at: Time,
    /// What each rule found; every rule is here, not just the first that failed.
    pub checks: Vec<CheckView>,
    /// When every failing rule will hold; null when one of them cannot tell.
    pub retry_at: Nullable<Time>,
    /// Why the rules were lifted, where they were.
    pub r#override: Nullable<OverrideView>,
    /// Which version of the environment's policy it went by; 0 where nobody has set one.
    pub policy_version: i64,
    /// A word for what stands in the way; `GET /gate/wait` takes it as `seen`.
    pub state: String,
    /// Where people look at it. Absent in lists, and where the server was not told its own address
    /// (`server.public_url`).
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web_url: Option<String>,
}

impl From<Decision> for DecisionView {
    fn from(decision: Decision) -> Self {
        Self {
            id: decision.id,
            allowed: decision.verdict.allowed,
            policy_version: decision.policy_version,
            state: decision.verdict.state(),
            evaluated_at: Time(decision.evaluated_at),
            checks: decision.verdict.checks.into_iter().map(Into::into).collect(),
            retry_at: decision.verdict.retry_at.map(Time).into(),
            r#override: decision.override_reason.map(|reason| OverrideView { reason }).into(),
            web_url: None,
        }
    }
}

impl DecisionView {
    /// The same, with where people look at it.
    #[must_use]
    pub fn at(self, pages: &Pages) -> Self {
        Self { web_url: pages.url(Page::Decision(self.id)), ..self }
    }
}

/// What an edit leaves of a field.
pub fn edited<T, U>(given: MaybeUndefined<T>, read: impl FnOnce(T) -> U, before: Option<U>) -> Option<U> {
    match given {
        MaybeUndefined::Undefined => before,
        MaybeUndefined::Null => None,
        MaybeUndefined::Value(value) => Some(read(value)),
    }
}

/// Refuses a request for all of its faults at once.
pub fn refuse(faults: Faults) -> Problem {
    Error::Invalid(faults.into_vec()).into()
}

/// Refuses a request for one of its query parameters.
pub fn bad_query(name: &str, code: &str, detail: &str) -> Problem {
    let field = FieldError::new(format!("/query/{name}"), code, detail);
    Problem::new(Code::InvalidRequest, format!("The parameter {name} cannot be used: {detail}."))
        .errors(vec![field])
}

/// Refuses a request for a part of its path.
pub fn bad_path(name: &str, code: &str, detail: &str) -> Problem {
    let field = FieldError::new(format!("/path/{name}"), code, detail);
    Problem::new(Code::InvalidRequest, format!("The path parameter {name} cannot be used: {detail}."))
        .errors(vec![field])
}
