//! Two servers on one PostgreSQL database: what one has acknowledged, the very next matrix of the other shows, however much
//! goes on beside it and whichever of them was started just now.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::support::{api::start_body, db::TestDb, process::ServerProcess};

/// How often each is tried; `WAYBILL_TEST_ROUNDS` says otherwise.
const ROUNDS: usize = 60;
/// A server is started anew after so many.
const RESTART: usize = 25;
const NOISE: usize = 4;
/// No limit of requests, and no narrow pool.
const ENV: [(&str, &str); 2] =
    [("WAYBILL__LIMITS__REQUESTS_PER_SECOND", "1000000"), ("WAYBILL__LIMITS__BURST", "1000000")];

async fn send(client: &Client, method: Method, url: &str, body: Option<Value>) -> (u16, Value) {
    let request = client.request(method, url);
    let answer = body.iter().fold(request, RequestBuilder::json).send().await.unwrap();
    let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// Starts and finishes deployments of a service of its own, and reads the matrix, until it is told to stop.
async fn noise(url: String, client: Client, own: usize, stop: Arc<AtomicBool>) {
    let mut version = 0;
    while !stop.load(Ordering::Relaxed) {
        version += 1;
        let body = start_body(&format!("noise-{own}/dev"), &format!("1.{version}"));
        let (status, started) =
            send(&client, Method::POST, &format!("{url}/api/v1/deployments"), Some(body)).await;
        assert_eq!(status, 201, "{started}");
        let id = started["deployment"]["id"].as_str().unwrap();
        let finish = format!("{url}/api/v1/deployments/{id}/finish");
        send(&client, Method::POST, &finish, Some(json!({ "status": "succeeded" }))).await;
        send(&client, Method::GET, &format!("{url}/api/v1/matrix"), None).await;
    }
}

fn running(matrix: &Value, service: &str) -> Value {
    let services = matrix["services"].as_array().unwrap();
    let row = services.iter().find(|one| one["name"] == service);
    row.map_or(Value::Null, |row| row["targets"][0]["running"]["version"].clone())
}

#[expect(clippy::disallowed_methods, reason = "tests have no configuration")]
fn rounds() -> usize {
    std::env::var("WAYBILL_TEST_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_acknowledged_write_is_in_the_next_matrix_of_the_other() {
    let rounds = rounds();
    let db = TestDb::postgres().await;
    let (quiet, first) =
        tokio::join!(ServerProcess::start_with(&db, &ENV), ServerProcess::start_with(&db, &ENV));
    let mut servers = [first, ServerProcess::start_with(&db, &ENV).await];
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = TaskTracker::new();
    let noises: Vec<_> = (0..NOISE)
        .map(|own| tasks.spawn(noise(quiet.url.clone(), quiet.client(), own, Arc::clone(&stop))))
        .collect();
    for round in 0..rounds {
        let (writer, reader) = (&servers[round % 2], &servers[(round + 1) % 2]);
        let client = writer.client();
        let version = format!("2.{round}");
        let body = start_body("shop/dev", &version);
        let (status, started) =
            send(&client, Method::POST, &writer.at("/api/v1/deployments"), Some(body)).await;
        assert_eq!(status, 201, "{started}");
        let path = ["/api/v1/matrix", "/api/v1/matrix?service=shop"][round / 2 % 2];
        let (_, matrix) = send(&reader.client(), Method::GET, &reader.at(path), None).await;
        assert_eq!(running(&matrix, "shop"), *version, "round {round}: {matrix}");
        let id = started["deployment"]["id"].as_str().unwrap();
        let finish = writer.at(&format!("/api/v1/deployments/{id}/finish"));
        let (status, _) = send(&client, Method::POST, &finish, Some(json!({ "status": "failed" }))).await;
        assert_eq!(status, 200);
        let (_, matrix) = send(&reader.client(), Method::GET, &reader.at(path), None).await;
        assert_eq!(running(&matrix, "shop"), Value::Null, "round {round}: {matrix}");
        tokens(writer, reader, round).await;
        if round % RESTART == RESTART - 1 {
            let one = round / RESTART % 2;
            servers[one].kill9();
            servers[one] = ServerProcess::start_with(&db, &ENV).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for noise in noises {
        noise.await.unwrap();
    }
}

/// A token that one server has narrowed sees no more at the other, and one that it has revoked sees nothing.
async fn tokens(writer: &ServerProcess, reader: &ServerProcess, round: usize) {
    let admin = writer.client();
    let token = json!({ "name": format!("narrow-{round}"), "scopes": ["read"], "services": ["shop"] });
    let (status, made) = send(&admin, Method::POST, &writer.at("/api/v1/tokens"), Some(token)).await;
    assert_eq!(status, 201, "{made}");
    let narrow = ServerProcess::client_of(made["token"].as_str().unwrap());
    let (status, matrix) = send(&narrow, Method::GET, &reader.at("/api/v1/matrix"), None).await;
    assert_eq!(status, 200);
    let services = matrix["services"].as_array().unwrap();
    assert!(services.iter().all(|service| service["name"] == "shop") && services.len() == 1, "{matrix}");
    let id = made["id"].as_str().unwrap();
    let (status, _) = send(&admin, Method::DELETE, &writer.at(&format!("/api/v1/tokens/{id}")), None).await;
    assert_eq!(status, 204);
    let (status, _) = send(&narrow, Method::GET, &reader.at("/api/v1/matrix"), None).await;
    assert_eq!(status, 401, "round {round}");
}
