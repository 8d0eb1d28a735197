//! What several pages show in rows: deployments, decisions, and commits in short.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::when::When;
use crate::domain::{
    deployment::NamedDeployment,
    gate::stored::Stored,
    span::duration,
    vocabulary::{Kind, Status},
};

/// How many digits of a commit people are shown.
const DIGITS: usize = 8;

/// A commit, in short.
pub fn short(commit: &str) -> String {
    commit.chars().take(DIGITS).collect()
}

/// A deployment in a row.
pub struct DeploymentRow {
    pub id: Uuid,
    pub service: String,
    pub environment: String,
    pub version: String,
    pub kind: Kind,
    pub status: Status,
    pub when: When,
    pub took: String,
    pub by: String,
    pub reason: String,
}

impl DeploymentRow {
    /// A deployment as it was at a moment: what has ended since was under way then.
    pub fn of(named: NamedDeployment, at: DateTime<Utc>) -> Self {
        let NamedDeployment { deployment, service, environment, release } = named;
        let (times, plan) = (&deployment.times, &deployment.plan);
        let ended = times.finished_at.filter(|end| *end <= at);
        Self {
            id: deployment.id,
            service,
            environment,
            version: release.version.to_string(),
            kind: deployment.kind,
            status: if ended.is_some() { deployment.status } else { Status::Running },
            when: When::of(times.started_at, at),
            took: ended.map(|end| duration(end - times.started_at)).unwrap_or_default(),
            by: plan.initiated_by.clone().unwrap_or_else(|| deployment.actor.subject.clone()),
            reason: plan.reason.clone().or_else(|| deployment.override_reason.clone()).unwrap_or_default(),
        }
    }

    /// Several of them.
    pub fn all(named: Vec<NamedDeployment>, at: DateTime<Utc>) -> Vec<Self> {
        named.into_iter().map(|named| Self::of(named, at)).collect()
    }
}

/// A decision in a row.
pub struct DecisionRow {
    pub id: Uuid,
    pub environment: String,
    pub version: String,
    pub kind: Kind,
    pub allowed: bool,
    pub lifted: bool,
    pub when: When,
    pub by: String,
    /// How often in a row it was said.
    pub count: i64,
    /// The rules that stood in the way.
    pub reasons: String,
}

impl DecisionRow {
    /// A decision, seen from a moment.
    pub fn of(stored: Stored, at: DateTime<Utc>) -> Self {
        let verdict = &stored.decision.verdict;
        let denying: Vec<_> = verdict.denying().map(|check| check.rule.as_str()).collect();
        Self {
            id: stored.decision.id,
            allowed: verdict.allowed,
            lifted: stored.decision.override_reason.is_some(),
            when: When::of(stored.decision.evaluated_at, at),
            reasons: denying.join(", "),
            environment: stored.environment,
            version: stored.version,
            kind: stored.kind,
            by: stored.actor.subject,
            count: stored.count,
        }
    }

    /// Several of them.
    pub fn all(stored: Vec<Stored>, at: DateTime<Utc>) -> Vec<Self> {
        stored.into_iter().map(|stored| Self::of(stored, at)).collect()
    }
}
