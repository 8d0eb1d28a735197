//! The calls of the API.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use serde::Serialize;
use uuid::Uuid;

use super::error::Error;
use crate::clock;

/// The longest pause before it is tried again.
pub const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a command goes on trying.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a question does: whoever asks waits for the answer.
const PATIENCE_READING: Duration = Duration::from_secs(5);
/// How long one attempt may take at most, unless the call says otherwise.
const ATTEMPT: Duration = Duration::from_secs(30);

/// One call, with everything that stays the same when it is tried again.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: Method,
    pub path: Vec<String>,
    pub query: Vec<(&'static str, String)>,
    pub body: Option<Bytes>,
    pub key: Option<Uuid>,
    pub if_match: Option<i64>,
    pub patience: Duration,
    pub attempt: Duration,
    /// How often it is tried again, where that is counted.
    pub retries: Option<u32>,
    pub quiet: bool,
}

impl Call {
    /// Reads what is at this path below `/api/v1`; the segments are escaped.
    pub fn get(path: &[&str]) -> Self {
        Self {
            method: Method::GET,
            path: path.iter().map(|&segment| segment.to_owned()).collect(),
            query: Vec::new(),
            body: None,
            key: None,
            if_match: None,
            patience: PATIENCE_READING,
            attempt: ATTEMPT,
            retries: None,
            quiet: false,
        }
    }

    /// Posts a body, with an idempotency key of its own.
    pub fn post(path: &[&str], body: &impl Serialize) -> Result<Self, Error> {
        Ok(Self::post_as_it_is(path, serde_json::to_vec(body)?.into()))
    }

    /// Posts JSON that somebody else has written.
    pub fn post_as_it_is(path: &[&str], body: Bytes) -> Self {
        Self { key: Some(clock::new_id()), body: Some(body), ..Self::change(Method::POST, path) }
    }

    /// Puts a body in the place of what is there; the same again changes nothing.
    pub fn put(path: &[&str], body: &impl Serialize) -> Result<Self, Error> {
        Ok(Self { body: Some(serde_json::to_vec(body)?.into()), ..Self::change(Method::PUT, path) })
    }

    /// Changes what the body names.
    pub fn patch(path: &[&str], body: &impl Serialize) -> Result<Self, Error> {
        Ok(Self { body: Some(serde_json::to_vec(body)?.into()), ..Self::change(Method::PATCH, path) })
    }

    /// Takes away what is there.
    pub fn delete(path: &[&str]) -> Self {
        Self::change(Method::DELETE, path)
    }

    fn change(method: Method, path: &[&str]) -> Self {
        Self { method, patience: PATIENCE, ..Self::get(path) }
    }

    /// Only if it has this revision, where one is given.
    #[must_use]
    pub fn if_match(mut self, revision: Option<i64>) -> Self {
        self.if_match = revision;
        self
    }

    /// Adds a query parameter if there is a value for it.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// How long to go on trying while nobody answers.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How often to try again while nobody answers, however long that takes.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = Some(retries);
        self.patience = (self.attempt + PAUSE_MAX).saturating_mul(retries + 1);
        self
    }

    /// How long one attempt may take, for what the server answers late on purpose.
    #[must_use]
    pub fn attempt(mut self, attempt: Duration) -> Self {
        self.attempt = attempt;
        self
    }

    /// Does not say that it has to be tried again.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }
}
