//! Waivers: a vulnerability that somebody answers for does not count, where they say so and until they say, and is shown
//! wherever it would.

use chrono::{SecondsFormat, TimeDelta};
use serde_json::{Value, json};
use waybill::{clock, domain::vocabulary::Scope, usecase::upkeep};

use crate::{
    api::{
        scans::{plain, scans, texts, trivy, with_releases},
        wait::{answer, waiting},
    },
    db_test,
    gate::replay::judged_again,
    support::{
        api::{Api, id_of},
        db::TestDb,
        eventually,
    },
};

const REASON: &str = "no text of users gets there";

fn ahead(by: TimeDelta) -> String {
    (clock::now() + by).to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn body(vulnerability: &str) -> Value {
    json!({ "vulnerability": vulnerability, "reason": REASON, "expires_at": ahead(TimeDelta::days(30)) })
}

fn for_prod(vulnerability: &str) -> Value {
    let mut body = body(vulnerability);
    body["environments"] = json!(["prod"]);
    body
}

/// A report of Trivy of image `a` with two critical vulnerabilities, the first of which has another name.
fn two_critical(digit: char) -> Value {
    let mut report = trivy(
        digit,
        "2026-01-20T10:00:00Z",
        &[("CVE-2026-1001", "libc", "CRITICAL"), ("CVE-2026-1002", "zlib", "CRITICAL")],
    );
    report["Results"][0]["Vulnerabilities"][0]["VendorIDs"] = json!(["GHSA-aaaa-bbbb-cccc"]);
    report
}

/// The API with release 1 of `shop` in two environments that allow no critical vulnerabilities, and it has two.
async fn guarded(db: &TestDb) -> Api {
    let api = with_releases(db, &[("1", 'a')]).await;
    for name in ["prod", "staging"] {
        api.post("/environments", json!({ "name": name })).await.ok(201);
        let policy = json!({ "vulnerabilities": { "max": { "critical": 0 } } });
        api.put(&format!("/environments/{name}/policy"), policy).await.ok(200);
    }
    api.post(&scans("1"), two_critical('a')).await.ok(201);
    api
}

/// What the gate says about vulnerabilities in an environment.
async fn gate(api: &Api, environment: &str, version: &str) -> Value {
    let question = json!({ "service": "shop", "environment": environment, "version": version });
    let mut answer = api.post("/gate/check", question).await.ok(200);
    let checks = answer["checks"].as_array_mut().unwrap();
    checks.iter_mut().find(|check| check["rule"] == "vulnerabilities").unwrap().take()
}

async fn waive(api: &Api, body: Value) -> String {
    id_of(&api.post("/waivers", body).await.ok(201))
}

db_test!(
    async fn what_is_waived_does_not_count_by_any_id_where_it_is_said(db: TestDb) {
        let api = guarded(&db).await;
        let over = |number| format!("over the budget: {number} critical of 0 (trivy)");
        assert_eq!(gate(&api, "prod", "1").await["message"], over(2));
        let mut elsewhere = body("CVE-2026-1002");
        elsewhere["services"] = json!(["pay"]);
        api.post("/services", json!({ "name": "pay" })).await.ok(201);
        waive(&api, elsewhere).await;
        assert_eq!(gate(&api, "prod", "1").await["message"], over(2), "it is another service's");
        let first = waive(&api, for_prod("ghsa-AAAA-bbbb-cccc")).await;
        let check = gate(&api, "prod", "1").await;
        let message = check["message"].as_str().unwrap();
        assert!(message.starts_with(&over(1)), "{check}");
        assert!(message.contains("; 1 waived (GHSA-aaaa-bbbb-cccc until "), "{check}");
        assert_eq!(gate(&api, "staging", "1").await["message"], over(2));
        let second = waive(&api, for_prod("CVE-2026-1002")).await;
        let check = gate(&api, "prod", "1").await;
        assert_eq!(check["code"], "pass");
        assert!(
            check["message"]
                .as_str()
                .unwrap()
                .starts_with("within the budget; 2 waived (CVE-2026-1002 until ")
        );
        let mut told = texts(&check["details"]["waived"], "id");
        told.sort_unstable();
        let mut made = [first.as_str(), second.as_str()];
        made.sort_unstable();
        assert_eq!(told, made);
        assert_eq!(check["details"]["waived"][0]["reason"], REASON);
        assert_eq!(check["details"]["waived"][0]["findings"], 1);
        // Two of the same take it out once.
        waive(&api, body("CVE-2026-1002")).await;
        assert_eq!(gate(&api, "staging", "1").await["message"].as_str().unwrap()[..over(1).len()], over(1));
        assert_eq!(gate(&api, "prod", "1").await["code"], "pass");
        api.delete(&format!("/waivers/{first}")).await.ok(204);
        assert_eq!(gate(&api, "prod", "1").await["code"], "vulnerability-budget");
    }
);

db_test!(
    async fn a_decision_keeps_what_was_waived_and_comes_out_the_same_later(db: TestDb) {
        let api = guarded(&db).await;
        let ids =
            [waive(&api, for_prod("CVE-2026-1001")).await, waive(&api, for_prod("CVE-2026-1002")).await];
        let start = json!({ "service": "shop", "environment": "prod", "version": "1" });
        let decision = id_of(&api.post("/deployments", start).await.ok(201)["decision"]);
        for id in &ids {
            api.delete(&format!("/waivers/{id}")).await.ok(204);
            api.delete(&format!("/waivers/{id}")).await.ok(204);
        }
        let kept = api.get(&format!("/decisions/{decision}")).await.ok(200);
        let facts = &kept["inputs"]["facts"];
        for (id, vulnerability) in ids.iter().zip(["CVE-2026-1001", "CVE-2026-1002"]) {
            let said = json!({ "vulnerability": vulnerability, "reason": REASON });
            assert_eq!(facts["waivers"][id], said, "{kept}");
        }
        assert_eq!(facts["scans"][0]["waived"].as_array().unwrap().len(), 2);
        assert_eq!(judged_again(&api).await, 1);
        while upkeep::seal_events(&api.app).await.unwrap() > 0 {}
        let told = async |kind: &str| {
            let events = api.get(&format!("/events?kind={kind}&environment=prod")).await.ok(200);
            events["items"].as_array().unwrap().len()
        };
        assert_eq!((told("waiver.created").await, told("waiver.withdrawn").await), (2, 2), "each once");
    }
);

db_test!(
    async fn a_waiver_ends_by_itself(db: TestDb) {
        let api = guarded(&db).await;
        waive(&api, body("CVE-2026-1001")).await;
        let mut short = for_prod("CVE-2026-1002");
        short["expires_at"] = json!(ahead(TimeDelta::seconds(3)));
        waive(&api, short).await;
        eventually("its end", async || {
            (gate(&api, "prod", "1").await["code"] == "vulnerability-budget").then_some(())
        })
        .await;
        let holding = api.get("/waivers").await.ok(200);
        assert_eq!(texts(&holding["items"], "vulnerability"), ["CVE-2026-1001"]);
        let all = api.get("/waivers?all=true&limit=1").await.ok(200);
        assert_eq!((&all["items"][0]["active"], all["next_cursor"].is_string()), (&json!(false), true));
    }
);

db_test!(
    async fn it_is_shown_with_scans_and_where_the_vulnerability_is(db: TestDb) {
        let api = guarded(&db).await;
        let start = json!({ "service": "shop", "environment": "prod", "version": "1", "override": { "reason": "it must be now" } });
        let id = id_of(&api.post("/deployments", start).await.ok(201)["deployment"]);
        api.finished(&id, "succeeded").await;
        let waiver = waive(&api, for_prod("GHSA-aaaa-bbbb-cccc")).await;
        let scan = api.get(&scans("1")).await.ok(200)["items"][0].take();
        assert_eq!((&scan["waived"][0]["id"], &scan["waived"][0]["findings"]), (&json!(waiver), &json!(1)));
        assert_eq!(scan["waived"][0]["environments"], json!(["prod"]));
        let found = api.get("/vulnerabilities/CVE-2026-1001").await.ok(200);
        let told = &found["targets"][0]["waivers"][0];
        assert_eq!((&told["id"], &told["reason"]), (&json!(waiver), &json!(REASON)), "{found}");
        let other = api.get("/vulnerabilities/CVE-2026-1002").await.ok(200);
        assert_eq!(other["targets"][0]["waivers"], json!([]));
        // A plain report names nothing that could be waived.
        api.post(&scans("1"), plain("snyk", "2026-01-20T10:00:00Z", 1)).await.ok(201);
        waive(&api, for_prod("CVE-2026-1002")).await;
        let check = gate(&api, "prod", "1").await;
        assert!(
            check["message"]
                .as_str()
                .unwrap()
                .starts_with("over the budget: 1 critical of 0 (snyk); 2 waived")
        );
    }
);

db_test!(
    async fn the_release_to_take_instead_is_found_by_the_same_rule(db: TestDb) {
        let api = guarded(&db).await;
        for (version, digit) in [("2", 'b'), ("3", 'c')] {
            let release = json!({ "version": version, "commit_sha": crate::support::api::commit(version), "image": crate::support::api::image(digit) });
            api.post("/services/shop/releases", release).await.ok(201);
        }
        api.post(&scans("2"), trivy('b', "2026-01-20T10:00:00Z", &[("CVE-2026-1003", "libc", "CRITICAL")]))
            .await
            .ok(201);
        api.post(&scans("3"), two_critical('c')).await.ok(201);
        assert_eq!(gate(&api, "prod", "3").await["details"]["newest_within_budget"], Value::Null);
        waive(&api, for_prod("CVE-2026-1003")).await;
        assert_eq!(gate(&api, "prod", "3").await["details"]["newest_within_budget"], "2");
        assert_eq!(gate(&api, "staging", "3").await["details"]["newest_within_budget"], Value::Null);
    }
);

db_test!(
    async fn whoever_waits_is_woken_when_one_is_made_or_withdrawn(db: TestDb) {
        let api = guarded(&db).await.with_workers();
        let state = async |api: &Api| {
            let question = json!({ "service": "shop", "environment": "prod", "version": "1" });
            api.post("/gate/check", question).await.ok(200)["state"].as_str().unwrap().to_owned()
        };
        let path = |seen: String| {
            format!("/gate/wait?service=shop&environment=prod&version=1&timeout=120&seen={seen}")
        };
        let task = waiting(&api, path(state(&api).await)).await;
        let id = waive(&api, for_prod("CVE-2026-1001")).await;
        let told = answer(task).await.ok(200);
        assert_eq!(told["state"], state(&api).await);
        let task = waiting(&api, path(state(&api).await)).await;
        api.delete(&format!("/waivers/{id}")).await.ok(204);
        answer(task).await.ok(200);
    }
);

db_test!(
    async fn who_may_and_what_is_wrong_is_named(db: TestDb) {
        let api = guarded(&db).await;
        let wrong = json!({ "vulnerability": "shop", "reason": "no", "expires_at": ahead(TimeDelta::days(400)),
            "services": ["nowhere"], "environments": ["prod", "nowhere"] });
        let faults = api.post("/waivers", wrong).await.faults();
        let expected = [
            ("/vulnerability", "invalid-vulnerability-id"),
            ("/reason", "too-short"),
            ("/expires_at", "too-far"),
            ("/services/0", "unknown"),
            ("/environments/1", "unknown"),
        ];
        assert_eq!(faults, expected.map(|(pointer, code)| (pointer.to_owned(), code.to_owned())));
        let mut past = body("CVE-2026-1001");
        past["expires_at"] = json!(ahead(TimeDelta::seconds(-1)));
        assert_eq!(api.post("/waivers", past).await.faults()[0].1, "past");
        let deployer = api.token(&[Scope::Deploy, Scope::Read], None, None).await;
        deployer.post("/waivers", body("CVE-2026-1001")).await.problem(403, "forbidden");
        let narrowed = api.token(&[Scope::Override, Scope::Read], Some(&["shop"]), Some(&["prod"])).await;
        for too_far in [json!(["prod"]), json!(null)] {
            let mut wide = for_prod("CVE-2026-1001");
            wide["environments"] = too_far;
            narrowed.post("/waivers", wide).await.problem(403, "forbidden");
        }
        let mut within = for_prod("CVE-2026-1001");
        within["services"] = json!(["shop"]);
        let made = narrowed.post_once("a key", "/waivers", within.clone()).await.ok(201);
        assert_eq!(narrowed.post_once("a key", "/waivers", within).await.ok(201), made);
        let wide = waive(&api, body("CVE-2026-1002")).await;
        let mut other = body("CVE-2026-1002");
        other["environments"] = json!(["staging"]);
        let other = waive(&api, other).await;
        let seen = narrowed.get("/waivers").await.ok(200);
        assert_eq!(texts(&seen["items"], "id"), [wide.as_str(), &id_of(&made)], "newest first");
        narrowed.get(&format!("/waivers/{other}")).await.problem(404, "not-found");
        narrowed.delete(&format!("/waivers/{other}")).await.problem(404, "not-found");
        narrowed.delete(&format!("/waivers/{wide}")).await.problem(403, "forbidden");
        narrowed.delete(&format!("/waivers/{}", id_of(&made))).await.ok(204);
        let of_one =
            api.get("/waivers?vulnerability=cve-2026-1002&environment=prod&service=shop").await.ok(200);
        assert_eq!(texts(&of_one["items"], "id"), [wide]);
    }
);
