//! Whose voice it is: one person however the name is written, who initiated it, for whom the gate is asked, and rules for
//! several groups.

use futures_util::future::join_all;
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use waybill::domain::vocabulary::Scope;

use crate::{
    db_test,
    support::{
        api::{Api, id_of, release, start_body},
        db::TestDb,
    },
};

/// Ways to write `ada`, but for plain `ada`.
const ADA: [&str; 7] =
    ["Ada", "ada ", "ＡＤＡ", "a\u{200d}da", "\u{a0}ada\u{a0}", "ada\u{fe0f}", "𝒜da\u{ad}"];

async fn ground(db: &TestDb, approval: Value) -> Api {
    let api = Api::new(db).await;
    api.post("/environments", json!({ "name": "prod" })).await.ok(201);
    api.put("/environments/prod/policy", json!({ "approval": approval })).await.ok(200);
    api.post("/services", json!({ "name": "shop" })).await.ok(201);
    api
}

async fn register(by: &Api, version: &str, initiated_by: Option<&str>) {
    let mut body = release(version);
    (body["version"], body["initiated_by"]) = (json!(version), json!(initiated_by));
    by.post("/services/shop/releases", body).await.ok(201);
}

async fn person(api: &Api, subject: &str, groups: &[&str]) -> Api {
    api.person(subject, &[Scope::Approve, Scope::Deploy, Scope::Read], groups).await
}

fn approvals(version: &str) -> String {
    format!("/services/shop/releases/{version}/approvals")
}

fn say(decision: &str) -> Value {
    json!({ "environment": "prod", "decision": decision })
}

async fn approve(by: &Api, version: &str) -> String {
    id_of(&by.post(&approvals(version), say("approved")).await.ok(201))
}

#[track_caller]
fn check(decision: &Value) -> Value {
    let checks = decision["checks"].as_array().unwrap();
    checks.iter().find(|check| check["rule"] == "approval").unwrap().clone()
}

fn question(version: &str) -> Value {
    json!({ "service": "shop", "environment": "prod", "version": version })
}

/// What the rule finds when this caller asks, with more in the question.
async fn asked(by: &Api, version: &str, more: Value) -> Value {
    let mut body = question(version);
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    check(&by.post("/gate/check", body).await.ok(200))
}

/// What a start is told; one that is let start ends at once.
async fn started(by: &Api, version: &str, initiated_by: Option<&str>) -> Value {
    let mut body = question(version);
    if let Some(name) = initiated_by {
        body["initiated_by"] = json!(name);
    }
    let answer = by.post("/deployments", body).await;
    if answer.status == 409 {
        return check(&answer.problem(409, "gate-denied")["decision"]);
    }
    let started = answer.ok(201);
    by.finished(&id_of(&started["deployment"]), "failed").await;
    check(&started["decision"])
}

#[track_caller]
fn not_counted(check: &Value, subject: &str) {
    assert_eq!((&check["code"], &check["outcome"]), (&json!("approval-missing"), &json!("fail")), "{check}");
    let found = &check["details"]["not_counted"][0];
    let expected = (&json!(subject), &json!("initiated, recorded or deploys it"));
    assert_eq!((&found["subject"], &found["why"]), expected, "{check}");
}

db_test!(
    async fn nobody_approves_their_own_under_another_spelling(db: TestDb) {
        let api = ground(&db, json!({})).await;
        let (ci, ada) = (person(&api, "ci", &[]).await, person(&api, "ada", &[]).await);
        for (number, spelling) in ADA.iter().enumerate() {
            let (initiated, recorded, other) =
                (format!("1.{number}"), format!("2.{number}"), format!("3.{number}"));
            register(&ci, &initiated, Some(spelling)).await;
            let spelled = person(&api, spelling, &[]).await;
            register(&spelled, &recorded, Some("somebody")).await;
            register(&ci, &other, Some("Ada Lovelace")).await;
            for version in [&initiated, &recorded, &other] {
                approve(&ada, version).await;
            }
            not_counted(&started(&ci, &initiated, None).await, "ada");
            not_counted(&started(&ci, &recorded, None).await, "ada");
            not_counted(&started(&spelled, &other, None).await, "ada");
            not_counted(&started(&ci, &other, Some(spelling)).await, "ada");
            assert_eq!(started(&ci, &other, None).await["message"], "1 of 1 (ada)");
            let kept = api.get(&format!("/services/shop/releases/{initiated}")).await.ok(200);
            assert_eq!(kept["initiated_by"], json!(spelling), "it is kept as it was given");
        }
    }
);

db_test!(
    async fn a_person_has_one_voice_however_the_name_is_written(db: TestDb) {
        let api = ground(&db, json!({ "required": 2 })).await;
        register(&api, "1", Some("somebody")).await;
        let plain = person(&api, "ada", &[]).await;
        let given = plain.post(&approvals("1"), say("approved")).await.ok(201);
        for spelling in ADA {
            let again = person(&api, spelling, &[]).await.post(&approvals("1"), say("approved")).await;
            assert_eq!(again.ok(200), given, "{spelling:?} has said so already");
        }
        assert_eq!(asked(&api, "1", json!({})).await["message"], "1 of 2 (ada)");
        let spelled = person(&api, "ADA", &[]).await;
        let changed = spelled.post(&approvals("1"), say("rejected")).await.ok(201);
        assert_eq!(changed["actor"]["subject"], "ADA");
        assert_eq!(asked(&api, "1", json!({})).await["message"], "rejected by ADA");
        let own = format!("{}/{}", approvals("1"), id_of(&changed));
        person(&api, "adam", &[]).await.delete(&own).await.problem(403, "forbidden");
        plain.delete(&own).await.ok(204);
        let list = api.get(&approvals("1")).await.ok(200);
        assert!(
            list["items"].as_array().unwrap().iter().all(|one| one["withdrawn_at"].is_string()),
            "{list}"
        );
        db.assert_sound().await;
    }
);

db_test!(
    async fn what_one_person_said_twice_before_is_heard_once_and_replaced_as_a_whole(db: TestDb) {
        let api = ground(&db, json!({ "required": 2 })).await;
        register(&api, "1", Some("somebody")).await;
        let (ada, bob) = (person(&api, "ada", &[]).await, person(&api, "bob", &[]).await);
        approve(&ada, "1").await;
        approve(&bob, "1").await;
        let sql = api.sql().await;
        let before = "UPDATE approval SET actor_subject = 'Ada ' WHERE actor_subject = 'bob'";
        sql.execute_unprepared(before).await.unwrap();
        sql.close().await.unwrap();
        let found = asked(&api, "1", json!({})).await;
        assert_eq!(found["message"], "1 of 2 (ada); not counted: Ada : has one voice");
        ada.post(&approvals("1"), say("approved")).await.ok(201);
        let list = api.get(&approvals("1")).await.ok(200)["items"].take();
        let stands = list.as_array().unwrap().iter().filter(|one| one["withdrawn_at"].is_null());
        assert_eq!(stands.count(), 1, "{list}");
    }
);

db_test!(
    async fn of_one_persons_voices_at_once_one_stands(db: TestDb) {
        let api = ground(&db, json!({})).await;
        register(&api, "1", Some("somebody")).await;
        let mut people = Vec::new();
        for spelling in ["ada", "Ada", "ADA ", "a\u{200b}da"] {
            people.push(person(&api, spelling, &[]).await);
        }
        for round in 0..6 {
            let said = say(if round % 2 == 0 { "approved" } else { "rejected" });
            let path = approvals("1");
            let answers = join_all(people.iter().map(|one| one.post(&path, said.clone()))).await;
            let made = answers.iter().filter(|answer| answer.status == 201).count();
            assert!(made == 1 && answers.iter().all(|answer| answer.status < 300), "{answers:?}");
        }
    }
);

db_test!(
    async fn that_the_initiator_is_unknown_is_said_and_may_be_refused(db: TestDb) {
        let api = ground(&db, json!({})).await;
        let (ci, bob) = (person(&api, "ci", &[]).await, person(&api, "bob", &[]).await);
        for (version, name) in [("1", None), ("2", Some("")), ("3", Some(" \u{200b}\u{a0}"))] {
            register(&ci, version, name).await;
            let found = started(&ci, version, None).await;
            assert_eq!(found["message"], "0 of 1; nobody is known to have initiated it");
            approve(&bob, version).await;
            let found = started(&ci, version, None).await;
            assert_eq!(found["message"], "1 of 1 (bob); nobody is known to have initiated it");
            assert_eq!(
                (&found["outcome"], &found["details"]["initiator"]),
                (&json!("pass"), &json!("unknown"))
            );
            assert_eq!(started(&ci, version, Some("ada")).await["message"], "1 of 1 (bob)");
        }
        let demanding = json!({ "approval": { "require_known_initiator": true } });
        api.put("/environments/prod/policy", demanding).await.ok(200);
        for version in ["1", "2", "3"] {
            let found = started(&ci, version, None).await;
            assert_eq!(found["code"], "initiator-unknown", "{found}");
            assert!(found["message"].as_str().unwrap().contains("--initiated-by"), "{found}");
            assert_eq!(started(&ci, version, Some("ada")).await["outcome"], "pass");
        }
        assert_eq!(asked(&bob, "1", json!({ "initiated_by": "ada" })).await["outcome"], "pass");
        register(&ci, "4", Some("ada")).await;
        assert_eq!(started(&ci, "4", None).await["code"], "approval-missing");
        register(&ci, "5", None).await;
        assert_eq!(started(&ci, "5", None).await["code"], "initiator-unknown");
        let pending = api.get("/approvals/pending").await.ok(200)["items"].take();
        let versions: Vec<_> = pending.as_array().unwrap().iter().map(|one| one["version"].clone()).collect();
        assert_eq!(versions, ["5", "4"], "what lacks only an initiator waits for nobody's approval");
    }
);

db_test!(
    async fn whoever_asks_is_not_taken_for_who_deploys(db: TestDb) {
        let api = ground(&db, json!({})).await;
        let (ci, ada) = (person(&api, "ci", &[]).await, person(&api, "ada", &[]).await);
        register(&ci, "1", Some("somebody")).await;
        not_waiting(&api, "").await;
        let denied = ada.post("/deployments", question("1")).await.problem(409, "gate-denied");
        approve(&ada, "1").await;

        let said = ada.post("/gate/check", question("1")).await.ok(200);
        assert_eq!((&said["allowed"], &said["deployer"]), (&json!(true), &Value::Null), "{said}");
        not_counted(&asked(&ada, "1", json!({ "for_caller": true })).await, "ada");
        not_counted(&asked(&api, "1", json!({ "deployer": "Ada\u{a0}" })).await, "ada");
        assert_eq!(asked(&ada, "1", json!({ "deployer": "ci" })).await["outcome"], "pass");
        not_counted(&started(&ada, "1", None).await, "ada");

        let wait = |more: &str| format!("/gate/wait?service=shop&environment=prod&version=1&timeout=1{more}");
        assert_eq!(ada.get(&wait("")).await.ok(200)["allowed"], true);
        for more in ["&for_caller=true", "&deployer=ADA"] {
            let waited = ada.get(&wait(more)).await.ok(200);
            assert_eq!((&waited["allowed"], &waited["state"]), (&json!(false), &denied["decision"]["state"]));
            not_counted(&check(&waited), "ada");
        }

        not_waiting(&ada, "").await;
        let waits = api.get("/approvals/pending?deployer=ada").await.ok(200)["items"].take();
        assert_eq!(waits[0]["not_counted"][0]["subject"], "ada", "{waits}");
        not_waiting(&api, "?deployer=ci").await;

        let mut kept = question("1");
        (kept["record"], kept["for_caller"]) = (json!(true), json!(true));
        let kept = ada.post("/gate/check", kept).await.ok(200);
        assert_eq!((&kept["deployer"], &kept["allowed"]), (&json!("ada"), &json!(false)));
        assert_eq!(started(&ci, "1", None).await["outcome"], "pass");
    }
);

async fn not_waiting(api: &Api, query: &str) {
    assert_eq!(api.get(&format!("/approvals/pending{query}")).await.ok(200)["items"], json!([]), "{query}");
}

db_test!(
    async fn for_whom_it_is_asked_is_said_once_and_says_something(db: TestDb) {
        let api = ground(&db, json!({})).await;
        register(&api, "1", None).await;
        for (deployer, for_caller, code) in
            [("ada", true, "conflict"), (" \u{200b}", false, "empty"), (&"x".repeat(201), false, "too-long")]
        {
            let mut body = question("1");
            (body["deployer"], body["for_caller"]) = (json!(deployer), json!(for_caller));
            let faults = api.post("/gate/check", body).await.faults();
            assert_eq!(faults, [("/deployer".to_owned(), code.to_owned())]);
        }
        let both = "/gate/wait?service=shop&environment=prod&version=1&deployer=ada&for_caller=true";
        let refused = api.get(both).await.problem(400, "invalid-request");
        assert_eq!(refused["errors"][0]["pointer"], "/query/deployer", "{refused}");
        for subject in ["waybill", "Waybill", "ＷＡＹＢＩＬＬ ", "way\u{200b}bill"] {
            let token = json!({ "name": "mine", "subject": subject, "scopes": ["read"] });
            assert_eq!(api.post("/tokens", token).await.faults()[0].1, "reserved", "{subject:?}");
        }
    }
);

db_test!(
    async fn a_rejections_comment_is_in_the_reason(db: TestDb) {
        let api = ground(&db, json!({})).await;
        register(&api, "1", Some("somebody")).await;
        let eve = person(&api, "eve", &[]).await;
        let mut no = say("rejected");
        no["comment"] = json!("the\ncheckout\t breaks");
        eve.post(&approvals("1"), no.clone()).await.ok(201);
        let found = started(&api, "1", None).await;
        assert_eq!(found["code"], "approval-rejected");
        assert_eq!(found["message"], "rejected by eve: the checkout breaks");
        assert_eq!(
            found["details"]["rejections"],
            json!([{ "subject": "eve", "comment": "the\ncheckout\t breaks" }])
        );
        let waits = api.get("/approvals/pending").await.ok(200)["items"].take();
        assert_eq!(waits[0]["rejections"][0]["comment"], "the\ncheckout\t breaks", "{waits}");
        no["comment"] = json!("ö".repeat(2000));
        eve.post(&approvals("1"), no).await.ok(201);
        let found = asked(&api, "1", json!({})).await;
        assert_eq!(found["message"], format!("rejected by eve: {}…", "ö".repeat(500)));
        let mut yes = say("approved");
        yes["comment"] = json!("fine");
        eve.post(&approvals("1"), yes).await.ok(201);
        assert_eq!(asked(&api, "1", json!({})).await["message"], "1 of 1 (eve)");
    }
);

db_test!(
    async fn every_one_of_several_rules_must_hold(db: TestDb) {
        let rules = json!([{ "groups": ["security"] }, { "groups": ["managers", "leads"], "required": 2 }]);
        let api = ground(&db, json!({ "rules": rules })).await;
        let shown = api.get("/environments/prod/policy").await.ok(200)["policy"].take();
        let full = json!([{ "groups": ["security"], "required": 1 }, { "groups": ["managers", "leads"], "required": 2 }]);
        assert_eq!(shown["approval"]["rules"], full);
        assert_eq!((&shown["approval"]["required"], &shown["approval"]["groups"]), (&json!(1), &json!([])));
        let again = api.put("/environments/prod/policy", shown).await.ok(200);
        assert_eq!(again["version"], 1, "what is shown can be set again");

        register(&api, "1", Some("somebody")).await;
        let names = async |query: &str| {
            let items = api.get(&format!("/approvals/pending{query}")).await.ok(200)["items"].take();
            items.as_array().unwrap().len()
        };
        let found = started(&api, "1", None).await;
        let nothing = "security: 0 of 1, 1 missing; managers or leads: 0 of 2, 2 missing";
        assert_eq!((&found["code"], &found["message"]), (&json!("approval-missing"), &json!(nothing)));
        assert_eq!((names("?group=security").await, names("?group=leads").await), (1, 1));
        let ann = person(&api, "ann", &["managers"]).await;
        approve(&ann, "1").await;
        approve(&person(&api, "dan", &["others"]).await, "1").await;
        approve(&person(&api, "bob", &["leads"]).await, "1").await;
        let found = started(&api, "1", None).await;
        let expected = "security: 0 of 1, 1 missing; managers or leads: 2 of 2 (ann, bob); not counted: dan: is in none of \
                        the groups";
        assert_eq!(found["message"], expected);
        assert_eq!(found["details"]["rules"][0]["missing"], 1);
        let waits = api.get("/approvals/pending").await.ok(200)["items"][0].take();
        assert_eq!((&waits["required"], &waits["missing"]), (&json!(2), &json!(1)), "{waits}");
        assert_eq!(waits["groups"], json!(["leads", "managers", "security"]));
        assert_eq!(waits["rules"], found["details"]["rules"]);
        assert_eq!(
            (names("?group=security").await, names("?group=leads").await),
            (1, 0),
            "who is waited for"
        );

        let both = person(&api, "ann", &["managers", "security"]).await;
        approve(&both, "1").await;
        let found = started(&api, "1", None).await;
        let expected = "security: 1 of 1 (ann); managers or leads: 2 of 2 (bob, ann)";
        assert_eq!((&found["outcome"], &found["message"]), (&json!("pass"), &json!(expected)));
        assert_eq!(names("").await, 0);
        let more = json!({ "approval": { "required": 3, "rules": full } });
        api.put("/environments/prod/policy", more).await.ok(200);
        let found = asked(&api, "1", json!({})).await;
        assert_eq!(
            found["outcome"], "pass",
            "dan counts for the flat rule, which is one beside the others: {found}"
        );
        let most = json!({ "approval": { "required": 4, "rules": full } });
        api.put("/environments/prod/policy", most).await.ok(200);
        let found = asked(&api, "1", json!({})).await["message"].take();
        assert!(
            found.as_str().unwrap().starts_with("anybody: 3 of 4 (dan, bob, ann), 1 missing; security"),
            "{found}"
        );
    }
);

db_test!(
    async fn a_decision_of_before_is_judged_again_as_it_was(db: TestDb) {
        let api = ground(&db, json!({})).await;
        register(&api, "1", None).await;
        approve(&person(&api, "ada", &[]).await, "1").await;
        let id = {
            let answer = api.post("/deployments", start_body("shop/prod", "1")).await.ok(201);
            id_of(&answer["decision"])
        };
        let decision = api.get(&format!("/decisions/{id}")).await.ok(200);
        let mut inputs = decision["inputs"].clone();
        for name in ["deployer", "initiator"] {
            inputs["facts"].as_object_mut().unwrap().remove(name);
        }
        for name in ["rules", "require_known_initiator"] {
            inputs["policy"]["approval"].as_object_mut().unwrap().remove(name);
        }
        inputs["facts"]["insiders"] = json!(["Ada"]);
        let read: waybill::domain::gate::Inputs = serde_json::from_value(inputs).unwrap();
        let verdict = waybill::domain::gate::evaluate(
            &read,
            decision["evaluated_at"].as_str().unwrap().parse().unwrap(),
        );
        let check = verdict.checks.iter().find(|check| check.rule.as_str() == "approval").unwrap();
        assert_eq!((check.code.as_str(), check.message.as_str()), ("pass", "1 of 1 (ada)"));
    }
);
