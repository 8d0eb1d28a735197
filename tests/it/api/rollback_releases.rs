//! Rolling back between releases of one image, of which only the configuration differs: each is a choice of its own, and
//! going from one to the other takes the image nowhere.

use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use waybill::domain::vocabulary::Scope;

use crate::{
    db_test,
    gate::model::edits::time,
    support::api::{Answer, Api, id_of, image, start_body},
};

/// The image of a version: what follows the dot is its configuration.
fn digit(version: &str) -> char {
    version.chars().next().unwrap()
}

fn body(target: &str, version: &str, kind: Option<&str>) -> Value {
    let mut body = start_body(target, version);
    body["release"]["image"] = json!(image(digit(version)));
    if let Some(kind) = kind {
        body["kind"] = json!(kind);
    }
    body
}

async fn done(api: &Api, body: Value) -> Value {
    let id = id_of(&api.post("/deployments", body).await.ok(201)["deployment"]);
    api.finished(&id, "succeeded").await
}

/// Deploys these versions one after the other, and gives the deployments.
async fn deployed(api: &Api, target: &str, versions: &[&str]) -> Vec<Value> {
    let mut made = Vec::new();
    for version in versions {
        made.push(done(api, body(target, version, None)).await);
    }
    made
}

async fn back(api: &Api, target: &str, version: &str) -> Value {
    done(api, body(target, version, Some("rollback"))).await
}

async fn choice(api: &Api, target: &str) -> Value {
    api.target(target).await["rollback_to"]["version"].clone()
}

async fn reverted_by(api: &Api, deployment: &Value) -> Value {
    api.deployment(&id_of(deployment)).await["reverted_by"].clone()
}

async fn ask(api: &Api, target: &str, version: &str, kind: &str) -> Answer {
    let (service, environment) = target.split_once('/').unwrap();
    let question =
        json!({ "service": service, "environment": environment, "version": version, "kind": kind });
    api.post("/gate/check", question).await
}

/// Whether a rollback to a version would be verified: then the image needs no repository that the policy allows.
async fn is_verified(api: &Api, target: &str, version: &str) -> bool {
    let said = ask(api, target, version, "rollback").await.ok(200);
    let image = said["checks"].as_array().unwrap().iter().find(|check| check["rule"] == "image").unwrap();
    image["code"] == "exempt"
}

/// The policy of `prod`: no image may go there but by a verified rollback or an override.
async fn strict(api: &Api) {
    let policy = json!({ "image": { "allowed_repositories": ["registry.example.org/**"] }, "outdated": { "mode": "off" } });
    api.put("/environments/prod/policy", policy).await.ok(200);
}

db_test!(
    async fn the_release_before_is_the_choice_though_its_image_is_current(db: TestDb) {
        let api = Api::new(&db).await;
        let made = deployed(&api, "shop/prod", &["a.9", "b.0", "b.1"]).await;
        assert_eq!(choice(&api, "shop/prod").await, "b.0");
        strict(&api).await;
        assert!(is_verified(&api, "shop/prod", "b.0").await && is_verified(&api, "shop/prod", "a.9").await);
        let refused = ask(&api, "shop/prod", "b.1", "rollback").await.problem(409, "conflict");
        assert!(refused["detail"].as_str().unwrap().contains("b.1 is current"), "{refused}");
        let returned = back(&api, "shop/prod", "b.0").await;
        assert_eq!(
            (&returned["verified"], &returned["stay_started_at"]),
            (&json!(true), &made[1]["finished_at"])
        );
        assert_eq!(reverted_by(&api, &made[2]).await, returned["id"]);
        for deployment in &made[..2] {
            assert_eq!(reverted_by(&api, deployment).await, Value::Null);
        }
        assert_eq!(choice(&api, "shop/prod").await, "a.9", "what was reverted is no choice");
        assert!(!is_verified(&api, "shop/prod", "b.1").await);
        db.assert_sound().await;
    }
);

db_test!(
    async fn of_three_releases_of_one_image_each_is_a_way_back(db: TestDb) {
        let api = Api::with(&db, |config| config.ledger.rollback_depth = 2).await;
        let made = deployed(&api, "shop/prod", &["b.0", "b.1", "b.2", "b.3"]).await;
        strict(&api).await;
        assert_eq!(choice(&api, "shop/prod").await, "b.2");
        for (version, verified) in [("b.0", false), ("b.1", true), ("b.2", true)] {
            assert_eq!(
                is_verified(&api, "shop/prod", version).await,
                verified,
                "the depth is of releases: {version}"
            );
        }
        let returned = back(&api, "shop/prod", "b.1").await;
        for (deployment, reverted) in made.iter().zip([false, false, true, true]) {
            let by = if reverted { &returned["id"] } else { &Value::Null };
            assert_eq!(reverted_by(&api, deployment).await, *by);
        }
        assert_eq!(choice(&api, "shop/prod").await, "b.0", "within reach now");
    }
);

db_test!(
    async fn a_release_that_was_reverted_is_a_choice_once_it_has_gone_through_the_gate_again(db: TestDb) {
        let api = Api::new(&db).await;
        deployed(&api, "shop/prod", &["a.0", "b.0", "b.1"]).await;
        back(&api, "shop/prod", "b.0").await;
        deployed(&api, "shop/prod", &["c.0"]).await;
        assert_eq!(
            choice(&api, "shop/prod").await,
            "b.0",
            "to the image, though another release of it was reverted"
        );
        let recorder = api.token(&[Scope::Record], None, None).await;
        let mut record = body("shop/prod", "b.1", None);
        let now = json!(waybill::clock::now());
        (record["started_at"], record["finished_at"], record["status"]) =
            (now.clone(), now, json!("succeeded"));
        recorder.post("/deployments/record", record).await.ok(201);
        deployed(&api, "shop/prod", &["d.0"]).await;
        assert_eq!(choice(&api, "shop/prod").await, "c.0", "what went past the gate clears nothing");
        deployed(&api, "shop/prod", &["b.1", "e.0"]).await;
        assert_eq!(choice(&api, "shop/prod").await, "b.1");
        db.assert_sound().await;
    }
);

db_test!(
    async fn the_image_is_reverted_with_all_its_releases_where_another_comes_back(db: TestDb) {
        let api = Api::new(&db).await;
        let made = deployed(&api, "shop/prod", &["a.0", "b.0", "b.1"]).await;
        let returned = back(&api, "shop/prod", "a.0").await;
        for deployment in &made[1..] {
            assert_eq!(reverted_by(&api, deployment).await, returned["id"]);
        }
        assert_eq!(choice(&api, "shop/prod").await, Value::Null);
        deployed(&api, "shop/prod", &["b.1", "c.0"]).await;
        strict(&api).await;
        assert_eq!(choice(&api, "shop/prod").await, "b.1");
        assert!(!is_verified(&api, "shop/prod", "b.0").await, "it did not go through the gate again");
    }
);

db_test!(
    async fn a_release_that_ran_before_its_image_was_reverted_waits_for_the_image(db: TestDb) {
        let api = Api::new(&db).await;
        deployed(&api, "shop/prod", &["b.0", "a.0", "b.1"]).await;
        back(&api, "shop/prod", "a.0").await;
        strict(&api).await;
        assert!(!is_verified(&api, "shop/prod", "b.0").await, "its image was reverted as b.1");
        let mut anew = body("shop/prod", "b.2", None);
        anew["override"] = json!({ "reason": "the image is good after all" });
        done(&api, anew).await;
        assert!(is_verified(&api, "shop/prod", "b.0").await && !is_verified(&api, "shop/prod", "b.1").await);
    }
);

db_test!(
    async fn a_release_that_never_ran_there_is_no_verified_choice_for_its_image(db: TestDb) {
        let api = Api::new(&db).await;
        let made = deployed(&api, "shop/prod", &["a.0", "b.0", "b.1"]).await;
        deployed(&api, "shop/staging", &["b.2", "a.1"]).await;
        let other = back(&api, "shop/prod", "b.2").await;
        assert_eq!(other["verified"], false);
        let reverted = [reverted_by(&api, &made[1]).await, reverted_by(&api, &made[2]).await];
        assert_eq!(reverted, [Value::Null, other["id"].clone()], "the image goes on, the release does not");
        let image_back = back(&api, "shop/prod", "a.1").await;
        assert_eq!(reverted_by(&api, &made[1]).await, image_back["id"], "since a was there");
        assert_eq!(reverted_by(&api, &made[0]).await, Value::Null);
        db.assert_sound().await;
    }
);

db_test!(
    async fn a_source_in_which_a_release_was_reverted_promotes_the_others_of_its_image(db: TestDb) {
        let api = Api::new(&db).await;
        for name in ["staging", "prod"] {
            api.post("/environments", json!({ "name": name })).await.ok(201);
        }
        api.put("/environments/prod/policy", json!({ "promotion": { "from": ["staging"] } })).await.ok(200);
        deployed(&api, "shop/staging", &["a.0", "b.0", "b.1"]).await;
        deployed(&api, "shop/dev", &["b.2"]).await;
        back(&api, "shop/staging", "b.0").await;
        let says = async |version: &str| {
            let said = ask(&api, "shop/prod", version, "hotfix").await.ok(200);
            said["checks"][3]["message"].clone()
        };
        for version in ["b.0", "b.2"] {
            assert_eq!(says(version).await, "from staging", "the image was not reverted: {version}");
        }
        assert_eq!(says("b.1").await, "reverted in staging");
        let again = deployed(&api, "shop/staging", &["b.1"]).await;
        let said = ask(&api, "shop/prod", "b.1", "hotfix").await.ok(200);
        let since = &said["checks"][3]["details"]["sources"][0]["current_since"];
        assert_eq!(time(since), time(&again[0]["finished_at"]), "it begins anew, though its image goes on");
        back(&api, "shop/staging", "a.0").await;
        for version in ["b.0", "b.1", "b.2"] {
            assert_eq!(says(version).await, "reverted in staging");
        }
    }
);

db_test!(
    async fn a_rollback_voids_the_approvals_of_the_release_that_it_takes_away(db: TestDb) {
        let api = Api::new(&db).await;
        let ada = api.person("ada", &[Scope::Admin], &[]).await;
        deployed(&api, "shop/prod", &["a.0", "b.0", "b.1"]).await;
        api.put("/environments/prod/policy", json!({ "approval": {} })).await.ok(200);
        for version in ["b.0", "b.1"] {
            let path = format!("/services/shop/releases/{version}/approvals");
            ada.post(&path, json!({ "environment": "prod", "decision": "approved" })).await.ok(201);
        }
        let says = async |version: &str| {
            let said = ask(&api, "shop/prod", version, "hotfix").await.ok(200);
            said["checks"][4]["message"].as_str().unwrap().to_owned()
        };
        back(&api, "shop/prod", "b.0").await;
        assert!(says("b.0").await.starts_with("1 of 1 (ada)"), "{}", says("b.0").await);
        assert!(says("b.1").await.contains("void since it was reverted here"), "{}", says("b.1").await);
        back(&api, "shop/prod", "a.0").await;
        assert!(says("b.0").await.contains("void since it was reverted here"), "{}", says("b.0").await);
    }
);

db_test!(
    async fn a_rollback_takes_the_place_of_another_release_of_its_image(db: TestDb) {
        let api = Api::new(&db).await;
        deployed(&api, "shop/prod", &["a.0", "b.0", "b.1"]).await;
        let stuck =
            id_of(&api.post("/deployments", body("shop/prod", "b.2", None)).await.ok(201)["deployment"]);
        let mut preempting = body("shop/prod", "b.0", Some("rollback"));
        preempting["preempt"] = json!(true);
        let returned = done(&api, preempting).await;
        assert_eq!(returned["verified"], true);
        let stuck = api.deployment(&stuck).await;
        assert_eq!((&stuck["status"], &stuck["preempted"]), (&json!("canceled"), &json!(true)));
        assert_eq!(stuck["reverted_by"], Value::Null, "it never became current");
        assert_eq!(choice(&api, "shop/prod").await, "a.0");
    }
);

db_test!(
    async fn a_rollback_on_record_goes_to_a_release_too(db: TestDb) {
        let api = Api::new(&db).await;
        let record = async |version: &str, kind: &str, minutes: i64| {
            let at = waybill::clock::now() - chrono::TimeDelta::minutes(minutes);
            let mut body = body("shop/prod", version, Some(kind));
            (body["started_at"], body["finished_at"]) = (json!(at), json!(at));
            body["status"] = json!("succeeded");
            api.post("/deployments/record", body).await.ok(201)
        };
        record("a.0", "deploy", 60).await;
        let first = record("b.0", "deploy", 50).await;
        let second = record("b.1", "deploy", 40).await;
        let returned = record("b.0", "rollback", 20).await;
        let late = record("b.2", "deploy", 30).await;
        for (deployment, by) in [(&first, &Value::Null), (&second, &returned["id"]), (&late, &returned["id"])]
        {
            assert_eq!(reverted_by(&api, deployment).await, *by, "{deployment}");
        }
        assert_eq!(choice(&api, "shop/prod").await, "a.0");
        db.assert_sound().await;
        // So it was left when releases of one image were not told apart, and so it stays.
        let before = "UPDATE deployment SET reverted_by = NULL \
             WHERE release_id = (SELECT id FROM release WHERE version = 'b.2')";
        api.sql().await.execute_unprepared(before).await.unwrap();
        db.assert_sound().await;
    }
);
