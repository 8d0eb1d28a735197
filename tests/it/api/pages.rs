//! Lists: pages without a gap or a double, in order, and cursors that are good for their list alone.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use waybill::usecase::upkeep;

use crate::{
    db_test,
    support::api::{Api, commit, start_body},
};

/// Every item of a list, page by page, once by cursor and once by link.
async fn walk(api: &Api, path: &str, limit: usize) -> Vec<Value> {
    let (mut items, mut next) = (Vec::new(), Some(format!("{path}{}limit={limit}", separator(path))));
    let mut by_link = next.clone();
    while let Some(url) = next {
        assert_eq!(by_link.as_deref(), Some(url.as_str()), "the link and the cursor lead to the same page");
        let answer = api.get(&url).await;
        let page = answer.ok(200);
        let more = page["items"].as_array().unwrap();
        assert!(more.len() <= limit);
        items.extend(more.iter().cloned());
        assert!(items.len() < 1000, "the pages do not end");
        next = page["next_cursor"]
            .as_str()
            .map(|cursor| format!("{path}{}limit={limit}&cursor={cursor}", separator(path)));
        by_link = answer.header("link").map(|link| {
            let url = link.strip_prefix("</api/v1").unwrap().strip_suffix(">; rel=\"next\"").unwrap();
            url.to_owned()
        });
        if next.is_some() {
            assert_eq!(more.len(), limit, "only the last page may be short");
        }
    }
    assert_eq!(by_link, None);
    items
}

fn separator(path: &str) -> char {
    if path.contains('?') { '&' } else { '?' }
}

fn distinct(items: &[Value], field: &str) -> usize {
    items.iter().map(|item| item[field].to_string()).collect::<BTreeSet<_>>().len()
}

/// Thirteen of everything.
async fn filled(api: &Api) {
    for n in 0..13 {
        api.post("/services", json!({ "name": format!("service-{n}") })).await.ok(201);
        api.post("/environments", json!({ "name": format!("env-{n}") })).await.ok(201);
        api.post("/tokens", json!({ "name": format!("ci-{n}"), "scopes": ["read"] })).await.ok(201);
        let body = json!({ "version": format!("1.{n}"), "commit_sha": commit("1") });
        api.post("/services/service-0/releases", body).await.ok(201);
        // The same moment for all of them: the cursor must not rely on times alone.
        let mut body = start_body("service-0/env-0", &format!("1.{n}"));
        body["release"]["commit_sha"] = json!(commit("1"));
        body["status"] = json!(if n % 2 == 0 { "failed" } else { "canceled" });
        body["started_at"] = json!("2026-01-01T00:00:00Z");
        body["finished_at"] = json!("2026-01-01T00:00:00Z");
        api.post("/deployments/record", body).await.ok(201);
    }
    while upkeep::seal_events(&api.app).await.unwrap() > 0 {}
}

db_test!(
    async fn lists_are_walked_without_gap_or_double(db: TestDb) {
        let api = Api::new(&db).await;
        filled(&api).await;
        let lists = [
            ("/services", "name", 13),
            ("/environments", "name", 13),
            ("/services/service-0/releases", "version", 13),
            ("/deployments", "id", 13),
            ("/deployments?service=service-0&environment=env-0&status=failed&kind=deploy", "id", 7),
            ("/tokens", "id", 14),
            ("/events?kind=deployment.recorded", "seq", 13),
        ];
        for (path, key, count) in lists {
            let whole = api.get(path).await.ok(200)["items"].as_array().unwrap().clone();
            assert_eq!((whole.len(), distinct(&whole, key)), (count, count), "{path}");
            for limit in [1, 5, 7, 13, 200] {
                // The log may end with an empty page, since more may come.
                let walked = if path.starts_with("/events") {
                    walk_log(&api, path, limit).await
                } else {
                    walk(&api, path, limit).await
                };
                assert_eq!(walked, whole, "{path} by {limit}");
            }
        }
        assert!(api.get("/services?limit=3&archived=true").await.ok(200)["next_cursor"].is_null());
    }
);

async fn walk_log(api: &Api, path: &str, limit: usize) -> Vec<Value> {
    let (mut items, mut after) = (Vec::new(), 0);
    loop {
        let page = api.get(&format!("{path}&limit={limit}&after_seq={after}")).await.ok(200);
        let more = page["items"].as_array().unwrap();
        let Some(last) = more.last() else { return items };
        after = last["seq"].as_i64().unwrap();
        if let Some(cursor) = page["next_cursor"].as_str() {
            let next = api.get(&format!("{path}&limit={limit}&cursor={cursor}")).await.ok(200);
            let same = api.get(&format!("{path}&limit={limit}&after_seq={after}")).await.ok(200);
            assert_eq!(next["items"], same["items"], "a cursor goes on where the page ended");
        }
        items.extend(more.iter().cloned());
    }
}

db_test!(
    async fn deployments_come_newest_first_and_can_be_confined(db: TestDb) {
        let api = Api::new(&db).await;
        let mut started = Vec::new();
        for (target, version) in [("shop/dev", "1"), ("shop/prod", "1"), ("pay/dev", "1"), ("shop/dev", "2")]
        {
            started.push(api.deployed(target, version).await);
        }
        let running = api.start("pay/prod", "1").await.ok(201)["deployment"].clone();
        let list = async |query: &str| {
            let items = api.get(&format!("/deployments?{query}")).await.ok(200)["items"].clone();
            items.as_array().unwrap().iter().map(|item| item["id"].clone()).collect::<Vec<_>>()
        };
        let id = |n: usize| started[n]["id"].clone();
        assert_eq!(list("").await, [running["id"].clone(), id(3), id(2), id(1), id(0)]);
        assert_eq!(list("service=shop").await, [id(3), id(1), id(0)]);
        assert_eq!(list("environment=dev&service=shop").await, [id(3), id(0)]);
        assert_eq!(list("status=running").await, [running["id"].clone()]);
        assert_eq!(list("kind=rollback").await, Vec::<Value>::new());
        let second = started[1]["started_at"].as_str().unwrap();
        assert_eq!(list(&format!("since={second}")).await.len(), 4, "since is inclusive");
        assert_eq!(list(&format!("until={second}")).await, [id(0)], "until is exclusive");
        for bad in [
            "status=done",
            "kind=x",
            "since=yesterday",
            "until=1",
            "since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
        ] {
            api.get(&format!("/deployments?{bad}")).await.problem(400, "invalid-request");
        }
    }
);

db_test!(
    async fn bad_limits_and_cursors_are_refused(db: TestDb) {
        let api = Api::new(&db).await;
        filled(&api).await;
        let name_cursor = api.get("/services?limit=1").await.ok(200)["next_cursor"].clone();
        let time_cursor = api.get("/deployments?limit=1").await.ok(200)["next_cursor"].clone();
        let (name_cursor, time_cursor) = (name_cursor.as_str().unwrap(), time_cursor.as_str().unwrap());
        for path in [
            "/services",
            "/environments",
            "/deployments",
            "/tokens",
            "/events",
            "/services/service-0/releases",
        ] {
            for limit in ["0", "201", "-1", "x", "99999999999999999999", "1.5", ""] {
                let answer = api.get(&format!("{path}?limit={limit}")).await;
                assert!([400, 422].contains(&answer.status), "{path} {limit}: {}", answer.text);
            }
            for cursor in ["", "x", "%00", "e30", "bnVsbA", "IlwwIg", &"A".repeat(5000)] {
                let answer = api.get(&format!("{path}?cursor={cursor}")).await;
                assert!([400, 422].contains(&answer.status), "{path} {cursor}: {}", answer.text);
            }
        }
        for (path, cursor) in
            [("/services", time_cursor), ("/deployments", name_cursor), ("/tokens", name_cursor)]
        {
            let answer = api.get(&format!("{path}?cursor={cursor}")).await;
            assert!([400, 422].contains(&answer.status), "{path}: {}", answer.text);
        }
    }
);
