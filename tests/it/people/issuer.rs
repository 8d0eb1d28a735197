//! Signing in at an issuer: a real OpenID provider, and what attackers, clocks and outages make of it.

use chrono::TimeDelta;
use poem::http::Method;
use serde_json::json;
use waybill::{
    config::{Config, issuer::IssuerConfig, people::RoleConfig},
    domain::{
        sign_in::{
            back::Back,
            flow::{Flow, Flows},
        },
        vocabulary::Scope,
    },
};

use super::visitor::{FLOW, SESSION, SITE, Visitor, location};
use crate::{
    db_test,
    support::{
        api::Api,
        db::TestDb,
        provider::{CLIENT_SECRET, Provider},
    },
};

fn role(group: &str, scopes: &[Scope]) -> RoleConfig {
    RoleConfig { group: group.to_owned(), scopes: scopes.to_vec(), ..RoleConfig::default() }
}

/// Sets up signing in at an issuer.
fn set_up(config: &mut Config, issuer_url: &str) {
    config.server.public_url = Some(SITE.parse().unwrap());
    let (name, url) = ("idp".to_owned(), issuer_url.to_owned());
    config.auth.issuer = vec![IssuerConfig { name, url, ..IssuerConfig::default() }];
    config.auth.oidc.issuer = Some("idp".to_owned());
    config.auth.oidc.client_id = Some("waybill".to_owned());
    config.auth.oidc.client_secret = Some(CLIENT_SECRET.to_owned().into());
    config.auth.oidc.scopes = ["openid", "profile", "groups"].map(ToOwned::to_owned).to_vec();
    config.auth.role = vec![
        role("staff", &[Scope::Read]),
        RoleConfig { services: vec!["shop".to_owned()], ..role("staff", &[Scope::Deploy]) },
        role("release-managers", &[Scope::Read, Scope::Approve]),
    ];
}

async fn server(db: &TestDb, provider: &Provider) -> Api {
    Api::with(db, |config| set_up(config, &provider.url)).await
}

/// Signs in at the issuer, up to where it leads back.
async fn led_back(visitor: &mut Visitor, provider: &Provider, name: &str) -> String {
    let start = visitor.page("/login/start").await;
    let back = provider.sign_in(location(&start), name).await;
    back.strip_prefix(SITE).unwrap_or_else(|| panic!("{back}")).to_owned()
}

async fn signed_in(api: &Api, provider: &Provider, name: &str) -> Visitor {
    let mut visitor = Visitor::of(api);
    let back = led_back(&mut visitor, provider, name).await;
    assert_eq!(location(&visitor.page(&back).await), "/account");
    visitor
}

db_test!(
    async fn people_sign_in_and_have_the_roles_of_their_groups(db: TestDb) {
        let provider = Provider::start(SITE, 0);
        let api = server(&db, &provider).await;
        let mut ada = Visitor::of(&api);
        let page = ada.page("/login?to=/login/device").await;
        assert!(
            page.text.contains("Sign in with idp") && page.text.contains("/login/start?to=%2Flogin%2Fdevice"),
            "{}",
            page.text
        );
        let start = ada.page("/login/start?to=/login/device").await;
        let there = location(&start).to_owned();
        for part in [
            "code_challenge_method=S256",
            "response_type=code",
            "scope=openid+profile+groups",
            "nonce=",
            "state=",
        ] {
            assert!(there.contains(part), "{there}");
        }
        let cookie = start.header("set-cookie").unwrap();
        assert!(cookie.starts_with("__Host-waybill-flow=") && cookie.contains("Max-Age=600"), "{cookie}");
        assert!(cookie.contains("HttpOnly; SameSite=Lax; Secure"), "{cookie}");
        let back = provider.sign_in(&there, "ada").await;
        let answer = ada.page(back.strip_prefix(SITE).unwrap()).await;
        assert_eq!(location(&answer), "/login/device");
        assert_eq!(ada.cookies.keys().collect::<Vec<_>>(), [SESSION], "what belonged to the way is gone");
        let account = ada.page("/account").await;
        for part in ["Ada Lovelace", "idp:42", "release-managers", "group staff", "shop"] {
            assert!(account.text.contains(part), "{part}: {}", account.text);
        }
        api.post("/services", json!({ "name": "shop" })).await.ok(201);
        api.post("/services", json!({ "name": "pay" })).await.ok(201);
        let seen = ada.send(Method::GET, "/services", &[], None).await.ok(200);
        assert_eq!(seen["items"].as_array().unwrap().len(), 2, "reading reaches further than deploying");
        let start = |service: &str| crate::support::api::start_body(&format!("{service}/dev"), "1");
        ada.fetch(Method::POST, "/deployments", Some(&start("shop"))).await.ok(201);
        ada.fetch(Method::POST, "/deployments", Some(&start("pay"))).await.problem(403, "forbidden");
        let said = json!({ "environment": "dev", "decision": "approved" });
        let said = ada.fetch(Method::POST, "/services/shop/releases/1/approvals", Some(&said)).await.ok(201);
        assert_eq!(said["actor"], json!({ "token": "session", "subject": "idp:42" }));

        let mut bob = signed_in(&api, &provider, "bob").await;
        let people = bob.send(Method::GET, "/people", &[], None).await.ok(200);
        let people = people["items"].as_array().unwrap().clone();
        let named: Vec<_> = people.iter().map(|person| (&person["subject"], &person["name"])).collect();
        assert_eq!(named, [(&json!("idp:42"), &json!("Ada Lovelace")), (&json!("idp:43"), &json!("Bob"))]);
        bob.send(Method::GET, "/services", &[], None).await.ok(200);
        let said = json!({ "environment": "dev", "decision": "approved" });
        bob.fetch(Method::POST, "/services/shop/releases/1/approvals", Some(&said))
            .await
            .problem(403, "forbidden");
    }
);

db_test!(
    async fn a_person_without_a_role_sees_who_they_are_and_whom_to_ask(db: TestDb) {
        let provider = Provider::start(SITE, 0);
        let api = server(&db, &provider).await;
        let mut eve = signed_in(&api, &provider, "eve").await;
        let page = eve.page("/account").await;
        assert!(page.text.contains("Ask whoever administers Waybill"), "{}", page.text);
        assert!(
            page.text.contains("idp:44") && page.text.contains("auth.oidc.groups_claim"),
            "{}",
            page.text
        );
        eve.send(Method::GET, "/services", &[], None).await.problem(403, "forbidden");
    }
);

db_test!(
    async fn a_role_that_is_removed_while_somebody_is_signed_in_counts_at_once(db: TestDb) {
        let provider = Provider::start(SITE, 0);
        let api = server(&db, &provider).await;
        let mut bob = signed_in(&api, &provider, "bob").await;
        bob.send(Method::GET, "/services", &[], None).await.ok(200);
        let without = Api::without_token(&db, |config| {
            set_up(config, &provider.url);
            config.auth.role.retain(|role| role.group != "staff");
        });
        bob.at(&without.await).send(Method::GET, "/services", &[], None).await.problem(403, "forbidden");
        let elsewhere = Api::without_token(&db, |config| {
            set_up(config, &provider.url);
            config.auth.oidc.issuer = None;
        });
        bob.at(&elsewhere.await).send(Method::GET, "/services", &[], None).await.problem(403, "forbidden");
    }
);

db_test!(
    async fn a_sign_in_is_finished_by_any_replica_and_ended_on_all(db: TestDb) {
        let provider = Provider::start(SITE, 0);
        let one = server(&db, &provider).await;
        let other = Api::without_token(&db, |config| set_up(config, &provider.url)).await;
        let mut ada = Visitor::of(&one);
        let back = led_back(&mut ada, &provider, "ada").await;
        let mut there = ada.at(&other);
        assert_eq!(location(&there.page(&back).await), "/account");
        let mut here = there.at(&one);
        here.send(Method::GET, "/services", &[], None).await.ok(200);
        let own = there.send(Method::GET, "/sessions", &[], None).await.ok(200);
        let path = format!("/sessions/{}", own["items"][0]["id"].as_str().unwrap());
        there.fetch(Method::DELETE, &path, None).await.ok(204);
        here.send(Method::GET, "/services", &[], None).await.problem(401, "unauthenticated");
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_back_goes_with_what_this_browser_set_out_with() {
    let (db, provider) = (TestDb::sqlite().await, Provider::start(SITE, 0));
    let api = server(&db, &provider).await;
    let refused = |answer: &crate::support::api::Answer, status, part: &str| {
        assert_eq!((answer.status, answer.text.contains(part)), (status, true), "{part}: {}", answer.text);
        let set = answer.headers.get_all("set-cookie").iter();
        assert!(!set.into_iter().any(|set| set.to_str().unwrap().starts_with("__Host-waybill=")));
    };
    let mut ada = Visitor::of(&api);
    let back = led_back(&mut ada, &provider, "ada").await;

    // A wrong state, none, and the right one in another browser.
    let wrong = back.replace("state=", "state=x");
    refused(&ada.clone().page(&wrong).await, 400, "cannot be completed");
    refused(&ada.clone().page("/login/callback?code=x").await, 400, "cannot be completed");
    refused(&Visitor::of(&api).page(&back).await, 400, "cannot be completed");

    // Another issuer's answer.
    let (before, _) = back.split_once("iss=").unwrap();
    let mixed = format!("{before}iss=https%3A%2F%2Fevil.test");
    refused(&ada.clone().page(&mixed).await, 401, "iss beside the code");

    // A code of another sign-in: its verifier and its nonce are others.
    let mut second = Visitor::of(&api);
    let other = led_back(&mut second, &provider, "bob").await;
    let query = |back: &str, name: &str| {
        let query = back.split_once('?').unwrap().1;
        url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).unwrap().1.into_owned()
    };
    let injected = back.replace(&query(&back, "code"), &query(&other, "code"));
    refused(&ada.clone().page(&injected).await, 401, "did not take the code");

    // The real one works once, and neither its state nor its code again.
    let kept = ada.clone();
    assert_eq!(location(&ada.page(&back).await), "/account");
    refused(&ada.page(&back).await, 400, "cannot be completed");
    refused(&kept.clone().page(&back).await, 401, "did not take the code");

    // The issuer says no.
    let mut nobody = Visitor::of(&api);
    let denied = led_back(&mut nobody, &provider, "nobody").await;
    refused(&nobody.page(&denied).await, 401, "access_denied: nobody of that name");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tabs_sign_in_beside_each_other_and_the_later_one_counts() {
    let (db, provider) = (TestDb::sqlite().await, Provider::start(SITE, 0));
    let api = server(&db, &provider).await;
    let mut browser = Visitor::of(&api);
    let first = led_back(&mut browser, &provider, "ada").await;
    let second = led_back(&mut browser, &provider, "bob").await;
    assert_eq!(location(&browser.page(&first).await), "/account");
    let ada = browser.clone();
    assert_eq!(location(&browser.page(&second).await), "/account");
    assert_ne!(browser.secret(), ada.secret());
    assert!(browser.page("/account").await.text.contains("idp:43"));
    ada.clone().send(Method::GET, "/services", &[], None).await.problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_that_took_longer_than_ten_minutes_is_begun_anew() {
    let (db, provider) = (TestDb::sqlite().await, Provider::start(SITE, 0));
    let api = server(&db, &provider).await;
    let before = waybill::clock::now() - TimeDelta::minutes(11);
    let flow = Flow::begin([7; 32], before, Back::default());
    let mut slow = Visitor::of(&api);
    slow.cookies.insert(FLOW.to_owned(), Flows::default().with(flow.clone()).written());
    let answer = slow.page(&format!("/login/callback?code=x&state={}", flow.state())).await;
    assert_eq!((answer.status, answer.text.contains("took too long")), (400, true), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_whose_clock_is_ten_minutes_off_is_not_believed_and_the_reason_is_told() {
    for (seconds, claim) in [(600, "iat"), (-7200, "exp")] {
        let (db, provider) = (TestDb::sqlite().await, Provider::start(SITE, seconds));
        let api = server(&db, &provider).await;
        let mut ada = Visitor::of(&api);
        let back = led_back(&mut ada, &provider, "ada").await;
        let answer = ada.page(&back).await;
        assert_eq!(answer.status, 401, "{}", answer.text);
        assert!(answer.text.contains(claim) && answer.text.contains("clock"), "{}", answer.text);
        assert!(!ada.cookies.contains_key(SESSION));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_issuer_and_one_that_is_down_are_told_and_tokens_go_on() {
    let (db, provider) = (TestDb::sqlite().await, Provider::start(SITE, 0));
    // The provider calls itself another than the configuration does.
    let changed = provider.url.replace("127.0.0.1", "localhost");
    for issuer in [changed.as_str(), "http://127.0.0.1:1"] {
        let api = Api::with(&db, |config| set_up(config, issuer)).await;
        let answer = Visitor::of(&api).page("/login/start").await;
        assert_eq!(answer.status, 503, "{}", answer.text);
        assert!(answer.text.contains("Tokens go on working"), "{}", answer.text);
        let mut visitor = Visitor::of(&api);
        assert_eq!(location(&visitor.paste(api.secret()).await), "/account");
        api.get("/services").await.ok(200);
    }
}
