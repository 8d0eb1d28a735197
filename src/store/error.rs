//! What can go wrong in the database, in the kinds that a caller treats differently.

use sea_orm::{DbErr, RuntimeErr, SqlErr, sqlx};

/// An error that may pass when the transaction is tried again.
pub trait Transient {
    /// Whether the same transaction may work when it is tried again.
    fn is_transient(&self) -> bool;
}

/// Why the database takes no writes. Anyone may read it: it names no path, host or statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    /// There is no file of that name any more.
    #[error("its file was deleted or moved away; put it back")]
    Deleted,
    /// There is another file of that name.
    #[error("its file was replaced by another; put it back, or restart the server to use the other")]
    Replaced,
    /// What is in the file is not what was written there.
    #[error("its file was truncated or overwritten; stop the server and restore a backup")]
    Overwritten,
    /// The file is not the only one that writes go to, and the others are gone.
    #[error(
        "the write-ahead log beside its file, or the log's index, was deleted or replaced; restart the server"
    )]
    LogDeleted,
    /// Nobody may write, or not this server.
    #[error("it is read-only")]
    ReadOnly,
    /// There is no room left.
    #[error("its disk is full")]
    Full,
    /// Writing fails otherwise.
    #[error("its disk does not take what is written to it")]
    Failing,
}

/// What is said of a database that holds a part of a ledger.
pub const HALF_COPIED: &str = "the database holds an unfinished copy of another: run `waybill copy` again, which goes on \
                               where it stopped, or use another database";

/// A failed statement.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another row has this key; the constraint or its columns are named.
    #[error("a unique key is taken: {0}")]
    Unique(String),
    /// Another transaction was in the way; the same again may work.
    #[error("the database is busy")]
    Busy(#[source] DbErr),
    /// The database cannot be reached, or has no connection to spare.
    #[error("the database is not available")]
    Unavailable(#[source] DbErr),
    /// The database takes no writes, or what it was told is not where others would find it.
    #[error("the database takes no writes: {0}")]
    Unwritable(Unwritable),
    /// The connection was lost while PostgreSQL was committing: nobody knows whether it has.
    #[error("the connection was lost before the database said whether it has committed")]
    InDoubt(#[source] DbErr),
    /// A row holds what no code of ours writes.
    #[error("the database holds an unreadable {0}")]
    Corrupt(&'static str),
    /// A copy into the database was begun and is not finished.
    #[error("{}", HALF_COPIED)]
    HalfCopied,
    /// SQLite's file is gone, and its log is not: opened, a new ledger would begin and the log be thrown away.
    #[error(
        "the database file is missing or empty, but its write-ahead log (-wal) is still there; put the file back, or \
         move the log away to begin a new ledger"
    )]
    OrphanedLog,
    /// Anything else: a defect of ours.
    #[error("a statement failed")]
    Other(#[source] DbErr),
}

impl Transient for StoreError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Busy(_))
    }
}

impl StoreError {
    /// Why no write would work, if this error tells that.
    pub fn unwritable(&self) -> Option<Unwritable> {
        match self {
            Self::Unwritable(fault) => Some(*fault),
            Self::Unavailable(error) => unwritable(error),
            Self::Unique(_)
            | Self::Busy(_)
            | Self::InDoubt(_)
            | Self::Corrupt(_)
            | Self::HalfCopied
            | Self::OrphanedLog
            | Self::Other(_) => None,
        }
    }

    /// Whether it tells nothing but that the database is out of reach now.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::Unavailable(_))
    }

    /// Why PostgreSQL cannot be used, where that passes though nobody changes anything: it does not answer, is starting or has
    /// no connection to spare. Whatever else it says, as of a password or of a name, stays so until somebody mends it. Anyone
    /// may read it.
    pub fn passing(&self) -> Option<String> {
        let error = match self {
            Self::Busy(_) => return Some("others have it locked".to_owned()),
            Self::Unavailable(error) | Self::InDoubt(error) => error,
            Self::Unique(_)
            | Self::Unwritable(_)
            | Self::Corrupt(_)
            | Self::HalfCopied
            | Self::OrphanedLog
            | Self::Other(_) => return None,
        };
        let why = match (code(error).as_deref(), inner(error)) {
            (Some(code), _) => match code.get(..2)? {
                "08" => "it broke the connection off",
                "53" => "it has no room for another connection",
                "55" => "it takes no connections",
                "57" => "it is starting or stopping",
                _ => return None,
            },
            (None, Some(sqlx::Error::Io(error))) => return Some(io_words(error)),
            (None, Some(sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::Configuration(_))) => {
                return None;
            }
            (None, _) => "no connection came about in time",
        };
        Some(why.to_owned())
    }

    /// Whether it may have been done all the same.
    pub fn is_in_doubt(&self) -> bool {
        matches!(self, Self::InDoubt(_))
    }

    /// Whether the database's user may not do it.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Other(error) if code(error).as_deref() == Some("42501"))
    }

    /// What of a row cannot be read, if that is what this error tells of one.
    pub fn unreadable(&self) -> Option<String> {
        if let Self::Corrupt(what) = self {
            return Some((*what).to_owned());
        }
        let Self::Other(error) = self else { return None };
        if let Some(sqlx::Error::ColumnDecode { index, .. }) = inner(error) {
            return Some(index.trim_matches('"').to_owned());
        }
        // Nothing where something must be.
        matches!(error, DbErr::Type(_)).then(|| "value".to_owned())
    }

    /// Whether this unique key is the one that is taken.
    pub fn is_taken(&self, key: &str) -> bool {
        matches!(self, Self::Unique(taken) if taken.contains(key))
    }
}

#[cfg(test)]
impl StoreError {
    /// As when somebody else holds a lock; for tests above the store, which do not know the driver's errors.
    pub(crate) fn busy(message: &str) -> Self {
        Self::Busy(DbErr::Custom(message.to_owned()))
    }

    /// As when the connection is lost.
    pub(crate) fn unavailable(message: &str) -> Self {
        Self::Unavailable(DbErr::Custom(message.to_owned()))
    }
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        if let DbErr::TryIntoErr { into, .. } = error {
            return Self::Corrupt(into);
        }
        if let Some(SqlErr::UniqueConstraintViolation(message)) = error.sql_err() {
            return Self::Unique(message);
        }
        match code(&error).as_deref() {
            // PostgreSQL: serialization failure, deadlock, a lock that was waited for in vain; SQLite: busy, and busy on a
            // stale snapshot.
            Some("40001" | "40P01" | "55P03" | "5" | "517") => Self::Busy(error),
            // PostgreSQL: connection exceptions, insufficient resources, operator intervention, read-only standby; and
            // whatever a new connection may be refused with: a password, a database that is not there or shut.
            // SQLite: I/O error, cannot open, full disk, read-only, damaged.
            Some(code) if is_outage(code) => Self::Unavailable(error),
            None if is_connection(&error) => Self::Unavailable(error),
            Some(_) | None => Self::Other(error),
        }
    }
}

/// A row whose columns do not go together, in the words of [`StoreError::Corrupt`].
pub(super) fn corrupt(what: &'static str) -> DbErr {
    let source = std::fmt::Error;
    DbErr::TryIntoErr { from: "row", into: what, source: std::sync::Arc::new(source) }
}

fn is_outage(code: &str) -> bool {
    matches!(sqlite_kind(code), Some(8 | 10 | 11 | 13 | 14 | 26))
        || (code.len() == 5
            && ["08", "28", "3D", "53", "57", "25006", "55000"].iter().any(|class| code.starts_with(class)))
}

/// The primary result code of SQLite's in an extended one (<https://www.sqlite.org/rescode.html>); PostgreSQL's codes have
/// five characters.
fn sqlite_kind(code: &str) -> Option<u32> {
    (code.len() < 5).then(|| code.parse::<u32>().ok()).flatten().map(|code| code & 0xff)
}

/// Why no write would work, if the driver's error tells that.
pub(super) fn unwritable(error: &DbErr) -> Option<Unwritable> {
    let code = code(error)?;
    match (code.as_str(), sqlite_kind(&code)) {
        ("25006", _) | (_, Some(8)) => Some(Unwritable::ReadOnly),
        ("53100", _) | (_, Some(13)) => Some(Unwritable::Full),
        (_, Some(11 | 26)) => Some(Unwritable::Overwritten),
        (_, Some(10 | 14)) => Some(Unwritable::Failing),
        _ => None,
    }
}

fn code(error: &DbErr) -> Option<String> {
    let code = inner(error)?.as_database_error()?.code()?;
    Some(code.into_owned())
}

/// The driver's own error.
fn inner(error: &DbErr) -> Option<&sqlx::Error> {
    if let DbErr::Exec(RuntimeErr::SqlxError(inner))
    | DbErr::Query(RuntimeErr::SqlxError(inner))
    | DbErr::Conn(RuntimeErr::SqlxError(inner)) = error
    {
        return Some(inner);
    }
    None
}

/// What kind of fault it is; the system's own words may name hosts.
fn io_words(error: &std::io::Error) -> String {
    match error.kind().to_string() {
        other if other.starts_with("other") || other.starts_with("uncategorized") => {
            "its address leads nowhere".to_owned()
        }
        known => known,
    }
}

fn is_connection(error: &DbErr) -> bool {
    use sqlx::Error::{Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
    matches!(error, DbErr::ConnectionAcquire(_) | DbErr::Conn(_))
        || matches!(
            inner(error),
            Some(Io(_) | Tls(_) | Protocol(_) | PoolTimedOut | PoolClosed | WorkerCrashed)
        )
}
