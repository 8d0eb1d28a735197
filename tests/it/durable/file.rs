//! The file of a SQLite ledger is deleted, replaced, damaged or made read-only under a live server. The server says so
//! within seconds, acknowledges nothing that would not be found again, and goes on once the file is as it was.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Instant,
};

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};
use waybill::clock;

use crate::support::{db::TestDb, eventually, process::ServerProcess};

struct Ledger {
    db: TestDb,
    server: ServerProcess,
    acknowledged: Vec<String>,
}

impl Ledger {
    async fn new() -> Self {
        let db = TestDb::sqlite().await;
        let server = ServerProcess::start(&db).await;
        let mut ledger = Self { db, server, acknowledged: Vec::new() };
        for _ in 0..5 {
            assert_eq!(ledger.write().await.0, 201);
        }
        ledger
    }

    fn path(&self) -> PathBuf {
        self.db.url.strip_prefix("sqlite://").unwrap().into()
    }

    /// Registers another service; keeps its name if that was acknowledged.
    async fn write(&mut self) -> (u16, Value) {
        let name = format!("service-{}", self.acknowledged.len());
        let request = self.server.client().post(self.server.at("/api/v1/services"));
        let answer = request.json(&json!({ "name": name })).send().await.unwrap();
        let status = answer.status().as_u16();
        if status == 201 {
            self.acknowledged.push(name);
        }
        (status, answer.json().await.unwrap())
    }

    /// Why the server is not ready, once it is not.
    async fn noticed(&self) -> String {
        let since = Instant::now();
        let report: Value = eventually("a server that is not ready", async || {
            let ready = self.server.client().get(self.server.at("/readyz")).send().await.unwrap();
            if ready.status() == 200 { None } else { ready.json().await.ok() }
        })
        .await;
        println!("noticed after {:?}: {report}", since.elapsed());
        report["checks"]["database"]["detail"].as_str().unwrap().to_owned()
    }

    /// Every event of what was acknowledged has its place in the chain.
    async fn sealed(&self) {
        eventually("the chain's last seal", async || {
            let events = self.server.at("/api/v1/events?kind=service.created&limit=200");
            let page: Value = self.server.client().get(events).send().await.unwrap().json().await.unwrap();
            let sealed = page["items"].as_array().unwrap().iter().filter(|event| event["seq"].is_i64());
            (sealed.count() == self.acknowledged.len()).then_some(())
        })
        .await;
    }

    /// The server is not ready, for this reason, and refuses to write for the same.
    async fn assert_noticed(&mut self, reason: &str) {
        let detail = self.noticed().await;
        assert!(detail.contains(reason), "{detail}");
        let before = self.acknowledged.len();
        for _ in 0..3 {
            let (status, problem) = self.write().await;
            assert_eq!(status, 503, "{problem}");
            assert!(problem["detail"].as_str().unwrap().contains(reason), "{problem}");
        }
        assert_eq!(before, self.acknowledged.len());
    }

    async fn assert_recovers(&mut self) {
        eventually("a server that is ready again", async || {
            let ready = self.server.client().get(self.server.at("/readyz")).send().await.unwrap();
            (ready.status() == 200).then_some(())
        })
        .await;
        assert_eq!(self.write().await.0, 201);
        self.assert_all_there().await;
    }

    async fn assert_all_there(&self) {
        for name in &self.acknowledged {
            let path = self.server.at(&format!("/api/v1/services/{name}"));
            assert_eq!(self.server.client().get(path).send().await.unwrap().status(), 200, "{name}");
        }
    }

    async fn restart(&mut self) {
        self.server = ServerProcess::start(&self.db).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_moved_away_is_missed_and_may_come_back() {
    let mut ledger = Ledger::new().await;
    let elsewhere = ledger.path().with_extension("elsewhere");
    fs::rename(ledger.path(), &elsewhere).unwrap();
    // Nothing is acknowledged from the first moment on, though nobody has looked yet.
    assert_eq!(ledger.write().await.0, 503);
    ledger.assert_noticed("deleted").await;
    assert!(!ledger.path().exists(), "no new ledger is begun in its place");
    fs::rename(&elsewhere, ledger.path()).unwrap();
    ledger.assert_recovers().await;
    ledger.server.kill9();
    ledger.restart().await;
    ledger.assert_all_there().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_replaced_is_not_taken_for_the_ledger() {
    let mut ledger = Ledger::new().await;
    let other = TestDb::sqlite().await;
    let other: &Path = other.url.strip_prefix("sqlite://").unwrap().as_ref();
    let copy = ledger.path().with_extension("copy");
    fs::copy(other, &copy).unwrap();
    fs::rename(&copy, ledger.path()).unwrap();
    assert_eq!(ledger.write().await.0, 503);
    ledger.assert_noticed("replaced").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_truncated_or_overwritten_is_told() {
    for length in [0, 4096] {
        let mut ledger = Ledger::new().await;
        OpenOptions::new().write(true).open(ledger.path()).unwrap().set_len(length).unwrap();
        assert_eq!(ledger.write().await.0, 503);
        ledger.assert_noticed("truncated or overwritten").await;
    }
    let mut ledger = Ledger::new().await;
    let length = usize::try_from(fs::metadata(ledger.path()).unwrap().len()).unwrap();
    let mut file = OpenOptions::new().write(true).open(ledger.path()).unwrap();
    file.write_all(&vec![7; length]).unwrap();
    assert_eq!(ledger.write().await.0, 503);
    ledger.assert_noticed("truncated or overwritten").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_another_process_has_changed_as_it_may_is_used_on() {
    let mut ledger = Ledger::new().await;
    // As a checkpoint by a second process changes it.
    let bytes = fs::read(ledger.path()).unwrap();
    OpenOptions::new().write(true).open(ledger.path()).unwrap().write_all(&bytes).unwrap();
    assert_eq!(ledger.write().await.0, 201);
    ledger.assert_recovers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_made_read_only_is_told_until_it_is_not() {
    let mut ledger = Ledger::new().await;
    fs::set_permissions(ledger.path(), Permissions::from_mode(0o400)).unwrap();
    ledger.assert_noticed("read-only").await;
    fs::set_permissions(ledger.path(), Permissions::from_mode(0o600)).unwrap();
    ledger.assert_recovers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_ahead_log_that_was_deleted_takes_nothing_along() {
    for companion in ["db-wal", "db-shm"] {
        let mut ledger = Ledger::new().await;
        fs::remove_file(ledger.path().with_extension(companion)).unwrap();
        assert_eq!(ledger.write().await.0, 503);
        ledger.assert_noticed("write-ahead log").await;
        ledger.server.kill9();
        ledger.restart().await;
        ledger.assert_recovers().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_head_was_overwritten_takes_nothing_along() {
    let mut ledger = Ledger::new().await;
    // A commit under way would take the change for its own.
    ledger.sealed().await;
    let mut log = OpenOptions::new().write(true).open(ledger.path().with_extension("db-wal")).unwrap();
    log.write_all(&[0; 32]).unwrap();
    assert_eq!(ledger.write().await.0, 201);
    ledger.server.kill9();
    ledger.restart().await;
    ledger.assert_recovers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_without_its_file_is_not_thrown_away() {
    for emptied in [false, true] {
        let mut ledger = Ledger::new().await;
        let elsewhere = ledger.path().with_extension("elsewhere");
        fs::copy(ledger.path(), &elsewhere).unwrap();
        if emptied {
            fs::write(ledger.path(), "").unwrap();
        } else {
            fs::remove_file(ledger.path()).unwrap();
        }
        ledger.server.kill9();
        let mut refused = ServerProcess::spawn(&ledger.db, &[]);
        assert_eq!(refused.wait().await.code(), Some(1));
        let said = refused.stderr();
        assert!(said.contains("its write-ahead log (-wal) is still there; put the file back"), "{said}");
        fs::rename(&elsewhere, ledger.path()).unwrap();
        ledger.restart().await;
        ledger.assert_recovers().await;
    }
}

/// Nothing can be opened for a while: whether the file is sound cannot be told, and a sound one is not called damaged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_looked_at_is_not_called_damaged() {
    let mut ledger = Ledger::new().await;
    // A commit under way would take the change for its own.
    ledger.sealed().await;
    let pid = Some(ledger.server.pid());
    let before = getrlimit(Resource::Nofile);
    let none = Rlimit { current: Some(3), ..before };
    let before = prlimit(pid, Resource::Nofile, none).unwrap();
    fs::File::options().write(true).open(ledger.path()).unwrap().set_modified(clock::now().into()).unwrap();
    eventually("a look that fails", async || {
        ledger.server.stderr().contains("unable to open database file").then_some(())
    })
    .await;
    prlimit(pid, Resource::Nofile, before).unwrap();
    ledger.assert_recovers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_state_in_place_of_the_ledger_is_told() {
    let mut ledger = Ledger::new().await;
    let files = ["db", "db-wal", "db-shm"].map(|ending| ledger.path().with_extension(ending));
    let older = files.clone().map(|path| fs::read(path).unwrap());
    for _ in 0..5 {
        assert_eq!(ledger.write().await.0, 201);
    }
    ledger.sealed().await;
    for (path, bytes) in files.iter().zip(older) {
        OpenOptions::new().write(true).open(path).unwrap().write_all(&bytes).unwrap();
    }
    let detail = ledger.noticed().await;
    assert!(detail.contains("older than what was read from it before"), "{detail}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_takes_no_writes_is_not_ready_though_nobody_writes() {
    use sea_orm::{ConnectOptions, ConnectionTrait as _, Database};
    let db = TestDb::postgres().await;
    let server = ServerProcess::start(&db).await;
    let mut only = ConnectOptions::new(&db.url);
    only.max_connections(1).sqlx_logging(false);
    let sql = Database::connect(only).await.unwrap();
    let name = db.url.rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    let read_only = async |is: bool| {
        sql.execute_unprepared(&format!("ALTER DATABASE {name} SET default_transaction_read_only = {is}"))
            .await
            .unwrap();
        let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                      WHERE datname = current_database() AND pid <> pg_backend_pid()";
        sql.execute_unprepared(others).await.unwrap();
    };
    sql.execute_unprepared("SET default_transaction_read_only = off").await.unwrap();
    read_only(true).await;
    let report: Value = eventually("notice of a read-only database", async || {
        let ready = server.client().get(server.at("/readyz")).send().await.unwrap();
        let report: Value = ready.json().await.ok()?;
        report["checks"]["database"]["detail"].as_str()?.contains("read-only").then_some(report)
    })
    .await;
    assert_eq!(report["status"], "unavailable");
    read_only(false).await;
    eventually("a server that is ready again", async || {
        let ready = server.client().get(server.at("/readyz")).send().await.unwrap();
        (ready.status() == 200).then_some(())
    })
    .await;
}
