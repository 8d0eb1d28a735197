//! Putting finished deployments on record: past the gate, and at their place in the past.

use chrono::{SecondsFormat, TimeDelta};
use serde_json::{Value, json};
use waybill::{clock, domain::vocabulary::Scope, usecase::upkeep};

use crate::{
    db_test,
    support::api::{Api, commit, id_of, image, release, start_body},
};

/// A moment that many minutes ago.
fn ago(minutes: i64) -> String {
    (clock::now() - TimeDelta::minutes(minutes)).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A record of a success that began and ended at these moments.
fn record(target: &str, version: &str, started_at: &str, finished_at: &str) -> Value {
    let mut body = start_body(target, version);
    body["status"] = json!("succeeded");
    body["started_at"] = json!(started_at);
    body["finished_at"] = json!(finished_at);
    body
}

/// The same, of one minute.
fn minute(target: &str, version: &str, ended: i64) -> Value {
    record(target, version, &ago(ended + 1), &ago(ended))
}

fn micros(text: &str) -> Value {
    json!(text.replace('Z', ".000000Z"))
}

/// The starts of the stays of a target's successes, oldest first.
async fn stays(api: &Api, at: &[&str]) -> Vec<Value> {
    let mut since = Vec::new();
    for at in at {
        let matrix = api.get(&format!("/matrix?as_of={at}")).await.ok(200);
        since.push(matrix["services"][0]["targets"][0]["current"]["since"].clone());
    }
    since
}

db_test!(
    async fn a_record_of_the_past_becomes_current(db: TestDb) {
        let api = Api::new(&db).await;
        let (start, end) = (ago(10), ago(9));
        let mut body = record("shop/prod", "1", &start, &end);
        body["ungated"] = json!(true);
        body["message"] = json!("by hand");
        let answer = api.post("/deployments/record", body).await;
        let recorded = answer.ok(201);
        assert!(answer.header("location").unwrap().ends_with(recorded["id"].as_str().unwrap()));
        for (field, value) in [
            ("status", json!("succeeded")),
            ("kind", json!("deploy")),
            ("started_at", micros(&start)),
            ("finished_at", micros(&end)),
            ("recorded", json!(true)),
            ("ungated", json!(true)),
            ("message", json!("by hand")),
            ("decision_id", Value::Null),
            ("lease_expires_at", Value::Null),
        ] {
            assert_eq!(recorded[field], value, "{field}");
        }
        let current = api.target("shop/prod").await["current"].clone();
        assert_eq!((&current["deployment_id"], &current["since"]), (&recorded["id"], &micros(&end)));
        assert_eq!(api.deployment(&id_of(&recorded)).await["timeline"][0]["kind"], "deployment.recorded");
    }
);

db_test!(
    async fn the_future_and_the_impossible_are_refused(db: TestDb) {
        let api = Api::new(&db).await;
        let future = minute("shop/prod", "1", -60);
        assert_eq!(api.post("/deployments/record", future).await.faults()[0].0, "/finished_at");
        let backwards = record("shop/prod", "1", &ago(1), &ago(2));
        assert_eq!(api.post("/deployments/record", backwards).await.faults()[0].0, "/finished_at");
        let mut running = minute("shop/prod", "1", 1);
        running["status"] = json!("running");
        assert_eq!(api.post("/deployments/record", running).await.faults()[0].0, "/status");
        let mut never = minute("shop/prod", "1", 1);
        never["started_at"] = json!("2026-02-30T00:00:00Z");
        assert_eq!(api.post("/deployments/record", never).await.faults()[0].0, "/started_at");
        let mut leased = minute("shop/prod", "1", 1);
        leased["lease_seconds"] = json!(10);
        assert_eq!(api.post("/deployments/record", leased).await.faults()[0].0, "/lease_seconds");
        api.get("/services/shop").await.problem(404, "not-found");
    }
);

db_test!(
    async fn one_older_than_the_current_is_filed_as_superseded(db: TestDb) {
        let api = Api::new(&db).await;
        let current = api.deployed("shop/prod", "2").await;
        let old = api.post("/deployments/record", minute("shop/prod", "1", 30)).await.ok(201);
        assert_eq!(old["superseded_by"], current["id"]);
        assert_eq!(old["superseded_at"], current["finished_at"]);
        assert_eq!(api.target("shop/prod").await["current"]["deployment_id"], current["id"]);
        let then = api.get(&format!("/matrix?as_of={}", ago(10))).await.ok(200);
        assert_eq!(then["services"][0]["targets"][0]["current"]["version"], "1", "{then}");
    }
);

db_test!(
    async fn one_between_two_of_an_artefact_breaks_their_stay(db: TestDb) {
        let api = Api::new(&db).await;
        let (first, third) = (ago(30), ago(10));
        api.post("/deployments/record", record("shop/prod", "1", &ago(31), &first)).await.ok(201);
        let again = api.post("/deployments/record", record("shop/prod", "1", &ago(11), &third)).await.ok(201);
        assert_eq!(stays(&api, &[&ago(20), &ago(5)]).await, [micros(&first), micros(&first)]);
        let second = ago(20);
        let between =
            api.post("/deployments/record", record("shop/prod", "2", &ago(21), &second)).await.ok(201);
        assert_eq!(between["superseded_by"], again["id"]);
        let expected = [micros(&first), micros(&second), micros(&third)];
        assert_eq!(stays(&api, &[&ago(25), &ago(15), &ago(5)]).await, expected);
        assert_eq!(api.target("shop/prod").await["current"]["since"], micros(&third), "now as then");
    }
);

db_test!(
    async fn one_before_its_own_artefact_begins_that_stay_earlier(db: TestDb) {
        let api = Api::new(&db).await;
        let (first, second, third) = (ago(30), ago(20), ago(10));
        api.post("/deployments/record", record("shop/prod", "1", &ago(31), &first)).await.ok(201);
        api.post("/deployments/record", record("shop/prod", "2", &ago(11), &third)).await.ok(201);
        api.post("/deployments/record", record("shop/prod", "2", &ago(21), &second)).await.ok(201);
        assert_eq!(
            stays(&api, &[&ago(25), &ago(15), &ago(5)]).await,
            [micros(&first), micros(&second), micros(&second)]
        );
        assert_eq!(api.target("shop/prod").await["current"]["since"], micros(&second));
        let oldest = api.get("/deployments?service=shop").await.ok(200)["items"][2].clone();
        assert_eq!(oldest["superseded_at"], micros(&second), "the one before gives way earlier");
    }
);

db_test!(
    async fn the_very_same_again_changes_nothing(db: TestDb) {
        let api = Api::new(&db).await;
        let body = minute("shop/prod", "1", 5);
        let first = api.post("/deployments/record", body.clone()).await.ok(201);
        assert_eq!(api.post("/deployments/record", body.clone()).await.ok(200), first);
        let mut failed = body.clone();
        failed["status"] = json!("failed");
        assert_ne!(api.post("/deployments/record", failed).await.ok(201)["id"], first["id"]);
        assert_eq!(api.get("/deployments").await.ok(200)["items"].as_array().unwrap().len(), 2);
        let mut twin = body;
        twin["version"] = json!("2");
        twin["release"] = release("2");
        api.post("/deployments/record", twin).await.problem(409, "conflict");
    }
);

db_test!(
    async fn a_failure_on_record_is_never_current(db: TestDb) {
        let api = Api::new(&db).await;
        for (status, ended) in [("failed", 3), ("canceled", 2)] {
            let mut body = minute("shop/prod", "1", ended);
            body["status"] = json!(status);
            assert_eq!(api.post("/deployments/record", body).await.ok(201)["status"], status);
        }
        assert_eq!(api.target("shop/prod").await["current"], Value::Null);
    }
);

db_test!(
    async fn what_is_on_record_is_a_place_to_roll_back_to_only_with_the_override_scope(db: TestDb) {
        let api = Api::new(&db).await;
        let recorder = api.token(&[Scope::Record], None, None).await;
        recorder.post("/deployments/record", minute("shop/prod", "1", 9)).await.ok(201);
        recorder.post("/deployments/record", minute("shop/prod", "2", 5)).await.ok(201);
        assert_eq!(api.target("shop/prod").await["rollback_to"], Value::Null);
        let trusted = api.token(&[Scope::Record, Scope::Override], None, None).await;
        let mut ungated = minute("shop/prod", "3", 8);
        ungated["ungated"] = json!(true);
        trusted.post("/deployments/record", ungated).await.ok(201);
        assert_eq!(api.target("shop/prod").await["rollback_to"], Value::Null, "past the gate for certain");
        let credited = trusted.post("/deployments/record", minute("shop/prod", "4", 7)).await.ok(201);
        assert_eq!(api.target("shop/prod").await["rollback_to"]["deployment_id"], credited["id"]);
    }
);

db_test!(
    async fn a_rollback_on_record_reverts_what_came_between(db: TestDb) {
        let api = Api::new(&db).await;
        api.post("/deployments/record", minute("shop/prod", "1", 30)).await.ok(201);
        let bad = api.post("/deployments/record", minute("shop/prod", "2", 20)).await.ok(201);
        let mut back = minute("shop/prod", "1", 10);
        back["kind"] = json!("rollback");
        let back = api.post("/deployments/record", back).await.ok(201);
        assert_eq!(api.deployment(&id_of(&bad)).await["reverted_by"], back["id"]);
        assert_eq!(
            api.target("shop/prod").await["rollback_to"],
            Value::Null,
            "what was reverted is no choice"
        );
    }
);

db_test!(
    async fn a_record_does_not_disturb_what_is_running(db: TestDb) {
        let api = Api::new(&db).await;
        let running = api.started("shop/prod", "2").await;
        let mut body = minute("shop/prod", "1", 5);
        body["release"]["image"] = json!(image('a'));
        api.post("/deployments/record", body).await.ok(201);
        let target = api.target("shop/prod").await;
        assert_eq!(
            (&target["current"]["version"], &target["running"]["version"]),
            (&json!("1"), &json!("2"))
        );
        api.finished(&running, "succeeded").await;
        assert_eq!(api.target("shop/prod").await["current"]["version"], "2");
    }
);

db_test!(
    async fn whoever_may_deploy_tells_what_went_on_without_the_gate_and_earns_nothing_by_it(db: TestDb) {
        let api = Api::with(&db, |config| config.ledger.max_lease = std::time::Duration::from_hours(1)).await;
        let pipeline = api.token(&[Scope::Deploy, Scope::Read], Some(&["shop"]), None).await;
        let ungated = |target: &str, ended: i64| {
            let mut body = minute(target, "1", ended);
            body["ungated"] = json!(true);
            body
        };
        let detail = |problem: Value| problem["detail"].as_str().unwrap().to_owned();
        // Neither what claims to have passed the gate, nor what is too old to have just happened, nor what is another's.
        let gated = pipeline.post("/deployments/record", minute("shop/prod", "1", 5)).await;
        assert!(detail(gated.problem(403, "forbidden")).ends_with("the scope record."));
        let old = pipeline.post("/deployments/record", ungated("shop/prod", 60)).await;
        assert!(detail(old.problem(403, "forbidden")).ends_with("the scope record."));
        pipeline.post("/deployments/record", ungated("pay/prod", 5)).await.problem(403, "forbidden");
        api.get("/services/shop").await.problem(404, "not-found");

        let told = pipeline.post("/deployments/record", ungated("shop/prod", 5)).await.ok(201);
        assert_eq!((&told["recorded"], &told["ungated"]), (&json!(true), &json!(true)));
        api.deployed("shop/prod", "2").await;
        assert_eq!(api.target("shop/prod").await["rollback_to"], Value::Null);
        let reader = api.token(&[Scope::Read, Scope::Attest], None, None).await;
        let refused = reader.post("/deployments/record", ungated("shop/prod", 3)).await;
        assert!(detail(refused.problem(403, "forbidden")).ends_with("the scope record or deploy."));
    }
);

db_test!(
    async fn the_same_again_with_more_of_its_release_tells_what_the_release_gained(db: TestDb) {
        let api = Api::new(&db).await;
        let mut body = minute("shop/prod", "1", 5);
        let full = commit("1");
        body["release"]["commit_sha"] = json!(full[..7]);
        let first = api.post("/deployments/record", body.clone()).await.ok(201);
        body["release"]["commit_sha"] = json!(full);
        let again = api.post("/deployments/record", body.clone()).await.ok(200);
        assert_eq!(again["id"], first["id"]);
        api.post("/deployments/record", body).await.ok(200);
        while upkeep::seal_events(&api.app).await.unwrap() > 0 {}
        let completed = api.get("/events?kind=release.commit-completed").await.ok(200);
        let completed = completed["items"].as_array().unwrap();
        assert_eq!(completed.len(), 1, "{completed:?}");
        assert_eq!(completed[0]["data"]["commit_sha"], full);
        db.assert_sound().await;
    }
);
