//! What a browser keeps while its person is at the issuer: one random secret, from which everything else is derived, so that
//! nothing is stored and any replica can go on with it.
//!
//! `state` covers the whole of it, so that what comes back from the issuer goes with what this very browser set out with
//! (RFC 9700 §4.7); `nonce` binds the ID token to it, and the verifier the code (RFC 7636).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::domain::sign_in::back::Back;

/// How long somebody may take at the issuer.
pub const GOOD_FOR: TimeDelta = TimeDelta::minutes(10);

/// So many may be under way in one browser, as in several tabs; the oldest makes room.
const AT_ONCE: usize = 4;

/// One sign-in under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// 256 random bits in base64url.
    secret: String,
    begun: DateTime<Utc>,
    /// Where it leads.
    pub back: Back,
}

impl Flow {
    /// Begins one.
    pub fn begin(random: [u8; 32], now: DateTime<Utc>, back: Back) -> Self {
        let begun = DateTime::from_timestamp(now.timestamp(), 0).unwrap_or(now);
        Self { secret: URL_SAFE_NO_PAD.encode(random), begun, back }
    }

    /// What the issuer sends back with the code.
    pub fn state(&self) -> String {
        self.derived("state")
    }

    /// What the issuer writes into the ID token.
    pub fn nonce(&self) -> String {
        self.derived("nonce")
    }

    /// What proves to the issuer that the code was asked for by us.
    pub fn verifier(&self) -> String {
        self.derived("verifier")
    }

    /// What the issuer is shown of the verifier beforehand.
    pub fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier()))
    }

    /// Whether its time is over, or has not come: the secret of a clock that was wrong.
    pub fn is_over(&self, now: DateTime<Utc>) -> bool {
        !(-GOOD_FOR..GOOD_FOR).contains(&(now - self.begun))
    }

    fn derived(&self, what: &str) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(format!("waybill {what}\n{}", self.written())))
    }

    fn written(&self) -> String {
        let back = URL_SAFE_NO_PAD.encode(self.back.as_str());
        format!("{}.{}.{back}", self.secret, self.begun.timestamp())
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (secret, begun, back) = (parts.next()?, parts.next()?, parts.next()?);
        let back = String::from_utf8(URL_SAFE_NO_PAD.decode(back).ok()?).ok()?;
        let whole =
            parts.next().is_none() && URL_SAFE_NO_PAD.decode(secret).is_ok_and(|bytes| bytes.len() == 32);
        whole.then_some(())?;
        let begun = DateTime::from_timestamp(begun.parse().ok()?, 0)?;
        Some(Self { secret: secret.to_owned(), begun, back: Back::parse(&back)? })
    }
}

/// The sign-ins under way in one browser, as its cookie has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flows(Vec<Flow>);

impl Flows {
    /// Reads the cookie; what cannot be read is not there.
    pub fn read(cookie: &str) -> Self {
        Self(cookie.split('~').take(AT_ONCE).filter_map(Flow::read).collect())
    }

    /// As the cookie has them.
    pub fn written(&self) -> String {
        self.0.iter().map(Flow::written).collect::<Vec<_>>().join("~")
    }

    /// Adds one. What is over goes, and the oldest where there are too many.
    #[must_use]
    pub fn with(mut self, flow: Flow) -> Self {
        self.0.retain(|other| !other.is_over(flow.begun));
        self.0.insert(0, flow);
        self.0.truncate(AT_ONCE);
        self
    }

    /// Takes out the one that this state comes from.
    pub fn take(&mut self, state: &str) -> Option<Flow> {
        let is_it = |flow: &Flow| bool::from(flow.state().as_bytes().ct_eq(state.as_bytes()));
        let place = self.0.iter().position(is_it)?;
        Some(self.0.remove(place))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    fn flow(random: u8, minutes: i64) -> Flow {
        Flow::begin([random; 32], at(minutes), Back::parse("/account?a=~.b").unwrap())
    }

    #[test]
    fn what_is_shown_tells_nothing_of_what_is_not() {
        let flow = flow(1, 0);
        let shown = [flow.state(), flow.nonce(), flow.challenge(), flow.verifier()];
        for (n, one) in shown.iter().enumerate() {
            assert_eq!(one.len(), 43, "at least 43 characters (RFC 7636 §4.1)");
            assert!(shown.iter().skip(n + 1).all(|other| other != one));
        }
    }

    #[test]
    fn a_flow_comes_back_as_it_went() {
        let (one, other) = (flow(1, 0), flow(2, 1));
        let flows = Flows::default().with(one.clone()).with(other.clone());
        let mut again = Flows::read(&flows.written());
        assert_eq!(again, flows);
        assert_eq!(again.take(&one.state()), Some(one.clone()));
        assert_eq!(again.take(&one.state()), None, "each is taken once");
        assert_eq!(again.take("wrong"), None);
        assert_eq!(again.take(&other.state()), Some(other));
        assert!(again.is_empty());
    }

    #[test]
    fn state_covers_where_it_leads_and_when_it_began() {
        let flow = flow(1, 0);
        let states = [
            flow.state(),
            Flow { back: Back::default(), ..flow.clone() }.state(),
            Flow { begun: at(9), ..flow.clone() }.state(),
        ];
        assert!(
            states.iter().enumerate().all(|(n, one)| states.iter().skip(n + 1).all(|other| other != one))
        );
    }

    #[test]
    fn it_is_over_after_ten_minutes() {
        let flow = flow(1, 0);
        assert!(!flow.is_over(at(0)) && !flow.is_over(at(9)) && flow.is_over(at(10)));
        assert!(flow.is_over(at(-11)), "a clock that was far ahead");
    }

    #[test]
    fn a_browser_keeps_a_few() {
        let many = (0..9).fold(Flows::default(), |flows, n| flows.with(flow(n, 0)));
        assert_eq!(many.0.len(), AT_ONCE);
        assert_eq!(many.clone().with(flow(9, 20)).0.len(), 1, "those that are over go");
        assert!(many.written().len() < 1000);
    }

    #[test]
    fn a_cookie_that_is_none_of_ours_is_empty() {
        let whole = flow(1, 0).written();
        for cookie in ["", "~", "a.b.c", "....", &whole[1..], &format!("{whole}.x"), "é"] {
            assert!(Flows::read(cookie).is_empty(), "{cookie}");
        }
        let evil = format!("{}.0.{}", URL_SAFE_NO_PAD.encode([1; 32]), URL_SAFE_NO_PAD.encode("//evil.test"));
        assert!(Flows::read(&evil).is_empty());
    }
}
