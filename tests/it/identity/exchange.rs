//! The exchange of an ID token for a credential, and what that is good for.

use chrono::{DateTime, TimeDelta};
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use waybill::{clock, usecase::upkeep};

use super::{Trusting, shop_prod, show};
use crate::{
    db_test,
    support::{
        api::{Api, id_of},
        issuer::{Issuer, Key},
    },
};

db_test!(
    async fn a_pipeline_deploys_with_nothing_but_its_id_token(db: TestDb) {
        let trusting = Trusting::with(&db, Key::rsa(0)).await;
        let exchanged = trusting.exchange(json!({})).await.ok(200);
        let subject = "gitlab:project_path:acme/shop:ref_type:branch:ref:main";
        assert_eq!((&exchanged["trust"], &exchanged["subject"]), (&json!("shop-prod"), &json!(subject)));
        assert_eq!(
            (&exchanged["scopes"], &exchanged["initiator"]),
            (&json!(["read", "deploy"]), &json!("gitlab:42"))
        );
        let ci = trusting.api.bearing(exchanged["token"].as_str().unwrap());
        let me = ci.get("/auth/me").await.ok(200);
        assert_eq!(
            (&me["kind"], &me["token"], &me["subject"]),
            (&json!("pipeline"), &json!("trust:shop-prod"), &json!(subject))
        );
        assert_eq!((&me["services"], &me["environments"]), (&json!(["shop"]), &json!(["prod", "staging"])));
        let mut body = json!({ "service": "shop", "environment": "prod", "version": "1" });
        body["release"] = json!({ "commit_sha": "714a629c0b401fdce83e847fc9589983fc6f46bc" });
        let started = ci.post("/deployments", body).await.ok(201);
        assert_eq!(started["deployment"]["actor"], json!({ "token": "trust:shop-prod", "subject": subject }));
        ci.finished(&id_of(&started["deployment"]), "succeeded").await;
        while upkeep::seal_events(&trusting.api.app).await.unwrap() > 0 {}
        let events = trusting.api.get("/events?kind=trust.exchanged").await.ok(200);
        assert_eq!(events["items"][0]["actor"]["subject"], subject);
        assert_eq!(
            trusting.api.get("/tokens").await.ok(200)["items"].as_array().unwrap().len(),
            1,
            "it is no token"
        );
        db.assert_sound().await;
    }
);

db_test!(
    async fn a_workflow_of_github_is_known_by_its_repositorys_id(db: TestDb) {
        let github = Issuer::start("github", Key::ec()).await;
        let api = Api::with(&db, |config| github.configure(config)).await;
        let trust = json!({ "name": "shop", "issuer": "github", "claims": { "repository_id": "74", "ref_protected": "true" },
            "scopes": ["deploy"], "environment_map": { "production": "prod" } });
        api.post("/trusts", trust).await.ok(201);
        let exchanged = show(&api, &github.sign(&github.github(&json!({})))).await.ok(200);
        assert_eq!(
            (&exchanged["initiator"], &exchanged["environments"]),
            (&json!("github:12"), &json!(["prod"]))
        );
        let fork = github.github(&json!({ "repository_id": "75", "ref_protected": "false" }));
        let problem = show(&api, &github.sign(&fork)).await.problem(403, "identity-untrusted");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("repository_id") && detail.contains("ref_protected"), "{detail}");
    }
);

db_test!(
    async fn a_credential_lives_as_long_as_its_id_token_within_bounds(db: TestDb) {
        let trusting = Trusting::new(&db).await;
        let now = clock::now().timestamp();
        for (life, expected) in [(30, 300), (1200, 1200), (86_400, 3600)] {
            let exchanged = trusting.exchange(json!({ "exp": now + life })).await.ok(200);
            let until = DateTime::parse_from_rfc3339(exchanged["expires_at"].as_str().unwrap()).unwrap();
            let off = (until.timestamp() - now - expected).abs();
            assert!(off <= 10, "{life}: {until}");
        }
    }
);

db_test!(
    async fn a_credential_that_has_expired_sees_through_what_it_started(db: TestDb) {
        let trusting = Trusting::new(&db).await;
        let sha = json!({ "sha": null });
        let (first, second) = (trusting.pipeline(sha.clone()).await, trusting.pipeline(sha).await);
        let id = first.started("shop/prod", "1").await;
        let others = second.started("shop/staging", "1").await;
        let sql = trusting.api.sql().await;
        let past = (clock::now() - TimeDelta::minutes(1))
            .to_rfc3339()
            .replace("+00:00", " +00:00")
            .replace('T', " ");
        let past = if db.is_postgres() { past } else { past.replace(" +00:00", "+00:00") };
        sql.execute_unprepared(&format!("UPDATE token SET expires_at = '{past}' WHERE kind = 'pipeline'"))
            .await
            .unwrap();
        first.post(&format!("/deployments/{id}/heartbeat"), json!({ "phase": "canary" })).await.ok(200);
        first.deployment(&id).await;
        let problem = first.get("/services").await.problem(403, "forbidden");
        assert!(problem["detail"].as_str().unwrap().contains("has expired"), "{problem}");
        first.start("shop/prod", "2").await.problem(403, "forbidden");
        first.get(&format!("/deployments/{others}")).await.problem(403, "forbidden");
        let finish = json!({ "status": "succeeded" });
        first.post(&format!("/deployments/{others}/finish"), finish.clone()).await.problem(403, "forbidden");
        first.post(&format!("/deployments/{others}/heartbeat"), json!({})).await.problem(403, "forbidden");
        first.post(&format!("/deployments/{id}/finish"), finish).await.ok(200);
        sql.execute_unprepared(&format!("UPDATE token SET lingers_until = '{past}' WHERE kind = 'pipeline'"))
            .await
            .unwrap();
        first.get(&format!("/deployments/{id}")).await.problem(401, "unauthenticated");
        upkeep::purge(&trusting.api.app).await.unwrap();
        assert_eq!(credentials(&trusting.api).await, 2, "an ID token that is still good is counted");
        sql.execute_unprepared(&format!(
            "UPDATE token SET proof_expires_at = '{past}' WHERE kind = 'pipeline'"
        ))
        .await
        .unwrap();
        upkeep::purge(&trusting.api.app).await.unwrap();
        assert_eq!(credentials(&trusting.api).await, 0);
    }
);

/// How many credentials of pipelines are kept.
async fn credentials(api: &Api) -> i64 {
    let sql = api.sql().await;
    let count = "SELECT COUNT(*) AS count FROM token WHERE kind = 'pipeline'";
    let row = sql.query_one_raw(sea_orm::Statement::from_string(sql.get_database_backend(), count));
    row.await.unwrap().unwrap().try_get("", "count").unwrap()
}

db_test!(
    async fn what_a_trust_gave_ends_with_it(db: TestDb) {
        let trusting = Trusting::new(&db).await;
        let ci = trusting.pipeline(json!({})).await;
        ci.get("/services").await.ok(200);
        trusting.api.delete("/trusts/shop-prod").await.ok(204);
        ci.get("/services").await.problem(401, "unauthenticated");
        trusting.exchange(json!({})).await.problem(403, "identity-untrusted");
        trusting.api.post("/trusts", shop_prod()).await.ok(201);
        trusting.exchange(json!({})).await.ok(200);
    }
);

db_test!(
    async fn the_database_and_the_answers_hold_no_secret(db: TestDb) {
        let trusting = Trusting::new(&db).await;
        let id_token = trusting.gitlab.sign(&trusting.gitlab.gitlab(&json!({})));
        let exchanged = show(&trusting.api, &id_token).await.ok(200);
        let secret = exchanged["token"].as_str().unwrap();
        let bad = format!("{}x", &id_token[..id_token.len() - 1]);
        let refused = show(&trusting.api, &bad).await;
        assert!(!refused.text.contains(&id_token[id_token.len() - 40..]), "{}", refused.text);
        let explained = trusting.api.post("/trusts/check", json!({ "id_token": id_token })).await;
        explained.ok(200);
        assert!(!explained.text.contains(&id_token), "{}", explained.text);
        let sql = trusting.api.sql().await;
        let rows = sql.query_all_raw(sea_orm::Statement::from_string(
            sql.get_database_backend(),
            "SELECT data AS text FROM event",
        ));
        for row in rows.await.unwrap() {
            let text: String = row.try_get("", "text").unwrap();
            assert!(!text.contains(secret) && !text.contains(&id_token), "{text}");
        }
    }
);

#[tokio::test]
async fn without_an_issuer_nobody_is_asked_and_everything_is_as_before() {
    let db = crate::support::db::TestDb::sqlite().await;
    let stranger = Issuer::start("gitlab", Key::ec()).await;
    let api = Api::new(&db).await;
    let problem =
        show(&api, &stranger.sign(&stranger.gitlab(&json!({})))).await.problem(401, "identity-invalid");
    assert!(problem["detail"].as_str().unwrap().contains("has none"), "{problem}");
    assert_eq!(stranger.asked(), 0);
    let trust = api.post("/trusts", shop_prod()).await.faults();
    assert_eq!(trust, [("/issuer".to_owned(), "unknown-issuer".to_owned())]);
    let nothing: Value = api.get("/trusts").await.ok(200);
    assert_eq!(nothing["items"], json!([]));
}
