//! The claims of an ID token (OpenID Connect Core 1.0 §2, RFC 7519 §4.1), and when they are good.

use std::ops::RangeInclusive;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

/// The times that an issuer can mean, to the end of the year 9999: others would not fit into what is computed and kept.
const SECONDS: RangeInclusive<i64> = 0..=253_402_300_799;

/// How far the issuer's clock may be off.
pub const LEEWAY: TimeDelta = TimeDelta::seconds(60);

/// The longest text that an error repeats of a claim, in characters.
const SHOWN_MAX: usize = 200;

/// The claims of an ID token whose issuer, audience and times are right.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    all: Map<String, Value>,
    subject: String,
    expires_at: DateTime<Utc>,
}

/// A claim that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ID token's {claim} must be {expected}; it is {given}")]
pub struct Invalid {
    /// Which, or which part of the token.
    pub claim: String,
    /// What it must be.
    pub expected: String,
    /// What it is.
    pub given: String,
}

impl Invalid {
    /// A claim that is not as it must be.
    pub fn new(claim: &str, expected: impl Into<String>, given: impl Into<String>) -> Self {
        Self { claim: claim.to_owned(), expected: expected.into(), given: given.into() }
    }
}

/// What an ID token must say of itself.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The issuer's URL, to the letter.
    pub issuer: &'a str,
    /// Whom it must be meant for.
    pub audience: &'a str,
    /// The moment at which it is shown.
    pub now: DateTime<Utc>,
}

/// A claim's value in a few words.
pub fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else { return "missing".to_owned() };
    let text = value.to_string();
    if text.chars().count() <= SHOWN_MAX {
        return text;
    }
    text.chars().take(SHOWN_MAX).chain(['…']).collect()
}

/// A number of seconds since 1970, which may have a fraction (RFC 7519 §2, `NumericDate`).
fn moment(value: Option<&Value>) -> Option<DateTime<Utc>> {
    let value = value?;
    let seconds = value.as_i64().or_else(|| {
        let seconds = value.as_f64().filter(|seconds| seconds.abs() < 1e12)?;
        #[expect(clippy::cast_possible_truncation, reason = "the fraction of a second does not count")]
        Some(seconds.floor() as i64)
    })?;
    DateTime::from_timestamp(seconds, 0).filter(|_| SECONDS.contains(&seconds))
}

fn clock(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

impl Claims {
    /// Takes the claims if they are the issuer's own, meant for us, and good now.
    pub fn check(all: Map<String, Value>, expected: Expected<'_>) -> Result<Self, Invalid> {
        let Expected { issuer, audience, now } = expected;
        let of = |claim: &str| all.get(claim);
        if of("iss").and_then(Value::as_str) != Some(issuer) {
            return Err(Invalid::new("iss", format!("{issuer:?}"), shown(of("iss"))));
        }
        let is_meant = match of("aud") {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(several)) => several.iter().any(|one| one == audience),
            _ => false,
        };
        if !is_meant {
            let expected = format!("{audience:?}, or hold it");
            return Err(Invalid::new("aud", expected, shown(of("aud"))));
        }
        let Some(expires_at) = moment(of("exp")) else {
            return Err(Invalid::new("exp", "a time in seconds since 1970", shown(of("exp"))));
        };
        if expires_at + LEEWAY <= now {
            return Err(Invalid::new("exp", format!("later than {}", clock(now)), clock(expires_at)));
        }
        for (claim, is_needed) in [("nbf", false), ("iat", true)] {
            match (of(claim), moment(of(claim))) {
                (None, _) if !is_needed => {}
                (_, None) => {
                    return Err(Invalid::new(claim, "a time in seconds since 1970", shown(of(claim))));
                }
                (_, Some(at)) if at - LEEWAY > now => {
                    return Err(Invalid::new(claim, format!("no later than {}", clock(now)), clock(at)));
                }
                (_, Some(_)) => {}
            }
        }
        let subject = of("sub").and_then(Value::as_str).filter(|sub| !sub.trim().is_empty());
        let Some(subject) = subject.filter(|sub| !sub.chars().any(char::is_control)) else {
            return Err(Invalid::new("sub", "a text that says who it is", shown(of("sub"))));
        };
        let subject = subject.to_owned();
        Ok(Self { all, subject, expires_at })
    }

    /// What the claim of this name says, or the one that a JSON pointer (RFC 6901) leads to.
    pub fn get(&self, claim: &str) -> Option<&Value> {
        if !claim.starts_with('/') {
            return self.all.get(claim);
        }
        let mut parts = claim.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"));
        let first = self.all.get(&parts.next()?)?;
        parts.try_fold(first, |value, part| match value {
            Value::Object(members) => members.get(&part),
            Value::Array(items) => items.get(part.parse::<usize>().ok()?),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        })
    }

    /// What a claim says, as text: a number or a truth value as JSON writes it. None where it is missing or holds several.
    pub fn text(&self, claim: &str) -> Option<String> {
        match self.get(claim)? {
            Value::String(text) => Some(text.clone()),
            value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// Whom it is about, as the issuer knows them.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// When it ends.
    pub fn expires_at(&self) -> DateTime<Utc> {
        self.expires_at
    }

    /// All of them.
    pub fn all(&self) -> &Map<String, Value> {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_800_000_000;
    const ISSUER: &str = "https://gitlab.example.com";
    const US: &str = "https://waybill.example.com";

    fn check(change: &Value) -> Result<Claims, Invalid> {
        let mut claims = json!({ "iss": ISSUER, "aud": US, "sub": "project_path:a/b:ref_type:branch:ref:main",
            "exp": NOW + 300, "nbf": NOW - 5, "iat": NOW, "user_id": "42", "nested.io": { "a/b": [{ "uid": "u" }] } });
        for (name, value) in change.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        let now = DateTime::from_timestamp(NOW, 0).unwrap();
        let expected = Expected { issuer: ISSUER, audience: US, now };
        Claims::check(claims.as_object().unwrap().clone(), expected)
    }

    #[test]
    fn claims_that_are_right_are_taken() {
        for change in [
            json!({}),
            json!({ "aud": [US] }),
            json!({ "aud": ["https://other.example.com", US] }),
            json!({ "nbf": null }),
            json!({ "exp": NOW - 59 }),
            json!({ "iat": NOW + 60, "nbf": NOW + 60 }),
            json!({ "exp": 1_800_000_000.5, "iat": 1_799_999_999.25 }),
        ] {
            assert!(check(&change).is_ok(), "{change}");
        }
    }

    #[test]
    fn each_claim_that_is_wrong_is_named() {
        for (claim, change) in [
            ("iss", json!({ "iss": format!("{ISSUER}/") })),
            ("iss", json!({ "iss": "https://gitlab.example.org" })),
            ("iss", json!({ "iss": null })),
            ("iss", json!({ "iss": [ISSUER] })),
            ("aud", json!({ "aud": "https://other.example.com" })),
            ("aud", json!({ "aud": format!("{US}/") })),
            ("aud", json!({ "aud": [] })),
            ("aud", json!({ "aud": [[US]] })),
            ("aud", json!({ "aud": null })),
            ("exp", json!({ "exp": NOW - 60 })),
            ("exp", json!({ "exp": null })),
            ("exp", json!({ "exp": 8_210_266_876_799_i64 })),
            ("nbf", json!({ "nbf": -8_334_601_228_800_i64 })),
            ("exp", json!({ "exp": "1900000000" })),
            ("exp", json!({ "exp": 1e300 })),
            ("nbf", json!({ "nbf": NOW + 61 })),
            ("nbf", json!({ "nbf": "now" })),
            ("iat", json!({ "iat": NOW + 61 })),
            ("iat", json!({ "iat": null })),
            ("sub", json!({ "sub": null })),
            ("sub", json!({ "sub": " " })),
            ("sub", json!({ "sub": 42 })),
            ("sub", json!({ "sub": "a\nb" })),
        ] {
            let wrong = check(&change).unwrap_err();
            assert_eq!(wrong.claim, claim, "{change}: {wrong}");
        }
    }

    #[test]
    fn a_nested_claim_is_found_by_its_pointer() {
        let claims = check(&json!({ "flag": true, "number": 7 })).unwrap();
        assert_eq!(claims.text("/nested.io/a~1b/0/uid").as_deref(), Some("u"));
        assert_eq!(claims.text("/nested.io/a~1b/1/uid"), None);
        assert_eq!(claims.text("/nested.io"), None);
        assert_eq!(claims.text("/user_id").as_deref(), Some("42"));
        assert_eq!(
            (claims.text("flag").as_deref(), claims.text("number").as_deref()),
            (Some("true"), Some("7"))
        );
    }
}
