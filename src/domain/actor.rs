//! Who did it: the token that acted and the subject behind it, and what the token lets them do.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{scope::Narrowing, vocabulary::Scope};

/// The token that did something, and the person or pipeline behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The token's name.
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

/// A token as the request's rights see it.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The token's id; idempotency keys and rate limits count by it.
    pub token_id: Uuid,
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
}
