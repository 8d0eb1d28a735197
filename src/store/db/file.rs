//! The file of a SQLite ledger under a running server. Whoever has a file open does not notice that it was deleted or
//! replaced: writes go on into a file that nobody will find again. So the file is looked at before each transaction, and
//! once more before one is acknowledged.

use std::{
    ffi::OsString,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::fs::{Access, access};
use tokio::sync::OwnedMutexGuard;

use super::health::Unwritable;

/// Which file it is.
type Identity = (u64, u64);

/// Which write-ahead log is beside it, and which index into that, by which processes agree.
type Companions = [Identity; 2];

/// What a transaction has left, for the next one to find.
#[derive(Debug, Default)]
struct Left {
    /// Length and time of the last change; nobody but the holder of the permit changes the file.
    state: Option<State>,
    companions: Option<Companions>,
    overwritten: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    length: u64,
    changed: (i64, i64),
}

impl State {
    fn of(metadata: &Metadata) -> Self {
        Self { length: metadata.len(), changed: (metadata.mtime(), metadata.mtime_nsec()) }
    }
}

/// The file of a ledger, and what is known of it.
#[derive(Debug)]
pub(super) struct LedgerFile {
    path: PathBuf,
    companions: [PathBuf; 2],
    identity: Identity,
    left: Mutex<Left>,
    permit: Arc<tokio::sync::Mutex<()>>,
}

/// The right to write, which one transaction has at a time; they get it in the order in which they asked.
pub(super) type Permit = OwnedMutexGuard<()>;

impl LedgerFile {
    /// The file that was just opened.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let identity = identity(&fs::metadata(path)?);
        // SQLite puts them beside the file itself, wherever links to it are.
        let file = OsString::from(fs::canonicalize(path)?);
        let beside = |ending: &str| {
            let mut name = file.clone();
            name.push(ending);
            PathBuf::from(name)
        };
        Ok(Self {
            path: path.to_owned(),
            companions: [beside("-wal"), beside("-shm")],
            identity,
            left: Mutex::default(),
            permit: Arc::default(),
        })
    }

    pub(super) async fn permit(&self) -> Permit {
        Arc::clone(&self.permit).lock_owned().await
    }

    /// What is wrong with the file, as far as a look at it tells.
    pub(super) fn look(&self) -> Result<Metadata, Unwritable> {
        let metadata = fs::metadata(&self.path).map_err(|error| fault(&error, Unwritable::Deleted))?;
        if identity(&metadata) != self.identity {
            return Err(Unwritable::Replaced);
        }
        let (companions, state, overwritten) = {
            let left = self.left();
            (left.companions, left.state, left.overwritten)
        };
        if overwritten || state.is_some_and(|state| metadata.len() < state.length) {
            return Err(Unwritable::Overwritten);
        }
        if companions.is_some() && self.companions()? != companions {
            return Err(Unwritable::LogDeleted);
        }
        let [log, _] = &self.companions;
        let folder = log.parent().unwrap_or(log);
        // For the superuser nothing is read-only but what says so of itself.
        if metadata.permissions().readonly()
            || access(&self.path, Access::WRITE_OK).is_err()
            || access(folder, Access::WRITE_OK).is_err()
        {
            return Err(Unwritable::ReadOnly);
        }
        Ok(metadata)
    }

    /// Looks at the file with the permit in hand. False when somebody else has changed it since the last transaction.
    pub(super) fn is_as_left(&self, _permit: &Permit) -> Result<bool, Unwritable> {
        let metadata = self.look()?;
        Ok(self.left().state.is_none_or(|state| state == State::of(&metadata)))
    }

    /// Looks at the file after a commit, and keeps how that has left it. The commit counts only if this succeeds.
    pub(super) fn settle(&self, _permit: &Permit) -> Result<(), Unwritable> {
        let metadata = self.look()?;
        let companions = self.companions()?;
        let mut left = self.left();
        left.state = Some(State::of(&metadata));
        left.companions = companions;
        Ok(())
    }

    /// Somebody else has changed the file. `whole` tells whether it still holds the ledger.
    pub(super) fn judge(&self, whole: bool) {
        let mut left = self.left();
        left.state = None;
        left.overwritten = !whole;
    }

    /// A new connection has been opened, which may have begun a new log.
    pub(super) fn forget_log(&self) {
        self.left().companions = None;
    }

    /// Those that are there; none where one is missing.
    fn companions(&self) -> Result<Option<Companions>, Unwritable> {
        let mut found = Companions::default();
        for (path, found) in self.companions.iter().zip(&mut found) {
            match fs::metadata(path) {
                Ok(metadata) => *found = identity(&metadata),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(fault(&error, Unwritable::LogDeleted)),
            }
        }
        Ok(Some(found))
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

fn fault(error: &io::Error, missing: Unwritable) -> Unwritable {
    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
        return missing;
    }
    Unwritable::Failing
}
