//! A session: a person who is signed in, in a browser or at a command line, for a while.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// How long a session lasts that nobody uses.
pub const IDLE: TimeDelta = TimeDelta::hours(4);
/// How long a session lasts, however much it is used.
pub const LONGEST: TimeDelta = TimeDelta::hours(12);
/// How seldom the end of an idle session is put off: not with each request, which would then write.
pub const PUT_OFF_AFTER: TimeDelta = TimeDelta::minutes(1);

/// When a session ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Unless it is used before.
    pub idle_until: DateTime<Utc>,
    /// In any case.
    pub expires_at: DateTime<Utc>,
}

impl Life {
    /// Of a session that begins now, and lasts no longer than what it stands on.
    pub fn begin(now: DateTime<Utc>, limit: Option<DateTime<Utc>>) -> Self {
        let expires_at = limit.into_iter().fold(now + LONGEST, DateTime::min);
        Self { idle_until: expires_at.min(now + IDLE), expires_at }
    }
}

/// What the use of a session puts its end off to that is idle at this moment, where that is worth a write.
pub fn put_off(idle_until: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let until = now + IDLE;
    (until - idle_until >= PUT_OFF_AFTER).then_some(until)
}

/// What shows that a request was made by a page of ours and not by another that the browser sends the cookie along for: it
/// is derived from the secret, which no other page can read.
pub fn csrf_token(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!("waybill csrf\n{secret}")))
}

/// Whether this is the token that goes with the secret.
pub fn is_csrf_token(secret: &str, token: &str) -> bool {
    csrf_token(secret).as_bytes().ct_eq(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    #[test]
    fn a_session_ends_when_it_is_idle_and_at_the_latest_after_twelve_hours() {
        let life = Life::begin(at(0), None);
        assert_eq!((life.idle_until, life.expires_at), (at(240), at(720)));
        let short = Life::begin(at(0), Some(at(30)));
        assert_eq!((short.idle_until, short.expires_at), (at(30), at(30)), "with what it stands on");
    }

    #[test]
    fn its_end_is_put_off_once_a_minute() {
        let idle_until = Life::begin(at(0), None).idle_until;
        assert_eq!(put_off(idle_until, at(0) + TimeDelta::seconds(59)), None);
        assert_eq!(put_off(idle_until, at(1)), Some(at(241)));
    }

    #[test]
    fn a_csrf_token_goes_with_one_secret() {
        let token = csrf_token("one");
        assert_eq!(token.len(), 43);
        assert!(is_csrf_token("one", &token) && !is_csrf_token("other", &token));
        assert!(!is_csrf_token("one", "") && !is_csrf_token("one", "one"));
    }
}
