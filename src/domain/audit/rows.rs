//! The rows that events tell of, with the members that are compared. A heartbeat leaves no event, so that the lease and
//! what a pipeline last said of a running deployment are not among them.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::domain::{
    approval::NamedApproval, credential::Credential, deployment::NamedDeployment, environment::Environment,
    event::Event, freeze::FreezeWindow, json::merged, release::Release, scan::Scan, service::Service,
    waiver::Waiver,
};

/// Members by name.
pub type Members = Map<String, Value>;

/// Which row: how its events name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A service, by its name.
    Service(String),
    /// An environment, by its name.
    Environment(String),
    /// A release, by its service and version.
    Release(String, String),
    /// A deployment.
    Deployment(Uuid),
    /// An approval or a rejection.
    Approval(Uuid),
    /// A freeze window.
    Freeze(Uuid),
    /// A waiver.
    Waiver(Uuid),
    /// A token.
    Token(Uuid),
    /// A scan, by service, version, scanner, and the moment at which it came on record.
    Scan(String, String, String, DateTime<Utc>),
}

impl Key {
    /// The row that an event tells of, given what its data says; none when it tells of none that is compared.
    pub fn of(event: &Event, data: &Value) -> Option<Self> {
        let id = || data.get("id")?.as_str()?.parse().ok();
        let release = || event.service.clone().zip(event.version.clone());
        match event.kind.split_once('.')?.0 {
            "service" => event.service.clone().map(Self::Service),
            "environment" | "policy" | "lockdown" => event.environment.clone().map(Self::Environment),
            "release" => release().map(|(service, version)| Self::Release(service, version)),
            "deployment" => event.deployment_id.map(Self::Deployment),
            "approval" => id().map(Self::Approval),
            "freeze" => id().map(Self::Freeze),
            "waiver" => id().map(Self::Waiver),
            "token" => id().map(Self::Token),
            "scan" => {
                let scanner = data.get("scanner")?.as_str()?.to_owned();
                release().map(|(service, version)| Self::Scan(service, version, scanner, event.at))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => write!(f, "service {name}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Release(service, version) => write!(f, "release {version} of {service}"),
            Self::Deployment(id) => write!(f, "deployment {id}"),
            Self::Approval(id) => write!(f, "approval {id}"),
            Self::Freeze(id) => write!(f, "freeze window {id}"),
            Self::Waiver(id) => write!(f, "waiver {id}"),
            Self::Token(id) => write!(f, "token {id}"),
            Self::Scan(service, version, scanner, at) => {
                let at = at.to_rfc3339_opts(SecondsFormat::Micros, true);
                write!(f, "scan of {version} of {service} by {scanner} at {at}")
            }
        }
    }
}

/// A row as it is.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which.
    pub key: Key,
    /// What it holds.
    pub members: Members,
}

impl Row {
    fn new(key: Key, members: Value) -> Self {
        let Value::Object(members) = members else { return Self { key, members: Members::new() } };
        Self { key, members }
    }
}

impl From<&Service> for Row {
    fn from(row: &Service) -> Self {
        let members = json!({
            "description": row.description, "created_at": row.created_at, "updated_at": row.updated_at,
            "archived_at": row.archived_at,
        });
        Self::new(Key::Service(row.name.to_string()), members)
    }
}

impl From<&Environment> for Row {
    fn from(row: &Environment) -> Self {
        let set = row.policy.version > 0;
        let members = json!({
            "settings": row.settings, "unconfirmed": row.unconfirmed, "created_at": row.created_at,
            "updated_at": row.updated_at, "archived_at": row.archived_at, "policy_version": row.policy.version,
            "policy": set.then_some(&row.policy.policy), "lockdown": row.lockdown,
        });
        Self::new(Key::Environment(row.name.to_string()), members)
    }
}

/// A release with its service's name, and with what its row says its artefact is.
impl From<&(String, Release, String)> for Row {
    fn from((service, row, artefact): &(String, Release, String)) -> Self {
        let members = json!({
            "commit_sha": row.identity.commit_sha, "image": row.identity.image, "artefact": artefact,
            "number": row.number, "ordered_at": row.ordered_at, "actor": row.actor, "created_at": row.created_at,
            "initiated_by": row.description.initiated_by, "image_added_by": row.image_added_by,
            "locations": row.locations, "platforms": row.platforms,
        });
        Self::new(Key::Release(service.clone(), row.identity.version.to_string()), members)
    }
}

impl From<&NamedDeployment> for Row {
    fn from(named: &NamedDeployment) -> Self {
        let row = &named.deployment;
        let (times, standing) = (&row.times, &row.standing);
        let members = json!({
            "service": named.service, "environment": named.environment,
            "version": named.release.version, "image": named.release.image,
            "artefact": row.artefact, "status": row.status, "kind": row.kind,
            "override_reason": row.override_reason, "lease_seconds": row.lease_seconds, "decision_id": row.decision_id, "actor": row.actor,
            "message": row.progress.message, "started_at": times.started_at, "finished_at": times.finished_at,
            "expired_at": times.expired_at, "reverts_since": times.reverts_since,
            "recorded": standing.recorded, "ungated": standing.ungated, "credited": standing.credited,
            "verified": standing.verified, "preempted": standing.preempted,
            "late_status": standing.late_status,
        });
        Self::new(Key::Deployment(row.id), merged(members, &row.plan))
    }
}

impl From<&NamedApproval> for Row {
    fn from(named: &NamedApproval) -> Self {
        let row = &named.approval;
        let members = json!({
            "service": named.service, "version": named.version, "environment": named.environment,
            "decision": row.voice, "comment": row.comment, "groups": row.groups, "image": row.image, "actor": row.actor,
            "created_at": row.created_at, "withdrawn_at": row.withdrawn_at,
        });
        Self::new(Key::Approval(row.id), members)
    }
}

impl From<&FreezeWindow> for Row {
    fn from(row: &FreezeWindow) -> Self {
        let members = json!({
            "window": row.definition, "actor": row.actor, "created_at": row.created_at,
            "updated_at": row.updated_at,
        });
        Self::new(Key::Freeze(row.id), members)
    }
}

impl From<&Waiver> for Row {
    fn from(row: &Waiver) -> Self {
        let members = json!({
            "waiver": row.definition, "actor": row.actor, "created_at": row.created_at,
            "withdrawn_at": row.withdrawn_at,
        });
        Self::new(Key::Waiver(row.id), members)
    }
}

/// A token.
impl From<&Credential> for Row {
    fn from(row: &Credential) -> Self {
        let principal = &row.principal;
        let members = json!({
            "name": principal.actor.token, "subject": principal.actor.subject, "scopes": principal.scopes,
            "groups": principal.groups, "services": principal.narrowing.services,
            "environments": principal.narrowing.environments, "expires_at": row.expires_at,
            "created_at": row.created_at, "revoked_at": row.revoked_at,
        });
        Self::new(Key::Token(principal.token_id), members)
    }
}

/// A scan with its service's name.
impl From<&(String, Scan)> for Row {
    fn from((service, row): &(String, Scan)) -> Self {
        let members = json!({
            "format": row.format, "platform": row.platform, "scanned_at": row.scanned_at, "counts": row.counts(),
            "latest": row.latest(), "actor": row.actor,
        });
        let (version, scanner) = (row.version.clone(), row.scanner.clone());
        let mut told = Self::new(Key::Scan(service.clone(), version, scanner, row.created_at), members);
        told.members.extend(row.parts.iter().map(|part| (part.class.to_string(), json!(part.counts))));
        let fixable = row.parts.iter().map(|part| (format!("{} fixable", part.class), json!(part.fixable)));
        told.members.extend(fixable);
        told
    }
}
