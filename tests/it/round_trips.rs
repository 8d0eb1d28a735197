//! A start and a finish cost so many round trips to PostgreSQL, however long the history is.

use poem::http::Method;
use serde_json::{Value, json};

use crate::support::{db::TestDb, inside::Inside, wire::Wire};

const START_MAX: usize = 10;
const FINISH_MAX: usize = 7;
const GROWTH: usize = 300;
/// Enough for every connection of the pool to have seen every statement, which costs a round trip more for each.
const WARM_UP: usize = 40;

struct Counting {
    server: Inside,
    wire: Wire,
    version: usize,
}

impl Counting {
    /// Starts a release that nobody has heard of before, and counts.
    async fn start(&mut self, service: &str) -> (Value, usize) {
        self.version += 1;
        let version = format!("1.0.{}", self.version);
        let body = json!({
            "service": service,
            "environment": "prod",
            "version": version,
            "release": {"commit_sha": format!("{:040x}", self.version)},
        });
        self.wire.round_trips();
        let started = self.server.ask(Method::POST, "/deployments", Some(&body)).await;
        (started["deployment"]["id"].clone(), self.wire.round_trips())
    }

    async fn finish(&self, id: &Value) -> usize {
        let path = format!("/deployments/{}/finish", id.as_str().unwrap());
        self.wire.round_trips();
        self.server.ask(Method::POST, &path, Some(&json!({"status": "succeeded"}))).await;
        self.wire.round_trips()
    }

    async fn start_and_finish(&mut self) -> (usize, usize) {
        let (id, start) = self.start("shop").await;
        (start, self.finish(&id).await)
    }

    async fn matrix(&self) -> usize {
        self.wire.round_trips();
        self.server.ask(Method::GET, "/matrix", None).await;
        self.wire.round_trips()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_and_a_finish_cost_the_same_however_long_the_history_is() {
    let db = TestDb::postgres().await;
    let wire = Wire::tap(&db.url).await;
    let mut counting = Counting { server: Inside::on(&wire.url).await, wire, version: 0 };
    for _ in 0..WARM_UP {
        counting.start_and_finish().await;
        counting.matrix().await;
    }
    let young = (counting.start_and_finish().await, counting.matrix().await);
    for _ in 0..GROWTH {
        counting.start_and_finish().await;
    }
    let old = (counting.start_and_finish().await, counting.matrix().await);
    println!("(start, finish), matrix: {young:?}; {GROWTH} deployments later: {old:?}");
    let ((start, finish), _) = old;
    assert!(start <= START_MAX && finish <= FINISH_MAX, "start {start}, finish {finish}");
    assert_eq!(young, old);
}
