//! Services, environments and releases: registering, editing, archiving and reviving them.

use poem::http::Method;
use serde_json::{Value, json};
use waybill::{domain::vocabulary::Scope, usecase::upkeep};

use crate::{
    db_test,
    support::{
        api::{Api, commit, id_of, image, start_body},
        db::TestDb,
    },
};

async fn release(api: &Api, body: Value) -> crate::support::api::Answer {
    api.post("/services/shop/releases", body).await
}

db_test!(
    async fn a_service_is_registered_once(db: TestDb) {
        let api = Api::new(&db).await;
        let body = json!({
            "name": "shop", "display_name": "Web shop", "description": "Sells.", "owner": "team-shop",
            "repository_url": "https://git.example.com/shop", "labels": { "lang": "rust" },
        });
        let answer = api.post("/services", body.clone()).await;
        let made = answer.ok(201);
        assert_eq!(answer.header("location"), Some("/api/v1/services/shop"));
        for (field, value) in body.as_object().unwrap() {
            assert_eq!(made[field], *value, "{field}");
        }
        assert_eq!(made["archived"], false);
        api.post("/services", body).await.problem(409, "conflict");
        assert_eq!(api.get("/services/shop").await.ok(200), made);
        api.get("/services/nobody").await.problem(404, "not-found");
    }
);

db_test!(
    async fn faults_of_a_service_are_named_at_once(db: TestDb) {
        let api = Api::with(&db, |config| config.limits.labels = 2).await;
        let answer = api
            .post(
                "/services",
                json!({
                    "name": "a_b", "display_name": "x".repeat(201), "repository_url": "ftp://x",
                    "labels": { "a": "1", "b": "2", "c": "3" },
                }),
            )
            .await;
        let pointers: Vec<_> = answer.faults().into_iter().map(|(pointer, _)| pointer).collect();
        assert_eq!(pointers, ["/name", "/display_name", "/repository_url", "/labels"]);
    }
);

db_test!(
    async fn a_patch_changes_what_it_names_and_null_empties(db: TestDb) {
        let api = Api::new(&db).await;
        let body = json!({ "name": "shop", "description": "old", "owner": "me", "labels": { "a": "b" } });
        api.post("/services", body).await.ok(201);
        let change = json!({ "description": null, "display_name": "Shop" });
        let patched = api.patch("/services/shop", change).await.ok(200);
        assert_eq!(patched["description"], Value::Null);
        assert_eq!((&patched["display_name"], &patched["owner"]), (&json!("Shop"), &json!("me")));
        assert_eq!(patched["labels"], json!({ "a": "b" }));
        assert_eq!(api.get("/services/shop").await.ok(200), patched);
        api.post("/environments", json!({ "name": "prod", "url": "https://shop.example.com" })).await.ok(201);
        let patched = api.patch("/environments/prod", json!({ "url": null })).await.ok(200);
        assert_eq!((&patched["url"], &patched["tier"]), (&Value::Null, &json!("production")));
        assert_eq!(api.patch("/services/shop", json!({ "name": "other" })).await.faults()[0].0, "/name");
    }
);

db_test!(
    async fn an_edit_of_an_old_revision_is_stale(db: TestDb) {
        let api = Api::new(&db).await;
        api.post("/services", json!({ "name": "shop" })).await.ok(201);
        api.post("/environments", json!({ "name": "prod" })).await.ok(201);
        for (path, change) in
            [("/services/shop", json!({ "owner": "me" })), ("/environments/prod", json!({ "rank": 9 }))]
        {
            let tag = api.get(path).await.header("etag").unwrap().to_owned();
            let edited = api.send_json(Method::PATCH, path, &[("if-match", &tag)], &change).await;
            edited.ok(200);
            assert_ne!(edited.header("etag"), Some(tag.as_str()));
            for bad in [tag.as_str(), "\"999\"", "nonsense", "W/\"2\""] {
                let stale = api.send_json(Method::PATCH, path, &[("if-match", bad)], &json!({})).await;
                stale.problem(412, "stale");
                api.send(Method::DELETE, path, &[("if-match", bad)], None).await.problem(412, "stale");
            }
            let tag = edited.header("etag").unwrap().to_owned();
            api.send(Method::DELETE, path, &[("if-match", &tag)], None).await.ok(200);
            api.send_json(Method::PATCH, path, &[("if-match", "*")], &json!({ "archived": false }))
                .await
                .ok(200);
        }
    }
);

db_test!(
    async fn tiers_are_inferred_and_ranks_follow(db: TestDb) {
        let api = Api::new(&db).await;
        for (name, tier, rank) in
            [("prod", "production", 400), ("stg", "staging", 300), ("home", "other", 500)]
        {
            let made = api.post("/environments", json!({ "name": name })).await.ok(201);
            assert_eq!((&made["tier"], &made["rank"]), (&json!(tier), &json!(rank)), "{name}");
            assert_eq!(made["unconfirmed"], false, "somebody registered it on purpose");
        }
        let body = json!({ "name": "dev", "tier": "production", "rank": 5 });
        let made = api.post("/environments", body).await.ok(201);
        assert_eq!((&made["tier"], &made["rank"]), (&json!("production"), &json!(5)));
        let faults = api.post("/environments", json!({ "name": "qa", "tier": "prod" })).await.faults();
        assert_eq!(faults[0].0, "/tier");
        let faults = api.post("/environments", json!({ "name": "qa", "rank": 1_000_001 })).await.faults();
        assert_eq!(faults[0].0, "/rank");
    }
);

db_test!(
    async fn a_release_registers_its_service_in_passing(db: TestDb) {
        let api = Api::new(&db).await;
        let body = json!({ "version": "1", "commit_sha": commit("1") });
        release(&api, body.clone()).await.ok(201);
        assert_eq!(api.get("/services/shop").await.ok(200)["name"], "shop");
        assert_eq!(release(&api, body.clone()).await.status, 200);
        let narrowed = api.token(&[Scope::Deploy], Some(&["other"]), None).await;
        release(&narrowed, body.clone()).await.problem(403, "forbidden");
        let another = TestDb::sqlite().await;
        let strict = Api::with(&another, |config| config.ledger.auto_register = false).await;
        let refused = release(&strict, body).await.problem(409, "conflict");
        assert!(refused["detail"].as_str().unwrap().contains("auto_register"), "{refused}");
    }
);

db_test!(
    async fn a_commit_cut_short_and_an_image_elsewhere_are_no_other_release(db: TestDb) {
        let api = Api::new(&db).await;
        let digest = format!("sha256:{}", "a".repeat(64));
        let body = |sha: &str, place: &str| {
            let image = format!("{place}@{digest}");
            json!({ "version": "1", "commit_sha": sha, "image": image })
        };
        let full = commit("1");
        let made = release(&api, body(&full[..7], "nginx")).await.ok(201);
        assert_eq!(made["image"], format!("docker.io/library/nginx@{digest}"));
        let again = release(&api, body(&full, "docker.io/library/nginx")).await.ok(200);
        assert_eq!((&again["commit_sha"], &again["locations"]), (&json!(full), &json!([])));
        let again = release(&api, body(&full[..9], "mirror.example.com/nginx")).await.ok(200);
        assert_eq!(again["commit_sha"], full, "the longer one is kept");
        assert_eq!(again["locations"], json!(["mirror.example.com/nginx"]));
        release(&api, body(&full, "mirror.example.com/nginx")).await.ok(200);
        release(&api, body(&commit("2"), "nginx")).await.problem(409, "conflict");
        let policy =
            json!({ "image": { "mode": "enforce", "allowed_repositories": ["mirror.example.com/**"] } });
        api.post("/environments", json!({ "name": "prod" })).await.ok(201);
        api.put("/environments/prod/policy", policy).await.ok(200);
        let mut start = json!({ "service": "shop", "environment": "prod", "version": "1" });
        api.post("/deployments", start.clone()).await.problem(409, "gate-denied");
        start["release"] = body(&full, "mirror.example.com/nginx");
        start["release"].as_object_mut().unwrap().remove("version");
        api.post("/deployments", start).await.ok(201);
        while upkeep::seal_events(&api.app).await.unwrap() > 0 {}
        let events = api.get("/events?limit=200").await.ok(200);
        let kinds: Vec<_> =
            events["items"].as_array().unwrap().iter().filter_map(|event| event["kind"].as_str()).collect();
        for kind in ["release.commit-completed", "release.located"] {
            assert_eq!(kinds.iter().filter(|other| **other == kind).count(), 1, "{kinds:?}");
        }
        db.assert_sound().await;
    }
);

db_test!(
    async fn a_release_keeps_its_identity_and_its_first_description(db: TestDb) {
        let api = Api::new(&db).await;
        api.post("/services", json!({ "name": "shop" })).await.ok(201);
        let body = json!({
            "version": "1", "commit_sha": commit("1"), "image": image('a'), "ref": "main",
            "committed_at": "2026-01-02T03:04:05+01:00", "initiated_by": "ada",
            "changes": [{ "sha": "ABCDEF1", "committed_at": "2026-01-01T00:00:00Z", "title": "Fix" }],
            "labels": { "k": "v" },
        });
        let answer = release(&api, body.clone()).await;
        let made = answer.ok(201);
        assert_eq!(answer.header("location"), Some("/api/v1/services/shop/releases/1"));
        assert_eq!(made["committed_at"], "2026-01-02T02:04:05.000000Z");
        assert_eq!(made["changes"][0]["sha"], "abcdef1");
        assert_eq!((&made["number"], &made["ignored"]), (&json!(1), &json!([])));
        assert_eq!(release(&api, body.clone()).await.ok(200), made);
        let mut other = body.clone();
        other["ref"] = json!("dev");
        other["initiated_by"] = json!("bob");
        let again = release(&api, other).await.ok(200);
        assert_eq!(again["ignored"], json!(["ref", "initiated_by"]));
        assert_eq!(again["ref"], "main", "the first value wins");
        for (field, value) in [("commit_sha", json!(commit("2"))), ("image", json!(image('b')))] {
            let mut other = body.clone();
            other[field] = value;
            release(&api, other).await.problem(409, "conflict");
        }
        let mut kept = made;
        for answered in ["ignored", "changes_left_out"] {
            kept.as_object_mut().unwrap().remove(answered);
        }
        assert_eq!(api.get("/services/shop/releases/1").await.ok(200), kept);
    }
);

db_test!(
    async fn an_image_is_added_once_and_before_the_first_deployment(db: TestDb) {
        let api = Api::new(&db).await;
        api.post("/services", json!({ "name": "shop" })).await.ok(201);
        let built = |version: &str, digit| json!({ "version": version, "commit_sha": commit(version), "image": image(digit) });
        for version in ["1", "2"] {
            let body = json!({ "version": version, "commit_sha": commit(version) });
            assert_eq!(release(&api, body).await.ok(201)["image"], Value::Null);
        }
        assert_eq!(release(&api, built("1", 'a')).await.ok(200)["image"], image('a'));
        release(&api, built("1", 'b')).await.problem(409, "conflict");
        api.deployed("shop/dev", "2").await;
        release(&api, built("2", 'a')).await.problem(409, "conflict");
    }
);

db_test!(
    async fn faults_of_a_release_are_named_at_once(db: TestDb) {
        let api = Api::new(&db).await;
        api.post("/services", json!({ "name": "shop" })).await.ok(201);
        let body = json!({
            "version": "a b", "commit_sha": "123", "image": "shop:1",
            "changes": [{ "sha": "zz", "committed_at": "2026-01-01T00:00:00Z" }],
        });
        let mut pointers: Vec<_> =
            release(&api, body).await.faults().into_iter().map(|fault| fault.0).collect();
        pointers.sort();
        assert_eq!(pointers, ["/changes/0/sha", "/commit_sha", "/image", "/version"]);
    }
);

db_test!(
    async fn an_environment_for_reviews_comes_back_with_its_next_deployment(db: TestDb) {
        let api = Api::new(&db).await;
        let ci = api.token(&[Scope::Read, Scope::Deploy, Scope::Record], None, None).await;
        for (name, tier) in [("review-7", "development"), ("qa", "testing")] {
            let (target, path) = (format!("shop/{name}"), format!("/environments/{name}"));
            api.deployed(&target, "1").await;
            let archived = api.delete(&path).await.ok(200);
            assert_eq!((&archived["archived"], &archived["tier"]), (&json!(true), &json!(tier)));
            let question = json!({ "service": "shop", "environment": name, "version": "1" });
            assert_eq!(
                ci.post("/gate/check", question).await.ok(200)["allowed"],
                true,
                "a start would revive it"
            );
            assert_eq!(api.get(&path).await.ok(200)["archived"], true, "nobody has started anything");
            ci.start(&target, "2").await.ok(201);
            let back = api.get(&path).await.ok(200);
            let confirmed_by_nobody = (&json!(false), &json!(true));
            assert_eq!((&back["archived"], &back["unconfirmed"]), confirmed_by_nobody);
            assert!(back["updated_at"].as_str() > archived["updated_at"].as_str(), "{back}");
        }
        let newest = api.get("/deployments?environment=qa").await.ok(200)["items"][0].clone();
        api.finished(&id_of(&newest), "failed").await;
        api.delete("/environments/qa").await.ok(200);
        let mut body = start_body("shop/qa", "1");
        body["status"] = json!("failed");
        (body["started_at"], body["finished_at"]) =
            (json!("2026-01-01T00:00:00Z"), json!("2026-01-01T00:00:01Z"));
        ci.post("/deployments/record", body.clone()).await.ok(201);
        assert_eq!(api.get("/environments/qa").await.ok(200)["archived"], false);
        api.delete("/environments/qa").await.ok(200);
        ci.post("/deployments/record", body).await.ok(200);
        assert_eq!(
            api.get("/environments/qa").await.ok(200)["archived"],
            true,
            "the same again changes nothing"
        );
        while upkeep::seal_events(&api.app).await.unwrap() > 0 {}
        let events = api.get("/events?limit=200").await.ok(200);
        let revived =
            events["items"].as_array().unwrap().iter().filter(|event| event["kind"] == "environment.revived");
        assert_eq!(revived.map(|event| event["data"]["auto_revived"] == true).collect::<Vec<_>>(), [true; 3]);
        db.assert_sound().await;
    }
);

db_test!(
    async fn what_is_archived_takes_no_deployments_until_it_is_revived(db: TestDb) {
        let api = Api::new(&db).await;
        for path in ["/services/shop", "/environments/prod"] {
            let id = api.started("shop/prod", "1").await;
            api.delete(path).await.problem(409, "conflict");
            api.finished(&id, "succeeded").await;
            assert_eq!(api.delete(path).await.ok(200)["archived"], true);
            assert_eq!(api.delete(path).await.ok(200)["archived"], true, "again changes nothing");
            let problem = api.start("shop/prod", "2").await.problem(409, "conflict");
            assert!(problem["detail"].as_str().unwrap().contains("archived"), "{problem}");
            let mut body = start_body("shop/prod", "1");
            body["status"] = json!("failed");
            body["started_at"] = json!("2026-01-01T00:00:00Z");
            body["finished_at"] = json!("2026-01-01T00:00:01Z");
            api.post("/deployments/record", body).await.problem(409, "conflict");
            let list = path.rsplit_once('/').unwrap().0;
            assert_eq!(api.get(list).await.ok(200)["items"], json!([]));
            let archived = api.get(&format!("{list}?archived=true")).await.ok(200);
            assert_eq!(archived["items"].as_array().unwrap().len(), 1);
            let history = api.get("/deployments?service=shop&environment=prod").await.ok(200);
            assert!(!history["items"].as_array().unwrap().is_empty(), "the history stays");
            assert_eq!(api.patch(path, json!({ "archived": false })).await.ok(200)["archived"], false);
            api.deployed("shop/prod", "1").await;
        }
        api.delete("/services/shop").await.ok(200);
        api.post("/services", json!({ "name": "shop" })).await.problem(409, "conflict");
        let body = json!({ "version": "9", "commit_sha": commit("9") });
        release(&api, body).await.problem(409, "conflict");
    }
);
