//! `waybill audit verify --deep`: a ledger that nobody has touched is sound, and each way of tampering is named.

use std::collections::BTreeSet;

use sea_orm::ConnectionTrait as _;
use serde_json::json;
use waybill::{
    domain::{chain::Link, vocabulary::Scope},
    store::audit::{
        rows::{self, Table},
        unread::Cursor,
    },
    usecase::{
        audit::{self, Asked, Report},
        upkeep,
    },
};

use crate::{
    api::audit::sealed,
    api::scans::{plain, scans},
    db_test,
    support::{
        api::{Api, id_of, image, release, start_body},
        db::TestDb,
    },
};

/// Something of every kind that events tell of, with an unsealed tail.
async fn history(api: &Api) {
    api.post("/services", json!({ "name": "shop", "owner": "team", "labels": { "a": "b" } })).await.ok(201);
    api.patch("/services/shop", json!({ "owner": "others" })).await.ok(200);
    for name in ["dev", "prod", "old"] {
        api.post("/environments", json!({ "name": name })).await.ok(201);
    }
    api.patch("/environments/prod", json!({ "rank": 7 })).await.ok(200);
    for path in ["/environments/old", "/services/shop"] {
        api.delete(path).await.ok(200);
    }
    api.patch("/services/shop", json!({ "archived": false })).await.ok(200);
    for version in ["1", "2"] {
        let mut body = release(version);
        body["version"] = json!(version);
        body["initiated_by"] = json!("ann");
        api.post("/services/shop/releases", body).await.ok(201);
    }
    let mut with_image = release("2");
    with_image["version"] = json!("2");
    with_image["image"] = json!(image('a'));
    api.post("/services/shop/releases", with_image).await.ok(200);
    for critical in [0, 3] {
        let at = format!("2026-01-01T0{critical}:00:00Z");
        api.post(&scans("2"), plain("snyk", &at, critical)).await.ok(201);
    }
    api.deployed("shop/dev", "1").await;
    api.deployed("shop/dev", "2").await;
    let mut rollback = start_body("shop/dev", "1");
    rollback["kind"] = json!("rollback");
    api.started("shop/dev", "2").await;
    rollback["preempt"] = json!(true);
    let rolled = api.post("/deployments", rollback).await.ok(201);
    let id = rolled["deployment"]["id"].as_str().unwrap().to_owned();
    api.post(&format!("/deployments/{id}/heartbeat"), json!({ "phase": "half", "message": "on its way" }))
        .await
        .ok(200);
    api.finished(&id, "succeeded").await;
    let mut record = start_body("shop/dev", "2");
    record["status"] = json!("succeeded");
    record["started_at"] = json!("2026-01-01T00:00:00Z");
    record["finished_at"] = json!("2026-01-01T00:01:00Z");
    api.post("/deployments/record", record).await.ok(201);
    let approver = api.person("bob", &[Scope::Read, Scope::Approve], &["qa"]).await;
    for decision in ["rejected", "approved"] {
        let body = json!({ "environment": "prod", "decision": decision, "comment": "seen" });
        approver.post("/services/shop/releases/1/approvals", body).await.ok(201);
    }
    api.put("/environments/prod/policy", json!({ "approval": { "groups": ["qa"] } })).await.ok(200);
    let window = json!({
        "name": "party", "reason": "everybody is away", "environments": ["old"],
        "starts_at": "2099-01-01T00:00:00Z", "ends_at": "2099-01-02T00:00:00Z",
    });
    let kept = api.post("/freeze-windows", window.clone()).await.ok(201);
    let gone = api.post("/freeze-windows", window).await.ok(201);
    api.patch(&format!("/freeze-windows/{}", id_of(&kept)), json!({ "reason": "nobody is here" }))
        .await
        .ok(200);
    api.delete(&format!("/freeze-windows/{}", id_of(&gone))).await.ok(204);
    api.put("/environments/prod/lockdown", json!({ "reason": "fire" })).await.ok(200);
    api.put("/environments/prod/lockdown", json!({ "reason": "flood" })).await.ok(200);
    api.start("shop/prod", "2").await.problem(409, "gate-denied");
    let token = api.post("/tokens", json!({ "name": "ci", "scopes": ["read"] })).await.ok(201);
    api.delete(&format!("/tokens/{}", id_of(&token))).await.ok(204);
    sealed(api).await;
    api.started("pay/new", "7").await;
}

async fn verified(api: &Api, anchors: &[Link], deep: bool) -> Report {
    audit::verify(&api.app.db, &Asked { anchors: anchors.to_vec(), deep }).await.unwrap()
}

fn lines(report: &Report) -> Vec<String> {
    report.findings.listed().iter().map(ToString::to_string).collect()
}

/// What is done to a ledger, and what is found then: a part of one of the lines.
const TAMPERED: &[(&str, &str)] = &[
    ("UPDATE service SET owner = 'me' WHERE name = 'shop'", "service shop: its description is "),
    ("UPDATE service SET archived_at = created_at WHERE name = 'shop'", "service shop: its archived_at is "),
    ("UPDATE service SET name = 'evil' WHERE name = 'pay'", "service evil: it is on record, but no event"),
    ("UPDATE service SET name = 'evil' WHERE name = 'pay'", "service pay: events tell of it, but it is not"),
    (
        "UPDATE service SET created_at = '2020-01-01 00:00:00+00:00' WHERE name = 'shop'",
        "service shop: its created_at is ",
    ),
    ("UPDATE environment SET rank = 8 WHERE name = 'prod'", "environment prod: its settings is "),
    (
        "UPDATE environment SET archived_at = NULL WHERE name = 'old'",
        "environment old: its archived_at is null",
    ),
    (
        "UPDATE environment SET unconfirmed = FALSE WHERE name = 'new'",
        "environment new: its unconfirmed is false",
    ),
    ("UPDATE environment SET policy = '{}' WHERE name = 'prod'", "environment prod: its policy is "),
    (
        "UPDATE environment SET policy = NULL, policy_version = NULL WHERE name = 'prod'",
        "environment prod: its policy is null",
    ),
    ("UPDATE environment SET policy = NULL WHERE name = 'prod'", "it holds an unreadable policy"),
    (
        "UPDATE environment SET policy = '{\"approval\":7}' WHERE name = 'prod'",
        "environment prod: its policy cannot be relied on: ",
    ),
    (
        "UPDATE environment SET policy = '{\"approval\":{},\"approval\":{}}' WHERE name = 'prod'",
        "the key \"approval\" is there twice",
    ),
    (
        "UPDATE environment SET lockdown_reason = 'x' WHERE name = 'prod'",
        "environment prod: its lockdown is ",
    ),
    ("UPDATE environment SET lockdown_token = NULL WHERE name = 'prod'", "it holds an unreadable lockdown"),
    (
        "UPDATE environment SET lockdown_reason = NULL, lockdown_token = NULL, lockdown_subject = NULL, \
      lockdown_since = NULL WHERE name = 'prod'",
        "environment prod: its lockdown is null",
    ),
    (
        "UPDATE release SET commit_sha = 'feedfacefeedface' WHERE version = '1'",
        "release 1 of shop: its commit_sha is ",
    ),
    ("UPDATE release SET artefact = 'other' WHERE version = '2'", "release 2 of shop: its artefact is "),
    (
        "UPDATE release SET initiated_by = 'bob' WHERE version = '1'",
        "release 1 of shop: its initiated_by is \"bob\"",
    ),
    (
        "UPDATE release SET image_added_by = NULL WHERE version = '2'",
        "release 2 of shop: its image_added_by is null",
    ),
    (
        "UPDATE release SET labels = '{\"a\":\"1\",\"a\":\"2\"}' WHERE version = '1'",
        "release 1: its labels cannot be relied on",
    ),
    ("UPDATE deployment SET actor_subject = 'me' WHERE preempted", ": its actor is "),
    ("UPDATE deployment SET preempted = FALSE WHERE preempted", ": its preempted is false"),
    ("UPDATE deployment SET verified = FALSE WHERE kind = 'rollback'", ": its verified is false"),
    ("UPDATE deployment SET credited = TRUE, ungated = TRUE WHERE recorded", ": its ungated is true"),
    (
        "UPDATE deployment SET override_reason = 'x' WHERE status = 'running'",
        ": its override_reason is \"x\"",
    ),
    (
        "UPDATE deployment SET status = 'failed', finished_at = started_at WHERE status = 'running'",
        ": its status is \"failed\"",
    ),
    (
        "UPDATE deployment SET status = 'failed', finished_at = started_at WHERE status = 'running'",
        "target pay in new: what it calls running",
    ),
    (
        "UPDATE deployment SET reverted_by = NULL WHERE reverted_by IS NOT NULL",
        "its reverted_by names no rollback",
    ),
    (
        "UPDATE deployment SET stay_started_at = started_at WHERE recorded",
        "its stay_started_at does not follow",
    ),
    (
        "UPDATE deployment SET superseded_by = NULL WHERE recorded",
        "its superseded_by and superseded_at do not",
    ),
    (
        "UPDATE target SET current_artefact = 'x' WHERE current_artefact IS NOT NULL",
        "target shop in dev: what it calls current",
    ),
    (
        "UPDATE target SET last_at = NULL WHERE running_deployment_id IS NOT NULL",
        "target pay in new: its last_started_at and last_at are not",
    ),
    (
        "UPDATE target SET last_started_at = '2099-01-01T00:00:00+00:00' WHERE current_artefact IS NOT NULL",
        "target shop in dev: its last_started_at and last_at are not",
    ),
    (
        "UPDATE scan SET artefact = 'sha256:bbb'; UPDATE scan_part SET artefact = 'sha256:bbb'",
        ": its artefact is not that of its release",
    ),
    (
        "UPDATE scan_part SET platform = 'linux/amd64' WHERE latest",
        ": a part of it says that it is of something else",
    ),
    ("UPDATE scan_part SET critical = 0 WHERE latest", ": its counts is "),
    ("UPDATE scan_part SET latest = FALSE", ": its latest does not follow from when the scans"),
    ("UPDATE approval SET comment = 'fine' WHERE decision = 'approved'", ": its comment is \"fine\""),
    ("UPDATE approval SET image = 'evil@sha256:1' WHERE decision = 'approved'", ": its image is "),
    ("UPDATE approval SET actor_subject = 'eve' WHERE decision = 'approved'", ": its actor is "),
    ("UPDATE approval SET groups = '[\"qa\",\"admins\"]' WHERE decision = 'approved'", ": its groups is "),
    ("UPDATE approval SET withdrawn_at = created_at WHERE decision = 'approved'", ": its withdrawn_at is "),
    ("DELETE FROM approval WHERE decision = 'approved'", ": events tell of it, but it is not on record"),
    ("UPDATE token SET scopes = '[\"admin\",\"read\"]' WHERE name = 'ci'", ": its scopes is "),
    ("UPDATE token SET revoked_at = NULL WHERE name = 'ci'", ": its revoked_at is null"),
    ("UPDATE token SET scopes = '[\"everything\"]' WHERE name = 'ci'", "it holds an unreadable scopes"),
    (
        "UPDATE token SET services = '[\"shop\"' WHERE name = 'ci'",
        "token ci: its services cannot be relied on",
    ),
    ("DELETE FROM freeze_window", "freeze window "),
    ("UPDATE freeze_window SET reason = 'everybody is away'", ": its window is "),
    (
        "UPDATE decision SET inputs = '{\"facts\":1,\"facts\":2}' WHERE NOT allowed",
        "the key \"facts\" is there twice",
    ),
    (
        "UPDATE decision SET allowed = FALSE WHERE deployment_id IN (SELECT id FROM deployment WHERE status = 'running')",
        "the decision that let it start is missing, or is another's",
    ),
    ("UPDATE event SET seq = -3 WHERE seq = 4", "event -3 is outside the log"),
    ("UPDATE event SET seq = 0 WHERE seq = 4", "event 0 is outside the log"),
    ("UPDATE event SET seq = 9000 WHERE seq = 4", "the chain goes on with 9000"),
    ("UPDATE event SET prev_hash = NULL WHERE seq = 4", "event 4 has a number but no hash, or no prev_hash"),
    ("UPDATE event SET data = '{\"a\":1,' || SUBSTR(data, 2) WHERE seq = 4", "event 4 was changed"),
    (
        "UPDATE event SET data = '{\"description\":1,' || SUBSTR(data, 2) WHERE kind = 'service.created' AND seq < 9",
        "its data is not sound: the key \"description\" is there twice",
    ),
    ("UPDATE chain_head SET seq = seq - 1", "but its head is event "),
];

db_test!(
    async fn each_way_of_tampering_is_named_and_nothing_else_is(db: TestDb) {
        let api = Api::new(&db).await;
        history(&api).await;
        db.assert_sound().await;
        let report = verified(&api, &[], true).await;
        assert_eq!(
            (report.waiting, report.findings.count()),
            (4, 0),
            "the tail waits, and is compared all the same"
        );
        each_is_named(&api, TAMPERED).await;
        db.assert_sound().await;
    }
);

/// Does each of these things to a ledger, expects what is found then, and takes it back.
pub async fn each_is_named(api: &Api, tampered: &[(&str, &str)]) {
    let sql = api.sql().await;
    let asked = Asked { deep: true, ..Asked::default() };
    for (statement, finding) in tampered {
        sql.execute_unprepared("BEGIN").await.unwrap();
        let done =
            sql.execute_unprepared(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        assert!(done.rows_affected() > 0, "{statement}");
        let found = lines(&audit::verify_on(&sql, &asked).await.unwrap());
        assert!(found.iter().any(|line| line.contains(finding)), "{statement}: {found:#?}");
        sql.execute_unprepared("ROLLBACK").await.unwrap();
    }
}

/// Cells that SQLite keeps and nobody can read, and what is found then: a part of one of the lines.
const UNREADABLE: &[(&str, &str)] = &[
    ("UPDATE deployment SET lease_seconds = 'abc' WHERE recorded", ": it holds an unreadable lease_seconds"),
    ("UPDATE deployment SET id = 'aa' WHERE recorded", "deployment aa: it holds an unreadable id"),
    ("UPDATE service SET created_at = 'garbage' WHERE name = 'shop'", ": it holds an unreadable created_at"),
    (
        "UPDATE approval SET created_at = 'garbage' WHERE decision = 'approved'",
        ": it holds an unreadable created_at",
    ),
    (
        "UPDATE scan SET created_at = 'garbage' WHERE id IN (SELECT scan_id FROM scan_part WHERE latest)",
        ": it holds an unreadable created_at",
    ),
    ("UPDATE freeze_window SET created_at = 'garbage'", ": it holds an unreadable created_at"),
    ("UPDATE token SET id = x'0102' WHERE name = 'ci'", "token 0102: it holds an unreadable id"),
    (
        "UPDATE token SET scopes = x'ff' WHERE name = 'ci'",
        "token ci: its scopes cannot be relied on: it is no text",
    ),
    (
        "UPDATE environment SET name = x'ff', policy = NULL WHERE name = 'prod'",
        "environment ff: only half of its policy is there",
    ),
    ("UPDATE event SET occurred_at = 'garbage' WHERE seq = 4", "event 4: it holds an unreadable occurred_at"),
    ("UPDATE event SET id = x'0102' WHERE seq = 4", "event 4: it holds an unreadable id"),
    ("UPDATE event SET seq = 'four', id = x'0102' WHERE seq = 4", "event 0102: it holds an unreadable "),
    ("UPDATE event SET seq = 'four' WHERE seq = 4", "event 4 is missing: the chain goes on with 5"),
    (
        "UPDATE event SET occurred_at = 'garbage' WHERE kind = 'deployment.started' AND seq IS NULL",
        ": it holds an unreadable occurred_at",
    ),
    ("UPDATE chain_head SET sealed_at = 'garbage'", "the chain's head holds an unreadable sealed_at"),
];

#[tokio::test]
async fn a_cell_that_cannot_be_read_is_named_and_hides_nothing() {
    let db = TestDb::sqlite().await;
    let api = Api::new(&db).await;
    history(&api).await;
    let sql = api.sql().await;
    sql.execute_unprepared("PRAGMA foreign_keys = OFF").await.unwrap();
    let asked = Asked { deep: true, ..Asked::default() };
    for (statement, finding) in UNREADABLE {
        sql.execute_unprepared("BEGIN").await.unwrap();
        let done = sql.execute_unprepared(statement).await.unwrap();
        assert_eq!(done.rows_affected(), 1, "{statement}");
        sql.execute_unprepared("UPDATE service SET owner = 'me' WHERE name = 'pay'").await.unwrap();
        let found = lines(&audit::verify_on(&sql, &asked).await.unwrap());
        for part in [finding, "service pay: its description is "] {
            assert!(found.iter().any(|line| line.contains(part)), "{statement}: {found:#?}");
        }
        sql.execute_unprepared("ROLLBACK").await.unwrap();
    }
    db.assert_sound().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_on_one_page_and_the_others_are_too() {
    let db = TestDb::sqlite().await;
    let api = Api::new(&db).await;
    let ids = ["'aaaaaaaaaaaaaaaa'", "'b'", "x'00'", "x'ff'", "x'ffff'"];
    for (n, id) in ids.iter().enumerate() {
        api.post("/tokens", json!({ "name": format!("t{n}"), "scopes": ["read"] })).await.ok(201);
        api.post("/tokens", json!({ "name": format!("u{n}"), "scopes": ["read"] })).await.ok(201);
        let sql = api.sql().await;
        sql.execute_unprepared(&format!("UPDATE token SET id = {id} WHERE name = 't{n}'")).await.unwrap();
    }
    let rows = 1 + 2 * ids.len();
    for limit in [1, 2, 3, 100] {
        let (mut place, mut found) = (Cursor::default(), Vec::new());
        loop {
            let page = rows::page(api.app.db.read(), Table::Token, &mut place, limit).await.unwrap();
            if page.is_empty() {
                break;
            }
            found.extend(page.into_iter().map(|row| row.map(|row| row.key.to_string())));
            assert!(found.len() <= rows, "{found:?}");
        }
        let read: BTreeSet<_> = found.iter().filter_map(|row| row.as_ref().ok()).collect();
        assert_eq!((found.len(), read.len()), (rows, rows - 4), "{limit}: {found:?}");
    }
}

db_test!(
    async fn what_waits_for_its_seal_is_a_fault_once_a_server_could_have_sealed_it(db: TestDb) {
        let api = Api::new(&db).await;
        api.deployed("shop/dev", "1").await;
        sealed(&api).await;
        let sql = api.sql().await;
        // As when no server has run since.
        sql.execute_unprepared("UPDATE event SET seq = NULL, hash = NULL, prev_hash = NULL").await.unwrap();
        let reset = format!("UPDATE chain_head SET seq = 0, hash = '{}', sealed_at = NULL", "0".repeat(64));
        sql.execute_unprepared(&reset).await.unwrap();
        assert_eq!(lines(&verified(&api, &[], false).await), [""; 0], "fresh ones may wait");
        let old = if db.is_postgres() {
            "UPDATE event SET occurred_at = occurred_at - interval '2 hours' WHERE kind = 'service.created'"
        } else {
            "UPDATE event SET occurred_at = '2020-01-01 00:00:00+00:00' WHERE kind = 'service.created'"
        };
        sql.execute_unprepared(old).await.unwrap();
        let found = lines(&verified(&api, &[], false).await);
        assert!(
            found.len() == 1 && found[0].contains("1 event was not sealed, the oldest of 20"),
            "{found:?}"
        );
        sealed(&api).await;
        assert_eq!(lines(&verified(&api, &[], false).await), [""; 0]);
    }
);

db_test!(
    async fn what_a_wrong_clock_has_put_ahead_tells_of_no_server_at_work(db: TestDb) {
        let api = Api::new(&db).await;
        api.deployed("shop/dev", "1").await;
        let sql = api.sql().await;
        let moved = async |to: &str, condition: &str| {
            let statement = format!("UPDATE event SET occurred_at = '{to}' WHERE {condition}");
            assert!(sql.execute_unprepared(&statement).await.unwrap().rows_affected() > 0);
        };
        // As when the server stopped long ago, right after all of this.
        moved("2020-01-01T00:00:00+00:00", "seq IS NULL").await;
        let id = if db.is_postgres() {
            "'016f5e66-e800-7000-8000-000000000001'"
        } else {
            "x'016f5e66e80070008000000000000001'"
        };
        let made_then = format!("UPDATE event SET id = {id} WHERE kind = 'deployment.succeeded'");
        sql.execute_unprepared(&made_then).await.unwrap();
        moved("2099-01-01T00:00:00+00:00", "kind = 'deployment.succeeded'").await;
        assert_eq!(lines(&verified(&api, &[], false).await), [""; 0]);
        moved("2020-01-01T02:00:00+00:00", "kind = 'deployment.succeeded'").await;
        assert_eq!(lines(&verified(&api, &[], false).await), [""; 0], "it was made when the others were");
        moved("2020-01-01T02:00:00+00:00", "kind = 'deployment.started'").await;
        let found = lines(&verified(&api, &[], false).await);
        assert!(found.len() == 1 && found[0].contains("were not sealed, the oldest of 2020"), "{found:?}");
    }
);

db_test!(
    async fn a_log_that_was_cut_tells_how_many_events_are_missing(db: TestDb) {
        let api = Api::new(&db).await;
        api.deployed("shop/dev", "1").await;
        sealed(&api).await;
        let sql = api.sql().await;
        let (one, all) = (verified(&api, &[], false).await.link, upkeep::chain_head(&api.app).await.unwrap());
        assert_eq!(one, all);
        let earlier = api.get("/events?limit=1").await.ok(200)["items"][0].clone();
        let first = Link { seq: 1, hash: earlier["hash"].as_str().unwrap().to_owned() };
        assert_eq!(verified(&api, &[first.clone(), all.clone()], false).await.findings.count(), 0);
        sql.execute_unprepared("DELETE FROM event WHERE seq > 1").await.unwrap();
        sql.execute_unprepared(&format!("UPDATE chain_head SET seq = 1, hash = '{}'", first.hash))
            .await
            .unwrap();
        assert_eq!(verified(&api, &[first], false).await.findings.count(), 0, "whole in itself");
        let found = lines(&verified(&api, std::slice::from_ref(&all), false).await);
        let said = format!(
            "event {} was anchored, but the log ends with event 1: {} events are missing",
            all.seq,
            all.seq - 1
        );
        assert_eq!(found, [said]);
        assert!(api.app.chain.went_back().is_none());
        assert_eq!(upkeep::chain_head(&api.app).await.unwrap().seq, 1);
        let back = api.app.chain.went_back().unwrap();
        assert_eq!((back.seen.seq, back.now.seq), (all.seq, 1));
    }
);

db_test!(
    async fn a_policy_that_cannot_be_read_lets_nothing_start(db: TestDb) {
        let api = Api::new(&db).await;
        api.deployed("shop/prod", "1").await;
        let sql = api.sql().await;
        for policy in [
            "policy = '{\"image\":', policy_version = 1",
            "policy = NULL, policy_version = 1",
            "policy = '{}', policy_version = NULL",
            "policy = NULL, policy_version = NULL, lockdown_reason = 'x'",
            "lockdown_token = 'x', lockdown_subject = 'x'",
        ] {
            sql.execute_unprepared(&format!("UPDATE environment SET {policy} WHERE name = 'prod'"))
                .await
                .unwrap();
            api.start("shop/prod", "2").await.problem(500, "internal");
            for deep in [false, true] {
                let found = lines(&verified(&api, &[], deep).await);
                assert!(
                    found.iter().any(|line| line.starts_with("environment prod: ")),
                    "{policy}: {found:?}"
                );
            }
        }
        let whole = "UPDATE environment SET lockdown_reason = NULL, lockdown_token = NULL, lockdown_subject = NULL \
                     WHERE name = 'prod'";
        sql.execute_unprepared(whole).await.unwrap();
        api.started("shop/prod", "2").await;
    }
);
