//! The kinds of problems: one table maps each to its slug, status and title.

use poem::http::StatusCode;

/// What kind of problem it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request itself is malformed: its JSON, its path or its parameters.
    InvalidRequest,
    /// There is no valid token.
    Unauthenticated,
    /// The ID token is not as it must be.
    IdentityInvalid,
    /// The token may not do this.
    Forbidden,
    /// No trust lets in whom the ID token is about.
    IdentityUntrusted,
    /// There is no such thing, or the token may not see it.
    NotFound,
    /// The path exists, but not with this method.
    MethodNotAllowed,
    /// The state of the thing does not permit it.
    Conflict,
    /// Several trusts let in whom the ID token is about, and none more than the others.
    IdentityAmbiguous,
    /// The gate denied the start; the problem carries the decision.
    GateDenied,
    /// The thing changed since the caller read it.
    Stale,
    /// The body is larger than the server takes.
    PayloadTooLarge,
    /// The body is not JSON.
    UnsupportedMediaType,
    /// The body is JSON, but its fields are not what they must be.
    InvalidInput,
    /// The idempotency key was used for another request.
    IdempotencyKeyReused,
    /// The token sends too many requests.
    RateLimited,
    /// A fault of the server.
    Internal,
    /// The server cannot answer now.
    Unavailable,
    /// An issuer of ID tokens cannot be asked.
    IssuerUnreachable,
}

impl Code {
    /// Every code, by status.
    pub const ALL: [Self; 19] = [
        Self::InvalidRequest,
        Self::Unauthenticated,
        Self::IdentityInvalid,
        Self::Forbidden,
        Self::IdentityUntrusted,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::IdentityAmbiguous,
        Self::GateDenied,
        Self::Stale,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::InvalidInput,
        Self::IdempotencyKeyReused,
        Self::RateLimited,
        Self::Internal,
        Self::Unavailable,
        Self::IssuerUnreachable,
    ];

    const fn row(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::InvalidRequest => ("invalid-request", StatusCode::BAD_REQUEST, "Invalid request"),
            Self::Unauthenticated => ("unauthenticated", StatusCode::UNAUTHORIZED, "Not authenticated"),
            Self::IdentityInvalid => ("identity-invalid", StatusCode::UNAUTHORIZED, "ID token not valid"),
            Self::IdentityUntrusted => ("identity-untrusted", StatusCode::FORBIDDEN, "Not trusted"),
            Self::IdentityAmbiguous => {
                ("identity-ambiguous", StatusCode::CONFLICT, "Trusted in several ways")
            }
            Self::IssuerUnreachable => {
                ("issuer-unreachable", StatusCode::SERVICE_UNAVAILABLE, "Issuer not reachable")
            }
            Self::Forbidden => ("forbidden", StatusCode::FORBIDDEN, "Not permitted"),
            Self::NotFound => ("not-found", StatusCode::NOT_FOUND, "Not found"),
            Self::MethodNotAllowed => {
                ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
            }
            Self::Conflict => ("conflict", StatusCode::CONFLICT, "Conflict"),
            Self::GateDenied => ("gate-denied", StatusCode::CONFLICT, "Denied by the gate"),
            Self::Stale => ("stale", StatusCode::PRECONDITION_FAILED, "Changed in the meantime"),
            Self::PayloadTooLarge => {
                ("payload-too-large", StatusCode::PAYLOAD_TOO_LARGE, "Request body too large")
            }
            Self::UnsupportedMediaType => {
                ("unsupported-media-type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type")
            }
            Self::InvalidInput => ("invalid-input", StatusCode::UNPROCESSABLE_ENTITY, "Invalid input"),
            Self::IdempotencyKeyReused => {
                ("idempotency-key-reused", StatusCode::UNPROCESSABLE_ENTITY, "Idempotency key reused")
            }
            Self::RateLimited => ("rate-limited", StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, "Internal error"),
            Self::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE, "Temporarily unavailable"),
        }
    }

    /// The last segment of the problem's `type`.
    pub const fn slug(self) -> &'static str {
        self.row().0
    }

    /// The status that goes with it.
    pub const fn status(self) -> StatusCode {
        self.row().1
    }

    /// What it is in a few words.
    pub const fn title(self) -> &'static str {
        self.row().2
    }

    /// The code with this slug.
    pub fn from_slug(slug: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.slug() == slug)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_code_has_a_slug_of_its_own_and_an_error_status() {
        let slugs: HashSet<_> = Code::ALL.iter().map(|code| code.slug()).collect();
        assert_eq!(slugs.len(), Code::ALL.len());
        for code in Code::ALL {
            assert_eq!(Code::from_slug(code.slug()), Some(code));
            assert!(code.status().is_client_error() || code.status().is_server_error());
        }
        assert_eq!(Code::from_slug("no-such-slug"), None);
    }
}
