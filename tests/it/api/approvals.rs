//! Approvals: giving, changing and withdrawing them, one voice for each subject, and what the gate makes of them.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use poem::http::Method;
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use waybill::{domain::vocabulary::Scope, usecase::upkeep};

use crate::{
    db_test,
    support::api::{Answer, Api, id_of, release, start_body},
};

const FIRST: &str = "/services/shop/releases/1/approvals";

/// Environments, a service and two of its releases, registered by somebody who approves nothing.
async fn ground(db: &crate::support::db::TestDb) -> Api {
    let api = Api::new(db).await;
    for name in ["staging", "prod"] {
        api.post("/environments", json!({ "name": name })).await.ok(201);
    }
    api.post("/services", json!({ "name": "shop" })).await.ok(201);
    for version in ["1", "2"] {
        let mut body = release(version);
        (body["version"], body["initiated_by"]) = (json!(version), json!("somebody else"));
        api.post("/services/shop/releases", body).await.ok(201);
    }
    api
}

async fn approver(api: &Api, subject: &str) -> Api {
    api.person(subject, &[Scope::Approve, Scope::Read], &[]).await
}

async fn policy(api: &Api, approval: Value) {
    api.put("/environments/prod/policy", json!({ "approval": approval })).await.ok(200);
}

fn yes() -> Value {
    json!({ "environment": "prod", "decision": "approved" })
}

fn no() -> Value {
    json!({ "environment": "prod", "decision": "rejected" })
}

async fn listed(api: &Api) -> Vec<Value> {
    api.get(FIRST).await.ok(200)["items"].as_array().unwrap().clone()
}

/// What the rule finds at a start, which is finished where it is let start.
async fn found(api: &Api, target: &str, version: &str) -> Value {
    let answer = api.start(target, version).await;
    let decision = if answer.status == 201 {
        let started = answer.json();
        api.finished(&id_of(&started["deployment"]), "failed").await;
        started["decision"].clone()
    } else {
        answer.problem(409, "gate-denied")["decision"].take()
    };
    let checks = decision["checks"].as_array().unwrap();
    checks.iter().find(|check| check["rule"] == "approval").unwrap().clone()
}

#[track_caller]
fn counts(check: &Value, outcome: &str, code: &str, message: &str) {
    let found = (&check["outcome"], &check["code"], &check["message"]);
    assert_eq!(found, (&json!(outcome), &json!(code), &json!(message)), "{check}");
}

fn with_status(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

async fn events(api: &Api) -> Vec<(String, Value)> {
    while upkeep::seal_events(&api.app).await.unwrap() > 0 {}
    let events = api.get("/events?service=shop&environment=prod").await.ok(200)["items"].take();
    let of = |event: &Value| (event["kind"].as_str().unwrap().to_owned(), event.clone());
    let all = events.as_array().unwrap().iter().map(of);
    all.filter(|(kind, _)| kind.starts_with("approval.")).collect()
}

db_test!(
    async fn a_subject_has_one_voice_and_may_change_its_mind(db: TestDb) {
        let api = ground(&db).await;
        let ada = api.person("ada", &[Scope::Approve, Scope::Read], &["managers"]).await;
        let mut body = yes();
        body["comment"] = json!(" seen in staging ");
        let answer = ada.post(FIRST, body.clone()).await;
        let given = answer.ok(201);
        assert_eq!(answer.header("location"), Some(format!("/api/v1{FIRST}/{}", id_of(&given)).as_str()));
        for (field, value) in [
            ("service", json!("shop")),
            ("version", json!("1")),
            ("environment", json!("prod")),
            ("decision", json!("approved")),
            ("comment", json!("seen in staging")),
            ("groups", json!(["managers"])),
            ("withdrawn_at", Value::Null),
        ] {
            assert_eq!(given[field], value, "{field}");
        }
        assert_eq!(given["actor"]["subject"], "ada");
        for again in [body, yes()] {
            assert_eq!(ada.post(FIRST, again).await.ok(200), given, "the same again is the same");
        }
        let other_token = approver(&api, "ada").await;
        assert_eq!(other_token.post(FIRST, yes()).await.ok(200), given, "by whichever token");
        let changed = other_token.post(FIRST, no()).await.ok(201);
        assert_eq!((&changed["decision"], &changed["comment"]), (&json!("rejected"), &Value::Null));
        let bob = approver(&api, "bob").await.post(FIRST, yes()).await.ok(201);

        let list = listed(&ada).await;
        assert_eq!(list.len(), 3, "{list:?}");
        assert_eq!((&list[0], &list[1], &list[2]["id"]), (&bob, &changed, &given["id"]));
        assert_eq!(list[2]["withdrawn_at"], changed["created_at"]);
        let events = events(&api).await;
        let kinds: Vec<_> = events.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(
            kinds,
            ["approval.approved", "approval.withdrawn", "approval.rejected", "approval.approved"]
        );
        assert_eq!(
            (&events[0].1["version"], &events[0].1["data"]["groups"]),
            (&json!("1"), &json!(["managers"]))
        );
        assert_eq!(events[1].1["data"], json!({ "id": given["id"], "decision": "approved" }));
        assert_eq!(events[2].1["data"]["replaces"], given["id"]);
        assert_eq!(events[3].1["data"]["id"], bob["id"]);
    }
);

db_test!(
    async fn what_was_said_for_other_groups_or_with_another_comment_is_said_anew(db: TestDb) {
        let api = ground(&db).await;
        policy(&api, json!({ "groups": ["managers"] })).await;
        let first = api.person("ada", &[Scope::Approve], &["developers"]).await;
        let second = api.person("ada", &[Scope::Approve], &["developers", "managers"]).await;
        first.post(FIRST, yes()).await.ok(201);
        let check = found(&api, "shop/prod", "1").await;
        counts(
            &check,
            "fail",
            "approval-missing",
            "0 of 1; groups: managers; not counted: ada: is in none of the groups",
        );
        second.post(FIRST, yes()).await.ok(201);
        counts(&found(&api, "shop/prod", "1").await, "pass", "pass", "1 of 1 (ada)");
        first.post(FIRST, yes()).await.ok(200);
        counts(&found(&api, "shop/prod", "1").await, "pass", "pass", "1 of 1 (ada)");
        let mut comment = yes();
        comment["comment"] = json!("still");
        second.post(FIRST, comment).await.ok(201);
        let standing = listed(&api).await.iter().filter(|one| one["withdrawn_at"].is_null()).count();
        assert_eq!(standing, 1);
    }
);

db_test!(
    async fn one_withdraws_what_one_has_said_and_nothing_else(db: TestDb) {
        let api = ground(&db).await;
        let ada = approver(&api, "ada").await;
        let id = id_of(&ada.post(FIRST, yes()).await.ok(201));
        let own = format!("{FIRST}/{id}");
        let refused = approver(&api, "bob").await.delete(&own).await.problem(403, "forbidden");
        assert!(refused["detail"].as_str().unwrap().contains("ada"), "{refused}");
        api.delete(&own).await.problem(403, "forbidden");
        for path in [
            format!("/services/shop/releases/2/approvals/{id}"),
            format!("/services/shop/releases/9/approvals/{id}"),
            format!("/services/pay/releases/1/approvals/{id}"),
            format!("{FIRST}/01890a5d-ac96-774b-bcce-b302099a8057"),
        ] {
            ada.delete(&path).await.problem(404, "not-found");
        }
        ada.delete(&format!("{FIRST}/x")).await.problem(400, "invalid-request");
        for _ in 0..2 {
            approver(&api, "ada").await.delete(&own).await.ok(204);
        }
        assert!(listed(&api).await[0]["withdrawn_at"].is_string());
        assert_eq!(events(&api).await.len(), 2);
        ada.post(FIRST, yes()).await.ok(201);
    }
);

db_test!(
    async fn rights_narrowing_and_archives_hold(db: TestDb) {
        let api = ground(&db).await;
        let others: Vec<_> =
            Scope::ALL.iter().copied().filter(|one| !matches!(one, Scope::Approve | Scope::Admin)).collect();
        let poor = api.token(&others, None, None).await;
        let id = id_of(&api.post(FIRST, yes()).await.ok(201));
        poor.post(FIRST, yes()).await.problem(403, "forbidden");
        poor.delete(&format!("{FIRST}/{id}")).await.problem(403, "forbidden");
        api.token(&[Scope::Approve], None, None).await.get(FIRST).await.problem(403, "forbidden");

        let both = [Scope::Approve, Scope::Read];
        let of_pay = api.token(&both, Some(&["pay"]), None).await;
        let of_staging = api.token(&both, None, Some(&["staging"])).await;
        for narrowed in [&of_pay, &of_staging] {
            narrowed.post(FIRST, yes()).await.problem(404, "not-found");
            narrowed.delete(&format!("{FIRST}/{id}")).await.problem(404, "not-found");
        }
        of_pay.get(FIRST).await.problem(404, "not-found");
        assert_eq!(listed(&of_staging).await, [json!(null); 0]);
        let staging = json!({ "environment": "staging", "decision": "approved" });
        of_staging.post(FIRST, staging).await.ok(201);
        assert_eq!(listed(&of_staging).await.len(), 1);
        assert_eq!(
            api.get(&format!("{FIRST}?environment=prod")).await.ok(200)["items"].as_array().unwrap().len(),
            1
        );

        let nowhere = json!({ "environment": "nowhere", "decision": "approved" });
        api.post(FIRST, nowhere).await.problem(404, "not-found");
        for path in ["/services/none/releases/1/approvals", "/services/shop/releases/none/approvals"] {
            api.post(path, yes()).await.problem(404, "not-found");
            api.get(path).await.problem(404, "not-found");
        }
        for path in ["/environments/prod", "/services/shop"] {
            api.delete(path).await.ok(200);
            api.post(FIRST, no()).await.problem(409, "conflict");
            api.patch(path, json!({ "archived": false })).await.ok(200);
        }
    }
);

db_test!(
    async fn every_fault_is_named_and_no_text_is_a_fault_of_the_server(db: TestDb) {
        let api = ground(&db).await;
        let body = json!({ "environment": "Prod", "decision": "approved", "comment": "x".repeat(2001) });
        let faults = api.post(FIRST, body).await.faults();
        let expected = [("/environment", "invalid-name"), ("/comment", "too-long")];
        assert_eq!(faults, expected.map(|(pointer, code)| (pointer.to_owned(), code.to_owned())));
        let body = json!({ "decision": "perhaps", "comment": [], "colour": 1 });
        let mut pointers: Vec<_> =
            api.post(FIRST, body).await.faults().into_iter().map(|(pointer, _)| pointer).collect();
        pointers.sort();
        assert_eq!(pointers, ["/colour", "/comment", "/decision", "/environment"]);
        for text in ["", "\u{0}", "a\u{0}", "'; DROP TABLE approval; --", "\u{202e}", "\u{1b}[2J"] {
            for field in ["environment", "decision", "comment"] {
                let mut body = no();
                body[field] = json!(text);
                let answer = api.post(FIRST, body).await;
                if answer.status >= 300 {
                    answer.assert_refused(&format!("{field} {text:?}"));
                }
            }
        }
        for path in [
            "/services/%00/releases/1/approvals",
            "/services/shop/releases/%00/approvals",
            &format!("{FIRST}?environment=%00"),
            &format!("{FIRST}?cursor=x"),
            &format!("{FIRST}?limit=0"),
            "/approvals/pending?limit=201",
            "/approvals/pending?cursor=e30",
            "/approvals/pending?service=%00",
            "/approvals/pending?environment=%00&group=%00",
        ] {
            let answer = api.get(path).await;
            assert!(answer.status < 500, "{path}: {}", answer.text);
        }
    }
);

db_test!(
    async fn of_voices_at_once_one_stands(db: TestDb) {
        let api = ground(&db).await;
        let (one, two) = (approver(&api, "ada").await, approver(&api, "ada").await);
        for round in 0..6 {
            let (body, clients) = (if round % 2 == 0 { yes() } else { no() }, [&one, &two, &one, &two]);
            let same = clients.map(|client| client.post(FIRST, body.clone()));
            let answers = join_all(same).await;
            assert_eq!((with_status(&answers, 201), with_status(&answers, 200)), (1, 3), "{answers:?}");
        }
        let mixed = [yes(), no(), yes(), no()].map(|body| one.post(FIRST, body));
        let answers = join_all(mixed).await;
        assert!(answers.iter().all(|answer| answer.status < 300), "{answers:?}");
        let standing: Vec<_> =
            listed(&api).await.into_iter().filter(|one| one["withdrawn_at"].is_null()).collect();
        assert_eq!(standing.len(), 1, "{standing:?}");
        let own = format!("{FIRST}/{}", id_of(&standing[0]));
        let ends = join_all([one.delete(&own), two.delete(&own), one.delete(&own)]).await;
        assert_eq!(with_status(&ends, 204), 3);
        let events = events(&api).await;
        let mut balance = BTreeMap::<String, i32>::new();
        for (kind, event) in &events {
            let by = if kind == "approval.withdrawn" { -1 } else { 1 };
            *balance.entry(event["data"]["id"].to_string()).or_default() += by;
        }
        assert!(balance.values().all(|one| *one == 0), "each is withdrawn once: {balance:?}");
    }
);

db_test!(
    async fn a_key_gives_the_answer_of_then(db: TestDb) {
        let api = ground(&db).await;
        let given = api.post_once("k", FIRST, yes()).await.ok(201);
        api.delete(&format!("{FIRST}/{}", id_of(&given))).await.ok(204);
        let again = api.post_once("k", FIRST, yes()).await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.ok(201), given);
        assert!(listed(&api).await.iter().all(|one| one["withdrawn_at"].is_string()));
        api.post_once("k", FIRST, no()).await.problem(422, "idempotency-key-reused");
    }
);

db_test!(
    async fn lists_are_paged(db: TestDb) {
        let api = ground(&db).await;
        for n in 0..7 {
            approver(&api, &format!("p{n}"))
                .await
                .post(FIRST, if n % 2 == 0 { yes() } else { no() })
                .await
                .ok(201);
        }
        let all = listed(&api).await;
        let (mut seen, mut next) = (Vec::new(), Some(format!("{FIRST}?limit=3&environment=prod")));
        while let Some(path) = next {
            let answer = api.get(&path).await;
            seen.extend(answer.ok(200)["items"].as_array().unwrap().clone());
            let link = answer.header("link").map(|link| {
                link.trim_start_matches("</api/v1").trim_end_matches(">; rel=\"next\"").to_owned()
            });
            assert_eq!(link.is_some(), answer.json()["next_cursor"].is_string());
            next = link;
        }
        assert_eq!(seen, all);
    }
);

db_test!(
    async fn n_of_m_from_groups_and_never_the_own(db: TestDb) {
        let api = ground(&db).await;
        policy(&api, json!({ "required": 2, "groups": ["managers", "leads"] })).await;
        let scopes = [Scope::Approve, Scope::Deploy, Scope::Read];
        let (ada, bob) =
            (api.person("ada", &scopes, &["managers"]).await, api.person("bob", &scopes, &["leads"]).await);
        let (eve, cid) =
            (approver(&api, "eve").await, api.person("cid", &scopes, &["managers", "leads"]).await);
        let mut body = release("3");
        (body["version"], body["initiated_by"]) = (json!("3"), json!("bob"));
        api.post("/services/shop/releases", body).await.ok(201);
        let third = "/services/shop/releases/3/approvals";
        counts(
            &found(&api, "shop/prod", "3").await,
            "fail",
            "approval-missing",
            "0 of 2; groups: managers, leads",
        );
        for voice in [&ada, &bob, &eve] {
            voice.post(third, yes()).await.ok(201);
        }
        let check = found(&api, "shop/prod", "3").await;
        let expected = "1 of 2 (ada); groups: managers, leads; not counted: bob: initiated, recorded or deploys it, \
                        eve: is in none of the groups";
        counts(&check, "fail", "approval-missing", expected);
        assert_eq!(check["details"]["approved_by"], json!(["ada"]));
        let own = found(&ada, "shop/prod", "3").await;
        assert!(
            own["message"].as_str().unwrap().starts_with("0 of 2;"),
            "who deploys does not approve: {own}"
        );
        let mut by_ada = start_body("shop/prod", "3");
        by_ada["initiated_by"] = json!("ada");
        let denied = api.post("/deployments", by_ada).await.problem(409, "gate-denied");
        assert!(denied["detail"].as_str().unwrap().contains("0 of 2"), "{denied}");
        cid.post(third, yes()).await.ok(201);
        counts(&found(&api, "shop/prod", "3").await, "pass", "pass", "2 of 2 (ada, cid)");
        policy(&api, json!({ "required": 3, "groups": ["managers", "leads"], "allow_self": true })).await;
        counts(&found(&ada, "shop/prod", "3").await, "pass", "pass", "3 of 3 (ada, bob, cid)");
    }
);

db_test!(
    async fn an_approval_is_for_one_release_in_one_environment_and_expires(db: TestDb) {
        let api = ground(&db).await;
        policy(&api, json!({ "expires_after_seconds": 3600 })).await;
        let ada = approver(&api, "ada").await;
        ada.post("/services/shop/releases/2/approvals", yes()).await.ok(201);
        ada.post(FIRST, json!({ "environment": "staging", "decision": "approved" })).await.ok(201);
        counts(&found(&api, "shop/prod", "1").await, "fail", "approval-missing", "0 of 1");
        let given = ada.post(FIRST, yes()).await.ok(201);
        counts(&found(&api, "shop/prod", "1").await, "pass", "pass", "1 of 1 (ada)");
        let sql = api.sql().await;
        let back = if db.is_postgres() {
            "UPDATE approval SET created_at = created_at - interval '1 hour'"
        } else {
            "UPDATE approval SET created_at = '2026-01-01T00:00:00+00:00'"
        };
        sql.execute_unprepared(back).await.unwrap();
        sql.close().await.unwrap();
        let check = found(&api, "shop/prod", "1").await;
        counts(&check, "fail", "approval-missing", "0 of 1; not counted: ada: expired");
        let anew = ada.post(FIRST, yes()).await.ok(201);
        assert_ne!(anew["id"], given["id"], "what has expired is said anew");
        counts(&found(&api, "shop/prod", "1").await, "pass", "pass", "1 of 1 (ada)");
    }
);

db_test!(
    async fn a_rejection_stands_in_the_way_until_it_is_withdrawn(db: TestDb) {
        let api = ground(&db).await;
        policy(&api, json!({ "groups": ["managers"] })).await;
        api.person("ada", &[Scope::Approve], &["managers"]).await.post(FIRST, yes()).await.ok(201);
        let eve = approver(&api, "eve").await;
        let rejection = id_of(&eve.post(FIRST, no()).await.ok(201));
        counts(&found(&api, "shop/prod", "1").await, "fail", "approval-rejected", "rejected by eve");
        eve.delete(&format!("{FIRST}/{rejection}")).await.ok(204);
        counts(&found(&api, "shop/prod", "1").await, "pass", "pass", "1 of 1 (ada)");
        eve.post(FIRST, no()).await.ok(201);
        eve.post(FIRST, yes()).await.ok(201);
        let check = found(&api, "shop/prod", "1").await;
        assert_eq!(check["outcome"], "pass", "a change of mind withdraws it too: {check}");
    }
);

db_test!(
    async fn what_was_reverted_is_approved_anew(db: TestDb) {
        let api = ground(&db).await;
        let ada = approver(&api, "ada").await;
        policy(&api, json!({})).await;
        for version in ["1", "2"] {
            ada.post(&format!("/services/shop/releases/{version}/approvals"), yes()).await.ok(201);
            let mut body = start_body("shop/prod", version);
            body["release"] = Value::Null;
            let id = id_of(&api.post("/deployments", body).await.ok(201)["deployment"]);
            api.finished(&id, "succeeded").await;
        }
        let mut back = start_body("shop/prod", "1");
        back["kind"] = json!("rollback");
        let id = id_of(&api.post("/deployments", back).await.ok(201)["deployment"]);
        api.finished(&id, "succeeded").await;
        let check = found(&api, "shop/prod", "2").await;
        counts(
            &check,
            "fail",
            "approval-missing",
            "0 of 1; not counted: ada: void since it was reverted here",
        );
        ada.post("/services/shop/releases/2/approvals", yes()).await.ok(201);
        counts(&found(&api, "shop/prod", "2").await, "pass", "pass", "1 of 1 (ada)");
    }
);

db_test!(
    async fn no_start_slips_past_a_withdrawal(db: TestDb) {
        let api = ground(&db).await;
        policy(&api, json!({})).await;
        let ada = approver(&api, "ada").await;
        for round in 0..6 {
            let given = ada.post(FIRST, yes()).await.ok(201);
            let own = format!("{FIRST}/{}", id_of(&given));
            let (withdrawn, started) = tokio::join!(ada.delete(&own), api.start("shop/prod", "1"));
            withdrawn.ok(204);
            let list = ada.get(FIRST).await.ok(200);
            let withdrawn_at = list["items"][0]["withdrawn_at"].as_str().unwrap().to_owned();
            if started.status == 201 {
                let started = started.json();
                let at = started["decision"]["evaluated_at"].as_str().unwrap();
                assert!(at <= withdrawn_at.as_str(), "{round}: {at} {withdrawn_at}");
                api.finished(&id_of(&started["deployment"]), "failed").await;
            } else {
                let decision = started.problem(409, "gate-denied")["decision"].take();
                let at = decision["evaluated_at"].as_str().unwrap();
                assert!(at >= withdrawn_at.as_str(), "{round}: {at} {withdrawn_at}");
            }
        }
    }
);

db_test!(
    async fn other_methods_are_refused(db: TestDb) {
        let api = ground(&db).await;
        for (method, path) in [(Method::PUT, FIRST), (Method::POST, "/approvals/pending")] {
            api.send_json(method, path, &[], &json!({})).await.problem(405, "method-not-allowed");
        }
    }
);
