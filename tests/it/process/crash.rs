//! Ends of a server under load: a crash loses nothing that was acknowledged, a stop fails no request.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::Client;
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database};
use serde_json::{Value, json};

use crate::{
    db_test,
    support::{api::start_body, process::ServerProcess},
};

const WRITERS: usize = 6;

/// What the server has acknowledged: each deployment's last known status, and the requests that failed.
#[derive(Debug, Default)]
struct Log {
    acknowledged: Mutex<HashMap<String, String>>,
    failures: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Log {
    fn acknowledge(&self, deployment: &Value) {
        let text = |name: &str| deployment[name].as_str().unwrap().to_owned();
        self.acknowledged.lock().unwrap().insert(text("id"), text("status"));
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }
}

async fn post(client: &Client, url: String, body: &Value, expected: u16) -> Result<Value, String> {
    let response = client.post(url).json(body).send().await.map_err(|error| format!("{error:?}"))?;
    let status = response.status().as_u16();
    let text = response.text().await.map_err(|error| format!("{error:?}"))?;
    if status != expected {
        return Err(format!("{status} {text}"));
    }
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// Starts and finishes deployments of a target of its own until it is told to stop, or a request fails.
async fn write(client: Client, url: String, writer: usize, log: Arc<Log>) {
    for round in 0.. {
        if log.stop.load(Ordering::Relaxed) {
            return;
        }
        let body = start_body(&format!("service-{writer}/prod"), &format!("1.{round}"));
        let outcome = async {
            let started = post(&client, format!("{url}/api/v1/deployments"), &body, 201).await?;
            log.acknowledge(&started["deployment"]);
            let id = started["deployment"]["id"].as_str().unwrap_or_default();
            let finish = format!("{url}/api/v1/deployments/{id}/finish");
            let ended = post(&client, finish, &json!({ "status": "succeeded" }), 200).await?;
            log.acknowledge(&ended);
            Ok(())
        };
        if let Err(failure) = outcome.await {
            log.failures.lock().unwrap().push(failure);
            return;
        }
    }
}

fn writers(server: &ServerProcess, log: &Arc<Log>) -> tokio::task::JoinSet<()> {
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(server.client(), server.url.clone(), writer, Arc::clone(log)));
    }
    writers
}

async fn statuses(server: &ServerProcess) -> HashMap<String, String> {
    let (client, mut found) = (server.client(), HashMap::new());
    let mut path = "/api/v1/deployments?limit=200".to_owned();
    loop {
        let page: Value = client.get(server.at(&path)).send().await.unwrap().json().await.unwrap();
        for item in page["items"].as_array().unwrap() {
            let text = |name: &str| item[name].as_str().unwrap().to_owned();
            found.insert(text("id"), text("status"));
        }
        let Some(cursor) = page["next_cursor"].as_str() else { return found };
        path = format!("/api/v1/deployments?limit=200&cursor={cursor}");
    }
}

const UNLIMITED: [(&str, &str); 2] =
    [("WAYBILL__LIMITS__REQUESTS_PER_SECOND", "100000"), ("WAYBILL__LIMITS__BURST", "100000")];

db_test!(
    async fn a_crash_loses_nothing_that_was_acknowledged(db: TestDb) {
        let mut total = 0;
        for _ in 0..3 {
            let mut server = ServerProcess::start_with(&db, &UNLIMITED).await;
            // Each round begins with nothing running, so that every writer may start.
            for (id, status) in statuses(&server).await {
                if status == "running" {
                    let finish = server.at(&format!("/api/v1/deployments/{id}/finish"));
                    let request = server.client().post(finish).json(&json!({ "status": "failed" }));
                    assert!(request.send().await.unwrap().status().is_success());
                }
            }
            let log = Arc::new(Log::default());
            let writers = writers(&server, &log);
            tokio::time::sleep(Duration::from_millis(700)).await;
            server.kill9();
            writers.join_all().await;
            let server = ServerProcess::start_with(&db, &UNLIMITED).await;
            let found = statuses(&server).await;
            for (id, status) in log.acknowledged.lock().unwrap().iter() {
                let kept = found.get(id).unwrap_or_else(|| panic!("deployment {id} is lost"));
                // The finish that was under way may have been written, though nobody learnt of it.
                assert!(kept == status || status == "running", "{id} was {status} and is {kept}");
            }
            total += log.count();
            db.assert_sound().await;
        }
        assert!(total > 30, "there was load: {total}");
    }
);

db_test!(
    async fn a_stop_under_load_fails_no_request(db: TestDb) {
        let env = [UNLIMITED[0], UNLIMITED[1], ("WAYBILL__SERVER__DRAIN_DELAY", "3s")];
        let mut server = ServerProcess::start_with(&db, &env).await;
        let log = Arc::new(Log::default());
        let writers = writers(&server, &log);
        tokio::time::sleep(Duration::from_millis(400)).await;
        server.ask_to_stop();
        // As a load balancer does, which sends no more once readiness is off.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let ready = server.client().get(server.at("/readyz")).send().await.unwrap().status();
        assert_eq!(ready, 503, "it says that it is about to stop");
        log.stop.store(true, Ordering::Relaxed);
        let status = server.wait().await;
        writers.join_all().await;
        assert_eq!(log.failures.lock().unwrap().as_slice(), [""; 0], "{}", server.stderr());
        assert!(status.success(), "{status}\n{}", server.stderr());
        assert!(log.count() > 10, "there was load: {}", log.count());
    }
);

db_test!(
    async fn a_request_in_flight_is_answered_before_the_end(db: TestDb) {
        let mut server = ServerProcess::start_with(&db, &UNLIMITED).await;
        let mut options = ConnectOptions::new(&db.url);
        options.max_connections(1).sqlx_logging(false);
        let holder = Database::connect(options).await.unwrap();
        // Nobody else writes until this lets go, so that the requests are under way for as long as is wanted.
        let begin = if db.is_postgres() { "BEGIN; LOCK TABLE target" } else { "BEGIN IMMEDIATE" };
        holder.execute_unprepared(begin).await.unwrap();
        let (client, url) = (server.client(), server.at("/api/v1/deployments"));
        let starts = (0..5).map(|n| {
            let body = start_body(&format!("shop/env-{n}"), "1");
            let (client, url) = (client.clone(), url.clone());
            async move { post(&client, url, &body, 201).await }
        });
        let stop = async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            server.ask_to_stop();
            tokio::time::sleep(Duration::from_millis(500)).await;
            let refused = client.get(url.replace("/api/v1/deployments", "/livez")).send().await;
            assert!(refused.is_err_and(|error| error.is_connect()), "nobody new is let in");
            holder.execute_unprepared("COMMIT").await.unwrap();
            server.wait().await
        };
        let (answers, status) = tokio::join!(futures_util::future::join_all(starts), stop);
        assert!(answers.iter().all(Result::is_ok), "{answers:?}\n{}", server.stderr());
        assert!(status.success(), "{status}\n{}", server.stderr());
    }
);
