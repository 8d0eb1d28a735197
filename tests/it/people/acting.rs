//! The pages that change something: each does what the API does, refuses what it refuses in its words, and leaves its event.

use serde_json::{Value, json};
use waybill::{
    config::{issuer::IssuerConfig, people::RoleConfig},
    domain::vocabulary::Scope,
    usecase::upkeep,
};

use super::{
    names::person,
    visitor::{SESSION, SITE, Visitor, location, site},
};
use crate::{
    db_test,
    support::{
        api::{Answer, Api, start_body},
        db::TestDb,
    },
};

/// Somebody who has signed in with a token, and what their forms are sent with.
pub struct Person {
    pub browser: Visitor,
    csrf: String,
}

impl Person {
    pub async fn of(api: &Api, holder: &Api) -> Self {
        let mut browser = Visitor::of(api);
        browser.paste(holder.secret()).await;
        let csrf = browser.csrf().await;
        Self { browser, csrf }
    }

    /// Looks at a page that there is.
    pub async fn text(&mut self, path: &str) -> String {
        let page = self.browser.page(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"), "{path}");
        assert_eq!(page.header("cache-control"), Some("no-store"), "{path}");
        page.text
    }

    /// Sends a form of a page.
    pub async fn send(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let csrf = self.csrf.clone();
        let mut all = vec![("csrf", csrf.as_str())];
        all.extend(fields);
        self.browser.form(path, &all).await
    }

    /// Sends a form that is taken, and tells where that leads.
    pub async fn done(&mut self, path: &str, fields: &[(&str, &str)]) -> String {
        let answer = self.send(path, fields).await;
        assert_eq!(answer.status, 303, "{path}: {}", answer.text);
        location(&answer).to_owned()
    }

    /// Sends a policy, and again once it was shown what it changes; tells where that leads.
    pub async fn saved(&mut self, path: &str, fields: &[(&str, &str)]) -> String {
        let review = self.send(path, fields).await;
        assert_eq!(review.status, 200, "{path}: {}", review.text);
        let reviewed = hidden(&review.text, path, "reviewed");
        self.done(path, &[&[("reviewed", reviewed)], fields].concat()).await
    }

    /// Sends a form that is refused so that whoever sent it can mend it.
    pub async fn refused(&mut self, status: u16, path: &str, fields: &[(&str, &str)]) -> String {
        let answer = self.send(path, fields).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        answer.text
    }
}

/// The value of a hidden field of the form that goes to this path.
#[track_caller]
pub fn hidden<'a>(page: &'a str, action: &str, name: &str) -> &'a str {
    let (_, form) =
        page.split_once(&format!("action=\"{action}\"")).unwrap_or_else(|| panic!("no {action}: {page}"));
    let (form, _) = form.split_once("</form>").unwrap();
    let (_, value) = form.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
    value.split_once('"').unwrap().0
}

pub async fn kinds(api: &Api) -> Vec<String> {
    upkeep::seal_events(&api.app).await.unwrap();
    let log = api.get("/events?order=newest-first&limit=200").await.ok(200);
    let events = log["items"].as_array().unwrap().iter();
    events.map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
}

/// A server with a release that production refuses for want of an approval.
async fn waiting(db: &TestDb) -> (Api, String) {
    let api = site(db).await;
    api.deployed("shop/prod", "0.9").await;
    let policy = json!({ "approval": { "required": 1, "groups": ["leads"] } });
    api.put("/environments/prod/policy", policy).await.ok(200);
    let image = format!("registry.test/shop@sha256:{}", "5e".repeat(32));
    let mut body = start_body("shop/prod", "1.0+a");
    body["release"]["image"] = json!(image);
    api.post("/deployments", body).await.problem(409, "gate-denied");
    (api, image)
}

db_test!(
    async fn a_release_is_approved_where_it_waits(db: TestDb) {
        let (api, image) = waiting(&db).await;
        let lead = api.person("ada", &[Scope::Read, Scope::Approve], &["leads"]).await;
        let mut ada = Person::of(&api, &lead).await;
        let page = ada.text("/approvals").await;
        let (mine, others) = page.split_once("Waiting for others").unwrap();
        assert!(mine.contains("1.0+a") && !others.contains("1.0+a"), "{page}");
        let action = "/services/shop/releases/1.0+a/approvals";
        assert_eq!(hidden(&page, action, "image"), image);
        assert_eq!(hidden(&page, action, "environment"), "prod");

        // Who may not approve sees what waits and no form; who is in no group that counts sees it with the others.
        let reader = api.token(&[Scope::Read], None, None).await;
        let page = Person::of(&api, &reader).await.text("/approvals").await;
        assert!(page.contains("1.0+a") && !page.contains(action), "{page}");
        let other = api.person("eve", &[Scope::Read, Scope::Approve], &["guests"]).await;
        let page = Person::of(&api, &other).await.text("/approvals").await;
        assert!(page.split_once("Waiting for others").unwrap().1.contains("1.0+a"), "{page}");

        // The page of the target offers the same.
        let target = "/services/shop/environments/prod";
        assert_eq!(hidden(&ada.text(target).await, action, "to"), target);
        let fields = [
            ("environment", "prod"),
            ("image", image.as_str()),
            ("to", target),
            ("decision", "approved"),
            ("comment", "seen\r\nin staging"),
        ];
        assert_eq!(ada.done(action, &fields).await, target);
        let said = api.get("/services/shop/releases/1.0+a/approvals").await.ok(200);
        assert_eq!(said["items"][0]["comment"], "seen\nin staging");
        assert_eq!(said["items"][0]["actor"]["subject"], "ada");
        assert!(kinds(&api).await.contains(&"approval.approved".to_owned()));
        assert!(!ada.text("/approvals").await.contains("1.0+a"));
        let mut body = start_body("shop/prod", "1.0+a");
        body["release"]["image"] = json!(image);
        api.post("/deployments", body).await.ok(201);
    }
);

db_test!(
    async fn nobody_approves_what_they_did_not_look_at(db: TestDb) {
        let (api, image) = waiting(&db).await;
        let lead = api.person("ada", &[Scope::Read, Scope::Approve], &["leads"]).await;
        let mut ada = Person::of(&api, &lead).await;
        let action = "/services/shop/releases/1.0+a/approvals";
        let fields =
            [("environment", "prod"), ("image", ""), ("decision", "approved"), ("comment", "<b>yes</b>")];
        let page = ada.refused(412, action, &fields).await;
        assert!(page.contains(&image) && page.contains("&#60;b&#62;yes"), "{page}");
        assert_eq!(hidden(&page, action, "image"), image, "the form is for what there is now");
        let long = "a".repeat(2001);
        let fields = [
            ("environment", "prod"),
            ("image", image.as_str()),
            ("decision", "rejected"),
            ("comment", long.as_str()),
        ];
        let page = ada.refused(422, action, &fields).await;
        assert!(page.contains("must be at most 2000 characters") && page.contains("aria-invalid"), "{page}");
        let page = ada.refused(422, action, &[("environment", "prod"), ("image", image.as_str())]).await;
        assert!(page.contains("/decision: is required"), "{page}");
        assert_eq!(api.get("/services/shop/releases/1.0+a/approvals").await.ok(200)["items"], json!([]));

        // What was said is withdrawn by whoever said it, and by nobody else.
        let fields = [
            ("environment", "prod"),
            ("image", image.as_str()),
            ("to", "/approvals"),
            ("decision", "rejected"),
        ];
        ada.done(action, &fields).await;
        let said = &api.get("/services/shop/releases/1.0+a/approvals").await.ok(200)["items"][0];
        let withdraw = format!("{action}/{}/withdraw", said["id"].as_str().unwrap());
        let release = "/services/shop/releases/1.0+a";
        let mut admin = Person::of(&api, &api).await;
        assert!(!admin.text(release).await.contains(&withdraw));
        admin.send(&withdraw, &[]).await.problem(403, "forbidden");
        assert!(ada.text(release).await.contains(&withdraw));
        assert_eq!(ada.done(&withdraw, &[]).await, release);
        assert!(!ada.text(release).await.contains(&withdraw));
    }
);

db_test!(
    async fn forms_are_taken_from_pages_of_this_site_alone(db: TestDb) {
        let (api, image) = waiting(&db).await;
        let mut admin = Person::of(&api, &api).await;
        let fields = |csrf: &'static str| [("csrf", csrf), ("reason", "an incident"), ("saw", "")];
        let path = "/environments/prod/lockdown";
        let csrf = admin.csrf.clone();
        for others in ["", "x"] {
            let answer = admin.browser.form(path, &fields(others)).await;
            assert!(answer.status == 403 && answer.text.contains("Look at it once more"), "{}", answer.text);
            assert_eq!(
                (hidden(&answer.text, path, "csrf"), hidden(&answer.text, path, "reason")),
                (csrf.as_str(), "an incident")
            );
        }
        let sent = [("csrf", csrf.as_str()), ("reason", "an incident"), ("saw", "")];
        admin.browser.form_from("https://evil.test", path, &sent).await.problem(403, "forbidden");
        assert_eq!(api.get("/environments/prod").await.ok(200)["lockdown"], Value::Null);
        let mut nobody = Visitor::of(&api);
        for path in [
            path,
            "/services/shop/releases/1.0+a/approvals",
            "/settings/tokens",
            "/environments/prod/policy",
            "/freeze-windows",
        ] {
            let answer = nobody.form_from(SITE, path, &[("image", &image)]).await;
            assert!(answer.status == 401 && answer.text.contains("Your session has ended"), "{path}");
            assert_eq!(hidden(&answer.text, path, "image"), image);
            assert!(!answer.text.contains("name=\"csrf\""), "{path}");
            nobody.form_from("https://evil.test", path, &[("image", &image)]).await.problem(403, "forbidden");
        }
    }
);

db_test!(
    async fn an_environment_is_locked_down_and_opened_by_who_saw_its_state(db: TestDb) {
        let api = site(&db).await;
        api.deployed("shop/prod", "1").await;
        let mut admin = Person::of(&api, &api).await;
        let page = admin.text("/environments/prod").await;
        let (lock, lift) = ("/environments/prod/lockdown", "/environments/prod/lockdown/lift");
        assert_eq!(hidden(&page, lock, "saw"), "");
        assert!(!page.contains(lift), "there is nothing to lift");
        let page = admin.refused(422, lock, &[("saw", ""), ("reason", "!")]).await;
        assert!(
            page.contains("must say something") && page.contains("<details class=\"act\" open>"),
            "{page}"
        );
        assert!(admin.refused(422, lock, &[("saw", "")]).await.contains("Reason:</strong> is required"));
        let hostile = "<script>alert(1)</script>\r\nincident 42";
        assert_eq!(admin.done(lock, &[("saw", ""), ("reason", hostile)]).await, "/environments/prod");
        let page = admin.text("/environments/prod").await;
        assert!(page.contains("Locked down") && !page.contains("<script>alert"), "{page}");
        assert!(admin.text("/environments").await.contains("incident 42"));

        // Somebody else gives another reason: it is not lifted by who did not know that.
        api.put("/environments/prod/lockdown", json!({ "reason": "worse than we thought" })).await.ok(200);
        let saw = hostile.to_owned();
        let page = admin.refused(412, lift, &[("saw", &saw)]).await;
        assert!(page.contains("worse than we thought") && page.contains("meanwhile"), "{page}");
        let page = admin.refused(412, lock, &[("saw", ""), ("reason", "mine")]).await;
        assert!(page.contains("mine"), "what was written is kept: {page}");
        let saw = hidden(&page, lift, "saw").to_owned();
        assert_eq!(admin.done(lift, &[("saw", &saw)]).await, "/environments/prod");
        assert_eq!(api.get("/environments/prod").await.ok(200)["lockdown"], Value::Null);
        let kinds = kinds(&api).await;
        assert_eq!(kinds.iter().filter(|kind| kind.starts_with("lockdown.")).count(), 3, "{kinds:?}");

        let narrowed = api.token(&[Scope::Read, Scope::Freeze], Some(&["shop"]), None).await;
        let mut narrowed = Person::of(&api, &narrowed).await;
        assert!(!narrowed.text("/environments/prod").await.contains(lock), "it concerns all services");
        let page = narrowed.refused(403, lock, &[("saw", ""), ("reason", "an incident")]).await;
        assert!(!page.contains(lock) || page.contains("concerns all services"), "{page}");
    }
);

db_test!(
    async fn an_environment_is_confirmed_edited_and_archived(db: TestDb) {
        let api = site(&db).await;
        api.deployed("shop/qa", "1").await;
        let mut admin = Person::of(&api, &api).await;
        let page = admin.text("/environments/qa").await;
        let path = "/environments/qa/settings";
        assert!(page.contains("Confirm it"), "{page}");
        let revision = hidden(&page, path, "revision").to_owned();
        let confirm = [("revision", revision.as_str()), ("does", "confirm")];
        admin.done(path, &confirm).await;
        assert_eq!(api.get("/environments/qa").await.ok(200)["unconfirmed"], false);
        let page = admin
            .refused(
                412,
                path,
                &[("revision", "1"), ("does", "settings"), ("tier", "staging"), ("rank", "7"), ("url", "")],
            )
            .await;
        assert!(page.contains("It is now: <strong>200</strong>") && page.contains("value=\"7\""), "{page}");
        let revision = hidden(&page, path, "revision").to_owned();
        let edit = |rank, url| {
            [
                ("revision", revision.as_str()),
                ("does", "settings"),
                ("tier", "staging"),
                ("rank", rank),
                ("url", url),
            ]
        };
        let page = admin.refused(422, path, &edit("two", "")).await;
        assert!(page.contains("Rank:</strong> must be an integer"), "{page}");
        let page = admin.refused(422, path, &edit("2000000", "ftp://x")).await;
        assert!(
            page.contains("URL:</strong> must") && page.contains("Rank:</strong> must be from"),
            "{page}"
        );
        admin.done(path, &edit("250", "https://qa.test")).await;
        let after = api.get("/environments/qa").await.ok(200);
        assert_eq!(
            (&after["tier"], &after["rank"], &after["url"]),
            (&json!("staging"), &json!(250), &json!("https://qa.test"))
        );
        let revision = hidden(&admin.text("/environments/qa").await, path, "revision").to_owned();
        admin.done(path, &[("revision", &revision), ("does", "archive")]).await;
        assert_eq!(api.get("/environments/qa").await.ok(200)["archived"], true);
        assert!(!admin.text("/environments").await.contains(">qa</a>"));
        assert!(admin.text("/environments?archived=true").await.contains(">qa</a>"));
        let reader = api.token(&[Scope::Read], None, Some(&["dev"])).await;
        let mut reader = Person::of(&api, &reader).await;
        reader.browser.page("/environments/qa").await.problem(404, "not-found");
        assert!(!reader.text("/environments?archived=true").await.contains(">qa<"));
    }
);

db_test!(
    async fn freeze_windows_are_declared_edited_and_taken_back(db: TestDb) {
        let api = site(&db).await;
        api.deployed("shop/prod", "1").await;
        let mut admin = Person::of(&api, &api).await;
        assert!(admin.text("/freeze-windows?environment=prod").await.contains("value=\"prod\""));
        let path = "/freeze-windows";
        let page = admin.refused(422, path, &[("name", "Holidays"), ("reason", "Nobody is here")]).await;
        assert!(
            page.contains("Environments:</strong> must name")
                && page.contains("Begins:</strong> must say when it begins"),
            "{page}"
        );
        assert!(page.contains("value=\"Holidays\""), "{page}");
        let fields = [
            ("name", "Holidays"),
            ("reason", "Nobody is here"),
            ("environments", "prod"),
            ("starts_at", "2026-01-01T00:00"),
            ("ends_at", "2126-01-03T12:00"),
        ];
        admin.done(path, &fields).await;
        let window = &api.get(path).await.ok(200)["items"][0];
        assert_eq!(
            (&window["environments"], &window["starts_at"]),
            (&json!(["prod"]), &json!("2026-01-01T00:00:00.000000Z"))
        );
        let one = format!("/freeze-windows/{}", window["id"].as_str().unwrap());
        let page = admin.text("/environments/prod").await;
        assert!(page.contains(&one) && page.contains("class=\"whole"), "{page}");
        assert!(admin.text("/environments").await.contains("until"));
        let page = admin.text(&one).await;
        let revision = hidden(&page, &one, "revision").to_owned();
        let edited = [
            ("revision", revision.as_str()),
            ("name", "Weekend"),
            ("reason", "Nobody is here"),
            ("tiers", "production"),
            ("tiers", "staging"),
            ("start_cron", "0 18 * * FRI"),
            ("end_cron", "0 8 * * MON"),
            ("timezone", "Europe/Berlin"),
        ];
        admin.done(&one, &edited).await;
        let window = &api.get(path).await.ok(200)["items"][0];
        assert_eq!(
            (&window["tiers"], &window["starts_at"]),
            (&json!(["production", "staging"]), &Value::Null)
        );
        let page = admin.refused(412, &one, &edited).await;
        assert!(page.contains("edited since"), "{page}");
        admin.refused(412, &format!("{one}/delete"), &[("revision", &revision)]).await;
        let revision = hidden(&page, &format!("{one}/delete"), "revision").to_owned();
        assert_eq!(admin.done(&format!("{one}/delete"), &[("revision", &revision)]).await, path);
        assert_eq!(api.get(path).await.ok(200)["items"], json!([]));
        admin.browser.page(&one).await.problem(404, "not-found");
        let kinds = kinds(&api).await;
        for kind in ["freeze.created", "freeze.updated", "freeze.deleted"] {
            assert!(kinds.contains(&kind.to_owned()), "{kind}");
        }
    }
);

db_test!(
    async fn roles_reach_as_far_on_pages_as_for_the_api(db: TestDb) {
        let api = Api::with(&db, |config| {
            config.server.public_url = Some(SITE.parse().unwrap());
            let (name, url) = ("idp".to_owned(), "https://idp.example.com".to_owned());
            config.auth.issuer = vec![IssuerConfig { name, url, ..IssuerConfig::default() }];
            config.auth.oidc.issuer = Some("idp".to_owned());
            config.auth.oidc.client_id = Some("waybill".to_owned());
            let role = |scope, services: &[&str]| RoleConfig {
                group: "staff".to_owned(),
                scopes: vec![scope],
                services: services.iter().map(ToString::to_string).collect(),
                environments: Vec::new(),
            };
            config.auth.role = vec![role(Scope::Read, &[]), role(Scope::Approve, &["shop"])];
        })
        .await;
        for service in ["shop", "pay"] {
            api.deployed(&format!("{service}/prod"), "1").await;
        }
        api.put("/environments/prod/policy", json!({ "approval": { "required": 1 } })).await.ok(200);
        for service in ["shop", "pay"] {
            api.start(&format!("{service}/prod"), "2").await.problem(409, "gate-denied");
        }
        let person = person(&api, "idp:42", "Ada", &["staff"]).await;
        let mut browser = Visitor::of(&api);
        browser.cookies.insert(SESSION.to_owned(), person.secret().to_owned());
        let csrf = browser.csrf().await;
        let mut ada = Person { browser, csrf };
        let page = ada.text("/approvals").await;
        let (shop, pay) = ("/services/shop/releases/2/approvals", "/services/pay/releases/2/approvals");
        assert!(page.contains(shop) && !page.contains(pay), "{page}");
        assert!(page.split_once("Waiting for others").unwrap().1.contains("pay"), "{page}");
        let fields = [("environment", "prod"), ("image", ""), ("to", "/approvals"), ("decision", "approved")];
        ada.send(pay, &fields).await.problem(404, "not-found");
        assert_eq!(ada.done(shop, &fields).await, "/approvals");
        assert!(!ada.text("/environments/prod").await.contains("/environments/prod/lockdown"));
    }
);
