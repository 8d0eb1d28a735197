//! An approval is for the image that the approver saw, and for no other.

use serde_json::{Value, json};
use waybill::{domain::vocabulary::Scope, store::schema};

use crate::{
    db_test,
    support::{
        api::{Api, commit, image},
        db::TestDb,
    },
};

const RELEASES: &str = "/services/shop/releases";
const APPROVALS: &str = "/services/shop/releases/1/approvals";

/// Prod, which wants one approval, and release 1 without an image.
async fn ground(db: &TestDb) -> Api {
    let api = Api::new(db).await;
    api.post("/environments", json!({ "name": "prod" })).await.ok(201);
    api.put("/environments/prod/policy", json!({ "approval": { "required": 1 } })).await.ok(200);
    api.post("/services", json!({ "name": "shop" })).await.ok(201);
    let first = json!({ "version": "1", "commit_sha": commit("1"), "initiated_by": "somebody else" });
    api.post(RELEASES, first).await.ok(201);
    api
}

async fn add_image(api: &Api) {
    let body = json!({ "version": "1", "commit_sha": commit("1"), "image": image('a') });
    api.post(RELEASES, body).await.ok(200);
}

fn say(decision: &str, saw: Option<Value>) -> Value {
    let mut body = json!({ "environment": "prod", "decision": decision });
    if let Some(saw) = saw {
        body["image"] = saw;
    }
    body
}

async fn found(api: &Api) -> Value {
    let question = json!({ "service": "shop", "environment": "prod", "version": "1" });
    let said = api.post("/gate/check", question).await.ok(200);
    said["checks"].as_array().unwrap().iter().find(|check| check["rule"] == "approval").unwrap().clone()
}

db_test!(
    async fn who_says_what_they_saw_approves_nothing_else(db: TestDb) {
        let api = ground(&db).await;
        let ada = api.person("ada", &[Scope::Approve, Scope::Read], &[]).await;
        let early = ada.post(APPROVALS, say("approved", Some(json!(image('a'))))).await.problem(412, "stale");
        assert!(early["detail"].as_str().unwrap().contains("no image yet"), "{early}");
        let none = ada.post(APPROVALS, say("approved", Some(Value::Null))).await.ok(201);
        assert_eq!(none["image"], Value::Null);
        add_image(&api).await;
        let late = ada.post(APPROVALS, say("approved", Some(Value::Null))).await.problem(412, "stale");
        assert!(late["detail"].as_str().unwrap().contains(&image('a')), "{late}");
        ada.post(APPROVALS, say("approved", Some(json!(image('b'))))).await.problem(412, "stale");
        ada.post(APPROVALS, say("rejected", Some(json!(image('b'))))).await.problem(412, "stale");
        let wrong = ada.post(APPROVALS, say("approved", Some(json!("shop:latest")))).await.faults();
        assert_eq!(wrong, [("/image".to_owned(), "invalid-image".to_owned())]);
        let tagged = image('a').replace('@', ":1.4@");
        let given = ada.post(APPROVALS, say("approved", Some(json!(tagged)))).await.ok(201);
        assert_eq!(given["image"], json!(image('a')), "for what it is, whatever the tag says");
        assert_eq!(found(&api).await["outcome"], "pass");
        let again = ada.post(APPROVALS, say("approved", None)).await.ok(200);
        assert_eq!(again["id"], given["id"]);
    }
);

db_test!(
    async fn an_image_is_the_same_in_every_place(db: TestDb) {
        let api = ground(&db).await;
        add_image(&api).await;
        let ada = api.person("ada", &[Scope::Approve, Scope::Read], &[]).await;
        let mirror = image('a').replace("registry.example.com", "mirror.example.org");
        ada.post(APPROVALS, say("approved", Some(json!(mirror)))).await.ok(201);
        assert_eq!(found(&api).await["outcome"], "pass");
    }
);

db_test!(
    async fn an_image_that_is_added_voids_what_was_approved_before(db: TestDb) {
        let api = ground(&db).await;
        let ada = api.person("ada", &[Scope::Approve, Scope::Read], &[]).await;
        let first = ada.post(APPROVALS, say("approved", None)).await.ok(201);
        assert_eq!(found(&api).await["outcome"], "pass");
        add_image(&api).await;
        let check = found(&api).await;
        assert_eq!(check["code"], "approval-missing", "{check}");
        assert_eq!(check["message"], "0 of 1; not counted: ada: given before the image was added");
        let ci = api.token(&[Scope::Deploy, Scope::Read], None, None).await;
        let body = json!({ "service": "shop", "environment": "prod", "version": "1" });
        ci.post("/deployments", body.clone()).await.problem(409, "gate-denied");
        let waits = api.get("/approvals/pending").await.ok(200)["items"].take();
        assert_eq!(waits[0]["not_counted"][0]["why"], "given before the image was added", "{waits}");
        let again = ada.post(APPROVALS, say("approved", None)).await.ok(201);
        assert_ne!(again["id"], first["id"], "it is said anew");
        assert_eq!(api.get("/approvals/pending").await.ok(200)["items"], json!([]));
        ci.post("/deployments", body).await.ok(201);
    }
);

db_test!(
    async fn a_start_that_brings_the_image_is_not_approved_by_what_was_said_before(db: TestDb) {
        let api = ground(&db).await;
        let ada = api.person("ada", &[Scope::Approve, Scope::Read], &[]).await;
        ada.post(APPROVALS, say("approved", None)).await.ok(201);
        let release = json!({ "commit_sha": commit("1"), "image": image('a') });
        let body = json!({ "service": "shop", "environment": "prod", "version": "1", "release": release });
        let denied = api.post("/deployments", body).await.problem(409, "gate-denied");
        assert!(denied.to_string().contains("given before the image was added"), "{denied}");
    }
);

db_test!(
    async fn a_rejection_stays_in_force_whatever_is_added(db: TestDb) {
        let api = ground(&db).await;
        let ada = api.person("ada", &[Scope::Approve, Scope::Read], &[]).await;
        ada.post(APPROVALS, say("rejected", None)).await.ok(201);
        add_image(&api).await;
        assert_eq!(found(&api).await["code"], "approval-rejected");
    }
);

db_test!(
    async fn what_was_approved_before_images_were_kept_is_for_the_one_there_was(db: TestDb) {
        let api = ground(&db).await;
        add_image(&api).await;
        api.person("ada", &[Scope::Approve], &[]).await.post(APPROVALS, say("approved", None)).await.ok(201);
        schema::down(&api.app.db, 1).await.unwrap();
        schema::up(&api.app.db).await.unwrap();
        assert_eq!(api.get(APPROVALS).await.ok(200)["items"][0]["image"], json!(image('a')));
        assert_eq!(found(&api).await["outcome"], "pass");
    }
);

db_test!(
    async fn a_key_tells_what_was_seen_from_what_was_not(db: TestDb) {
        let api = ground(&db).await;
        api.post_once("k", APPROVALS, say("approved", Some(Value::Null))).await.ok(201);
        api.post_once("k", APPROVALS, say("approved", None)).await.problem(422, "idempotency-key-reused");
    }
);
