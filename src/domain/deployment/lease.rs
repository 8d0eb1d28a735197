//! The lease of a deployment: how long it may be silent.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::{fault::Malformed, moment::is_ahead};

/// How long a deployment may stay silent, in seconds, where its start asks for so long or leaves it to the `default`.
pub fn lease_seconds(asked: Option<i64>, default: Duration, max: Duration) -> Result<i64, Malformed> {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    let max = seconds(max);
    let asked = asked.unwrap_or_else(|| seconds(default));
    if (1..=max).contains(&asked) {
        return Ok(asked);
    }
    Err(Malformed::new("out-of-range", format!("must be from 1 to {max} seconds")))
}

/// Whether a lease ends later than one that begins now would: the clock was wrong when it began.
pub fn is_beyond(lease_expires_at: DateTime<Utc>, now: DateTime<Utc>, seconds: i64) -> bool {
    is_ahead(lease_expires_at, lease_end(now, seconds))
}

/// When a lease that begins now runs out, of a deployment that may be silent for so many seconds.
pub fn lease_end(now: DateTime<Utc>, seconds: i64) -> DateTime<Utc> {
    now + TimeDelta::seconds(seconds)
}
