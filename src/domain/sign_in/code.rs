//! The codes by which a command line is let in: one that a person reads off one screen and types into another (RFC 8628),
//! and one that a browser hands over on the same machine, each good once and only with the proof of who asked for it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// How long a code may be used.
pub const GOOD_FOR: TimeDelta = TimeDelta::minutes(10);

/// How long a command line waits before it asks again.
pub const INTERVAL: TimeDelta = TimeDelta::seconds(2);

/// What a code for people is made of: no vowels, so that it spells no word, and nothing that is taken for another (RFC 8628
/// §6.1). Twenty to the eighth are 34 bits.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// The length of a code for people without its hyphen.
const LENGTH: usize = 8;

/// A code for people, as `BCDF-GHJK`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCode(String);

impl UserCode {
    /// Makes one of random bytes.
    pub fn of(random: u64) -> Self {
        let letters = (0..LENGTH).scan(random, |rest, _| {
            let place = usize::try_from(*rest % 20).ok()?;
            *rest /= 20;
            LETTERS.get(place).map(|letter| char::from(*letter))
        });
        Self::spaced(letters)
    }

    /// Reads what a person has typed, in whatever case, with or without hyphen and blanks.
    pub fn parse(text: &str) -> Option<Self> {
        let typed = text.chars().filter(|c| !c.is_whitespace() && *c != '-');
        let typed: Vec<char> = typed.take(LENGTH + 1).map(|c| c.to_ascii_uppercase()).collect();
        let is_letter = |c: &char| c.is_ascii() && LETTERS.contains(&(*c as u8));
        (typed.len() == LENGTH && typed.iter().all(is_letter)).then(|| Self::spaced(typed))
    }

    fn spaced(letters: impl IntoIterator<Item = char>) -> Self {
        let half = |(n, c)| (n == LENGTH / 2).then_some('-').into_iter().chain([c]);
        Self(letters.into_iter().enumerate().flat_map(half).collect())
    }

    /// As people are shown it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a command line shows beforehand of the verifier that it proves itself by later (as RFC 7636 §4.2).
pub fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

/// Whether the text may be a challenge: 256 bits.
pub fn is_challenge(text: &str) -> bool {
    URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32)
}

/// Whether this verifier goes with the challenge.
pub fn proves(challenge_given: &str, verifier: &str) -> bool {
    challenge(verifier).as_bytes().ct_eq(challenge_given.as_bytes()).into()
}

/// When a code that is made now is no longer good.
pub fn expires_at(now: DateTime<Utc>) -> DateTime<Utc> {
    now + GOOD_FOR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        let code = UserCode::of(0x0123_4567_89ab_cdef);
        assert_eq!(code.as_str().len(), 9);
        let plain = code.as_str().replace('-', "").to_lowercase();
        for typed in [code.as_str(), &plain, &format!(" {} {} ", &plain[..4], &plain[4..])] {
            assert_eq!(UserCode::parse(typed).as_ref(), Some(&code), "{typed}");
        }
        for wrong in ["", "BCDF-GHJ", "BCDF-GHJKL", "ABCD-EFGH", "BCDF-GHJ1", "ÄCDF-GHJK"] {
            assert_eq!(UserCode::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn other_bytes_are_other_codes() {
        let codes: std::collections::BTreeSet<_> = (0..1000).map(|n| UserCode::of(n * 7919).0).collect();
        assert_eq!(codes.len(), 1000);
        assert_ne!(UserCode::of(u64::MAX), UserCode::of(u64::MAX - 1));
    }

    #[test]
    fn a_verifier_proves_its_own_challenge() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let shown = challenge(verifier);
        assert_eq!(shown, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert!(is_challenge(&shown) && proves(&shown, verifier));
        assert!(!proves(&shown, "other") && !proves(&shown, &shown));
        assert!(!is_challenge("short") && !is_challenge(""));
    }
}
