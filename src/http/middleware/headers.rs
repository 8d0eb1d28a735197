//! The headers that tell browsers to trust a response as little as possible.

use std::sync::Arc;

use poem::{
    Endpoint, Request, Response, Result,
    http::{HeaderValue, header},
};

/// The middleware; a page that needs more sets its own policy.
pub async fn security_headers<E>(next: Arc<E>, request: Request) -> Result<Response>
where
    E: Endpoint<Output = Response>,
{
    let mut response = next.get_response(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    Ok(response)
}
