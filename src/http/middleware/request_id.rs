//! Gives every request an id, or keeps the one that its sender chose, and returns it in `X-Request-Id`.

use std::sync::Arc;

use poem::{
    Endpoint, Request, Response, Result,
    http::{HeaderName, HeaderValue},
};

use crate::clock;

/// The header that carries the id in both directions.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

const MAX_LENGTH: usize = 64;

/// The id of a request, found in its extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub Arc<str>);

impl RequestId {
    /// The id of this request.
    pub fn of(request: &Request) -> Option<String> {
        request.data::<Self>().map(|id| id.0.to_string())
    }
}

/// The middleware; nothing below it fails.
pub async fn request_id<E>(next: Arc<E>, mut request: Request) -> Result<Response>
where
    E: Endpoint<Output = Response>,
{
    let sent = request.headers().get(&HEADER).and_then(|value| value.to_str().ok());
    let id = match sent.filter(|id| is_acceptable(id)) {
        Some(id) => id.to_owned(),
        None => clock::new_id().to_string(),
    };
    request.set_data(RequestId(id.as_str().into()));
    let mut response = next.get_response(request).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    Ok(response)
}

/// Ids go into logs and headers as they are, so that only plain ones are kept.
fn is_acceptable(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=MAX_LENGTH).contains(&id.len()) && id.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_plain_ids_are_kept() {
        for id in ["a", "A-b_c.9", &"x".repeat(64)] {
            assert!(is_acceptable(id), "{id}");
        }
        for id in ["", "a b", "a\"b", "ä", &"x".repeat(65)] {
            assert!(!is_acceptable(id), "{id}");
        }
    }
}
