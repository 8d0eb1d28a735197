//! The site that browsers know the server as: what its cookies are called, and which pages are its own.

use std::net::IpAddr;

use url::{Host, Url};

/// Where browsers find the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// Over TLS, at this address.
    Secure {
        /// What pages of it say in `Origin`.
        origin: String,
        /// What their paths begin with; never ends with a slash.
        base: String,
    },
    /// On the machine itself, where nobody listens on the way.
    Local {
        /// What pages of it say in `Origin`, where that was settled; else any name of this machine will do.
        origin: Option<String>,
        /// What their paths begin with.
        base: String,
    },
    /// In the clear over a network: nobody signs in there, because everybody on the way could take the cookie.
    Exposed,
}

impl Site {
    /// The site at the URL that the configuration names; without one, the one that listens here.
    pub fn of(public_url: Option<&Url>) -> Self {
        let Some(url) = public_url else { return Self::Local { origin: None, base: String::new() } };
        let (origin, base) =
            (url.origin().ascii_serialization(), url.path().trim_end_matches('/').to_owned());
        match url.scheme() {
            "https" => Self::Secure { origin, base },
            _ if is_of_this_machine(url) => Self::Local { origin: Some(origin), base },
            _ => Self::Exposed,
        }
    }

    /// The cookie that holds a session; none where nobody signs in. The prefix has browsers take it from this very host
    /// over TLS alone, so that no other host of the domain can set it (RFC 6265bis §4.1.3.2).
    pub fn session_cookie(&self) -> Option<&'static str> {
        match self {
            Self::Secure { .. } => Some("__Host-waybill"),
            Self::Local { .. } => Some("waybill"),
            Self::Exposed => None,
        }
    }

    /// The cookie that holds sign-ins under way.
    pub fn flow_cookie(&self) -> Option<&'static str> {
        match self {
            Self::Secure { .. } => Some("__Host-waybill-flow"),
            Self::Local { .. } => Some("waybill-flow"),
            Self::Exposed => None,
        }
    }

    /// What the paths of its pages begin with.
    pub fn base(&self) -> &str {
        match self {
            Self::Secure { base, .. } | Self::Local { base, .. } => base,
            Self::Exposed => "",
        }
    }

    /// Whether a request that says `origin` and was sent to `host` was made by a page of this site.
    pub fn is_own(&self, origin: &str, host: &str) -> bool {
        match self {
            Self::Secure { origin: own, .. } | Self::Local { origin: Some(own), .. } => own == origin,
            Self::Local { origin: None, .. } => {
                let own = format!("http://{host}");
                // Only a name of this machine: another that leads here could be somebody else's (DNS rebinding).
                origin == own && Url::parse(&own).is_ok_and(|url| is_of_this_machine(&url))
            }
            Self::Exposed => false,
        }
    }
}

/// Whether a host is this machine, as browsers know without asking anybody.
fn is_of_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(url: &str) -> Site {
        Site::of(Some(&url.parse().unwrap()))
    }

    #[test]
    fn cookies_are_for_tls_and_this_machine() {
        assert_eq!(site("https://w.test/waybill/").session_cookie(), Some("__Host-waybill"));
        assert_eq!(site("https://w.test/waybill/").base(), "/waybill");
        for url in ["http://localhost:3000", "http://127.0.0.1", "http://[::1]:3000/"] {
            assert_eq!(site(url).session_cookie(), Some("waybill"), "{url}");
        }
        for url in ["http://w.test", "http://10.0.0.1", "http://localhost.w.test", "http://a.localhost"] {
            assert_eq!(site(url), Site::Exposed, "{url}");
            assert_eq!(site(url).flow_cookie(), None);
        }
    }

    #[test]
    fn a_page_of_another_site_is_not_ours() {
        let secure = site("https://w.test:443/");
        assert!(secure.is_own("https://w.test", "w.test"));
        for origin in
            ["http://w.test", "https://w.test:8443", "https://a.w.test", "https://w.test.evil", "null", ""]
        {
            assert!(!secure.is_own(origin, "w.test"), "{origin}");
        }
        let here = Site::of(None);
        assert!(here.is_own("http://localhost:3000", "localhost:3000"));
        assert!(here.is_own("http://127.0.0.1:3000", "127.0.0.1:3000"));
        assert!(!here.is_own("http://localhost:4000", "localhost:3000"));
        assert!(
            !here.is_own("http://evil.test:3000", "evil.test:3000"),
            "a name that leads here is not ours"
        );
        assert!(!Site::Exposed.is_own("http://w.test", "w.test"));
    }
}
