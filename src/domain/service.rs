//! A service: a thing that is deployed on its own.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::domain::{
    fault::{Faults, Malformed},
    text::{self, Name, SHORT_TEXT_MAX, TEXT_MAX},
};

/// Labels: short texts by name, in the order of their names.
pub type Labels = BTreeMap<String, String>;

/// A registered service.
#[derive(Clone, Debug)]
pub struct Service {
    pub id: Uuid,
    /// Its name; never changes and is never reused.
    pub name: Name,
    /// What may be edited.
    pub description: ServiceDescription,
    /// Counts the edits; the entity tag.
    pub revision: i64,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
    /// When it was last edited.
    pub updated_at: DateTime<Utc>,
    /// Since when it is archived.
    pub archived_at: Option<DateTime<Utc>>,
}

impl Service {
    /// One that is registered now.
    pub fn new(id: Uuid, name: Name, description: ServiceDescription, now: DateTime<Utc>) -> Self {
        Self { id, name, description, revision: 1, created_at: now, updated_at: now, archived_at: None }
    }
}

/// What people say about a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ServiceDescription {
    /// Its name for people.
    pub display_name: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Where its source lives.
    pub repository_url: Option<String>,
    /// Who looks after it.
    pub owner: Option<String>,
    /// Anything else, by name.
    pub labels: Labels,
}

impl ServiceDescription {
    /// Checks every field, at most `labels_max` labels among them.
    pub fn validate(&self, labels_max: usize, faults: &mut Faults) {
        faults.take_optional(
            "/display_name",
            self.display_name.as_ref().map(|t| text::free(t, SHORT_TEXT_MAX)),
        );
        faults.take_optional("/description", self.description.as_ref().map(|t| text::free(t, TEXT_MAX)));
        faults.take_optional("/repository_url", self.repository_url.as_ref().map(|t| text::web_url(t)));
        faults.take_optional("/owner", self.owner.as_ref().map(|t| text::free(t, SHORT_TEXT_MAX)));
        validate_labels(&self.labels, labels_max, faults);
    }
}

/// Whether a label may have this name.
pub fn is_label_name(name: &str) -> bool {
    (1..=63).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c))
}

/// Checks labels: at most `max`, names of 1 to 63 characters, values of at most 200.
pub fn validate_labels(labels: &Labels, max: usize, faults: &mut Faults) {
    if labels.len() > max {
        faults.add("/labels", "too-many", format!("must have at most {max} labels"));
    }
    for (name, value) in labels {
        let pointer = format!("/labels/{}", name.replace('~', "~0").replace('/', "~1"));
        if !is_label_name(name) {
            let detail = "a label's name must be 1 to 63 of letters, digits and '.', '_', '-', '/'";
            faults.take::<()>(&pointer, Err(Malformed::new("invalid-label", detail)));
        }
        faults.take(&pointer, text::free(value, SHORT_TEXT_MAX));
    }
}
