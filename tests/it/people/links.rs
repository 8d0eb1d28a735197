//! The addresses of pages, for those who see none: a thing says where people look at it, and what is there tells nobody else.

use poem::http::Method;
use serde_json::{Value, json};
use waybill::domain::vocabulary::Scope;

use super::visitor::{SITE, Visitor, location, looking, site, text};
use crate::{
    db_test,
    support::api::{Api, start_body},
};

/// The path of the page that an answer leads to.
#[track_caller]
fn path(answer: &Value) -> String {
    let url = answer["web_url"].as_str().unwrap_or_else(|| panic!("no address: {answer}"));
    url.strip_prefix(SITE).unwrap_or_else(|| panic!("{url} is elsewhere")).to_owned()
}

/// A page to sign in on, but for where it leads afterwards: what somebody asked for is theirs; whether it is there, they must
/// not learn.
fn without_target(page: &str) -> String {
    let (before, rest) = page.split_once("name=\"to\" value=\"").unwrap();
    [before, rest.split_once('"').unwrap().1].concat()
}

/// What runs, and what was refused meanwhile.
async fn history(api: &Api) -> (Value, Value) {
    let mut body = start_body("shop/prod", "1.0+a");
    body["release"]["image"] = json!(format!("registry.test/shop@sha256:{}", "5e".repeat(32)));
    let started = api.post("/deployments", body).await.ok(201);
    let refused = api.start("shop/prod", "2").await.problem(409, "gate-denied");
    (started, refused)
}

db_test!(
    async fn a_thing_says_where_people_look_at_it(db: TestDb) {
        let api = site(&db).await;
        let (started, refused) = history(&api).await;
        let id = started["deployment"]["id"].as_str().unwrap();
        let question = json!({ "service": "shop", "environment": "prod", "version": "2" });
        let mut kept = question.clone();
        kept["record"] = json!(true);
        let release = json!({ "version": "3", "commit_sha": "8f3c0ab" });
        let wait = "/gate/wait?service=shop&environment=prod&version=2&timeout=1";

        let deployment = format!("/deployments/{id}");
        let denial = format!("/decisions/{}", refused["decision"]["id"].as_str().unwrap());
        let target = "/services/shop/environments/prod";
        let lost = api.start("shop/dev", "1.0+a").await.ok(201)["deployment"]["id"].clone();
        let lost = format!("/deployments/{}", lost.as_str().unwrap());
        api.finished(&lost[13..], "canceled").await;
        for (page, answer) in [
            (deployment.as_str(), started["deployment"].clone()),
            (
                &format!("/decisions/{}", started["decision"]["id"].as_str().unwrap()),
                started["decision"].clone(),
            ),
            (&denial, refused),
            (&deployment, api.deployment(id).await),
            (&denial, api.get(&denial).await.ok(200)),
            (target, api.target("shop/prod").await),
            (target, api.post("/gate/check", question).await.ok(200)),
            (target, api.get(wait).await.ok(200)),
            ("/services/shop/releases/3", api.post("/services/shop/releases", release).await.ok(201)),
            ("/services/shop/releases/1.0+a", api.get("/services/shop/releases/1.0+a").await.ok(200)),
            (&lost, api.post(&format!("{lost}/heartbeat"), json!({})).await.problem(409, "conflict")),
            (&deployment, api.finished(id, "succeeded").await),
        ] {
            assert_eq!(path(&answer), page, "{answer}");
        }
        let kept = api.post("/gate/check", kept).await.ok(200);
        assert_eq!(path(&kept), format!("/decisions/{}", kept["id"].as_str().unwrap()));
        let past = json!({ "service": "shop", "environment": "prod", "version": "3", "status": "failed",
            "started_at": "2026-03-01T12:00:00Z", "finished_at": "2026-03-01T12:01:00Z" });
        let past = api.post("/deployments/record", past).await.ok(201);
        assert_eq!(path(&past), format!("/deployments/{}", past["id"].as_str().unwrap()));

        let mut visitor = looking(&api, &api).await;
        for page in [&deployment, &denial, target, "/services/shop/releases/1.0+a", &lost, &path(&kept)] {
            let shown = text(&mut visitor, page).await;
            assert!(shown.contains("<h1") && shown.contains("shop"), "{page}: {shown}");
        }
    }
);

db_test!(
    async fn what_is_read_again_and_again_does_not_say_it(db: TestDb) {
        let api = site(&db).await;
        let (started, _) = history(&api).await;
        let id = started["deployment"]["id"].as_str().unwrap();
        for path in
            ["/matrix", "/deployments", "/decisions", "/services/shop/releases", "/services", "/events"]
        {
            let list = api.get(path).await;
            list.ok(200);
            assert!(!list.text.contains("web_url") && !list.text.contains(SITE), "{path}: {}", list.text);
        }
        let heartbeat = api.post(&format!("/deployments/{id}/heartbeat"), json!({})).await;
        heartbeat.ok(200);
        assert!(!heartbeat.text.contains("web_url"), "{}", heartbeat.text);
    }
);

db_test!(
    async fn a_server_that_was_not_told_its_address_gives_none_away(db: TestDb) {
        let api = Api::new(&db).await;
        let (started, refused) = history(&api).await;
        let target = api.target("shop/prod").await;
        for answer in [started, refused, target] {
            assert!(!answer.to_string().contains("web_url"), "{answer}");
        }
    }
);

db_test!(
    async fn a_link_tells_nothing_to_who_has_not_signed_in(db: TestDb) {
        let api = site(&db).await;
        let (started, refused) = history(&api).await;
        let missing = "01a1fcc8-d70b-76fa-a210-d5bb2b1459fe";
        let unknown = |kind: &str| format!("/{kind}/{missing}");
        let known = [path(&started["deployment"]), path(&refused)].map(|path| path + "?as_of=now");
        for page in [
            known.as_slice(),
            &[unknown("deployments"), unknown("decisions")],
            &["/services/shop/releases/1.0+a".into(), "/services/shop/environments/prod".into()],
            &["/services/none/releases/1".into(), "/services/none".into(), "/".into()],
        ]
        .concat()
        {
            let mut stranger = Visitor::of(&api);
            let answer = stranger.page(&page).await;
            let login = location(&answer).to_owned();
            assert!(answer.text.is_empty() && login.starts_with("/login?to=%2F"), "{page}: {login}");
            let shown = without_target(&text(&mut stranger, &login).await);
            assert_eq!(shown, without_target(&text(&mut stranger, "/login").await), "{page}");
            let graph: Vec<_> = shown.matches("<meta property=\"og:").collect();
            assert!(shown.contains("og:title\" content=\"Waybill\"") && graph.len() == 2, "{shown}");
        }
    }
);

db_test!(
    async fn a_signed_in_page_has_nothing_for_programs_that_preview_links(db: TestDb) {
        let api = site(&db).await;
        let (started, _) = history(&api).await;
        let reader = api.token(&[Scope::Read], None, None).await;
        let mut visitor = looking(&api, &reader).await;
        let page = visitor.send(Method::GET, &format!("/{}", path(&started["deployment"])), &[], None).await;
        assert!(page.status == 200 && !page.text.contains("og:"), "{}", page.text);
    }
);
