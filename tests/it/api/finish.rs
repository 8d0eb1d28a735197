//! The life of a running deployment: heartbeats, its end, and what comes too late.

use serde_json::{Value, json};
use waybill::{domain::vocabulary::Scope, usecase::upkeep};

use crate::{
    db_test,
    support::{
        api::{Api, id_of, start_body},
        eventually,
    },
};

/// Starts a deployment with a lease of one second, and waits until that has run out.
async fn overdue(api: &Api, target: &str, version: &str) -> String {
    let mut body = start_body(target, version);
    body["lease_seconds"] = json!(1);
    let id = id_of(&api.post("/deployments", body).await.ok(201)["deployment"]);
    tokio::time::sleep(std::time::Duration::from_millis(1050)).await;
    id
}

/// The same, found out by the server.
pub async fn expired(api: &Api, target: &str, version: &str) -> String {
    let id = overdue(api, target, version).await;
    eventually("the end of the lease", async || {
        upkeep::expire_leases(&api.app).await.unwrap();
        (api.deployment(&id).await["status"] == "expired").then_some(())
    })
    .await;
    id
}

pub fn kinds(deployment: &Value) -> Vec<&str> {
    let timeline = deployment["timeline"].as_array().unwrap();
    timeline.iter().map(|entry| entry["kind"].as_str().unwrap()).collect()
}

db_test!(
    async fn a_heartbeat_renews_the_lease_and_notes_progress(db: TestDb) {
        let api = Api::new(&db).await;
        let id = api.started("shop/prod", "1").await;
        let before = api.deployment(&id).await;
        let path = format!("/deployments/{id}/heartbeat");
        let body = json!({ "message": "1 of 5", "phase": "canary", "traffic_percent": 10 });
        let renewed = api.post(&path, body).await.ok(200);
        assert!(renewed["lease_expires_at"].as_str() > before["lease_expires_at"].as_str(), "{renewed}");
        assert!(renewed["heartbeat_at"].as_str() > before["heartbeat_at"].as_str());
        let again = api.post(&path, json!({ "traffic_percent": 100 })).await.ok(200);
        assert_eq!(again["message"], "1 of 5", "what is not said stays");
        assert_eq!((&again["phase"], &again["traffic_percent"]), (&json!("canary"), &json!(100)));
        assert_eq!(kinds(&api.deployment(&id).await), ["deployment.started"], "no event of its own");
        for percent in [-1, 101] {
            let faults = api.post(&path, json!({ "traffic_percent": percent })).await.faults();
            assert_eq!(faults[0].0, "/traffic_percent");
        }
        api.finished(&id, "canceled").await;
        let problem = api.post(&path, json!({})).await.problem(409, "conflict");
        assert!(problem["detail"].as_str().unwrap().contains("canceled"), "it names the state: {problem}");
    }
);

db_test!(
    async fn only_a_success_becomes_current(db: TestDb) {
        let api = Api::new(&db).await;
        let first = api.deployed("shop/prod", "1").await;
        for status in ["failed", "canceled"] {
            let id = api.started("shop/prod", "2").await;
            let ended = api.finished(&id, status).await;
            assert_eq!(ended["status"], status);
            assert_eq!(api.target("shop/prod").await["current"]["version"], "1");
        }
        let second = api.deployed("shop/prod", "2").await;
        let target = api.target("shop/prod").await;
        assert_eq!(target["current"]["deployment_id"], second["id"]);
        assert_eq!(target["running"], Value::Null);
        let superseded = api.deployment(&id_of(&first)).await;
        assert_eq!(superseded["superseded_by"], second["id"]);
        assert_eq!(superseded["superseded_at"], second["finished_at"]);
        assert_eq!(superseded["status"], "succeeded");
    }
);

db_test!(
    async fn the_same_end_again_is_no_error_and_another_is(db: TestDb) {
        let api = Api::new(&db).await;
        let id = api.started("shop/prod", "1").await;
        let path = format!("/deployments/{id}/finish");
        let body = json!({ "status": "succeeded", "message": "all well" });
        let ended = api.post(&path, body.clone()).await.ok(200);
        assert_eq!(ended["message"], "all well");
        assert_eq!(api.post(&path, body).await.ok(200), ended, "nothing changes");
        let problem = api.post(&path, json!({ "status": "failed" })).await.problem(409, "conflict");
        assert!(problem["detail"].as_str().unwrap().contains("succeeded"), "{problem}");
        assert_eq!(kinds(&api.deployment(&id).await), ["deployment.started", "deployment.succeeded"]);
        let faults = api.post(&path, json!({ "status": "expired" })).await.faults();
        assert_eq!(faults[0].0, "/status");
        let nobody = "/deployments/01890000-0000-7000-8000-000000000000";
        api.post(&format!("{nobody}/finish"), json!({ "status": "failed" })).await.problem(404, "not-found");
        api.post(&format!("{nobody}/heartbeat"), json!({})).await.problem(404, "not-found");
        api.get(nobody).await.problem(404, "not-found");
    }
);

db_test!(
    async fn any_token_that_may_deploy_there_may_finish(db: TestDb) {
        let api = Api::new(&db).await;
        let id = api.started("shop/prod", "1").await;
        let other = api.token(&[Scope::Deploy], Some(&["shop"]), Some(&["prod"])).await;
        assert_eq!(other.finished(&id, "succeeded").await["status"], "succeeded");
    }
);

db_test!(
    async fn a_late_finish_counts_while_nothing_later_has_started(db: TestDb) {
        let api = Api::new(&db).await;
        let id = expired(&api, "shop/prod", "1").await;
        let ended = api.finished(&id, "succeeded").await;
        assert_eq!((&ended["status"], &ended["late_status"]), (&json!("succeeded"), &Value::Null));
        assert_eq!(api.target("shop/prod").await["current"]["deployment_id"], *id);
        let timeline = api.deployment(&id).await;
        assert_eq!(kinds(&timeline), ["deployment.started", "deployment.expired", "deployment.succeeded"]);
    }
);

db_test!(
    async fn a_finish_after_a_later_start_is_only_kept(db: TestDb) {
        let api = Api::new(&db).await;
        let late = expired(&api, "shop/prod", "1").await;
        let later = api.started("shop/prod", "2").await;
        let finish = format!("/deployments/{late}/finish");
        for _ in 0..2 {
            api.post(&finish, json!({ "status": "succeeded" })).await.problem(409, "conflict");
        }
        let kept = api.deployment(&late).await;
        assert_eq!((&kept["status"], &kept["late_status"]), (&json!("expired"), &json!("succeeded")));
        assert_eq!(
            kinds(&kept),
            ["deployment.started", "deployment.expired", "deployment.late"],
            "the second time changes nothing"
        );
        let target = api.target("shop/prod").await;
        assert_eq!((&target["current"], &target["running"]["deployment_id"]), (&Value::Null, &json!(later)));
        api.finished(&later, "succeeded").await;
        api.post(&finish, json!({ "status": "succeeded" })).await.problem(409, "conflict");
    }
);

db_test!(
    async fn a_start_lets_an_overdue_lease_run_out_itself(db: TestDb) {
        let api = Api::new(&db).await;
        let silent = overdue(&api, "shop/prod", "1").await;
        let next = api.start("shop/prod", "2").await.ok(201);
        let ended = api.deployment(&silent).await;
        assert_eq!(ended["status"], "expired");
        assert_eq!(ended["timeline"][1]["actor"]["token"], "waybill", "the server did it");
        assert!(ended["finished_at"].as_str() < next["deployment"]["started_at"].as_str());
        assert_eq!(upkeep::expire_leases(&api.app).await.unwrap(), 0);
    }
);

db_test!(
    async fn leases_expire_exactly_once_however_many_look(db: TestDb) {
        let (api, other) = (Api::new(&db).await, Api::new(&db).await);
        let mut ids = Vec::new();
        for n in 0..5 {
            let mut body = start_body(&format!("shop/env-{n}"), "1");
            body["lease_seconds"] = json!(1);
            ids.push(id_of(&api.post("/deployments", body).await.ok(201)["deployment"]));
        }
        let alive = api.started("shop/alive", "1").await;
        tokio::time::sleep(std::time::Duration::from_millis(1050)).await;
        let (one, two) = tokio::join!(upkeep::expire_leases(&api.app), upkeep::expire_leases(&other.app));
        assert_eq!(one.unwrap() + two.unwrap(), 5);
        for id in ids {
            assert_eq!(kinds(&api.deployment(&id).await), ["deployment.started", "deployment.expired"]);
        }
        assert_eq!(api.deployment(&alive).await["status"], "running");
    }
);

db_test!(
    async fn an_overdue_lease_that_nobody_has_noticed_can_still_be_renewed(db: TestDb) {
        let api = Api::new(&db).await;
        let id = overdue(&api, "shop/prod", "1").await;
        let renewed = api.post(&format!("/deployments/{id}/heartbeat"), json!({})).await.ok(200);
        assert_eq!(renewed["status"], "running");
    }
);

db_test!(
    async fn times_strictly_increase_within_a_target(db: TestDb) {
        let api = Api::new(&db).await;
        let mut times = Vec::new();
        for version in ["1", "2", "3", "3"] {
            let ended = api.deployed("shop/prod", version).await;
            times.extend([ended["started_at"].clone(), ended["finished_at"].clone()]);
        }
        assert!(times.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()), "{times:?}");
    }
);
