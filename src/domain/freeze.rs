//! Freeze windows: stretches of time in which nothing starts, declared once or by a recurring schedule.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{actor::Actor, gate::facts::Period, vocabulary::Tier};

/// A freeze window as it is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreezeWindow {
    /// What the gate reads of it.
    pub window: Window,
    /// Where it counts.
    pub covers: Covers,
    /// Counts the edits; the entity tag.
    pub revision: i64,
    /// Who declared it.
    pub actor: Actor,
    /// When it was declared.
    pub created_at: DateTime<Utc>,
    /// When it was last edited.
    pub updated_at: DateTime<Utc>,
}

/// What the gate reads of a freeze window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Identity.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Why it is there.
    pub reason: String,
    /// When it holds.
    pub timing: Timing,
}

/// Where a freeze window counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Covers {
    /// In the environments of these names.
    Environments(BTreeSet<String>),
    /// In every environment of these tiers.
    Tiers(BTreeSet<Tier>),
}

/// When a freeze window holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Timing {
    /// From one moment to another, once.
    Once {
        /// When it begins.
        starts_at: DateTime<Utc>,
        /// When it ends.
        ends_at: DateTime<Utc>,
    },
    /// Again and again: it holds when its last start is later than its last end.
    Recurring {
        /// When it begins, as a cron expression.
        start_cron: String,
        /// When it ends, as a cron expression.
        end_cron: String,
        /// Where those are read: a name of the IANA time zone database.
        timezone: String,
    },
}

/// The periods in which windows hold: those that hold now, and those that begin before these have ended. Empty when none
/// holds now.
pub fn periods(windows: &[Window], now: DateTime<Utc>) -> Vec<Period> {
    windows
        .iter()
        .filter_map(|window| match &window.timing {
            Timing::Once { starts_at, ends_at } => Some(Period {
                window_id: window.id,
                name: window.name.clone(),
                reason: window.reason.clone(),
                starts_at: *starts_at,
                ends_at: Some(*ends_at),
            }),
            Timing::Recurring { .. } => None,
        })
        .filter(|period| period.starts_at <= now && period.ends_at.is_none_or(|end| end > now))
        .collect()
}
