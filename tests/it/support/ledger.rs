//! A ledger as an installation has it, for the tests of what surrounds the binary: on PostgreSQL with the roles of the
//! Kubernetes component, so that the server has no more rights than there, or in a SQLite file.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sea_orm::{ConnectOptions, ConnectionTrait as _, Database};
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use super::{
    api::start_body,
    db::TestDb,
    eventually,
    postgres::programs,
    process::{self, ServerProcess},
};

const ROLES: [&str; 4] = ["superuser", "owner", "app", "backup"];

/// A ledger, and a directory for its backups.
#[derive(Debug)]
pub struct Ledger {
    pub db: TestDb,
    /// Of its database, or of its file.
    pub name: String,
    pub backups: PathBuf,
    directory: TempDir,
}

/// What a program did.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    /// Standard output, and then standard error.
    pub text: String,
}

impl Outcome {
    /// Its text, when it succeeded.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}", self.text);
        self.text
    }

    /// Fails the test unless it ended with this code and said this.
    pub fn refused(&self, code: i32, said: &str) {
        assert_eq!(self.code, code, "{}", self.text);
        assert!(self.text.contains(said), "{said:?} is not in {:?}", self.text);
    }
}

impl Ledger {
    /// An empty one on PostgreSQL, migrated by its owner.
    pub async fn postgres() -> Self {
        let db = TestDb::postgres().await;
        let name = Url::parse(&db.url).unwrap().path().trim_start_matches('/').to_owned();
        let ledger = Self::of(db, name);
        ledger.sql("postgres", &format!("DROP DATABASE {}", ledger.name)).await;
        ledger.sql("postgres", &format!("CREATE DATABASE {} TEMPLATE template0", ledger.name)).await;
        ledger.make_roles();
        ledger.waybill(&ledger.url("owner"), &["migrate", "up"]).ok();
        ledger
    }

    /// An empty one in a file.
    pub async fn sqlite() -> Self {
        Self::of(TestDb::sqlite().await, "waybill.db".to_owned())
    }

    fn of(db: TestDb, name: String) -> Self {
        let directory = TempDir::new().unwrap();
        let backups = directory.path().join("backups");
        fs::create_dir(&backups).unwrap();
        Self { db, name, backups, directory }
    }

    /// The component's own script, with names of this test: roles belong to the whole server.
    fn make_roles(&self) {
        let secrets = self.directory.path().join("secrets");
        fs::create_dir(&secrets).unwrap();
        let admin = Url::parse(&self.db.url).unwrap();
        for role in ROLES {
            let password = if role == "superuser" { admin.password().unwrap() } else { role };
            fs::write(secrets.join(format!("{role}-password")), password).unwrap();
        }
        let script = fs::read_to_string(in_repository("kustomize/components/postgres/roles.sh")).unwrap();
        let script = script.replace("/run/secrets/waybill", "SECRETS").replace("waybill", &self.name);
        let script = script.replace("SECRETS", secrets.to_str().unwrap());
        let file = self.directory.path().join("roles.sh");
        fs::write(&file, script).unwrap();
        // Other tests grant the same predefined role at the same moment, and PostgreSQL lets only one of them.
        for attempt in 0..50 {
            let mut command = self.bash(&file);
            command.env("POSTGRES_USER", admin.username());
            let outcome = outcome(command);
            if attempt == 49 || !outcome.text.contains("tuple concurrently updated") {
                outcome.ok();
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Where the ledger is, as this role of the component. A file has one owner.
    pub fn url(&self, role: &str) -> String {
        if self.db.is_postgres() { self.url_of(&self.name, role) } else { self.db.url.clone() }
    }

    /// Another database on the ledger's server.
    pub fn url_of(&self, database: &str, role: &str) -> String {
        let mut url = Url::parse(&self.db.url).unwrap();
        url.set_path(database);
        if role != "superuser" {
            url.set_username(&format!("{}_{role}", self.name)).unwrap();
            url.set_password(Some(role)).unwrap();
        }
        url.into()
    }

    /// The file of a SQLite ledger.
    pub fn file(&self) -> PathBuf {
        PathBuf::from(self.db.url.strip_prefix("sqlite://").unwrap())
    }

    /// A server with the rights that it has in Kubernetes.
    pub async fn serve(&self) -> ServerProcess {
        ServerProcess::start_with(&self.db, &[("WAYBILL__DATABASE__URL", &self.url("app"))]).await
    }

    /// `scripts/backup.sh`, as the role that only reads.
    pub fn backup(&self, arguments: &[&str]) -> Outcome {
        outcome(self.backup_command(arguments))
    }

    /// The same, not yet started.
    pub fn backup_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bash(&in_repository("scripts/backup.sh"));
        command.env("DATABASE_URL", self.url("backup")).args(arguments);
        command
    }

    /// `scripts/restore.sh`, as the superuser.
    pub fn restore(&self, arguments: &[&str]) -> Outcome {
        outcome(self.restore_command(arguments))
    }

    /// The same, not yet started.
    pub fn restore_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bash(&in_repository("scripts/restore.sh"));
        command.env("DATABASE_URL", self.url("superuser")).args(arguments);
        command
    }

    /// Starts and finishes deployments of so many versions, and waits until their events are in the chain.
    pub async fn fill(&self, server: &ServerProcess, versions: std::ops::Range<u32>) {
        let client = server.client();
        for version in versions {
            let body = start_body("shop/prod", &format!("1.{version}"));
            let started = client.post(server.at("/api/v1/deployments")).json(&body).send().await.unwrap();
            let started: Value = started.error_for_status().unwrap().json().await.unwrap();
            let id = started["deployment"]["id"].as_str().unwrap();
            let finish = client.post(server.at(&format!("/api/v1/deployments/{id}/finish")));
            let finished = finish.json(&json!({ "status": "succeeded" })).send().await.unwrap();
            assert_eq!(finished.status(), 200);
        }
        eventually("the sealing of all events", async || {
            (!self.verified().contains("wait to be sealed")).then_some(())
        })
        .await;
    }

    /// The head of the audit log and the number of events, when the chain is whole.
    pub fn verified(&self) -> String {
        self.waybill(&self.url("app"), &["audit", "verify"]).ok()
    }

    /// The waybill program on a database.
    pub fn waybill(&self, url: &str, arguments: &[&str]) -> Outcome {
        let mut command = process::command(&self.directory);
        command.args(arguments).args(["--database-url", url]);
        outcome(command)
    }

    /// The facts of the newest backup.
    pub fn facts(&self) -> String {
        fs::read_to_string(self.backups.join(self.names().first().unwrap()).join("facts")).unwrap()
    }

    /// The backups that `--list` shows, newest first.
    pub fn names(&self) -> Vec<String> {
        let listed = self.backup(&["--list"]).ok();
        listed.lines().skip(1).map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
    }

    /// Runs SQL as the superuser.
    pub async fn sql(&self, database: &str, statement: &str) {
        let mut url = Url::parse(&self.db.url).unwrap();
        if self.db.is_postgres() {
            url.set_path(database);
        }
        let mut options = ConnectOptions::new(url.as_str());
        options.max_connections(1).sqlx_logging(false);
        let connection = Database::connect(options).await.unwrap();
        connection.execute_unprepared(statement).await.unwrap();
        connection.close().await.unwrap();
    }

    /// A script with libpq's variables of the superuser, the directory of the backups, and the binary.
    fn bash(&self, script: &Path) -> Command {
        let mut command = Command::new("bash");
        let path = env::var_os("PATH").unwrap_or_default();
        // The programs of the server that the tests run: pg_dump must not be older.
        let path = env::join_paths(programs().into_iter().chain(env::split_paths(&path))).unwrap();
        command.arg(script).env_clear().env("PATH", path).env("HOME", self.directory.path());
        command.env("BACKUP_DIR", &self.backups).env("WAYBILL_BINARY", env!("CARGO_BIN_EXE_waybill"));
        if self.db.is_postgres() {
            let url = Url::parse(&self.db.url).unwrap();
            command.env("PGHOST", url.host_str().unwrap());
            command.env("PGPORT", url.port().unwrap_or(5432).to_string());
            command.env("PGUSER", url.username()).env("PGPASSWORD", url.password().unwrap_or_default());
        }
        command.current_dir(self.directory.path()).stdin(Stdio::null());
        command
    }
}

impl Drop for Ledger {
    /// The copies that restoring has left, and the roles. On a server of our own they go with it anyway.
    fn drop(&mut self) {
        if !self.db.is_postgres() || std::thread::panicking() {
            return;
        }
        let mut script = format!(
            "psql -XAtq -d postgres -c \"SELECT datname FROM pg_database WHERE datname ~ '^{}(_|$)'\" |
             xargs -r -I NAME psql -Xq -d postgres -c 'DROP DATABASE NAME WITH (FORCE)'\n",
            self.name
        );
        for role in &ROLES[1..] {
            writeln!(script, "psql -Xq -d postgres -c 'DROP ROLE {}_{role}'", self.name).unwrap();
        }
        let file = self.directory.path().join("clean-up.sh");
        fs::write(&file, script).unwrap();
        let outcome = outcome(self.bash(&file));
        if outcome.code != 0 {
            eprintln!("{}", outcome.text);
        }
    }
}

/// Runs a program to its end.
pub fn outcome(mut command: Command) -> Outcome {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    Outcome { code: output.status.code().unwrap(), text }
}

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
