//! What a request is let in by: a token, or what a job's ID token is exchanged for. That is kept in memory alone, so that each
//! command of a job does it anew.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::error::Error;
use crate::cli::output::duration;

/// What a credential lives at least and at most, whatever its ID token says.
const LIFE: (TimeDelta, TimeDelta) = (TimeDelta::minutes(5), TimeDelta::hours(1));

/// What somebody has to show.
#[derive(Debug, Clone)]
pub enum Proof {
    /// A token.
    Token(SecretString),
    /// A job's ID token.
    IdToken(SecretString),
    /// Nothing: who asks wants to be let in.
    Nothing,
}

/// What a request is let in by; cheap to clone.
#[derive(Debug, Clone)]
pub enum Access {
    /// A header that is known.
    Known(HeaderValue),
    /// One that the ID token is exchanged for when it is first needed.
    Exchanged { id_token: SecretString, header: Arc<Mutex<Option<HeaderValue>>> },
    /// Nothing.
    Open,
}

/// What a server answers to an exchange.
#[derive(Deserialize)]
pub struct Exchanged {
    pub token: SecretString,
}

impl Access {
    /// By what somebody has to show.
    pub fn by(proof: &Proof) -> Result<Self, Error> {
        Ok(match proof {
            Proof::Token(token) => Self::Known(bearer(token)?),
            Proof::Nothing => Self::Open,
            Proof::IdToken(id_token) => {
                Self::Exchanged { id_token: id_token.clone(), header: Arc::default() }
            }
        })
    }

    /// Fails when somebody would wait for longer than their credential lives: they would be turned away at the very end.
    pub fn refuse_wait(&self, wait: Duration, now: DateTime<Utc>) -> Result<(), Error> {
        let Self::Exchanged { id_token, .. } = self else { return Ok(()) };
        let Some(ends) = expiry(id_token.expose_secret()) else { return Ok(()) };
        let life = (ends - now).clamp(LIFE.0, LIFE.1);
        if TimeDelta::from_std(wait).is_ok_and(|wait| wait <= life) {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "--wait is longer than the job's ID token lets this go on ({}): wait for no longer than that, and let the job be \
             tried again; or use a token (WAYBILL_TOKEN)",
            duration(life)
        )))
    }
}

/// The header of a token.
pub fn bearer(token: &SecretString) -> Result<HeaderValue, Error> {
    let mut header = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
        .map_err(|_invalid| Error::Usage("the token holds characters that no token has".into()))?;
    header.set_sensitive(true);
    Ok(header)
}

/// When an ID token says that it ends. The server judges it; this is only to know in time.
fn expiry(id_token: &str) -> Option<DateTime<Utc>> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let claims = URL_SAFE_NO_PAD.decode(id_token.split('.').nth(1)?).ok()?;
    let Claims { exp } = serde_json::from_slice(&claims).ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "the fraction of a second does not count")]
    DateTime::from_timestamp(exp as i64, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_longer_than_their_credential_lives() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let refused = |life: i64, wait: u64| {
            let claims = format!("{{\"exp\":{}}}", 1_800_000_000 + life);
            let id_token = format!("e30.{}.eA", URL_SAFE_NO_PAD.encode(claims)).into();
            let access = Access::by(&Proof::IdToken(id_token)).unwrap();
            access.refuse_wait(Duration::from_secs(wait), now).is_err()
        };
        for (life, wait) in [(300, 300), (1200, 1200), (30, 300), (86_400, 3600), (300, 0)] {
            assert!(!refused(life, wait), "{life} {wait}");
        }
        for (life, wait) in [(300, 301), (1200, 1201), (86_400, 3601)] {
            assert!(refused(life, wait), "{life} {wait}");
        }
        let token = Access::by(&Proof::Token("wb_x".into())).unwrap();
        assert!(token.refuse_wait(Duration::from_hours(9), now).is_ok());
    }

    #[test]
    fn no_secret_is_in_debug_output() {
        for proof in [Proof::Token("hunter2".into()), Proof::IdToken("hunter2".into())] {
            assert!(!format!("{proof:?} {:?}", Access::by(&proof).unwrap()).contains("hunter2"));
        }
    }
}
