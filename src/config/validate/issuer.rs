//! What makes `[[auth.issuer]]` usable.

use std::{collections::BTreeMap, fs};

use url::{Host, Url};

use super::Unusable;
use crate::{
    config::{Config, issuer::IssuerConfig},
    domain::{actor::Actor, text::Name},
};

/// The most issuers: each is a host that the server calls.
const ISSUERS_MAX: usize = 20;
/// The longest audience and the longest name of a claim.
const TEXT_MAX: usize = 500;

/// Every fault of the issuers.
pub(super) fn faults(config: &Config) -> Vec<Unusable> {
    let issuers = &config.auth.issuer;
    let mut faults = Vec::new();
    if issuers.len() > ISSUERS_MAX {
        let problem = format!("must be at most {ISSUERS_MAX}");
        faults.push(Unusable { key: "auth.issuer".into(), problem });
    }
    let (mut names, mut urls) = (BTreeMap::new(), BTreeMap::new());
    for (index, issuer) in issuers.iter().enumerate() {
        let mut fault = |leaf: &str, problem: String| {
            faults.push(Unusable { key: format!("auth.issuer.{index}.{leaf}").into(), problem });
        };
        of_one(issuer, &mut fault);
        if issuer.audience.is_none() && config.server.public_url.is_none() {
            let remedy = "is needed where server.public_url is not set: whom its tokens must be meant for";
            fault("audience", remedy.to_owned());
        }
        if let Some(other) = names.insert(&issuer.name, index) {
            fault("name", format!("is that of auth.issuer.{other} too: give it another"));
        }
        if let Some(other) = urls.insert(&issuer.url, index) {
            fault("url", format!("is that of auth.issuer.{other} too: remove one of the two"));
        }
    }
    faults
}

fn of_one(issuer: &IssuerConfig, fault: &mut impl FnMut(&str, String)) {
    if let Err(wrong) = Name::parse(&issuer.name) {
        fault("name", wrong.detail);
    } else if issuer.name == Actor::server().subject {
        fault("name", "must not be the name that the server has in the audit log".to_owned());
    }
    if let Some(problem) = url_problem(&issuer.url) {
        fault("url", problem);
    }
    let audience = issuer.audience.as_deref().unwrap_or("any");
    if !(1..=TEXT_MAX).contains(&audience.len()) || audience.chars().any(char::is_control) {
        fault("audience", format!("must be 1 to {TEXT_MAX} characters"));
    }
    if let Some(path) = &issuer.ca_file {
        match fs::read_to_string(path) {
            Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => {}
            Ok(_) => fault("ca_file", format!("{} holds no certificate in PEM", path.display())),
            Err(error) => {
                fault(
                    "ca_file",
                    format!("{} cannot be read ({error}): name a file that can", path.display()),
                );
            }
        }
    }
    let claims = issuer.immutable_claims.iter().map(|claim| ("immutable_claims", claim));
    for (leaf, claim) in claims.chain(issuer.person_claim.iter().map(|claim| ("person_claim", claim))) {
        if claim.is_empty() || claim.len() > TEXT_MAX || claim.chars().any(char::is_control) {
            fault(
                leaf,
                format!(
                    "must be the name of a claim, or a JSON pointer to a nested one: `{claim}` is neither"
                ),
            );
        }
    }
}

/// What is wrong with the URL of an issuer. It is kept to the letter, because tokens are compared with it.
fn url_problem(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some(
            "must be set: the issuer's URL, to the letter as its tokens have it in `iss`".to_owned(),
        );
    }
    let Ok(url) = text.parse::<Url>() else {
        return Some("is not a URL: write it like `https://gitlab.example.com`".to_owned());
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Some("must not hold a user name or a password".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Some("must end with its path: remove what follows `?` or `#`".to_owned());
    }
    let is_here = is_local(&url);
    match url.scheme() {
        "https" => None,
        "http" if is_here => None,
        _ => Some("must begin with https:// (plain http:// is taken for localhost only)".to_owned()),
    }
}

/// Whether a URL leads to this very machine, so that nobody is between.
pub(crate) fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The leaves that are at fault.
    fn leaves(issuers: &[IssuerConfig]) -> Vec<String> {
        let mut config = Config::default();
        config.server.public_url = Some("https://waybill.example.com".parse().unwrap());
        config.auth.issuer = issuers.to_vec();
        let short = |fault: Unusable| fault.key.trim_start_matches("auth.issuer.").to_owned();
        faults(&config).into_iter().map(short).collect()
    }

    fn issuer(name: &str, url: &str) -> IssuerConfig {
        IssuerConfig { name: name.to_owned(), url: url.to_owned(), ..IssuerConfig::default() }
    }

    #[test]
    fn only_this_machine_is_asked_in_the_clear() {
        for url in ["https://gitlab.com", "http://localhost:1", "http://127.0.0.1:2/x", "http://[::1]:3"] {
            assert_eq!(leaves(&[issuer("a", url)]), [""; 0], "{url}");
        }
        for url in [
            "",
            "gitlab.com",
            "http://gitlab.com",
            "http://localhost.evil.com",
            "http://10.0.0.1",
            "https://u:p@gitlab.com",
            "https://gitlab.com/?a=b",
            "https://gitlab.com/#a",
            "file:///etc/passwd",
        ] {
            assert_eq!(leaves(&[issuer("a", url)]), ["0.url"], "{url}");
        }
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let bad = IssuerConfig {
            audience: Some(String::new()),
            ca_file: Some("/nonexistent/ca.pem".into()),
            immutable_claims: vec![String::new()],
            person_claim: Some("a\nb".to_owned()),
            ..issuer("Git Lab", "http://gitlab.com")
        };
        let expected = ["0.name", "0.url", "0.audience", "0.ca_file", "0.immutable_claims", "0.person_claim"];
        assert_eq!(leaves(&[bad]), expected);
        assert_eq!(leaves(&[issuer("waybill", "https://a.com")]), ["0.name"]);
        let twice = [issuer("a", "https://a.com"), issuer("a", "https://a.com")];
        assert_eq!(leaves(&twice), ["1.name", "1.url"]);
    }

    #[test]
    fn an_audience_is_known_one_way_or_the_other() {
        let mut config = Config::default();
        config.auth.issuer = vec![issuer("a", "https://a.com")];
        assert_eq!(faults(&config).len(), 1);
        config.auth.issuer[0].audience = Some("waybill".to_owned());
        assert_eq!(faults(&config), []);
    }
}
