//! The matrix: what runs where, since when, and how far behind.

use serde_json::{Value, json};

use crate::{
    db_test,
    support::api::{Api, commit, id_of, image, start_body},
};

/// Deploys a version with an image, to the end.
async fn deployed(api: &Api, target: &str, version: &str, digit: char) -> Value {
    let mut body = start_body(target, version);
    body["release"]["image"] = json!(image(digit));
    let started = api.post("/deployments", body).await.ok(201);
    api.finished(&id_of(&started["deployment"]), "succeeded").await
}

fn cell(matrix: &Value, service: &str, environment: &str) -> Value {
    let services = matrix["services"].as_array().unwrap();
    let service = services.iter().find(|one| one["name"] == service).unwrap();
    let targets = service["targets"].as_array().unwrap();
    targets.iter().find(|target| target["environment"] == environment).unwrap().clone()
}

async fn matrix(api: &Api) -> Value {
    api.get("/matrix").await.ok(200)
}

db_test!(
    async fn an_empty_ledger_has_an_empty_matrix(db: TestDb) {
        let api = Api::new(&db).await;
        let matrix = matrix(&api).await;
        assert_eq!((&matrix["environments"], &matrix["services"]), (&json!([]), &json!([])));
        assert!(matrix["as_of"].as_str().unwrap().ends_with('Z'));
    }
);

db_test!(
    async fn the_matrix_shows_every_service_in_every_environment_by_rank(db: TestDb) {
        let api = Api::new(&db).await;
        for (name, rank) in [("prod", 3), ("dev", 1), ("b-stage", 2), ("a-stage", 2)] {
            api.post("/environments", json!({ "name": name, "rank": rank })).await.ok(201);
        }
        api.post("/services", json!({ "name": "idle" })).await.ok(201);
        let current = deployed(&api, "shop/dev", "1", 'a').await;
        let running = api.start("shop/prod", "2").await.ok(201)["deployment"].clone();
        api.started("shop/home", "1").await;
        let matrix = matrix(&api).await;
        let environments: Vec<_> = matrix["environments"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap())
            .collect();
        assert_eq!(environments, ["dev", "a-stage", "b-stage", "prod", "home"]);
        let home = &matrix["environments"][4];
        let expected = json!({ "name": "home", "tier": "other", "rank": 500, "unconfirmed": true, "locked_down": false });
        assert_eq!(*home, expected);
        for service in matrix["services"].as_array().unwrap() {
            let targets = service["targets"].as_array().unwrap();
            let names: Vec<_> = targets.iter().map(|one| one["environment"].as_str().unwrap()).collect();
            assert_eq!(names, environments, "{service}");
        }
        assert_eq!(matrix["services"][0]["name"], "idle");
        let dev = json!({
            "environment": "dev",
            "current": {
                "deployment_id": current["id"], "version": "1", "image": image('a'), "commit_sha": commit("1"),
                "since": current["finished_at"], "actor": current["actor"], "removal": false,
            },
            "running": null,
            "behind": null,
        });
        assert_eq!(cell(&matrix, "shop", "dev"), dev);
        let prod = cell(&matrix, "shop", "prod");
        assert_eq!(prod["current"], Value::Null);
        assert_eq!(prod["running"]["deployment_id"], running["id"]);
        assert_eq!(prod["running"]["since"], running["started_at"]);
    }
);

db_test!(
    async fn a_redeploy_does_not_break_the_stay(db: TestDb) {
        let api = Api::new(&db).await;
        let first = deployed(&api, "shop/prod", "1", 'a').await;
        let again = deployed(&api, "shop/prod", "1", 'a').await;
        let current = cell(&matrix(&api).await, "shop", "prod")["current"].clone();
        assert_eq!((&current["since"], &current["deployment_id"]), (&first["finished_at"], &again["id"]));
        let renamed = deployed(&api, "shop/prod", "1-final", 'a').await;
        let current = cell(&matrix(&api).await, "shop", "prod")["current"].clone();
        assert_eq!(current["version"], "1-final");
        assert_eq!(current["since"], first["finished_at"], "the same digest is the same artefact");
        assert_eq!(current["deployment_id"], renamed["id"]);
        deployed(&api, "shop/prod", "2", 'b').await;
        let back = deployed(&api, "shop/prod", "1", 'a').await;
        let current = cell(&matrix(&api).await, "shop", "prod")["current"].clone();
        assert_eq!(current["since"], back["finished_at"], "another artefact in between breaks it");
    }
);

db_test!(
    async fn without_digests_the_version_is_the_artefact(db: TestDb) {
        let api = Api::new(&db).await;
        let first = api.deployed("shop/prod", "1").await;
        api.deployed("shop/prod", "1").await;
        let failed = api.started("shop/prod", "2").await;
        api.finished(&failed, "failed").await;
        api.deployed("shop/prod", "1").await;
        assert_eq!(cell(&matrix(&api).await, "shop", "prod")["current"]["since"], first["finished_at"]);
        let second = api.deployed("shop/prod", "2").await;
        assert_eq!(cell(&matrix(&api).await, "shop", "prod")["current"]["since"], second["finished_at"]);
    }
);

db_test!(
    async fn behind_counts_up_to_the_newest_of_a_lower_rank(db: TestDb) {
        let api = Api::new(&db).await;
        for n in 1..=5 {
            api.deployed("shop/dev", &n.to_string()).await;
        }
        api.deployed("shop/staging", "4").await;
        api.deployed("shop/prod", "2").await;
        let behind = async |environment| cell(&matrix(&api).await, "shop", environment)["behind"].clone();
        assert_eq!(behind("dev").await, Value::Null, "nothing is below");
        assert_eq!((behind("staging").await, behind("prod").await), (json!(1), json!(3)));
        api.deployed("shop/dev", "1").await;
        assert_eq!(
            (behind("staging").await, behind("prod").await),
            (json!(0), json!(2)),
            "ahead is not behind"
        );
    }
);

db_test!(
    async fn what_is_archived_leaves_the_matrix_and_stays_in_its_past(db: TestDb) {
        let api = Api::new(&db).await;
        let ended = api.deployed("shop/prod", "1").await;
        api.deployed("shop/dev", "1").await;
        let then = matrix(&api).await["as_of"].as_str().unwrap().to_owned();
        api.delete("/environments/prod").await.ok(200);
        let now = matrix(&api).await;
        assert_eq!(now["environments"].as_array().unwrap().len(), 1);
        let past = api.get(&format!("/matrix?as_of={then}")).await.ok(200);
        assert_eq!(cell(&past, "shop", "prod")["current"]["deployment_id"], ended["id"]);
        assert_eq!(past["as_of"], *then);
        api.delete("/services/shop").await.ok(200);
        assert_eq!(matrix(&api).await["services"], json!([]));
        let past = api.get(&format!("/matrix?as_of={then}")).await.ok(200);
        assert_eq!(cell(&past, "shop", "dev")["current"]["version"], "1");
    }
);

db_test!(
    async fn moments_are_read_in_any_offset_and_nothing_was_before_the_beginning(db: TestDb) {
        let api = Api::new(&db).await;
        let ended = api.deployed("shop/prod", "1").await;
        let at = ended["finished_at"].as_str().unwrap();
        let shifted = at.replace('Z', "%2B00:00");
        let exact = api.get(&format!("/matrix?as_of={shifted}")).await.ok(200);
        assert_eq!(cell(&exact, "shop", "prod")["current"]["version"], "1", "the start is inclusive");
        let exact =
            api.get(&format!("/matrix?as_of={}", ended["started_at"].as_str().unwrap())).await.ok(200);
        assert_eq!(cell(&exact, "shop", "prod")["running"]["version"], "1");
        let before = api.get("/matrix?as_of=2020-01-01T00:00:00Z").await.ok(200);
        assert_eq!(before["services"], json!([]));
        let later = api.get("/matrix?as_of=2999-01-01T00:00:00Z").await.ok(200);
        assert_eq!(cell(&later, "shop", "prod")["current"]["version"], "1");
        api.get("/matrix?as_of=yesterday").await.problem(400, "invalid-request");
    }
);

db_test!(
    async fn a_target_that_nothing_was_deployed_to_is_empty(db: TestDb) {
        let api = Api::new(&db).await;
        api.post("/services", json!({ "name": "shop" })).await.ok(201);
        api.post("/environments", json!({ "name": "prod" })).await.ok(201);
        let target = api.target("shop/prod").await;
        assert_eq!(
            target,
            json!({ "service": "shop", "environment": "prod", "current": null, "running": null, "rollback_to": null })
        );
        api.get("/services/shop/environments/nowhere").await.problem(404, "not-found");
        api.get("/services/nobody/environments/prod").await.problem(404, "not-found");
    }
);
