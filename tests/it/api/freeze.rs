//! Freeze windows: declared, edited and taken back, seen by whoever may, and in force from the moment of the answer.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use poem::http::Method;
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};
use waybill::{domain::vocabulary::Scope, usecase::upkeep};

use crate::{
    api::audit::sealed,
    db_test,
    support::api::{Api, id_of},
};

pub fn at(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap_or_else(|| panic!("no time: {value}")).parse().unwrap()
}

/// A window that holds now, for this long.
pub fn now_for(covers: &Value, lasts: TimeDelta) -> Value {
    let now = waybill::clock::now();
    let mut body = json!({ "name": "now", "reason": "hands off", "starts_at": now - TimeDelta::hours(1), "ends_at": now + lasts });
    body.as_object_mut().unwrap().extend(covers.as_object().unwrap().clone());
    body
}

pub fn weekend(covers: &Value) -> Value {
    let mut body = json!({
        "name": "weekend", "reason": "nobody is here",
        "start_cron": "0 18 * * FRI", "end_cron": "0 8 * * MON", "timezone": "Europe/Berlin",
    });
    body.as_object_mut().unwrap().extend(covers.as_object().unwrap().clone());
    body
}

pub async fn with_environments(db: &crate::support::db::TestDb, names: &[&str]) -> Api {
    let api = Api::new(db).await;
    for name in names {
        api.post("/environments", json!({ "name": name })).await.ok(201);
    }
    api
}

pub async fn events(api: &Api, query: &str) -> Vec<Value> {
    while upkeep::seal_events(&api.app).await.unwrap() > 0 {}
    let items = api.get(&format!("/events?limit=200&{query}")).await.ok(200)["items"].take();
    let is_freeze = |event: &Value| event["kind"].as_str().unwrap().starts_with("freeze.");
    items.as_array().unwrap().iter().filter(|event| is_freeze(event)).cloned().collect()
}

db_test!(
    async fn a_window_is_declared_edited_and_taken_back(db: TestDb) {
        let api = with_environments(&db, &["prod", "staging"]).await;
        let body = weekend(&json!({ "environments": ["prod"] }));
        let answer = api.post("/freeze-windows", body.clone()).await;
        let made = answer.ok(201);
        let path = format!("/freeze-windows/{}", id_of(&made));
        assert_eq!(answer.header("location"), Some(format!("/api/v1{path}").as_str()));
        assert_eq!(answer.header("etag"), Some("\"1\""));
        for (name, value) in body.as_object().unwrap() {
            assert_eq!(made[name], *value, "{name}");
        }
        for name in ["tiers", "starts_at", "ends_at"] {
            assert!(made[name].is_null(), "{made}");
        }
        assert!(at(&made["next_starts_at"]) > at(&made["created_at"]));
        assert_eq!(made["opens_at"].is_string(), made["active"] == true);
        assert_eq!(api.get(&path).await.ok(200)["id"], made["id"]);

        let edit = json!({ "environments": null, "tiers": ["staging"], "reason": "why not" });
        let stale = api.send_json(Method::PATCH, &path, &[("if-match", "\"2\"")], &edit).await;
        stale.problem(412, "stale");
        let answer = api.send_json(Method::PATCH, &path, &[("if-match", "\"1\"")], &edit).await;
        let edited = answer.ok(200);
        assert_eq!((answer.header("etag"), &edited["tiers"]), (Some("\"2\""), &json!(["staging"])));
        assert!(edited["environments"].is_null() && edited["name"] == "weekend");
        let same = api.patch(&path, edit).await;
        assert_eq!((same.header("etag"), same.ok(200)), (Some("\"2\""), edited.clone()));
        let once = json!({ "start_cron": null, "end_cron": null, "timezone": null,
            "starts_at": "2099-01-01T00:00:00Z", "ends_at": "2099-01-02T00:00:00+01:00" });
        let once = api.patch(&path, once).await.ok(200);
        assert_eq!(once["ends_at"], "2099-01-01T23:00:00.000000Z");
        assert_eq!((&once["active"], &once["next_starts_at"]), (&json!(false), &once["starts_at"]));

        let stale = api.send(Method::DELETE, &path, &[("if-match", "\"1\"")], None).await;
        stale.problem(412, "stale");
        assert!(api.send(Method::DELETE, &path, &[("if-match", "\"3\"")], None).await.ok(204).is_null());
        for answer in [api.get(&path).await, api.delete(&path).await, api.patch(&path, json!({})).await] {
            answer.problem(404, "not-found");
        }
        let events = events(&api, "").await;
        let kinds: Vec<_> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["freeze.created", "freeze.updated", "freeze.updated", "freeze.deleted"]);
        assert_eq!(events[0]["environment"], "prod", "it is about that one alone");
        assert!(events[1]["environment"].is_null());
        assert_eq!(events[0]["data"]["window"]["start_cron"], "0 18 * * FRI");
        assert_eq!(events[1]["data"]["before"]["environments"], json!(["prod"]));
        assert_eq!(events[1]["data"]["after"]["tiers"], json!(["staging"]));
        assert_eq!(events[3]["data"]["window"]["name"], "weekend");
        assert_eq!(events[3]["data"]["id"], made["id"]);
    }
);

db_test!(
    async fn every_fault_of_a_window_is_named(db: TestDb) {
        let api = with_environments(&db, &["prod"]).await;
        let fault = |pointer: &str, code: &str| (pointer.to_owned(), code.to_owned());
        let refused = async |body: Value| api.post("/freeze-windows", body).await.faults();
        assert_eq!(
            refused(json!({ "name": " ", "reason": "" })).await,
            [
                fault("/name", "empty"),
                fault("/reason", "empty"),
                fault("/environments", "required"),
                fault("/starts_at", "required"),
            ]
        );
        let wrong = json!({
            "name": "n", "reason": "r", "environments": ["prod", "qa", "No"],
            "start_cron": "0 18 * *", "end_cron": "0 0 30 2 *", "timezone": "Berlin",
        });
        assert_eq!(
            refused(wrong).await,
            [
                fault("/environments/1", "unknown"),
                fault("/environments/2", "invalid-name"),
                fault("/start_cron", "invalid-cron"),
                fault("/end_cron", "never-ends"),
                fault("/timezone", "unknown-timezone"),
            ]
        );
        let over = now_for(&json!({ "tiers": ["production"] }), TimeDelta::minutes(-1));
        assert_eq!(refused(over).await, [fault("/ends_at", "past")]);
        let mut never = weekend(&json!({ "tiers": ["production"] }));
        never["end_cron"] = json!("0 18 * * *");
        assert_eq!(refused(never).await, [fault("/end_cron", "never-holds")]);
        for body in [
            json!({ "name": 1, "reason": "r", "tiers": ["prod"], "starts_at": "tomorrow", "colour": "red" }),
            json!({ "name": "n", "reason": "r", "tiers": "production" }),
            json!([]),
            json!({ "name": "n\u{0}", "reason": "r\u{7}", "environments": ["prod\u{0}"] }),
        ] {
            api.post("/freeze-windows", body).await.assert_refused("a bad body");
        }
        let made = api.post("/freeze-windows", weekend(&json!({ "tiers": ["production"] }))).await.ok(201);
        let path = format!("/freeze-windows/{}", id_of(&made));
        for (edit, pointer, code) in [
            (json!({ "environments": ["prod"] }), "/tiers", "conflicting"),
            (json!({ "tiers": null }), "/environments", "required"),
            (json!({ "tiers": [] }), "/tiers", "empty"),
            (json!({ "ends_at": "2099-01-01T00:00:00Z" }), "/start_cron", "conflicting"),
            (json!({ "timezone": null }), "/timezone", "required"),
            (json!({ "end_cron": "0 18 * * FRI" }), "/end_cron", "never-holds"),
        ] {
            assert_eq!(api.patch(&path, edit.clone()).await.faults(), [fault(pointer, code)], "{edit}");
        }
        assert_eq!(api.get(&path).await.header("etag"), Some("\"1\""));
        for bad in ["/freeze-windows/x", "/freeze-windows/00000000-0000-0000-0000-00000000000"] {
            api.get(bad).await.assert_refused(bad);
        }
    }
);

db_test!(
    async fn windows_are_listed_newest_first_page_by_page(db: TestDb) {
        let api = with_environments(&db, &["prod", "prod-eu", "dev", "qa"]).await;
        let mut ids = Vec::new();
        for n in 0..5 {
            let covers = [
                json!({ "environments": ["prod"] }),
                json!({ "environments": ["prod-eu", "dev"] }),
                json!({ "tiers": ["production"] }),
            ][n % 3]
                .clone();
            ids.push(id_of(&api.post("/freeze-windows", weekend(&covers)).await.ok(201)));
        }
        ids.reverse();
        let mut found = Vec::new();
        let mut next = Some("/freeze-windows?limit=2".to_owned());
        while let Some(path) = next {
            let answer = api.get(&path).await;
            let page = answer.ok(200);
            found.extend(page["items"].as_array().unwrap().iter().map(id_of));
            next =
                page["next_cursor"].as_str().map(|cursor| format!("/freeze-windows?limit=2&cursor={cursor}"));
            assert_eq!(answer.header("link").is_some(), next.is_some());
        }
        assert_eq!(found, ids);
        for (environment, places) in
            [("prod", vec![1, 2, 4]), ("prod-eu", vec![0, 2, 3]), ("dev", vec![0, 3]), ("qa", vec![])]
        {
            let list = api.get(&format!("/freeze-windows?environment={environment}")).await.ok(200);
            let found: Vec<_> = list["items"].as_array().unwrap().iter().map(id_of).collect();
            let expected: Vec<_> = places.iter().map(|place: &usize| ids[*place].clone()).collect();
            assert_eq!(found, expected, "{environment}");
        }
        for bad in ["limit=0", "limit=201", "cursor=x", "cursor=IlwwIg"] {
            api.get(&format!("/freeze-windows?{bad}")).await.assert_refused(bad);
        }
    }
);

/// How many windows the audit log tells of.
async fn told(api: &Api) -> usize {
    api.get("/events?kind=freeze.created").await.ok(200)["items"].as_array().unwrap().len()
}

db_test!(
    async fn a_narrowed_token_sees_what_counts_where_it_reaches(db: TestDb) {
        let api = with_environments(&db, &["prod", "prod-eu", "dev"]).await;
        let by_tier = api.post("/freeze-windows", weekend(&json!({ "tiers": ["production"] }))).await.ok(201);
        let both = weekend(&json!({ "environments": ["prod", "dev"] }));
        let both = api.post("/freeze-windows", both).await.ok(201);
        let hidden = weekend(&json!({ "environments": ["prod-eu"] }));
        let hidden = api.post("/freeze-windows", hidden).await.ok(201);
        let path = |window: &Value| format!("/freeze-windows/{}", id_of(window));

        let narrow = api.token(&[Scope::Read], None, Some(&["prod"])).await;
        let list = narrow.get("/freeze-windows").await.ok(200)["items"].take();
        let seen: Vec<_> = list.as_array().unwrap().iter().map(id_of).collect();
        assert_eq!(seen, [id_of(&both), id_of(&by_tier)]);
        assert_eq!(list[0]["environments"], json!(["prod"]), "and no other name");
        narrow.get(&path(&hidden)).await.problem(404, "not-found");
        sealed(&api).await;
        assert!(told(&api).await >= 3);
        assert_eq!(told(&narrow).await, 0, "nor by the audit log, which names other environments");
        let calendar = narrow.get("/freeze-windows/calendar").await.ok(200)["items"].take();
        assert!(calendar.as_array().unwrap().iter().all(|item| item["environment"] == "prod"), "{calendar}");
        narrow.get("/freeze-windows/calendar?environment=dev").await.problem(404, "not-found");
        narrow
            .post("/freeze-windows", weekend(&json!({ "environments": ["prod"] })))
            .await
            .problem(403, "forbidden");

        let admin = api.token(&[Scope::Admin], None, Some(&["prod"])).await;
        for covers in [json!({ "tiers": ["production"] }), json!({ "environments": ["prod", "dev"] })] {
            admin.post("/freeze-windows", weekend(&covers)).await.problem(403, "forbidden");
        }
        let own = admin.post("/freeze-windows", weekend(&json!({ "environments": ["prod"] }))).await.ok(201);
        admin.patch(&path(&own), json!({ "environments": ["dev"] })).await.problem(403, "forbidden");
        admin.patch(&path(&own), json!({ "name": "mine" })).await.ok(200);
        for others in [&by_tier, &both] {
            admin.patch(&path(others), json!({ "name": "mine" })).await.problem(403, "forbidden");
            admin.delete(&path(others)).await.problem(403, "forbidden");
        }
        admin.delete(&path(&hidden)).await.problem(404, "not-found");
        admin.delete(&path(&own)).await.ok(204);
        let of_a_service = api.token(&[Scope::Admin], Some(&["shop"]), None).await;
        let body = weekend(&json!({ "environments": ["prod"] }));
        of_a_service.post("/freeze-windows", body).await.problem(403, "forbidden");
        of_a_service.delete(&path(&both)).await.problem(403, "forbidden");
        let enough = [Scope::Freeze, Scope::Admin];
        let others: Vec<_> = Scope::ALL.iter().copied().filter(|scope| !enough.contains(scope)).collect();
        let other = api.token(&others, None, None).await;
        other.delete(&path(&both)).await.problem(403, "forbidden");
        other.patch(&path(&both), json!({})).await.problem(403, "forbidden");
        other.get(&path(&both)).await.ok(200);
        let blind = api.token(&[Scope::Deploy], None, None).await;
        for path in ["/freeze-windows", "/freeze-windows/calendar", &path(&both)] {
            blind.get(path).await.problem(403, "forbidden");
        }
    }
);

db_test!(
    async fn the_calendar_shows_merged_stretches_for_each_environment(db: TestDb) {
        let api = with_environments(&db, &["dev", "prod", "gone"]).await;
        api.delete("/environments/gone").await.ok(200);
        api.post("/freeze-windows", weekend(&json!({ "tiers": ["production"] }))).await.ok(201);
        let monday = json!({
            "name": "monday", "reason": "r", "environments": ["prod", "dev", "gone"],
            "starts_at": "2099-03-30T06:00:00Z", "ends_at": "2099-03-30T12:00:00Z",
        });
        api.post("/freeze-windows", monday).await.ok(201);
        let span = "from=2099-03-26T00:00:00Z&to=2099-04-04T00:00:00Z";
        let found = api.get(&format!("/freeze-windows/calendar?{span}")).await.ok(200);
        assert_eq!(found["from"], "2099-03-26T00:00:00.000000Z");
        let shown: Vec<_> = found["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| {
                let names: Vec<_> =
                    item["windows"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
                json!([item["environment"], item["starts_at"], item["ends_at"], names])
            })
            .collect();
        assert_eq!(
            shown,
            [
                json!(["dev", "2099-03-30T06:00:00.000000Z", "2099-03-30T12:00:00.000000Z", ["monday"]]),
                // On that Sunday the clocks of Berlin go forward.
                json!([
                    "prod",
                    "2099-03-27T17:00:00.000000Z",
                    "2099-03-30T12:00:00.000000Z",
                    ["weekend", "monday"]
                ]),
                json!(["prod", "2099-04-03T16:00:00.000000Z", "2099-04-04T00:00:00.000000Z", ["weekend"]]),
            ]
        );
        let only = api.get(&format!("/freeze-windows/calendar?{span}&environment=dev")).await.ok(200);
        assert_eq!(only["items"].as_array().unwrap().len(), 1);
        let default = api.get("/freeze-windows/calendar").await.ok(200);
        assert_eq!(at(&default["to"]) - at(&default["from"]), TimeDelta::days(30));
        api.get("/freeze-windows/calendar?environment=nowhere").await.problem(404, "not-found");
        for bad in [
            "from=2099-01-01T00:00:00Z&to=2100-01-03T00:00:00Z",
            "from=2099-01-01T00:00:00Z&to=2099-01-01T00:00:00Z",
            "to=2001-01-01T00:00:00Z",
            "from=yesterday",
        ] {
            let problem = api.get(&format!("/freeze-windows/calendar?{bad}")).await;
            problem.problem(400, "invalid-request");
        }
        for (from, to) in
            [("0000-01-01", "0000-12-31"), ("9999-01-01", "9999-12-31"), ("4998-12-31", "5000-01-01")]
        {
            let span = format!("from={from}T00:00:00Z&to={to}T00:00:00Z");
            api.get(&format!("/freeze-windows/calendar?{span}")).await.ok(200);
        }
        let mut busy = weekend(&json!({ "environments": ["dev"] }));
        (busy["start_cron"], busy["end_cron"]) = (json!("*/2 * * * *"), json!("1-59/2 * * * *"));
        api.post("/freeze-windows", busy).await.ok(201);
        let year = "from=2099-01-01T00:00:00Z&to=2100-01-01T00:00:00Z";
        let problem =
            api.get(&format!("/freeze-windows/calendar?{year}")).await.problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["code"], "too-many");
    }
);

db_test!(
    async fn a_start_is_held_up_while_a_window_holds(db: TestDb) {
        let api = Api::new(&db).await;
        let running = api.started("pay/prod", "1").await;
        api.deployed("shop/prod", "1").await;
        api.deployed("shop/prod", "2").await;
        let hour = TimeDelta::hours(1);
        let by_name =
            api.post("/freeze-windows", now_for(&json!({ "environments": ["prod"] }), hour)).await.ok(201);
        assert_eq!((&by_name["active"], &by_name["opens_at"]), (&json!(true), &by_name["ends_at"]));
        let denied = api.start("shop/prod", "3").await;
        let problem = denied.problem(409, "gate-denied");
        assert!(denied.header("retry-after").unwrap().parse::<i64>().unwrap() > 3500);
        let check = problem["decision"]["checks"]
            .as_array()
            .unwrap()
            .iter()
            .find(|check| check["rule"] == "freeze")
            .unwrap();
        assert_eq!((&check["code"], &check["retry_at"]), (&json!("freeze-window"), &by_name["ends_at"]));
        assert_eq!(check["details"]["windows"][0]["id"], by_name["id"]);
        api.started("shop/staging", "3").await;
        api.finished(&running, "succeeded").await;

        // A second window goes on where the first one ends.
        let mut longer = now_for(&json!({ "tiers": ["production"] }), hour * 2);
        longer["starts_at"] = by_name["ends_at"].clone();
        let longer = api.post("/freeze-windows", longer).await.ok(201);
        let problem = api.start("shop/prod", "3").await.problem(409, "gate-denied");
        assert_eq!(problem["decision"]["retry_at"], longer["ends_at"]);
        let mut back =
            json!({ "service": "shop", "environment": "prod", "version": "1", "kind": "rollback" });
        api.post("/deployments", back.clone()).await.ok(201);
        (back["kind"], back["version"]) = (json!("deploy"), json!("2"));

        api.delete(&format!("/freeze-windows/{}", id_of(&by_name))).await.ok(204);
        api.started("pay/prod", "2").await;
        // It counts in environments that are registered later, too.
        let path = format!("/freeze-windows/{}", id_of(&longer));
        api.patch(&path, json!({ "starts_at": "2020-01-01T00:00:00Z" })).await.ok(200);
        api.start("new/prod-asia", "1").await.problem(409, "gate-denied");
        api.patch(&path, json!({ "tiers": ["staging"] })).await.ok(200);
        api.started("new/prod-asia", "1").await;
        api.patch("/environments/prod-asia", json!({ "tier": "staging" })).await.ok(200);
        api.start("other/prod-asia", "1").await.problem(409, "gate-denied");
    }
);

/// Whether a start that went through, or was refused, agrees with the moment from which a window counts.
#[track_caller]
fn assert_in_order(started: &crate::support::api::Answer, counts_from: &Value) {
    match started.status {
        201 => assert!(at(&started.json()["deployment"]["started_at"]) < at(counts_from), "{}", started.text),
        409 => {
            assert!(at(&started.json()["decision"]["evaluated_at"]) >= at(counts_from), "{}", started.text);
        }
        _ => panic!("{}", started.text),
    }
}

db_test!(
    async fn no_start_goes_by_a_window_that_is_declared_or_edited_at_the_same_moment(db: TestDb) {
        let api = with_environments(&db, &["prod"]).await;
        for round in 0..8 {
            // The environment is registered by the start, at that very moment.
            let (target, pay, later) =
                (format!("shop/staging-{round}"), format!("pay-{round}/prod"), format!("also-{round}/prod"));
            let body = now_for(&json!({ "tiers": ["production", "staging"] }), TimeDelta::hours(1));
            let (made, started, edited, also) = tokio::join!(
                api.post("/freeze-windows", body),
                api.start(&target, "1"),
                api.patch("/environments/prod", json!({ "rank": round + 1 })),
                api.start(&pay, "1"),
            );
            let made = made.ok(201);
            edited.ok(200);
            assert_in_order(&started, &made["created_at"]);
            assert_in_order(&also, &made["created_at"]);
            let path = format!("/freeze-windows/{}", id_of(&made));
            api.patch(&path, json!({ "tiers": ["testing"] })).await.ok(200);
            let (edited, started) = tokio::join!(
                api.patch(&path, json!({ "tiers": ["production", "staging"] })),
                api.start(&later, "1"),
            );
            assert_in_order(&started, &edited.ok(200)["updated_at"]);
            api.delete(&path).await.ok(204);
        }
    }
);

db_test!(
    async fn of_edits_of_one_revision_one_is_made(db: TestDb) {
        let api = with_environments(&db, &["prod"]).await;
        let made = api.post("/freeze-windows", weekend(&json!({ "tiers": ["production"] }))).await.ok(201);
        let path = format!("/freeze-windows/{}", id_of(&made));
        let edits = (0..5).map(|n| {
            let (api, path) = (api.clone(), path.clone());
            let body = json!({ "name": format!("name {n}") });
            async move { api.send_json(Method::PATCH, &path, &[("if-match", "\"1\"")], &body).await.status }
        });
        let mut statuses = join_all(edits).await;
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412, 412, 412, 412]);
        let body = weekend(&json!({ "environments": ["prod"] }));
        let once = (0..4).map(|_| {
            let (api, body) = (api.clone(), body.clone());
            async move { id_of(&api.post_once("key", "/freeze-windows", body).await.ok(201)) }
        });
        let ids = join_all(once).await;
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(api.get("/freeze-windows").await.ok(200)["items"].as_array().unwrap().len(), 2);
    }
);

db_test!(
    async fn there_are_only_so_many_windows(db: TestDb) {
        let api = Api::new(&db).await;
        api.post("/freeze-windows", weekend(&json!({ "tiers": ["production"] }))).await.ok(201);
        let sql = api.sql().await;
        let backend = sql.get_database_backend();
        let id = if db.is_postgres() { "gen_random_uuid()" } else { "randomblob(16)" };
        let double = format!(
            "INSERT INTO freeze_window SELECT {id}, name, reason, environments, tiers, starts_at, ends_at, start_cron, \
             end_cron, timezone, revision, actor_token, actor_subject, created_at, updated_at, services FROM freeze_window"
        );
        for _ in 0..10 {
            sql.execute_raw(Statement::from_string(backend, double.clone())).await.unwrap();
        }
        let one_more = api.post("/freeze-windows", weekend(&json!({ "tiers": ["staging"] }))).await;
        let problem = one_more.problem(409, "conflict");
        assert!(problem["detail"].as_str().unwrap().contains("1000"), "{problem}");
        assert_eq!(
            api.get("/freeze-windows?limit=200").await.ok(200)["items"].as_array().unwrap().len(),
            200
        );
    }
);
