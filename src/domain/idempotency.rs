//! Idempotency keys: what a request led to, so that the same again leads to the same.

use uuid::Uuid;

/// A key that a caller gave, with the fingerprint of its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The token that gave it; another token's keys are other keys.
    pub token_id: Uuid,
    pub key: String,
    /// SHA-256 of the request's method, path and body, in hexadecimal.
    pub fingerprint: String,
}

/// An answer that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status, 2xx.
    pub status: u16,
    /// Where the resource is.
    pub location: Option<String>,
    /// Its entity tag.
    pub etag: Option<String>,
    /// Its body, JSON.
    pub body: String,
}

/// What a key has led to before.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The fingerprint of the request.
    pub fingerprint: String,
    /// The answer to it.
    pub answer: Answer,
}
