//! What is remembered of an issuer, and when it is asked again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Discovery, jwk::KeySet};

/// How long its answer is taken for what it would say now.
const FRESH: Duration = Duration::from_hours(1);
/// How long its answer is used while it gives no other.
const STALE: Duration = Duration::from_hours(24);
/// How often it is asked for keys that it did not have: whoever makes up names of keys must not make us call it.
const BETWEEN_MISSES: Duration = Duration::from_mins(1);
/// How long it is left alone after it gave no answer.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// As long as there are keys to go on with.
const AFTER_FAILURE_WITH_KEYS: Duration = Duration::from_mins(1);

/// What an issuer says.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) discovery: Arc<Discovery>,
    pub(super) keys: Arc<KeySet>,
}

/// What is remembered of an issuer.
#[derive(Debug, Default)]
pub(super) struct Memory {
    found: Option<(Found, Instant)>,
    /// Why the last attempt gave nothing, and when that was.
    failed: Option<(String, Instant)>,
    /// When it was last asked although its answer was fresh.
    missed: Option<Instant>,
}

/// What is to be done to find something.
#[derive(Debug)]
pub(super) enum Asked {
    /// It is known.
    Known(Found),
    /// The issuer is to be asked.
    Again,
    /// The issuer does not have it.
    NoKey,
    /// The issuer has given no answer just now.
    Down(String),
}

impl Memory {
    /// What is known of something that the keys have or not, or what is to be done.
    pub(super) fn recall(&self, has: &impl Fn(&KeySet) -> bool, now: Instant) -> Asked {
        let since = |then: Instant| now.saturating_duration_since(then);
        let usable = self.found.as_ref().filter(|(_, at)| since(*at) < STALE);
        let rest = if usable.is_some() { AFTER_FAILURE_WITH_KEYS } else { AFTER_FAILURE };
        let failure = self.failed.as_ref().filter(|(_, at)| since(*at) < rest);
        let Some((found, at)) = usable else {
            return failure.map_or(Asked::Again, |(cause, _)| Asked::Down(cause.clone()));
        };
        let is_fresh = since(*at) < FRESH;
        if has(&found.keys) {
            // Old keys do where there are no others to be had.
            return if is_fresh || failure.is_some() { Asked::Known(found.clone()) } else { Asked::Again };
        }
        if let Some((cause, _)) = failure {
            return Asked::Down(cause.clone());
        }
        let was_missed = self.missed.is_some_and(|at| since(at) < BETWEEN_MISSES);
        if is_fresh && was_missed { Asked::NoKey } else { Asked::Again }
    }

    /// Takes what asking came to.
    pub(super) fn take(&mut self, asked: Result<Found, String>, now: Instant) {
        let was_fresh = self.found.as_ref().is_some_and(|(_, at)| now.saturating_duration_since(*at) < FRESH);
        if was_fresh {
            self.missed = Some(now);
        }
        match asked {
            Ok(found) => {
                self.found = Some((found, now));
                self.failed = None;
            }
            Err(cause) => self.failed = Some((cause, now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Found {
        let url: url::Url = "https://issuer.example.com/keys".parse().unwrap();
        let discovery = Discovery {
            token_endpoint_auth_methods_supported: None,
            issuer: "https://issuer.example.com".to_owned(),
            jwks_uri: url,
            authorization_endpoint: None,
            token_endpoint: None,
            device_authorization_endpoint: None,
            end_session_endpoint: None,
        };
        Found { discovery: Arc::new(discovery), keys: Arc::default() }
    }

    fn outcome(memory: &Memory, has: bool, at: Instant) -> &'static str {
        match memory.recall(&|_| has, at) {
            Asked::Known(_) => "known",
            Asked::Again => "ask",
            Asked::NoKey => "no key",
            Asked::Down(_) => "down",
        }
    }

    #[test]
    fn keys_are_fresh_for_an_hour() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        assert_eq!(outcome(&memory, true, start), "ask");
        memory.take(Ok(found()), start);
        let after = |minutes: u64| start + Duration::from_mins(minutes);
        assert_eq!(outcome(&memory, true, after(59)), "known");
        assert_eq!(outcome(&memory, true, after(60)), "ask");
    }

    #[test]
    fn an_unknown_key_makes_it_be_asked_once_a_minute() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        memory.take(Ok(found()), start);
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(
            outcome(&memory, false, after(1)),
            "ask",
            "a rotation right after the last answer is seen"
        );
        memory.take(Ok(found()), after(1));
        assert_eq!(outcome(&memory, false, after(2)), "no key");
        assert_eq!(outcome(&memory, true, after(2)), "known");
        assert_eq!(outcome(&memory, false, after(60)), "no key");
        assert_eq!(outcome(&memory, false, after(61)), "ask");
    }

    #[test]
    fn stale_keys_serve_for_a_day_while_it_is_down() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        memory.take(Ok(found()), start);
        let after = |minutes: u64| start + Duration::from_mins(minutes);
        assert_eq!(outcome(&memory, true, after(70)), "ask");
        memory.take(Err("down".to_owned()), after(70));
        assert_eq!(outcome(&memory, true, after(70)), "known");
        assert_eq!(outcome(&memory, false, after(70)), "down");
        assert_eq!(outcome(&memory, true, after(71)), "ask", "it is tried again");
        memory.take(Err("down".to_owned()), after(24 * 60 - 1));
        assert_eq!(outcome(&memory, true, after(24 * 60 - 1)), "known");
        assert_eq!(outcome(&memory, true, after(24 * 60)), "ask");
    }

    #[test]
    fn without_keys_it_is_left_alone_for_a_moment_after_a_failure() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        memory.take(Err("down".to_owned()), start);
        assert_eq!(outcome(&memory, true, start + Duration::from_secs(4)), "down");
        assert_eq!(outcome(&memory, true, start + Duration::from_secs(5)), "ask");
    }
}
