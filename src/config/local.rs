//! The local credentials file: where servers that made their own first token leave it for the client on the same machine.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize, Serializer};

/// A server that has left its address and token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LocalServer {
    /// Its database, by the absolute path of its file.
    pub database: String,
    /// Its address on this machine.
    pub url: String,
    /// Its admin token.
    #[serde(serialize_with = "in_clear")]
    pub token: SecretString,
    /// Which process it is.
    pub process: i32,
}

/// What is in the file: the servers, those that began last first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct LocalFile {
    /// One entry for each server.
    pub servers: Vec<LocalServer>,
}

impl LocalServer {
    /// Whether its process still runs; another one may have its number.
    pub fn lives(&self) -> bool {
        let test = Pid::from_raw(self.process).map(test_kill_process);
        matches!(test, Some(Ok(()) | Err(Errno::PERM)))
    }
}

impl LocalFile {
    /// Reads the file; it is empty where it is not there. The error never quotes it, since it holds tokens.
    pub fn read(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|_secret| {
                io::Error::new(io::ErrorKind::InvalidData, "it is not a credentials file; remove it")
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Puts a server first. It takes the place of those that are gone or had its database or address.
    pub fn enter(&mut self, server: LocalServer) {
        self.servers
            .retain(|other| other.lives() && other.database != server.database && other.url != server.url);
        self.servers.insert(0, server);
    }
}

/// `$XDG_STATE_HOME/waybill/local.json`, by default below `~/.local/state` (XDG Base Directory Specification 0.8).
#[expect(clippy::disallowed_methods, reason = "the configuration reads the environment")]
pub fn path() -> Option<PathBuf> {
    let state = env::var_os("XDG_STATE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let state = state.or_else(|| env::home_dir().map(|home| home.join(".local/state")))?;
    Some(state.join("waybill/local.json"))
}

pub(super) fn in_clear<S: Serializer>(token: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(token.expose_secret())
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;

    fn server(database: &str, url: &str, process: u32) -> LocalServer {
        let (database, url) = (database.into(), url.into());
        LocalServer { database, url, token: "hunter2".into(), process: process.cast_signed() }
    }

    #[test]
    fn each_server_has_one_entry_and_those_that_are_gone_have_none() {
        let (own, gone) = (process::id(), 0);
        let mut file = LocalFile::default();
        file.enter(server("sqlite:///a", "http://127.0.0.1:1", own));
        file.enter(server("sqlite:///b", "http://127.0.0.1:2", own));
        file.enter(server("sqlite:///c", "http://127.0.0.1:3", gone));
        file.enter(server("sqlite:///a", "http://127.0.0.1:4", own));
        file.enter(server("sqlite:///d", "http://127.0.0.1:2", own));
        let left: Vec<_> = file.servers.iter().map(|server| server.url.as_str()).collect();
        assert_eq!(left, ["http://127.0.0.1:2", "http://127.0.0.1:4"]);
        assert_eq!(file.servers[0].database, "sqlite:///d");
    }

    #[test]
    fn what_is_written_is_read_again_and_a_broken_file_is_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("local.json");
        assert!(LocalFile::read(&path).unwrap().servers.is_empty());
        let mut file = LocalFile::default();
        file.enter(server("sqlite:///a", "http://127.0.0.1:1", process::id()));
        assert!(!format!("{file:?}").contains("hunter2"));
        fs::write(&path, serde_json::to_vec(&file).unwrap()).unwrap();
        let again = LocalFile::read(&path).unwrap().servers;
        assert_eq!(again[0].token.expose_secret(), "hunter2");
        assert!(again[0].lives());
        fs::write(&path, "hunter2").unwrap();
        assert!(!LocalFile::read(&path).unwrap_err().to_string().contains("hunter2"));
    }
}
