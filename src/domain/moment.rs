//! The clock and what was stored by it: what is now is told by the clock alone, and what is stored keeps its order.
//!
//! A clock may once have been wrong, and what was written then lies in the future. Nobody waits for that, and nothing is
//! judged by it.

use chrono::{DateTime, TimeDelta, Utc};

/// By how much another clock may be fast, and a stored time ahead of ours, before it is wrong.
pub const SKEW_MAX: TimeDelta = TimeDelta::seconds(60);

/// The moment at which a target's next step is stored: the clock's, but always after the last one. It is for the order
/// of what is stored, and never for judging by.
pub fn stored_at(now: DateTime<Utc>, last: Option<DateTime<Utc>>) -> DateTime<Utc> {
    last.map_or(now, |last| now.max(last + TimeDelta::microseconds(1)))
}

/// Whether a time lies so far in the future that the clock which told it was wrong.
pub fn is_ahead(at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    at - now > SKEW_MAX
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn a_minute_is_no_wrong_clock() {
        assert!(!is_ahead(at(-5), at(0)) && !is_ahead(at(60), at(0)));
        assert!(is_ahead(at(61), at(0)));
    }

    proptest! {
        #[test]
        fn what_is_stored_strictly_increases(steps in prop::collection::vec(-5i64..5, 1..50)) {
            let mut last = None;
            for step in steps {
                let next = stored_at(at(step), last);
                prop_assert!(last.is_none_or(|last| next > last));
                last = Some(next);
            }
        }
    }
}
