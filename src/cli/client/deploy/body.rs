//! The bodies that start, finish and record deployments.

use chrono::{DateTime, SecondsFormat, Utc};
use clap::ValueEnum;
use serde::{Serialize, Serializer};

use super::{Kind, Strategy};
use crate::cli::client::{
    gate::Question,
    release::{ReleaseBody, Source},
    view::Override,
};

/// What is to be deployed where, and why.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Intent {
    /// The service.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// The release's version.
    pub version: String,
    /// The release, where it may not be on record yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseBody>,
    /// What kind of deployment it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// How the new version replaces the old one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// The deployment whose failure this one repairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remediates: Option<String>,
    /// Why this is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who does it, and in which pipeline.
    #[serde(flatten)]
    pub source: Source,
}

impl Intent {
    /// The same as a question, which starts nothing; it is this token that would.
    pub fn question(&self, preempt: bool, override_reason: Option<&str>) -> Question {
        Question {
            service: self.service.clone(),
            environment: self.environment.clone(),
            version: self.version.clone(),
            kind: self.kind.map(|kind| kind.word().to_owned()),
            preempt,
            initiated_by: self.source.initiated_by().map(str::to_owned),
            deployer: None,
            for_caller: true,
            override_: override_reason.map(|reason| Override { reason: reason.to_owned() }),
        }
    }
}

/// A start.
#[derive(Debug, Serialize)]
pub struct StartBody<'a> {
    #[serde(flatten)]
    pub intent: &'a Intent,
    pub lease_seconds: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub preempt: bool,
    #[serde(rename = "override", skip_serializing_if = "Option::is_none")]
    pub override_: Option<OverrideBody<'a>>,
}

/// Why the gate is overridden.
#[derive(Debug, Serialize)]
pub struct OverrideBody<'a> {
    pub reason: &'a str,
}

/// How a deployment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The release is now current.
    Succeeded,
    /// It is not.
    Failed,
    /// Somebody stopped it.
    Canceled,
}

impl Outcome {
    /// Its word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

/// A finish.
#[derive(Debug, Serialize)]
pub struct FinishBody<'a> {
    pub status: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<&'a str>,
}

/// A sign of life.
#[derive(Debug, Default, Serialize)]
pub struct HeartbeatBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic_percent: Option<u8>,
}

/// A deployment that went on without the gate.
#[derive(Debug, Serialize)]
pub struct RecordBody<'a> {
    #[serde(flatten)]
    pub intent: &'a Intent,
    pub status: Outcome,
    #[serde(serialize_with = "micros")]
    pub started_at: DateTime<Utc>,
    #[serde(serialize_with = "micros")]
    pub finished_at: DateTime<Utc>,
    pub ungated: bool,
}

fn micros<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.to_rfc3339_opts(SecondsFormat::Micros, true))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_was_said_is_sent() {
        let intent = Intent {
            service: "shop".into(),
            environment: "prod".into(),
            version: "1".into(),
            ..Intent::default()
        };
        let start = StartBody { intent: &intent, lease_seconds: 120, preempt: false, override_: None };
        let expected =
            json!({"service": "shop", "environment": "prod", "version": "1", "lease_seconds": 120});
        assert_eq!(serde_json::to_value(start).ok(), Some(expected));

        let intent = Intent { kind: Some(Kind::Rollback), strategy: Some(Strategy::BlueGreen), ..intent };
        let override_ = Some(OverrideBody { reason: "fire" });
        let start = StartBody { intent: &intent, lease_seconds: 60, preempt: true, override_ };
        let expected = json!({"service": "shop", "environment": "prod", "version": "1", "lease_seconds": 60,
            "kind": "rollback", "strategy": "blue-green", "preempt": true, "override": {"reason": "fire"}});
        assert_eq!(serde_json::to_value(start).ok(), Some(expected));
    }

    #[test]
    fn records_carry_times_in_utc_microseconds() {
        let at = DateTime::UNIX_EPOCH;
        let intent = Intent::default();
        let body = RecordBody {
            intent: &intent,
            status: Outcome::Failed,
            started_at: at,
            finished_at: at,
            ungated: true,
        };
        let sent = serde_json::to_value(body).unwrap_or_default();
        assert_eq!(sent.get("started_at"), Some(&json!("1970-01-01T00:00:00.000000Z")));
        assert_eq!(sent.get("status"), Some(&json!("failed")));
    }
}
