//! Issuers that are away, slow, or not what they should be, and whose keys change.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use serde_json::json;
use waybill::{
    config::Config,
    issuer::{Issuers, Refused},
};

use super::{Trusting, show};
use crate::{
    db_test,
    support::{
        db::TestDb,
        issuer::{AUDIENCE, CA, Issuer, Key, Mode, OTHER_CA},
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

/// By how many minutes the clock of [`stale_keys_serve_for_a_day_while_it_is_down`] has gone forward.
static MINUTES: AtomicU64 = AtomicU64::new(0);

#[tokio::test]
async fn stale_keys_serve_for_a_day_while_it_is_down() {
    let gitlab = Issuer::start("gitlab", Key::ec()).await;
    let mut config = Config::default();
    gitlab.configure(&mut config);
    let issuers =
        Issuers::by_clock(&config, || Instant::now() + Duration::from_mins(MINUTES.load(Ordering::Relaxed)));
    let verify = async || {
        let id_token = gitlab.sign(&gitlab.gitlab(&json!({})));
        issuers.verify("gitlab", &id_token, AUDIENCE, waybill::clock::now()).await.map(drop)
    };
    verify().await.unwrap();
    gitlab.be(Mode::Down);
    for (minutes, asks) in [(59, false), (61, true), (24 * 60 - 1, true)] {
        let asked = gitlab.asked();
        MINUTES.store(minutes, Ordering::Relaxed);
        verify().await.unwrap_or_else(|error| panic!("after {minutes} minutes: {error}"));
        assert_eq!(gitlab.asked() > asked, asks, "after {minutes} minutes");
    }
    MINUTES.store(24 * 60 + 1, Ordering::Relaxed);
    assert!(matches!(verify().await, Err(Refused::Unreachable { .. })));
    gitlab.be(Mode::Good);
    MINUTES.store(24 * 60 + 2, Ordering::Relaxed);
    verify().await.unwrap();
}

#[tokio::test]
async fn an_issuer_of_a_private_authority_is_known_by_its_file_alone() {
    let gitlab = Issuer::start_with_tls("gitlab", Key::ec()).await;
    let id_token = gitlab.sign(&gitlab.gitlab(&json!({})));
    let verify = async |ca: Option<&str>| {
        let mut config = Config::default();
        gitlab.configure(&mut config);
        config.auth.issuer[0].ca_file = ca.map(Into::into);
        let issuers = Issuers::new(&config);
        issuers.verify("gitlab", &id_token, AUDIENCE, waybill::clock::now()).await.map(drop)
    };
    verify(Some(CA)).await.unwrap();
    for ca in [Some(OTHER_CA), None] {
        let refused = verify(ca).await.unwrap_err().to_string();
        assert!(refused.contains("is not reached") && refused.contains("certificate"), "{refused}");
    }
    assert_eq!(gitlab.asked(), 2, "whoever does not trust it asks nothing");
}
