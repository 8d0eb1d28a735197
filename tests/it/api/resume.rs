//! A deployment whose lease has run out is heard of again: it goes on as if it had not, unless its target is somebody else's.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use poem::http::Method;
use serde_json::{Value, json};

use crate::{
    api::finish::{expired, kinds},
    db_test,
    support::api::{Answer, Api, commit},
};

async fn beat(api: &Api, id: &str) -> Answer {
    api.post(&format!("/deployments/{id}/heartbeat"), json!({ "phase": "still there" })).await
}

/// What has happened in a deployment's target since, as a refused heartbeat tells.
async fn taken_by(api: &Api, id: &str) -> Value {
    let problem = beat(api, id).await.problem(409, "conflict");
    assert_eq!(problem["deployment"]["id"], *id, "{problem}");
    problem["deployment"]["taken_by"].clone()
}

async fn record(api: &Api, version: &str, started: TimeDelta, finished: TimeDelta) {
    #[expect(clippy::disallowed_methods, reason = "a test has the clock of its machine")]
    let now = Utc::now();
    let body = json!({
        "service": "shop", "environment": "prod", "version": version, "status": "failed",
        "release": { "commit_sha": commit(version) }, "started_at": now - started, "finished_at": now - finished,
    });
    api.post("/deployments/record", body).await.ok(201);
}

db_test!(
    async fn a_heartbeat_resumes_it_as_if_nothing_had_been(db: TestDb) {
        let api = Api::new(&db).await;
        let before = api.deployed("shop/prod", "0").await;
        let id = expired(&api, "shop/prod", "1").await;
        let ended_at = api.deployment(&id).await["finished_at"].clone();
        let resumed = beat(&api, &id).await.ok(200);
        assert_eq!((&resumed["status"], &resumed["phase"]), (&json!("running"), &json!("still there")));
        assert_eq!((&resumed["finished_at"], &resumed["expired_at"]), (&Value::Null, &Value::Null));
        assert!(resumed["lease_expires_at"].as_str() > ended_at.as_str(), "{resumed}");
        db.assert_sound().await;

        let target = api.target("shop/prod").await;
        assert_eq!(
            (&target["running"]["deployment_id"], &target["running"]["since"]),
            (&json!(id), &resumed["started_at"])
        );
        let gap = api.get(&format!("/matrix?as_of={}", ended_at.as_str().unwrap())).await.ok(200);
        assert!(gap.to_string().contains(&id), "it ran all the while: {gap}");
        let refused = api.start("shop/prod", "2").await.problem(409, "gate-denied");
        assert!(refused.to_string().contains("concurrent-deployment"), "{refused}");

        let ended = api.finished(&id, "succeeded").await;
        assert_eq!(ended["expired_at"], Value::Null);
        assert_eq!(api.target("shop/prod").await["current"]["deployment_id"], *id);
        assert_eq!(api.deployment(before["id"].as_str().unwrap()).await["superseded_by"], *id);
        let told = ["started", "expired", "resumed", "succeeded"].map(|what| format!("deployment.{what}"));
        assert_eq!(kinds(&api.deployment(&id).await), told);
        db.assert_sound().await;
    }
);

db_test!(
    async fn it_may_expire_and_go_on_again_and_again_and_end_late(db: TestDb) {
        let api = Api::new(&db).await;
        let id = expired(&api, "shop/prod", "1").await;
        for _ in 0..2 {
            beat(&api, &id).await.ok(200);
            tokio::time::sleep(Duration::from_millis(1050)).await;
            waybill::usecase::upkeep::expire_leases(&api.app).await.unwrap();
            assert_eq!(api.deployment(&id).await["status"], "expired");
            db.assert_sound().await;
        }
        assert_eq!(api.finished(&id, "failed").await["status"], "failed");
        let problem = beat(&api, &id).await.problem(409, "conflict");
        assert_eq!(
            (&problem["deployment"]["status"], &problem["deployment"]["taken_by"]),
            (&json!("failed"), &Value::Null)
        );
        db.assert_sound().await;
    }
);

db_test!(
    async fn whatever_else_was_started_or_recorded_there_keeps_the_target(db: TestDb) {
        let api = Api::new(&db).await;
        let id = expired(&api, "shop/prod", "1").await;
        let other = api.started("shop/prod", "2").await;
        let by = taken_by(&api, &id).await;
        assert_eq!(
            (&by["id"], &by["version"], &by["status"]),
            (&json!(other), &json!("2"), &json!("running"))
        );
        api.finished(&other, "failed").await;
        assert_eq!(taken_by(&api, &id).await["status"], "failed", "also once that is over");
        let detail = beat(&api, &id).await.problem(409, "conflict")["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("2 was started there by") && detail.contains("start a new one"), "{detail}");

        // One that began before it and ended after it had started, past the gate.
        let overlapped = expired(&api, "shop/prod", "3").await;
        record(&api, "4", TimeDelta::hours(1), TimeDelta::milliseconds(500)).await;
        let by = taken_by(&api, &overlapped).await;
        assert_eq!((&by["version"], &by["recorded"]), (&json!("4"), &json!(true)));
        db.assert_sound().await;
    }
);

db_test!(
    async fn what_was_before_it_or_elsewhere_does_not_matter(db: TestDb) {
        let api = Api::new(&db).await;
        let id = expired(&api, "shop/prod", "1").await;
        record(&api, "0", TimeDelta::hours(2), TimeDelta::hours(1)).await;
        api.started("shop/staging", "2").await;
        api.started("pay/prod", "2").await;
        beat(&api, &id).await.ok(200);
        db.assert_sound().await;
    }
);

db_test!(
    async fn a_lockdown_does_not_stop_it_and_is_told(db: TestDb) {
        let api = Api::new(&db).await;
        let id = expired(&api, "shop/prod", "1").await;
        let lockdown = json!({ "reason": "payments fail" });
        api.send_json(Method::PUT, "/environments/prod/lockdown", &[], &lockdown).await.ok(200);
        beat(&api, &id).await.ok(200);
        let timeline = api.deployment(&id).await["timeline"].clone();
        let data = &timeline[2]["data"];
        assert_eq!(data["lockdown"]["reason"], "payments fail", "{timeline}");
        assert!(data["expired_at"].is_string(), "{timeline}");
        db.assert_sound().await;
    }
);

db_test!(
    async fn nothing_goes_on_in_what_is_archived_or_after_the_longest_lease(db: TestDb) {
        let api = Api::with(&db, |config| config.ledger.max_lease = Duration::from_secs(3)).await;
        let id = expired(&api, "shop/prod", "1").await;
        api.patch("/environments/prod", json!({ "archived": true })).await.ok(200);
        let problem = beat(&api, &id).await.problem(409, "conflict");
        assert!(problem["detail"].as_str().unwrap().contains("archived"), "{problem}");
        api.patch("/environments/prod", json!({ "archived": false })).await.ok(200);
        tokio::time::sleep(Duration::from_millis(2100)).await;
        let problem = beat(&api, &id).await.problem(409, "conflict");
        assert_eq!(problem["deployment"]["taken_by"], Value::Null);
        assert!(problem["detail"].as_str().unwrap().contains("may still be finished"), "{problem}");
        assert_eq!(api.finished(&id, "succeeded").await["status"], "succeeded");
        db.assert_sound().await;
    }
);

db_test!(
    async fn of_a_start_and_a_heartbeat_at_once_one_has_the_target(db: TestDb) {
        let api = Api::new(&db).await;
        for round in 0..5 {
            let target = format!("shop/env-{round}");
            let id = expired(&api, &target, "1").await;
            let (first, second, start) =
                tokio::join!(beat(&api, &id), beat(&api, &id), api.start(&target, "2"));
            let resumed = first.status == 200;
            assert_eq!(second.status, first.status, "{} {}", first.text, second.text);
            assert_eq!(start.status, if resumed { 409 } else { 201 }, "{} {}", first.text, start.text);
            let events = kinds(&api.deployment(&id).await).len();
            assert_eq!(events, if resumed { 3 } else { 2 }, "it is resumed once");
        }
        db.assert_sound().await;
    }
);
