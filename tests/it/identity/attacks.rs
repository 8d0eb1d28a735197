//! What somebody may try to be let in as another: each is a test of its own.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use serde_json::{Value, json};
use waybill::{clock, domain::vocabulary::Scope};

use super::{Trusting, shop_prod, show};
use crate::{
    db_test,
    support::{
        api::{Api, start_body},
        db::TestDb,
        issuer::{Issuer, Key, Mode, compact},
    },
};

/// Fails unless the ID token is refused for this claim.
async fn refused(trusting: &Trusting, id_token: &str, claim: &str) {
    let answer = show(&trusting.api, id_token).await;
    let problem = answer.problem(401, "identity-invalid");
    assert!(
        problem["detail"].as_str().unwrap().contains(&format!("ID token's {claim} must be")),
        "{problem}"
    );
    assert!(answer.header("www-authenticate").is_some());
}

async fn on_sqlite() -> (TestDb, Trusting) {
    let db = TestDb::sqlite().await;
    let trusting = Trusting::new(&db).await;
    (db, trusting)
}

#[tokio::test]
async fn alg_none() {
    let (_db, trusting) = on_sqlite().await;
    let claims = trusting.gitlab.gitlab(&json!({}));
    for alg in ["none", "None", ""] {
        let header = json!({ "alg": alg, "kid": "first" });
        refused(&trusting, &compact(&header, &claims, |_| b"x".to_vec()), "header's alg").await;
    }
    let unsigned = compact(&trusting.gitlab.header(), &claims, |_| b"x".to_vec());
    refused(&trusting, &unsigned, "signature").await;
}

#[tokio::test]
async fn hs256_with_the_public_key() {
    let (_db, trusting) = on_sqlite().await;
    let public = trusting.gitlab.key().published("first").to_string();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, public.as_bytes());
    let sign = |message: &str| ring::hmac::sign(&key, message.as_bytes()).as_ref().to_vec();
    let claims = trusting.gitlab.gitlab(&json!({}));
    let token = compact(&json!({ "alg": "HS256", "kid": "first" }), &claims, sign);
    refused(&trusting, &token, "header's alg").await;
}

#[tokio::test]
async fn rs256_key_as_ec() {
    let db = TestDb::sqlite().await;
    let trusting = Trusting::with(&db, Key::rsa(0)).await;
    trusting.exchange(json!({})).await.ok(200);
    let (claims, key) = (trusting.gitlab.gitlab(&json!({})), trusting.gitlab.key());
    let header = json!({ "alg": "ES256", "kid": "first" });
    refused(&trusting, &compact(&header, &claims, |message| key.signature(message)), "header's kid").await;
    // Nor with a key that the token brings along, or says where to find.
    let other = Key::rsa(1);
    let header = json!({ "alg": "RS256", "kid": "first", "jwk": other.published("first"),
        "jku": "https://evil.example.com/keys", "x5u": "https://evil.example.com/cert" });
    refused(&trusting, &compact(&header, &claims, |message| other.signature(message)), "signature").await;
}

#[tokio::test]
async fn wrong_aud_as_text_and_in_a_list() {
    let (_db, trusting) = on_sqlite().await;
    for aud in [
        json!("https://other.example.com"),
        json!(["https://other.example.com", "sts"]),
        json!([]),
        json!(null),
    ] {
        let claims = trusting.gitlab.gitlab(&json!({ "aud": aud }));
        refused(&trusting, &trusting.gitlab.sign(&claims), "aud").await;
    }
    let list = json!({ "aud": ["https://other.example.com", "https://waybill.example.com"] });
    trusting.exchange(list).await.ok(200);
}

#[tokio::test]
async fn iss_with_a_trailing_slash_or_another_hosts_document() {
    let (_db, trusting) = on_sqlite().await;
    let with_slash = json!({ "iss": format!("{}/", trusting.gitlab.url) });
    refused(&trusting, &trusting.gitlab.sign(&trusting.gitlab.gitlab(&with_slash)), "iss").await;
    trusting.gitlab.be(Mode::Foreign);
    let problem = trusting.exchange(json!({})).await.problem(503, "issuer-unreachable");
    assert!(problem["detail"].as_str().unwrap().contains("evil.example.com"), "{problem}");
}

#[tokio::test]
async fn kid_as_a_path() {
    let (_db, trusting) = on_sqlite().await;
    trusting.exchange(json!({})).await.ok(200);
    let (claims, key) = (trusting.gitlab.gitlab(&json!({})), trusting.gitlab.key());
    let asked = trusting.gitlab.asked();
    for kid in ["../../etc/passwd", "https://evil.example.com/keys", "first\u{0}", "' OR 1=1 --"] {
        let header = json!({ "alg": "ES256", "kid": kid });
        refused(&trusting, &compact(&header, &claims, |message| key.signature(message)), "header's kid")
            .await;
    }
    assert_eq!(trusting.gitlab.asked(), asked + 2, "the issuer was asked once more for all of them");
}

#[tokio::test]
async fn expired_and_from_the_future() {
    let (_db, trusting) = on_sqlite().await;
    let now = clock::now().timestamp();
    for (claim, change) in [
        ("exp", json!({ "exp": now - 61 })),
        ("nbf", json!({ "nbf": now + 120 })),
        ("iat", json!({ "iat": now + 120, "exp": now + 3600 })),
    ] {
        let claims = trusting.gitlab.gitlab(&change);
        refused(&trusting, &trusting.gitlab.sign(&claims), claim).await;
    }
}

#[tokio::test]
async fn what_was_signed_is_changed() {
    let (_db, trusting) = on_sqlite().await;
    let token = trusting.gitlab.sign(&trusting.gitlab.gitlab(&json!({ "project_id": "1" })));
    let parts: Vec<_> = token.split('.').collect();
    let claims = trusting.gitlab.gitlab(&json!({}));
    let forged = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()), parts[2]);
    refused(&trusting, &forged, "signature").await;
}

db_test!(
    async fn a_replayed_jti_past_its_limit(db: TestDb) {
        let trusting = Trusting::new(&db).await;
        let token = trusting.gitlab.sign(&trusting.gitlab.gitlab(&json!({})));
        let first = futures_util::future::join_all((0..4).map(|_| show(&trusting.api, &token))).await;
        let mut times = first.iter().filter(|answer| answer.status == 200).count();
        while times < 20 {
            show(&trusting.api, &token).await.ok(200);
            times += 1;
        }
        refused(&trusting, &token, "jti").await;
        // Another signature over the same `jti` is the same ID token.
        let again = trusting.gitlab.sign(&trusting.gitlab.gitlab(&json!({ "jti": "same" })));
        show(&trusting.api, &again).await.ok(200);
    }
);

db_test!(
    async fn a_forks_project_with_the_same_path(db: TestDb) {
        let trusting = Trusting::new(&db).await;
        let problem =
            trusting.exchange(json!({ "project_id": "9999" })).await.problem(403, "identity-untrusted");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("shop-prod") && detail.contains("project_id must be 4711"), "{detail}");
        // Nobody can trust a path alone.
        let path = json!({ "name": "by-path", "issuer": "gitlab", "claims": { "project_path": "acme/shop" }, "scopes": ["read"] });
        assert_eq!(
            trusting.api.post("/trusts", path).await.faults(),
            [("/claims".into(), "not-immutable".into())]
        );
    }
);

db_test!(
    async fn a_branch_named_like_a_protected_tag(db: TestDb) {
        let trusting = Trusting::new(&db).await;
        let tags = json!({ "name": "tags", "issuer": "gitlab", "scopes": ["read", "deploy", "attest"], "claims":
            { "project_id": "4711", "ref_protected": "true", "ref_type": "tag", "ref": "v*" } });
        trusting.api.post("/trusts", tags).await.ok(201);
        let tag = json!({ "ref": "v1.0", "ref_type": "tag", "ref_path": "refs/tags/v1.0" });
        assert_eq!(trusting.exchange(tag).await.ok(200)["trust"], "tags");
        let branch = json!({ "ref": "v1.0", "ref_type": "branch", "ref_path": "refs/heads/v1.0", "ref_protected": "false" });
        trusting.exchange(branch).await.problem(403, "identity-untrusted");
    }
);

db_test!(
    async fn an_environment_claim_of_another_environment(db: TestDb) {
        let trusting = Trusting::new(&db).await;
        let mapped = json!({ "name": "mapped", "issuer": "gitlab", "scopes": ["read", "deploy"], "services": ["shop"],
            "claims": { "project_id": "5", "namespace_id": "72" }, "environment_map": { "production": "prod", "staging": "staging" } });
        trusting.api.post("/trusts", mapped).await.ok(201);
        let staging = json!({ "project_id": "5", "environment": "staging", "sha": null });
        let staging = trusting.pipeline(staging).await;
        staging.start("shop/staging", "1").await.ok(201);
        staging.post("/deployments", start_body("shop/prod", "1")).await.problem(403, "forbidden");
        for environment in [json!(null), json!("review/1"), json!("prod")] {
            let answer = trusting.exchange(json!({ "project_id": "5", "environment": environment })).await;
            answer.problem(403, "identity-untrusted");
        }
    }
);

db_test!(
    async fn a_credential_of_one_trust_finishing_where_it_may_not_deploy(db: TestDb) {
        let trusting = Trusting::new(&db).await;
        let other = json!({ "name": "pay", "issuer": "gitlab", "claims": { "project_id": "5" }, "scopes": ["read", "deploy"],
            "services": ["pay"] });
        trusting.api.post("/trusts", other).await.ok(201);
        let shop = trusting.pipeline(json!({ "sha": null })).await;
        let id = shop.started("shop/prod", "1").await;
        let pay = trusting.pipeline(json!({ "project_id": "5" })).await;
        let finish = format!("/deployments/{id}/finish");
        pay.post(&finish, json!({ "status": "succeeded" })).await.problem(404, "not-found");
        pay.post(&format!("/deployments/{id}/heartbeat"), json!({})).await.problem(404, "not-found");
        // A later job of the same project exchanges its own ID token.
        let later = trusting.pipeline(json!({ "job_id": "303" })).await;
        later.post(&finish, json!({ "status": "succeeded" })).await.ok(200);
    }
);

db_test!(
    async fn the_sub_of_one_issuer_posing_as_anothers(db: TestDb) {
        let (gitlab, jenkins) =
            (Issuer::start("gitlab", Key::ec()).await, Issuer::start("jenkins", Key::ec()).await);
        let api = Api::with(&db, |config| {
            gitlab.configure(config);
            jenkins.configure(config);
        });
        let api = api.await;
        api.post("/trusts", shop_prod()).await.ok(201);
        let sub = "project_path:acme/shop:ref_type:branch:ref:main";
        let trust =
            json!({ "name": "jenkins", "issuer": "jenkins", "claims": { "sub": sub }, "scopes": ["read"] });
        api.post("/trusts", trust).await.ok(201);
        // With the other's key, and in its own name with the other's subject.
        let claims = gitlab.gitlab(&json!({}));
        let problem = show(&api, &jenkins.sign(&claims)).await.problem(401, "identity-invalid");
        assert!(problem["detail"].as_str().unwrap().contains("signature"), "{problem}");
        let exchanged = show(&api, &jenkins.sign(&jenkins.gitlab(&json!({})))).await.ok(200);
        assert_eq!(exchanged["subject"], format!("jenkins:{sub}"));
        assert_eq!(show(&api, &gitlab.sign(&claims)).await.ok(200)["subject"], format!("gitlab:{sub}"));
    }
);

db_test!(
    async fn a_token_subject_that_looks_like_a_persons(db: TestDb) {
        let trusting = Trusting::new(&db).await;
        for subject in ["gitlab:42", "GitLab:42", "gitlab\u{200b}:42", "ｇｉｔｌａｂ:42"] {
            let body = json!({ "name": "posing", "subject": subject, "scopes": ["approve"] });
            assert_eq!(trusting.api.post("/tokens", body).await.faults()[0].0, "/subject", "{subject}");
        }
        let body = json!({ "name": "jenkins", "subject": "jenkins:42", "scopes": ["approve"] });
        trusting.api.post("/tokens", body).await.ok(201);
    }
);

db_test!(
    async fn a_pipeline_that_says_somebody_else_started_it(db: TestDb) {
        let trusting = Trusting::new(&db).await;
        let pipeline = trusting.pipeline(json!({})).await;
        let mut body = start_body("shop/prod", "1");
        body["initiated_by"] = json!("somebody-else");
        body["release"] = json!({ "initiated_by": "somebody-else", "commit_sha": "714a629c0b401fdce83e847fc9589983fc6f46bc" });
        let started = pipeline.post("/deployments", body).await.ok(201);
        assert_eq!(started["deployment"]["initiated_by"], "gitlab:42");
        let release = trusting.api.get("/services/shop/releases/1").await.ok(200);
        assert_eq!(release["initiated_by"], "gitlab:42");
        let nobody = trusting.pipeline(json!({ "user_id": null })).await;
        let mut body = start_body("shop/staging", "1");
        body["initiated_by"] = json!("somebody-else");
        body["release"] = Value::Null;
        body.as_object_mut().unwrap().remove("release");
        let started = nobody.post("/deployments", body).await.ok(201);
        assert_eq!(started["deployment"]["initiated_by"], Value::Null);
    }
);

db_test!(
    async fn a_pipeline_that_registers_another_commit(db: TestDb) {
        let trusting = Trusting::new(&db).await;
        let pipeline = trusting.pipeline(json!({})).await;
        let problem = pipeline.start("shop/prod", "1").await.problem(403, "identity-untrusted");
        assert!(problem["detail"].as_str().unwrap().contains("714a629c"), "{problem}");
        let short = json!({ "version": "1", "commit_sha": "714a629" });
        pipeline.post("/services/shop/releases", short).await.problem(403, "identity-untrusted");
        let whole = json!({ "version": "1", "commit_sha": "714a629c0b401fdce83e847fc9589983fc6f46bc" });
        pipeline.post("/services/shop/releases", whole).await.ok(201);
        // An older one is deployed all the same.
        let older = json!({ "version": "0", "commit_sha": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" });
        trusting.api.post("/services/shop/releases", older).await.ok(201);
        let body = json!({ "service": "shop", "environment": "prod", "version": "0" });
        pipeline.post("/deployments", body).await.ok(201);
    }
);

db_test!(
    async fn a_credential_that_makes_more_of_itself(db: TestDb) {
        let trusting = Trusting::new(&db).await;
        let admin = json!({ "name": "admin", "issuer": "gitlab", "claims": { "project_id": "5" }, "scopes": ["admin"] });
        trusting.api.post("/trusts", admin).await.ok(201);
        let pipeline = trusting.pipeline(json!({ "project_id": "5" })).await;
        pipeline.post("/trusts", shop_prod()).await.problem(403, "forbidden");
        let token = json!({ "name": "for-ever", "scopes": ["read"] });
        pipeline.post("/tokens", token).await.problem(403, "forbidden");
        let until = clock::now() + TimeDelta::minutes(2);
        let token = json!({ "name": "short", "scopes": ["read"], "expires_at": until.to_rfc3339() });
        pipeline.post("/tokens", token).await.ok(201);
    }
);

db_test!(
    async fn a_narrowed_admin_who_trusts_beyond_their_rights(db: TestDb) {
        let trusting = Trusting::new(&db).await;
        let narrow = trusting.api.token(&[Scope::Admin], Some(&["pay"]), None).await;
        narrow.post("/trusts", shop_prod()).await.problem(403, "forbidden");
        narrow.get("/trusts/shop-prod").await.problem(404, "not-found");
        narrow.delete("/trusts/shop-prod").await.problem(404, "not-found");
        narrow.patch("/trusts/shop-prod", json!({ "scopes": ["read"] })).await.problem(404, "not-found");
        assert_eq!(narrow.get("/trusts").await.ok(200)["items"], json!([]));
        let own = json!({ "name": "pay", "issuer": "gitlab", "claims": { "project_id": "5" }, "scopes": ["read"], "services": ["pay"] });
        narrow.post("/trusts", own).await.ok(201);
        narrow.patch("/trusts/pay", json!({ "services": null })).await.problem(403, "forbidden");
    }
);
