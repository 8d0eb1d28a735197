//! The process's clock and its source of ids. On PostgreSQL the database's clock decides what happened when; this one
//! serves SQLite, where one process owns the file.

use chrono::{DateTime, SubsecRound, Utc};
use uuid::Uuid;

/// Now, in the microseconds that both databases keep.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the process's clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

/// A new `UUIDv7`: ordered by time within this process.
#[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}
