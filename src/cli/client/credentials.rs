//! Where the client finds Waybill and its token: flags, then the environment, then the local credentials file. A token
//! from that file goes to the server it was written for and to no other, and none leaves this machine in the clear unless
//! told to.

use std::{
    fs,
    net::{IpAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::builder::FalseyValueParser;
use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

use super::{access::Proof, error::Error};
use crate::{
    cli::output::say,
    clock,
    config::{
        local::{self, LocalFile, LocalServer},
        signed_in::{self, SignedInFile},
    },
};

/// Above what only the commands take that ask a server.
pub const HEADING: &str = "Client commands";

/// How long a server of this machine may take to be there.
const LOOK: Duration = Duration::from_millis(500);

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
    /// A file that holds the job's ID token, which is exchanged for a credential where there is no token; `WAYBILL_ID_TOKEN` may
    /// hold it instead.
    #[arg(long, env = "WAYBILL_ID_TOKEN_FILE", value_name = "FILE", global = true, help_heading = HEADING)]
    id_token_file: Option<PathBuf>,
    /// The job's ID token. Only a variable: arguments can be seen by others on the same machine.
    #[arg(long, env = "WAYBILL_ID_TOKEN", hide = true, hide_env_values = true, global = true)]
    id_token: Option<SecretString>,
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
    pub proof: Proof,
    /// The file that names the address, where nobody has said one.
    pub named_in: Option<PathBuf>,
}

/// What a look at a server of this machine finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// It runs.
    Running,
    /// Nobody answers, for now perhaps.
    Away,
    /// It has ended, and somebody else answers at its address.
    Another,
}

impl ConnectionArgs {
    /// Puts flags, environment and local file together, or says what is missing.
    pub fn resolve(&self) -> Result<Credentials, Error> {
        let proof = self.proof()?;
        let url = self.url.as_deref().filter(|url| !url.is_empty()).map(parse_url).transpose()?;
        let found = match (url, proof) {
            (Some(url), Some(proof)) => Credentials { url, proof, named_in: None },
            // A broken local file matters only to those who need it.
            (Some(url), None) => match signed_in_at(&url)? {
                Some(proof) => Credentials { url, proof, named_in: None },
                None => token_for(url, &read_local()?.1)?,
            },
            (None, proof) => {
                let (path, servers) = read_local()?;
                if let Some(found) = last_signed_in(&servers, proof.as_ref())? {
                    return self.unless_exposed(found);
                }
                let url = choose(&path, &servers, look)?;
                let found = match proof {
                    Some(proof) => Credentials { url, proof, named_in: None },
                    None => match signed_in_at(&url)? {
                        Some(proof) => Credentials { url, proof, named_in: None },
                        None => token_for(url, &servers)?,
                    },
                };
                Credentials { named_in: Some(path), ..found }
            }
        };
        self.unless_exposed(found)
    }

    /// The address alone, for whoever wants to sign in there, or out.
    pub fn server(&self) -> Result<Url, Error> {
        let named = self.url.as_deref().filter(|url| !url.is_empty()).map(parse_url).transpose()?;
        let url = if let Some(url) = named {
            url
        } else {
            let (path, servers) = read_local()?;
            let last = last_signed_in(&servers, None)?;
            last.map_or_else(|| choose(&path, &servers, look), |found| Ok(found.url))?
        };
        Ok(self.unless_exposed(Credentials { url, proof: Proof::Nothing, named_in: None })?.url)
    }

    fn unless_exposed(&self, found: Credentials) -> Result<Credentials, Error> {
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

impl ConnectionArgs {
    /// What there is to show: a token, or else the job's ID token. A token counts first, because somebody has put it there
    /// beside what the job has anyway.
    fn proof(&self) -> Result<Option<Proof>, Error> {
        let said = |given: &Option<SecretString>| {
            let text = given.as_ref()?.expose_secret().trim();
            (!text.is_empty()).then(|| SecretString::from(text))
        };
        if let Some(token) = said(&self.token) {
            return Ok(Some(Proof::Token(token)));
        }
        if let Some(file) = &self.token_file {
            return read_token(file).map(|token| Some(Proof::Token(token)));
        }
        if let Some(id_token) = said(&self.id_token) {
            return Ok(Some(Proof::IdToken(id_token)));
        }
        self.id_token_file.as_deref().map(|file| read_token(file).map(Proof::IdToken)).transpose()
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

/// The session that `waybill login` has left for the server of this address.
fn signed_in_at(url: &Url) -> Result<Option<Proof>, Error> {
    let file = read_sessions()?;
    let session = file.at(url).filter(|session| session.expires_at > clock::now());
    Ok(session.map(|session| Proof::Token(session.token.clone())))
}

/// The server that somebody signed in at last, where none is named and none was ever started on this machine.
fn last_signed_in(servers: &[LocalServer], proof: Option<&Proof>) -> Result<Option<Credentials>, Error> {
    let path = signed_in::path().filter(|_| servers.is_empty());
    let Some(path) = path else { return Ok(None) };
    let file = read_sessions()?;
    let found = file.sessions.first().map(|session| Credentials {
        url: session.url.clone(),
        proof: proof.cloned().unwrap_or_else(|| Proof::Token(session.token.clone())),
        named_in: Some(path),
    });
    Ok(found)
}

fn read_sessions() -> Result<SignedInFile, Error> {
    let Some(path) = signed_in::path() else { return Ok(SignedInFile::default()) };
    SignedInFile::read(&path)
        .map_err(|error| Error::Usage(format!("cannot read {}: {error}", path.display())))
}

fn read_local() -> Result<(PathBuf, Vec<LocalServer>), Error> {
    let Some(path) = local::path() else { return Ok(Default::default()) };
    match LocalFile::read(&path) {
        Ok(file) => Ok((path, file.servers)),
        Err(error) => Err(Error::Usage(format!("cannot read {}: {error}", path.display()))),
    }
}

/// The server of this machine that is meant where none is named: of those that run the one that began last, else one that
/// may come back.
fn choose(path: &Path, servers: &[LocalServer], look: impl Fn(&LocalServer) -> Found) -> Result<Url, Error> {
    let looked: Vec<_> = servers.iter().map(|server| (server, look(server))).collect();
    let with = |wanted| looked.iter().filter(move |(_, found)| *found == wanted).map(|(server, _)| *server);
    let running: Vec<_> = with(Found::Running).collect();
    if let [chosen, _, ..] = running.as_slice() {
        let LocalServer { url, database, .. } = chosen;
        say(format_args!(
            "{} servers run here; this goes to {url} ({database}), unless WAYBILL_URL names another",
            running.len()
        ));
    }
    let Some(server) = running.first().copied().or_else(|| with(Found::Away).next()) else {
        const REMEDY: &str = "Set WAYBILL_URL (or --url) to its address";
        let ended = servers.first().map(|server| {
            format!(
                "where is Waybill? The server that {} names at {} has ended. {REMEDY}, or start it",
                path.display(),
                server.url
            )
        });
        return Err(Error::Usage(ended.unwrap_or_else(|| format!("where is Waybill? {REMEDY}"))));
    };
    parse_url(&server.url)
}

fn look(server: &LocalServer) -> Found {
    let addresses = Url::parse(&server.url).ok().and_then(|url| url.socket_addrs(|| None).ok());
    let answers =
        addresses.unwrap_or_default().iter().any(|address| TcpStream::connect_timeout(address, LOOK).is_ok());
    match (answers, server.lives()) {
        (true, true) => Found::Running,
        (true, false) => Found::Another,
        (false, _) => Found::Away,
    }
}

/// The token of the local server with this address.
fn token_for(url: Url, servers: &[LocalServer]) -> Result<Credentials, Error> {
    let is_its_own =
        |server: &&LocalServer| Url::parse(&server.url).is_ok_and(|own| own.origin() == url.origin());
    match servers.iter().find(is_its_own) {
        Some(server) => Ok(Credentials { proof: Proof::Token(server.token.clone()), url, named_in: None }),
        None => Err(Error::Usage(format!(
            "no token for {url}: sign in with `waybill login`, or set WAYBILL_TOKEN, or WAYBILL_TOKEN_FILE to a file that holds one; in a job, WAYBILL_ID_TOKEN to its \
             ID token"
        ))),
    }
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

    const HERE: &str = "/state/local.json";

    fn server(port: u16) -> LocalServer {
        let (database, url) = (format!("sqlite:///{port}.db"), format!("http://127.0.0.1:{port}"));
        LocalServer { database, url, token: format!("secret-{port}").into(), process: 1 }
    }

    fn chosen(found: &[Found]) -> String {
        let servers: Vec<_> = (1..).take(found.len()).map(server).collect();
        let look = |server: &LocalServer| {
            servers
                .iter()
                .zip(found)
                .find(|(other, _)| other.url == server.url)
                .map_or(Found::Away, |(_, found)| *found)
        };
        match choose(Path::new(HERE), &servers, look) {
            Ok(url) => url.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn of_the_local_servers_the_newest_that_runs_is_asked() {
        use Found::{Another, Away, Running};
        assert_eq!(chosen(&[Running, Running]), "http://127.0.0.1:1/");
        assert_eq!(chosen(&[Away, Another, Running]), "http://127.0.0.1:3/");
        assert_eq!(chosen(&[Another, Away]), "http://127.0.0.1:2/");
        let ended = chosen(&[Another]);
        assert!(ended.contains("/state/local.json names at http://127.0.0.1:1 has ended"), "{ended}");
        assert!(chosen(&[]).contains("WAYBILL_URL"));
    }

    #[test]
    fn a_local_token_goes_to_its_own_server_only() {
        let servers = [server(1), server(2)];
        let token = |url: &str| match token_for(parse_url(url).unwrap(), &servers) {
            Ok(Credentials { proof: Proof::Token(token), .. }) => token.expose_secret().to_owned(),
            Ok(_) => unreachable!("it is a token"),
            Err(error) => error.to_string(),
        };
        assert_eq!(token("http://127.0.0.1:2/"), "secret-2");
        assert!(token("https://w.test").contains("no token for https://w.test/"));
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
            let found = Credentials { url, proof: Proof::Token("hunter2".into()), named_in: None };
            assert_eq!((found.is_local(), found.is_exposed()), (local, exposed), "{}", found.url);
        }
    }

    #[test]
    fn what_is_no_address_of_a_server_is_refused() {
        let said = |url: &str| parse_url(url).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said("w.test").contains("WAYBILL_URL"));
        assert!(said("ftp://w.test").contains("http://"));
        assert!(
            !said("https://u:hunter2@w.test").is_empty()
                && !said("https://u:hunter2@w.test").contains("hunter2")
        );
    }

    #[test]
    fn the_token_is_not_in_debug_output() {
        let found = token_for(parse_url("http://127.0.0.1:1").unwrap(), &[server(1)]).unwrap();
        assert!(!format!("{found:?}").contains("secret-1"));
    }
}
