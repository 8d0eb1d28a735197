//! The rows that events tell of, with the members that are compared. A heartbeat leaves no event, so that the lease and
//! what a pipeline last said of a running deployment are not among them.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::domain::{
    approval::NamedApproval,
    credential::Credential,
    declared::Declared,
    deployment::NamedDeployment,
    environment::Environment,
    event::{Event, EventKind},
    freeze::FreezeWindow,
    identity::{
        Identity,
        trust::{TRUST, Trust},
    },
    json::merged,
    release::Release,
    scan::Scan,
    service::Service,
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
    /// A trust.
    Trust(Uuid),
    /// A session.
    Session(Uuid),
    /// What a trust gave a pipeline.
    Pipeline(Uuid),
    /// A scan, by service, version, scanner, and the moment at which it came on record.
    Scan(String, String, String, DateTime<Utc>),
}

impl Key {
    /// The row that an event tells of, given what its data says; none when it tells of none that is compared.
    pub fn of(event: &Event, data: &Value) -> Option<Self> {
        let id_in = |member| data.get(member)?.as_str()?.parse().ok();
        let id = || id_in("id");
        let release = || event.service.clone().zip(event.version.clone());
        if event.kind == EventKind::TrustExchanged.as_str() {
            return id_in("credential").map(Self::Pipeline);
        }
        match event.kind.split_once('.')?.0 {
            "service" => event.service.clone().map(Self::Service),
            "environment" | "policy" | "lockdown" => event.environment.clone().map(Self::Environment),
            "release" => release().map(|(service, version)| Self::Release(service, version)),
            "deployment" => event.deployment_id.map(Self::Deployment),
            "approval" => id().map(Self::Approval),
            "freeze" => id().map(Self::Freeze),
            "waiver" => id().map(Self::Waiver),
            "token" => id().map(Self::Token),
            "trust" => id().map(Self::Trust),
            "session" => id().map(Self::Session),
            "scan" => {
                let scanner = data.get("scanner")?.as_str()?.to_owned();
                release().map(|(service, version)| Self::Scan(service, version, scanner, event.at))
            }
            _ => None,
        }
    }
}

impl Key {
    /// Its id, where it is known by one.
    pub fn id(&self) -> Option<Uuid> {
        match self {
            Self::Service(_) | Self::Environment(_) | Self::Release(..) | Self::Scan(..) => None,
            Self::Deployment(id)
            | Self::Approval(id)
            | Self::Freeze(id)
            | Self::Waiver(id)
            | Self::Token(id)
            | Self::Trust(id)
            | Self::Session(id)
            | Self::Pipeline(id) => Some(*id),
        }
    }

    /// Whether it is there for good. Freeze windows and trusts are deleted, sessions and what trusts gave are purged.
    pub fn is_lasting(&self) -> bool {
        !matches!(self, Self::Freeze(_) | Self::Trust(_) | Self::Session(_) | Self::Pipeline(_))
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
            Self::Trust(id) => write!(f, "trust {id}"),
            Self::Session(id) => write!(f, "session {id}"),
            Self::Pipeline(id) => write!(f, "pipeline's credential {id}"),
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
        declared(Key::Freeze(row.id), "window", row)
    }
}

impl From<&Trust> for Row {
    fn from(row: &Trust) -> Self {
        declared(Key::Trust(row.id), "trust", row)
    }
}

fn declared<D: Serialize>(key: Key, member: &str, row: &Declared<D>) -> Row {
    let members = json!({
        (member): row.definition, "actor": row.actor, "created_at": row.created_at, "updated_at": row.updated_at,
    });
    Row::new(key, members)
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

/// A token, a session or what a trust gave a pipeline.
impl From<&Credential> for Row {
    fn from(row: &Credential) -> Self {
        let principal = &row.principal;
        let id = principal.token_id;
        let (key, own) = match &principal.identity {
            Identity::Token => (Key::Token(id), json!({ "name": principal.actor.token })),
            Identity::Session(session) => {
                let own = json!({
                    "name": session.shown_name, "issuer": session.issuer(), "token": session.token(),
                    "place": session.place,
                });
                (Key::Session(id), own)
            }
            Identity::Pipeline(pipeline) => {
                let own = json!({
                    "trust": principal.actor.token.strip_prefix(TRUST), "trust_id": pipeline.trust,
                    "initiator": pipeline.initiator, "commit": pipeline.commit,
                    "lingers_until": pipeline.lingers_until,
                });
                (Key::Pipeline(id), own)
            }
        };
        let all = json!({
            "subject": principal.actor.subject, "scopes": principal.scopes, "groups": principal.groups,
            "services": principal.narrowing.services, "environments": principal.narrowing.environments,
            "expires_at": row.expires_at, "created_at": row.created_at, "revoked_at": row.revoked_at,
        });
        Self::new(key, merged(all, &own))
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
