//! Issuers that are away, slow, or not what they should be, and whose keys change.

use std::time::Instant;

use serde_json::json;

use super::{Trusting, show};
use crate::{
    db_test,
    support::{
        db::TestDb,
        issuer::{Key, Mode},
    },
};

/// Fails unless the exchange is refused because the issuer cannot be asked, within a while.
async fn unreachable(mode: Mode, seconds: u64, why: &str) {
    let db = TestDb::sqlite().await;
    let trusting = Trusting::new(&db).await;
    trusting.gitlab.be(mode);
    let start = Instant::now();
    let answer = trusting.exchange(json!({})).await;
    let problem = answer.problem(503, "issuer-unreachable");
    assert!(start.elapsed().as_secs() <= seconds, "{:?}", start.elapsed());
    assert!(problem["detail"].as_str().unwrap().contains(why), "{problem}");
    assert!(answer.header("retry-after").is_some());
    trusting.api.get("/services").await.ok(200);
    let asked = trusting.gitlab.asked();
    trusting.exchange(json!({})).await.problem(503, "issuer-unreachable");
    assert_eq!(trusting.gitlab.asked(), asked, "it is left alone for a moment");
}

#[tokio::test]
async fn down() {
    unreachable(Mode::Down, 5, "is not reached").await;
}

#[tokio::test]
async fn slow() {
    unreachable(Mode::Slow, 8, "did not answer within 5 s").await;
}

#[tokio::test]
async fn redirecting() {
    unreachable(Mode::Redirecting, 5, "redirects elsewhere").await;
}

#[tokio::test]
async fn a_gibibyte_of_keys() {
    unreachable(Mode::Endless, 5, "more than 1048576 bytes").await;
}

#[tokio::test]
async fn wrong_content_type() {
    unreachable(Mode::Page, 5, "and not JSON").await;
}

db_test!(
    async fn keys_that_are_known_serve_while_it_is_down(db: TestDb) {
        let trusting = Trusting::new(&db).await;
        trusting.exchange(json!({})).await.ok(200);
        let asked = trusting.gitlab.asked();
        trusting.gitlab.be(Mode::Down);
        trusting.exchange(json!({})).await.ok(200);
        assert_eq!(trusting.gitlab.asked(), asked, "its keys are kept");
    }
);

db_test!(
    async fn keys_are_rotated_in_the_middle_of_a_deployment(db: TestDb) {
        let trusting = Trusting::with(&db, Key::rsa(0)).await;
        let before = trusting.gitlab.sign(&trusting.gitlab.gitlab(&json!({})));
        let ci = trusting.pipeline(json!({ "sha": null })).await;
        let id = ci.started("shop/prod", "1").await;
        trusting.gitlab.rotate(Key::rsa(1), "second");
        ci.post(&format!("/deployments/{id}/heartbeat"), json!({})).await.ok(200);
        let later = trusting.pipeline(json!({ "sha": null })).await;
        later.finished(&id, "succeeded").await;
        // Withdrawn, the old key vouches for nobody any more.
        let problem = show(&trusting.api, &before).await.problem(401, "identity-invalid");
        assert!(problem["detail"].as_str().unwrap().contains("kid"), "{problem}");
    }
);

#[tokio::test]
async fn many_at_once_ask_it_once() {
    let db = TestDb::sqlite().await;
    let trusting = Trusting::new(&db).await;
    let shown: Vec<_> = (0..20).map(|_| trusting.exchange(json!({}))).collect();
    for answer in futures_util::future::join_all(shown).await {
        answer.ok(200);
    }
    assert_eq!(trusting.gitlab.asked(), 2, "once what it says of itself, and once its keys");
}
