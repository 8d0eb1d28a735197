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

use crate::store::error::Unwritable;

/// What the name of the write-ahead log ends in.
const LOG: &str = "-wal";

/// Which file it is.
type Identity = (u64, u64);

/// Which write-ahead log is beside it, and which index into that, by which processes agree.
type Companions = [Identity; 2];

/// What a transaction has left, for the next one to find.
#[derive(Debug, Default)]
struct Left {
    state: Option<State>,
    companions: Option<Companions>,
    overwritten: bool,
}

/// How the file and its log were last changed; nobody but the holder of the permit changes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    file: Stamp,
    log: Option<Stamp>,
}

/// What a look at the file finds, where nothing is wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    state: State,
    companions: Option<Companions>,
}

/// Length and time of the last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    length: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { length: metadata.len(), changed: (metadata.mtime(), metadata.mtime_nsec()) }
    }
}

/// What somebody else has changed since the last transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    /// Nothing.
    Nothing,
    /// The file alone.
    File,
    /// The log, and perhaps the file.
    Log,
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
        Ok(Self {
            path: path.to_owned(),
            companions: [beside(path, LOG), beside(path, "-shm")],
            identity,
            left: Mutex::default(),
            permit: Arc::default(),
        })
    }

    pub(super) async fn permit(&self) -> Permit {
        Arc::clone(&self.permit).lock_owned().await
    }

    /// What is wrong with the file, as far as a look at it tells.
    pub(super) fn look(&self) -> Result<Found, Unwritable> {
        let metadata = fs::metadata(&self.path).map_err(|error| fault(&error, Unwritable::Deleted))?;
        if identity(&metadata) != self.identity {
            return Err(Unwritable::Replaced);
        }
        let (companions, state, overwritten) = {
            let left = self.left();
            (left.companions, left.state, left.overwritten)
        };
        if overwritten || state.is_some_and(|state| metadata.len() < state.file.length) {
            return Err(Unwritable::Overwritten);
        }
        let (found, stamp) = self.companions()?.unzip();
        if companions.is_some() && found != companions {
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
        Ok(Found { state: State { file: Stamp::of(&metadata), log: stamp }, companions: found })
    }

    /// Looks at the file with the permit in hand.
    pub(super) fn changed(&self, _permit: &Permit) -> Result<Changed, Unwritable> {
        let now = self.look()?.state;
        Ok(match self.left().state {
            Some(left) if left.log != now.log => Changed::Log,
            Some(left) if left.file != now.file => Changed::File,
            Some(_) | None => Changed::Nothing,
        })
    }

    /// Looks at the file after a commit, and keeps how that has left it. The commit counts only if this succeeds.
    pub(super) fn settle(&self, _permit: &Permit) -> Result<(), Unwritable> {
        let Found { state, companions } = self.look()?;
        let mut left = self.left();
        left.state = Some(state);
        left.companions = companions;
        Ok(())
    }

    /// What somebody else has changed was found to hold the ledger still, or not.
    pub(super) fn judge(&self, whole: bool) {
        let mut left = self.left();
        left.state = None;
        left.overwritten = !whole;
    }

    /// A new connection has been opened, which may have begun a new log.
    pub(super) fn forget_log(&self) {
        self.left().companions = None;
    }

    /// Those that are there, and how the log was last changed; none where one is missing.
    fn companions(&self) -> Result<Option<(Companions, Stamp)>, Unwritable> {
        let [log, index] = &self.companions;
        match (fs::metadata(log), fs::metadata(index)) {
            (Ok(log), Ok(index)) => Ok(Some(([identity(&log), identity(&index)], Stamp::of(&log)))),
            (Err(error), _) | (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            (Err(error), _) | (_, Err(error)) => Err(fault(&error, Unwritable::LogDeleted)),
        }
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether SQLite would begin a new ledger here and throw away what it finds of an old one: its file is missing or empty,
/// and all that was written lately is in the log beside it.
pub(super) fn is_orphaned_log(path: &Path) -> bool {
    let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    length(path) == 0 && length(&beside(path, LOG)) > 0
}

/// What SQLite puts beside the file itself, wherever links to it are.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()));
    name.push(ending);
    PathBuf::from(name)
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
