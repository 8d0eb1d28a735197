//! Decisions on record, and lists of them.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{
    actor::Actor,
    gate::{Decision, Inputs},
    vocabulary::Kind,
};

/// A decision as it is on record.
#[derive(Clone, Debug)]
pub struct Stored {
    /// What the gate said; where the same was said again, what it said last.
    pub decision: Decision,
    pub service: String,
    pub environment: String,
    /// The release.
    pub version: String,
    /// What it was for.
    pub kind: Kind,
    /// Who asked.
    pub actor: Actor,
    /// The deployment that was let start.
    pub deployment_id: Option<Uuid>,
    /// How often in a row it was said.
    pub count: i64,
    /// When it was said first.
    pub first_evaluated_at: DateTime<Utc>,
    /// What it was decided by; none when it was kept by a version that saw it otherwise.
    pub inputs: Option<Inputs>,
}

/// What a list of decisions is confined to.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub service: Option<String>,
    pub environment: Option<String>,
    /// The release's version.
    pub version: Option<String>,
    /// Whether the gate allowed it.
    pub allowed: Option<bool>,
    /// Last said at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Last said before this time.
    pub until: Option<DateTime<Utc>>,
}
