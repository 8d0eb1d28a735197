//! The hash chain of the audit log: each event's hash covers the one before it, so that no entry can be changed,
//! dropped or put in between without every later hash telling.

use chrono::SecondsFormat;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::domain::event::{Event, Seal};

/// What the first event's `prev_hash` is.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The hash of an event at its place in the chain: SHA-256 over the event as the API shows it but for its `hash`, as a
/// JSON object whose keys are in alphabetical order, without white space.
pub fn hash(event: &Event, seq: i64, prev_hash: &str) -> String {
    let data: Value = serde_json::from_str(&event.data).unwrap_or_else(|_| Value::String(event.data.clone()));
    let content = json!({
        "seq": seq,
        "prev_hash": prev_hash,
        "id": event.id,
        "at": event.at.to_rfc3339_opts(SecondsFormat::Micros, true),
        "kind": event.kind,
        "actor": event.actor,
        "service": event.service,
        "environment": event.environment,
        "version": event.version,
        "deployment_id": event.deployment_id,
        "request_id": event.request_id,
        "data": data,
    });
    hex::encode(Sha256::digest(content.to_string()))
}

/// Gives an event its place after the one that has `prev_hash`.
pub fn seal(event: &Event, seq: i64, prev_hash: &str) -> Seal {
    Seal { seq, prev_hash: prev_hash.to_owned(), hash: hash(event, seq, prev_hash) }
}

/// The last link that was found whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number; 0 before the first event.
    pub seq: i64,
    /// Its hash.
    pub hash: String,
}

impl Default for Link {
    fn default() -> Self {
        Self { seq: 0, hash: GENESIS.to_owned() }
    }
}

/// Where and how the chain is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A number is missing or there twice.
    #[error("event {expected} is missing: the chain goes on with {found}")]
    Gap {
        /// The number that should have come.
        expected: i64,
        /// The number that came.
        found: i64,
    },
    /// An event does not follow the one before it.
    #[error("event {seq} does not follow the one before it: its prev_hash is another")]
    Unlinked {
        /// Its number.
        seq: i64,
    },
    /// An event is not what it was when it was sealed.
    #[error("event {seq} was changed after it was sealed: its hash is another")]
    Altered {
        /// Its number.
        seq: i64,
    },
}

/// Checks that an event follows the link, and gives the next link.
pub fn follow(link: &Link, event: &Event, seal: &Seal) -> Result<Link, Broken> {
    let seq = seal.seq;
    if seq != link.seq + 1 {
        return Err(Broken::Gap { expected: link.seq + 1, found: seq });
    }
    if seal.prev_hash != link.hash {
        return Err(Broken::Unlinked { seq });
    }
    if seal.hash != hash(event, seq, &link.hash) {
        return Err(Broken::Altered { seq });
    }
    Ok(Link { seq, hash: seal.hash.clone() })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;
    use crate::domain::actor::Actor;

    fn event(n: u128) -> Event {
        Event {
            id: Uuid::from_u128(n),
            seal: None,
            at: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
            kind: "service.created".into(),
            actor: Actor::server(),
            service: Some("shop".into()),
            environment: None,
            version: None,
            deployment_id: None,
            request_id: None,
            data: "{}".into(),
        }
    }

    #[test]
    fn a_chain_tells_what_was_done_to_it() {
        let first = seal(&event(1), 1, GENESIS);
        let link = follow(&Link::default(), &event(1), &first).unwrap();
        let second = seal(&event(2), 2, &link.hash);
        assert!(follow(&link, &event(2), &second).is_ok());

        let mut altered = event(2);
        altered.data = r#"{"a":1}"#.into();
        assert_eq!(follow(&link, &altered, &second), Err(Broken::Altered { seq: 2 }));
        assert_eq!(follow(&Link::default(), &event(2), &second), Err(Broken::Gap { expected: 1, found: 2 }));
        let elsewhere = seal(&event(2), 2, GENESIS);
        assert_eq!(follow(&link, &event(2), &elsewhere), Err(Broken::Unlinked { seq: 2 }));
    }
}
