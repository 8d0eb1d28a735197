//! Texts that must say something, and names of images that must be no other's.

use serde_json::{Value, json};
use waybill::domain::vocabulary::Scope;

use crate::{
    db_test,
    support::api::{Api, release, start_body},
};

/// Nothing that anybody can read.
const EMPTY: [&str; 4] = [
    "\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}",
    "\u{3164}\u{3164}\u{3164}\u{3164}\u{3164}\u{3164}\u{3164}\u{3164}\u{3164}\u{3164}",
    "..............",
    "              ",
];

#[track_caller]
fn fault(faults: &[(String, String)], pointer: &str, code: &str) {
    assert_eq!(faults, [(pointer.to_owned(), code.to_owned())]);
}

db_test!(
    async fn what_must_say_something_is_refused_without_a_letter(db: TestDb) {
        let api = Api::new(&db).await;
        api.deployed("shop/prod", "1").await;
        for empty in EMPTY {
            let mut start = start_body("shop/prod", "2");
            start["override"] = json!({ "reason": empty });
            fault(&api.post("/deployments", start).await.faults(), "/override/reason", "empty");
            let question = json!({ "service": "shop", "environment": "prod", "version": "1", "override": { "reason": empty } });
            fault(&api.post("/gate/check", question).await.faults(), "/override/reason", "empty");
            let lockdown = api.put("/environments/prod/lockdown", json!({ "reason": empty })).await;
            fault(&lockdown.faults(), "/reason", "empty");
            let window = |name: &str, reason: &str| {
                json!({ "name": name, "reason": reason, "environments": ["prod"],
                    "start_cron": "0 18 * * FRI", "end_cron": "0 8 * * MON", "timezone": "UTC" })
            };
            let named = api.post("/freeze-windows", window(empty, "why")).await;
            fault(&named.faults(), "/name", "empty");
            let told = api.post("/freeze-windows", window("weekend", empty)).await;
            fault(&told.faults(), "/reason", "empty");
            let token = json!({ "name": "t", "subject": empty, "scopes": ["read"] });
            fault(&api.post("/tokens", token).await.faults(), "/subject", "empty");
        }
        let mut start = start_body("shop/prod", "2");
        start["override"] =
            json!({ "reason": "a\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}" });
        fault(&api.post("/deployments", start.clone()).await.faults(), "/override/reason", "too-short");
        start["override"] = json!({ "reason": "顧客が支払えません。至急" });
        api.post("/deployments", start).await.ok(201);
    }
);

fn with_image(version: &str, repository: &str) -> Value {
    let mut release = release(version);
    release["version"] = json!(version);
    release["image"] = json!(format!("{repository}@sha256:{}", "a".repeat(64)));
    release
}

db_test!(
    async fn an_image_is_in_no_other_repository_than_it_looks(db: TestDb) {
        let api = Api::new(&db).await;
        api.post("/environments", json!({ "name": "prod" })).await.ok(201);
        api.post("/services", json!({ "name": "shop" })).await.ok(201);
        let policy = json!({ "image": { "allowed_repositories": ["registry.example.com/shop/**"] } });
        api.put("/environments/prod/policy", policy).await.ok(200);
        let releases = "/services/shop/releases";
        for evil in [
            "registry.example.com/shop/../evil/web",
            "registry.example.com/shop/./web",
            "registry.example.com/shop//web",
            "registry.example.com/shop/%2e%2e/evil",
            "registry.example.com/shop/..\\evil",
            "registry.example.com/shop/ web",
            "registry.example.com/shop/w\u{200b}eb",
        ] {
            fault(&api.post(releases, with_image("1", evil)).await.faults(), "/image", "invalid-image");
        }
        let answer = api.post(releases, with_image("1", "registry.example.com/shop/Web")).await;
        assert!(answer.text.contains("lower case"), "{}", answer.text);
        // A domain has no case, and a port is part of it.
        let made = api.post(releases, with_image("1", "Registry.Example.com/shop/web")).await.ok(201);
        assert!(made["image"].as_str().unwrap().starts_with("registry.example.com/shop/web@"), "{made}");
        let ci = api.token(&[Scope::Deploy, Scope::Read], None, None).await;
        ci.deployed("shop/prod", "1").await;
        // One that an older version took matches nothing.
        let sql = api.sql().await;
        let evil = format!("registry.example.com/shop/../evil@sha256:{}", "a".repeat(64));
        let update = format!("UPDATE release SET image = '{evil}'");
        sea_orm::ConnectionTrait::execute_unprepared(&sql, &update).await.unwrap();
        let question = json!({ "service": "shop", "environment": "prod", "version": "1" });
        let said = api.post("/gate/check", question).await.ok(200);
        let checks = said["checks"].as_array().unwrap();
        let image = checks.iter().find(|check| check["rule"] == "image").unwrap();
        assert_eq!(image["code"], "image-repository", "{image}");
        assert!(image["message"].as_str().unwrap().contains("no proper name"), "{image}");
    }
);
