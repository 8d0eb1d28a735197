//! Idempotency keys: a request that is sent again has its effect once and its answer again.

use futures_util::future::join_all;
use serde_json::{Value, json};
use waybill::domain::vocabulary::Scope;

use crate::{
    db_test,
    support::api::{Answer, Api, commit, id_of, start_body},
};

fn assert_replayed(first: &Answer, again: &Answer) {
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(first.header("idempotency-replayed"), None);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    for header in ["location", "etag", "content-type"] {
        assert_eq!(again.header(header), first.header(header), "{header}");
    }
}

async fn count(api: &Api, path: &str) -> usize {
    api.get(path).await.ok(200)["items"].as_array().unwrap().len()
}

db_test!(
    async fn the_same_request_again_gets_the_same_answer(db: TestDb) {
        let api = Api::new(&db).await;
        let requests = [
            ("/services", json!({ "name": "shop" })),
            ("/environments", json!({ "name": "prod" })),
            ("/services/shop/releases", json!({ "version": "1", "commit_sha": commit("1") })),
            ("/deployments", start_body("shop/prod", "1")),
        ];
        for (path, body) in requests {
            let first = api.post_once(path, path, body.clone()).await;
            first.ok(201);
            assert_replayed(&first, &api.post_once(path, path, body).await);
        }
        assert_eq!(count(&api, "/deployments").await, 1);
        let id = id_of(&api.get("/deployments").await.ok(200)["items"][0]);
        let beat = format!("/deployments/{id}/heartbeat");
        let first = api.post_once("beat", &beat, json!({ "message": "hello" })).await;
        first.ok(200);
        let finish = format!("/deployments/{id}/finish");
        let ended = api.post_once("end", &finish, json!({ "status": "succeeded" })).await;
        ended.ok(200);
        assert_replayed(&ended, &api.post_once("end", &finish, json!({ "status": "succeeded" })).await);
        let again = api.post_once("beat", &beat, json!({ "message": "hello" })).await;
        assert_replayed(&first, &again);
        let mut record = start_body("shop/prod", "2");
        record["status"] = json!("failed");
        record["started_at"] = json!("2026-01-01T00:00:00Z");
        record["finished_at"] = json!("2026-01-01T00:00:00Z");
        let first = api.post_once("record", "/deployments/record", record.clone()).await;
        assert_eq!(first.status, 201, "{}", first.text);
        assert_replayed(&first, &api.post_once("record", "/deployments/record", record).await);
    }
);

db_test!(
    async fn a_key_is_for_one_request_of_one_token(db: TestDb) {
        let api = Api::new(&db).await;
        api.post_once("k", "/services", json!({ "name": "shop" })).await.ok(201);
        let other_body = api.post_once("k", "/services", json!({ "name": "pay" })).await;
        other_body.problem(422, "idempotency-key-reused");
        let other_path = api.post_once("k", "/environments", json!({ "name": "shop" })).await;
        other_path.problem(422, "idempotency-key-reused");
        let other_token = api.token(&[Scope::Admin], None, None).await;
        other_token.post_once("k", "/services", json!({ "name": "pay" })).await.ok(201);
        assert_eq!(count(&api, "/services").await, 2);
    }
);

db_test!(
    async fn one_operation_on_two_things_is_two_requests(db: TestDb) {
        let api = Api::new(&db).await;
        let (one, two) = (api.started("shop/prod", "1").await, api.started("pay/prod", "1").await);
        let body = json!({ "status": "succeeded" });
        api.post_once("k", &format!("/deployments/{one}/finish"), body.clone()).await.ok(200);
        let other = api.post_once("k", &format!("/deployments/{two}/finish"), body).await;
        other.problem(422, "idempotency-key-reused");
        assert_eq!(api.deployment(&two).await["status"], "running");
    }
);

db_test!(
    async fn a_refusal_is_evaluated_afresh(db: TestDb) {
        let api = Api::new(&db).await;
        let first = api.started("shop/prod", "1").await;
        let body = start_body("shop/prod", "2");
        for _ in 0..2 {
            api.post_once("k", "/deployments", body.clone()).await.problem(409, "gate-denied");
        }
        api.finished(&first, "succeeded").await;
        let started = api.post_once("k", "/deployments", body.clone()).await;
        started.ok(201);
        assert_replayed(&started, &api.post_once("k", "/deployments", body).await);
        api.post_once("bad", "/services", json!({ "name": "A" })).await.faults();
        api.post_once("bad", "/services", json!({ "name": "a" })).await.ok(201);
    }
);

db_test!(
    async fn twins_at_once_have_one_effect_and_one_answer(db: TestDb) {
        let api = Api::new(&db).await;
        for round in 0..5 {
            let target = format!("shop/env-{round}");
            let twins = (0..4).map(|_| {
                let (api, body) = (api.clone(), start_body(&target, "1"));
                let key = target.clone();
                async move { api.post_once(&key, "/deployments", body).await }
            });
            let answers = join_all(twins).await;
            for answer in &answers {
                assert_eq!(answer.ok(201), answers[0].json(), "{target}");
            }
            let fresh =
                answers.iter().filter(|answer| answer.header("idempotency-replayed").is_none()).count();
            assert_eq!(fresh, 1, "one of them did it");
            assert_eq!(count(&api, &format!("/deployments?environment=env-{round}")).await, 1);
        }
        let twins = (0..4).map(|_| {
            let api = api.clone();
            async move { api.post_once("service", "/services", json!({ "name": "pay" })).await }
        });
        for answer in join_all(twins).await {
            assert_eq!(answer.ok(201)["name"], "pay");
        }
    }
);

db_test!(
    async fn a_token_is_made_once_and_its_secret_shown_once(db: TestDb) {
        let api = Api::new(&db).await;
        let body = json!({ "name": "ci", "scopes": ["read"] });
        let made = api.post_once("k", "/tokens", body.clone()).await.ok(201);
        assert!(made["token"].as_str().unwrap().starts_with("wb_"));
        let again = api.post_once("k", "/tokens", body).await;
        let mut without = made.clone();
        without.as_object_mut().unwrap().remove("token");
        assert_eq!(again.ok(201), without);
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
    }
);

db_test!(
    async fn a_bad_key_is_refused(db: TestDb) {
        let api = Api::new(&db).await;
        for bad in ["", "x".repeat(256).as_str()] {
            let answer = api.post_once(bad, "/services", json!({ "name": "shop" })).await;
            let problem = answer.problem(400, "invalid-request");
            assert_eq!(problem["errors"][0]["pointer"], "/header/Idempotency-Key");
        }
        api.post_once(&"x".repeat(255), "/services", json!({ "name": "shop" })).await.ok(201);
    }
);

db_test!(
    async fn an_answer_that_is_kept_is_not_given_to_who_may_no_longer_ask(db: TestDb) {
        let api = Api::new(&db).await;
        let made = api.post("/tokens", json!({ "name": "ci", "scopes": ["deploy"] })).await.ok(201);
        let ci = api.bearing(made["token"].as_str().unwrap());
        ci.post_once("k", "/deployments", start_body("shop/prod", "1")).await.ok(201);
        api.delete(&format!("/tokens/{}", id_of(&made))).await.ok(204);
        let again = ci.post_once("k", "/deployments", start_body("shop/prod", "1")).await;
        assert_eq!(again.problem(401, "unauthenticated")["decision"], Value::Null);
    }
);
