//! Trusts: making, reading, editing and deleting them, what they make of an ID token, and who may do what at all.

use futures_util::future::join_all;
use poem::http::Method;
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use waybill::{domain::vocabulary::Scope, usecase::upkeep};

use super::{Trusting, shop_prod};
use crate::db_test;

db_test!(
    async fn a_trust_is_read_edited_and_deleted(db: TestDb) {
        let Trusting { api, .. } = Trusting::new(&db).await;
        api.post("/trusts", shop_prod()).await.problem(409, "conflict");
        let read = api.get("/trusts/shop-prod").await;
        assert_eq!((read.header("etag"), &read.ok(200)["claims"]), (Some("\"1\""), &shop_prod()["claims"]));
        let edit = json!({ "scopes": ["read"], "environments": null });
        let edited = api.send_json(Method::PATCH, "/trusts/shop-prod", &[("if-match", "\"1\"")], &edit).await;
        let trust = edited.ok(200);
        assert_eq!((&trust["scopes"], &trust["environments"]), (&json!(["read"]), &Value::Null));
        assert_eq!(edited.header("etag"), Some("\"2\""));
        api.send_json(Method::PATCH, "/trusts/shop-prod", &[("if-match", "\"1\"")], &edit)
            .await
            .problem(412, "stale");
        api.patch("/trusts/shop-prod", json!({ "claims": { "ref": "main" } })).await.faults();
        api.send_json(Method::DELETE, "/trusts/shop-prod", &[("if-match", "\"1\"")], &json!({}))
            .await
            .problem(412, "stale");
        assert_eq!(api.get("/trusts").await.ok(200)["items"].as_array().unwrap().len(), 1);
        api.delete("/trusts/shop-prod").await.ok(204);
        api.get("/trusts/shop-prod").await.problem(404, "not-found");
        while upkeep::seal_events(&api.app).await.unwrap() > 0 {}
        let kinds = ["trust.created", "trust.updated", "trust.deleted"];
        for kind in kinds {
            let events = api.get(&format!("/events?kind={kind}")).await.ok(200);
            assert_eq!(events["items"].as_array().unwrap().len(), 1, "{kind}");
        }
        let reader = api.token(&[Scope::Read], None, None).await.get("/events").await;
        assert!(!reader.text.contains("trust."), "{}", reader.text);
    }
);

db_test!(
    async fn only_an_admin_has_to_do_with_trusts(db: TestDb) {
        let trusting = Trusting::new(&db).await;
        let scopes =
            [Scope::Read, Scope::Deploy, Scope::Override, Scope::Policy, Scope::Freeze, Scope::Audit];
        let other = trusting.api.token(&scopes, None, None).await;
        other.post("/trusts", shop_prod()).await.problem(403, "forbidden");
        other.get("/trusts").await.problem(403, "forbidden");
        other.get("/trusts/shop-prod").await.problem(403, "forbidden");
        other.patch("/trusts/shop-prod", json!({})).await.problem(403, "forbidden");
        other.delete("/trusts/shop-prod").await.problem(403, "forbidden");
        let id_token = trusting.gitlab.sign(&trusting.gitlab.gitlab(&json!({})));
        other.post("/trusts/check", json!({ "id_token": id_token })).await.problem(403, "forbidden");
    }
);

db_test!(
    async fn a_check_explains_claim_by_claim(db: TestDb) {
        let trusting = Trusting::new(&db).await;
        let check = async |change: Value| {
            let id_token = trusting.gitlab.sign(&trusting.gitlab.gitlab(&change));
            trusting.api.post("/trusts/check", json!({ "id_token": id_token })).await.ok(200)
        };
        let good = check(json!({})).await;
        assert_eq!((&good["trust"], &good["reason"]), (&json!("shop-prod"), &Value::Null));
        let bad = check(json!({ "ref_protected": "false" })).await;
        assert_eq!(bad["trust"], Value::Null);
        assert!(bad["reason"].as_str().unwrap().contains("ref_protected must be true"), "{bad}");
        let claims = bad["trusts"][0]["claims"].as_array().unwrap();
        let amiss: Vec<_> = claims.iter().filter(|claim| claim["matches"] == false).collect();
        assert_eq!(
            amiss,
            [&json!({ "claim": "ref_protected", "wanted": "true", "given": "\"false\"", "matches": false })]
        );
    }
);

db_test!(
    async fn two_trusts_that_are_equally_exact_are_both_named(db: TestDb) {
        let trusting = Trusting::new(&db).await;
        let mut twin = shop_prod();
        twin["name"] = json!("twin");
        twin["claims"] = json!({ "project_id": "4711", "ref": "main" });
        trusting.api.post("/trusts", twin).await.ok(201);
        let problem = trusting.exchange(json!({})).await.problem(409, "identity-ambiguous");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("shop-prod") && detail.contains("twin"), "{detail}");
        trusting.exchange(json!({ "ref": "other" })).await.ok(200);
    }
);

db_test!(
    async fn whoever_audits_sees_who_may_do_what(db: TestDb) {
        let trusting = Trusting::new(&db).await;
        let auditor = trusting.api.token(&[Scope::Audit], None, None).await;
        let mut all = Vec::new();
        let mut path = "/access?limit=1".to_owned();
        loop {
            let page = auditor.get(&path).await.ok(200);
            all.extend(
                page["items"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|item| item["kind"].as_str().unwrap().to_owned()),
            );
            let Some(next) = page["next_cursor"].as_str() else { break };
            path = format!("/access?limit=1&cursor={next}");
        }
        all.sort();
        assert_eq!(all, ["token", "token", "trust"]);
        trusting.api.token(&[Scope::Read], None, None).await.get("/access").await.problem(403, "forbidden");
        let narrow = trusting.api.token(&[Scope::Audit], Some(&["pay"]), None).await;
        let seen = narrow.get("/access").await.ok(200);
        assert_eq!(seen["items"].as_array().unwrap().len(), 1, "{seen}");
    }
);

db_test!(
    async fn there_are_only_so_many_trusts_of_an_issuer_however_they_are_made(db: TestDb) {
        let Trusting { api, .. } = Trusting::new(&db).await;
        let id = if db.is_postgres() { "gen_random_uuid()" } else { "randomblob(16)" };
        let fill = format!(
            "INSERT INTO trust (id, name, issuer, claims, environment_map, scopes, groups, services, environments, \
             revision, actor_token, actor_subject, created_at, updated_at) \
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 998) \
             SELECT {id}, 'trust-' || i, issuer, claims, environment_map, scopes, groups, services, environments, \
             revision, actor_token, actor_subject, created_at, updated_at FROM trust, n"
        );
        api.sql().await.execute_unprepared(&fill).await.unwrap();
        let named = |name: &str| {
            let mut trust = shop_prod();
            trust["name"] = json!(name);
            trust
        };
        let made = (0..4).map(|number| {
            let (api, trust) = (api.clone(), named(&format!("last-{number}")));
            async move { api.post("/trusts", trust).await.status }
        });
        let mut statuses = join_all(made).await;
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409, 409, 409]);
        api.patch("/trusts/trust-1", json!({ "scopes": ["read"] })).await.ok(200);
        api.delete("/trusts/trust-1").await.ok(204);
        api.post("/trusts", named("one-more")).await.ok(201);
    }
);
