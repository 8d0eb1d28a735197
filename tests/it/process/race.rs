//! Several processes on one PostgreSQL database: one winner, one migration.

use std::time::Duration;

use futures_util::future::join_all;
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    api::start_body,
    db::TestDb,
    process::{ServerProcess, command},
};

const CLIENTS: usize = 50;

async fn connect(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_fifty_clients_of_two_servers_wins_and_the_others_learn_who() {
    let db = TestDb::postgres().await;
    let (one, two) = tokio::join!(ServerProcess::start(&db), ServerProcess::start(&db));
    let clients = (0..CLIENTS).map(|n| {
        let server = if n % 2 == 0 { &one } else { &two };
        let request = server.client().post(server.at("/api/v1/deployments"));
        let request = request.json(&start_body("shop/prod", &format!("1.{n}")));
        async move {
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.json::<Value>().await.unwrap())
        }
    });
    let answers = join_all(clients).await;
    let winners: Vec<_> = answers.iter().filter(|(status, _)| *status == 201).collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    let winner = &winners[0].1["deployment"]["id"];
    for (status, problem) in answers.iter().filter(|(status, _)| *status != 201) {
        assert_eq!(*status, 409, "{problem}");
        assert!(problem["type"].as_str().unwrap().ends_with("/problems/gate-denied"), "{problem}");
        let check = &problem["decision"]["checks"][0];
        assert_eq!((&check["rule"], &check["details"]["deployment_id"]), (&"concurrency".into(), winner));
    }
}

/// Empties a database of the harness.
async fn empty(db: &TestDb) {
    let admin = connect(&db.url).await;
    admin.execute_unprepared("DROP SCHEMA public CASCADE").await.unwrap();
    admin.execute_unprepared("CREATE SCHEMA public").await.unwrap();
    admin.close().await.unwrap();
}

#[tokio::test]
async fn eight_migrations_of_an_empty_database_at_once_succeed() {
    let db = TestDb::postgres().await;
    empty(&db).await;
    let directory = TempDir::new().unwrap();
    let migrations = (0..8).map(|_| {
        let mut migration = command(&directory);
        migration.args(["migrate", "up"]).env("DATABASE_URL", &db.url);
        tokio::task::spawn_blocking(move || migration.output().unwrap())
    });
    let mut applied = 0;
    for output in join_all(migrations).await {
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        applied += usize::from(said.contains("Applied"));
    }
    assert_eq!(applied, 1, "one of them did the work");
    let server = ServerProcess::start(&db).await;
    assert!(server.client().get(server.at("/api/v1/matrix")).send().await.unwrap().status().is_success());
}

#[tokio::test]
async fn a_migration_waits_for_its_database_as_long_as_it_is_told_to() {
    let db = TestDb::postgres().await;
    let later = format!("{}_later", db.url);
    let name = later.rsplit('/').next().unwrap().to_owned();
    let directory = TempDir::new().unwrap();
    let migrate = |wait: &str| {
        let mut migration = command(&directory);
        migration.args(["migrate", "up", "--wait", wait]).env("DATABASE_URL", &later);
        tokio::task::spawn_blocking(move || migration.output().unwrap())
    };
    let impatient = migrate("0s").await.unwrap();
    assert!(!impatient.status.success());
    assert!(String::from_utf8_lossy(&impatient.stderr).contains("does not exist"));

    let patient = migrate("1m");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let admin = connect(&db.url).await;
    admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    let output = patient.await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("Applied"));
    admin.execute_unprepared(&format!("DROP DATABASE {name}")).await.unwrap();
    admin.close().await.unwrap();
}

#[tokio::test]
async fn a_database_ahead_of_the_binary_is_served() {
    let db = TestDb::postgres().await;
    let admin = connect(&db.url).await;
    let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29990101_000001_newer', 0)";
    admin.execute_unprepared(newer).await.unwrap();
    admin.close().await.unwrap();
    let directory = TempDir::new().unwrap();
    let output = command(&directory).args(["migrate", "up"]).env("DATABASE_URL", &db.url).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let server = ServerProcess::start(&db).await;
    let started = server.client().post(server.at("/api/v1/deployments")).json(&start_body("shop/prod", "1"));
    assert_eq!(started.send().await.unwrap().status(), 201);
}
