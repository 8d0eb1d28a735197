//! The names that subjects go by: apart from the subjects, which never change, and as they were last seen.

use chrono::{DateTime, Utc};

/// A subject with the name that an issuer last gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Whom the ledger names.
    pub subject: String,
    /// What people call them.
    pub name: String,
    /// When the issuer said so last.
    pub seen_at: DateTime<Utc>,
}
