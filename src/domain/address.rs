//! How the addresses of pages are written, and which page is about what.

use std::{fmt, sync::Arc};

use url::{Url, form_urlencoded};
use uuid::Uuid;

/// A page that is about one thing. What it writes is the page's path.
#[derive(Clone, Copy, Debug)]
pub enum Page<'a> {
    /// A deployment.
    Deployment(Uuid),
    /// What the gate said, and why.
    Decision(Uuid),
    /// A version of a service.
    Release { service: &'a str, version: &'a str },
    /// A service in an environment.
    Target { service: &'a str, environment: &'a str },
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deployment(id) => write!(f, "/deployments/{id}"),
            Self::Decision(id) => write!(f, "/decisions/{id}"),
            Self::Release { service, version } => {
                write!(f, "/services/{}/releases/{}", segment(service), segment(version))
            }
            Self::Target { service, environment } => {
                write!(f, "/services/{}/environments/{}", segment(service), segment(environment))
            }
        }
    }
}

/// Where people open pages, for those who see none: the server knows its address only when it was told (`server.public_url`),
/// and gives none away that may lead nowhere.
#[derive(Clone, Debug, Default)]
pub struct Pages(Option<Arc<str>>);

impl Pages {
    /// Those of a server that people reach by this URL.
    pub fn at(public_url: Option<&Url>) -> Self {
        Self(public_url.map(|url| url.as_str().trim_end_matches('/').into()))
    }

    /// The URL of the page at a path, where that is known.
    pub fn url(&self, path: impl fmt::Display) -> Option<String> {
        self.0.as_ref().map(|base| format!("{base}{path}"))
    }
}

/// An address with those of the fields that say something.
pub fn address<'a>(path: &str, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    match query.finish() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

/// A text as a segment of a path.
pub fn segment(text: &str) -> String {
    let mut url = Url::parse("path:/").ok();
    if let Some(mut segments) = url.as_mut().and_then(|url| url.path_segments_mut().ok()) {
        segments.clear().push(text);
    }
    url.map(|url| url.path().trim_start_matches('/').to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_an_address_where_the_server_knows_its_own() {
        let page = Page::Release { service: "shop", version: "1.0+a/b" };
        let url = |base: &str| Pages::at(Some(&base.parse().unwrap())).url(page);
        assert_eq!(url("https://w.test").as_deref(), Some("https://w.test/services/shop/releases/1.0+a%2Fb"));
        assert_eq!(
            url("https://w.test/waybill/").as_deref(),
            Some("https://w.test/waybill/services/shop/releases/1.0+a%2Fb")
        );
        assert_eq!(Pages::at(None).url(page), None);
    }

    #[test]
    fn a_segment_stays_one() {
        assert_eq!(segment("CVE-2021-44228"), "CVE-2021-44228");
        assert_eq!(segment("a/b?c#d e%"), "a%2Fb%3Fc%23d%20e%25");
    }

    #[test]
    fn an_address_has_what_says_something() {
        assert_eq!(address("/x", [("a", ""), ("b", "")]), "/x");
        assert_eq!(address("/x", [("a", "1+1 é"), ("b", ""), ("c", "&")]), "/x?a=1%2B1+%C3%A9&c=%26");
    }
}
