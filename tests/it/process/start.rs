//! The first start: where the admin's token comes from, and what is said when there is none.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    db::TestDb,
    eventually,
    process::{ServerProcess, command},
};

#[tokio::test]
async fn on_postgres_a_server_without_a_token_says_what_to_do_and_ends() {
    let db = TestDb::postgres().await;
    let directory = TempDir::new().unwrap();
    let output = command(&directory)
        .arg("serve")
        .env("DATABASE_URL", &db.url)
        .env("WAYBILL__SERVER__LISTEN", "127.0.0.1:0")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("WAYBILL__AUTH__BOOTSTRAP_TOKEN"), "{said}");
    let made = command(&directory)
        .args(["token", "create", "--name", "first", "--scope", "admin"])
        .env("DATABASE_URL", &db.url)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[tokio::test]
async fn on_postgres_a_server_does_not_migrate_by_itself() {
    use sea_orm::ConnectionTrait as _;
    let db = TestDb::postgres().await;
    let admin = sea_orm::Database::connect(&db.url).await.unwrap();
    let newest = "DELETE FROM seaql_migrations WHERE version = (SELECT MAX(version) FROM seaql_migrations)";
    admin.execute_unprepared(newest).await.unwrap();
    admin.close().await.unwrap();
    let mut server = ServerProcess::spawn(&db, &[]);
    assert!(!server.wait().await.success());
    assert!(server.stderr().contains("waybill migrate up"), "{}", server.stderr());
}

#[tokio::test]
async fn a_bootstrap_token_that_is_too_short_is_refused() {
    let db = TestDb::sqlite().await;
    let mut server = ServerProcess::spawn(&db, &[("WAYBILL__AUTH__BOOTSTRAP_TOKEN", "short")]);
    assert!(!server.wait().await.success());
    assert!(server.stderr().contains("32"), "{}", server.stderr());
    assert!(!server.stderr().contains("short\""), "a secret is not repeated");
}

#[tokio::test]
async fn on_sqlite_a_server_makes_its_token_and_leaves_it_for_the_client() {
    let directory = TempDir::new().unwrap();
    let database = directory.path().join("data/waybill.db");
    fs::create_dir(directory.path().join("data")).unwrap();
    let mut child = command(&directory)
        .arg("serve")
        .env("WAYBILL__DATABASE__URL", format!("sqlite://{}", database.display()))
        .env("WAYBILL__SERVER__LISTEN", "127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let state = directory.path().join("state/waybill/local.json");
    let local: Value = eventually("the client's file", async || {
        serde_json::from_str(&fs::read_to_string(&state).ok()?).ok()
    })
    .await;
    let beside = database.with_file_name("admin.token");
    for path in [&state, &beside] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
    let token = fs::read_to_string(&beside).unwrap();
    let local = &local["servers"][0];
    assert_eq!(local["token"], token.trim());
    assert_eq!(local["database"], format!("sqlite://{}", database.canonicalize().unwrap().display()));
    let url = format!("{}/api/v1/matrix", local["url"].as_str().unwrap());
    let client = ServerProcess::client_of(token.trim());
    let status = eventually("an answer", async || Some(client.get(&url).send().await.ok()?.status())).await;
    assert_eq!(status, 200);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn the_audit_log_is_checked_from_the_command_line() {
    use sea_orm::ConnectionTrait as _;
    let db = TestDb::sqlite().await;
    let often = [("WAYBILL__WORKERS__HEAD_LOG_INTERVAL", "1s")];
    let mut server = ServerProcess::start_with(&db, &often).await;
    let client = server.client();
    for name in ["shop", "pay"] {
        let body = serde_json::json!({ "name": name });
        let made = client.post(server.at("/api/v1/services")).json(&body).send().await.unwrap();
        assert_eq!(made.status(), 201);
    }
    // The relay runs by itself, nudged by each commit.
    eventually("the seal of all three events", async || {
        let head = client.get(server.at("/api/v1/events/head")).send().await.unwrap();
        (head.json::<Value>().await.unwrap()["seq"] == 3).then_some(())
    })
    .await;
    let head = eventually("the head of all of them in the log", async || {
        let line = server.stderr().lines().find(|line| line.contains("\"seq\":3"))?.to_owned();
        line.contains("the head of the audit log's chain").then_some(line)
    })
    .await;
    assert!(server.terminate().await.success());
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log");
    fs::write(&log, format!("{}\n{head}\n", server.stderr())).unwrap();
    let verify = || {
        let directory = TempDir::new().unwrap();
        let line = ["audit", "verify", "--deep", "--heads", log.to_str().unwrap()];
        command(&directory).args(line).env("DATABASE_URL", &db.url).output().unwrap()
    };
    let whole = verify();
    assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stderr));
    let said = String::from_utf8_lossy(&whole.stdout).into_owned();
    assert!(said.contains("3 rows are as their events say") && said.contains("kept elsewhere"), "{said}");
    let sql = sea_orm::Database::connect(&db.url).await.unwrap();
    sql.execute_unprepared("UPDATE event SET actor_token = 'mallory' WHERE seq = 2").await.unwrap();
    sql.execute_unprepared("UPDATE service SET owner = 'mallory' WHERE name = 'pay'").await.unwrap();
    sql.execute_unprepared("UPDATE token SET name = 'a\u{202e}b\nc\u{1b}[2J'").await.unwrap();
    sql.close().await.unwrap();
    let broken = verify();
    assert_eq!(broken.status.code(), Some(1));
    let said = String::from_utf8_lossy(&broken.stderr).into_owned();
    let lines: Vec<_> = said.lines().collect();
    assert!(
        lines[0].starts_with("event 2 was changed") && lines[1].starts_with("service pay: its "),
        "{said}"
    );
    // Nothing that somebody has written there is obeyed by a terminal.
    assert!(lines[2].contains(r#": its name is "a\u{202e}b\nc\u001b[2J", but its events say "#), "{said}");
    assert!(lines[3].contains("3 faults found"), "{said}");
    fs::write(&log, "no head here").unwrap();
    let nothing = verify();
    assert!(!nothing.status.success(), "a log without a head does not pass for one that was checked");
}

/// What is in a folder, by name.
fn files(directory: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(directory.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn what_cannot_be_done_leaves_nothing_behind() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = taken.local_addr().unwrap().to_string();
    for (line, code, advice) in [
        (&["serve", "--listen", &busy][..], 1, "cannot listen on"),
        (&["serve", "--listen", "nowhere"], 1, "server.listen (--listen)"),
        (&["serve", "--lisen", &busy], 2, "--listen"),
        (&["migrate", "status"], 1, "--database-url"),
        (&["migrate", "down", "--yes"], 1, "--database-url"),
        (&["migrate", "up"], 1, "--database-url"),
        (&["token", "list"], 1, "--database-url"),
        (&["token", "create", "--name", "ci", "--scope", "read"], 1, "--database-url"),
        (&["audit", "verify"], 1, "--database-url"),
    ] {
        let directory = TempDir::new().unwrap();
        let output = command(&directory).args(line).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(advice), "{line:?}: {said}");
        assert_eq!(files(&directory), [""; 0], "{line:?}");
    }
    let directory = TempDir::new().unwrap();
    let line = ["migrate", "up", "--database-url", "sqlite://waybill.db"];
    assert!(
        command(&directory).args(line).status().unwrap().success(),
        "one that is asked for by name is made"
    );
    assert!(files(&directory).contains(&"waybill.db".to_owned()));
}

#[tokio::test]
async fn a_second_server_on_a_sqlite_file_is_refused_in_one_sentence_whatever_it_calls_the_file() {
    let db = TestDb::sqlite().await;
    let mut first = ServerProcess::start(&db).await;
    let directory = TempDir::new().unwrap();
    let link = directory.path().join("link.db");
    std::os::unix::fs::symlink(db.url.trim_start_matches("sqlite://"), &link).unwrap();
    for url in [db.url.clone(), format!("sqlite://{}", link.display())] {
        let mut second = command(&directory);
        second.args(["serve", "--listen", "127.0.0.1:0", "--database-url", &url]);
        let output = second.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.trim_end().lines().count()), (Some(1), 1), "{said}");
        let process = format!("(process {})", first.pid().as_raw_nonzero());
        assert!(said.contains(&process) && said.contains("one server at a time"), "{said}");
    }
    assert_eq!(files(&directory), ["link.db"]);
    first.kill9();
    ServerProcess::start(&db).await;
}
