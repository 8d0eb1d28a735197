//! The emergency stop: nothing but an override starts, what runs goes on.

use futures_util::future::join_all;
use serde_json::{Value, json};
use waybill::{domain::vocabulary::Scope, usecase::upkeep};

use crate::{
    db_test,
    support::api::{Api, id_of, start_body},
};

const PROD: &str = "/environments/prod/lockdown";

fn because(reason: &str) -> Value {
    json!({ "reason": reason })
}

async fn events(api: &Api, kind: &str) -> Vec<Value> {
    while upkeep::seal_events(&api.app).await.unwrap() > 0 {}
    let events = api.get(&format!("/events?kind={kind}")).await.ok(200)["items"].take();
    events.as_array().unwrap().clone()
}

db_test!(
    async fn nothing_but_an_override_starts_and_what_runs_goes_on(db: TestDb) {
        let api = Api::new(&db).await;
        for version in ["1", "2"] {
            api.deployed("shop/prod", version).await;
        }
        let running = api.started("pay/prod", "1").await;
        api.started("pay/dev", "1").await;
        let placed = api.put(PROD, because("payments fail")).await.ok(200);
        assert_eq!((&placed["environment"], &placed["reason"]), (&json!("prod"), &json!("payments fail")));
        assert_eq!(placed["actor"]["subject"].as_str().unwrap(), placed["running"][0]["actor"]["subject"]);
        let named = placed["running"].as_array().unwrap();
        assert_eq!(named.len(), 1, "{placed}");
        assert_eq!((&named[0]["deployment_id"], &named[0]["service"]), (&json!(running), &json!("pay")));
        assert_eq!((&named[0]["version"], named[0]["since"].is_string()), (&json!("1"), true));

        let mut back = start_body("shop/prod", "1");
        (back["kind"], back["preempt"]) = (json!("rollback"), json!(true));
        let mut again = start_body("shop/prod", "2");
        again["kind"] = json!("redeploy");
        let mut hotfix = start_body("shop/prod", "3");
        hotfix["kind"] = json!("hotfix");
        for body in [start_body("shop/prod", "3"), back.clone(), again, hotfix, start_body("new/prod", "1")] {
            let denied = api.post("/deployments", body).await.problem(409, "gate-denied");
            let checks = denied["decision"]["checks"].as_array().unwrap().clone();
            let failing: Vec<_> = checks.iter().filter(|check| check["outcome"] == "fail").collect();
            assert_eq!((failing.len(), &failing[0]["code"]), (1, &json!("lockdown")), "{denied}");
            assert_eq!(failing[0]["details"]["reason"], "payments fail");
            assert!(failing[0]["message"].as_str().unwrap().contains("payments fail"));
        }
        api.deployed("shop/dev", "3").await;
        api.post(&format!("/deployments/{running}/heartbeat"), json!({})).await.ok(200);
        api.finished(&running, "succeeded").await;

        back["override"] = json!({ "reason": "the old one is harmless" });
        let lifted = api.post("/deployments", back).await.ok(201);
        assert_eq!(lifted["decision"]["override"]["reason"], "the old one is harmless");
        api.finished(&id_of(&lifted["deployment"]), "succeeded").await;

        api.delete(PROD).await.ok(204);
        api.deployed("shop/prod", "3").await;
    }
);

db_test!(
    async fn it_is_placed_once_said_anew_and_lifted_once(db: TestDb) {
        let api = Api::new(&db).await;
        api.post("/environments", json!({ "name": "prod" })).await.ok(201);
        let shown = || async { api.get("/environments/prod").await.ok(200)["lockdown"].take() };
        assert_eq!(shown().await, Value::Null);
        assert_eq!(api.get("/matrix").await.ok(200)["environments"][0]["locked_down"], false);
        api.delete(PROD).await.ok(204);
        let first = api.put(PROD, because("one")).await.ok(200);
        assert_eq!(api.put(PROD, because(" one ")).await.ok(200), first, "the same again changes nothing");
        let eve = api.person("eve", &[Scope::Override], &[]).await;
        let second = eve.put(PROD, because("two")).await.ok(200);
        assert_eq!((&second["since"], &second["reason"]), (&first["since"], &json!("two")));
        assert_eq!(second["actor"]["subject"], "eve", "whoever gives the reason answers for it");
        let seen = shown().await;
        assert_eq!(seen, json!({ "reason": "two", "actor": second["actor"], "since": first["since"] }));
        assert_eq!(api.get("/matrix").await.ok(200)["environments"][0]["locked_down"], true);
        for _ in 0..2 {
            api.delete(PROD).await.ok(204);
        }
        assert_eq!(shown().await, Value::Null);

        let placed = events(&api, "lockdown.placed").await;
        let said: Vec<_> =
            placed.iter().map(|event| (&event["data"]["before"], &event["data"]["reason"])).collect();
        assert_eq!(said, [(&Value::Null, &json!("one")), (&json!("one"), &json!("two"))]);
        let lifted = events(&api, "lockdown.lifted").await;
        assert_eq!((lifted.len(), &lifted[0]["environment"]), (1, &json!("prod")));
        assert_eq!(lifted[0]["data"]["reason"], "two");
    }
);

db_test!(
    async fn it_outlives_edits_of_the_environment(db: TestDb) {
        let api = Api::new(&db).await;
        api.post("/environments", json!({ "name": "prod" })).await.ok(201);
        api.put("/environments/prod/policy", json!({ "approval": {} })).await.ok(200);
        api.put(PROD, because("one")).await.ok(200);
        api.patch("/environments/prod", json!({ "rank": 7 })).await.ok(200);
        api.put("/environments/prod/policy", json!({ "approval": { "required": 2 } })).await.ok(200);
        let environment = api.get("/environments/prod").await.ok(200);
        assert_eq!((&environment["lockdown"]["reason"], &environment["rank"]), (&json!("one"), &json!(7)));
        let policy = api.get("/environments/prod/policy").await.ok(200);
        assert_eq!((&policy["version"], &policy["policy"]["approval"]["required"]), (&json!(2), &json!(2)));
        api.delete("/environments/prod").await.ok(200);
        api.put(PROD, because("two")).await.problem(409, "conflict");
        api.delete(PROD).await.ok(204);
    }
);

db_test!(
    async fn rights_narrowing_and_reasons_hold(db: TestDb) {
        let api = Api::new(&db).await;
        api.deployed("shop/prod", "1").await;
        let enough = [Scope::Freeze, Scope::Override, Scope::Admin];
        let others: Vec<_> = Scope::ALL.iter().copied().filter(|one| !enough.contains(one)).collect();
        let poor = api.token(&others, None, None).await;
        let of_shop = api.token(&[Scope::Override], Some(&["shop"]), None).await;
        for caller in [poor, of_shop] {
            caller.put(PROD, because("no")).await.problem(403, "forbidden");
            caller.delete(PROD).await.problem(403, "forbidden");
        }
        let of_dev = api.token(&[Scope::Override], None, Some(&["dev"])).await;
        for path in [PROD, "/environments/nowhere/lockdown"] {
            of_dev.put(path, because("no")).await.problem(404, "not-found");
            of_dev.delete(path).await.problem(404, "not-found");
        }
        of_dev.delete("/environments/%00/lockdown").await.problem(400, "invalid-request");
        for reason in ["", " \n", "a\u{0}", &"x".repeat(2001), "\u{1b}[2J"] {
            assert_eq!(api.put(PROD, because(reason)).await.faults()[0].0, "/reason");
        }
        for body in
            [json!({}), json!({ "reason": null }), json!({ "reason": [] }), json!({ "reason": "a", "x": 1 })]
        {
            api.put(PROD, body).await.problem(422, "invalid-input");
        }
        let of_prod = api.token(&[Scope::Override], None, Some(&["prod"])).await;
        of_prod.put(PROD, because(&"x".repeat(2000))).await.ok(200);
        of_prod.delete(PROD).await.ok(204);
    }
);

db_test!(
    async fn no_start_slips_past_it(db: TestDb) {
        let api = Api::new(&db).await;
        api.post("/environments", json!({ "name": "prod" })).await.ok(201);
        for round in 0..6 {
            let starts = (0..4).map(|n| {
                let api = api.clone();
                async move { api.start(&format!("svc-{round}-{n}/prod"), "1").await }
            });
            let (placed, started) = tokio::join!(api.put(PROD, because("stop")), join_all(starts));
            let placed = placed.ok(200);
            for answer in started.iter().filter(|answer| answer.status == 201) {
                let (id, since) = (&answer.json()["deployment"]["id"], &placed["since"]);
                let named = placed["running"].as_array().unwrap();
                assert!(
                    named.iter().any(|one| one["deployment_id"] == *id),
                    "{id} slipped past {since}: {placed}"
                );
            }
            for answer in started.iter().filter(|answer| answer.status != 201) {
                let problem = answer.problem(409, "gate-denied");
                assert!(problem["detail"].as_str().unwrap().contains("stop"), "{problem}");
            }
            api.delete(PROD).await.ok(204);
        }
    }
);
