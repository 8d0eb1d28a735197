//! Following the audit log: what happens is told at once and in order, on whichever server, and nothing is missed between
//! two connections.

use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    db_test,
    support::{api::start_body, db::TestDb, process::ServerProcess},
};

/// Far more than a message takes on a slow and busy machine.
const SOON: Duration = Duration::from_secs(20);

/// A connection that follows the log.
struct Following {
    answer: Response,
    text: String,
}

impl Following {
    async fn of(client: &Client, server: &ServerProcess, query: &str, last: Option<i64>) -> Self {
        let url = server.at(&format!("/api/v1/events/stream{query}"));
        let request = client.get(url).header("accept-encoding", "gzip");
        let request = last.iter().fold(request, |request, seq| request.header("last-event-id", *seq));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert!(!answer.headers().contains_key("content-encoding"), "each message comes as it is");
        Self { answer, text: String::new() }
    }

    /// The next message; none when the server ends the stream.
    async fn next(&mut self) -> Option<Value> {
        loop {
            while let Some((message, rest)) = self.text.split_once("\n\n") {
                let (message, rest) = (message.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name));
                if let Some(data) = field("data: ") {
                    let value: Value = serde_json::from_str(data).unwrap();
                    assert_eq!(field("id: "), Some(value["seq"].to_string().as_str()));
                    return Some(value);
                }
            }
            let chunk = timeout(SOON, self.answer.chunk()).await.expect("a message soon").ok()??;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next messages up to the first of this kind, as `kind service`.
    async fn until(&mut self, kind: &str) -> (Vec<String>, i64) {
        let mut told = Vec::new();
        loop {
            let message = self.next().await.expect("more of the stream");
            told.push(format!("{} {}", text(&message["kind"]), text(&message["service"])).trim().to_owned());
            if message["kind"] == kind {
                return (told, message["seq"].as_i64().unwrap());
            }
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

async fn post(server: &ServerProcess, path: &str, body: &Value) -> Value {
    let answer = server.client().post(server.at(&format!("/api/v1{path}"))).json(body).send().await.unwrap();
    let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap());
    assert!(status.is_success(), "{path}: {body}");
    body
}

async fn start(server: &ServerProcess, target: &str) -> String {
    let started = post(server, "/deployments", &start_body(target, "1")).await;
    started["deployment"]["id"].as_str().unwrap().to_owned()
}

async fn finish(server: &ServerProcess, id: &str) {
    post(server, &format!("/deployments/{id}/finish"), &json!({ "status": "succeeded" })).await;
}

async fn token(server: &ServerProcess, more: Value) -> Value {
    let mut body = json!({ "name": "reader", "scopes": ["read"] });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    post(server, "/tokens", &body).await
}

db_test!(
    async fn what_happens_is_told_in_order_and_resumed_without_a_gap(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let client = server.client();
        let mut following = Following::of(&client, &server, "", None).await;
        let began = following.next().await.unwrap();
        assert_eq!(began["kind"], "stream.began");
        start(&server, "pay/dev").await;
        let (told, _) = following.until("deployment.started").await;
        assert_eq!(told.last().unwrap(), "deployment.started pay");
        let id = start(&server, "shop/dev").await;
        let (told, last) = following.until("deployment.started").await;
        assert_eq!(told.last().unwrap(), "deployment.started shop");
        drop(following);

        finish(&server, &id).await;
        start(&server, "till/dev").await;
        let mut again = Following::of(&client, &server, "?service=shop", Some(last)).await;
        let expected = ["stream.began", "deployment.succeeded shop"];
        assert_eq!(again.until("deployment.succeeded").await.0, expected, "neither lost nor told twice");
        let mut missed = Following::of(&client, &server, "", Some(last + 100_000)).await;
        assert_eq!(missed.next().await.unwrap()["kind"], "stream.missed", "the log was set back");
        for (last, query, status) in [("-1", "", 400), ("x", "", 400), ("1", "?service=shpo", 404)] {
            let url = server.at(&format!("/api/v1/events/stream{query}"));
            let answer = client.get(url).header("last-event-id", last).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{last} {query}");
        }
    }
);

db_test!(
    async fn nobody_is_told_more_than_their_token_reads_nor_longer_than_it_lives(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        start(&server, "shop/dev").await;
        let made = token(&server, json!({ "services": ["shop"] })).await;
        let client = ServerProcess::client_of(text(&made["token"]));
        let mut following = Following::of(&client, &server, "", Some(0)).await;
        let (told, _) = following.until("deployment.started").await;
        assert!(told.contains(&"service.created shop".to_owned()), "{told:?}");
        assert!(!told.iter().any(|kind| kind.starts_with("token.")), "{told:?}");
        start(&server, "pay/dev").await;
        start(&server, "shop/qa").await;
        let (told, _) = following.until("deployment.started").await;
        assert!(told.iter().all(|one| !one.ends_with(" pay")), "{told:?}");
        let revoke = server.at(&format!("/api/v1/tokens/{}", text(&made["id"])));
        assert!(server.client().delete(revoke).send().await.unwrap().status().is_success());
        assert_eq!(following.next().await, None, "its end is heard at once");
    }
);

db_test!(
    async fn places_are_bounded_and_a_server_that_stops_ends_its_streams(db: TestDb) {
        let mut server = ServerProcess::start_with(&db, &[("WAYBILL__LIMITS__STREAMS", "4")]).await;
        let client = server.client();
        let mut following = Following::of(&client, &server, "", None).await;
        let url = server.at("/api/v1/events/stream");
        let refused = client.get(&url).send().await.unwrap();
        assert_eq!(refused.status().as_u16(), 429, "a token holds a quarter");
        assert!(refused.text().await.unwrap().contains("limits.streams"));
        server.ask_to_stop();
        while following.next().await.is_some() {}
        assert!(server.wait().await.success());
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_on_one_server_is_told_by_the_other() {
    let db = TestDb::postgres().await;
    let (one, other) = (ServerProcess::start(&db).await, ServerProcess::start(&db).await);
    let mut following = Following::of(&other.client(), &other, "", None).await;
    following.next().await;
    for round in 0..5 {
        let target = format!("shop/dev-{round}");
        let id = start(&one, &target).await;
        following.until("deployment.started").await;
        finish(&one, &id).await;
        following.until("deployment.succeeded").await;
    }
}
