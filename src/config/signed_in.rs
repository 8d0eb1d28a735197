//! The file of those who have signed in with `waybill login`: a session for each server, which goes to that server and to no
//! other.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use super::local;

/// A session at one server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignedIn {
    /// The server's address.
    pub url: Url,
    /// The session.
    pub id: Uuid,
    /// What is sent.
    #[serde(serialize_with = "local::in_clear")]
    pub token: SecretString,
    /// When it ends at the latest.
    pub expires_at: DateTime<Utc>,
}

/// What is in the file: the sessions, those begun last first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SignedInFile {
    /// One entry for each server.
    pub sessions: Vec<SignedIn>,
}

impl SignedInFile {
    /// Reads the file; it is empty where it is not there. The error never quotes it, since it holds tokens.
    pub fn read(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|_secret| {
                io::Error::new(io::ErrorKind::InvalidData, "it is no file of `waybill login`; remove it")
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// The session at the server of this address.
    pub fn at(&self, url: &Url) -> Option<&SignedIn> {
        self.sessions.iter().find(|session| session.url.origin() == url.origin())
    }

    /// Puts a session first, in the place of the one that was at its server. Those that are over go.
    pub fn enter(&mut self, session: SignedIn, now: DateTime<Utc>) {
        self.leave(&session.url);
        self.sessions.retain(|other| other.expires_at > now);
        self.sessions.insert(0, session);
    }

    /// Forgets the session at the server of this address.
    pub fn leave(&mut self, url: &Url) {
        self.sessions.retain(|session| session.url.origin() != url.origin());
    }

    /// Writes the file so that nobody else can read it, whole or not at all.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let new = path.with_extension("new");
        drop(fs::remove_file(&new));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        serde_json::to_writer(&mut file, self)?;
        file.flush()?;
        file.sync_all()?;
        fs::rename(&new, path)
    }
}

/// Beside the local credentials file.
pub fn path() -> Option<PathBuf> {
    Some(local::path()?.with_file_name("sessions.json"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use chrono::TimeDelta;

    use super::*;

    fn session(url: &str, minutes: i64) -> SignedIn {
        let expires_at = DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes);
        SignedIn { url: url.parse().unwrap(), id: Uuid::nil(), token: "hunter2".into(), expires_at }
    }

    #[test]
    fn there_is_one_session_for_each_server_and_none_that_is_over() {
        let mut file = SignedInFile::default();
        let now = DateTime::UNIX_EPOCH;
        file.enter(session("https://a.test", 1), now);
        file.enter(session("https://b.test/waybill", 9), now);
        file.enter(session("https://a.test/", 9), now + TimeDelta::minutes(2));
        assert_eq!(file.sessions.len(), 2);
        assert!(file.at(&"https://b.test".parse().unwrap()).is_some());
        for other in ["http://b.test", "https://b.test:444", "https://c.b.test"] {
            assert!(file.at(&other.parse().unwrap()).is_none(), "{other}");
        }
        file.leave(&"https://b.test".parse().unwrap());
        assert_eq!(file.sessions.len(), 1);
    }

    #[test]
    fn the_file_is_its_owners_alone_and_never_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/sessions.json");
        let mut file = SignedInFile::default();
        file.enter(session("https://a.test", 1), DateTime::UNIX_EPOCH);
        file.write(&path).unwrap();
        file.write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(SignedInFile::read(&path).unwrap().sessions.len(), 1);
        assert!(!format!("{file:?}").contains("hunter2"));
        fs::write(&path, "hunter2").unwrap();
        assert!(!SignedInFile::read(&path).unwrap_err().to_string().contains("hunter2"));
    }
}
