//! Moments as people give them on a command line and are shown them, and as the API takes them.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use crate::clock;

/// A time like 2026-03-01T12:00:00Z, or how long ago, like 2h.
pub fn parse(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.to_utc());
    }
    let ago: Duration = humantime::parse_duration(text)
        .map_err(|_neither| "neither a time like 2026-03-01T12:00:00Z nor a duration like 2h".to_owned())?;
    TimeDelta::from_std(ago)
        .ok()
        .and_then(|ago| clock::now().checked_sub_signed(ago))
        .ok_or("too long ago".to_owned())
}

/// As the API takes it.
pub fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// As people are shown it, in UTC.
pub fn second(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// The same without the seconds.
pub fn minute(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_times_or_ages() {
        assert_eq!(
            parse("2026-03-01T12:00:00+01:00").map(|at| at.to_rfc3339()),
            Ok("2026-03-01T11:00:00+00:00".into())
        );
        let ago = parse("2h").map(|at| (clock::now() - at).num_minutes());
        assert_eq!(ago, Ok(120));
        assert!(parse("yesterday").is_err());
    }
}
