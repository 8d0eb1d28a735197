//! A thousand faults at random moments under load: SQLite's writes fail, PostgreSQL's connections are cut, clients leave.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::Client;
use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{
    api::start_body,
    db::TestDb,
    eventually,
    process::ServerProcess,
    random::Random,
    wire::{Cut, Wire},
};

const FAULTS: usize = 1000;
const WRITERS: u64 = 6;

/// What the clients know of each version that they tried to start.
#[derive(Debug, Default)]
struct Known {
    /// The version's path, and whether it must be there; one whose client left may or may not.
    releases: Mutex<BTreeMap<String, bool>>,
    stop: AtomicBool,
}

impl Known {
    fn count(&self, there: bool) -> usize {
        self.releases.lock().unwrap().values().filter(|known| **known == there).count()
    }

    /// Everything acknowledged is there, and nothing that was refused.
    async fn assert_true_of(&self, server: &ServerProcess, when: &str) {
        let (client, releases) = (server.client(), self.releases.lock().unwrap().clone());
        for (path, there) in releases {
            let status = client.get(server.at(&path)).send().await.unwrap().status();
            assert_eq!(status, if there { 200 } else { 404 }, "{when}: {path}");
        }
    }
}

/// Starts and finishes deployments of a target of its own, each with a release of its own.
async fn write(client: Client, url: String, writer: u64, known: Arc<Known>) {
    let (service, mut random) = (format!("service-{writer}"), Random(writer));
    let mut running: Option<String> = None;
    for round in 0.. {
        if known.stop.load(Ordering::Relaxed) {
            return;
        }
        if let Some(id) = running.take() {
            let finish = client.post(format!("{url}/api/v1/deployments/{id}/finish"));
            let answer = finish.json(&json!({ "status": "succeeded" })).send().await;
            if answer.is_ok_and(|answer| answer.status().is_server_error()) {
                running = Some(id);
            }
            continue;
        }
        // A target of its own each time, because whatever a client that left has started goes on.
        let body = start_body(&format!("{service}/prod-{round}"), &format!("1.{round}"));
        let mut start = client.post(format!("{url}/api/v1/deployments")).json(&body);
        if random.once_in(8) {
            start = start.timeout(Duration::from_micros(500 + random.below(5_000)));
        }
        let Ok(answer) = start.send().await else { continue };
        let status = answer.status();
        assert!(status == 201 || status == 503, "{status} {:?}", answer.text().await);
        let path = format!("/api/v1/services/{service}/releases/1.{round}");
        known.releases.lock().unwrap().insert(path, status == 201);
        if let Ok(body) = answer.json::<serde_json::Value>().await {
            running = body["deployment"]["id"].as_str().map(ToOwned::to_owned);
        }
    }
}

const UNLIMITED: [(&str, &str); 2] =
    [("WAYBILL__LIMITS__REQUESTS_PER_SECOND", "100000"), ("WAYBILL__LIMITS__BURST", "100000")];

/// Lets clients write while `fault` happens a thousand times, and gives what they know.
async fn under_load(server: &ServerProcess, mut fault: impl AsyncFnMut(&mut Random)) -> Arc<Known> {
    let known = Arc::<Known>::default();
    let mut writers = JoinSet::new();
    for service in 0..WRITERS {
        let body = json!({ "name": format!("service-{service}") });
        server.client().post(server.at("/api/v1/services")).json(&body).send().await.unwrap();
        writers.spawn(write(server.client(), server.url.clone(), service, Arc::clone(&known)));
    }
    let mut random = Random(7);
    for _ in 0..FAULTS {
        fault(&mut random).await;
        tokio::time::sleep(Duration::from_micros(random.below(20_000))).await;
    }
    known.stop.store(true, Ordering::Relaxed);
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    known
}

async fn assert_goes_on(server: &ServerProcess) {
    eventually("a server that goes on", async || {
        let ready = server.client().get(server.at("/readyz")).send().await.ok()?;
        ready.status().is_success().then_some(())
    })
    .await;
    let body = start_body("afterwards/prod", "1");
    let started = server.client().post(server.at("/api/v1/deployments")).json(&body).send().await.unwrap();
    assert_eq!(started.status(), 201, "{:?}", started.text().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_failed_writes_of_sqlite_lose_nothing() {
    let db = TestDb::sqlite().await;
    // A write past the limit fails as one does on a full disk, instead of ending the process.
    let starter = ["sh", "-c", r#"trap "" XFSZ; exec "$0" "$@""#];
    let mut server = ServerProcess::start_by(&starter, &db, &UNLIMITED).await;
    let limit = |bytes| {
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Some(server.pid()), Resource::Fsize, limit).unwrap();
    };
    let known = under_load(&server, async |random| {
        limit(Some(4096));
        tokio::time::sleep(Duration::from_micros(random.below(5_000))).await;
        limit(None);
    })
    .await;
    let (there, refused) = (known.count(true), known.count(false));
    println!("{there} acknowledged, {refused} refused");
    assert!(there > 50 && refused > 50, "{there} acknowledged, {refused} refused");
    known.assert_true_of(&server, "at once").await;
    assert_goes_on(&server).await;
    server.kill9();
    let server = ServerProcess::start_with(&db, &UNLIMITED).await;
    known.assert_true_of(&server, "after a crash").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_cut_connections_to_postgres_lose_nothing() {
    let db = TestDb::postgres().await;
    let wire = Wire::tap(&db.url).await;
    let env = [UNLIMITED[0], UNLIMITED[1], ("WAYBILL__DATABASE__URL", wire.url.as_str())];
    let server = ServerProcess::start_with(&db, &env).await;
    let known = under_load(&server, async |random| {
        wire.cut(1 + usize::try_from(random.below(20)).unwrap(), Cut::Question);
    })
    .await;
    wire.mend();
    let (there, refused) = (known.count(true), known.count(false));
    println!("{there} acknowledged, {refused} refused");
    assert!(there > 50 && refused > 50, "{there} acknowledged, {refused} refused");
    known.assert_true_of(&server, "at once").await;
    assert_goes_on(&server).await;
    let server = ServerProcess::start_with(&db, &UNLIMITED).await;
    known.assert_true_of(&server, "by another server").await;
}
