//! A clock that was once wrong: what it left behind in the future keeps its order, and nothing is judged by it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};
use waybill::{clock, domain::vocabulary::Scope, usecase::upkeep};

use crate::{
    db_test,
    support::{
        api::{Api, id_of, image, release, start_body},
        db::TestDb,
    },
};

/// Staging and prod, confirmed.
async fn ground(db: &TestDb) -> Api {
    let api = Api::new(db).await;
    for name in ["staging", "prod"] {
        api.post("/environments", json!({ "name": name })).await.ok(201);
    }
    api
}

/// Writes a time that lies three years ahead into a column.
async fn ahead(api: &Api, table: &str, column: &str) -> DateTime<Utc> {
    let (sql, then) = (api.sql().await, clock::now() + TimeDelta::days(1000));
    let text = format!("UPDATE {table} SET {column} = $1 WHERE {column} IS NOT NULL");
    let statement = Statement::from_sql_and_values(sql.get_database_backend(), text, [then.into()]);
    assert!(sql.execute_raw(statement).await.unwrap().rows_affected() > 0);
    then
}

fn at(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap_or_else(|| panic!("no time: {value}")).parse().unwrap()
}

#[track_caller]
fn is_now(value: &Value) {
    assert!((at(value) - clock::now()).abs() < TimeDelta::minutes(1), "{value} is not now");
}

#[track_caller]
fn check(decision: &Value, rule: &str) -> Value {
    let checks = decision["checks"].as_array().unwrap();
    checks.iter().find(|check| check["rule"] == rule).unwrap_or_else(|| panic!("{rule}: {decision}")).clone()
}

async fn policy(api: &Api, policy: Value) {
    api.put("/environments/prod/policy", policy).await.ok(200);
}

/// What is denied, by the answer to a start of version 1 in `shop/prod`.
async fn denied(api: &Api) -> Value {
    api.start("shop/prod", "1").await.problem(409, "gate-denied")["decision"].take()
}

db_test!(
    async fn a_history_ahead_of_the_clock_opens_nothing(db: TestDb) {
        let api = ground(&db).await;
        api.deployed("shop/staging", "1").await;
        api.deployed("shop/prod", "0").await;
        ahead(&api, "target", "last_at").await;
        let now = clock::now();
        let window = json!({ "name": "sale", "reason": "hands off", "environments": ["prod"],
            "starts_at": now - TimeDelta::hours(1), "ends_at": now + TimeDelta::hours(1) });
        api.post("/freeze-windows", window).await.ok(201);
        let ada = api.person("ada", &[Scope::Approve, Scope::Read], &[]).await;
        let yes = json!({ "environment": "prod", "decision": "approved" });
        ada.post("/services/shop/releases/1/approvals", yes).await.ok(201);
        policy(
            &api,
            json!({ "promotion": { "from": ["staging"], "soak_seconds": 3600 }, "approval": { "required": 1 } }),
        )
        .await;
        let question = json!({ "service": "shop", "environment": "prod", "version": "1" });
        let asked = api.post("/gate/check", question).await.ok(200);
        for decision in [asked, denied(&api).await] {
            is_now(&decision["evaluated_at"]);
            assert_eq!(check(&decision, "promotion")["code"], "soak-not-met", "{decision}");
            assert_eq!(check(&decision, "freeze")["code"], "freeze-window", "{decision}");
            assert_eq!(check(&decision, "approval")["outcome"], "pass", "not expired: {decision}");
            assert!(at(&decision["retry_at"]) < now + TimeDelta::hours(2), "{decision}");
        }
    }
);

db_test!(
    async fn what_is_stored_keeps_its_order_and_leases_go_by_the_clock(db: TestDb) {
        let api = ground(&db).await;
        api.deployed("shop/prod", "1").await;
        let then = ahead(&api, "target", "last_at").await;
        let started = api.start("shop/prod", "2").await.ok(201);
        is_now(&started["decision"]["evaluated_at"]);
        let deployment = &started["deployment"];
        assert!(at(&deployment["started_at"]) > then, "{deployment}");
        assert!(at(&deployment["lease_expires_at"]) < clock::now() + TimeDelta::hours(2), "{deployment}");
        let id = id_of(deployment);
        let beat = api.post(&format!("/deployments/{id}/heartbeat"), json!({})).await.ok(200);
        assert!(at(&beat["lease_expires_at"]) < clock::now() + TimeDelta::hours(2), "{beat}");
        let finished = api.finished(&id, "succeeded").await;
        assert!(at(&finished["finished_at"]) > at(&finished["started_at"]), "{finished}");
        assert_eq!(api.target("shop/prod").await["current"]["deployment_id"], json!(id));
        api.deployed("shop/prod", "3").await;
    }
);

db_test!(
    async fn a_stay_that_began_in_the_future_gives_no_soak(db: TestDb) {
        let api = ground(&db).await;
        api.deployed("shop/staging", "0").await;
        let then = ahead(&api, "target", "last_at").await;
        api.deployed("shop/staging", "1").await;
        api.deployed("shop/staging", "2").await;
        for version in ["1", "2"] {
            policy(&api, json!({ "promotion": { "from": ["staging"], "soak_seconds": 1 } })).await;
            let question = json!({ "service": "shop", "environment": "prod", "version": version });
            let found = check(&api.post("/gate/check", question.clone()).await.ok(200), "promotion");
            assert_eq!(found["code"], "soak-not-met", "{found}");
            assert_eq!(found["details"]["sources"][0]["soaked_seconds"], 0, "{found}");
            if version == "2" {
                assert!(at(&found["retry_at"]) > then, "{found}");
                assert!(found["message"].as_str().unwrap().contains("ahead of the clock"), "{found}");
            }
            policy(&api, json!({ "promotion": { "from": ["staging"], "soak_seconds": 0 } })).await;
            let found = check(&api.post("/gate/check", question).await.ok(200), "promotion");
            assert_eq!(found["outcome"], "pass", "it has been there: {found}");
        }
    }
);

db_test!(
    async fn a_stay_that_ended_in_the_future_has_no_length(db: TestDb) {
        let api = ground(&db).await;
        api.deployed("shop/staging", "1").await;
        api.deployed("shop/staging", "2").await;
        ahead(&api, "deployment", "superseded_at").await;
        policy(&api, json!({ "promotion": { "from": ["staging"], "soak_seconds": 1 } })).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let found = check(&denied(&api).await, "promotion");
        assert_eq!(found["details"]["sources"][0]["soaked_seconds"], 0, "{found}");
        assert!(found["message"].as_str().unwrap().contains("ahead of the clock"), "{found}");
        api.start("shop/prod", "2").await.ok(201);
    }
);

db_test!(
    async fn a_reversal_in_the_future_is_told_with_the_way_out(db: TestDb) {
        let api = ground(&db).await;
        api.deployed("shop/prod", "0").await;
        api.deployed("shop/prod", "1").await;
        ahead(&api, "target", "last_at").await;
        let mut back = start_body("shop/prod", "0");
        back["kind"] = json!("rollback");
        let id = id_of(&api.post("/deployments", back).await.ok(201)["deployment"]);
        api.finished(&id, "succeeded").await;
        policy(&api, json!({ "approval": { "required": 1 } })).await;
        let ada = api.person("ada", &[Scope::Approve, Scope::Read], &[]).await;
        let yes = json!({ "environment": "prod", "decision": "approved" });
        ada.post("/services/shop/releases/1/approvals", yes).await.ok(201);
        let found = check(&denied(&api).await, "approval");
        let message = found["message"].as_str().unwrap();
        assert!(message.contains("ahead of the clock; an override is the way out"), "{found}");
    }
);

db_test!(
    async fn a_lease_of_a_wrong_clock_begins_now(db: TestDb) {
        let api = ground(&db).await;
        let id = api.started("shop/prod", "1").await;
        assert_eq!(upkeep::shorten_leases(&api.app).await.unwrap(), 0);
        ahead(&api, "deployment", "lease_expires_at").await;
        assert_eq!(upkeep::shorten_leases(&api.app).await.unwrap(), 1);
        assert_eq!(upkeep::shorten_leases(&api.app).await.unwrap(), 0);
        let deployment = api.deployment(&id).await;
        let left = at(&deployment["lease_expires_at"]) - clock::now();
        assert!(left > TimeDelta::minutes(59) && left <= TimeDelta::hours(1), "{deployment}");
        assert_eq!(deployment["status"], "running");
    }
);

db_test!(
    async fn an_approval_from_the_future_counts_when_it_is_said_again(db: TestDb) {
        let api = ground(&db).await;
        api.deployed("shop/staging", "1").await;
        policy(&api, json!({ "approval": { "required": 1 } })).await;
        let ada = api.person("ada", &[Scope::Approve, Scope::Read], &[]).await;
        let say = async || {
            let yes = json!({ "environment": "prod", "decision": "approved" });
            ada.post("/services/shop/releases/1/approvals", yes).await.status
        };
        assert_eq!(say().await, 201);
        ahead(&api, "approval", "created_at").await;
        let found = check(&denied(&api).await, "approval");
        assert_eq!(found["code"], "approval-missing", "{found}");
        assert!(found["message"].as_str().unwrap().contains("ahead of the clock"), "{found}");
        assert_eq!((say().await, say().await), (201, 200));
        api.start("shop/prod", "1").await.ok(201);
    }
);

db_test!(
    async fn a_scan_from_the_future_is_neither_fresh_nor_the_latest_for_ever(db: TestDb) {
        let api = ground(&db).await;
        let mut body = start_body("shop/staging", "1");
        body["release"] = release("1");
        body["release"]["image"] = json!(image('a'));
        api.post("/deployments", body).await.ok(201);
        policy(&api, json!({ "vulnerabilities": { "max": {}, "max_scan_age_seconds": 3600 } })).await;
        let report = |critical: u32| {
            json!({ "scanner": "trivy", "scanned_at": clock::now(),
                "counts": { "critical": critical, "high": 0, "medium": 0, "low": 0, "unknown": 0 } })
        };
        let path = "/services/shop/releases/1/scans";
        api.post(path, report(0)).await.ok(201);
        ahead(&api, "scan", "scanned_at").await;
        let found = check(&denied(&api).await, "vulnerabilities");
        assert_eq!(found["code"], "scan-stale", "{found}");
        assert!(found["message"].as_str().unwrap().contains("ahead of the clock"), "{found}");
        assert_eq!(api.post(path, report(1)).await.ok(201)["latest"], true);
        api.start("shop/prod", "1").await.ok(201);
    }
);
