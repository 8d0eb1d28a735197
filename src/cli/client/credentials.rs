//! Where the client finds Waybill and its token: flags, then the environment, then the local credentials file. A token
//! from that file goes to the server it was written for and to no other, and none leaves this machine in the clear unless
//! told to.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use clap::builder::FalseyValueParser;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::{Host, Url};

use super::error::Error;
use crate::config::local;

const HEADING: &str = "Connection (client commands)";

#[derive(Debug, Clone, clap::Args)]
pub struct ConnectionArgs {
    /// The address of Waybill, like `https://waybill.example.com`.
    #[arg(long, env = "WAYBILL_URL", hide_env_values = true, global = true, help_heading = HEADING)]
    url: Option<String>,
    /// The token to use. Rather set `WAYBILL_TOKEN`: arguments can be seen by others on the same machine.
    #[arg(long, env = "WAYBILL_TOKEN", hide_env_values = true, global = true, help_heading = HEADING)]
    token: Option<SecretString>,
    /// A file that holds the token to use.
    #[arg(long, env = "WAYBILL_TOKEN_FILE", value_name = "FILE", global = true, help_heading = HEADING)]
    token_file: Option<PathBuf>,
    /// Send the token over plain HTTP to another machine, where everybody on the way can read it.
    #[arg(
        long,
        env = "WAYBILL_INSECURE_HTTP",
        hide_env_values = true,
        value_parser = FalseyValueParser::new(),
        global = true,
        help_heading = HEADING
    )]
    insecure_http: bool,
}

#[derive(Debug)]
pub struct Credentials {
    pub url: Url,
    pub token: SecretString,
}

#[derive(Debug, Deserialize)]
struct LocalFile {
    url: String,
    token: SecretString,
}

impl ConnectionArgs {
    /// Puts flags, environment and local file together, or says what is missing.
    pub fn resolve(&self) -> Result<Credentials, Error> {
        let token =
            self.token.as_ref().map(|token| token.expose_secret().trim()).filter(|token| !token.is_empty());
        let token = match token {
            Some(token) => Some(SecretString::from(token)),
            None => self.token_file.as_deref().map(read_token).transpose()?,
        };
        let url = self.url.as_deref().filter(|url| !url.is_empty());
        // A broken local file matters only to those who need it.
        let local = if url.is_some() && token.is_some() { None } else { read_local()? };
        let found = combine(url, token, local)?;
        if found.is_exposed() && !self.insecure_http {
            return Err(Error::Usage(format!(
                "the token would go to {} in the clear: use https://, or say --insecure-http (WAYBILL_INSECURE_HTTP=1) \
                 where everybody on the way may read it",
                found.url
            )));
        }
        Ok(found)
    }
}

impl Credentials {
    /// Whether the address is one of this machine.
    pub fn is_local(&self) -> bool {
        let is_own = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
        match self.url.host() {
            Some(Host::Ipv4(ip)) => is_own(ip.into()),
            Some(Host::Ipv6(ip)) => is_own(ip.to_canonical()),
            // Names below it go to whatever resolver there is, which may not know RFC 6761.
            Some(Host::Domain(name)) => name.trim_end_matches('.') == "localhost",
            None => false,
        }
    }

    /// Whether others than the server can read what is sent.
    fn is_exposed(&self) -> bool {
        self.url.scheme() == "http" && !self.is_local()
    }
}

fn read_token(path: &Path) -> Result<SecretString, Error> {
    let text = fs::read_to_string(path)
        .map_err(|error| Error::Usage(format!("cannot read the token file {}: {error}", path.display())))?;
    Ok(SecretString::from(text.trim()))
}

fn read_local() -> Result<Option<LocalFile>, Error> {
    let Some(path) = local::path() else { return Ok(None) };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::Usage(format!("cannot read {}: {error}", path.display()))),
    };
    // The parser's message is left out, since it may quote the token.
    let file = serde_json::from_str(&text).ok();
    let broken = || Error::Usage(format!("{} is not a credentials file; remove it", path.display()));
    file.ok_or_else(broken).map(Some)
}

fn combine(
    url: Option<&str>,
    token: Option<SecretString>,
    local: Option<LocalFile>,
) -> Result<Credentials, Error> {
    let (local_url, local_token) = match local {
        Some(file) => (Some(parse_url(&file.url)?), Some(file.token)),
        None => (None, None),
    };
    let given = url.map(parse_url).transpose()?;
    let Some(url) = given.or_else(|| local_url.clone()) else {
        return Err(Error::Usage("where is Waybill? Set WAYBILL_URL (or --url) to its address".into()));
    };
    let local_token = local_token.filter(|_| local_url.is_some_and(|local| local.origin() == url.origin()));
    let Some(token) = token.or(local_token) else {
        let message =
            format!("no token for {url}: set WAYBILL_TOKEN, or WAYBILL_TOKEN_FILE to a file that holds it");
        return Err(Error::Usage(message));
    };
    Ok(Credentials { url, token })
}

fn parse_url(text: &str) -> Result<Url, Error> {
    let wrong = |why: &str| Error::Usage(format!("WAYBILL_URL is not the address of a server: {why}"));
    let url = Url::parse(text.trim()).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it must not hold a user or password; the token says who you are"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> LocalFile {
        LocalFile { url: "http://127.0.0.1:3000".into(), token: "local-secret".into() }
    }

    fn shown(result: Result<Credentials, Error>) -> String {
        match result {
            Ok(found) => format!("{} {}", found.url, found.token.expose_secret()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_is_given_goes_before_the_local_file() {
        assert_eq!(shown(combine(None, None, Some(local()))), "http://127.0.0.1:3000/ local-secret");
        let both = combine(Some("https://w.test/base"), Some("mine".into()), Some(local()));
        assert_eq!(shown(both), "https://w.test/base mine");
    }

    #[test]
    fn the_local_token_goes_to_its_own_server_only() {
        let same = combine(Some("http://127.0.0.1:3000/"), None, Some(local()));
        assert_eq!(shown(same), "http://127.0.0.1:3000/ local-secret");
        let other = shown(combine(Some("https://w.test"), None, Some(local())));
        assert!(other.contains("no token for https://w.test/"), "{other}");
    }

    #[test]
    fn a_token_is_exposed_by_plain_http_to_another_machine() {
        for (url, local, exposed) in [
            ("http://127.0.0.1:3000", true, false),
            ("http://127.9.9.9", true, false),
            ("http://0.0.0.0:3000", true, false),
            ("http://[::1]:3000", true, false),
            ("http://[::ffff:127.0.0.1]", true, false),
            ("http://localhost", true, false),
            ("http://LOCALHOST.:3000", true, false),
            ("http://waybill.localhost", false, true),
            ("https://w.test", false, false),
            ("http://w.test", false, true),
            ("http://10.0.0.1", false, true),
            ("http://[2001:db8::1]", false, true),
            ("http://localhost.w.test", false, true),
            ("http://127.0.0.1.w.test", false, true),
            ("http://waybill:3000", false, true),
        ] {
            let url = Url::parse(url).unwrap();
            let found = Credentials { url, token: "hunter2".into() };
            assert_eq!((found.is_local(), found.is_exposed()), (local, exposed), "{}", found.url);
        }
    }

    #[test]
    fn says_what_to_set() {
        assert!(shown(combine(None, None, None)).contains("WAYBILL_URL"));
        assert!(shown(combine(Some("w.test"), None, None)).contains("WAYBILL_URL"));
        assert!(shown(combine(Some("ftp://w.test"), None, None)).contains("http://"));
        assert!(!shown(combine(Some("https://u:hunter2@w.test"), None, None)).contains("hunter2"));
    }

    #[test]
    fn the_token_is_not_in_debug_output() {
        let found = combine(Some("https://w.test"), Some("hunter2".into()), None);
        assert!(!format!("{found:?}").contains("hunter2"));
    }
}
