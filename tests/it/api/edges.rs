//! The corners where two rules meet, and what must not slip through between them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{SecondsFormat, TimeDelta};
use futures_util::future::join_all;
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use waybill::{
    domain::vocabulary::Scope,
    usecase::tokens::{Bootstrap, bootstrap},
};

use crate::{
    db_test,
    support::api::{Api, id_of, image, start_body},
};

fn at(offset: TimeDelta) -> Value {
    json!((waybill::clock::now() + offset).to_rfc3339_opts(SecondsFormat::Micros, true))
}

fn record(version: &str, started_at: Value, finished_at: Value) -> Value {
    let mut body = start_body("shop/prod", version);
    body["status"] = json!("succeeded");
    body["started_at"] = started_at;
    body["finished_at"] = finished_at;
    body
}

async fn rolled_back(api: &Api, version: &str) -> Value {
    let mut body = start_body("shop/prod", version);
    body["kind"] = json!("rollback");
    let started = api.post("/deployments", body).await.ok(201);
    api.finished(&id_of(&started["deployment"]), "succeeded").await
}

db_test!(
    async fn many_pipelines_of_one_service_start_new_releases_at_once(db: TestDb) {
        let api = Api::new(&db).await;
        api.deployed("shop/first", "0").await;
        let starts = (1..=30).map(|n| {
            let api = &api;
            async move { api.start(&format!("shop/env-{n}"), &n.to_string()).await.ok(201) }
        });
        assert_eq!(join_all(starts).await.len(), 30);
        let list = api.get("/services/shop/releases?limit=200").await.ok(200);
        let mut numbers: Vec<_> =
            list["items"].as_array().unwrap().iter().map(|one| one["number"].as_i64().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=31).collect::<Vec<_>>());
    }
);

db_test!(
    async fn an_image_comes_before_the_first_deployment_or_never(db: TestDb) {
        let api = Api::new(&db).await;
        for version in 0..10 {
            let version = version.to_string();
            let release = json!({ "version": version, "commit_sha": crate::support::api::commit(&version) });
            if version == "0" {
                api.post("/services", json!({ "name": "shop" })).await.ok(201);
            }
            api.post("/services/shop/releases", release).await.ok(201);
            let mut bare = start_body(&format!("shop/bare-{version}"), &version);
            bare.as_object_mut().unwrap().remove("release");
            let mut with_image = start_body(&format!("shop/image-{version}"), &version);
            with_image["release"]["image"] = json!(image('a'));
            let _both =
                futures_util::join!(api.post("/deployments", bare), api.post("/deployments", with_image));
        }
        let disagree =
            "SELECT 1 FROM deployment d JOIN release r ON r.id = d.release_id WHERE d.artefact <> r.artefact";
        let rows = api.sql().await;
        let statement = sea_orm::Statement::from_string(rows.get_database_backend(), disagree);
        assert!(rows.query_all_raw(statement).await.unwrap().is_empty());
    }
);

db_test!(
    async fn what_was_reverted_is_not_cleared_by_a_record(db: TestDb) {
        let api = Api::new(&db).await;
        let begun = at(TimeDelta::zero());
        api.deployed("shop/prod", "a").await;
        api.deployed("shop/prod", "b").await;
        let between = at(TimeDelta::zero());
        let back = rolled_back(&api, "a").await;
        let reporter = api.token(&[Scope::Record, Scope::Read], None, None).await;
        reporter.post("/deployments/record", record("b", begun, at(TimeDelta::zero()))).await.ok(201);
        api.deployed("shop/prod", "c").await;
        assert_eq!(api.target("shop/prod").await["rollback_to"]["version"], "a");

        let late = api.post("/deployments/record", record("d", between.clone(), between)).await.ok(201);
        assert_eq!(late["reverted_by"], back["id"], "it lies in the span that was reverted");
        assert_eq!(api.target("shop/prod").await["rollback_to"]["version"], "a");
    }
);

db_test!(
    async fn a_report_by_a_fast_clock_is_put_on_record_once(db: TestDb) {
        let api = Api::new(&db).await;
        let body = record("1", at(TimeDelta::seconds(-5)), at(TimeDelta::seconds(20)));
        let first = api.post("/deployments/record", body.clone()).await.ok(201);
        let again = api.post("/deployments/record", body).await.ok(200);
        assert_eq!(first["id"], again["id"]);
        let far = record("1", at(TimeDelta::zero()), at(TimeDelta::minutes(5)));
        api.post("/deployments/record", far).await.problem(422, "invalid-input");
    }
);

db_test!(
    async fn only_what_is_current_is_redeployed(db: TestDb) {
        let api = Api::new(&db).await;
        api.deployed("shop/prod", "1").await;
        api.deployed("shop/prod", "2").await;
        let mut body = start_body("shop/prod", "1");
        body["kind"] = json!("redeploy");
        let faults = api.post("/deployments", body.clone()).await.faults();
        assert_eq!(faults, [("/kind".to_owned(), "not-current".to_owned())]);
        body["version"] = json!("2");
        body["release"]["commit_sha"] = json!(crate::support::api::commit("2"));
        api.post("/deployments", body).await.ok(201);
    }
);

db_test!(
    async fn the_first_late_result_is_kept_and_the_log_does_not_grow(db: TestDb) {
        let api = Api::new(&db).await;
        let mut body = start_body("shop/prod", "1");
        body["lease_seconds"] = json!(1);
        let late = id_of(&api.post("/deployments", body).await.ok(201)["deployment"]);
        tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
        api.started("shop/prod", "2").await;
        for status in ["succeeded", "failed", "succeeded"] {
            let finish = json!({ "status": status });
            api.post(&format!("/deployments/{late}/finish"), finish).await.problem(409, "conflict");
        }
        let deployment = api.deployment(&late).await;
        assert_eq!(
            (&deployment["status"], &deployment["late_status"]),
            (&json!("expired"), &json!("succeeded"))
        );
        let timeline = deployment["timeline"].as_array().unwrap();
        assert_eq!(timeline.iter().filter(|entry| entry["kind"] == "deployment.late").count(), 1);
    }
);

db_test!(
    async fn a_waiting_pipeline_adds_one_denial_whatever_the_other_one_heartbeats(db: TestDb) {
        let api = Api::new(&db).await;
        let running = api.started("shop/prod", "1").await;
        let mut decisions = Vec::new();
        for _ in 0..3 {
            let problem = api.start("shop/prod", "2").await.problem(409, "gate-denied");
            decisions.push(problem["decision"]["id"].clone());
            api.post(&format!("/deployments/{running}/heartbeat"), json!({})).await.ok(200);
        }
        decisions.dedup();
        assert_eq!(decisions.len(), 1, "{decisions:?}");
    }
);

db_test!(
    async fn a_forged_cursor_is_refused(db: TestDb) {
        let api = Api::new(&db).await;
        for key in [
            json!({ "at": "-5000-01-01T00:00:00Z", "id": "01a1fcf4-cf9d-73af-bdff-0d05d922a77b" }),
            json!({ "at": "+99999-01-01T00:00:00Z", "id": "01a1fcf4-cf9d-73af-bdff-0d05d922a77b" }),
            json!("a\0b"),
        ] {
            let cursor = URL_SAFE_NO_PAD.encode(key.to_string());
            api.get(&format!("/deployments?cursor={cursor}")).await.problem(400, "invalid-request");
            api.get(&format!("/releases?cursor={cursor}")).await.problem(404, "not-found");
        }
    }
);

db_test!(
    async fn replicas_that_start_together_agree_on_the_first_admin(db: TestDb) {
        let api = Api::new(&db).await;
        let rows = api.sql().await;
        rows.execute_unprepared("DELETE FROM token").await.unwrap();
        let secret = "0123456789abcdef0123456789abcdef".to_owned().into();
        let replicas = (0..6).map(|_| bootstrap(&api.app.db, Some(&secret)));
        let came_to: Vec<_> = join_all(replicas).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(came_to.iter().filter(|one| **one == Bootstrap::Given).count(), 1, "{came_to:?}");
        assert!(came_to.iter().all(|one| matches!(one, Bootstrap::Given | Bootstrap::Present)));
        rows.execute_unprepared("UPDATE token SET revoked_at = created_at").await.unwrap();
        let lost = bootstrap(&api.app.db, Some(&secret)).await.unwrap();
        assert_eq!(
            lost,
            Bootstrap::Lost,
            "a revoked secret does not come back, and the server starts all the same"
        );
    }
);
