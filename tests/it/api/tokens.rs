//! Tokens: shown once, good until they end, and never more powerful than their maker.

use chrono::TimeDelta;
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use waybill::{clock, domain::vocabulary::Scope};

use crate::{
    db_test,
    support::api::{Api, id_of, start_body},
};

db_test!(
    async fn a_secret_is_shown_once_and_works(db: TestDb) {
        let api = Api::new(&db).await;
        let body = json!({
            "name": "ci-shop", "subject": "gitlab:acme/shop", "scopes": ["deploy", "read"], "services": ["shop"],
        });
        let answer = api.post("/tokens", body).await;
        let made = answer.ok(201);
        let secret = made["token"].as_str().unwrap();
        assert!(secret.starts_with("wb_") && secret.len() > 60, "{secret}");
        assert_eq!(answer.header("location"), Some(format!("/api/v1/tokens/{}", id_of(&made)).as_str()));
        assert_eq!(made["scopes"], json!(["read", "deploy"]));
        assert_eq!((&made["services"], &made["environments"]), (&json!(["shop"]), &Value::Null));
        let ci = api.bearing(secret);
        let started = ci.start("shop/prod", "1").await.ok(201);
        let actor = json!({ "token": "ci-shop", "subject": "gitlab:acme/shop" });
        assert_eq!(started["deployment"]["actor"], actor);
        let list = api.get("/tokens").await;
        assert!(!list.text.contains(secret), "a list never shows a secret");
        let listed =
            list.ok(200)["items"].as_array().unwrap().iter().find(|t| t["name"] == "ci-shop").cloned();
        assert_eq!(listed.unwrap().get("token"), None);
    }
);

db_test!(
    async fn the_database_holds_no_secret(db: TestDb) {
        let api = Api::new(&db).await;
        let body = json!({ "name": "ci", "scopes": ["read"] });
        let made = api.post_once("k", "/tokens", body).await.ok(201);
        let secret = made["token"].as_str().unwrap();
        let sql = api.sql().await;
        let rows = sql.query_all_raw(sea_orm::Statement::from_string(
            sql.get_database_backend(),
            "SELECT body AS text FROM idempotency_key UNION ALL SELECT data AS text FROM event",
        ));
        for row in rows.await.unwrap() {
            let text: String = row.try_get("", "text").unwrap();
            assert!(!text.contains(secret) && !text.contains(secret.rsplit('_').next().unwrap()), "{text}");
        }
    }
);

db_test!(
    async fn a_revoked_token_is_refused_from_the_next_request_on(db: TestDb) {
        let api = Api::new(&db).await;
        let body = json!({ "name": "ci", "scopes": ["read"] });
        let made = api.post("/tokens", body.clone()).await.ok(201);
        let ci = api.bearing(made["token"].as_str().unwrap());
        ci.get("/services").await.ok(200);
        let path = format!("/tokens/{}", id_of(&made));
        api.delete(&path).await.ok(204);
        api.delete(&path).await.ok(204);
        let answer = ci.get("/services").await;
        let problem = answer.problem(401, "unauthenticated");
        assert!(problem["detail"].as_str().unwrap().contains("revoked"), "{problem}");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
        let renewed = api.post("/tokens", body).await.ok(201);
        assert_ne!(renewed["id"], made["id"], "its name is free again");
        let nobody = "/tokens/01890000-0000-7000-8000-000000000000";
        api.delete(nobody).await.problem(404, "not-found");
    }
);

db_test!(
    async fn an_expired_token_is_refused(db: TestDb) {
        let api = Api::new(&db).await;
        let soon = clock::now() + TimeDelta::milliseconds(2500);
        let body = json!({ "name": "ci", "scopes": ["read"], "expires_at": soon.to_rfc3339() });
        let made = api.post("/tokens", body).await.ok(201);
        let ci = api.bearing(made["token"].as_str().unwrap());
        ci.get("/services").await.ok(200);
        tokio::time::sleep(std::time::Duration::from_millis(2600)).await;
        let problem = ci.get("/services").await.problem(401, "unauthenticated");
        assert!(problem["detail"].as_str().unwrap().contains("expired"), "{problem}");
        let body = json!({ "name": "old", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z" });
        assert_eq!(api.post("/tokens", body).await.faults()[0].0, "/expires_at");
    }
);

db_test!(
    async fn faults_of_a_token_are_named_at_once(db: TestDb) {
        let api = Api::new(&db).await;
        let body = json!({
            "name": "Ci", "subject": " ", "scopes": [], "groups": ["acme/Release Managers", " managers"], "services": ["-"],
            "environments": [""],
        });
        let mut pointers: Vec<_> =
            api.post("/tokens", body).await.faults().into_iter().map(|f| f.0).collect();
        pointers.sort();
        assert_eq!(pointers, ["/environments/0", "/groups/1", "/name", "/scopes", "/services/0", "/subject"]);
        let body = json!({ "name": "ci", "scopes": ["read", "root"] });
        assert_eq!(api.post("/tokens", body).await.faults()[0].0, "/scopes/1");
        let body = json!({ "name": "ci", "scopes": ["read"] });
        api.post("/tokens", body.clone()).await.ok(201);
        api.post("/tokens", body).await.problem(409, "conflict");
    }
);

db_test!(
    async fn no_token_makes_another_beyond_its_own_rights(db: TestDb) {
        let api = Api::new(&db).await;
        let narrow = api.token(&[Scope::Admin], Some(&["shop", "pay"]), Some(&["prod"])).await;
        let cases = [
            (json!({}), 403),
            (json!({ "services": ["shop"] }), 403),
            (json!({ "environments": ["prod"] }), 403),
            (json!({ "services": ["shop", "other"], "environments": ["prod"] }), 403),
            (json!({ "services": ["shop"], "environments": ["prod", "dev"] }), 403),
            (json!({ "services": ["shop"], "environments": ["prod"], "groups": ["acme/managers"] }), 201),
        ];
        for (rights, status) in cases {
            let mut body = json!({ "name": "made", "scopes": ["admin"] });
            body.as_object_mut().unwrap().extend(rights.as_object().unwrap().clone());
            let answer = narrow.post("/tokens", body).await;
            assert_eq!(answer.status, status, "{rights}: {}", answer.text);
        }
        let outside = api.post("/tokens", json!({ "name": "outside", "scopes": ["read"] })).await.ok(201);
        narrow.delete(&format!("/tokens/{}", id_of(&outside))).await.problem(404, "not-found");
        let seen = narrow.get("/tokens").await.ok(200)["items"].clone();
        assert!(!seen.as_array().unwrap().iter().any(|token| token["name"] == "outside"), "{seen}");
        let groups = json!({ "name": "g", "scopes": ["approve"], "groups": ["release-managers"] });
        assert_eq!(api.post("/tokens", groups).await.ok(201)["groups"], json!(["release-managers"]));
        for scopes in [[Scope::Deploy, Scope::Override], [Scope::Read, Scope::Approve]] {
            let poor = api.token(&scopes, None, None).await;
            poor.post("/tokens", json!({ "name": "x", "scopes": ["read"] })).await.problem(403, "forbidden");
        }
    }
);

db_test!(
    async fn a_narrowed_admin_sees_no_events_about_tokens_beyond_its_narrowing(db: TestDb) {
        let api = Api::new(&db).await;
        let narrow = api.token(&[Scope::Admin], Some(&["shop"]), None).await;
        api.post("/tokens", json!({ "name": "secret-project", "scopes": ["read"] })).await.ok(201);
        while waybill::usecase::upkeep::seal_events(&api.app).await.unwrap() > 0 {}
        let events = narrow.get("/events").await;
        events.ok(200);
        assert!(!events.text.contains("secret-project"), "{}", events.text);
    }
);

db_test!(
    async fn without_a_good_token_nothing_is_looked_at(db: TestDb) {
        let api = Api::new(&db).await;
        let good = api.post("/tokens", json!({ "name": "ci", "scopes": ["read"] })).await.ok(201);
        let good = good["token"].as_str().unwrap();
        let cut = &good[..good.len() - 1];
        for caller in
            [api.anonymous(), api.bearing("wb_nobody"), api.bearing(cut), api.bearing(&"x".repeat(5000))]
        {
            for path in
                ["/services", "/matrix", "/deployments/not-an-id", "/services?limit=nonsense", "/tokens"]
            {
                let answer = caller.get(path).await;
                answer.problem(401, "unauthenticated");
                assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"), "{path}");
            }
            let mut bad = start_body("shop/prod", "1");
            bad["service"] = json!(1);
            caller.post("/deployments", bad).await.problem(401, "unauthenticated");
        }
        for header in ["Basic YTpi", "Bearer", "Bearer ", "wb_x"] {
            let caller = api.anonymous();
            let answer =
                caller.send(poem::http::Method::GET, "/services", &[("authorization", header)], None).await;
            answer.problem(401, "unauthenticated");
        }
        for path in ["//livez", "//readyz", "//health", "//version", "//metrics", "//problems/conflict"] {
            assert_eq!(api.anonymous().get(path).await.status, 200, "{path}");
        }
    }
);
