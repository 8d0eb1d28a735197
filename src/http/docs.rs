//! The OpenAPI document, and the page that shows the API and lets people try it: Swagger UI, all of it in one response,
//! so that it works without internet.
//!
//! Its scripts are inline. The page's policy names each by its hash, and no other script runs. It is made when it is first
//! asked for: most servers never are, and it is larger than all else that a server holds.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use poem::{
    Endpoint, Request, Response,
    endpoint::make_sync,
    http::{StatusCode, header},
};
use sha2::{Digest as _, Sha256};

/// How the browser keeps the page: it asks each time whether there is a newer one.
const CACHE_CONTROL: &str = "no-cache";

/// What the framework's page lacks in its head: its name, and its size on a telephone.
const HEAD: &str =
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Waybill API</title>";

/// A page that runs inline scripts.
struct Page {
    html: Bytes,
    etag: String,
    policy: String,
}

/// The endpoint for the document.
pub fn document(document: Bytes) -> impl Endpoint<Output = Response> + 'static {
    make_sync(move |_| Response::builder().content_type("application/json").body(document.clone()))
}

/// The endpoint for the page, from the framework's page and the document that is in it.
pub fn page(
    sources: impl FnOnce() -> (String, String) + Send + 'static,
) -> impl Endpoint<Output = Response> + 'static {
    let page = LazyLock::new(move || {
        let (html, document) = sources();
        Page::new(&html, &document)
    });
    make_sync(move |request| page.respond(&request))
}

impl Page {
    fn new(html: &str, document: &str) -> Self {
        // In a script, `</` may only stand where it ends; in JSON both forms are the same.
        let html = html
            .replace(document, &document.replace("</", "<\\/"))
            .replace("<title>Swagger UI</title>", HEAD);
        let html = format!("<!doctype html>{html}");
        let hashes: Vec<String> = inline(&html, "script").map(hash).collect();
        let policy = format!(
            "default-src 'none'; script-src {}; style-src 'unsafe-inline'; img-src 'self' data:; \
             connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hashes.join(" ")
        );
        let etag = format!("\"{}\"", hex::encode(Sha256::digest(&html)));
        Self { html: html.into(), etag, policy }
    }

    fn respond(&self, request: &Request) -> Response {
        let response = Response::builder()
            .header(header::ETAG, &self.etag)
            .header(header::CACHE_CONTROL, CACHE_CONTROL)
            .header(header::CONTENT_SECURITY_POLICY, &self.policy);
        let known = request.header(header::IF_NONE_MATCH).unwrap_or_default();
        if known.split(',').any(|etag| etag.trim().trim_start_matches("W/") == self.etag) {
            return response.status(StatusCode::NOT_MODIFIED).finish();
        }
        response.content_type("text/html; charset=utf-8").body(self.html.clone())
    }
}

/// The source expression by which a policy permits this inline script or style.
pub fn hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

/// The contents of every inline element with this name.
fn inline<'a>(html: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}"), format!("</{name}>"));
    let mut rest = html;
    std::iter::from_fn(move || {
        let (_, tail) = rest.split_once(open.as_str())?;
        let (_, tail) = tail.split_once('>')?;
        let (text, tail) = tail.split_once(close.as_str())?;
        rest = tail;
        Some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_inline_script_is_permitted_by_its_hash() {
        let page = Page::new("<script a=\"b\">alert(1)</script>x<script>let a = {};</script>", "{}");
        // printf 'alert(1)' | openssl dgst -sha256 -binary | base64
        assert!(page.policy.contains("'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='"));
        assert!(page.policy.contains(&hash("let a = {};")));
    }

    #[test]
    fn a_description_cannot_end_the_script() {
        let document = r#"{"a":"</script><script>alert(1)</script>"}"#;
        let page = Page::new(&format!("<script>let spec = {document};</script>"), document);
        assert_eq!(inline(str::from_utf8(&page.html).unwrap(), "script").count(), 1);
    }

    #[test]
    fn a_browser_that_has_the_page_does_not_get_it_again() {
        let page = Page::new("<script></script>", "{}");
        let known =
            Request::builder().header(header::IF_NONE_MATCH, format!("\"x\", {}", page.etag)).finish();
        assert_eq!(page.respond(&known).status(), StatusCode::NOT_MODIFIED);
        let other = Request::builder().header(header::IF_NONE_MATCH, "\"x\"").finish();
        assert_eq!(page.respond(&other).status(), StatusCode::OK);
    }
}
