//! Who asks: somebody's token, a pipeline that showed its CI's ID token, or a person who signed in.

pub mod claims;
pub mod trust;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{person::Person, text::SHORT_TEXT_MAX};

/// By what somebody was recognised, with what only that has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// By a token that somebody made for them.
    Token,
    /// A pipeline, by what it was given for its ID token.
    Pipeline(Pipeline),
    /// A person who signed in.
    Session(Session),
}

/// What is known of a pipeline besides its rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// The trust that let it in.
    pub trust: Uuid,
    /// The issuer that vouches for it.
    pub issuer: String,
    /// The commit that its ID token names: it registers releases of no other. None where it names none.
    pub commit: Option<String>,
    /// The subject of whoever is proved to have started it; none where nobody is.
    pub initiator: Option<String>,
    /// Until when it may heartbeat, finish and read what it started, though its time is over.
    pub lingers_until: DateTime<Utc>,
    /// Whether its time is over, so that nothing else is left to it.
    pub is_lingering: bool,
}

/// What is known of a session besides its rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The person's name, as the issuer last gave it.
    pub shown_name: Option<String>,
    /// How the person signed in.
    pub sign_in: SignIn,
    /// When it ends unless it is used again.
    pub idle_until: DateTime<Utc>,
    /// Where it was begun: a browser, or the machine of a command line.
    pub place: Option<String>,
}

/// How a person signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignIn {
    /// By pasting a token: this one, without which the session is nothing.
    Token(Uuid),
    /// At an issuer, by its name in the configuration.
    Issuer(String),
}

impl Session {
    /// The issuer that vouched for the person, if one did.
    pub fn issuer(&self) -> Option<&str> {
        match &self.sign_in {
            SignIn::Issuer(name) => Some(name),
            SignIn::Token(_) => None,
        }
    }

    /// The token that the person signed in with, if they did.
    pub fn token(&self) -> Option<Uuid> {
        match self.sign_in {
            SignIn::Token(token) => Some(token),
            SignIn::Issuer(_) => None,
        }
    }
}

/// What is kept of a subject that is longer than a subject may be; its hash follows.
const SUBJECT_KEPT: usize = 150;

/// The subject of whom an issuer knows by `sub`, unlike any of another issuer's and of any token. Of one that is too long the
/// beginning is kept, with `hash` over all of it.
pub fn subject(issuer: &str, sub: &str, hash: impl FnOnce(&str) -> String) -> String {
    let whole = format!("{issuer}:{sub}");
    if whole.chars().count() <= SHORT_TEXT_MAX {
        return whole;
    }
    let hash: String = hash(&whole).chars().take(32).collect();
    let kept: String = whole.chars().take(SUBJECT_KEPT).collect();
    format!("{kept}…{hash}")
}

/// Which of these issuers a subject reads as if it had been vouched for by.
pub fn poses_as<'a>(subject: &str, issuers: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let subject = Person::of(subject);
    issuers.into_iter().find(|issuer| subject.is_of(&Person::of(issuer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_that_is_too_long_stays_apart_from_others() {
        let hash = |text: &str| format!("{:0<64x}", text.len());
        assert_eq!(subject("gitlab", "42", hash), "gitlab:42");
        let (one, other) =
            (subject("gitlab", &"a".repeat(400), hash), subject("gitlab", &"a".repeat(401), hash));
        assert_ne!(one, other);
        assert!(one.chars().count() <= SHORT_TEXT_MAX, "{one}");
    }

    #[test]
    fn no_spelling_of_an_issuer_is_free() {
        let issuers = ["gitlab", "github"];
        for subject in [
            "gitlab:42",
            "GitLab:42",
            "gitlab\u{200b}:42",
            " gitlab :42",
            "ｇｉｔｌａｂ：42",
            "gitlab\u{2a74}42",
            "gitlab:",
        ] {
            assert_eq!(poses_as(subject, issuers), Some("gitlab"), "{subject}");
        }
        for subject in ["gitlab", "gitlab-ci:42", "jenkins:gitlab:42", ":gitlab", ""] {
            assert_eq!(poses_as(subject, issuers), None, "{subject}");
        }
    }
}
