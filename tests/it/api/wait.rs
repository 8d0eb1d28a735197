//! Waiting for the gate: whoever waits is woken by what happens, wherever it happens, costs next to nothing meanwhile, and
//! is in nobody's way.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;
use waybill::{domain::vocabulary::Scope, worker};

use crate::{
    db_test,
    support::{
        api::{Answer, Api, start_body},
        db::TestDb,
        eventually,
        process::ServerProcess,
        wire::Wire,
    },
};

/// Far less than any wait here takes that is not woken, and far more than waking takes, on a slow and busy machine.
const SOON: Duration = Duration::from_secs(10);

fn wait_path(version: &str, more: &str) -> String {
    format!("/gate/wait?service=shop&environment=prod&version={version}{more}")
}

/// A target in which 1.0 is running, so that 1.1, which is on record, has to wait. Gives the id of what runs and the state
/// in which 1.1 was refused.
async fn occupied(api: &Api) -> (String, String) {
    let id = api.started("shop/prod", "1.0").await;
    let denied = api.start("shop/prod", "1.1").await.problem(409, "gate-denied");
    (id, denied["decision"]["state"].as_str().unwrap().to_owned())
}

/// Begins to wait, and gives the server time to begin, too.
pub async fn waiting(api: &Api, path: String) -> JoinHandle<Answer> {
    let (api, before) = (api.clone(), api.app.feed.waiting());
    let feed = api.app.feed.clone();
    let task = TaskTracker::new().spawn(async move { api.get(&path).await });
    eventually("the wait", async || (feed.waiting() > before || task.is_finished()).then_some(())).await;
    task
}

pub async fn answer(task: JoinHandle<Answer>) -> Answer {
    timeout(SOON, task).await.expect("an answer soon").unwrap()
}

db_test!(
    async fn a_wait_ends_when_what_was_in_the_way_does(db: TestDb) {
        let api = Api::new(&db).await.with_workers();
        let (id, seen) = occupied(&api).await;
        let task = waiting(&api, wait_path("1.1", &format!("&timeout=300&seen={seen}"))).await;
        // Something else that happens to the service wakes it, too, but there is nothing to say.
        api.patch("/services/shop", json!({"owner": "mira"})).await.ok(200);
        sleep(Duration::from_millis(400)).await;
        assert!(!task.is_finished());
        api.finished(&id, "succeeded").await;
        let open = answer(task).await;
        assert_eq!(open.header("retry-after"), None);
        let open = open.ok(200);
        assert_eq!(
            (&open["allowed"], &open["version"], &open["id"]),
            (&json!(true), &json!("1.1"), &Value::Null)
        );
        assert_ne!(open["state"], seen);
    }
);

db_test!(
    async fn whenever_it_happens_it_is_not_missed(db: TestDb) {
        let api = Api::new(&db).await.with_workers();
        let (mut id, _) = occupied(&api).await;
        for round in 0..12 {
            let task = TaskTracker::new().spawn({
                let api = api.clone();
                async move { api.get(&wait_path("1.1", "&timeout=300")).await }
            });
            sleep(Duration::from_millis(round * 3)).await;
            api.finished(&id, "failed").await;
            assert_eq!(answer(task).await.ok(200)["allowed"], true, "round {round}");
            id = api.started("shop/prod", "1.0").await;
        }
    }
);

db_test!(
    async fn what_was_not_seen_is_said_at_once_and_the_rest_at_the_timeout(db: TestDb) {
        let api = Api::new(&db).await.with_workers();
        let (_, seen) = occupied(&api).await;
        let begun = Instant::now();
        let other = api.get(&wait_path("1.1", "&timeout=300&seen=0123456789abcdef")).await;
        assert_eq!(other.ok(200)["state"], seen);
        let open =
            api.get("/gate/wait?service=shop&environment=prod&version=1.0&kind=rollback&preempt=true").await;
        assert_eq!(open.ok(200)["allowed"], true, "what is open is not waited for");
        assert!(begun.elapsed() < SOON);

        for more in ["&timeout=1".to_owned(), format!("&timeout=1&seen={seen}")] {
            let begun = Instant::now();
            let shut = api.get(&wait_path("1.1", &more)).await;
            assert!(begun.elapsed() >= Duration::from_secs(1) && begun.elapsed() < SOON);
            let lease: u32 = shut.header("retry-after").unwrap().parse().unwrap();
            assert!((3000..=3600).contains(&lease), "{lease}");
            let shut = shut.ok(200);
            assert_eq!((&shut["allowed"], &shut["state"]), (&json!(false), &json!(seen)));
            assert_eq!(shut["checks"][0]["code"], "concurrent-deployment");
        }
    }
);

db_test!(
    async fn something_else_in_the_way_is_said(db: TestDb) {
        let api = Api::new(&db).await.with_workers();
        for version in ["0.8", "0.9"] {
            api.deployed("shop/prod", version).await;
        }
        let (_, seen) = occupied(&api).await;
        let task = waiting(&api, wait_path("1.1", "&timeout=300")).await;
        // In one step, another deployment takes the place of the one that runs.
        let mut body = start_body("shop/prod", "0.8");
        body["kind"] = json!("rollback");
        body["preempt"] = json!(true);
        api.post("/deployments", body).await.ok(201);
        let told = answer(task).await.ok(200);
        assert_eq!(
            (&told["allowed"], &told["checks"][0]["details"]["version"]),
            (&json!(false), &json!("0.8"))
        );
        assert_ne!(told["state"], seen);
    }
);

db_test!(
    async fn people_wake_those_who_wait(db: TestDb) {
        let api = Api::new(&db).await.with_workers();
        api.deployed("shop/prod", "1.0").await;
        let policy = |required: u32| json!({"approval": {"required": required}});
        api.put("/environments/prod/policy", policy(3)).await.ok(200);
        let denied = api.start("shop/prod", "1.1").await.problem(409, "gate-denied");
        let mut seen = denied["decision"]["state"].clone();
        // One after the other, each told to whoever has seen what was before.
        for step in [
            "ada approves",
            "lockdown",
            "ada withdraws",
            "ada approves",
            "bob approves",
            "lifted",
            "two are enough",
        ] {
            let path = wait_path("1.1", &format!("&timeout=300&seen={}", seen.as_str().unwrap()));
            let task = waiting(&api, path).await;
            match step {
                "ada approves" => approve(&api, "ada").await,
                "lockdown" => {
                    api.put("/environments/prod/lockdown", json!({"reason": "payments fail"})).await.ok(200);
                }
                "ada withdraws" => withdraw(&api, "ada").await,
                "bob approves" => approve(&api, "bob").await,
                "lifted" => assert_eq!(api.delete("/environments/prod/lockdown").await.status, 204),
                _ => {
                    api.put("/environments/prod/policy", policy(2)).await.ok(200);
                }
            }
            let told = answer(task).await.ok(200);
            assert_ne!(told["state"], seen, "{step}");
            seen = told["state"].clone();
            assert_eq!(told["allowed"], step == "two are enough", "{step}: {told}");
        }
    }
);

const APPROVALS: &str = "/services/shop/releases/1.1/approvals";

async fn approve(api: &Api, subject: &str) {
    let person = api.person(subject, &[Scope::Approve], &[]).await;
    let said = person.post(APPROVALS, json!({"environment": "prod", "decision": "approved"})).await;
    assert_eq!(said.status, 201, "{}", said.text);
}

async fn withdraw(api: &Api, subject: &str) {
    let person = api.person(subject, &[Scope::Approve, Scope::Read], &[]).await;
    let said = person.get(APPROVALS).await.ok(200);
    let said =
        said["items"].as_array().unwrap().iter().find(|one| one["actor"]["subject"] == subject).unwrap();
    let path = format!("{APPROVALS}/{}", said["id"].as_str().unwrap());
    assert_eq!(person.delete(&path).await.status, 204);
}

db_test!(
    async fn a_rule_that_begins_to_hold_by_itself_wakes(db: TestDb) {
        // Without anything in the background: neither does the log tell of anything, nor does anybody end the lease.
        let api = Api::new(&db).await;
        let mut body = start_body("shop/prod", "1.0");
        body["lease_seconds"] = json!(2);
        api.post("/deployments", body).await.ok(201);
        api.start("shop/prod", "1.1").await.problem(409, "gate-denied");
        let begun = Instant::now();
        let open = api.get(&wait_path("1.1", "&timeout=300")).await.ok(200);
        assert_eq!(open["allowed"], true);
        assert!(
            begun.elapsed() > Duration::from_millis(500) && begun.elapsed() < SOON,
            "{:?}",
            begun.elapsed()
        );
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_on_another_server_wakes() {
    let db = TestDb::postgres().await;
    let (one, two) = tokio::join!(ServerProcess::start(&db), ServerProcess::start(&db));
    let start = async |version: &str| {
        let body = start_body("shop/prod", version);
        one.client().post(one.at("/api/v1/deployments")).json(&body).send().await.unwrap()
    };
    let started: Value = start("1.0").await.json().await.unwrap();
    let id = started["deployment"]["id"].as_str().unwrap();
    assert_eq!(start("1.1").await.status(), 409);
    let path = format!("/api/v1{}", wait_path("1.1", "&timeout=300"));
    let request = two.client().get(two.at(&path));
    let task =
        TaskTracker::new().spawn(async move { request.send().await.unwrap().json::<Value>().await.unwrap() });
    sleep(Duration::from_secs(1)).await;
    assert!(!task.is_finished());
    let finish = one.client().post(one.at(&format!("/api/v1/deployments/{id}/finish")));
    finish.json(&json!({"status": "succeeded"})).send().await.unwrap().error_for_status().unwrap();
    let told = timeout(SOON, task).await.expect("an answer soon").unwrap();
    assert_eq!(told["allowed"], true, "{told}");
}

db_test!(
    async fn only_so_many_wait_at_once(db: TestDb) {
        let api = Api::new(&db).await;
        occupied(&api).await;
        let mut callers = Vec::new();
        for _ in 0..5 {
            callers.push(api.token(&[Scope::Read], None, None).await);
        }
        let ask = async |caller: &Api| caller.get(&wait_path("1.1", "&timeout=4")).await;
        // Four tokens take all places between them, each its quarter; the fifth finds none.
        let first = join_all((0..280).map(|number| ask(&callers[number % 4])));
        let last = async {
            sleep(Duration::from_secs(2)).await;
            ask(&callers[4]).await
        };
        let (all, last) = futures_util::join!(first, last);
        let (told, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(|answer| answer.status == 200);
        assert_eq!((told.len(), refused.len()), (256, 24));
        for answer in refused {
            let problem = answer.problem(429, "rate-limited");
            assert!(problem["detail"].as_str().unwrap().contains("a quarter"), "{problem}");
            assert_eq!(answer.header("retry-after"), Some("5"));
        }
        last.problem(503, "unavailable");
        assert_eq!(last.header("retry-after"), Some("5"));
        assert_eq!(api.get(&wait_path("1.1", "&timeout=1")).await.status, 200, "every place is free again");
    }
);

db_test!(
    async fn those_who_wait_hold_no_connection(db: TestDb) {
        let api = Api::with(&db, |config| {
            config.database.max_connections = 1;
            config.database.acquire_timeout = Duration::from_secs(5);
        });
        let api = api.await.with_workers();
        let (id, seen) = occupied(&api).await;
        let path = wait_path("1.1", &format!("&timeout=300&seen={seen}"));
        let mut tasks = Vec::new();
        for _ in 0..50 {
            tasks.push(waiting(&api, path.clone()).await);
        }
        eventually("fifty that wait", async || (api.app.feed.waiting() == 50).then_some(())).await;
        let begun = Instant::now();
        for _ in 0..20 {
            api.get("/matrix").await.ok(200);
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        api.finished(&id, "succeeded").await;
        for task in tasks {
            assert_eq!(answer(task).await.ok(200)["allowed"], true);
        }
        assert_eq!(api.app.feed.waiting(), 0);
    }
);

db_test!(
    async fn a_wait_may_take_longer_than_other_requests(db: TestDb) {
        let api = Api::with(&db, |config| config.server.request_timeout = Duration::from_millis(900)).await;
        occupied(&api).await;
        assert_eq!(api.get(&wait_path("1.1", "&timeout=2")).await.ok(200)["allowed"], false);
    }
);

db_test!(
    async fn a_token_that_is_revoked_is_told_nothing_more(db: TestDb) {
        let api = Api::new(&db).await.with_workers();
        occupied(&api).await;
        let reader = api.token(&[Scope::Read], None, None).await;
        let task = waiting(&reader, wait_path("1.1", "&timeout=300")).await;
        let tokens = api.get("/tokens").await.ok(200);
        let newest = tokens["items"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned();
        assert_eq!(api.delete(&format!("/tokens/{newest}")).await.status, 204);
        answer(task).await.problem(401, "unauthenticated");
    }
);

db_test!(
    async fn what_cannot_be_waited_for_is_refused(db: TestDb) {
        let api = Api::new(&db).await;
        occupied(&api).await;
        let long = "x".repeat(201);
        let path = format!(
            "/gate/wait?service=Sh%20op&environment=-&version=%20&timeout=301&seen=no%20state&preempt=true&initiated_by={long}"
        );
        let problem = api.get(&path).await.problem(400, "invalid-request");
        let mut pointers: Vec<_> = problem["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["pointer"].as_str().unwrap())
            .collect();
        pointers.sort_unstable();
        let expected = ["environment", "initiated_by", "preempt", "seen", "service", "timeout", "version"];
        assert_eq!(pointers, expected.map(|name| format!("/query/{name}")));

        for (more, name) in [
            ("&timeout=0", "timeout"),
            ("&timeout=301", "timeout"),
            ("&timeout=-1", "timeout"),
            ("&timeout=soon", "timeout"),
            ("&seen=", "seen"),
            ("&seen=a%00b", ""),
            ("&kind=party", "kind"),
            ("&preempt=perhaps", "preempt"),
            ("&preempt=true", "preempt"),
            ("&kind=hotfix&preempt=true", "preempt"),
        ] {
            let problem = api.get(&wait_path("1.1", more)).await.problem(400, "invalid-request");
            if !name.is_empty() {
                assert_eq!(problem["errors"][0]["pointer"], format!("/query/{name}"), "{more}: {problem}");
            }
        }
        for missing in
            ["environment=prod&version=1.1", "service=shop&version=1.1", "service=shop&environment=prod"]
        {
            api.get(&format!("/gate/wait?{missing}")).await.problem(400, "invalid-request");
        }
        for unknown in [
            "service=till&environment=prod&version=1.1",
            "service=shop&environment=qa&version=1.1",
            "service=shop&environment=prod&version=9",
        ] {
            api.get(&format!("/gate/wait?{unknown}")).await.problem(404, "not-found");
        }
        assert_eq!(api.anonymous().get(&wait_path("1.1", "")).await.status, 401);
        let blind = api.token(&[Scope::Approve], None, None).await;
        blind.get(&wait_path("1.1", "")).await.problem(403, "forbidden");
        let elsewhere = api.token(&[Scope::Read], Some(&["till"]), None).await;
        elsewhere.get(&wait_path("1.1", "")).await.problem(404, "not-found");
        assert_eq!(api.app.feed.waiting(), 0);
    }
);

db_test!(
    async fn a_server_that_stops_keeps_nobody_waiting(db: TestDb) {
        let mut server = ServerProcess::start(&db).await;
        let (client, path) =
            (server.client(), server.at(&format!("/api/v1{}", wait_path("1.1", "&timeout=300"))));
        for (version, status) in [("1.0", 201), ("1.1", 409)] {
            let start = client.post(server.at("/api/v1/deployments")).json(&start_body("shop/prod", version));
            assert_eq!(start.send().await.unwrap().status(), status);
        }
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let request = client.get(&path);
                TaskTracker::new().spawn(async move { request.send().await.unwrap() })
            })
            .collect();
        sleep(Duration::from_secs(1)).await;
        let begun = Instant::now();
        assert!(server.terminate().await.success());
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        for task in tasks {
            let answer = task.await.unwrap();
            assert_eq!(
                (answer.status().as_u16(), answer.headers()["connection"].to_str().unwrap()),
                (200, "close")
            );
            assert_eq!(answer.json::<Value>().await.unwrap()["allowed"], false);
        }
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_goes_away_leaves_room() {
    let db = TestDb::sqlite().await;
    let server = ServerProcess::start_with(&db, &[("WAYBILL__LIMITS__WAITS", "1")]).await;
    for (version, status) in [("1.0", 201), ("1.1", 409)] {
        let start =
            server.client().post(server.at("/api/v1/deployments")).json(&start_body("shop/prod", version));
        assert_eq!(start.send().await.unwrap().status(), status);
    }
    let path = format!("/api/v1{}", wait_path("1.1", "&timeout=300"));
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\r\n", server.token);
    let short = server.at(&path.replace("timeout=300", "timeout=1"));
    let status = async || server.client().get(&short).send().await.unwrap().status().as_u16();
    // Whoever asks first takes the place, which may be the second.
    let stream = eventually("the first in the only place", async || {
        let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        (status().await == 429).then_some(stream)
    });
    drop(stream.await);
    eventually("room for another", async || (status().await == 200).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_closes_their_side_is_told_at_once_what_stands_in_the_way() {
    let db = TestDb::sqlite().await;
    let server = ServerProcess::start_with(&db, &[]).await;
    for (version, status) in [("1.0", 201), ("1.1", 409)] {
        let start =
            server.client().post(server.at("/api/v1/deployments")).json(&start_body("shop/prod", version));
        assert_eq!(start.send().await.unwrap().status(), status);
    }
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap();
    let path = format!("/api/v1{}", wait_path("1.1", "&timeout=300"));
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\r\n", server.token);
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("concurrent-deployment"), "{answer}");
}

/// The log is read only while somebody waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_who_waits_costs_nothing() {
    let db = TestDb::postgres().await;
    let wire = Wire::tap(&db.url).await;
    let api = Api::with(&db, |config| config.database.url = wire.url.parse().unwrap()).await;
    let (id, _) = occupied(&api).await;
    let (app, relay) = (api.app.clone(), api.app.clone());
    api.shutdown.spawn_worker(|stop| worker::follow_log(app, stop));
    sleep(Duration::from_millis(300)).await;
    wire.round_trips();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(wire.round_trips(), 0);

    let task = waiting(&api, wait_path("1.1", "&timeout=300")).await;
    sleep(Duration::from_millis(500)).await;
    wire.round_trips();
    sleep(Duration::from_secs(2)).await;
    let idle = wire.round_trips();
    assert!((2..=12).contains(&idle), "{idle} round trips in two seconds in which nothing happened");
    api.finished(&id, "succeeded").await;
    waybill::usecase::upkeep::seal_events(&relay).await.unwrap();
    assert_eq!(answer(task).await.ok(200)["allowed"], true);
    eventually("rest", async || {
        wire.round_trips();
        sleep(Duration::from_millis(600)).await;
        (wire.round_trips() == 0).then_some(())
    })
    .await;
}
