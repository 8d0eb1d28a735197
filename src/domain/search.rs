//! A search: what a text that somebody types may mean. One box finds everything that has a name.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{
    scan::{can_be_id, spelled},
    text::{COMMIT_MAX, COMMIT_MIN, Version, digest},
};

/// The longest text that is searched for, in characters.
pub const SEARCH_MAX: usize = 200;

/// What a text may mean; nothing where it cannot be one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needle {
    /// Part of a service's name or owner, or of whoever deployed.
    pub text: String,
    /// A deployment or a decision.
    pub id: Option<Uuid>,
    /// A version of any service.
    pub version: Option<String>,
    /// The beginning of a commit.
    pub commit: Option<String>,
    /// An image's digest.
    pub digest: Option<String>,
    /// A vulnerability.
    pub vulnerability: Option<String>,
}

impl Needle {
    /// What a text may mean.
    pub fn of(text: &str) -> Self {
        let text: String = text.trim().chars().filter(|c| !c.is_control()).take(SEARCH_MAX).collect();
        let lower = text.to_ascii_lowercase();
        let is_hex = !lower.is_empty() && lower.chars().all(|c| c.is_ascii_hexdigit());
        // Of an image's whole name only the digest tells one from another.
        let named = lower.rsplit_once('@').map_or(lower.as_str(), |(_, digest)| digest);
        Self {
            id: Uuid::parse_str(&text).ok(),
            version: Version::parse(&text).ok().map(|version| version.to_string()),
            commit: (is_hex && (COMMIT_MIN..=COMMIT_MAX).contains(&lower.len())).then(|| lower.clone()),
            digest: digest(named).or_else(|| digest(&format!("sha256:{named}"))),
            vulnerability: can_be_id(&spelled(&text)).then(|| spelled(&text)),
            text,
        }
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

/// A service that was found.
#[derive(Clone, Debug)]
pub struct FoundService {
    pub name: String,
    /// Its name for people.
    pub display_name: Option<String>,
    pub owner: Option<String>,
}

/// A release that was found.
#[derive(Clone, Debug)]
pub struct FoundRelease {
    pub service: String,
    pub version: String,
    pub commit_sha: Option<String>,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
}

/// What a release is found by.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    /// Its version, as it is written.
    Version(&'a str),
    /// The beginning of its commit.
    Commit(&'a str),
    /// The digest of its image.
    Digest(&'a str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_means_what_it_can_be() {
        let commit = Needle::of(" 8F3C0AB ");
        assert_eq!(commit.commit.as_deref(), Some("8f3c0ab"));
        assert_eq!(commit.version.as_deref(), Some("8F3C0AB"), "a version may look like a commit");
        let hex = "a".repeat(64);
        for image in [format!("registry.example.com/shop@sha256:{hex}"), format!("sha256:{hex}"), hex.clone()]
        {
            assert_eq!(Needle::of(&image).digest, Some(format!("sha256:{hex}")), "{image}");
        }
        assert_eq!(Needle::of("cve-2021-44228").vulnerability.as_deref(), Some("CVE-2021-44228"));
        assert!(Needle::of("01997e1c-5b0a-7cc3-9d4e-2f1b6a7c8d90").id.is_some());
        let person = Needle::of("ada@example.com");
        assert_eq!(
            (person.version, person.commit, person.digest, person.vulnerability),
            (None, None, None, None)
        );
        assert!(Needle::of(" \u{7} ").is_empty());
    }
}
