//! Rights: what each scope opens, and that a narrowed token sees and touches nothing else.

use poem::http::Method;
use serde_json::{Value, json};
use waybill::{domain::vocabulary::Scope, usecase::upkeep};

use crate::{
    db_test,
    support::api::{Api, commit, id_of, start_body},
};

fn record_body(target: &str, version: &str) -> Value {
    let mut body = start_body(target, version);
    body["status"] = json!("succeeded");
    body["started_at"] = json!("2026-01-01T00:00:00Z");
    body["finished_at"] = json!("2026-01-01T00:01:00Z");
    body
}

async fn names(api: &Api, path: &str, field: &str) -> Vec<String> {
    let items = api.get(path).await.ok(200)["items"].clone();
    let mut names: Vec<_> =
        items.as_array().unwrap().iter().map(|item| item[field].as_str().unwrap_or("-").to_owned()).collect();
    names.sort();
    names.dedup();
    names
}

db_test!(
    async fn every_operation_needs_its_scope(db: TestDb) {
        let api = Api::new(&db).await;
        let running = api.started("shop/prod", "1").await;
        let token = id_of(&api.get("/tokens").await.ok(200)["items"][0]);
        let deployment = format!("/deployments/{running}");
        let operations = [
            (Scope::Read, Method::GET, "/services".to_owned(), Value::Null),
            (Scope::Read, Method::GET, "/services/shop".to_owned(), Value::Null),
            (Scope::Read, Method::GET, "/services/shop/releases".to_owned(), Value::Null),
            (Scope::Read, Method::GET, "/services/shop/releases/1".to_owned(), Value::Null),
            (Scope::Read, Method::GET, "/services/shop/environments/prod".to_owned(), Value::Null),
            (Scope::Read, Method::GET, "/environments".to_owned(), Value::Null),
            (Scope::Read, Method::GET, "/environments/prod".to_owned(), Value::Null),
            (Scope::Read, Method::GET, "/deployments".to_owned(), Value::Null),
            (Scope::Read, Method::GET, deployment.clone(), Value::Null),
            (Scope::Read, Method::GET, "/matrix".to_owned(), Value::Null),
            (Scope::Read, Method::GET, "/matrix?as_of=2026-01-01T00:00:00Z".to_owned(), Value::Null),
            (Scope::Read, Method::GET, "/events".to_owned(), Value::Null),
            (Scope::Read, Method::GET, "/events/head".to_owned(), Value::Null),
            (Scope::Read, Method::GET, "/events/seals".to_owned(), Value::Null),
            (Scope::Deploy, Method::POST, "/deployments".to_owned(), start_body("shop/dev", "1")),
            (Scope::Deploy, Method::POST, format!("{deployment}/heartbeat"), json!({})),
            (Scope::Deploy, Method::POST, format!("{deployment}/finish"), json!({ "status": "failed" })),
            (
                Scope::Deploy,
                Method::POST,
                "/services/shop/releases".to_owned(),
                json!({ "version": "9", "commit_sha": commit("9") }),
            ),
            (Scope::Record, Method::POST, "/deployments/record".to_owned(), record_body("shop/prod", "1")),
            (Scope::Admin, Method::POST, "/services".to_owned(), json!({ "name": "pay" })),
            (Scope::Admin, Method::PATCH, "/services/shop".to_owned(), json!({})),
            (Scope::Admin, Method::DELETE, "/services/shop".to_owned(), Value::Null),
            (Scope::Admin, Method::POST, "/environments".to_owned(), json!({ "name": "qa" })),
            (Scope::Admin, Method::PATCH, "/environments/prod".to_owned(), json!({})),
            (Scope::Admin, Method::DELETE, "/environments/prod".to_owned(), Value::Null),
            (Scope::Admin, Method::GET, "/tokens".to_owned(), Value::Null),
            (Scope::Admin, Method::POST, "/tokens".to_owned(), json!({ "name": "x", "scopes": ["read"] })),
            (Scope::Admin, Method::DELETE, format!("/tokens/{token}"), Value::Null),
            (Scope::Admin, Method::GET, "/trusts".to_owned(), Value::Null),
            (Scope::Audit, Method::GET, "/access".to_owned(), Value::Null),
        ];
        for (needed, method, path, body) in operations {
            // The audit log is for whoever audits, too.
            let also = if path.starts_with("/events") { Scope::Audit } else { needed };
            let enough = [needed, also, Scope::Admin];
            let others: Vec<_> = Scope::ALL.iter().copied().filter(|one| !enough.contains(one)).collect();
            let poor = api.token(&others, None, None).await;
            let answer = poor.send_json(method.clone(), &path, &[], &body).await;
            let problem = answer.problem(403, "forbidden");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(needed.as_str()), "{method} {path}: {detail}");
            if needed != Scope::Admin {
                let able = api.token(&[needed], None, None).await;
                let answer = able.send_json(method.clone(), &path, &[], &body).await;
                assert!(answer.status < 300, "{method} {path}: {}", answer.text);
            }
        }
    }
);

db_test!(
    async fn a_narrowed_token_sees_nothing_else(db: TestDb) {
        let api = Api::new(&db).await;
        for target in ["shop/prod", "shop/dev", "pay/prod", "pay/dev"] {
            api.deployed(target, "1").await;
        }
        while upkeep::seal_events(&api.app).await.unwrap() > 0 {}
        let narrow = api.token(&[Scope::Read], Some(&["shop"]), Some(&["prod"])).await;
        assert_eq!(names(&narrow, "/services", "name").await, ["shop"]);
        assert_eq!(names(&narrow, "/environments", "name").await, ["prod"]);
        assert_eq!(names(&narrow, "/deployments", "service").await, ["shop"]);
        assert_eq!(names(&narrow, "/deployments", "environment").await, ["prod"]);
        narrow.get("/deployments?service=pay").await.problem(404, "not-found");
        assert_eq!(names(&narrow, "/events", "service").await, ["-", "shop"]);
        assert_eq!(names(&narrow, "/events", "environment").await, ["-", "prod"]);
        narrow.get("/events?service=pay").await.problem(404, "not-found");
        for as_of in ["", "?as_of=2999-01-01T00:00:00Z"] {
            let matrix = narrow.get(&format!("/matrix{as_of}")).await.ok(200);
            assert_eq!(matrix["environments"].as_array().unwrap().len(), 1, "{matrix}");
            assert_eq!(matrix["services"].as_array().unwrap().len(), 1, "{matrix}");
            assert_eq!(matrix["services"][0]["targets"].as_array().unwrap().len(), 1);
            assert_eq!(matrix["services"][0]["targets"][0]["current"]["version"], "1");
        }
        let past = api.get("/deployments").await.ok(200)["items"][0]["finished_at"].clone();
        let past = narrow.get(&format!("/matrix?as_of={}", past.as_str().unwrap())).await.ok(200);
        assert_eq!(past["services"].as_array().unwrap().len(), 1, "{past}");
        let hidden = id_of(&api.get("/deployments?service=pay").await.ok(200)["items"][0]);
        for path in [
            "/services/pay",
            "/services/pay/releases",
            "/services/pay/releases/1",
            "/environments/dev",
            "/services/shop/environments/dev",
            "/services/pay/environments/prod",
            &format!("/deployments/{hidden}"),
        ] {
            narrow.get(path).await.problem(404, "not-found");
        }
    }
);

db_test!(
    async fn a_narrowed_token_touches_nothing_else(db: TestDb) {
        let api = Api::new(&db).await;
        let hidden = api.started("pay/prod", "1").await;
        let narrow = api.token(&[Scope::Admin], Some(&["shop", "new"]), Some(&["prod", "qa"])).await;
        for target in ["pay/prod", "shop/dev", "other/prod"] {
            narrow.start(target, "2").await.problem(403, "forbidden");
            narrow.post("/deployments/record", record_body(target, "2")).await.problem(403, "forbidden");
        }
        let finish = json!({ "status": "failed" });
        narrow.post(&format!("/deployments/{hidden}/finish"), finish).await.problem(404, "not-found");
        narrow.post(&format!("/deployments/{hidden}/heartbeat"), json!({})).await.problem(404, "not-found");
        for path in ["/services/pay", "/services/shop", "/environments/prod", "/environments/dev"] {
            narrow.patch(path, json!({ "archived": true })).await.problem(403, "forbidden");
            narrow.delete(path).await.problem(403, "forbidden");
        }
        let shop = api.token(&[Scope::Admin], Some(&["shop"]), None).await;
        shop.patch("/services/pay", json!({ "owner": "me" })).await.problem(404, "not-found");
        shop.delete("/services/pay").await.problem(404, "not-found");
        shop.patch("/environments/prod", json!({ "rank": 1 })).await.problem(403, "forbidden");
        narrow.post("/services", json!({ "name": "other" })).await.problem(403, "forbidden");
        narrow.post("/environments", json!({ "name": "dev" })).await.problem(403, "forbidden");
        let release = json!({ "version": "2", "commit_sha": commit("2") });
        narrow.post("/services/pay/releases", release).await.problem(403, "forbidden");
        assert_eq!(api.deployment(&hidden).await["status"], "running");
        api.get("/services/other").await.problem(404, "not-found");
        api.get("/environments/dev").await.problem(404, "not-found");
        narrow.deployed("new/qa", "1").await;
        let services = api.token(&[Scope::Admin], Some(&["shop"]), None).await;
        services.post("/services", json!({ "name": "shop" })).await.ok(201);
        let mut body = start_body("shop/prod", "1");
        body["remediates"] = json!(hidden);
        assert_eq!(narrow.post("/deployments", body).await.faults()[0].0, "/remediates");
    }
);

db_test!(
    async fn the_gate_looks_at_what_the_caller_may_not_see(db: TestDb) {
        let api = Api::new(&db).await;
        let first = api.token(&[Scope::Deploy], Some(&["shop"]), None).await;
        let second = api.token(&[Scope::Deploy], None, Some(&["prod"])).await;
        first.started("shop/prod", "1").await;
        second.start("shop/prod", "2").await.problem(409, "gate-denied");
    }
);

db_test!(
    async fn events_about_tokens_are_for_admins(db: TestDb) {
        let api = Api::new(&db).await;
        api.post("/tokens", json!({ "name": "ci", "scopes": ["read"] })).await.ok(201);
        let reader = api.token(&[Scope::Read], None, None).await;
        api.post("/services", json!({ "name": "shop" })).await.ok(201);
        while upkeep::seal_events(&api.app).await.unwrap() > 0 {}
        assert_eq!(names(&reader, "/events", "kind").await, ["service.created"]);
        assert_eq!(names(&api, "/events", "kind").await, ["service.created", "token.created"]);
    }
);
