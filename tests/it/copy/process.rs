//! `waybill copy` as an admin runs it: the real binary, killed and run again.

use std::{
    fs,
    process::{Child, Output, Stdio},
};

use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, Statement};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{
    api::{Api, start_body},
    db::TestDb,
    eventually,
    process::{ServerProcess, command},
};

fn spawn(from: &str, to: &str, more: &[&str]) -> (Child, TempDir) {
    let folder = TempDir::new().unwrap();
    let child = command(&folder)
        .args(["copy", "--from", from, "--to", to])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (child, folder)
}

fn run(from: &str, to: &str) -> Output {
    let (child, _folder) = spawn(from, to, &[]);
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[track_caller]
fn assert_refused(output: &Output, because: &str) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(because), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

/// A ledger of some size, and the secret of its admin.
async fn ledger() -> (TestDb, String) {
    let source = TestDb::sqlite().await;
    let api = Api::new(&source).await;
    for version in ["1", "2", "3"] {
        api.deployed("shop/prod", version).await;
    }
    api.post("/deployments", start_body("shop/dev", "3")).await.ok(201);
    api.post("/services", json!({ "name": "pay" })).await.ok(201);
    api.app.db.clone().close().await;
    (source, api.secret().to_owned())
}

async fn sql(db: &TestDb) -> DatabaseConnection {
    let mut options = ConnectOptions::new(&db.url);
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await.unwrap()
}

async fn rows(connection: &DatabaseConnection, query: &str) -> i64 {
    let statement = Statement::from_string(connection.get_database_backend(), query);
    let row = connection.query_one_raw(statement).await.unwrap().unwrap();
    row.try_get("", "n").unwrap()
}

/// Makes the target take its time when releases are copied, until [`let_go`].
async fn hold_up(connection: &DatabaseConnection) {
    let statement = "CREATE FUNCTION wait() RETURNS trigger AS $$ BEGIN PERFORM pg_sleep(600); RETURN NULL; END $$ \
                     LANGUAGE plpgsql; \
                     CREATE TRIGGER wait BEFORE INSERT ON release FOR EACH STATEMENT EXECUTE FUNCTION wait()";
    connection.execute_unprepared(statement).await.unwrap();
}

async fn let_go(connection: &DatabaseConnection) {
    connection.execute_unprepared("DROP TRIGGER wait ON release; DROP FUNCTION wait").await.unwrap();
}

async fn until_held_up(connection: &DatabaseConnection) {
    let query = "SELECT COUNT(*) AS n FROM pg_stat_activity WHERE wait_event = 'PgSleep' \
                 AND datname = current_database()";
    eventually("the copying of releases", async || (rows(connection, query).await > 0).then_some(())).await;
}

/// Ends every other session in the database, so that none waits any more.
async fn throw_out(connection: &DatabaseConnection) {
    let statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE datname = current_database() AND pid <> pg_backend_pid()";
    connection.execute_unprepared(statement).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_copy_is_not_served_and_goes_on() {
    let ((source, secret), target) = (ledger().await, TestDb::postgres().await);
    let connection = sql(&target).await;
    hold_up(&connection).await;
    let (mut child, _folder) = spawn(&source.url, &target.url, &[]);
    until_held_up(&connection).await;
    let mut server = ServerProcess::spawn(&source, &[]);
    assert!(!server.wait().await.success(), "nobody may write to the source now");
    assert!(server.stderr().contains("cannot open the database"), "{}", server.stderr());
    let (other, _) = ledger().await;
    assert_refused(&run(&other.url, &target.url), "another copy into the target is under way");
    child.kill().unwrap();
    child.wait().unwrap();
    throw_out(&connection).await;
    let_go(&connection).await;
    assert_eq!(
        rows(&connection, "SELECT COUNT(*) AS n FROM deployment").await,
        4,
        "what came before is there"
    );
    for line in [
        &["serve", "--listen", "127.0.0.1:0"][..],
        &["migrate", "up"],
        &["migrate", "down", "--yes"],
        &["migrate", "status"],
        &["audit", "verify"],
        &["token", "list"],
        &["token", "create", "--name", "x", "--scope", "admin"],
    ] {
        let folder = TempDir::new().unwrap();
        let output = command(&folder).args(line).env("DATABASE_URL", &target.url).output().unwrap();
        assert_refused(&output, "unfinished copy");
    }
    let done = run(&source.url, &target.url);
    assert!(done.status.success(), "{}", said(&done));
    assert!(said(&done).contains("Going on with the copy"), "{}", said(&done));
    let server = ServerProcess::start(&target).await;
    let client = ServerProcess::client_of(&secret);
    let matrix = client.get(server.at("/api/v1/matrix")).send().await.unwrap();
    assert!(matrix.text().await.unwrap().contains("\"version\":\"3\""));
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_whose_database_went_away_says_how_to_go_on() {
    let ((source, _), target) = (ledger().await, TestDb::postgres().await);
    let connection = sql(&target).await;
    hold_up(&connection).await;
    let (child, _folder) = spawn(&source.url, &target.url, &[]);
    until_held_up(&connection).await;
    throw_out(&connection).await;
    assert_refused(&child.wait_with_output().unwrap(), "the same command goes on");
    let_go(&connection).await;
    assert!(run(&source.url, &target.url).status.success());
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_server_keeps_its_ledger() {
    let ((source, secret), target) = (ledger().await, TestDb::postgres().await);
    let mut server = ServerProcess::start(&source).await;
    assert_refused(&run(&source.url, &target.url), "stop the server");
    let client = ServerProcess::client_of(&secret);
    let body = json!({ "name": "still-writing" });
    let made = client.post(server.at("/api/v1/services")).json(&body).send().await.unwrap();
    assert_eq!(made.status(), 201);
    server.kill9();
    // What the crash left in the write-ahead log is copied too.
    let done = run(&source.url, &target.url);
    assert!(done.status.success(), "{}", said(&done));
    let connection = sql(&target).await;
    let found = "SELECT COUNT(*) AS n FROM service WHERE name = 'still-writing'";
    assert_eq!(rows(&connection, found).await, 1);
    connection.close().await.unwrap();
}

#[test]
fn other_directions_and_what_is_not_there_are_refused() {
    let folder = TempDir::new().unwrap();
    let file = format!("sqlite://{}", folder.path().join("w.db").display());
    let postgres = "postgres://u:hunter2@127.0.0.1:1/w";
    assert_refused(&run(&file, postgres), "there is no database at");
    assert!(!folder.path().join("w.db").exists(), "none is made");
    assert_refused(&run(&file, &file), "--to must be a PostgreSQL URL");
    assert_refused(&run(postgres, postgres), "pg_dump");
    assert_refused(&run(postgres, &file), "from SQLite to PostgreSQL only");
    fs::write(folder.path().join("w.db"), "this is no database").unwrap();
    assert_refused(&run(&file, postgres), "not a database");
    let wrong_use = run("mysql://db/w", postgres);
    assert_eq!(wrong_use.status.code(), Some(2), "{}", said(&wrong_use));
}

#[tokio::test]
async fn a_target_that_does_not_answer_is_named_without_its_password() {
    let (source, _) = ledger().await;
    assert_refused(&run(&source.url, "postgres://u:hunter2@127.0.0.1:1/w"), "127.0.0.1:1/w");
}

/// The target, as a role of its own sees it.
fn as_role(target: &TestDb, role: &str) -> String {
    let mut url: url::Url = target.url.parse().unwrap();
    url.set_username(role).unwrap();
    url.set_password(Some("hunter2")).unwrap();
    url.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_does_not_own_the_database_is_told_so() {
    let ((source, _), target) = (ledger().await, TestDb::postgres().await);
    let connection = sql(&target).await;
    let role = format!("copy_guest_{}", std::process::id());
    let statement = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'hunter2'; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}"
    );
    connection.execute_unprepared(&statement).await.unwrap();
    let output = run(&source.url, &as_role(&target, &role));
    let marks = "SELECT COUNT(*) AS n FROM pg_tables WHERE tablename = 'unfinished_copy'";
    let marks = rows(&connection, marks).await;
    connection.execute_unprepared(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
    connection.close().await.unwrap();
    assert_refused(&output, "the target belongs to");
    assert_eq!(marks, 0);
}

/// With the rights that `kustomize/components/postgres/roles.sh` gives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_can_read_what_the_owner_alone_may_copy() {
    let ((source, _), target) = (ledger().await, TestDb::postgres().await);
    let connection = sql(&target).await;
    let (owner, app) =
        (format!("copy_owner_{}", std::process::id()), format!("copy_app_{}", std::process::id()));
    let make = format!(
        "CREATE ROLE {owner} LOGIN PASSWORD 'hunter2'; CREATE ROLE {app} LOGIN PASSWORD 'hunter2'; \
         DO $$ BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO {owner}', current_database()); END $$"
    );
    connection.execute_unprepared(&make).await.unwrap();
    let others_tables = run(&source.url, &as_role(&target, &owner));
    let empty = format!(
        "DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION {owner}; \
         GRANT USAGE ON SCHEMA public TO {app}; ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public \
         GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {app}"
    );
    connection.execute_unprepared(&empty).await.unwrap();
    let by_superuser = run(&source.url, &target.url);
    let tables = rows(&connection, "SELECT COUNT(*) AS n FROM pg_tables WHERE schemaname = 'public'").await;
    let by_owner = run(&source.url, &as_role(&target, &owner));
    let folder = TempDir::new().unwrap();
    let url = as_role(&target, &app);
    let read = command(&folder).args(["audit", "verify", "--database-url", &url]).output().unwrap();
    let away = format!(
        "REASSIGN OWNED BY {owner} TO CURRENT_USER; DROP OWNED BY {app}; DROP OWNED BY {owner}; \
         DROP ROLE {owner}, {app}"
    );
    connection.execute_unprepared(&away).await.unwrap();
    connection.close().await.unwrap();
    assert_refused(&others_tables, "must own every table");
    assert_refused(&by_superuser, &format!("the target belongs to {owner}"));
    assert_eq!(tables, 0, "nothing was made");
    assert!(by_owner.status.success(), "{}", said(&by_owner));
    assert!(!said(&by_owner).contains("already exists"), "no notices: {}", said(&by_owner));
    assert!(read.status.success(), "{}", said(&read));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_remedy_for_an_old_source_works_where_the_password_of_the_target_is_set() {
    let ((source, _), target) = (ledger().await, TestDb::postgres().await);
    let waybill = |line: &[&str]| {
        let folder = TempDir::new().unwrap();
        let password = ("WAYBILL__DATABASE__PASSWORD", "hunter2");
        command(&folder).args(line).envs([password]).output().unwrap()
    };
    let back = waybill(&["migrate", "down", "--yes", "--database-url", &source.url]);
    assert!(back.status.success(), "{}", said(&back));
    let remedy = ["migrate", "up", "--database-url", &source.url];
    assert_refused(&run(&source.url, &target.url), &format!("`waybill {}`", remedy.join(" ")));
    let up = waybill(&remedy);
    assert!(up.status.success(), "{}", said(&up));
    let done = run(&source.url, &target.url);
    assert!(done.status.success(), "{}", said(&done));
}
