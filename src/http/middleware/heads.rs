//! Refuses a request whose head two readers may understand differently, such as a proxy that takes the first of two hosts
//! and a server that takes the second.

use std::sync::Arc;

use poem::{
    Endpoint, Request, Result,
    http::{
        HeaderMap, HeaderName, HeaderValue, Version,
        header::{AUTHORIZATION, CONTENT_TYPE, HOST, IF_MATCH, IF_NONE_MATCH},
        uri::Authority,
    },
};

use crate::http::problem::{Code, Problem};

/// What has one value and no list of them (RFC 9110 §5.3). `Content-Length` is settled by the server before.
const SINGLE: [HeaderName; 4] =
    [HOST, AUTHORIZATION, CONTENT_TYPE, HeaderName::from_static("idempotency-key")];

/// Lists that operations read as one text.
const LISTS: [HeaderName; 2] = [IF_MATCH, IF_NONE_MATCH];

/// The middleware. A list over several lines goes on as one.
pub async fn heads<E>(next: Arc<E>, mut request: Request) -> Result<E::Output>
where
    E: Endpoint,
{
    let version = request.version();
    if let Some(fault) = fault(request.headers(), version) {
        return Err(Problem::new(Code::InvalidRequest, fault).into());
    }
    for name in LISTS {
        join(request.headers_mut(), &name);
    }
    next.call(request).await
}

/// What is wrong with a head, and what to send instead.
fn fault(headers: &HeaderMap, version: Version) -> Option<String> {
    for name in SINGLE {
        if headers.get_all(&name).iter().count() > 1 {
            return Some(format!("The header `{name}` is there more than once; send it once."));
        }
    }
    // RFC 9112 §3.2; version 1.0 had no hosts.
    match headers.get(HOST) {
        None if version == Version::HTTP_11 => {
            Some("The request has no `Host`, which HTTP/1.1 requires; send the host of the address.".into())
        }
        Some(host) if !is_host(host) => {
            Some("The header `Host` is no host; send the host of the address, with its port if any.".into())
        }
        _ => None,
    }
}

/// `host` or `host:port`; an address of HTTP has no empty host (RFC 9110 §4.2.1).
fn is_host(value: &HeaderValue) -> bool {
    let authority = value.to_str().ok().and_then(|text| text.parse::<Authority>().ok());
    authority.is_some_and(|authority| {
        let (text, host) = (authority.as_str(), authority.host());
        let port =
            text.strip_prefix(host).and_then(|rest| rest.strip_prefix(':').or(rest.is_empty().then_some("")));
        // A comma is what a proxy puts between two hosts.
        !host.is_empty()
            && !host.contains(',')
            && port.is_some_and(|port| port.is_empty() || port.parse::<u16>().is_ok())
    })
}

fn join(headers: &mut HeaderMap, name: &HeaderName) {
    let lines: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&lines.join(b", ".as_slice()))
    {
        headers.insert(name, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_from_other_texts() {
        for host in ["a", "a.test", "a.test:80", "a_b.test", "127.0.0.1:3000", "[::1]", "[::1]:3000", "a:"] {
            assert!(is_host(&HeaderValue::from_static(host)), "{host}");
        }
        for host in
            ["", " ", "a b", "a/b", "a@b", "a?b", "a#b", ":80", "a:b", "a:70000", "[::1", "a,b", "http://a"]
        {
            assert!(!is_host(&HeaderValue::from_static(host)), "{host}");
        }
    }

    #[test]
    fn a_list_over_several_lines_becomes_one() {
        let mut headers = HeaderMap::new();
        for tag in ["\"1\", \"2\"", "\"3\""] {
            headers.append(IF_MATCH, HeaderValue::from_static(tag));
        }
        join(&mut headers, &IF_MATCH);
        assert_eq!(headers.get_all(IF_MATCH).iter().collect::<Vec<_>>(), ["\"1\", \"2\", \"3\""]);
    }
}
