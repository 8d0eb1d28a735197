//! An event: one entry of the audit log, written with the change it tells of.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::domain::{actor::Actor, deployment::NamedDeployment, vocabulary::Status};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A service was registered.
    ServiceCreated,
    /// Its description was edited.
    ServiceUpdated,
    /// It was archived.
    ServiceArchived,
    /// It was brought back.
    ServiceRevived,
    /// An environment was registered.
    EnvironmentCreated,
    /// Its settings were edited.
    EnvironmentUpdated,
    /// It was archived.
    EnvironmentArchived,
    /// It was brought back.
    EnvironmentRevived,
    /// A release was registered.
    ReleaseRegistered,
    /// A release gained the image it lacked.
    ReleaseImageAdded,
    /// A release's commit became known with more digits.
    ReleaseCommitCompleted,
    /// A release's image was found in another repository.
    ReleaseLocated,
    /// A deployment started.
    DeploymentStarted,
    /// A deployment was put on record after the fact.
    DeploymentRecorded,
    /// A deployment whose lease had run out was heard of again, and goes on.
    DeploymentResumed,
    /// A deployment ended with this status.
    DeploymentEnded(Status),
    /// A result came in after a later deployment had started.
    DeploymentLate,
    /// The gate refused a start, for reasons that differ from those it gave just before.
    GateDenied,
    /// An environment's policy was set.
    PolicyUpdated,
    /// An environment was locked down.
    LockdownPlaced,
    /// Its lockdown was lifted.
    LockdownLifted,
    /// A freeze window was declared.
    FreezeCreated,
    /// It was edited.
    FreezeUpdated,
    /// It was taken back.
    FreezeDeleted,
    /// Somebody approved a release for an environment.
    ApprovalApproved,
    /// Somebody rejected a release for an environment.
    ApprovalRejected,
    /// Somebody withdrew what they had said.
    ApprovalWithdrawn,
    /// A scan of a release was put on record.
    ScanRecorded,
    /// A token was made.
    TokenCreated,
    /// A token was revoked.
    TokenRevoked,
}

impl EventKind {
    /// Its name, `<aggregate>.<what happened>`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServiceCreated => "service.created",
            Self::ServiceUpdated => "service.updated",
            Self::ServiceArchived => "service.archived",
            Self::ServiceRevived => "service.revived",
            Self::EnvironmentCreated => "environment.created",
            Self::EnvironmentUpdated => "environment.updated",
            Self::EnvironmentArchived => "environment.archived",
            Self::EnvironmentRevived => "environment.revived",
            Self::ReleaseRegistered => "release.registered",
            Self::ReleaseImageAdded => "release.image-added",
            Self::ReleaseCommitCompleted => "release.commit-completed",
            Self::ReleaseLocated => "release.located",
            Self::DeploymentStarted => "deployment.started",
            Self::DeploymentRecorded => "deployment.recorded",
            Self::DeploymentResumed => "deployment.resumed",
            Self::DeploymentEnded(Status::Succeeded) => "deployment.succeeded",
            Self::DeploymentEnded(Status::Failed) => "deployment.failed",
            Self::DeploymentEnded(Status::Canceled) => "deployment.canceled",
            Self::DeploymentEnded(Status::Expired | Status::Running) => "deployment.expired",
            Self::DeploymentLate => "deployment.late",
            Self::GateDenied => "gate.denied",
            Self::PolicyUpdated => "policy.updated",
            Self::LockdownPlaced => "lockdown.placed",
            Self::LockdownLifted => "lockdown.lifted",
            Self::FreezeCreated => "freeze.created",
            Self::FreezeUpdated => "freeze.updated",
            Self::FreezeDeleted => "freeze.deleted",
            Self::ApprovalApproved => "approval.approved",
            Self::ApprovalRejected => "approval.rejected",
            Self::ApprovalWithdrawn => "approval.withdrawn",
            Self::ScanRecorded => "scan.recorded",
            Self::TokenCreated => "token.created",
            Self::TokenRevoked => "token.revoked",
        }
    }
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
    /// Whether events about tokens are left out.
    pub without_tokens: bool,
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
