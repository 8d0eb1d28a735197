//! The matrix that a server keeps: every change shows at once, and nobody is shown what another's token may see.

use std::time::Duration;

use futures_util::future::join_all;
use poem::http::Method;
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use waybill::{domain::vocabulary::Scope, usecase::upkeep};

use crate::{
    db_test,
    support::api::{Answer, Api, commit, image, start_body},
};

/// What a matrix shows, but for the moment.
fn shown(answer: &Answer) -> Value {
    let mut matrix = answer.ok(200);
    matrix["as_of"].take();
    matrix
}

fn tag(answer: &Answer) -> String {
    answer.header("etag").unwrap().to_owned()
}

async fn again(api: &Api, path: &str, tag: &str) -> Answer {
    api.send(Method::GET, path, &[("if-none-match", tag)], None).await
}

/// Deploys a version with an image of its own.
async fn deployed(api: &Api, target: &str, version: &str, digit: char) {
    let mut body = start_body(target, version);
    body["release"]["image"] = json!(image(digit));
    let started = api.post("/deployments", body).await.ok(201);
    api.finished(started["deployment"]["id"].as_str().unwrap(), "succeeded").await;
}

/// Each change with something to see of it.
async fn change(api: &Api, step: usize) -> bool {
    match step {
        0 => drop(api.post("/services", json!({ "name": "idle", "owner": "ann" })).await.ok(201)),
        1 => drop(api.post("/environments", json!({ "name": "prod", "rank": 3 })).await.ok(201)),
        2 => drop(api.started("shop/dev", "1").await),
        3 => {
            let target = api.target("shop/dev").await;
            api.finished(target["running"]["deployment_id"].as_str().unwrap(), "succeeded").await;
        }
        4 => drop(api.deployed("shop/prod", "1").await),
        5 => deployed(api, "shop/dev", "2", 'a').await,
        6 => deployed(api, "till/dev", "1", 'b').await,
        7 => drop(api.patch("/environments/prod", json!({ "rank": 1, "tier": "production" })).await.ok(200)),
        8 => drop(api.put("/environments/dev/lockdown", json!({ "reason": "smoke" })).await.ok(200)),
        9 => drop(api.delete("/environments/dev/lockdown").await),
        10 => drop(api.patch("/services/idle", json!({ "owner": "bob" })).await.ok(200)),
        11 => drop(api.delete("/services/till").await.ok(200)),
        12 => drop(api.patch("/services/till", json!({ "archived": false })).await.ok(200)),
        13 => drop(api.delete("/environments/prod").await.ok(200)),
        14 => drop(api.patch("/environments/prod", json!({ "archived": false })).await.ok(200)),
        15 => {
            let old = json!({ "version": "0.9", "commit_sha": commit("0.9"), "committed_at": "2020-01-01T00:00:00Z" });
            api.post("/services/shop/releases", old).await.ok(201);
        }
        16 => {
            let body = json!({ "service": "shop", "environment": "prod", "kind": "remove" });
            let started = api.post("/deployments", body).await.ok(201);
            api.finished(started["deployment"]["id"].as_str().unwrap(), "succeeded").await;
        }
        17 => {
            let body = json!({ "release": { "commit_sha": commit("3") }, "service": "shop", "environment": "prod",
                "version": "3", "status": "succeeded", "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:01:00Z" });
            api.post("/deployments/record", body).await.ok(201);
        }
        _ => return false,
    }
    true
}

db_test!(
    async fn every_change_shows_at_once_sealed_or_not(db: TestDb) {
        let api = Api::new(&db).await;
        let mut step = 0;
        while change(&api, step).await {
            let fresh = Api::new(&db).await;
            for sealed in [false, true] {
                for query in ["", "?owner=ann", "?tier=other", "?limit=1"] {
                    let path = format!("/matrix{query}");
                    let (kept, read) = (api.get(&path).await, fresh.get(&path).await);
                    assert_eq!(shown(&kept), shown(&read), "{path} after step {step}, sealed {sealed}");
                    assert_eq!(tag(&kept), tag(&read), "{path} after step {step}, sealed {sealed}");
                    assert_eq!(again(&api, &path, &tag(&read)).await.status, 304);
                }
                // What comes next is also seen where the one before it still waits for its seal.
                if step % 2 == 0 {
                    upkeep::seal_events(&api.app).await.unwrap();
                }
            }
            step += 1;
        }
        assert_eq!(step, 18);
    }
);

db_test!(
    async fn a_tag_is_another_when_something_else_is_shown_and_only_then(db: TestDb) {
        let api = Api::new(&db).await;
        api.deployed("shop/dev", "1").await;
        api.deployed("till/prod", "1").await;
        let (all, shop) = (api.get("/matrix").await, api.get("/matrix?service=shop").await);
        assert!(tag(&all).starts_with("W/\""), "{}", tag(&all));
        let unchanged = again(&api, "/matrix", &format!("\"other\", {}", tag(&all))).await;
        assert_eq!((unchanged.status, unchanged.text.as_str()), (304, ""));
        assert_eq!(unchanged.header("etag"), all.header("etag"));
        assert_eq!(unchanged.header("cache-control"), Some("no-store"));
        api.deployed("till/prod", "2").await;
        assert_eq!(again(&api, "/matrix", &tag(&all)).await.status, 200);
        assert_eq!(again(&api, "/matrix?service=shop", &tag(&shop)).await.status, 304, "till is not shown");
        upkeep::seal_events(&api.app).await.unwrap();
        assert_eq!(again(&api, "/matrix?service=shop", &tag(&shop)).await.status, 304);
        let narrow = api.token(&[Scope::Read], Some(&["shop"]), None).await;
        assert_eq!(again(&narrow, "/matrix", &tag(&all)).await.status, 200);
        let past = all.ok(200)["as_of"].as_str().unwrap().to_owned();
        let past = format!("/matrix?as_of={past}");
        let then = api.get(&past).await;
        assert_eq!(again(&api, &past, &tag(&then)).await.status, 304);
    }
);

db_test!(
    async fn what_is_kept_is_shown_to_those_who_may_see_it(db: TestDb) {
        let api = Api::new(&db).await;
        for (name, rank) in [("dev", 1), ("prod", 2)] {
            api.post("/environments", json!({ "name": name, "rank": rank })).await.ok(201);
        }
        for target in ["shop/dev", "till/dev"] {
            api.deployed(target, "1").await;
            api.deployed(target, "2").await;
        }
        api.deployed("shop/prod", "1").await;
        let all = api.get("/matrix").await.ok(200);
        assert_eq!(all["services"][0]["targets"][1]["behind"], 1);
        let narrow = api.token(&[Scope::Read], Some(&["shop"]), Some(&["prod"])).await;
        let before = narrow.get("/matrix").await;
        let seen = before.ok(200);
        assert_eq!(seen["environments"].as_array().unwrap().len(), 1, "{seen}");
        assert_eq!(seen["services"].as_array().unwrap().len(), 1, "{seen}");
        let target = &seen["services"][0]["targets"][0];
        assert_eq!((&target["environment"], &target["behind"]), (&json!("prod"), &Value::Null));
        api.deployed("shop/dev", "3").await;
        assert_eq!(
            again(&narrow, "/matrix", &tag(&before)).await.status,
            304,
            "nothing tells of what is hidden"
        );
        for hidden in ["service=till", "environment=dev"] {
            narrow.get(&format!("/matrix?{hidden}")).await.problem(404, "not-found");
            assert!(!narrow.get("/matrix").await.text.contains("till"));
        }
        let blind = api.token(&[Scope::Deploy], None, None).await;
        blind.get("/matrix").await.problem(403, "forbidden");
        let list = api.get("/tokens").await.ok(200);
        let admin_and_others = list["items"].as_array().unwrap();
        for token in admin_and_others.iter().filter(|token| token["services"].is_array()) {
            api.delete(&format!("/tokens/{}", token["id"].as_str().unwrap())).await;
        }
        narrow.get("/matrix").await.problem(401, "unauthenticated");
        let gone = again(&narrow, "/matrix", &tag(&before)).await;
        gone.problem(401, "unauthenticated");
    }
);

db_test!(
    async fn filters_and_pages_go_together(db: TestDb) {
        let api = Api::new(&db).await;
        for (name, owner, label) in
            [("pay", "ann", "1"), ("shop", "bob", "1"), ("a-till", "ann", "2"), ("till", "ann", "1")]
        {
            let service = json!({ "name": name, "owner": owner, "labels": { "line": label } });
            api.post("/services", service).await.ok(201);
            api.deployed(&format!("{name}/dev"), "1").await;
        }
        api.post("/environments", json!({ "name": "prod", "tier": "production" })).await.ok(201);
        for as_of in ["", "&as_of=2999-01-01T00:00:00Z", "now"] {
            let now = || async { api.get("/matrix").await.ok(200)["as_of"].as_str().unwrap().to_owned() };
            let as_of = if as_of == "now" { format!("&as_of={}", now().await) } else { as_of.to_owned() };
            let names = async |query: &str| {
                let (mut path, mut names) = (format!("/matrix?{query}{as_of}"), Vec::new());
                loop {
                    let answer = api.get(&path).await;
                    let page = answer.ok(200);
                    let services = page["services"].as_array().unwrap().iter();
                    names.extend(services.map(|service| service["name"].as_str().unwrap().to_owned()));
                    let Some(cursor) = page["next_cursor"].as_str() else {
                        assert_eq!(answer.header("link"), None);
                        return names;
                    };
                    assert!(answer.header("link").unwrap().contains(cursor));
                    path = format!("/matrix?{query}{as_of}&cursor={cursor}");
                }
            };
            assert_eq!(names("").await, ["a-till", "pay", "shop", "till"]);
            assert_eq!(names("limit=3").await, ["a-till", "pay", "shop", "till"]);
            assert_eq!(names("limit=1&owner=ann").await, ["a-till", "pay", "till"]);
            assert_eq!(names("limit=1&label=line%3D1").await, ["pay", "shop", "till"]);
            assert_eq!(names("label=line&owner=bob").await, ["shop"]);
            assert_eq!(names("owner=nobody").await, Vec::<String>::new());
            let prod = api.get(&format!("/matrix?tier=production&service=pay{as_of}")).await.ok(200);
            assert_eq!(prod["environments"].as_array().unwrap().len(), 1);
            assert_eq!(prod["services"][0]["targets"].as_array().unwrap().len(), 1);
        }
        let problem = api.get("/matrix?service=shob").await.problem(404, "not-found");
        assert!(problem["detail"].as_str().unwrap().contains("shop"), "{problem}");
        api.get("/matrix?environment=nowhere").await.problem(404, "not-found");
        for bad in ["limit=0", "limit=201", "cursor=nonsense", "tier=best", "servise=shop"] {
            api.get(&format!("/matrix?{bad}")).await.problem(400, "invalid-request");
        }
    }
);

db_test!(
    async fn a_ledger_that_was_set_back_is_read_anew(db: TestDb) {
        let api = Api::new(&db).await;
        api.deployed("shop/dev", "1").await;
        upkeep::seal_events(&api.app).await.unwrap();
        api.get("/matrix").await.ok(200);
        let direct = api.sql().await;
        for statement in [
            // Another history that has come as far, and in which shop was never deployed.
            "UPDATE event SET hash = 'another' WHERE seq = (SELECT seq FROM chain_head)",
            "UPDATE chain_head SET hash = 'another'",
            "UPDATE target SET current_deployment_id = NULL, current_release_id = NULL, current_artefact = NULL, \
             current_since = NULL, current_finished_at = NULL, current_token = NULL, current_subject = NULL",
        ] {
            direct.execute_unprepared(statement).await.unwrap();
        }
        let matrix = api.get("/matrix").await.ok(200);
        assert_eq!(matrix["services"][0]["targets"][0]["current"], Value::Null, "{matrix}");
        // And one that lost what nobody had sealed.
        api.started("shop/dev", "2").await;
        api.get("/matrix").await.ok(200);
        direct.execute_unprepared("DELETE FROM event WHERE seq IS NULL").await.unwrap();
        let running = "UPDATE target SET running_deployment_id = NULL, running_release_id = NULL, \
                       running_since = NULL, running_token = NULL, running_subject = NULL";
        direct.execute_unprepared(running).await.unwrap();
        let matrix = api.get("/matrix").await.ok(200);
        assert_eq!(matrix["services"][0]["targets"][0]["running"], Value::Null, "{matrix}");
    }
);

db_test!(
    async fn those_who_wait_for_the_same_share_it_until_nobody_asks(db: TestDb) {
        let api = Api::new(&db).await;
        api.deployed("shop/dev", "1").await;
        let readings = || api.app.matrix.readings();
        let answers = join_all((0..32).map(|_| api.get("/matrix"))).await;
        assert!(answers.iter().all(|answer| answer.ok(200)["services"][0]["name"] == "shop"));
        let read = readings();
        assert!((1..=3).contains(&read), "{read}");
        api.get("/matrix?service=shop").await.ok(200);
        assert_eq!(readings(), read, "nothing has changed");
        api.app.matrix.forget_unused(Duration::from_hours(1));
        api.get("/matrix").await.ok(200);
        assert_eq!(readings(), read, "somebody has just asked");
        api.app.matrix.forget_unused(Duration::ZERO);
        assert_eq!(api.get("/matrix").await.ok(200)["services"][0]["name"], "shop");
        assert_eq!(readings(), read + 1);
    }
);
