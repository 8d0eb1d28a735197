//! Asking the gate, and what it says of promotions, images and vulnerabilities; overrides; and reading it all again.

use std::time::Duration;

use poem::http::Method;
use serde_json::{Value, json};
use waybill::domain::{gate, vocabulary::Scope};

use crate::{
    db_test,
    support::{
        api::{Answer, Api, id_of, image, release, start_body},
        db::TestDb,
        wire::Wire,
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

async fn policy(api: &Api, policy: Value) {
    api.put("/environments/prod/policy", policy).await.ok(200);
}

async fn asked(api: &Api, target: &str, version: &str) -> Answer {
    let (service, environment) = target.split_once('/').unwrap();
    let question = json!({ "service": service, "environment": environment, "version": version });
    api.post("/gate/check", question).await
}

/// What a rule finds about a version going to `shop/prod`.
async fn found(api: &Api, version: &str, rule: &str) -> Value {
    let answer = asked(api, "shop/prod", version).await.ok(200);
    check(&answer, rule)
}

#[track_caller]
fn check(decision: &Value, rule: &str) -> Value {
    let checks = decision["checks"].as_array().unwrap();
    checks.iter().find(|check| check["rule"] == rule).unwrap_or_else(|| panic!("{rule}: {decision}")).clone()
}

fn micros(value: &Value) -> chrono::DateTime<chrono::Utc> {
    value.as_str().unwrap().parse().unwrap()
}

async fn rolled_back(api: &Api, target: &str, version: &str) {
    let mut body = start_body(target, version);
    body["kind"] = json!("rollback");
    let id = id_of(&api.post("/deployments", body).await.ok(201)["deployment"]);
    api.finished(&id, "succeeded").await;
}

db_test!(
    async fn a_check_says_what_a_start_is_told_and_keeps_nothing(db: TestDb) {
        let api = ground(&db).await;
        api.deployed("shop/staging", "1").await;
        policy(&api, json!({ "promotion": { "from": ["staging"], "soak_seconds": 3600 }, "approval": {} }))
            .await;
        let said = asked(&api, "shop/prod", "1").await.ok(200);
        assert_eq!(said["allowed"], false);
        assert_eq!(
            (&said["id"], &said["kind"], &said["policy_version"]),
            (&Value::Null, &json!("deploy"), &json!(1))
        );
        let rules: Vec<_> =
            said["checks"].as_array().unwrap().iter().map(|check| check["rule"].clone()).collect();
        let order = [
            "concurrency",
            "lockdown",
            "freeze",
            "promotion",
            "approval",
            "vulnerabilities",
            "image",
            "outdated",
        ];
        assert_eq!(rules, order);
        assert_eq!(
            api.get("/decisions?environment=prod").await.ok(200)["items"],
            json!([]),
            "a question leaves nothing"
        );
        let refused = api.start("shop/prod", "1").await.problem(409, "gate-denied");
        let decision = &refused["decision"];
        assert_eq!(said["state"], decision["state"]);
        assert_eq!(check(&said, "approval"), check(decision, "approval"));
        let soak = check(decision, "promotion");
        assert_eq!(soak["code"], "soak-not-met");
        let since = micros(&soak["details"]["sources"][0]["current_since"]);
        assert_eq!(micros(&soak["retry_at"]), since + chrono::TimeDelta::hours(1));
        assert_eq!(decision["retry_at"], Value::Null, "nobody knows when somebody approves");
        // Kept only when asked for, and then like any other decision.
        let question = json!({ "service": "shop", "environment": "prod", "version": "1", "record": true });
        let kept = api.post_once("key", "/gate/check", question.clone()).await.ok(200);
        assert_eq!(api.post_once("key", "/gate/check", question).await.ok(200), kept, "kept once");
        let stored = api.get(&format!("/decisions/{}", id_of(&kept))).await.ok(200);
        assert_eq!((&stored["state"], &stored["deployment_id"]), (&kept["state"], &Value::Null));
        let kept = api.get("/decisions?environment=prod").await.ok(200)["items"].take();
        assert_eq!(kept.as_array().unwrap().len(), 1, "the same denial as the start's: {kept}");
        assert_eq!((&kept[0]["count"], &kept[0]["id"]), (&json!(2), &decision["id"]));
    }
);

db_test!(
    async fn questions_are_refused_for_what_is_wrong_with_them(db: TestDb) {
        let api = ground(&db).await;
        api.deployed("shop/staging", "1").await;
        asked(&api, "shop/prod", "2").await.problem(404, "not-found");
        asked(&api, "pay/prod", "1").await.problem(404, "not-found");
        asked(&api, "shop/qa", "1").await.problem(404, "not-found");
        let wrong =
            json!({ "service": "Shop!", "environment": "", "version": "", "override": { "reason": "why" } });
        let pointers: Vec<_> =
            api.post("/gate/check", wrong).await.faults().into_iter().map(|(at, _)| at).collect();
        assert_eq!(pointers, ["/service", "/environment", "/version", "/override/reason"]);
        let body = json!({ "service": "shop", "environment": "prod", "version": "1", "kind": "redeploy" });
        assert_eq!(api.post("/gate/check", body).await.faults(), [("/kind".into(), "not-current".into())]);
        let body = json!({ "service": "shop", "environment": "prod", "version": "1", "preempt": true });
        assert_eq!(
            api.post("/gate/check", body).await.faults(),
            [("/preempt".into(), "not-a-rollback".into())]
        );
        // The number would be the version 1.1.
        let mut body = start_body("shop/prod", "1");
        body["version"] = json!(1.10);
        assert_eq!(api.post("/deployments", body).await.faults(), [("/version".into(), "type".into())]);
        let reader = api.token(&[Scope::Read], None, None).await;
        asked(&reader, "shop/prod", "1").await.ok(200);
        let mut body = json!({ "service": "shop", "environment": "prod", "version": "1", "record": true });
        reader.post("/gate/check", body.clone()).await.problem(403, "forbidden");
        body["record"] = json!(false);
        body["override"] = json!({ "reason": "the house burns" });
        reader.post("/gate/check", body).await.problem(403, "forbidden");
        let elsewhere = api.token(&[Scope::Read], None, Some(&["staging"])).await;
        asked(&elsewhere, "shop/prod", "1").await.problem(404, "not-found");
        api.delete("/environments/prod").await.ok(200);
        asked(&api, "shop/prod", "1").await.problem(409, "conflict");
    }
);

db_test!(
    async fn promotion_follows_the_artefact_through_its_sources(db: TestDb) {
        let api = ground(&db).await;
        policy(&api, json!({ "promotion": { "from": ["staging"] } })).await;
        api.started("shop/staging", "1").await;
        let code = async |version: &str| found(&api, version, "promotion").await["code"].clone();
        assert_eq!(code("1").await, "promotion-missing", "running is not there yet");
        let running = api.target("shop/staging").await["running"]["deployment_id"].clone();
        api.finished(running.as_str().unwrap(), "succeeded").await;
        assert_eq!(code("1").await, "pass");
        api.deployed("shop/staging", "2").await;
        assert_eq!(code("1").await, "pass", "a newer build takes nothing away");
        rolled_back(&api, "shop/staging", "1").await;
        let reverted = found(&api, "2", "promotion").await;
        assert_eq!(
            (&reverted["code"], &reverted["message"]),
            (&json!("promotion-missing"), &json!("reverted in staging"))
        );
        api.deployed("shop/staging", "2").await;
        assert_eq!(code("2").await, "pass", "deployed anew, it counts anew");
        // The same image under another version is the same artefact.
        for (target, version) in [("shop/staging", "3"), ("shop/qa", "4")] {
            let mut body = start_body(target, version);
            body["release"]["image"] = json!(image('a'));
            let id = id_of(&api.post("/deployments", body).await.ok(201)["deployment"]);
            api.finished(&id, "succeeded").await;
        }
        assert_eq!(code("4").await, "pass");
        api.delete("/environments/staging").await.ok(200);
        assert_eq!(code("4").await, "promotion-source-invalid");
    }
);

db_test!(
    async fn what_went_past_the_gate_soaks_nothing_unless_its_token_may_override(db: TestDb) {
        let api = ground(&db).await;
        policy(&api, json!({ "promotion": { "from": ["staging"], "soak_seconds": 3600 } })).await;
        let recorder = api.token(&[Scope::Record, Scope::Read], None, None).await;
        let record = async |by: &Api, version: &str| {
            let mut body = start_body("shop/staging", version);
            body["status"] = json!("succeeded");
            body["started_at"] = json!("2026-01-01T00:00:00Z");
            body["finished_at"] = json!(format!("2026-01-01T00:0{version}:00Z"));
            by.post("/deployments/record", body).await.ok(201);
        };
        record(&recorder, "1").await;
        assert_eq!(found(&api, "1", "promotion").await["code"], "promotion-missing");
        // The stay goes on, but counts only from the gate on.
        api.deployed("shop/staging", "1").await;
        let soaking = found(&api, "1", "promotion").await;
        assert_eq!(soaking["code"], "soak-not-met");
        record(&api, "2").await;
        assert_eq!(found(&api, "2", "promotion").await["code"], "pass");
    }
);

db_test!(
    async fn an_unconfirmed_source_is_none_until_somebody_has_looked_at_it(db: TestDb) {
        let api = Api::new(&db).await;
        api.post("/environments", json!({ "name": "prod" })).await.ok(201);
        api.deployed("shop/staging", "1").await;
        api.put("/environments/prod/policy", json!({ "promotion": { "from": ["staging"] } })).await.faults();
        api.patch("/environments/staging", json!({})).await.ok(200);
        policy(&api, json!({ "promotion": { "from": ["staging"] } })).await;
        assert_eq!(found(&api, "1", "promotion").await["code"], "pass");
    }
);

db_test!(
    async fn images_and_vulnerabilities_are_judged_at_the_start(db: TestDb) {
        let api = ground(&db).await;
        policy(
            &api,
            json!({
                "image": { "require_digest": true, "allowed_repositories": ["registry.example.com/*"] },
                "vulnerabilities": { "max": { "critical": 0 }, "require_scan": true },
            }),
        )
        .await;
        let bare = api.start("shop/prod", "1").await.problem(409, "gate-denied");
        assert_eq!(check(&bare["decision"], "image")["code"], "image-not-pinned");
        assert_eq!(check(&bare["decision"], "vulnerabilities")["code"], "scan-missing");
        for (version, digit) in [("2", 'b'), ("3", 'c')] {
            let mut body = start_body("shop/prod", version);
            body["release"]["image"] = json!(image(digit));
            api.post("/deployments", body).await.problem(409, "gate-denied");
        }
        let scan = async |version: &str, digit: char, critical: u32| {
            let report = json!({
                "scanner": "trivy", "scanned_at": "2026-01-01T00:00:00Z", "image": image(digit),
                "counts": { "critical": critical, "high": 3, "medium": 0, "low": 0, "unknown": 0 },
            });
            api.post(&format!("/services/shop/releases/{version}/scans"), report).await.ok(201);
        };
        scan("2", 'b', 0).await;
        scan("3", 'c', 2).await;
        let over = found(&api, "3", "vulnerabilities").await;
        assert_eq!(
            (&over["code"], &over["details"]["newest_within_budget"]),
            (&json!("vulnerability-budget"), &json!("2"))
        );
        assert!(over["message"].as_str().unwrap().contains("2 is within it"), "{over}");
        api.started("shop/prod", "2").await;
    }
);

db_test!(
    async fn an_override_lifts_everything_but_concurrency_and_is_never_silent(db: TestDb) {
        let api = ground(&db).await;
        policy(&api, json!({ "approval": { "required": 2 }, "image": { "require_digest": true } })).await;
        api.start("shop/prod", "1").await.problem(409, "gate-denied");
        let mut body = start_body("shop/prod", "1");
        body["override"] = json!({ "reason": "customers cannot pay" });
        let plain = api.token(&[Scope::Deploy, Scope::Read], None, None).await;
        plain.post("/deployments", body.clone()).await.problem(403, "forbidden");
        let started = api.post("/deployments", body.clone()).await.ok(201);
        assert_eq!(started["decision"]["override"]["reason"], "customers cannot pay");
        assert_eq!(
            check(&started["decision"], "approval")["outcome"],
            "fail",
            "what it lifted is still told"
        );
        let listed = api.get("/deployments?service=shop").await.ok(200)["items"][0].clone();
        assert_eq!(listed["override"]["reason"], "customers cannot pay");
        body["version"] = json!("2");
        let busy = api.post("/deployments", body).await.problem(409, "gate-denied");
        assert_eq!(busy["decision"]["allowed"], false);
        assert_eq!(check(&busy["decision"], "concurrency")["code"], "concurrent-deployment");
        let metrics = api.app.metrics.render().unwrap();
        assert!(metrics.contains(r#"waybill_gate_overrides_total{environment="prod"} 1"#), "{metrics}");
        assert!(
            metrics.contains(r#"waybill_gate_checks_total{mode="enforce",outcome="fail",rule="approval"} 3"#)
        );
        let events = api.deployment(&id_of(&started["deployment"])).await["timeline"].clone();
        assert_eq!(events[0]["data"]["override"], "customers cannot pay");
    }
);

db_test!(
    async fn decisions_can_be_found_explained_and_made_again(db: TestDb) {
        let api = ground(&db).await;
        api.deployed("shop/staging", "1").await;
        policy(&api, json!({ "promotion": { "from": ["staging"], "soak_seconds": 1 }, "image": { "mode": "report", "require_digest": true } })).await;
        let denied = api.start("shop/prod", "1").await.problem(409, "gate-denied")["decision"].clone();
        assert_eq!(
            api.start("shop/prod", "1").await.problem(409, "gate-denied")["decision"]["id"],
            denied["id"]
        );
        tokio::time::sleep(Duration::from_millis(1050)).await;
        let started = api.start("shop/prod", "1").await.ok(201);
        let list = async |query: &str| {
            let list = api.get(&format!("/decisions?{query}")).await.ok(200)["items"].clone();
            list.as_array().unwrap().clone()
        };
        let all = list("service=shop&inputs=true").await;
        assert_eq!(all.len(), 3, "a denial that is repeated is counted");
        assert_eq!(
            (&all[0]["id"], &all[0]["deployment_id"]),
            (&started["decision"]["id"], &started["deployment"]["id"])
        );
        assert_eq!((&all[1]["id"], &all[1]["count"]), (&denied["id"], &json!(2)));
        for stored in &all {
            let inputs: gate::Inputs = serde_json::from_value(stored["inputs"].clone()).unwrap();
            let again = gate::evaluate(&inputs, micros(&stored["evaluated_at"]));
            assert_eq!(json!(again.allowed), stored["allowed"]);
            assert_eq!(json!(again.state()), stored["state"]);
        }
        assert_eq!(list("allowed=false").await.len(), 1);
        assert_eq!(list("environment=prod&version=1").await.len(), 2);
        assert_eq!(list("environment=prod&version=2").await.len(), 0);
        assert!(list("limit=1").await[0]["inputs"].is_null(), "asked for only");
        let first = api.get("/decisions?limit=2").await;
        assert!(first.header("link").unwrap().contains("rel=\"next\""));
        let cursor = first.ok(200)["next_cursor"].as_str().unwrap().to_owned();
        assert_eq!(list(&format!("limit=2&cursor={cursor}")).await.len(), 1);
        api.get(&format!("/decisions/{}", uuid::Uuid::nil())).await.problem(404, "not-found");
        api.send(Method::GET, "/decisions?allowed=maybe", &[], None)
            .await
            .assert_refused("a word that is no boolean");
        // One refusal, however often, leaves one event.
        while waybill::usecase::upkeep::seal_events(&api.app).await.unwrap() > 0 {}
        let events = api.get("/events?kind=gate.denied").await.ok(200)["items"].clone();
        assert_eq!(events.as_array().unwrap().len(), 1, "{events}");
        assert_eq!(
            (&events[0]["data"]["decision_id"], &events[0]["data"]["reasons"]),
            (&denied["id"], &json!(["soak-not-met"]))
        );
    }
);

db_test!(
    async fn who_does_not_see_the_source_is_told_no_more_than_that_it_stands_in_the_way(db: TestDb) {
        let api = ground(&db).await;
        api.deployed("shop/staging", "1").await;
        policy(&api, json!({ "promotion": { "from": ["staging"], "soak_seconds": 3600 } })).await;
        let narrowed = api.token(&[Scope::Deploy, Scope::Read], None, Some(&["prod"])).await;
        let mut body = start_body("shop/prod", "1");
        body["release"] = Value::Null;
        let denied = narrowed.post("/deployments", body).await.problem(409, "gate-denied");
        let (said, seen) =
            (check(&denied["decision"], "promotion"), asked(&narrowed, "shop/prod", "1").await);
        assert_eq!(said["code"], "soak-not-met");
        assert!(!denied.to_string().contains("staging"), "{denied}");
        assert!(!seen.text.contains("staging"), "{}", seen.text);
        let id = id_of(&denied["decision"]);
        let stored = narrowed.get(&format!("/decisions/{id}")).await;
        assert!(!stored.text.contains("staging") && stored.ok(200)["inputs"].is_null());
        let whole = api.get(&format!("/decisions/{id}")).await.ok(200);
        assert_eq!(whole["inputs"]["facts"]["sources"][0]["environment"], "staging");
        let other = api.token(&[Scope::Read], Some(&["pay"]), None).await;
        other.get(&format!("/decisions/{id}")).await.problem(404, "not-found");
        assert_eq!(other.get("/decisions").await.ok(200)["items"], json!([]));
    }
);

/// Puts so many windows, approvals and scans behind the gate of `shop/prod`.
async fn pile_up(api: &Api, from: usize, until: usize) {
    for number in from..until {
        let window = json!({
            "name": format!("window {number}"), "reason": "test", "environments": ["prod"],
            "starts_at": "2098-01-01T00:00:00Z", "ends_at": "2099-01-01T00:00:00Z",
        });
        api.post("/freeze-windows", window).await.ok(201);
        let person = api.person(&format!("person-{number}"), &[Scope::Approve], &[]).await;
        let voice = json!({ "environment": "prod", "decision": "approved" });
        person.post("/services/shop/releases/1/approvals", voice).await.ok(201);
        let scan = json!({
            "scanner": format!("scanner-{}", number % 10), "scanned_at": "2026-01-01T00:00:00Z",
            "counts": { "critical": 0, "high": number, "medium": 0, "low": 0, "unknown": 0 },
        });
        api.post("/services/shop/releases/1/scans", scan).await.ok(201);
    }
}

db_test!(
    async fn whoever_adds_the_image_does_not_approve_it(db: TestDb) {
        let api = ground(&db).await;
        policy(&api, json!({ "approval": {} })).await;
        api.post("/services", json!({ "name": "shop" })).await.ok(201);
        let mal = api.person("mal", &[Scope::Approve, Scope::Deploy, Scope::Read], &[]).await;
        let mut body = release("1");
        (body["version"], body["image"]) = (json!("1"), Value::Null);
        body["initiated_by"] = json!("somebody else");
        api.post("/services/shop/releases", body.clone()).await.ok(201);
        body["image"] = json!(image('c'));
        mal.post("/services/shop/releases", body).await.ok(200);
        let yes = json!({ "environment": "prod", "decision": "approved" });
        mal.post("/services/shop/releases/1/approvals", yes).await.ok(201);
        let message = found(&api, "1", "approval").await["message"].take();
        assert_eq!(message, "0 of 1; not counted: mal: initiated, recorded or deploys it");
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_costs_as_many_round_trips_however_much_is_behind_it() {
    let db = TestDb::postgres().await;
    let wire = Wire::tap(&db.url).await;
    let api = Api::with(&db, |config| {
        config.database.url = wire.url.parse().unwrap();
        config.database.max_connections = 2;
    })
    .await;
    for name in ["staging", "prod"] {
        api.post("/environments", json!({ "name": name })).await.ok(201);
    }
    api.deployed("shop/staging", "1").await;
    api.deployed("shop/prod", "1").await;
    policy(&api, json!({ "promotion": { "from": ["staging"] }, "approval": {}, "vulnerabilities": { "max": { "critical": 0 } } })).await;
    let cost = async || {
        // Every connection of the pool has seen every statement by then.
        for _ in 0..20 {
            asked(&api, "shop/prod", "1").await.ok(200);
        }
        wire.round_trips();
        asked(&api, "shop/prod", "1").await.ok(200);
        wire.round_trips()
    };
    pile_up(&api, 0, 1).await;
    let young = cost().await;
    pile_up(&api, 1, 50).await;
    let old = cost().await;
    println!("a check: {young} round trips, and {old} with 50 windows and approvals and 10 scanners");
    assert_eq!(young, old);
    assert!(old <= 3, "{old}: the token, the target, the evidence");
}
