//! The audit log: one event for each change, in a chain that tells when somebody tampers with it.

use sea_orm::{ConnectionTrait as _, DatabaseConnection};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use waybill::{
    domain::chain::{Broken, GENESIS, Link},
    usecase::{
        audit::{VerifyError, follow_chain},
        upkeep,
    },
};

use crate::{
    db_test,
    support::api::{Api, commit, id_of, start_body},
};

pub async fn sealed(api: &Api) {
    while upkeep::seal_events(&api.app).await.unwrap() > 0 {}
}

async fn log(api: &Api) -> Vec<Value> {
    api.get("/events?limit=200").await.ok(200)["items"].as_array().unwrap().clone()
}

async fn kinds_after(api: &Api, seq: usize) -> Vec<String> {
    sealed(api).await;
    let events = api.get(&format!("/events?after_seq={seq}")).await.ok(200)["items"].clone();
    events.as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
}

/// The hash of an event as the documentation says it is made, without any code of the server.
fn hash(event: &Value) -> String {
    let field = |name: &str| format!("{}:{}", json!(name), event[name]);
    let actor =
        format!("{{\"subject\":{},\"token\":{}}}", event["actor"]["subject"], event["actor"]["token"]);
    let members = [
        format!("\"actor\":{actor}"),
        field("at"),
        field("data"),
        field("deployment_id"),
        field("environment"),
        field("id"),
        field("kind"),
        field("prev_hash"),
        field("request_id"),
        field("seq"),
        field("service"),
        field("version"),
    ];
    hex::encode(Sha256::digest(format!("{{{}}}", members.join(","))))
}

/// A few changes of every kind.
async fn some_history(api: &Api) {
    api.post("/services", json!({ "name": "shop", "owner": "team \"ü\" \u{1f680}" })).await.ok(201);
    api.deployed("shop/dev", "1").await;
    let id = api.started("shop/prod", "1").await;
    api.finished(&id, "failed").await;
    sealed(api).await;
}

db_test!(
    async fn every_change_leaves_its_events(db: TestDb) {
        let api = Api::new(&db).await;
        sealed(&api).await;
        let mut seen = log(&api).await.len();
        let mut expect = async |kinds: &[&str], what: &str| {
            let found = kinds_after(&api, seen).await;
            assert_eq!(found, kinds, "{what}");
            seen += found.len();
        };
        api.post("/services", json!({ "name": "shop" })).await.ok(201);
        expect(&["service.created"], "create").await;
        api.patch("/services/shop", json!({ "owner": "me" })).await.ok(200);
        expect(&["service.updated"], "update").await;
        api.patch("/services/shop", json!({ "owner": "me" })).await.ok(200);
        expect(&[], "an edit that changes nothing").await;
        api.delete("/services/shop").await.ok(200);
        expect(&["service.archived"], "archive").await;
        api.patch("/services/shop", json!({ "archived": false })).await.ok(200);
        expect(&["service.revived"], "revive").await;
        api.post("/environments", json!({ "name": "dev" })).await.ok(201);
        api.patch("/environments/dev", json!({ "rank": 3 })).await.ok(200);
        expect(&["environment.created", "environment.updated"], "environment").await;
        let release = json!({ "version": "1", "commit_sha": commit("1") });
        api.post("/services/shop/releases", release.clone()).await.ok(201);
        api.post("/services/shop/releases", release).await.ok(200);
        expect(&["release.registered"], "release").await;
        let first = api.started("shop/prod", "1").await;
        expect(&["environment.created", "deployment.started"], "start").await;
        api.start("shop/prod", "2").await.problem(409, "gate-denied");
        expect(&["release.registered", "gate.denied"], "a denial, and what it registered").await;
        api.post(&format!("/deployments/{first}/heartbeat"), json!({})).await.ok(200);
        expect(&[], "heartbeat").await;
        api.finished(&first, "succeeded").await;
        api.finished(&first, "succeeded").await;
        expect(&["deployment.succeeded"], "finish").await;
        let mut record = start_body("shop/dev", "1");
        record["status"] = json!("failed");
        record["started_at"] = json!("2026-01-01T00:00:00Z");
        record["finished_at"] = json!("2026-01-01T00:00:00Z");
        api.post("/deployments/record", record.clone()).await.ok(201);
        api.post("/deployments/record", record).await.ok(200);
        expect(&["deployment.recorded"], "record").await;
        let token = api.post("/tokens", json!({ "name": "ci", "scopes": ["read"] })).await.ok(201);
        let path = format!("/tokens/{}", id_of(&token));
        api.delete(&path).await.ok(204);
        api.delete(&path).await.ok(204);
        expect(&["token.created", "token.revoked"], "token").await;
        api.post("/services", json!({ "name": "Bad" })).await.faults();
        expect(&[], "a refusal").await;
    }
);

db_test!(
    async fn the_log_is_read_from_its_end_page_by_page(db: TestDb) {
        let api = Api::new(&db).await;
        some_history(&api).await;
        let expected: Vec<_> = log(&api).await.iter().rev().map(|event| event["seq"].clone()).collect();
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = api.get(&format!("/events?order=newest-first&limit=2{cursor}")).await.ok(200);
            seen.extend(page["items"].as_array().unwrap().iter().map(|event| event["seq"].clone()));
            assert_eq!(page["sealed_through"], expected[0]);
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, expected);
        let faults = api.get("/events?order=newest-first&after_seq=3").await;
        faults.problem(400, "invalid-request");
        let latest = api.get("/events?order=newest-first&kind=deployment.started&limit=1").await.ok(200);
        assert_eq!(latest["items"][0]["kind"], "deployment.started");
    }
);

db_test!(
    async fn the_log_is_numbered_without_a_gap_and_chained(db: TestDb) {
        let api = Api::new(&db).await;
        some_history(&api).await;
        let events = log(&api).await;
        let mut previous = GENESIS.to_owned();
        for (place, event) in events.iter().enumerate() {
            assert_eq!(event["seq"], place + 1);
            assert_eq!(event["prev_hash"], *previous);
            assert_eq!(event["hash"], *hash(event), "{event}");
            previous = event["hash"].as_str().unwrap().to_owned();
        }
        let head = api.get("/events/head").await.ok(200);
        assert_eq!((&head["seq"], &head["hash"]), (&json!(events.len()), &json!(previous)));
        assert_eq!(follow_chain(api.app.db.read(), None).await.unwrap().hash, previous);
        let page = api.get("/events?limit=1").await.ok(200);
        assert_eq!(page["sealed_through"], events.len());
    }
);

db_test!(
    async fn an_event_names_who_did_what_in_which_request(db: TestDb) {
        let api = Api::new(&db).await;
        let answer = api.start("shop/prod", "1").await;
        let deployment = answer.ok(201)["deployment"].clone();
        sealed(&api).await;
        let events = api.get("/events?kind=deployment.started&service=shop&environment=prod").await.ok(200);
        let event = &events["items"][0];
        assert_eq!(event["actor"], deployment["actor"]);
        assert_eq!(event["deployment_id"], deployment["id"]);
        assert_eq!(event["request_id"].as_str(), answer.header("x-request-id"));
        assert_eq!(event["version"], "1");
        let data = &event["data"];
        assert_eq!((&data["kind"], &data["release"]["commit_sha"]), (&json!("deploy"), &json!(commit("1"))));
    }
);

db_test!(
    async fn a_timeline_shows_what_is_not_sealed_yet(db: TestDb) {
        let api = Api::new(&db).await;
        let id = api.started("shop/prod", "1").await;
        sealed(&api).await;
        api.finished(&id, "failed").await;
        let sealed_through = api.get("/events").await.ok(200)["sealed_through"].clone();
        let timeline = api.deployment(&id).await["timeline"].clone();
        let kinds: Vec<_> = timeline.as_array().unwrap().iter().map(|entry| &entry["kind"]).collect();
        assert_eq!(kinds, ["deployment.started", "deployment.failed"]);
        assert_eq!(
            api.get("/events").await.ok(200)["sealed_through"],
            sealed_through,
            "reading seals nothing"
        );
    }
);

db_test!(
    async fn relays_at_once_seal_each_event_once(db: TestDb) {
        let (api, other) = (Api::new(&db).await, Api::new(&db).await);
        for n in 0..10 {
            api.started(&format!("shop/env-{n}"), "1").await;
        }
        let before = upkeep::seal_events(&api.app);
        let (one, two, three) =
            tokio::join!(before, upkeep::seal_events(&other.app), upkeep::seal_events(&api.app));
        let sealed = one.unwrap() + two.unwrap() + three.unwrap();
        assert_eq!(sealed, log(&api).await.len());
        follow_chain(api.app.db.read(), None).await.unwrap();
    }
);

async fn tamper(sql: &DatabaseConnection, statement: &str) {
    assert_eq!(sql.execute_unprepared(statement).await.unwrap().rows_affected(), 1, "{statement}");
}

db_test!(
    async fn tampering_is_detected_and_named(db: TestDb) {
        let api = Api::new(&db).await;
        some_history(&api).await;
        let sql = api.sql().await;
        let head = follow_chain(api.app.db.read(), None).await.unwrap();
        let (seq, last) = (3, head.seq);
        let broken = async || match follow_chain(api.app.db.read(), None).await {
            Err(VerifyError::Broken(broken)) => broken,
            other => panic!("{other:?}"),
        };
        for (column, value) in
            [("kind", "service.updated"), ("actor_token", "mallory"), ("data", "{}"), ("service", "pay")]
        {
            let column_of = format!("SELECT {column} AS text FROM event WHERE seq = {seq}");
            let statement = sea_orm::Statement::from_string(sql.get_database_backend(), column_of);
            let before: Option<String> =
                sql.query_one_raw(statement).await.unwrap().unwrap().try_get("", "text").unwrap();
            tamper(&sql, &format!("UPDATE event SET {column} = '{value}' WHERE seq = {seq}")).await;
            assert_eq!(broken().await, Broken::Altered { seq }, "{column}");
            let before = before.map_or("NULL".to_owned(), |text| format!("'{}'", text.replace('\'', "''")));
            tamper(&sql, &format!("UPDATE event SET {column} = {before} WHERE seq = {seq}")).await;
            assert_eq!(follow_chain(api.app.db.read(), None).await.unwrap(), head, "whole again");
        }
        tamper(&sql, &format!("UPDATE event SET prev_hash = '{GENESIS}' WHERE seq = {seq}")).await;
        assert_eq!(broken().await, Broken::Unlinked { seq });
        tamper(&sql, &format!("DELETE FROM event WHERE seq = {seq}")).await;
        assert_eq!(broken().await, Broken::Gap { expected: seq, found: seq + 1 });
        tamper(&sql, "DELETE FROM event WHERE seq = 2").await;
        assert_eq!(broken().await, Broken::Gap { expected: 2, found: seq + 1 });
        sql.execute_unprepared("DELETE FROM event WHERE seq > 1").await.unwrap();
        let cut = follow_chain(api.app.db.read(), None).await.unwrap_err();
        assert!(matches!(cut, VerifyError::Broken(Broken::Head { found: 1, head }) if head == last), "{cut}");
    }
);

db_test!(
    async fn a_log_that_was_forged_as_a_whole_does_not_hold_an_anchor(db: TestDb) {
        let api = Api::new(&db).await;
        some_history(&api).await;
        let head = follow_chain(api.app.db.read(), None).await.unwrap();
        assert_eq!(follow_chain(api.app.db.read(), Some(&head)).await.unwrap(), head);
        let forged = Link { seq: head.seq, hash: "f".repeat(64) };
        let error = follow_chain(api.app.db.read(), Some(&forged)).await.unwrap_err();
        assert!(matches!(error, VerifyError::Broken(Broken::Anchor { seq }) if seq == head.seq), "{error}");
    }
);
