//! Who did it: the token that acted and the subject behind it, and what the token lets them do.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{
    identity::{Identity, Pipeline, Session},
    scope::Narrowing,
    vocabulary::Scope,
};

/// What somebody was let in by, and the person or pipeline behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The token's name; `trust:` and its name, where a trust let a pipeline in.
    pub token: String,
    /// The person or pipeline that holds it.
    pub subject: String,
}

impl Actor {
    /// The server itself: what it does by its own clock, such as letting leases run out.
    pub fn server() -> Self {
        Self { token: "waybill".to_owned(), subject: "waybill".to_owned() }
    }
}

/// Who asks, as the request's rights see them.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The credential's id; idempotency keys and rate limits count by it.
    pub token_id: Uuid,
    /// By what they were recognised.
    pub identity: Identity,
    /// Whom the ledger names.
    pub actor: Actor,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// The groups it approves for.
    pub groups: BTreeSet<String>,
    /// What it is narrowed to.
    pub narrowing: Narrowing,
}

impl Principal {
    /// Whether the scope is held, by itself or through `admin`.
    pub fn holds(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    /// What is known of a pipeline, if it is one.
    pub fn pipeline(&self) -> Option<&Pipeline> {
        match &self.identity {
            Identity::Pipeline(pipeline) => Some(pipeline),
            Identity::Token | Identity::Session(_) => None,
        }
    }

    /// What is known of a session, if it is one.
    pub fn session(&self) -> Option<&Session> {
        match &self.identity {
            Identity::Session(session) => Some(session),
            Identity::Token | Identity::Pipeline(_) => None,
        }
    }

    /// Whether nothing is left to a pipeline but to see through what it started.
    pub fn is_lingering(&self) -> bool {
        self.pipeline().is_some_and(|pipeline| pipeline.is_lingering)
    }

    /// Who set something off, given who they say it was. A token may say it of anybody; of a pipeline it is whoever its
    /// issuer proves, or nobody that is known; a person is the one.
    pub fn initiator(&self, said: Option<String>) -> Option<String> {
        match &self.identity {
            Identity::Token => said,
            Identity::Pipeline(pipeline) => pipeline.initiator.clone(),
            Identity::Session(_) => Some(self.actor.subject.clone()),
        }
    }
}
