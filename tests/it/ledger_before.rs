//! A ledger that a binary of before 0.1.0 has made: it migrates, what follows from it still holds, and it goes on.

use std::{fs, path::Path};

use migration::Migrator;
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection};
use sea_orm_migration::MigratorTrait as _;
use serde_json::{Value, json};

use crate::{
    api::scans::{scans, texts},
    db_test,
    support::{
        api::{Api, image},
        db::TestDb,
        process::ServerProcess,
        shell::Shell,
    },
};

/// Its admin's token, which stands for nothing else.
const TOKEN: &str = "bench-0123456789-0123456789-0123456789";

/// The ledger, as each database writes it down: three environments, four releases with two images of the same digest and
/// commits that are older than those before them, deployments, approvals, reports of every form, and decisions.
const SQLITE: &str = include_str!("../data/ledger-before-0.1.sqlite.sql");
const POSTGRES: &str = include_str!("../data/ledger-before-0.1.postgres.sql");

async fn connect(db: &TestDb) -> DatabaseConnection {
    let mut options = ConnectOptions::new(&db.url);
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await.unwrap()
}

/// Puts the ledger where the database was, as the binary of before left it.
async fn restore(db: &TestDb) {
    if db.is_postgres() {
        let empty = connect(db).await;
        empty.execute_unprepared("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await.unwrap();
        empty.execute_unprepared(POSTGRES).await.unwrap();
        return empty.close().await.unwrap();
    }
    let file = Path::new(db.url.strip_prefix("sqlite://").unwrap());
    fs::remove_file(file).unwrap();
    fs::write(file, "").unwrap();
    let empty = connect(db).await;
    empty.execute_unprepared("PRAGMA foreign_keys = OFF").await.unwrap();
    empty.execute_unprepared(SQLITE).await.unwrap();
    empty.close().await.unwrap();
}

async fn migrate(db: &TestDb) {
    let old = connect(db).await;
    Migrator::up(&old, None).await.unwrap();
    old.close().await.unwrap();
}

/// The parts of the scans of a release: scanner, class, whether it counts, and how many critical and high ones.
async fn parts(api: &Api, version: &str) -> Vec<String> {
    let items = api.get(&scans(version)).await.ok(200)["items"].take();
    let part = |scan: &Value, part: &Value| {
        let (critical, high) = (&part["counts"]["critical"], &part["counts"]["high"]);
        let (class, latest) = (part["class"].as_str().unwrap(), &part["latest"]);
        format!("{} {class} {latest} {critical} {high}", scan["scanner"].as_str().unwrap())
    };
    let parts =
        |scan: &Value| scan["parts"].as_array().unwrap().iter().map(|of| part(scan, of)).collect::<Vec<_>>();
    items.as_array().unwrap().iter().flat_map(parts).collect()
}

db_test!(
    async fn a_ledger_of_before_migrates_and_still_holds(db: TestDb) {
        restore(&db).await;
        migrate(&db).await;
        db.assert_sound().await;
        let server = ServerProcess::start(&db).await;
        let shell = Shell { token: TOKEN.to_owned(), ..Shell::at(&server) };
        assert_eq!(shell.ok(&["decisions", "replay"]), "15 decisions come out the same, 0 differ\n");
        drop(server);
        // The way back and forth again loses nothing of what it knows.
        let old = connect(&db).await;
        Migrator::down(&old, Some(1)).await.unwrap();
        old.close().await.unwrap();
        migrate(&db).await;
        db.assert_sound().await;
    }
);

db_test!(
    async fn a_ledger_of_before_goes_on(db: TestDb) {
        restore(&db).await;
        migrate(&db).await;
        let api = Api::new(&db).await;
        assert_eq!(
            parts(&api, "1.0").await,
            ["trivy any true 0 1", "trivy any false 1 0", "trivy any false 0 0"]
        );
        let fixable = api.get(&scans("1.0")).await.ok(200)["items"][0]["fixable"].take();
        assert!(fixable["high"].is_u64(), "what counts is counted by its findings: {fixable}");
        let libc = api.get("/vulnerabilities/CVE-2026-0001").await.ok(200);
        assert_eq!(texts(&libc["targets"], "environment"), ["prod"], "{libc}");
        assert_eq!(libc["targets"][0]["packages"][0]["installed_version"], "1");
        for id in ["GHSA-w62r-7c53-fmc5", "CVE-2025-41115"] {
            let grafana = api.get(&format!("/vulnerabilities/{id}")).await.ok(200);
            // On its way somewhere, until its lease is found to have run out.
            let found =
                texts(&grafana["releases"], "version").len() + texts(&grafana["targets"], "version").len();
            assert_eq!(found, 1, "{grafana}");
        }
        let releases = api.get("/services/shop/releases").await.ok(200);
        assert_eq!(texts(&releases["items"], "version"), ["1.3", "1.1", "1.2", "1.0"], "by their commits");
        let report = json!({ "SchemaVersion": 2, "CreatedAt": "2026-01-20T11:00:00Z", "ArtifactType": "container_image",
            "Metadata": { "RepoDigests": [image('a')], "ImageConfig": { "architecture": "amd64" } },
            "Results": [{ "Class": "os-pkgs", "Vulnerabilities": [] }] });
        api.post(&scans("1.0"), report).await.ok(201);
        assert_eq!(parts(&api, "1.0").await[..2], ["trivy os true 0 0", "trivy any false 0 1"]);
        api.deployed("shop/staging", "2.0").await;
        db.assert_sound().await;
    }
);
