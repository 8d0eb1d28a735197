//! A throw-away PostgreSQL server in a temporary directory. The test runner has no hook for its end, so a shell stands
//! between: when the pipe from this process closes, however it ended, the shell stops the server and deletes the
//! directory.

use std::{
    env, fs,
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio, id},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, geteuid, test_kill_process};
use url::Url;

use crate::support::{PATIENCE, POLL_INTERVAL};

const DIRECTORY_PREFIX: &str = "waybill-test-pg-";
const MISSING: &str = "no PostgreSQL server was found: install the package `postgresql` (scripts/test does it), \
                       or let WAYBILL_TEST_DATABASE_URL name a server";
/// Where distributions put the server's programs when they are not on the path: `<parent>/<version>/bin` or
/// `<parent>/<version>`.
const PARENTS: [&str; 4] = ["/usr/lib/postgresql", "/usr/libexec", "/opt/homebrew/opt", "/usr/local/opt"];
/// Ignores what a terminal or a runner sends to everyone, so as to outlive the tests by the moment it needs.
const WATCHDOG: &str = r#"
trap '' HUP INT TERM
programs=$1 directory=$2
shift 2
"$programs/postgres" -D "$directory/data" -k "$directory" -c listen_addresses=127.0.0.1 "$@" </dev/null &
cat >/dev/null
kill -QUIT $! 2>/dev/null
wait $!
rm -rf "$directory"
"#;
/// For many tests at once, whose data nobody misses after a crash.
const HASTY: [&str; 6] = [
    "--max_connections=300",
    "--shared_buffers=32MB",
    "--fsync=off",
    "--synchronous_commit=off",
    "--full_page_writes=off",
    "--autovacuum=off",
];

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// Its administrative database.
    pub url: Url,
    /// Holds the pipe whose end the shell waits for.
    _watchdog: Child,
}

/// PostgreSQL refuses to run as root; then this user and group run it.
type User = Option<(u32, u32)>;

impl Server {
    /// Initialises a cluster and starts a server on it that is quick rather than safe.
    pub fn start() -> Result<Self> {
        Self::start_with(&HASTY)
    }

    /// The same with these settings, and with PostgreSQL's own for the rest.
    pub fn start_with(settings: &[&str]) -> Result<Self> {
        let programs = find_programs().context(MISSING)?;
        let user = server_user()?;
        sweep();
        // Another process may take the port between our look and the server's; then the next attempt gets another.
        let mut attempt = 1;
        loop {
            match start_once(&programs, settings, user) {
                Ok(server) => return Ok(server),
                Err(error) if attempt == 3 => return Err(error),
                Err(_) => attempt += 1,
            }
        }
    }
}

fn start_once(programs: &Path, settings: &[&str], user: User) -> Result<Server> {
    let directory = tempfile::Builder::new()
        .prefix(DIRECTORY_PREFIX)
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir()?;
    let password = format!("{:016x}{:016x}", getrandom::u64()?, getrandom::u64()?);
    // The directory's name tells a later sweep nothing about who uses it; this file does.
    for (name, text) in [("owner", id().to_string()), ("password", password.clone()), ("log", String::new())]
    {
        fs::write(directory.path().join(name), text)?;
        give(&directory.path().join(name), user)?;
    }
    give(directory.path(), user)?;
    initialise(programs, directory.path(), user)?;
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let watchdog = watch(programs, directory.path(), port, settings, user)?;
    // From here on the shell deletes it.
    let directory = directory.keep();
    wait_until_ready(&directory.join("log"))?;
    let url = Url::parse(&format!("postgres://waybill:{password}@127.0.0.1:{port}/postgres"))?;
    Ok(Server { url, _watchdog: watchdog })
}

fn initialise(programs: &Path, directory: &Path, user: User) -> Result<()> {
    let mut command = as_user(&programs.join("initdb"), directory, user);
    command.args(["--username=waybill", "--auth=password", "--encoding=UTF8", "--no-locale", "--no-sync"]);
    command.arg("--pwfile").arg(directory.join("password")).arg("-D").arg(directory.join("data"));
    let output = command.output().context("initdb cannot be run")?;
    ensure!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn watch(programs: &Path, directory: &Path, port: u16, settings: &[&str], user: User) -> Result<Child> {
    let log = fs::OpenOptions::new().append(true).open(directory.join("log"))?;
    let mut command = as_user(Path::new("/bin/sh"), Path::new("/"), user);
    command
        .args(["-c", WATCHDOG, "sh"])
        .arg(programs)
        .arg(directory)
        .arg(format!("--port={port}"))
        .args(settings);
    command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).process_group(0);
    command.spawn().context("the shell that runs PostgreSQL cannot be started")
}

fn wait_until_ready(log: &Path) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = fs::read_to_string(log)?;
        if said.contains("ready to accept connections") {
            return Ok(());
        }
        if said.contains("FATAL:") || Instant::now() > deadline {
            bail!("PostgreSQL did not start: {said}");
        }
        thread::sleep(POLL_INTERVAL);
    }
}

fn as_user(program: &Path, directory: &Path, user: User) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory);
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}

fn give(path: &Path, user: User) -> Result<()> {
    if let Some((uid, gid)) = user {
        chown(path, Some(uid), Some(gid))?;
    }
    Ok(())
}

fn server_user() -> Result<User> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let number = |option: &str| -> Result<u32> {
        let output = Command::new("id").args([option, "postgres"]).output()?;
        let text = String::from_utf8(output.stdout)?;
        text.trim()
            .parse()
            .context("PostgreSQL cannot run as root, and there is no user `postgres` to run it")
    };
    Ok(Some((number("-u")?, number("-g")?)))
}

/// The directory of the first complete set of server programs: on the path, where `pg_config` says, or where
/// distributions put them, the newest version first.
pub(super) fn find_programs() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let told = Command::new("pg_config").arg("--bindir").output().ok();
    let told = told.and_then(|output| String::from_utf8(output.stdout).ok());
    let mut packaged: Vec<(u32, PathBuf)> = PARENTS
        .iter()
        .filter_map(|parent| fs::read_dir(parent).ok())
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version =
                entry.file_name().to_str()?.trim_start_matches(|c: char| !c.is_ascii_digit()).parse();
            Some((version.ok()?, entry.path()))
        })
        .collect();
    packaged.sort_unstable_by(|one, other| other.cmp(one));
    env::split_paths(&path)
        .chain(told.map(|directory| PathBuf::from(directory.trim())))
        .chain(packaged.into_iter().flat_map(|(_, directory)| [directory.join("bin"), directory]))
        .find(|directory| directory.join("initdb").is_file() && directory.join("postgres").is_file())
}

/// Deletes what is left of runs whose shell was killed too. A server that still runs there notices that its lock file
/// is gone and stops within a minute.
fn sweep() {
    for entry in fs::read_dir(env::temp_dir()).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(DIRECTORY_PREFIX));
        let owner = fs::read_to_string(entry.path().join("owner")).ok().and_then(|text| text.parse().ok());
        let gone = owner.and_then(Pid::from_raw).is_some_and(|pid| {
            // A process of another user answers with another error.
            test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
        });
        if ours && gone && age(&entry.path()) > Duration::from_mins(1) {
            // Another run may sweep at the same time; whoever comes second finds nothing.
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

fn age(path: &Path) -> Duration {
    let modified = path.metadata().and_then(|metadata| metadata.modified()).ok();
    modified.and_then(|time| time.elapsed().ok()).unwrap_or_default()
}
