//! Taking a service out of an environment: nothing is current there any more, and the past still shows what was.

use chrono::{SecondsFormat, TimeDelta};
use serde_json::{Value, json};
use waybill::clock;

use crate::{
    api::{
        audit::sealed,
        scans::{scans, texts, trivy, with_releases},
    },
    db_test,
    support::api::{Api, id_of, start_body},
};

fn removal(target: &str) -> Value {
    let (service, environment) = target.split_once('/').unwrap();
    json!({ "service": service, "environment": environment, "kind": "remove" })
}

async fn removing(api: &Api, target: &str) -> String {
    id_of(&api.post("/deployments", removal(target)).await.ok(201)["deployment"])
}

async fn removed(api: &Api, target: &str) -> Value {
    let id = removing(api, target).await;
    api.finished(&id, "succeeded").await
}

fn only_target(matrix: &Value) -> Value {
    matrix["services"][0]["targets"][0].clone()
}

db_test!(
    async fn what_is_removed_is_current_no_more_and_the_past_keeps_it(db: TestDb) {
        let api = Api::new(&db).await;
        let first = api.deployed("shop/prod", "1").await;
        let started = api.post("/deployments", removal("shop/prod")).await.ok(201);
        let removal_of = &started["deployment"];
        assert_eq!((&removal_of["kind"], &removal_of["version"]), (&json!("remove"), &json!("1")));
        let during = only_target(&api.get("/matrix").await.ok(200));
        assert_eq!(
            (&during["current"]["version"], &during["current"]["removal"]),
            (&json!("1"), &json!(false))
        );
        assert_eq!(
            (&during["running"]["version"], &during["running"]["removal"]),
            (&json!("1"), &json!(true))
        );
        let ended = api.finished(&id_of(removal_of), "succeeded").await;

        let target = api.target("shop/prod").await;
        assert_eq!((&target["current"], &target["running"]), (&Value::Null, &Value::Null));
        assert_eq!(target["rollback_to"]["version"], "1", "what was removed can be brought back");
        assert_eq!(only_target(&api.get("/matrix").await.ok(200))["current"], Value::Null);
        let (came, went) = (first["finished_at"].as_str().unwrap(), ended["finished_at"].as_str().unwrap());
        for (at, version) in [(came, json!("1")), (went, Value::Null)] {
            let then = only_target(&api.get(&format!("/matrix?as_of={at}")).await.ok(200));
            assert_eq!(then["current"]["version"], version, "{at}");
        }
        let then = started["deployment"]["started_at"].as_str().unwrap();
        let then = only_target(&api.get(&format!("/matrix?as_of={then}")).await.ok(200));
        assert_eq!((&then["current"]["version"], &then["running"]["removal"]), (&json!("1"), &json!(true)));
        let first = api.deployment(&id_of(&first)).await;
        assert_eq!((&first["superseded_by"], &first["superseded_at"]), (&ended["id"], &ended["finished_at"]));
        let listed = api.get("/deployments?kind=remove").await.ok(200);
        assert_eq!(texts(&listed["items"], "version"), ["1"]);
        sealed(&api).await;
        let told = api.get("/events?kind=deployment.started").await.ok(200);
        assert_eq!(texts(&told["items"], "version"), ["1", "1"]);
        assert_eq!(told["items"][1]["data"]["kind"], "remove");

        let again = api.deployed("shop/prod", "1").await;
        assert_eq!(again["kind"], "deploy", "it was not current");
        assert_eq!(again["stay_started_at"], again["finished_at"], "and begins a stay of its own");
        assert_eq!(api.deployment(&id_of(removal_of)).await["superseded_by"], Value::Null);
        db.assert_sound().await;
    }
);

db_test!(
    async fn a_removal_that_fails_leaves_what_is_current(db: TestDb) {
        let api = Api::new(&db).await;
        let first = api.deployed("shop/prod", "1").await;
        for end in ["failed", "canceled"] {
            let id = removing(&api, "shop/prod").await;
            api.finished(&id, end).await;
            assert_eq!(api.target("shop/prod").await["current"]["deployment_id"], first["id"], "{end}");
        }
        removing(&api, "shop/prod").await;
        let mut back = start_body("shop/prod", "2");
        (back["kind"], back["preempt"]) = (json!("rollback"), json!(true));
        api.post("/deployments", back).await.ok(201);
        let canceled = api.get("/deployments?kind=remove&status=canceled").await.ok(200);
        assert_eq!(canceled["items"].as_array().unwrap().len(), 2, "a rollback takes its place");
        db.assert_sound().await;
    }
);

db_test!(
    async fn what_does_not_run_is_not_removed_and_nothing_is_registered(db: TestDb) {
        let api = Api::new(&db).await;
        api.deployed("shop/prod", "1").await;
        for target in ["shpo/prod", "shop/prdo"] {
            api.post("/deployments", removal(target)).await.problem(404, "not-found");
        }
        api.post("/environments", json!({ "name": "qa" })).await.ok(201);
        let never = api.post("/deployments", removal("shop/qa")).await.problem(409, "conflict");
        assert!(
            never["detail"].as_str().unwrap().contains("nothing to remove: shop does not run in qa"),
            "{never}"
        );
        let mut other = removal("shop/prod");
        other["version"] = json!("2");
        let other = api.post("/deployments", other).await.problem(409, "conflict");
        assert!(other["detail"].as_str().unwrap().contains("1 of shop runs in prod, and not 2"), "{other}");
        removed(&api, "shop/prod").await;
        api.post("/deployments", removal("shop/prod")).await.problem(409, "conflict");
        api.post("/gate/check", removal("shop/prod")).await.problem(409, "conflict");
        assert_eq!(texts(&api.get("/services").await.ok(200)["items"], "name"), ["shop"]);

        let mut with_release = start_body("shop/prod", "1");
        with_release["kind"] = json!("remove");
        let refused = api.post("/deployments", with_release).await.faults();
        assert_eq!(refused, [("/release".to_owned(), "not-shipped".to_owned())]);
        let mut without_version = removal("shop/prod");
        without_version["kind"] = json!("hotfix");
        for path in ["/deployments", "/gate/check"] {
            let refused = api.post(path, without_version.clone()).await.faults();
            assert_eq!(refused, [("/version".to_owned(), "required".to_owned())]);
        }
        api.get("/gate/wait?service=shop&environment=prod").await.problem(400, "invalid-request");
    }
);

db_test!(
    async fn a_removal_leaves_the_environment_in_the_archive(db: TestDb) {
        let api = Api::new(&db).await;
        for environment in ["review-7", "prod"] {
            api.deployed(&format!("shop/{environment}"), "1").await;
            api.delete(&format!("/environments/{environment}")).await.ok(200);
        }
        removed(&api, "shop/review-7").await;
        assert_eq!(api.get("/environments/review-7").await.ok(200)["archived"], true);
        let refused = api.post("/deployments", removal("shop/prod")).await.problem(409, "conflict");
        let says = "Environment prod is archived; nothing is deployed there or removed.";
        assert!(refused["detail"].as_str().unwrap().starts_with(says), "{refused}");
    }
);

db_test!(
    async fn the_gate_judges_when_it_is_removed_and_not_what_was_shipped(db: TestDb) {
        let api = Api::new(&db).await;
        api.post("/environments", json!({ "name": "dev" })).await.ok(201);
        api.deployed("shop/prod", "1").await;
        let strict = json!({
            "promotion": { "from": ["dev"] }, "approval": { "required": 2 }, "image": { "require_digest": true },
            "vulnerabilities": { "max": { "critical": 0 }, "require_scan": true }, "outdated": {},
        });
        api.put("/environments/prod/policy", strict).await.ok(200);
        let mut question = removal("shop/prod");
        let open = api.post("/gate/check", question.clone()).await.ok(200);
        assert_eq!((&open["allowed"], &open["version"]), (&json!(true), &json!("1")));
        for check in open["checks"].as_array().unwrap() {
            let looked_at = ["concurrency", "lockdown", "freeze"].contains(&check["rule"].as_str().unwrap());
            assert_eq!(check["code"], if looked_at { "pass" } else { "exempt" }, "{check}");
        }
        let waited = api.get("/gate/wait?service=shop&environment=prod&kind=remove").await.ok(200);
        assert_eq!(waited["state"], open["state"]);

        api.put("/environments/prod/lockdown", json!({ "reason": "hands off" })).await.ok(200);
        question["record"] = json!(true);
        assert_eq!(api.post("/gate/check", question).await.ok(200)["allowed"], false);
        let denied = api.post("/deployments", removal("shop/prod")).await.problem(409, "gate-denied");
        assert_eq!(denied["decision"]["checks"][1]["code"], "lockdown");
        api.delete("/environments/prod/lockdown").await.ok(204);

        let now = clock::now();
        let window = api
            .post(
                "/freeze-windows",
                json!({ "name": "n", "reason": "rest", "environments": ["prod"],
                "starts_at": now, "ends_at": now + TimeDelta::hours(1) }),
            )
            .await
            .ok(201);
        let denied = api.post("/deployments", removal("shop/prod")).await.problem(409, "gate-denied");
        assert_eq!(denied["decision"]["checks"][2]["code"], "freeze-window");
        let lets_through = json!({ "freeze": { "exempt_kinds": ["remove"] } });
        api.put("/environments/prod/policy", lets_through).await.ok(200);
        removing(&api, "shop/prod").await;
        api.delete(&format!("/freeze-windows/{}", id_of(&window))).await.ok(204);
        let busy = api.start("shop/prod", "2").await.problem(409, "gate-denied");
        let said = busy["decision"]["checks"][0]["message"].as_str().unwrap();
        assert!(said.starts_with("1 is being removed by"), "{said}");
        db.assert_sound().await;
    }
);

db_test!(
    async fn what_was_removed_soaks_no_more(db: TestDb) {
        let api = Api::new(&db).await;
        api.post("/environments", json!({ "name": "dev" })).await.ok(201);
        api.post("/environments", json!({ "name": "prod" })).await.ok(201);
        let soak = json!({ "promotion": { "from": ["dev"], "soak_seconds": 3600 } });
        api.put("/environments/prod/policy", soak).await.ok(200);
        let ask = async || {
            let denied = api.start("shop/prod", "1").await.problem(409, "gate-denied");
            denied["decision"]["checks"][3].clone()
        };
        api.deployed("shop/dev", "1").await;
        let soaking = ask().await;
        assert_eq!((&soaking["code"], soaking["retry_at"].is_string()), (&json!("soak-not-met"), true));
        removed(&api, "shop/dev").await;
        let over = ask().await;
        assert_eq!((&over["code"], &over["retry_at"]), (&json!("soak-not-met"), &Value::Null));
        assert!(over["details"]["sources"][0]["longest_stay"].is_object(), "{over}");
    }
);

db_test!(
    async fn what_was_removed_runs_nowhere_and_nothing_is_behind_it(db: TestDb) {
        let api = with_releases(&db, &[("1", 'a'), ("2", 'b')]).await;
        api.post(&scans("2"), trivy('b', "2026-01-20T10:00:00Z", &[("CVE-2026-1", "zlib", "LOW")]))
            .await
            .ok(201);
        api.deployed("shop/prod", "1").await;
        api.deployed("shop/staging", "2").await;
        let ask = async || api.get("/vulnerabilities/CVE-2026-1").await.ok(200);
        let behind = async || {
            let targets = api.get("/matrix").await.ok(200)["services"][0]["targets"].take();
            targets.as_array().unwrap().iter().find(|one| one["environment"] == "prod").unwrap()["behind"]
                .clone()
        };
        assert_eq!(behind().await, 1);
        let id = removing(&api, "shop/staging").await;
        let targets = ask().await["targets"].take();
        assert_eq!(targets.as_array().unwrap().len(), 1, "it is not on its way there: {targets}");
        assert_eq!(targets[0]["running"], false);
        api.finished(&id, "succeeded").await;
        assert_eq!((ask().await["targets"].take(), behind().await), (json!([]), Value::Null));
        removed(&api, "shop/prod").await;
        assert_eq!(ask().await["unscanned"]["targets"].as_array().map_or(0, Vec::len), 0);
    }
);

db_test!(
    async fn a_rollback_brings_back_what_was_removed_or_goes_further(db: TestDb) {
        let api = Api::new(&db).await;
        for version in ["1", "2"] {
            api.deployed("shop/prod", version).await;
        }
        let back_to = async |version: &str| {
            removed(&api, "shop/prod").await;
            let mut body = start_body("shop/prod", version);
            body["kind"] = json!("rollback");
            let started = api.post("/deployments", body).await.ok(201)["deployment"].take();
            api.finished(&id_of(&started), "succeeded").await
        };
        let of_second = async || {
            let found = api.get("/deployments?status=succeeded&kind=deploy&limit=1").await.ok(200);
            found["items"][0]["reverted_by"].clone()
        };
        let back = back_to("2").await;
        assert_eq!((&back["verified"], of_second().await), (&json!(true), Value::Null));
        let back = back_to("1").await;
        assert_eq!((&back["verified"], of_second().await), (&json!(true), back["id"].clone()));
        assert_eq!(back_to("3").await["verified"], false, "it never ran here");
        assert_eq!(api.target("shop/prod").await["rollback_to"]["version"], "1", "and reverts nothing");
        db.assert_sound().await;
    }
);

/// A moment that many minutes ago.
fn ago(minutes: i64) -> String {
    (clock::now() - TimeDelta::minutes(minutes)).to_rfc3339_opts(SecondsFormat::Secs, true)
}

db_test!(
    async fn a_removal_is_put_on_record_where_it_happened(db: TestDb) {
        let api = Api::new(&db).await;
        let ended = |mut body: Value, minutes: i64| {
            (body["started_at"], body["finished_at"]) = (json!(ago(minutes)), json!(ago(minutes)));
            body["status"] = json!("succeeded");
            body
        };
        let record = async |body: Value| api.post("/deployments/record", body).await;
        record(ended(removal("shop/prod"), 90)).await.problem(404, "not-found");
        record(ended(start_body("shop/prod", "1"), 60)).await.ok(201);
        record(ended(start_body("shop/prod", "1"), 20)).await.ok(201);
        record(ended(removal("shop/prod"), 90)).await.problem(409, "conflict");
        let removal_then = ended(removal("shop/prod"), 40);
        let then = record(removal_then.clone()).await.ok(201);
        assert_eq!((&then["version"], &then["kind"]), (&json!("1"), &json!("remove")));
        assert_eq!(record(removal_then).await.ok(200)["id"], then["id"]);
        let current = api.target("shop/prod").await["current"].clone();
        let last = api.deployment(current["deployment_id"].as_str().unwrap()).await;
        assert_eq!(current["since"], last["finished_at"], "what was one stay is two");
        record(ended(removal("shop/prod"), 30)).await.problem(409, "conflict");
        record(ended(removal("shop/prod"), 10)).await.ok(201);
        assert_eq!(api.target("shop/prod").await["current"], Value::Null);
        record(ended(start_body("shop/prod", "2"), 15)).await.ok(201);
        assert_eq!(api.target("shop/prod").await["current"], Value::Null, "it was removed since");
        record(ended(start_body("shop/prod", "1"), 35)).await.ok(201);
        db.assert_sound().await;
    }
);
