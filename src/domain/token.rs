//! A token: what lets its holder in, without the secret that proves it.

use chrono::{DateTime, Utc};

use crate::domain::actor::Principal;

/// A token without its secret.
#[derive(Clone, Debug)]
pub struct Token {
    /// Whom it stands for, and what it may do.
    pub principal: Principal,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it stops working.
    pub expires_at: Option<DateTime<Utc>>,
    /// Since when it is revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}
