//! Where the database is. The URL may hold a password: every way to print it masks that, and only
//! [`DatabaseUrl::expose`] shows it.

use std::{fmt, path::Path, str::FromStr};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use thiserror::Error;
use url::Url;

/// What a secret is shown as.
pub(super) const MASK: &str = "********";

/// The URL of a database that Waybill can use.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    text: String,
    masked: String,
    backend: Backend,
}

/// Which database a URL speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// One file in the file system of this host.
    Sqlite,
    /// A server, which several replicas may share.
    Postgres,
}

/// Why a text is not a database URL. It never repeats the text, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DatabaseUrlError {
    /// Neither of the two databases.
    #[error("its scheme is neither sqlite nor postgres")]
    Scheme,
    /// A PostgreSQL URL that is none.
    #[error("it is not a valid URL ({0})")]
    Invalid(#[from] url::ParseError),
    /// A SQLite URL that names no file; a ledger in memory would forget everything.
    #[error("it names no file")]
    NoFile,
}

impl DatabaseUrl {
    /// Which database it speaks of.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The URL with its password.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The URL with a password added. It goes among the parameters, because a URL that names no host but the folder of a
    /// socket has no other place for it.
    pub fn with_password(&self, password: &SecretString) -> String {
        let Ok(mut url) = Url::parse(&self.text) else { return self.text.clone() };
        url.query_pairs_mut().append_pair("password", password.expose_secret());
        url.into()
    }

    /// Whether it holds a password.
    pub fn has_password(&self) -> bool {
        self.masked.contains(MASK)
    }

    /// The file of a SQLite database.
    pub fn sqlite_path(&self) -> Option<&Path> {
        match self.backend {
            Backend::Sqlite => sqlite_file(&self.text).map(Path::new),
            Backend::Postgres => None,
        }
    }
}

impl Default for DatabaseUrl {
    fn default() -> Self {
        let text = "sqlite://waybill.db".to_owned();
        Self { masked: text.clone(), text, backend: Backend::Sqlite }
    }
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(file) = sqlite_file(text) {
            if file.is_empty() || file == ":memory:" {
                return Err(DatabaseUrlError::NoFile);
            }
            return Ok(Self { text: text.to_owned(), masked: text.to_owned(), backend: Backend::Sqlite });
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(DatabaseUrlError::Scheme);
        }
        let masked = mask(Url::parse(text)?);
        Ok(Self { text: text.to_owned(), masked, backend: Backend::Postgres })
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.masked)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("DatabaseUrl").field(&self.masked).finish()
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.masked)
    }
}

impl<'de> Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// What stands between the scheme and the parameters.
fn sqlite_file(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:"))?;
    Some(rest.split_once('?').map_or(rest, |(file, _)| file))
}

/// A password may stand before the host or, as libpq allows, among the parameters.
fn mask(mut url: Url) -> String {
    if url.password().is_some() && url.set_password(Some(MASK)).is_err() {
        return format!("{}://{MASK}", url.scheme());
    }
    if url.query_pairs().any(|(key, _)| key == "password") {
        let pairs: Vec<_> = url.query_pairs().into_owned().collect();
        let mut query = url.query_pairs_mut();
        query.clear();
        for (key, value) in &pairs {
            query.append_pair(key, if key == "password" { MASK } else { value });
        }
    }
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DatabaseUrl, DatabaseUrlError> {
        text.parse()
    }

    #[test]
    fn both_databases_are_told_apart() {
        for text in ["sqlite://waybill.db", "sqlite:waybill.db", "sqlite:///var/lib/waybill.db?mode=rwc"] {
            assert_eq!(parse(text).unwrap().backend(), Backend::Sqlite, "{text}");
        }
        for text in ["postgres://db/waybill", "postgresql://u:p@db:5432/waybill?sslmode=require"] {
            assert_eq!(parse(text).unwrap().backend(), Backend::Postgres, "{text}");
        }
    }

    #[test]
    fn what_is_no_database_url_is_refused() {
        assert_eq!(parse("mysql://db/waybill"), Err(DatabaseUrlError::Scheme));
        assert_eq!(parse("waybill.db"), Err(DatabaseUrlError::Scheme));
        assert_eq!(parse("sqlite://"), Err(DatabaseUrlError::NoFile));
        assert_eq!(parse("sqlite::memory:"), Err(DatabaseUrlError::NoFile));
        assert_eq!(parse("sqlite://:memory:?cache=shared"), Err(DatabaseUrlError::NoFile));
        assert!(matches!(parse("postgres://db:port/x"), Err(DatabaseUrlError::Invalid(_))));
    }

    #[test]
    fn the_file_of_a_sqlite_database_is_known() {
        let path = |text| parse(text).unwrap().sqlite_path().map(Path::to_path_buf);
        assert_eq!(path("sqlite:///data/w.db?mode=rwc").as_deref(), Some(Path::new("/data/w.db")));
        assert_eq!(path("sqlite:w.db").as_deref(), Some(Path::new("w.db")));
        assert_eq!(path("postgres://db/w"), None);
    }

    #[test]
    fn a_password_of_any_characters_reaches_the_database() {
        let password = "p@ss w+rd&x=/?#%".to_owned();
        for text in
            ["postgres://u@db:5432/w?sslmode=require", "postgres:///w?host=/run/postgresql", "postgres://db"]
        {
            let url = parse(text).unwrap();
            assert!(!url.has_password(), "{text}");
            let with: Url = url.with_password(&password.clone().into()).parse().unwrap();
            let found =
                with.query_pairs().find(|(key, _)| key == "password").map(|(_, value)| value.into_owned());
            assert_eq!(found.as_ref(), Some(&password), "{text}");
        }
        assert!(parse("postgres://u:p@db/w").unwrap().has_password());
        assert!(parse("postgres://db/w?password=p").unwrap().has_password());
    }

    #[test]
    fn a_password_is_shown_by_expose_alone() {
        for text in ["postgres://u:hunter2@db/w", "postgres://db/w?user=u&password=hunter2&sslmode=disable"] {
            let url = parse(text).unwrap();
            assert_eq!(url.expose(), text);
            for shown in [url.to_string(), format!("{url:?}"), serde_json::to_string(&url).unwrap()] {
                assert!(!shown.contains("hunter2"), "{shown}");
                assert!(shown.contains(MASK) && shown.contains("db/w"), "{shown}");
            }
        }
    }
}
