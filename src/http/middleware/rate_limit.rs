//! How many requests one token may send: a bucket for each, refilled at a steady rate.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use governor::{
    DefaultKeyedRateLimiter, Quota,
    clock::{Clock as _, DefaultClock},
};
use uuid::Uuid;

/// After so many checks, buckets that are full again are forgotten, which bounds the memory.
const CHECKS_BETWEEN_SWEEPS: u32 = 4096;

/// The limiter; it lives as long as the server and is shared by all requests.
#[derive(Debug)]
pub struct RateLimiter {
    buckets: DefaultKeyedRateLimiter<Uuid>,
    clock: DefaultClock,
    checks: AtomicU32,
}

impl RateLimiter {
    /// A limiter that refills `per_second` requests a second up to `burst`.
    pub fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        Self {
            buckets: DefaultKeyedRateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst)),
            clock: DefaultClock::default(),
            checks: AtomicU32::new(0),
        }
    }

    /// Takes one request from the bucket of `key`, or says how long to wait for the next.
    pub fn check(&self, key: Uuid) -> Result<(), Duration> {
        if self.checks.fetch_add(1, Ordering::Relaxed) % CHECKS_BETWEEN_SWEEPS == CHECKS_BETWEEN_SWEEPS - 1 {
            self.buckets.retain_recent();
        }
        self.buckets.check_key(&key).map_err(|denied| denied.wait_time_from(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::new_id;

    fn limiter() -> RateLimiter {
        RateLimiter::new(NonZeroU32::new(1).unwrap(), NonZeroU32::new(2).unwrap())
    }

    #[test]
    fn a_bucket_empties_and_says_how_long_to_wait() {
        let (limiter, key) = (limiter(), new_id());
        assert_eq!(limiter.check(key), Ok(()));
        assert_eq!(limiter.check(key), Ok(()));
        let wait = limiter.check(key).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        assert_eq!(limiter.check(new_id()), Ok(()), "another token has a bucket of its own");
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let limiter =
            RateLimiter::new(NonZeroU32::new(1_000_000).unwrap(), NonZeroU32::new(1_000_000).unwrap());
        for _ in 0..3 * CHECKS_BETWEEN_SWEEPS {
            assert_eq!(limiter.check(new_id()), Ok(()));
        }
        assert!(limiter.buckets.len() < 2 * CHECKS_BETWEEN_SWEEPS as usize);
    }
}
