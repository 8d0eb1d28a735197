//! Who did it: the token that acted and the subject behind it, and what the token lets them do.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{identity::Identity, scope::Narrowing, vocabulary::Scope};

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

    /// Whether nothing is left to a pipeline but to see through what it started.
    pub fn is_lingering(&self) -> bool {
        matches!(&self.identity, Identity::Pipeline(pipeline) if pipeline.is_lingering)
    }
}
