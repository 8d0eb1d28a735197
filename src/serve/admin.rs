//! The first admin token: taken from the configuration, or made up and left where the client finds it.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rustix::process::getpid;
use secrecy::ExposeSecret as _;

use super::claim;
use crate::{
    clock,
    config::{
        Config,
        local::{self, LocalFile, LocalServer},
    },
    store::db::Db,
    usecase::tokens::{Bootstrap, bootstrap, make_up},
};

/// Makes sure that there is an admin token, or says what to do.
pub async fn ensure(db: &Db, config: &Config) -> anyhow::Result<()> {
    const REMEDY: &str = "`waybill token create --name NAME --scope admin` makes one";
    let given = config.auth.bootstrap_token.as_ref();
    match bootstrap(db, given).await? {
        Bootstrap::Present => {}
        Bootstrap::Given => tracing::info!("the configured bootstrap token is the admin's now"),
        Bootstrap::Lost => tracing::warn!("no admin token is good any more; {REMEDY}"),
        Bootstrap::Missing => {
            let database = config.database.url.sqlite_path().context(
                "there is no admin token: set WAYBILL__AUTH__BOOTSTRAP_TOKEN (or …_TOKEN_FILE) to a value of at least 32 \
                 characters, such as the output of `openssl rand -hex 32`, or run \
                 `waybill token create --name admin --scope admin`",
            )?;
            // The file comes first: a secret that is in the database alone is lost.
            let secret = make_up(clock::new_id())?;
            let file = beside(database);
            write(&file, secret.expose_secret())?;
            bootstrap(db, Some(&secret)).await?;
            tracing::info!(file = %file.display(), "made an admin token");
        }
    }
    Ok(())
}

/// Leaves the address and the admin token of a local installation where the client finds them. The address is this
/// machine's own, whatever name others know the server by.
pub fn leave_for_client(config: &Config) {
    let Some(database) = config.database.url.sqlite_path() else { return };
    let Ok(token) = fs::read_to_string(beside(database)) else { return };
    let Some(path) = local::path() else { return };
    let database = fs::canonicalize(database).unwrap_or_else(|_gone| database.to_owned());
    let server = LocalServer {
        database: format!("sqlite://{}", database.display()),
        url: format!("http://{}", config.server.local_address()),
        token: token.trim().into(),
        process: getpid().as_raw_nonzero().get(),
    };
    if let Err(error) = enter(&path, server) {
        tracing::warn!(error = %format!("{error:#}"), "the client must be told WAYBILL_URL and WAYBILL_TOKEN by hand");
    }
}

/// Adds a server to those in the file. Another one that starts at the same moment waits, so that neither is lost.
fn enter(path: &Path, server: LocalServer) -> anyhow::Result<()> {
    claim::make_folder_of(path)?;
    let _lock = claim::wait_for(&path.with_extension("lock"))?;
    // What cannot be read is of no use to anybody.
    let mut file = LocalFile::read(path).unwrap_or_default();
    file.enter(server);
    write(path, &serde_json::to_string(&file)?)
}

fn beside(database: &Path) -> PathBuf {
    database.with_file_name("admin.token")
}

/// Writes a file that nobody else can read, whole or not at all.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || -> io::Result<()> {
        claim::make_folder_of(path)?;
        let new = path.with_extension("new");
        drop(fs::remove_file(&new));
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_token_file_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/admin.token");
        write(&path, "first").unwrap();
        write(&path, "second").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
