//! PostgreSQL goes away and comes back: the server says so, never fails by a fault of its own, and recovers.

use std::net::SocketAddr;

use reqwest::Response;
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::support::{api::start_body, db::TestDb, eventually, process::ServerProcess};

/// Somebody who can shut the door of a database, from another one.
struct Door {
    admin: DatabaseConnection,
    name: String,
}

impl Door {
    async fn of(db: &TestDb) -> Self {
        let mut url: url::Url = db.url.parse().unwrap();
        let name = url.path().trim_start_matches('/').to_owned();
        url.set_path("postgres");
        let mut options = ConnectOptions::new(url.as_str());
        options.max_connections(1).sqlx_logging(false);
        Self { admin: Database::connect(options).await.unwrap(), name }
    }

    async fn set(&self, open: bool) {
        let statement = format!("ALTER DATABASE {} ALLOW_CONNECTIONS {open}", self.name);
        self.admin.execute_unprepared(&statement).await.unwrap();
    }

    async fn throw_everybody_out(&self) {
        let statement =
            format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'", self.name);
        self.admin.execute_unprepared(&statement).await.unwrap();
    }
}

async fn assert_unavailable(response: Response, what: &str) {
    assert_eq!(response.status(), 503, "{what}");
    assert!(response.headers().contains_key("retry-after"), "{what}");
    assert_eq!(response.headers()["content-type"], "application/problem+json", "{what}");
    let problem: Value = response.json().await.unwrap();
    assert!(problem["type"].as_str().unwrap().ends_with("/problems/unavailable"), "{what}: {problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_away_the_server_says_so_and_then_recovers() {
    let db = TestDb::postgres().await;
    let env = [("WAYBILL__DATABASE__ACQUIRE_TIMEOUT", "1s")];
    let server = ServerProcess::start_with(&db, &env).await;
    let client = server.client();
    let start = |version: &str| {
        client.post(server.at("/api/v1/deployments")).json(&start_body("shop/prod", version)).send()
    };
    let started: Value = start("1").await.unwrap().json().await.unwrap();
    let id = started["deployment"]["id"].as_str().unwrap();
    let door = Door::of(&db).await;
    door.set(false).await;
    door.throw_everybody_out().await;
    for round in 0..3 {
        assert_unavailable(client.get(server.at("/api/v1/matrix")).send().await.unwrap(), "matrix").await;
        assert_unavailable(start("2").await.unwrap(), &format!("start {round}")).await;
        let finish = client.post(server.at(&format!("/api/v1/deployments/{id}/finish")));
        let finish = finish.json(&json!({ "status": "succeeded" })).send().await.unwrap();
        assert_unavailable(finish, "finish").await;
        let live = client.get(server.at("/livez")).send().await.unwrap();
        assert_eq!(live.status(), 200, "it is alive");
    }
    assert_eq!(client.get(server.at("/readyz")).send().await.unwrap().status(), 503);
    door.set(true).await;
    eventually("recovery", async || {
        let ready = client.get(server.at("/readyz")).send().await.unwrap();
        ready.status().is_success().then_some(())
    })
    .await;
    let finish = client.post(server.at(&format!("/api/v1/deployments/{id}/finish")));
    let finish = finish.json(&json!({ "status": "succeeded" })).send().await.unwrap();
    assert_eq!(finish.status(), 200);
    assert_eq!(start("2").await.unwrap().status(), 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_are_never_a_fault_of_the_server() {
    let db = TestDb::postgres().await;
    let server = ServerProcess::start(&db).await;
    let client = server.client();
    let door = Door::of(&db).await;
    for round in 0..10 {
        door.throw_everybody_out().await;
        for n in 0..3 {
            let body = start_body(&format!("shop/env-{round}-{n}"), "1");
            let answer = client.post(server.at("/api/v1/deployments")).json(&body).send().await.unwrap();
            let status = answer.status().as_u16();
            assert!([201, 503].contains(&status), "{status} {}", answer.text().await.unwrap());
            let answer = client.get(server.at("/api/v1/matrix")).send().await.unwrap();
            let status = answer.status().as_u16();
            assert!([200, 503].contains(&status), "{status} {}", answer.text().await.unwrap());
        }
    }
    eventually("a relay that goes on", async || {
        let events: Value =
            client.get(server.at("/api/v1/events/head")).send().await.unwrap().json().await.ok()?;
        (events["seq"].as_i64()? > 0).then_some(())
    })
    .await;
}

/// Takes connections at an address and passes them on to another, as a server that comes there.
async fn comes_to(address: SocketAddr, other: String) {
    let listener = TcpListener::bind(address).await.unwrap();
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let other = other.clone();
        connections.spawn(async move {
            let mut server = TcpStream::connect(other).await.unwrap();
            drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_database_is_away_waits_for_it_and_says_why_it_is_not_ready() {
    let mut db = TestDb::postgres().await;
    let mut url: url::Url = db.url.parse().unwrap();
    let there = format!("{}:{}", url.host_str().unwrap(), url.port_or_known_default().unwrap_or(5432));
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(nowhere.port())).unwrap();
    db.url = url.to_string();
    let mut server = ServerProcess::spawn(&db, &[]);
    let client = server.client();
    let detail = eventually("the reason", async || {
        let answer = client.get(server.at("/readyz")).send().await.ok()?;
        assert_eq!(answer.status(), 503);
        let report: Value = answer.json().await.unwrap();
        let detail = report["checks"]["database"]["detail"].as_str()?.to_owned();
        detail.contains("does not answer").then_some(detail)
    })
    .await;
    assert_eq!(detail, "It does not answer yet (connection refused); the server waits for it.");
    assert_eq!(client.get(server.at("/livez")).send().await.unwrap().status(), 200);
    for path in ["/", "/api/v1/matrix"] {
        assert_unavailable(client.get(server.at(path)).send().await.unwrap(), path).await;
    }
    let metrics = client.get(server.at("/metrics")).send().await.unwrap();
    assert!(metrics.text().await.unwrap().contains("waybill_"));

    let mut coming = JoinSet::new();
    coming.spawn(comes_to(nowhere, there));
    eventually("readiness", async || {
        let ready = client.get(server.at("/readyz")).send().await.unwrap();
        ready.status().is_success().then_some(())
    })
    .await;
    assert_eq!(client.get(server.at("/api/v1/matrix")).send().await.unwrap().status(), 200);
    let said = server.stderr();
    assert_eq!(said.matches("waiting for the database").count(), 1, "{said}");
    assert!(server.terminate().await.success());
    coming.shutdown().await;

    // Told to end while it waits, it ends.
    let mut server = ServerProcess::spawn(&db, &[]);
    eventually("life", async || client.get(server.at("/livez")).send().await.ok()).await;
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_does_not_wait_for_what_somebody_has_to_mend() {
    let mut db = TestDb::postgres().await;
    db.url = db.url.replace("/waybill_test_", "/nowhere_");
    let mut server = ServerProcess::spawn(&db, &[]);
    assert!(!server.wait().await.success());
    assert!(server.stderr().contains("does not exist"), "{}", server.stderr());
}
