//! Beside a production that somebody keeps, nothing starts in what only looks like one.

use serde_json::json;
use waybill::domain::vocabulary::Scope;

use crate::{
    db_test,
    support::api::{Answer, Api, release, start_body},
};

async fn recorded(api: &Api, target: &str) -> Answer {
    let mut body = start_body(target, "2");
    body["status"] = json!("succeeded");
    body["started_at"] = json!("2026-01-01T00:00:00Z");
    body["finished_at"] = json!("2026-01-01T00:01:00Z");
    api.post("/deployments/record", body).await
}

async fn environments(api: &Api) -> Vec<String> {
    let items = api.get("/environments").await.ok(200)["items"].take();
    items.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn told(answer: &Answer, remedy: &str) {
    let problem = answer.problem(409, "conflict");
    assert!(problem["detail"].as_str().unwrap().contains(remedy), "{problem}");
}

db_test!(
    async fn a_lockdown_is_not_gone_around_by_another_name(db: TestDb) {
        let api = Api::new(&db).await;
        let ci = api.token(&[Scope::Deploy, Scope::Record, Scope::Read], None, None).await;
        ci.deployed("shop/prod", "1").await;
        ci.deployed("shop/prod-us", "1").await;
        ci.deployed("shop/staging", "1").await;
        api.put("/environments/prod/lockdown", json!({ "reason": "payments fail" })).await.ok(200);
        let question = |name: &str| json!({ "service": "shop", "environment": name, "version": "1" });
        for lookalike in ["production", "prod0", "prod-eu", "live"] {
            let remedy = format!("`waybill environment create {lookalike}`");
            told(&ci.start(&format!("shop/{lookalike}"), "2").await, &remedy);
            told(&recorded(&ci, &format!("new/{lookalike}")).await, &remedy);
        }
        let remedy = "`waybill environment confirm prod-us`";
        told(&ci.start("shop/prod-us", "2").await, remedy);
        told(&recorded(&ci, "shop/prod-us").await, remedy);
        told(&ci.post("/gate/check", question("prod-us")).await, remedy);
        told(&ci.get("/gate/wait?service=shop&environment=prod-us&version=1").await, remedy);
        let mut override_ = start_body("shop/prod-us", "2");
        override_["override"] = json!({ "reason": "customers cannot pay" });
        told(&api.post("/deployments", override_).await, remedy);
        // Nothing of it was registered, and what is no production goes on.
        assert_eq!(environments(&api).await, ["prod", "prod-us", "staging"]);
        api.get("/services/new").await.problem(404, "not-found");
        api.get("/services/shop/releases/2").await.problem(404, "not-found");
        ci.deployed("shop/staging", "2").await;
        ci.deployed("shop/review-7", "2").await;
        // The one that is kept answers for itself, and the one that is meant is confirmed or made.
        ci.start("shop/prod", "2").await.problem(409, "gate-denied");
        api.patch("/environments/prod-us", json!({})).await.ok(200);
        ci.deployed("shop/prod-us", "2").await;
        api.post("/environments", json!({ "name": "prod-eu" })).await.ok(201);
        ci.deployed("shop/prod-eu", "2").await;
    }
);

db_test!(
    async fn whatever_shows_that_somebody_keeps_production_counts(db: TestDb) {
        let keep = [
            ("/environments/prod/policy", json!({})),
            ("/environments/prod/lockdown", json!({ "reason": "why" })),
        ];
        let api = Api::new(&db).await;
        api.deployed("shop/prod", "1").await;
        api.deployed("shop/prod-us", "1").await;
        api.deployed("shop/prod-us", "2").await;
        for (path, body) in keep {
            api.put(path, body).await.ok(200);
            told(&api.start("shop/prod-us", "3").await, "prod-us");
            if path.ends_with("policy") {
                // Kept by its policy, it is not refused itself, though nobody has confirmed it.
                api.deployed("shop/prod", "2").await;
            }
        }
        api.delete("/environments/prod/lockdown").await.ok(204);
        // An archived one is nobody's production any more.
        api.delete("/environments/prod").await;
        let body = json!({ "version": "3", "commit_sha": release("3")["commit_sha"] });
        api.post("/services/shop/releases", body).await.ok(201);
        api.deployed("shop/prod-us", "3").await;
    }
);
