//! What a request shows of who sent it: a token in its head, or the cookie of a session. The rules for cookies are here
//! and nowhere else, so that they hold for every operation and every page.

use poem::{
    Request,
    http::{Method, header},
};

use crate::{
    domain::{
        session,
        sign_in::{cookie, site::Site},
    },
    http::problem::{Code, Problem},
};

/// The header in which a page's script sends the session's CSRF token; forms have a field for it.
pub const CSRF_HEADER: &str = "X-CSRF-Token";

const NOTHING: &str = "Send a token as `Authorization: Bearer wb_…`.";

/// By what the sender of a request is to be recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// A secret that only a program can have put there.
    Bearer(String),
    /// A secret that a browser sends with every request to this site, whichever page makes it.
    Cookie(String),
}

impl Shown {
    /// What this request shows. Where it has both, the token counts: somebody has put it there on purpose.
    pub fn of(request: &Request, site: &Site) -> Result<Self, Problem> {
        if let Some(header) = request.headers().get(header::AUTHORIZATION) {
            let text = header.to_str().unwrap_or_default();
            let secret = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"));
            let secret = secret.map(|(_, secret)| secret.trim()).filter(|secret| !secret.is_empty());
            return match secret {
                Some(secret) => Ok(Self::Bearer(secret.to_owned())),
                None => Err(Problem::new(Code::Unauthenticated, NOTHING)),
            };
        }
        match session_cookie(request, site) {
            Some(secret) => Ok(Self::Cookie(secret)),
            None => Err(Problem::new(Code::Unauthenticated, NOTHING)),
        }
    }

    /// The secret by which the sender is recognised.
    pub fn secret(&self) -> &str {
        match self {
            Self::Bearer(secret) | Self::Cookie(secret) => secret,
        }
    }

    /// Fails where a cookie may have been sent along by a page of somebody else: a request that changes anything says that
    /// it comes from this site, and has the token that only its own pages know.
    pub fn prove(&self, request: &Request, site: &Site, field: Option<&str>) -> Result<(), Problem> {
        let Self::Cookie(secret) = self else { return Ok(()) };
        if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(());
        }
        if !is_from_own_page(request, site) {
            let detail = "A request with a session's cookie must come from a page of this server: its `Origin` must be the \
                          server's own address, `server.public_url`. Programs send a token instead.";
            return Err(Problem::new(Code::Forbidden, detail));
        }
        let sent = field.or_else(|| request.header(CSRF_HEADER));
        if !sent.is_some_and(|token| session::is_csrf_token(secret, token)) {
            let detail = "A request with a session's cookie that changes something needs the session's own token in \
                          `X-CSRF-Token`, or in the form's field `csrf`: load the page again, and send it anew.";
            return Err(Problem::new(Code::Forbidden, detail));
        }
        Ok(())
    }
}

/// The secret in the cookie of a session, if the request has one.
pub fn session_cookie(request: &Request, site: &Site) -> Option<String> {
    named_cookie(request, site.session_cookie()?)
}

/// The value of this cookie, if the request has it once.
pub fn named_cookie(request: &Request, name: &str) -> Option<String> {
    let headers = request.headers().get_all(header::COOKIE);
    let headers = headers.iter().filter_map(|value| value.to_str().ok());
    cookie::only(headers, name).filter(|value| !value.is_empty()).map(ToOwned::to_owned)
}

/// Whether a request says that a page of this site made it. Browsers say so with every form and every script's request that
/// is no GET (WHATWG Fetch §3.2.6); who does not, is no browser, or hides where it comes from.
pub fn is_from_own_page(request: &Request, site: &Site) -> bool {
    let mut origins = request.headers().get_all(header::ORIGIN).iter();
    let (origin, more) = (origins.next(), origins.next());
    let host = request.header(header::HOST).unwrap_or_default();
    more.is_none()
        && origin.and_then(|origin| origin.to_str().ok()).is_some_and(|origin| site.is_own(origin, host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        Site::of(Some(&"https://w.test".parse().unwrap()))
    }

    fn request(method: Method, headers: &[(&str, &str)]) -> Request {
        let request = Request::builder().method(method).header("host", "w.test");
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).finish()
    }

    #[test]
    fn a_token_counts_before_a_cookie() {
        let shown = |headers: &[(&str, &str)]| Shown::of(&request(Method::GET, headers), &site()).ok();
        let cookie = ("cookie", "__Host-waybill=secret");
        assert_eq!(shown(&[cookie]), Some(Shown::Cookie("secret".to_owned())));
        assert_eq!(
            shown(&[cookie, ("authorization", "bearer wb_1")]),
            Some(Shown::Bearer("wb_1".to_owned()))
        );
        for header in ["Basic YTpi", "Bearer", "Bearer ", "wb_x", ""] {
            assert_eq!(shown(&[cookie, ("authorization", header)]), None, "{header}");
        }
        assert_eq!(shown(&[("cookie", "waybill=secret")]), None, "a name that another host could set");
        assert_eq!(shown(&[cookie, ("cookie", "__Host-waybill=other")]), None);
        assert_eq!(shown(&[]), None);
    }

    #[test]
    fn who_changes_something_by_a_cookie_shows_that_a_page_of_ours_asked() {
        let shown = Shown::Cookie("secret".to_owned());
        let token = session::csrf_token("secret");
        let proved = |method, headers: &[(&str, &str)], field| {
            shown.prove(&request(method, headers), &site(), field).is_ok()
        };
        let own = ("origin", "https://w.test");
        assert!(proved(Method::GET, &[], None));
        assert!(proved(Method::POST, &[own, ("x-csrf-token", &token)], None));
        assert!(proved(Method::DELETE, &[own], Some(&token)));
        for headers in [
            &[own][..],
            &[own, ("x-csrf-token", "")],
            &[own, ("x-csrf-token", "secret")],
            &[("x-csrf-token", &token)],
            &[("origin", "https://evil.test"), ("x-csrf-token", &token)],
            &[("origin", "null"), ("x-csrf-token", &token)],
            &[own, ("origin", "https://evil.test"), ("x-csrf-token", &token)],
        ] {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                assert!(!proved(method, headers, None), "{headers:?}");
            }
        }
        assert!(Shown::Bearer("wb_1".to_owned()).prove(&request(Method::POST, &[]), &site(), None).is_ok());
    }
}
