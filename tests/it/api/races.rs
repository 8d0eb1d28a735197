//! Requests at the same moment: one wins, the others are told so, and nothing is left half done.

use std::pin::pin;

use futures_util::future::join_all;
use poem::http::Method;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement};
use serde_json::{Value, json};

use crate::{
    db_test,
    support::{
        api::{Answer, Api, commit, id_of, start_body},
        db::TestDb,
    },
};

const ROUNDS: usize = 8;

fn with_status(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

db_test!(
    async fn of_two_ends_at_once_one_counts(db: TestDb) {
        let api = Api::new(&db).await;
        for round in 0..ROUNDS {
            let id = api.started(&format!("shop/env-{round}"), "1").await;
            let finish = format!("/deployments/{id}/finish");
            let ends = ["succeeded", "failed", "canceled"].map(|status| {
                let (api, finish) = (api.clone(), finish.clone());
                async move { (status, api.post(&finish, json!({ "status": status })).await) }
            });
            let answers = join_all(ends).await;
            let won: Vec<_> = answers.iter().filter(|(_, answer)| answer.status == 200).collect();
            assert_eq!(won.len(), 1, "{answers:?}");
            assert_eq!(answers.iter().filter(|(_, answer)| answer.status == 409).count(), 2, "{answers:?}");
            assert_eq!(api.deployment(&id).await["status"], won[0].0);
        }
    }
);

db_test!(
    async fn of_two_identities_for_one_version_one_is_registered(db: TestDb) {
        let api = Api::new(&db).await;
        api.post("/services", json!({ "name": "shop" })).await.ok(201);
        for round in 0..ROUNDS {
            let registrations = (0..4).map(|n| {
                let api = api.clone();
                let body = json!({ "version": format!("1.{round}"), "commit_sha": commit(&n.to_string()) });
                async move { api.post("/services/shop/releases", body).await }
            });
            let answers = join_all(registrations).await;
            assert_eq!((with_status(&answers, 201), with_status(&answers, 409)), (1, 3), "{answers:?}");
        }
        let newest = api.get("/services/shop/releases?limit=1").await.ok(200)["items"][0].clone();
        assert_eq!(newest["number"], ROUNDS, "refusals use no number up");
    }
);

db_test!(
    async fn of_edits_of_one_revision_one_is_made(db: TestDb) {
        let api = Api::new(&db).await;
        api.post("/services", json!({ "name": "shop" })).await.ok(201);
        for round in 0..ROUNDS {
            let tag = api.get("/services/shop").await.header("etag").unwrap().to_owned();
            let edits =
                (0..4).map(|n| {
                    let (api, tag) = (api.clone(), tag.clone());
                    let body = json!({ "owner": format!("team-{round}-{n}") });
                    async move {
                        api.send_json(Method::PATCH, "/services/shop", &[("if-match", &tag)], &body).await
                    }
                });
            let answers = join_all(edits).await;
            assert_eq!((with_status(&answers, 200), with_status(&answers, 412)), (1, 3), "{answers:?}");
        }
    }
);

db_test!(
    async fn nothing_starts_in_what_is_archived_at_the_same_moment(db: TestDb) {
        let api = Api::new(&db).await;
        for (kind, path) in [("service", "/services/shop"), ("environment", "/environments/prod")] {
            for round in 0..ROUNDS {
                let (archived, started) = tokio::join!(api.delete(path), api.start("shop/prod", "1"));
                match (archived.status, started.status) {
                    (200, 409) | (404, 201) => {}
                    (409, 201) => {
                        let id = id_of(&started.json()["deployment"]);
                        api.finished(&id, "succeeded").await;
                    }
                    _ => panic!("{kind} {round}: {archived:?} {started:?}"),
                }
                if archived.status == 404 {
                    let id = id_of(&started.json()["deployment"]);
                    api.finished(&id, "succeeded").await;
                }
                api.patch(path, json!({ "archived": false })).await.ok(200);
            }
        }
    }
);

db_test!(
    async fn of_rollbacks_that_preempt_at_once_the_last_one_runs(db: TestDb) {
        let api = Api::new(&db).await;
        api.deployed("shop/prod", "1").await;
        api.deployed("shop/prod", "2").await;
        api.started("shop/prod", "3").await;
        let mut body = start_body("shop/prod", "1");
        body["kind"] = json!("rollback");
        body["preempt"] = json!(true);
        let rollbacks = (0..6).map(|_| {
            let (api, body) = (api.clone(), body.clone());
            async move { api.post("/deployments", body).await }
        });
        let answers = join_all(rollbacks).await;
        assert_eq!(with_status(&answers, 201), 6, "{answers:?}");
        let running = api.get("/deployments?status=running").await.ok(200)["items"].clone();
        assert_eq!(running.as_array().unwrap().len(), 1, "{running}");
        assert_eq!(api.target("shop/prod").await["running"]["deployment_id"], running[0]["id"]);
        let cancelled = api.get("/deployments?status=canceled").await.ok(200)["items"].clone();
        assert!(cancelled.as_array().unwrap().iter().all(|one| one["preempted"] == true), "{cancelled}");
        assert_eq!(cancelled.as_array().unwrap().len(), 6);
    }
);

db_test!(
    async fn records_at_once_form_one_succession(db: TestDb) {
        let api = Api::new(&db).await;
        let records = (0..20).map(|n| {
            let api = api.clone();
            let mut body = start_body("shop/prod", &format!("1.{}", n % 3));
            let at = format!("2026-01-01T00:00:{:02}Z", (n * 7) % 20);
            body["status"] = json!("succeeded");
            body["started_at"] = json!(at);
            body["finished_at"] = json!(at);
            async move { api.post("/deployments/record", body).await }
        });
        let answers = join_all(records).await;
        assert_eq!(with_status(&answers, 201), 20, "{answers:?}");
        let mut list = api.get("/deployments").await.ok(200)["items"].as_array().unwrap().clone();
        list.reverse();
        for pair in list.windows(2) {
            assert_eq!(pair[0]["superseded_by"], pair[1]["id"]);
        }
        assert_eq!(list[19]["superseded_by"], Value::Null);
        assert_eq!(api.target("shop/prod").await["current"]["deployment_id"], list[19]["id"]);
    }
);

/// Somebody who works on the database directly, in a transaction.
struct Other(DatabaseConnection);

impl Other {
    async fn begin(api: &Api, statement: &str) -> Self {
        let other = Self(api.sql().await);
        for command in ["BEGIN", statement] {
            other.0.execute_unprepared(command).await.unwrap();
        }
        other
    }

    async fn value(&self, sql: &str) -> String {
        let row = self.0.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await.unwrap();
        row.unwrap().try_get_by_index(0).unwrap()
    }

    /// Goes on with the request until it waits for a lock of this transaction.
    async fn holds_up(&self, request: &mut (impl Future<Output = Answer> + Unpin)) {
        // Not of `pg_stat_activity`, which a transaction reads once: it would not see a connection that is made later.
        let waiting = "SELECT COUNT(*)::text FROM pg_locks \
             WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))";
        let held_up = async { while self.value(waiting).await == "0" {} };
        tokio::select! {
            answer = request => panic!("it has not waited: {answer:?}"),
            () = held_up => {}
        }
    }

    /// Ends the transaction, and tells when.
    async fn commit(&self) -> String {
        let now = self.value("SELECT clock_timestamp()::text").await;
        self.0.execute_unprepared("COMMIT").await.unwrap();
        now
    }
}

/// Archiving an environment waits for starts wherever a policy names it, and happens after them: also when the policy that
/// it waited for names it no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_happens_after_what_it_waited_for() {
    let db = TestDb::postgres().await;
    let api = Api::new(&db).await;
    for name in ["staging", "prod"] {
        api.post("/environments", json!({ "name": name })).await.ok(201);
    }
    api.put("/environments/prod/policy", json!({ "promotion": { "from": ["staging"] } })).await.ok(200);
    let other =
        Other::begin(&api, "UPDATE environment SET policy = NULL, policy_version = NULL WHERE name = 'prod'")
            .await;
    let mut archive = pin!(api.delete("/environments/staging"));
    other.holds_up(&mut archive).await;
    let waited = other.commit().await;
    let at = archive.await.ok(200)["updated_at"].take();
    let later = format!("SELECT (timestamptz '{}' > timestamptz '{waited}')::text", at.as_str().unwrap());
    assert_eq!(other.value(&later).await, "true", "{at} is not after {waited}");
}

/// A start holds what its policy promotes from, also when that is another policy than the one it began to wait under.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_for_the_sources_of_the_policy_it_goes_by() {
    let db = TestDb::postgres().await;
    let api = Api::new(&db).await;
    for environment in ["staging", "prod", "other"] {
        api.post("/environments", json!({ "name": environment })).await.ok(201);
        api.deployed(&format!("shop/{environment}"), "1").await;
    }
    api.put("/environments/other/policy", json!({ "promotion": { "from": ["staging"] } })).await.ok(200);
    let source = Other::begin(
        &api,
        "SELECT 1 FROM target t JOIN environment e ON e.id = t.environment_id WHERE e.name = 'staging' FOR UPDATE OF t",
    );
    let policy = Other::begin(
        &api,
        "UPDATE environment SET (policy, policy_version) = \
         (SELECT o.policy, o.policy_version FROM environment o WHERE o.name = 'other') WHERE name = 'prod'",
    );
    let (source, policy) = (source.await, policy.await);
    let mut start = pin!(api.start("shop/prod", "2"));
    policy.holds_up(&mut start).await;
    policy.commit().await;
    source.holds_up(&mut start).await;
    source.commit().await;
    let started = start.await;
    assert_eq!(started.json()["decision"]["policy_version"], 1, "{started:?}");
}
