//! PostgreSQL goes away and comes back: the server says so, never fails by a fault of its own, and recovers.

use reqwest::Response;
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection};
use serde_json::{Value, json};

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
