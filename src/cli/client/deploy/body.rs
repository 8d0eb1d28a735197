//! The bodies that start, finish and record deployments.

use serde::Serialize;

use crate::{
    cli::client::{
        gate::Question,
        release::{ReleaseBody, Source},
        view::Override,
    },
    domain::vocabulary::{Kind, Outcome, Strategy},
};

/// What is to be deployed where, and why.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Intent {
    pub service: String,
    pub environment: String,
    /// None of a removal of whatever runs there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The release, where it may not be on record yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// The deployment whose failure this one repairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remediates: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(flatten)]
    pub source: Source,
}

#[derive(Debug, Serialize)]
pub struct Start {
    #[serde(flatten)]
    pub intent: Intent,
    pub lease_seconds: u64,
    /// Whether a running deployment of the target is canceled.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub preempt: bool,
    #[serde(rename = "override", skip_serializing_if = "Option::is_none")]
    pub override_: Option<Override>,
}

impl Start {
    /// The same as a question, which starts nothing; it is this token that would.
    pub fn question(&self) -> Question {
        Question {
            service: self.intent.service.clone(),
            environment: self.intent.environment.clone(),
            version: self.intent.version.clone(),
            kind: self.intent.kind,
            preempt: self.preempt,
            initiated_by: self.intent.source.initiated_by(),
            deployer: None,
            for_caller: true,
            override_: self.override_.clone(),
        }
    }
}

#[derive(Debug, Serialize)]
pub struct FinishBody<'a> {
    pub status: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<&'a str>,
}

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
    pub started_at: String,
    pub finished_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    pub ungated: bool,
}

/// What is not known of one before it is over.
#[derive(Debug, Serialize)]
pub struct EndBody {
    pub status: Outcome,
    pub finished_at: String,
    pub message: Option<String>,
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
            version: Some("1".into()),
            ..Intent::default()
        };
        let start = Start { intent: intent.clone(), lease_seconds: 120, preempt: false, override_: None };
        let expected =
            json!({"service": "shop", "environment": "prod", "version": "1", "lease_seconds": 120});
        assert_eq!(serde_json::to_value(start).ok(), Some(expected));

        let intent = Intent { kind: Some(Kind::Rollback), strategy: Some(Strategy::BlueGreen), ..intent };
        let override_ = Some(Override { reason: "fire".into() });
        let start = Start { intent, lease_seconds: 60, preempt: true, override_ };
        let expected = json!({"service": "shop", "environment": "prod", "version": "1", "lease_seconds": 60,
            "kind": "rollback", "strategy": "blue-green", "preempt": true, "override": {"reason": "fire"}});
        assert_eq!(serde_json::to_value(start).ok(), Some(expected));
    }
}
