//! The pages that are read: what each shows, that the links among them lead somewhere, and that nobody sees more by them than by
//! the API.

use poem::http::Method;
use serde_json::{Value, json};
use waybill::domain::vocabulary::Scope;

use super::visitor::{Visitor, location, looking, site, text};
use crate::{
    db_test,
    support::api::{Api, commit, id_of, image, release, start_body},
};

/// Text that somebody else wrote, which must do nothing anywhere.
const HOSTILE: &str = "<script>alert(1)</script> \u{202e}& \"more\"";

#[track_caller]
fn shows(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "{part}: {page}");
    }
}

/// Every address on the same site that a page leads to.
fn links(page: &str) -> Vec<String> {
    let hrefs = page.split("href=\"").skip(1).filter_map(|rest| rest.split_once('"'));
    let own = hrefs.map(|(href, _)| href.replace("&#38;", "&")).filter(|href| href.starts_with('/'));
    // Another moment may lie before whatever the page is about.
    let own = own.filter(|href| !href.contains("as_of="));
    own.map(|href| href.split('#').next().unwrap_or_default().to_owned()).collect()
}

/// A release with an image and commits of these titles.
async fn register(api: &Api, service: &str, version: &str, digit: char, titles: &[&str]) {
    let change = |(index, title): (usize, &&str)| json!({ "sha": format!("{}{index:02}", commit(version)), "committed_at": "2026-01-01T00:00:00Z", "title": title });
    let changes: Vec<Value> = titles.iter().enumerate().map(change).collect();
    let body = json!({ "version": version, "commit_sha": commit(version), "image": image(digit), "changes": changes });
    api.post(&format!("/services/{service}/releases"), body).await.ok(201);
}

db_test!(
    async fn a_deployment_and_its_decision_tell_all_of_it(db: TestDb) {
        let api = site(&db).await;
        let mut body = start_body("shop/dev", "1.0+b");
        body["reason"] = HOSTILE.into();
        body["initiated_by"] = "ada".into();
        body["pipeline_url"] = "https://ci.example.com/7".into();
        let started = api.post("/deployments", body).await.ok(201);
        let (id, decision) = (id_of(&started["deployment"]), id_of(&started["decision"]));
        let beat = json!({ "phase": "canary", "traffic_percent": 25, "message": "a quarter" });
        api.post(&format!("/deployments/{id}/heartbeat"), beat).await.ok(200);
        let mut visitor = looking(&api, &api).await;
        let page = text(&mut visitor, &format!("/deployments/{id}")).await;
        shows(
            &page,
            &[
                "canary",
                "25 %",
                "a quarter",
                "ada",
                "https://ci.example.com/7",
                "&#60;script&#62;",
                " data-live",
            ],
        );
        assert!(!page.contains("<script>alert"), "{page}");
        let links = links(&page);
        for link in [
            format!("/decisions/{decision}"),
            "/services/shop/releases/1.0+b".into(),
            "/services/shop".into(),
        ] {
            assert!(links.contains(&link), "{link}: {links:?}");
        }
        api.finished(&id, "failed").await;
        let page = text(&mut visitor, &format!("/deployments/{id}")).await;
        shows(&page, &["status failed", "<strong>failed</strong>", "<title>shop 1.0+b into dev: failed"]);
        assert!(!page.contains(" data-live"), "what is over does not change");
        let page = text(&mut visitor, &format!("/decisions/{decision}")).await;
        shows(
            &page,
            &["concurrency", "outdated", "come to the <strong>same</strong>", &format!("/deployments/{id}")],
        );
        for path in ["/deployments/7", "/decisions/nonsense"] {
            visitor.page(path).await.problem(404, "not-found");
        }
    }
);

db_test!(
    async fn a_no_stands_with_what_would_make_it_a_yes_and_is_asked_again_today(db: TestDb) {
        let api = site(&db).await;
        api.deployed("shop/prod", "1.0").await;
        let policy = json!({ "approval": { "required": 2, "groups": ["leads"] } });
        api.put("/environments/prod/policy", policy).await.ok(200);
        api.put("/environments/prod/lockdown", json!({ "reason": HOSTILE })).await.ok(200);
        let mut start = start_body("shop/prod", "1.1");
        start["initiated_by"] = "mira".into();
        let denied = api.post("/deployments", start).await.problem(409, "gate-denied");
        let id = denied["decision"]["id"].as_str().unwrap();
        let mut visitor = looking(&api, &api).await;
        let page = text(&mut visitor, &format!("/decisions/{id}")).await;
        assert!(!page.contains("nobody is known to have initiated it"), "{page}");
        shows(
            &page,
            &[
                "<code>waybill lockdown lift prod</code>",
                "2 more of leads must approve it",
                "2 of leads approve; an approval counts for 7d",
                "Every rule comes to the same",
                "&#60;script&#62;alert(1)",
                "version 1 of the policy",
            ],
        );
        assert!(!page.contains(" data-live"), "{page}");
        api.delete("/environments/prod/lockdown").await.ok(204);
        api.put("/environments/prod/policy", json!({})).await.ok(200);
        let page = text(&mut visitor, &format!("/decisions/{id}")).await;
        shows(
            &page,
            &[
                "the gate says <span class=\"yes\">yes</span>",
                "fail (lockdown)",
                "fail (approval-missing)",
                ">off<",
            ],
        );
        shows(&page, &["come to the <strong>same</strong>"]);
        api.patch("/environments/prod", json!({ "archived": true })).await.ok(200);
        let page = text(&mut visitor, &format!("/decisions/{id}")).await;
        shows(&page, &["Today nobody can ask it any more.", "is archived"]);
    }
);

db_test!(
    async fn a_service_shows_what_ran_where_and_what_a_promotion_would_bring(db: TestDb) {
        let api = site(&db).await;
        api.deployed("shop/dev", "1.0").await;
        let edit = json!({ "owner": HOSTILE, "description": HOSTILE, "repository_url": "https://git.example.com/shop" });
        api.patch("/services/shop", edit).await.ok(200);
        let prod = api.deployed("shop/prod", "1.0").await;
        register(&api, "shop", "1.1", 'a', &["Fix the total", HOSTILE]).await;
        register(&api, "shop", "1.2", 'b', &["Let people pay"]).await;
        api.deployed("shop/dev", "1.1").await;
        let failed = api.started("shop/prod", "1.1").await;
        api.finished(&failed, "failed").await;
        api.deployed("shop/dev", "1.2").await;
        let mut visitor = looking(&api, &api).await;
        let page = text(&mut visitor, "/services/shop").await;
        let all = [
            "<svg class=\"lanes\"",
            "class=\"end\"",
            "it brings 2 releases with 3 commits",
            "Let people pay",
            "1.1 failed at",
        ];
        shows(&page, &all);
        shows(
            &page,
            &[
                "shop, dev to prod: 1.0 → 1.2, brings 2 releases with 3 commits\n- c0ffee0",
                "Fix the total (1.1)",
            ],
        );
        assert!(!page.contains("<script>alert") && page.matches("&#60;script&#62;").count() >= 4, "{page}");
        let page = text(&mut visitor, "/services/shop?from=prod&to=dev&zoom=quarter").await;
        shows(
            &page,
            &[
                "goes <strong>back</strong>, and takes 2 releases with 3 commits away",
                "takes back 2 releases",
            ],
        );
        let then = prod["finished_at"].as_str().unwrap();
        let page = text(&mut visitor, &format!("/services/shop?as_of={then}")).await;
        shows(&page, &["as of", "it is the same release", ">later →</a>"]);
        assert!(!page.contains(">1.1</a>") && !page.contains(" data-live"), "{page}");
        for query in ["zoom=year", "as_of=soon"] {
            visitor.page(&format!("/services/shop?{query}")).await.problem(400, "invalid-request");
        }
        let page = text(&mut visitor, "/services/shop?from=dev&to=moon").await;
        shows(&page, &["is not in use", "moon"]);
    }
);

db_test!(
    async fn a_target_is_shown_as_it_was(db: TestDb) {
        let api = site(&db).await;
        let first = api.deployed("shop/dev", "1.0").await;
        let second = api.deployed("shop/dev", "1.1").await;
        let mut visitor = looking(&api, &api).await;
        let at =
            |moment: &Value| format!("/services/shop/environments/dev?as_of={}", moment.as_str().unwrap());
        let then = text(&mut visitor, &at(&first["finished_at"])).await;
        shows(&then, &["as of", ">1.0</a>, for "]);
        assert!(
            !then.contains(">1.1<") && !then.contains("May it go there now?") && !then.contains(" data-live"),
            "{then}"
        );
        // It had begun and not ended.
        let between = text(&mut visitor, &at(&second["started_at"])).await;
        shows(&between, &["On its way", ">1.0</a>, for "]);
        let before = text(&mut visitor, "/services/shop/environments/dev?as_of=2020-01-01").await;
        shows(&before, &["Nothing was ever deployed here by then"]);
        shows(
            &text(&mut visitor, "/services/shop/environments/dev?as_of=2999-01-01").await,
            &["May it go there now?"],
        );
    }
);

db_test!(
    async fn a_release_shows_its_journey_and_all_that_is_said_of_it(db: TestDb) {
        let api = site(&db).await;
        api.post("/services", json!({ "name": "shop" })).await.ok(201);
        register(&api, "shop", "1.0+b", 'a', &[HOSTILE]).await;
        api.deployed("shop/dev", "1.0+b").await;
        api.started("shop/prod", "1.0+b").await;
        let scan = json!({ "scanner": "trivy", "scanned_at": "2026-11-01T00:00:00Z", "counts": { "critical": 3, "high": 0, "medium": 0, "low": 0, "unknown": 0 } });
        api.post("/services/shop/releases/1.0+b/scans", scan).await.ok(201);
        let said = json!({ "environment": "prod", "decision": "approved", "comment": HOSTILE });
        api.post("/services/shop/releases/1.0+b/approvals", said).await.ok(201);
        let mut visitor = looking(&api, &api).await;
        let page = text(&mut visitor, "/services/shop/releases/1.0+b").await;
        shows(
            &page,
            &[
                "status succeeded",
                "status running",
                "trivy",
                "<td class=\"number\">3",
                "approved",
                &image('a'),
                &commit("1.0+b"),
            ],
        );
        assert!(!page.contains("<script>alert") && page.matches("&#60;script&#62;").count() == 2, "{page}");
        for link in links(&page).iter().filter(|link| !link.starts_with("/assets") && is_read(link)) {
            assert_eq!(visitor.page(link).await.status, 200, "{link}");
        }
        visitor.page("/services/shop/releases/1.0").await.problem(404, "not-found");
    }
);

/// Whether an address is that of a page that is only read.
fn is_read(link: &str) -> bool {
    ["/services", "/deployments", "/decisions", "/vulnerabilities", "/search"]
        .iter()
        .any(|path| link.starts_with(path))
}

db_test!(
    async fn deployments_are_confined_by_links_and_go_on_page_by_page(db: TestDb) {
        let api = site(&db).await;
        for number in 0..51 {
            api.deployed("shop/dev", &format!("1.{number}")).await;
        }
        let failed = api.started("pay/prod", "7").await;
        api.finished(&failed, "failed").await;
        let mut visitor = looking(&api, &api).await;
        let page = text(&mut visitor, "/deployments").await;
        shows(&page, &[">7</a>", ">1.50</a>", "/deployments?status=failed", "/deployments?since=2h"]);
        assert!(!page.contains(">1.0</a>"), "it is on the next page");
        let next = links(&page).into_iter().find(|link| link.contains("cursor=")).unwrap();
        let more = text(&mut visitor, &next).await;
        assert!(
            more.contains(">1.0</a>") && !more.contains("cursor=") && !more.contains(" data-live"),
            "{more}"
        );
        let only = text(&mut visitor, "/deployments?status=failed&since=2h&environment=prod").await;
        assert!(only.contains(">7</a>") && !only.contains(">1.50</a>"), "{only}");
        let one = text(&mut visitor, "/deployments?service=shop&version=1.3&actor=&kind=deploy").await;
        assert!(one.contains(">1.3</a>") && !one.contains(">1.30</a>"), "{one}");
        assert!(
            text(&mut visitor, "/deployments?until=2020-01-01")
                .await
                .contains("Nothing was deployed that fits")
        );
        for query in ["status=odd", "kind=odd", "since=odd", "cursor=x", "since=2026-02-02&until=2026-02-01"]
        {
            visitor.page(&format!("/deployments?{query}")).await.problem(400, "invalid-request");
        }
        visitor.page("/deployments?service=shpo").await.problem(404, "not-found");
    }
);

db_test!(
    async fn one_box_finds_whatever_has_a_name(db: TestDb) {
        let api = site(&db).await;
        for service in ["shop", "shop-admin", "pay"] {
            api.post("/services", json!({ "name": service, "owner": "Team 100%" })).await.ok(201);
            let titles: &[&str] = &[];
            register(&api, service, if service == "pay" { "9.9" } else { "1.0" }, 'a', titles).await;
        }
        let mut body = start_body("pay/dev", "9.9");
        body["release"] = Value::Null;
        body["initiated_by"] = "ada@example.com".into();
        let id = id_of(&api.post("/deployments", body).await.ok(201)["deployment"]);
        let mut visitor = looking(&api, &api).await;
        let mut find = async |q: &str| {
            let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("q", q).finish();
            visitor.page(&format!("/search?{query}")).await
        };
        for (q, only) in [
            ("pay", "/services/pay"),
            ("9.9", "/services/pay/releases/9.9"),
            (&commit("9.9")[..9], "/services/pay/releases/9.9"),
            (&id, &format!("/deployments/{id}")),
            ("cve-2021-44228", "/vulnerabilities/CVE-2021-44228"),
        ] {
            assert_eq!(location(&find(q).await), only, "{q}");
        }
        api.post("/services", json!({ "name": "ward", "owner": "Ärzte" })).await.ok(201);
        assert_eq!(location(&find("Ärzte").await), "/services/ward");
        let several = find("shop").await;
        shows(&several.text, &["/services/shop\"", "/services/shop-admin\""]);
        let versions = find("1.0").await;
        shows(&versions.text, &["/services/shop/releases/1.0", "/services/shop-admin/releases/1.0"]);
        shows(&find(&image('a')).await.text, &["/services/pay/releases/9.9", "/services/shop/releases/1.0"]);
        shows(
            &find("ada@example.com").await.text,
            &[&format!("/deployments/{id}"), "actor=ada%40example.com"],
        );
        shows(&find("100%").await.text, &["/services/pay\"", "/services/shop\""]);
        let nothing = find(HOSTILE).await;
        shows(&nothing.text, &["Nothing is called so", "&#60;script&#62;"]);
        assert!(
            find("0%").await.text.contains("/services/pay\"")
                && !find("1_0").await.text.contains("/services/pay\"")
        );
        assert_eq!(find("").await.status, 200);
    }
);

db_test!(
    async fn a_vulnerability_shows_where_it_runs_and_of_what_nobody_can_tell(db: TestDb) {
        let api = site(&db).await;
        api.deployed("pay/prod", "1").await;
        let mut body = start_body("shop/prod", "1");
        body["release"] = release("1");
        let report =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/trivy-filesystem.json"))
                .unwrap();
        let report: Value = serde_json::from_str(&report).unwrap();
        let id = report["Results"][0]["Vulnerabilities"][1]["VulnerabilityID"].as_str().unwrap().to_owned();
        let started = api.post("/deployments", body).await.ok(201);
        api.finished(&id_of(&started["deployment"]), "succeeded").await;
        let uploaded = api.post("/services/shop/releases/1/scans", report).await;
        assert!([200, 201].contains(&uploaded.status), "{}", uploaded.text);
        let mut visitor = looking(&api, &api).await;
        let page = text(&mut visitor, &format!("/vulnerabilities/{id}")).await;
        shows(
            &page,
            &[
                "/services/shop/environments/prod",
                "Of these 1 nobody can tell",
                "/services/pay/environments/prod",
            ],
        );
        shows(
            &text(&mut visitor, "/vulnerabilities/CVE-1999-0001").await,
            &["it runs <strong>nowhere</strong>"],
        );
        visitor.page("/vulnerabilities/nonsense").await.problem(422, "invalid-input");
    }
);

db_test!(
    async fn nobody_sees_more_on_any_page_than_by_the_api(db: TestDb) {
        let api = site(&db).await;
        let mut ids = Vec::new();
        for target in ["shop/dev", "shop/prod", "pay/dev"] {
            let started = api.start(target, "1").await.ok(201);
            let (id, decision) = (id_of(&started["deployment"]), id_of(&started["decision"]));
            api.finished(&id, "succeeded").await;
            ids.push((id, decision));
        }
        let reader = api.token(&[Scope::Read], Some(&["shop"]), Some(&["dev"])).await;
        let mut visitor = looking(&api, &reader).await;
        for path in [
            "/services",
            "/services/shop",
            "/services/shop/releases/1",
            "/deployments",
            "/search?q=a",
            "/search?q=1",
        ] {
            let page = visitor.page(path).await;
            let page = if page.status == 303 { visitor.page(location(&page)).await } else { page };
            assert_eq!(page.status, 200, "{path}: {}", page.text);
            assert!(!page.text.contains(">pay<") && !page.text.contains(">prod<"), "{path}: {}", page.text);
            assert!(
                !page.text.contains(&ids[1].0) && !page.text.contains(&ids[2].0),
                "{path}: {}",
                page.text
            );
        }
        let hidden = [&ids[1], &ids[2]]
            .map(|(id, decision)| [format!("/deployments/{id}"), format!("/decisions/{decision}")]);
        let named =
            ["/services/pay", "/services/pay/releases/1", "/services/shop/environments/prod?as_of=1m"];
        for path in hidden.iter().flatten().map(String::as_str).chain(named) {
            visitor.page(path).await.problem(404, "not-found");
        }
        for (id, decision) in &ids[..1] {
            text(&mut visitor, &format!("/deployments/{id}")).await;
            text(&mut visitor, &format!("/decisions/{decision}")).await;
        }
        for id in [&ids[1].0, &ids[1].1, &ids[2].0, &ids[2].1] {
            let page = text(&mut visitor, &format!("/search?q={id}")).await;
            assert!(page.contains("Nothing is called so"), "{page}");
        }
        let unscanned = text(&mut visitor, "/vulnerabilities/CVE-2021-44228").await;
        assert!(unscanned.contains("Of these 1 nobody") && !unscanned.contains(">pay<"), "{unscanned}");
        let blind = api.token(&[Scope::Deploy], None, None).await;
        let mut blind = looking(&api, &blind).await;
        let mut stranger = Visitor::of(&api);
        let (one, said) = (format!("/deployments/{}", ids[0].0), format!("/decisions/{}", ids[0].1));
        let pages = [
            "/services",
            "/services/shop",
            "/services/shop/releases/1",
            "/deployments",
            "/search?q=shop",
            &one,
            &said,
        ];
        for path in pages.into_iter().chain(["/vulnerabilities/CVE-2021-44228"]) {
            blind.page(path).await.problem(403, "forbidden");
            assert!(location(&stranger.page(path).await).starts_with("/login?to="), "{path}");
        }
    }
);

db_test!(
    async fn a_browser_is_told_in_a_page_what_cannot_be_shown(db: TestDb) {
        let api = site(&db).await;
        api.deployed("shop/dev", "1").await;
        let mut visitor = looking(&api, &api).await;
        let html = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
        for (path, status, words) in [
            ("//services/shpo", 404, "There is no service shpo. "),
            ("//services/shpo", 404, "Did you mean <a href=\"/services/shop\">shop</a>?"),
            (
                "//deployments?service=shpo&status=failed",
                404,
                "Did you mean <a href=\"/deployments?service=shop&#38;status=failed\">shop</a>?",
            ),
            ("//nothing/is/here", 404, "There is nothing at this path."),
            ("//services/shop/nothing", 404, "There is nothing at this path."),
            ("//deployments?since=odd", 400, "since must be a moment"),
            ("//vulnerabilities/nonsense", 422, "is in no scan"),
        ] {
            let page = visitor.send(Method::GET, path, &html, None).await;
            assert_eq!(page.status, status, "{}", page.text);
            assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
            assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
            shows(&page.text, &[words, "<h1>", "What runs where", "Sign out"]);
        }
        let then = visitor.send(Method::GET, "//services/shpo?as_of=1us", &html, None).await;
        shows(&then.text, &["Did you mean <a href=\"/services/shop?as_of=20"]);
        // Programs are answered as before, and so is whoever asks the API.
        visitor.page("/nothing/is/here").await.problem(404, "not-found");
        visitor.send(Method::GET, "/nothing", &html, None).await.problem(404, "not-found");
        let mut stranger = Visitor::of(&api);
        let page = stranger.send(Method::GET, "//nothing/is/here", &html, None).await;
        assert!(page.status == 404 && !page.text.contains("Sign out"), "{}", page.text);
    }
);
