//! The past: every page takes `as_of`, says what it tells of that moment, offers nothing that changes anything, and leads on to
//! the same moment.

use poem::http::Method;
use serde_json::json;
use waybill::usecase::upkeep;

use super::visitor::{looking, site, text};
use crate::{
    db_test,
    support::api::{id_of, start_body},
};

/// The address in each link of a page of this site that does not lead to another moment.
fn ways(page: &str) -> Vec<&str> {
    let tags = page.split("<a ").skip(1).filter_map(|rest| rest.split_once('>'));
    let same = tags.map(|(tag, _)| tag).filter(|tag| !tag.contains("data-now"));
    let hrefs = same.filter_map(|tag| tag.split_once("href=\"")?.1.split_once('"'));
    hrefs.map(|(href, _)| href).filter(|href| href.starts_with('/')).collect()
}

db_test!(
    async fn from_the_past_nothing_is_changed_and_every_way_leads_to_the_same_moment(db: TestDb) {
        let api = site(&db).await;
        let started = api.post("/deployments", start_body("shop/prod", "1.0")).await.ok(201);
        api.put("/environments/prod/policy", json!({ "approval": { "required": 1 } })).await.ok(200);
        api.start("shop/prod", "1.1").await.problem(409, "gate-denied");
        let (id, decision) = (id_of(&started["deployment"]), id_of(&started["decision"]));
        let window = json!({ "name": "christmas", "reason": "nobody is there", "environments": ["prod"],
            "starts_at": "2999-12-20T00:00:00Z", "ends_at": "2999-12-27T00:00:00Z" });
        let window = id_of(&api.post("/freeze-windows", window).await.ok(201));
        let mut visitor = looking(&api, &api).await;
        let tells = [
            "/".to_owned(),
            "/?tier=production".to_owned(),
            "/services/shop?zoom=day".to_owned(),
            "/services/shop/environments/prod".to_owned(),
            "/services/shop/releases/1.0".to_owned(),
            "/deployments?environment=prod".to_owned(),
            format!("/deployments/{id}"),
            format!("/decisions/{decision}"),
            "/environments/prod".to_owned(),
        ];
        let shows_now = [
            "/services".to_owned(),
            "/search?q=nothing-called-so".to_owned(),
            "/vulnerabilities/CVE-2021-44228".to_owned(),
            "/approvals".to_owned(),
            "/environments".to_owned(),
            "/environments/prod/policy".to_owned(),
            "/freeze-windows".to_owned(),
            format!("/freeze-windows/{window}"),
            "/audit".to_owned(),
            "/settings/waivers".to_owned(),
            "/settings/tokens".to_owned(),
            "/settings/trusts".to_owned(),
            "/settings/sessions".to_owned(),
            "/settings/access".to_owned(),
            "/account".to_owned(),
        ];
        let all = tells.iter().map(|path| (path, "This is how it was at"));
        let all = all.chain(shows_now.iter().map(|path| (path, "This page shows how it is now")));
        for (path, said) in all {
            let sign = if path.contains('?') { '&' } else { '?' };
            let page = text(&mut visitor, &format!("{path}{sign}as_of=1us")).await;
            assert!(page.contains(said) && page.contains("Nothing is changed from here."), "{path}: {page}");
            let forms: Vec<_> =
                page.split("<form ").skip(1).filter(|form| form.contains("method=\"post\"")).collect();
            assert_eq!(forms.len(), 1, "{path} offers more than to sign out: {forms:?}");
            for way in ways(&page) {
                assert!(way.contains("as_of="), "{path} leads to another moment: {way}");
            }
            let now = format!("<a data-now href=\"{}\">Back to now</a>", path.replace('&', "&#38;"));
            assert!(page.contains(&now), "{path}: {now}: {page}");
            visitor.page(&format!("{path}{sign}as_of=once")).await.problem(400, "invalid-request");
        }
        let found = visitor.page("/search?q=shop&as_of=1us").await;
        assert!(found.header("location").unwrap().starts_with("/services/shop?as_of="), "{found:?}");
    }
);

db_test!(
    async fn an_environment_is_shown_with_the_rules_and_the_lockdown_of_then(db: TestDb) {
        let api = site(&db).await;
        api.deployed("shop/prod", "1.0").await;
        let mut visitor = looking(&api, &api).await;
        let policy = |required: u32| json!({ "approval": { "mode": "enforce", "required": required } });
        api.put("/environments/prod/policy", policy(3)).await.ok(200);
        api.put("/environments/prod/lockdown", json!({ "reason": "an incident" })).await.ok(200);
        api.delete("/environments/prod/lockdown").await.ok(204);
        api.put("/environments/prod/policy", policy(5)).await.ok(200);
        upkeep::seal_events(&api.app).await.unwrap();
        let placed = api.get("/events?kind=lockdown.placed").await.ok(200);
        let at = placed["items"][0]["at"].as_str().unwrap();
        let then = text(&mut visitor, &format!("/environments/prod?as_of={at}")).await;
        assert!(then.contains("3 approve") && !then.contains("5 approve"), "{then}");
        assert!(then.contains("Locked down") && then.contains("an incident"), "{then}");
        assert!(then.contains("version 1") && !then.contains("christmas"), "{then}");
        let now = text(&mut visitor, "/environments/prod").await;
        assert!(now.contains("5 approve") && !now.contains("Locked down"), "{now}");
        let before = text(&mut visitor, "/environments/prod?as_of=2020-01-01").await;
        assert!(before.contains("nobody has set a policy") && !before.contains("Locked down"), "{before}");
        let release = "/services/shop/releases/1.0?as_of=2020-01-01";
        visitor.page(release).await.problem(404, "not-found");
        let page = visitor.send(Method::GET, &format!("/{release}"), &[("accept", "text/html")], None).await;
        let back = "href=\"/services/shop/releases/1.0\">Back to now</a>";
        assert!(page.status == 404 && page.text.contains(back), "{}", page.text);
    }
);

db_test!(
    async fn a_deployment_is_shown_as_far_as_it_was(db: TestDb) {
        let api = site(&db).await;
        let done = api.deployed("shop/prod", "1.0").await;
        let mut visitor = looking(&api, &api).await;
        let path = format!("/deployments/{}", id_of(&done));
        let then = |moment: &str| format!("{path}?as_of={}", done[moment].as_str().unwrap());
        let page = text(&mut visitor, &then("started_at")).await;
        assert!(page.contains("status running") && !page.contains("it took"), "{page}");
        assert!(text(&mut visitor, &then("finished_at")).await.contains("status succeeded"));
        visitor.page(&format!("{path}?as_of=2020-01-01")).await.problem(404, "not-found");
        let list = text(&mut visitor, "/deployments?as_of=2020-01-01").await;
        assert!(
            list.contains("Nothing was deployed that fits") && !list.contains("Came to</span>"),
            "{list}"
        );
        let recorded = json!({ "service": "shop", "environment": "dev", "version": "1.0", "status": "succeeded",
            "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:05:00Z" });
        let recorded = id_of(&api.post("/deployments/record", recorded).await.ok(201));
        let within = text(&mut visitor, "/deployments?since=2h&as_of=2026-01-01T01:00").await;
        assert!(within.contains(&recorded), "how long ago is told from then: {within}");
        visitor.page("/deployments?status=failed&as_of=1h").await.problem(400, "invalid-request");
    }
);
