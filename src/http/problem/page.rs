//! The pages that the `type` of a problem leads to: what it means and what to do about it, for people.

use poem::{Endpoint, Request, Response, Result, endpoint::make_sync, http::header};

use crate::http::{
    docs,
    problem::{Code, Problem},
};

const STYLE: &str = "body{font:1rem/1.6 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem;\
color:#1c1e21;background:#fff}code{background:#eef0f2;padding:.1em .3em;border-radius:3px}\
.status{color:#5c6370}@media(prefers-color-scheme:dark){body{color:#e4e6e8;background:#17191c}\
code{background:#2a2d31}.status{color:#9aa0a8}a{color:#8ab4f8}}";

/// The endpoint for `/problems/:slug`.
pub fn endpoint() -> impl Endpoint<Output = Response> + 'static {
    let policy = format!("default-src 'none'; style-src {}; frame-ancestors 'none'", docs::hash(STYLE));
    make_sync(move |request: Request| -> Result<Response> {
        let slug = request.raw_path_param("slug").unwrap_or_default();
        let Some(code) = Code::from_slug(slug) else {
            return Err(Problem::new(Code::NotFound, "There is no such problem type.").into());
        };
        Ok(Response::builder()
            .content_type("text/html; charset=utf-8")
            .header(header::CONTENT_SECURITY_POLICY, &policy)
            .header(header::CACHE_CONTROL, "public, max-age=3600")
            .body(page(code)))
    })
}

fn page(code: Code) -> String {
    let (title, slug, status) = (code.title(), code.slug(), code.status());
    let (meaning, remedy) = words(code);
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title} · Waybill</title>\
         <style>{STYLE}</style></head><body><h1>{title}</h1>\
         <p class=\"status\">HTTP {status} · <code>{slug}</code></p>\
         <h2>What it means</h2><p>{meaning}</p><h2>What to do</h2><p>{remedy}</p>\
         <p><a href=\"/docs\">API documentation</a></p></body></html>"
    )
}

/// What a problem means, and what to do about it. These are HTML.
type Words = (&'static str, &'static str);

const UNAUTHENTICATED: Words = (
    "The request has no token, or one that is unknown, expired or revoked.",
    "Send <code>Authorization: Bearer wb_…</code> with a valid token. <code>waybill token create</code> \
     makes one.",
);
const FORBIDDEN: Words = (
    "The token is valid, but lacks the scope for this, or is narrowed to other services or environments.",
    "Use a token with the scope that <code>detail</code> names, or ask whoever administers Waybill for one.",
);
const IDENTITY_INVALID: Words = (
    "The ID token is not one that is taken: a claim is wrong, it has expired, or its signature is not the issuer's.",
    "<code>detail</code> names the claim, what it must be and what it is. The audience that the job asks for              must be this server's, and the token must be fresh: exchange it in the job that has it.",
);
const IDENTITY_UNTRUSTED: Words = (
    "The ID token is good, but no trust lets in whom it is about, or it is confined to another environment.",
    "<code>detail</code> names the trust that comes nearest and the claims that it wants otherwise.              <code>waybill trust check</code> explains an ID token claim by claim; <code>waybill trust create</code>              makes a trust.",
);
const IDENTITY_AMBIGUOUS: Words = (
    "Several trusts let in whom the ID token is about, and none says more exactly who that is.",
    "Have one of the trusts that <code>detail</code> names match another claim, or delete it.",
);
const ISSUER_UNREACHABLE: Words = (
    "The issuer of the ID token does not say which keys it has, so that nobody can tell whether the token is its own.",
    "Try again after the time in <code>Retry-After</code>. Tokens go on working meanwhile. If it stays,              <code>detail</code> and the server's log say why the issuer cannot be asked.",
);

/// What a kind of problem means, and what to do about it.
const fn words(code: Code) -> Words {
    match code {
        Code::InvalidRequest => (
            "The request could not be read: its body is not JSON, or a parameter in the path, the query or a \
             header has the wrong form.",
            "<code>detail</code> says what is wrong and <code>errors</code> names the parameter. Correct the \
             request; sending it again as it is will not help.",
        ),
        Code::Unauthenticated => UNAUTHENTICATED,
        Code::IdentityInvalid => IDENTITY_INVALID,
        Code::IdentityUntrusted => IDENTITY_UNTRUSTED,
        Code::IdentityAmbiguous => IDENTITY_AMBIGUOUS,
        Code::IssuerUnreachable => ISSUER_UNREACHABLE,
        Code::Forbidden => FORBIDDEN,
        Code::NotFound => (
            "There is nothing by this name or id, or the token may not see it.",
            "Check the spelling and the token's services and environments.",
        ),
        Code::MethodNotAllowed => (
            "The path exists, but not with this method.",
            "The <code>Allow</code> header lists the methods that it has.",
        ),
        Code::Conflict => (
            "The thing is in a state that does not permit this, or a thing with other properties has the name.",
            "Read its current state and decide anew; <code>detail</code> names the state and the moves it has.",
        ),
        Code::GateDenied => (
            "The gate evaluated its rules and at least one of them forbids this deployment now. Nothing was \
             started.",
            "<code>decision</code> lists every check with its reason. If a time is known at which it may pass, \
             <code>retry_at</code> and <code>Retry-After</code> give it.",
        ),
        Code::Stale => (
            "The thing has changed since you read it, so that your change was not applied.",
            "Read it again, apply your change to what it is now, and send it with the new <code>ETag</code>.",
        ),
        Code::PayloadTooLarge => (
            "The body is larger than this server takes.",
            "Send less, or have <code>server.body_limit_bytes</code> raised; for a scanner's report it is <code>limits.scan_bytes</code>.",
        ),
        Code::UnsupportedMediaType => (
            "The body was sent as something else than JSON.",
            "Send it with <code>Content-Type: application/json</code>.",
        ),
        Code::InvalidInput => (
            "The body is JSON, but some of its fields are missing, unknown or not what they must be.",
            "<code>errors</code> names every such field by a JSON pointer and says what is wrong with it.",
        ),
        Code::IdempotencyKeyReused => (
            "The <code>Idempotency-Key</code> was used before, with another request.",
            "Use a new key for a new request. Only a repetition of the very same request may use the same key.",
        ),
        Code::RateLimited => (
            "The token has sent more requests than it may.",
            "Wait as long as <code>Retry-After</code> says. A client that polls should do so less often.",
        ),
        Code::Internal => (
            "The server failed. It is not the fault of the request.",
            "Try again later. If it stays, give the <code>request_id</code> to whoever runs Waybill: the \
             server's log has the cause under it.",
        ),
        Code::Unavailable => (
            "The server cannot answer now: it starts or stops, its database is out of reach, or the request \
             took too long.",
            "Try again after the time in <code>Retry-After</code>. With an <code>Idempotency-Key</code> a \
             repetition has no effect twice.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page_of_its_own() {
        for code in Code::ALL {
            let page = page(code);
            assert!(page.contains(code.slug()) && page.contains(code.title()));
            let (meaning, remedy) = words(code);
            assert!(meaning.ends_with('.') && remedy.ends_with('.'));
        }
    }
}
