//! Starting deployments: what the gate allows and denies, and what is registered in passing.

use futures_util::future::join_all;
use serde_json::{Value, json};
use waybill::domain::vocabulary::Scope;

use crate::{
    db_test,
    support::api::{Api, commit, image, release, start_body},
};

fn check<'a>(decision: &'a Value, rule: &str) -> &'a Value {
    let checks = decision["checks"].as_array().unwrap();
    checks.iter().find(|check| check["rule"] == rule).unwrap_or_else(|| panic!("no {rule} in {decision}"))
}

db_test!(
    async fn a_start_answers_with_the_deployment_and_the_decision(db: TestDb) {
        let api = Api::new(&db).await;
        let mut body = start_body("shop/staging", "1.4.2");
        body["release"]["image"] = json!(image('a'));
        body["strategy"] = json!("canary");
        body["initiated_by"] = json!("ada");
        body["reason"] = json!("weekly release");
        body["pipeline_url"] = json!("https://ci.example.com/1");
        body["lease_seconds"] = json!(120);
        let answer = api.post("/deployments", body).await;
        let started = answer.ok(201);
        let deployment = &started["deployment"];
        let location = format!("/api/v1/deployments/{}", deployment["id"].as_str().unwrap());
        assert_eq!(answer.header("location"), Some(location.as_str()));
        for (field, value) in [
            ("service", json!("shop")),
            ("environment", json!("staging")),
            ("version", json!("1.4.2")),
            ("commit_sha", json!(commit("1.4.2"))),
            ("image", json!(image('a'))),
            ("status", json!("running")),
            ("kind", json!("deploy")),
            ("strategy", json!("canary")),
            ("initiated_by", json!("ada")),
            ("reason", json!("weekly release")),
            ("pipeline_url", json!("https://ci.example.com/1")),
            ("finished_at", Value::Null),
            ("override", Value::Null),
            ("recorded", json!(false)),
        ] {
            assert_eq!(deployment[field], value, "{field}");
        }
        assert_eq!(deployment["decision_id"], started["decision"]["id"]);
        assert_eq!(started["decision"]["allowed"], true);
        assert_eq!(check(&started["decision"], "concurrency")["outcome"], "pass");
        assert_eq!(
            deployment["lease_expires_at"].as_str().unwrap().len(),
            "2026-01-01T00:00:00.000000Z".len()
        );
    }
);

db_test!(
    async fn a_second_start_is_denied_and_told_who_was_first(db: TestDb) {
        let api = Api::new(&db).await;
        let first = api.start("shop/prod", "1").await.ok(201);
        let answer = api.start("shop/prod", "2").await;
        let problem = answer.problem(409, "gate-denied");
        assert!(problem["detail"].as_str().unwrap().contains('1'), "{problem}");
        let decision = &problem["decision"];
        let failed = check(decision, "concurrency");
        assert_eq!(decision["allowed"], false);
        assert_eq!((&failed["mode"], &failed["outcome"]), (&json!("enforce"), &json!("fail")));
        assert_eq!(failed["code"], "concurrent-deployment");
        let (details, winner) = (&failed["details"], &first["deployment"]);
        assert_eq!(details["deployment_id"], winner["id"]);
        assert_eq!(details["version"], "1");
        assert_eq!(details["actor"], winner["actor"]);
        assert_eq!(details["since"], winner["started_at"]);
        assert_eq!(details["lease_expires_at"], winner["lease_expires_at"]);
        assert_eq!(decision["retry_at"], winner["lease_expires_at"]);
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((3500..=3600).contains(&wait), "{wait}");
        assert_eq!(api.start("shop/staging", "2").await.status, 201, "another target is free");
        let kept = api.get("/services/shop/releases/2").await.ok(200);
        assert_eq!(kept["number"], 2, "the release of the denied start stays registered");
    }
);

db_test!(
    async fn one_of_many_starts_at_once_wins(db: TestDb) {
        let api = Api::new(&db).await;
        let starts = (0..20).map(|n| {
            let api = api.clone();
            async move { api.start("shop/prod", &format!("1.{n}")).await }
        });
        let answers = join_all(starts).await;
        let winners: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
        assert_eq!(winners.len(), 1);
        let winner = &winners[0].json()["deployment"]["id"];
        for loser in answers.iter().filter(|answer| answer.status != 201) {
            let problem = loser.problem(409, "gate-denied");
            assert_eq!(check(&problem["decision"], "concurrency")["details"]["deployment_id"], *winner);
        }
        let releases = api.get("/services/shop/releases").await.ok(200);
        let mut numbers: Vec<_> =
            releases["items"].as_array().unwrap().iter().map(|r| r["number"].as_i64()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=20).map(Some).collect::<Vec<_>>(), "registration numbers have no gap");
    }
);

db_test!(
    async fn an_older_release_is_reported_as_outdated_and_may_start(db: TestDb) {
        let api = Api::new(&db).await;
        api.post("/services", json!({ "name": "shop" })).await.ok(201);
        for version in ["1", "2"] {
            let body = json!({ "version": version, "commit_sha": commit(version) });
            api.post("/services/shop/releases", body).await.ok(201);
        }
        api.deployed("shop/prod", "2").await;
        let started = api.start("shop/prod", "1").await.ok(201);
        let reported = check(&started["decision"], "outdated");
        assert_eq!((&reported["mode"], &reported["outcome"]), (&json!("report"), &json!("fail")));
        assert_eq!(reported["code"], "outdated");
        api.finished(started["deployment"]["id"].as_str().unwrap(), "failed").await;
        let newer = api.start("shop/prod", "3").await.ok(201);
        assert_eq!(check(&newer["decision"], "outdated")["outcome"], "pass");
    }
);

db_test!(
    async fn the_kind_is_told_by_what_is_current(db: TestDb) {
        let api = Api::new(&db).await;
        assert_eq!(api.deployed("shop/prod", "1").await["kind"], "deploy");
        assert_eq!(api.deployed("shop/prod", "1").await["kind"], "redeploy");
        assert_eq!(api.deployed("shop/prod", "2").await["kind"], "deploy");
        assert_eq!(
            api.deployed("shop/prod", "1").await["kind"],
            "deploy",
            "it was current, but no longer is"
        );
        let mut body = start_body("shop/prod", "1");
        body["kind"] = json!("deploy");
        assert_eq!(api.post("/deployments", body).await.ok(201)["deployment"]["kind"], "deploy", "as asked");
    }
);

db_test!(
    async fn what_is_unknown_is_registered_in_passing(db: TestDb) {
        let api = Api::new(&db).await;
        for (environment, tier) in
            [("dev", "development"), ("qa", "testing"), ("live-eu", "production"), ("x", "other")]
        {
            api.started(&format!("shop/{environment}"), "1").await;
            let made = api.get(&format!("/environments/{environment}")).await.ok(200);
            assert_eq!((&made["unconfirmed"], &made["tier"]), (&json!(true), &json!(tier)), "{environment}");
        }
        assert_eq!(api.get("/services/shop").await.ok(200)["archived"], false);
        assert_eq!(api.get("/services/shop/releases/1").await.ok(200)["number"], 1);
        api.patch("/environments/dev", json!({ "rank": 7 })).await.ok(200);
        assert_eq!(api.get("/environments/dev").await.ok(200)["unconfirmed"], false, "an edit confirms");
        assert_eq!(api.get("/environments/qa").await.ok(200)["unconfirmed"], true);
    }
);

db_test!(
    async fn without_auto_register_the_unknown_is_refused_and_nothing_is_left(db: TestDb) {
        let api = Api::with(&db, |config| config.ledger.auto_register = false).await;
        let problem = api.start("shop/prod", "1").await.problem(409, "conflict");
        assert!(problem["detail"].as_str().unwrap().contains("shop"), "{problem}");
        api.post("/services", json!({ "name": "shop" })).await.ok(201);
        api.start("shop/prod", "1").await.problem(409, "conflict");
        api.get("/services/shop/releases/1").await.problem(404, "not-found");
        api.post("/environments", json!({ "name": "prod" })).await.ok(201);
        api.start("shop/prod", "1").await.problem(409, "conflict");
        let release = json!({ "version": "1", "commit_sha": commit("1") });
        api.post("/services/shop/releases", release).await.ok(201);
        api.start("shop/prod", "1").await.ok(201);
    }
);

db_test!(
    async fn every_fault_is_named_at_once(db: TestDb) {
        let api = Api::new(&db).await;
        let answer = api
            .post(
                "/deployments",
                json!({
                    "service": "Shop", "environment": "-", "version": "", "preempt": true,
                    "release": { "commit_sha": "xyz", "image": "shop:latest", "pipeline_url": "nope" },
                    "initiated_by": "a".repeat(201), "reason": "a\u{0}b", "pipeline_url": "javascript:alert(1)",
                    "lease_seconds": 0, "override": { "reason": "short" },
                }),
            )
            .await;
        let mut pointers: Vec<_> = answer.faults().into_iter().map(|(pointer, _)| pointer).collect();
        pointers.sort();
        let all = [
            "/environment",
            "/initiated_by",
            "/lease_seconds",
            "/override/reason",
            "/preempt",
            "/release/commit_sha",
            "/release/image",
            "/service",
            "/version",
        ];
        assert_eq!(pointers, all);
        let mut unknown = start_body("shop/prod", "1");
        unknown["versoin"] = json!("2");
        let faults = api.post("/deployments", unknown).await.faults();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0].0, "/versoin");
        let unversioned = json!({ "service": "shop", "environment": "prod" });
        assert_eq!(api.post("/deployments", unversioned).await.faults()[0].0, "/version");
        // Also where something else is missing, by which the framework has refused it before.
        let missing = async |path: &str, body: Value| {
            let faults = api.post(path, body).await.faults();
            faults
                .into_iter()
                .map(|(pointer, code)| (code == "required").then_some(pointer).unwrap())
                .collect::<Vec<_>>()
        };
        for path in ["/deployments", "/gate/check"] {
            assert_eq!(
                missing(path, json!({ "service": "shop" })).await,
                ["/environment", "/version"],
                "{path}"
            );
        }
        let record = json!({ "service": "shop", "environment": "dev", "status": "failed" });
        assert_eq!(missing("/deployments/record", record).await, ["/started_at", "/finished_at", "/version"]);
        let removal = json!({ "service": "shop", "kind": "remove" });
        assert_eq!(missing("/deployments", removal).await, ["/environment"]);
    }
);

db_test!(
    async fn a_version_that_is_not_registered_needs_its_release(db: TestDb) {
        let api = Api::new(&db).await;
        let bare = json!({ "service": "shop", "environment": "prod", "version": "1" });
        let faults = api.post("/deployments", bare.clone()).await.faults();
        assert_eq!(faults, [("/release".to_owned(), "required".to_owned())]);
        api.get("/services/shop").await.problem(404, "not-found");
        api.deployed("shop/staging", "1").await;
        api.post("/deployments", bare).await.ok(201);
    }
);

db_test!(
    async fn leases_have_bounds(db: TestDb) {
        let api = Api::new(&db).await;
        for (seconds, status) in [(-1, 422), (0, 422), (604_801, 422), (i64::MAX, 422), (604_800, 201)] {
            let mut body = start_body("shop/prod", "1");
            body["lease_seconds"] = json!(seconds);
            let answer = api.post("/deployments", body).await;
            assert_eq!(answer.status, status, "{seconds}: {}", answer.text);
            if status == 422 {
                assert_eq!(answer.faults()[0].0, "/lease_seconds");
            }
        }
    }
);

db_test!(
    async fn an_override_needs_its_scope_and_ten_characters(db: TestDb) {
        let api = Api::new(&db).await;
        let deployer = api.token(&[Scope::Deploy], None, None).await;
        let mut body = start_body("shop/prod", "1");
        body["override"] = json!({ "reason": "the house burns" });
        let problem = deployer.post("/deployments", body.clone()).await.problem(403, "forbidden");
        assert!(problem["detail"].as_str().unwrap().contains("override"), "{problem}");
        let overrider = api.token(&[Scope::Deploy, Scope::Override], None, None).await;
        body["override"]["reason"] = json!("  123456789  ");
        assert_eq!(overrider.post("/deployments", body.clone()).await.faults()[0].0, "/override/reason");
        body["override"]["reason"] = json!("1234567890");
        let started = overrider.post("/deployments", body.clone()).await.ok(201);
        assert_eq!(started["deployment"]["override"], body["override"]);
        assert_eq!(started["decision"]["override"], body["override"]);
        let denied = overrider.post("/deployments", body).await;
        denied.problem(409, "gate-denied");
    }
);

db_test!(
    async fn only_a_deployment_of_the_service_can_be_remediated(db: TestDb) {
        let api = Api::new(&db).await;
        let damaged = api.deployed("shop/prod", "1").await["id"].clone();
        let other = api.deployed("pay/prod", "1").await["id"].clone();
        let mut body = start_body("shop/prod", "2");
        for unknown in [json!("01890000-0000-7000-8000-000000000000"), other] {
            body["remediates"] = unknown;
            assert_eq!(api.post("/deployments", body.clone()).await.faults()[0].0, "/remediates");
        }
        body["remediates"] = json!("not an id");
        assert_eq!(api.post("/deployments", body.clone()).await.faults()[0].0, "/remediates");
        body["remediates"] = damaged.clone();
        assert_eq!(api.post("/deployments", body).await.ok(201)["deployment"]["remediates"], damaged);
    }
);

db_test!(
    async fn a_release_keeps_its_identity_at_a_start_too(db: TestDb) {
        let api = Api::new(&db).await;
        api.deployed("shop/prod", "1").await;
        let mut body = start_body("shop/prod", "1");
        body["release"] = release("another");
        api.post("/deployments", body).await.problem(409, "conflict");
        assert_eq!(api.target("shop/prod").await["running"], Value::Null);
    }
);
