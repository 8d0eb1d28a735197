//! Rolling back: what is verified, what is reverted, and that nobody has to wait to go back.

use serde_json::{Value, json};

use crate::{
    db_test,
    support::api::{Api, id_of, start_body},
};

fn rollback(target: &str, version: &str) -> Value {
    let mut body = start_body(target, version);
    body["kind"] = json!("rollback");
    body
}

/// Rolls back, to the end, and gives the deployment.
async fn rolled_back(api: &Api, target: &str, version: &str) -> Value {
    let started = api.post("/deployments", rollback(target, version)).await.ok(201);
    api.finished(&id_of(&started["deployment"]), "succeeded").await
}

async fn choice(api: &Api, target: &str) -> Value {
    api.target(target).await["rollback_to"]["version"].clone()
}

db_test!(
    async fn a_rollback_to_what_went_well_is_verified_and_reverts_the_rest(db: TestDb) {
        let api = Api::new(&db).await;
        let first = api.deployed("shop/prod", "1").await;
        let (second, third) = (api.deployed("shop/prod", "2").await, api.deployed("shop/prod", "3").await);
        assert_eq!(choice(&api, "shop/prod").await, "2");
        let back = rolled_back(&api, "shop/prod", "1").await;
        assert_eq!((&back["kind"], &back["verified"]), (&json!("rollback"), &json!(true)));
        for reverted in [&second, &third] {
            assert_eq!(api.deployment(&id_of(reverted)).await["reverted_by"], back["id"]);
        }
        assert_eq!(api.deployment(&id_of(&first)).await["reverted_by"], Value::Null);
        let target = api.target("shop/prod").await;
        assert_eq!((&target["current"]["version"], &target["rollback_to"]), (&json!("1"), &Value::Null));
        let unverified = rolled_back(&api, "shop/prod", "3").await;
        assert_eq!(unverified["verified"], false, "what was reverted is no verified choice");
    }
);

db_test!(
    async fn a_rollback_that_fails_reverts_nothing(db: TestDb) {
        let api = Api::new(&db).await;
        api.deployed("shop/prod", "1").await;
        let second = api.deployed("shop/prod", "2").await;
        let started = api.post("/deployments", rollback("shop/prod", "1")).await.ok(201);
        api.finished(&id_of(&started["deployment"]), "failed").await;
        assert_eq!(api.deployment(&id_of(&second)).await["reverted_by"], Value::Null);
        assert_eq!(choice(&api, "shop/prod").await, "1");
    }
);

db_test!(
    async fn a_rollback_to_what_never_ran_there_is_allowed_but_not_verified(db: TestDb) {
        let api = Api::new(&db).await;
        let second = api.deployed("shop/prod", "2").await;
        api.deployed("shop/staging", "1").await;
        let back = rolled_back(&api, "shop/prod", "1").await;
        assert_eq!(back["verified"], false);
        assert_eq!(api.deployment(&id_of(&second)).await["reverted_by"], back["id"]);
        let failed = api.started("shop/prod", "3").await;
        api.finished(&failed, "failed").await;
        assert_eq!(rolled_back(&api, "shop/prod", "3").await["verified"], false, "it never succeeded there");
    }
);

db_test!(
    async fn choices_reach_as_far_back_as_is_set(db: TestDb) {
        let api = Api::with(&db, |config| config.ledger.rollback_depth = 2).await;
        for version in ["1", "2", "3", "4"] {
            api.deployed("shop/prod", version).await;
        }
        for (version, verified) in [("1", false), ("2", true), ("3", true)] {
            let started = api.post("/deployments", rollback("shop/prod", version)).await.ok(201);
            assert_eq!(started["deployment"]["verified"], verified, "{version}");
            api.finished(&id_of(&started["deployment"]), "canceled").await;
        }
    }
);

db_test!(
    async fn what_is_current_is_nothing_to_roll_back_to(db: TestDb) {
        let api = Api::new(&db).await;
        for _ in 0..2 {
            api.deployed("shop/prod", "1").await;
        }
        let problem = api.post("/deployments", rollback("shop/prod", "1")).await.problem(409, "conflict");
        assert!(problem["detail"].as_str().unwrap().contains("1 is current in prod already"), "{problem}");
        assert_eq!(api.target("shop/prod").await["rollback_to"], Value::Null);
    }
);

db_test!(
    async fn a_preempting_rollback_cancels_and_starts_in_one_step(db: TestDb) {
        let api = Api::new(&db).await;
        api.deployed("shop/prod", "1").await;
        api.deployed("shop/prod", "2").await;
        let stuck = api.started("shop/prod", "3").await;
        api.post("/deployments", rollback("shop/prod", "1")).await.problem(409, "gate-denied");
        let mut body = rollback("shop/prod", "1");
        body["preempt"] = json!(true);
        let started = api.post("/deployments", body).await.ok(201);
        let cancelled = api.deployment(&stuck).await;
        assert_eq!((&cancelled["status"], &cancelled["preempted"]), (&json!("canceled"), &json!(true)));
        assert!(cancelled["finished_at"].as_str() < started["deployment"]["started_at"].as_str());
        assert_eq!(cancelled["timeline"][1]["kind"], "deployment.canceled");
        let target = api.target("shop/prod").await;
        assert_eq!(target["running"]["deployment_id"], started["deployment"]["id"]);
        assert_eq!(target["current"]["version"], "2");
        let finish = format!("/deployments/{stuck}/finish");
        api.post(&finish, json!({ "status": "succeeded" })).await.problem(409, "conflict");
        let back = api.finished(&id_of(&started["deployment"]), "succeeded").await;
        assert_eq!(back["verified"], true);
        assert_eq!(api.target("shop/prod").await["current"]["version"], "1");
    }
);

db_test!(
    async fn only_a_rollback_may_preempt(db: TestDb) {
        let api = Api::new(&db).await;
        let mut body = start_body("shop/prod", "1");
        body["preempt"] = json!(true);
        for kind in [Value::Null, json!("deploy"), json!("hotfix"), json!("redeploy")] {
            body["kind"] = kind.clone();
            if kind.is_null() {
                body.as_object_mut().unwrap().remove("kind");
            }
            let expected = [("/preempt".to_owned(), "not-a-rollback".to_owned())];
            assert_eq!(api.post("/deployments", body.clone()).await.faults(), expected, "{kind}");
            let mut question = body.clone();
            question.as_object_mut().unwrap().remove("release");
            assert_eq!(api.post("/gate/check", question).await.faults(), expected, "{kind}");
        }
    }
);

db_test!(
    async fn a_preempting_rollback_with_nothing_running_just_starts(db: TestDb) {
        let api = Api::new(&db).await;
        api.deployed("shop/prod", "1").await;
        api.deployed("shop/prod", "2").await;
        let mut body = rollback("shop/prod", "1");
        body["preempt"] = json!(true);
        assert_eq!(api.post("/deployments", body).await.ok(201)["deployment"]["preempted"], false);
    }
);

db_test!(
    async fn a_release_deployed_again_after_its_reversal_is_a_choice_again(db: TestDb) {
        let api = Api::new(&db).await;
        for version in ["1", "2"] {
            api.deployed("shop/prod", version).await;
        }
        rolled_back(&api, "shop/prod", "1").await;
        assert_eq!(choice(&api, "shop/prod").await, Value::Null);
        api.deployed("shop/prod", "2").await;
        api.deployed("shop/prod", "3").await;
        assert_eq!(choice(&api, "shop/prod").await, "2");
        let target = api.target("shop/prod").await;
        let newest = api.get("/deployments?service=shop&limit=200").await.ok(200);
        let newest =
            newest["items"].as_array().unwrap().iter().find(|d| d["version"] == "2").unwrap().clone();
        assert_eq!(
            target["rollback_to"]["deployment_id"], newest["id"],
            "the one that last succeeded with it"
        );
    }
);
