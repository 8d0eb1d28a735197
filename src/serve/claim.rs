//! Files that one process at a time holds. They stay when it ends; the system lets go of them, however it ends.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::config::database_url::DatabaseUrl;

/// What the name of the file ends in that the server of a ledger holds.
const LOCK: &str = "-lock";

/// Makes this process the one server of a SQLite ledger until what is returned is dropped; a second one is refused. It is a
/// file of its own, because SQLite's locks end when anybody in the process closes the ledger's. PostgreSQL has many servers.
pub fn ledger(url: &DatabaseUrl) -> anyhow::Result<Option<File>> {
    let Some(database) = url.sqlite_path() else { return Ok(None) };
    let name = beside(database);
    let mut file = open(&name).map_err(|error| {
        let why = refused(&name, error.kind());
        anyhow::Error::from(error).context(why)
    })?;
    match file.try_lock() {
        Ok(()) => {
            // Who it is, for whoever is refused.
            file.set_len(0)?;
            write!(file, "{}", std::process::id())?;
            Ok(Some(file))
        }
        Err(TryLockError::WouldBlock) => {
            let process = fs::read_to_string(&name).unwrap_or_default();
            anyhow::bail!(
                "{url} is in use by another server (process {process}); a SQLite file has one server at a time"
            )
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", name.display()))
        }
    }
}

/// Waits until this process holds the file.
pub fn wait_for(path: &Path) -> io::Result<File> {
    let file = open(path)?;
    file.lock()?;
    Ok(file)
}

/// Makes the folder of a file, for its owner alone.
pub fn make_folder_of(path: &Path) -> io::Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => DirBuilder::new().recursive(true).mode(0o700).create(folder),
        None => Ok(()),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// What is wrong with the folder, for those to whom a container's volume shows as no more than a path.
fn refused(name: &Path, error: io::ErrorKind) -> String {
    let name = std::path::absolute(name).unwrap_or_else(|_gone| name.to_owned());
    let folder = name.parent().unwrap_or(&name).display();
    let user = rustix::process::geteuid().as_raw();
    let remedy = if error == io::ErrorKind::PermissionDenied {
        format!(
            "; user {user} may not write there: `chown -R {user} DIRECTORY`, where DIRECTORY is {folder} or what is mounted there"
        )
    } else if error == io::ErrorKind::ReadOnlyFilesystem {
        format!("; {folder} takes no writes: a container needs a volume there")
    } else {
        String::new()
    };
    format!("cannot open {}{remedy}", name.display())
}

/// The same for every name that leads to the ledger.
fn beside(database: &Path) -> PathBuf {
    let database = fs::canonicalize(database).unwrap_or_else(|_new| database.to_owned());
    let mut name = database.into_os_string();
    name.push(LOCK);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_takes_no_file_is_named_with_what_it_needs() {
        let said = |error| refused(Path::new("/var/lib/waybill/waybill.db-lock"), error);
        let user = rustix::process::geteuid().as_raw();
        let denied = said(io::ErrorKind::PermissionDenied);
        assert!(denied.starts_with("cannot open /var/lib/waybill/waybill.db-lock; "), "{denied}");
        assert!(denied.contains(&format!("chown -R {user} ")), "{denied}");
        assert!(said(io::ErrorKind::ReadOnlyFilesystem).contains("a volume"));
        assert_eq!(said(io::ErrorKind::NotFound), "cannot open /var/lib/waybill/waybill.db-lock");
        let relative = refused(Path::new("waybill.db-lock"), io::ErrorKind::NotFound);
        assert!(relative.starts_with("cannot open /"), "{relative}");
    }
}
