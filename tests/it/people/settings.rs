//! The log and the settings as pages: shown as far as the API shows them, changed as the API changes them.

use serde_json::json;
use waybill::{clock, config::issuer::IssuerConfig, domain::vocabulary::Scope};

use super::{
    acting::{Person, kinds},
    visitor::{SITE, location, site},
};
use crate::{db_test, support::api::Api};

db_test!(
    async fn the_log_is_shown_as_far_as_the_api_shows_it(db: TestDb) {
        let api = site(&db).await;
        api.deployed("shop/prod", "1").await;
        api.deployed("pay/prod", "1").await;
        kinds(&api).await;
        let mut admin = Person::of(&api, &api).await;
        let head = api.get("/events/head").await.ok(200);
        let page = admin.text("/audit").await;
        assert!(page.contains(&format!("{}:{}", head["seq"], head["hash"].as_str().unwrap())), "{page}");
        assert!(page.contains("token.created") && page.contains(">pay</a>"), "{page}");
        let page = admin.text("/audit?kind=deployment.succeeded&service=shop&order=oldest-first").await;
        assert!(page.contains(">shop</a>") && !page.contains(">pay</a>"), "{page}");
        admin.browser.page("/audit?cursor=x").await.problem(400, "invalid-request");
        admin.browser.page("/audit?kind=deployment.sucseeded").await.problem(404, "not-found");
        let narrowed = api.token(&[Scope::Read], Some(&["shop"]), None).await;
        let page = Person::of(&api, &narrowed).await.text("/audit").await;
        assert!(
            page.contains(">shop</a>") && !page.contains(">pay</a>") && !page.contains("<td>token.created"),
            "{page}"
        );
    }
);

db_test!(
    async fn tokens_are_made_shown_once_and_revoked(db: TestDb) {
        let api = site(&db).await;
        api.deployed("shop/prod", "1").await;
        let mut admin = Person::of(&api, &api).await;
        let path = "/settings/tokens";
        let page = admin.refused(422, path, &[("name", "Not A Name"), ("scopes", "deploy")]).await;
        assert!(page.contains("here `not-a-name` would be one"), "{page}");
        let page = admin.refused(422, path, &[("name", "ci")]).await;
        assert!(page.contains("It may:</strong> is required"), "{page}");
        let fields = [
            ("name", "ci"),
            ("subject", "gitlab-ci <ci>"),
            ("scopes", "read"),
            ("scopes", "deploy"),
            ("groups", ""),
            ("services", "shop"),
            ("expires_at", "2126-01-01T00:00"),
        ];
        let made = admin.send(path, &fields).await;
        assert_eq!(made.status, 201, "{}", made.text);
        assert_eq!(made.header("cache-control"), Some("no-store"));
        let (_, secret) = made.text.split_once("<code>wb_").unwrap();
        let secret = format!("wb_{}", secret.split_once('<').unwrap().0);
        let holder = api.bearing(&secret);
        let me = holder.get("/auth/me").await.ok(200);
        assert_eq!((&me["scopes"], &me["services"]), (&json!(["read", "deploy"]), &json!(["shop"])));
        assert_eq!(admin.refused(409, path, &fields).await.matches(&secret).count(), 0);
        let page = admin.text(path).await;
        assert!(page.contains("gitlab-ci &#60;ci&#62;") && !page.contains(&secret), "{page}");
        let revoke = format!("{path}/{}/revoke", me["id"].as_str().unwrap());
        assert!(page.contains(&revoke));
        assert_eq!(admin.done(&revoke, &[]).await, path);
        holder.get("/auth/me").await.problem(401, "unauthenticated");
        admin.send(&format!("{path}/{}/revoke", uuid::Uuid::nil()), &[]).await.problem(404, "not-found");
        let reader = api.token(&[Scope::Read], None, None).await;
        let mut reader = Person::of(&api, &reader).await;
        for path in [path, "/settings/trusts", "/settings/access"] {
            reader.browser.page(path).await.problem(403, "forbidden");
        }
        assert!(!reader.text("/settings/waivers").await.contains("/settings/tokens"));
    }
);

db_test!(
    async fn waivers_and_sessions_are_administered(db: TestDb) {
        let api = site(&db).await;
        api.deployed("shop/prod", "1").await;
        let mut admin = Person::of(&api, &api).await;
        let path = "/settings/waivers";
        let page =
            admin.refused(422, path, &[("vulnerability", "CVE-2021-44228"), ("reason", "we know")]).await;
        assert!(page.contains("Until (UTC):</strong> is required"), "{page}");
        let mut fields = [
            ("vulnerability", "cve-2021-44228"),
            ("reason", "we know"),
            ("expires_at", "2000-01-01T00:00"),
            ("services", "shop"),
        ];
        let page = admin.refused(422, path, &fields).await;
        assert!(
            page.contains("Until (UTC):</strong> must lie ahead") && page.contains("Reason:</strong> must"),
            "{page}"
        );
        let soon = (clock::now() + chrono::TimeDelta::days(9)).format("%Y-%m-%dT%H:%M").to_string();
        fields[1].1 = "No text of users reaches the logger";
        fields[2].1 = &soon;
        admin.done(path, &fields).await;
        let waiver = &api.get("/waivers").await.ok(200)["items"][0];
        let withdraw = format!("{path}/{}/withdraw", waiver["id"].as_str().unwrap());
        let elsewhere = api.token(&[Scope::Read, Scope::Override], Some(&["pay"]), None).await;
        let mut elsewhere = Person::of(&api, &elsewhere).await;
        assert!(!elsewhere.text(path).await.contains(&withdraw));
        elsewhere.send(&withdraw, &[]).await.problem(404, "not-found");
        assert!(admin.text(path).await.contains(&withdraw));
        admin.done(&withdraw, &[]).await;
        assert_eq!(api.get("/waivers").await.ok(200)["items"], json!([]));
        assert!(admin.text("/settings/waivers?all=true").await.contains("withdrawn"));

        let page = admin.text("/settings/sessions").await;
        assert!(page.contains("this one") && page.contains("subject of token-"), "{page}");
        let own = elsewhere.text("/settings/sessions").await;
        assert_eq!(own.matches("/end\"").count(), 1, "everybody else's are not theirs to see: {own}");
        let mut actions = own.split("action=\"").map(|part| part.split_once('"').unwrap().0);
        let end = actions.find(|action| action.ends_with("/end")).unwrap();
        admin.done(end, &[]).await;
        assert!(location(&elsewhere.browser.page("/account").await).starts_with("/login"));
    }
);

db_test!(
    async fn trusts_are_made_with_the_words_of_the_api(db: TestDb) {
        let api = Api::with(&db, |config| {
            config.server.public_url = Some(SITE.parse().unwrap());
            let (name, url) = ("gitlab".to_owned(), "https://gitlab.com".to_owned());
            config.auth.issuer = vec![IssuerConfig { name, url, ..IssuerConfig::default() }];
        })
        .await;
        api.deployed("shop/prod", "1").await;
        let mut admin = Person::of(&api, &api).await;
        let path = "/settings/trusts";
        assert!(admin.text(path).await.contains("Make a trust"));
        let fields = [
            ("name", "shop-prod"),
            ("issuer", "gitlab"),
            ("claims", "ref_protected=true\r\nproject_path = acme/*"),
            ("scopes", "read"),
            ("scopes", "deploy"),
            ("services", "shop"),
            ("environment_map", "production=prod"),
        ];
        let page = admin.refused(422, path, &fields).await;
        assert!(page.contains("project_id") && page.contains("project_path = acme/*</textarea>"), "{page}");
        let mut good = fields;
        good[2].1 = "ref_protected=true\r\nproject_id = 4711";
        assert_eq!(admin.done(path, &good).await, path);
        let made = &api.get("/trusts").await.ok(200)["items"][0];
        assert_eq!(made["claims"], json!({ "project_id": "4711", "ref_protected": "true" }));
        assert_eq!((&made["scopes"], &made["services"]), (&json!(["read", "deploy"]), &json!(["shop"])));
        assert_eq!(made["environment_map"], json!({ "production": "prod" }));
        assert!(kinds(&api).await.contains(&"trust.created".to_owned()));
        let page = admin.text(path).await;
        assert!(
            page.contains("project_id=4711") && page.contains("/settings/trusts/shop-prod/delete"),
            "{page}"
        );
        let reader = api.token(&[Scope::Read], None, None).await;
        let mut reader = Person::of(&api, &reader).await;
        reader.send(path, &good).await.problem(403, "forbidden");
    }
);
