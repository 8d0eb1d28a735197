//! An event: one entry of the audit log, written with the change it tells of.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::domain::{
    actor::Actor,
    deployment::NamedDeployment,
    vocabulary::{Order, Status},
};

/// Makes the kinds of events from their names in the log, `<aggregate>.<what happened>`.
macro_rules! kinds {
    ($($(#[$doc:meta])+ $kind:ident = $name:literal,)+) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum EventKind {
            $($(#[$doc])+ $kind,)+
            /// A deployment ended with this status.
            DeploymentEnded(Status),
        }

        impl EventKind {
            /// The names of all kinds.
            pub const NAMES: &[&str] = &[
                $($name,)+
                "deployment.succeeded",
                "deployment.failed",
                "deployment.canceled",
                "deployment.expired",
            ];

            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                    Self::DeploymentEnded(Status::Succeeded) => "deployment.succeeded",
                    Self::DeploymentEnded(Status::Failed) => "deployment.failed",
                    Self::DeploymentEnded(Status::Canceled) => "deployment.canceled",
                    Self::DeploymentEnded(Status::Expired | Status::Running) => "deployment.expired",
                }
            }
        }
    };
}

kinds! {
    /// A service was registered.
    ServiceCreated = "service.created",
    /// Its description was edited.
    ServiceUpdated = "service.updated",
    /// It was archived.
    ServiceArchived = "service.archived",
    /// It was brought back.
    ServiceRevived = "service.revived",
    /// An environment was registered.
    EnvironmentCreated = "environment.created",
    /// Its settings were edited.
    EnvironmentUpdated = "environment.updated",
    /// It was archived.
    EnvironmentArchived = "environment.archived",
    /// It was brought back.
    EnvironmentRevived = "environment.revived",
    /// A release was registered.
    ReleaseRegistered = "release.registered",
    /// A release gained the image it lacked.
    ReleaseImageAdded = "release.image-added",
    /// A release's commit became known with more digits.
    ReleaseCommitCompleted = "release.commit-completed",
    /// A release's image was found in another repository.
    ReleaseLocated = "release.located",
    /// Platforms of its image were added.
    ReleasePlatformsAdded = "release.platforms-added",
    /// A deployment started.
    DeploymentStarted = "deployment.started",
    /// A deployment was put on record after the fact.
    DeploymentRecorded = "deployment.recorded",
    /// A deployment whose lease had run out was heard of again, and goes on.
    DeploymentResumed = "deployment.resumed",
    /// A result came in after a later deployment had started.
    DeploymentLate = "deployment.late",
    /// The gate refused a start, for reasons that differ from those it gave just before.
    GateDenied = "gate.denied",
    /// An environment's policy was set.
    PolicyUpdated = "policy.updated",
    /// An environment was locked down.
    LockdownPlaced = "lockdown.placed",
    /// Its lockdown was lifted.
    LockdownLifted = "lockdown.lifted",
    /// A freeze window was declared.
    FreezeCreated = "freeze.created",
    /// It was edited.
    FreezeUpdated = "freeze.updated",
    /// It was taken back.
    FreezeDeleted = "freeze.deleted",
    /// Somebody approved a release for an environment.
    ApprovalApproved = "approval.approved",
    /// Somebody rejected a release for an environment.
    ApprovalRejected = "approval.rejected",
    /// Somebody withdrew what they had said.
    ApprovalWithdrawn = "approval.withdrawn",
    /// A scan of a release was put on record.
    ScanRecorded = "scan.recorded",
    /// A vulnerability was waived for a while.
    WaiverCreated = "waiver.created",
    /// It was taken back.
    WaiverWithdrawn = "waiver.withdrawn",
    /// A token was made.
    TokenCreated = "token.created",
    /// A token was revoked.
    TokenRevoked = "token.revoked",
    /// Somebody signed in, or let a command line in.
    SessionCreated = "session.created",
    /// Somebody signed out, or their session was ended.
    SessionEnded = "session.ended",
    /// A trust was made.
    TrustCreated = "trust.created",
    /// It was edited.
    TrustUpdated = "trust.updated",
    /// It was deleted.
    TrustDeleted = "trust.deleted",
    /// It let a pipeline in, for its ID token.
    TrustExchanged = "trust.exchanged",
}

/// An event about to be written.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// What happened.
    pub kind: EventKind,
    /// Who did it.
    pub actor: Actor,
    /// The service it is about.
    pub service: Option<String>,
    /// The environment it is about.
    pub environment: Option<String>,
    /// The release it is about.
    pub version: Option<String>,
    /// The deployment it is about.
    pub deployment_id: Option<Uuid>,
    /// What changed.
    pub data: Value,
}

impl NewEvent {
    /// An event about nothing in particular yet.
    pub fn new(kind: EventKind, actor: Actor, data: Value) -> Self {
        Self { kind, actor, service: None, environment: None, version: None, deployment_id: None, data }
    }

    /// About this service.
    pub fn service(&mut self, name: &(impl ToString + ?Sized)) -> &mut Self {
        self.service = Some(name.to_string());
        self
    }

    /// About this environment.
    pub fn environment(&mut self, name: &(impl ToString + ?Sized)) -> &mut Self {
        self.environment = Some(name.to_string());
        self
    }

    /// About this release.
    pub fn version(&mut self, version: &(impl ToString + ?Sized)) -> &mut Self {
        self.version = Some(version.to_string());
        self
    }

    /// About this deployment, and all that it is about.
    pub fn deployment(&mut self, named: &NamedDeployment) -> &mut Self {
        self.deployment_id = Some(named.deployment.id);
        self.service(&named.service).environment(&named.environment).version(&named.release.version)
    }
}

/// What a list of events is confined to.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub kind: Option<String>,
    pub service: Option<String>,
    pub environment: Option<String>,
    /// Whether events about credentials are left out: about tokens, trusts and sessions.
    pub without_tokens: bool,
}

/// Which of the events that a list is confined to it holds.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    pub order: Order,
    /// The number that it goes on from, which it does not hold; none at the end that it begins at.
    pub from: Option<i64>,
    /// How many it holds at most.
    pub limit: u64,
}

/// An event as the log holds it.
#[derive(Clone, Debug)]
pub struct Event {
    pub id: Uuid,
    /// Its place in the chain; none until the relay has sealed it.
    pub seal: Option<Seal>,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What happened.
    pub kind: String,
    /// Who did it.
    pub actor: Actor,
    /// The service it is about.
    pub service: Option<String>,
    /// The environment it is about.
    pub environment: Option<String>,
    /// The release it is about.
    pub version: Option<String>,
    /// The deployment it is about.
    pub deployment_id: Option<Uuid>,
    /// The request that did it.
    pub request_id: Option<String>,
    /// What changed, as JSON text, byte for byte as it was written.
    pub data: String,
}

/// An event's place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Its number, from 1 without gaps.
    pub seq: i64,
    /// The hash of the event before it.
    pub prev_hash: String,
    /// Its own hash.
    pub hash: String,
}
