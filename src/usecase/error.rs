//! Why a use case did not do what was asked.

use crate::{
    domain::{
        deployment::NamedDeployment, fault::Fault, gate::Decision, identity::claims::Invalid,
        revision::Expected,
    },
    issuer::Refused,
    store::error::{StoreError, Transient},
};

/// Every way a use case ends without its effect.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Some fields are wrong.
    #[error("the request has invalid fields")]
    Invalid(Vec<Fault>),
    /// Nothing of that name is there, or nothing that the token may see.
    #[error("there is no {what} {name}")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// Under which name.
        name: String,
        /// What to do about it, in sentences; empty where nothing can be done.
        remedy: String,
        /// What was given, and what is probably meant by it.
        meant: Option<Box<(String, String)>>,
    },
    /// The ledger's state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// The deployment's lease cannot be renewed, because it has ended.
    #[error("{detail}")]
    Lost {
        /// Why, and what can be done.
        detail: String,
        deployment: Box<NamedDeployment>,
        /// What was started in its target since, or put on record.
        taken_by: Option<Box<NamedDeployment>>,
    },
    /// The gate says no, as far as the caller may see why.
    #[error("the gate says no")]
    Denied(Box<Decision>),
    /// It was edited since it was read.
    #[error("{0}")]
    Stale(String),
    /// The token may not do it.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such token, or it is no longer good.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The ID token is not as it must be.
    #[error(transparent)]
    Identity(Invalid),
    /// No trust lets in whom the ID token is about, or not to do this.
    #[error("{0}")]
    Untrusted(String),
    /// Several trusts let them in, and none more than the others.
    #[error("{0}")]
    Ambiguous(String),
    /// The issuer cannot be asked who somebody is; the same a little later may work.
    #[error("{0}")]
    IssuerDown(String),
    /// A twin of the request, with the same idempotency key, was quicker: its answer is kept.
    #[error("the idempotency key was used meanwhile")]
    Repeated,
    /// Another transaction registered the same at the same moment; the same again works.
    #[error("another request registered the same")]
    Raced,
    /// Its environment is archived, and comes back with a deployment; revived, the same again works.
    #[error("the environment is archived")]
    Dormant,
    /// There is no room for it now; the same a little later may work.
    #[error("{0}")]
    Crowded(&'static str),
    /// The token holds as much of what all share as one may; the same a little later may work.
    #[error("{0}")]
    Greedy(&'static str),
    /// The database is busy or away; the same again may work.
    #[error(transparent)]
    Unavailable(StoreError),
    /// A statement failed that should not have: a defect of ours.
    #[error(transparent)]
    Internal(StoreError),
}

impl Error {
    /// Nothing of that name.
    pub fn not_found(what: &'static str, name: &(impl ToString + ?Sized)) -> Self {
        Self::missing(what, name, "")
    }

    /// Nothing of that name, and what to do about it.
    pub fn missing(what: &'static str, name: &(impl ToString + ?Sized), remedy: &str) -> Self {
        Self::NotFound { what, name: name.to_string(), remedy: remedy.to_owned(), meant: None }
    }

    /// The same, where the caller who gave one name probably means another.
    #[must_use]
    pub fn probably(mut self, given: &str, other: &str) -> Self {
        if let Self::NotFound { meant, .. } = &mut self {
            *meant = Some(Box::new((given.to_owned(), other.to_owned())));
        }
        self
    }

    /// A service or an environment is archived, and what that means for what was asked.
    pub fn archived(what: &str, name: impl std::fmt::Display, so: &str) -> Self {
        Self::Conflict(format!(
            "{what} {name} is archived; {so}. `waybill {what} revive {name}` brings it back, or `PATCH` with \
             {{\"archived\": false}}"
        ))
    }

    /// Fails where the revision is none that whoever edits it has read.
    pub fn if_edited(expected: &Expected, revision: i64) -> Result<(), Self> {
        if expected.admits(revision) {
            return Ok(());
        }
        Err(Self::Stale("it was edited since you read it; read it again and send its new ETag".to_owned()))
    }

    /// One field is wrong.
    pub fn invalid(pointer: &str, code: &'static str, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![Fault { pointer: pointer.to_owned(), code, detail: detail.into() }])
    }

    /// A unique key that is taken means that another request was quicker with the same.
    pub fn raced(error: StoreError) -> Self {
        if matches!(error, StoreError::Unique(_)) { Self::Raced } else { error.into() }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy(_)
            | StoreError::Unavailable(_)
            | StoreError::Unwritable(_)
            | StoreError::InDoubt(_) => Self::Unavailable(error),
            StoreError::Unique(_)
            | StoreError::Corrupt(_)
            | StoreError::HalfCopied
            | StoreError::OrphanedLog
            | StoreError::Other(_) => Self::Internal(error),
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Invalid(invalid) => Self::Identity(invalid),
            Refused::Unreachable { .. } => Self::IssuerDown(refused.to_string()),
        }
    }
}

impl Transient for Error {
    fn is_transient(&self) -> bool {
        match self {
            Self::Raced => true,
            Self::Unavailable(error) => error.is_transient(),
            Self::Invalid(_)
            | Self::NotFound { .. }
            | Self::Conflict(_)
            | Self::Lost { .. }
            | Self::Denied(_)
            | Self::Stale(_)
            | Self::Forbidden(_)
            | Self::Unauthenticated(_)
            | Self::Identity(_)
            | Self::Untrusted(_)
            | Self::Ambiguous(_)
            | Self::IssuerDown(_)
            | Self::Repeated
            | Self::Dormant
            | Self::Crowded(_)
            | Self::Greedy(_)
            | Self::Internal(_) => false,
        }
    }
}
