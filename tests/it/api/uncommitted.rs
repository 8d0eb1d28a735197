//! Releases without a commit: the software of others has an image, and no commit that anybody here knows.

use serde_json::{Value, json};

use crate::{
    api::scans::texts,
    db_test,
    support::api::{Api, commit, id_of, image, release},
};

/// A release that is told by its image.
fn bought(version: &str, digit: char) -> Value {
    json!({ "service": "proxy", "environment": "prod", "version": version, "release": { "image": image(digit) } })
}

db_test!(
    async fn an_image_alone_makes_a_release_and_a_later_start_brings_its_commit(db: TestDb) {
        let api = Api::new(&db).await;
        let started = api.post("/deployments", bought("1", 'a')).await.ok(201)["deployment"].take();
        assert_eq!(started["commit_sha"], Value::Null);
        api.finished(&id_of(&started), "succeeded").await;
        assert_eq!(api.target("proxy/prod").await["current"]["commit_sha"], Value::Null);
        let at = started["started_at"].as_str().unwrap();
        for path in
            ["/matrix".to_owned(), format!("/matrix?as_of={at}"), "/services/proxy/releases/1".to_owned()]
        {
            api.get(&path).await.ok(200);
        }
        let again = api.post("/deployments", bought("1", 'a')).await.ok(201)["deployment"].take();
        api.finished(&id_of(&again), "succeeded").await;
        let mut other = bought("1", 'b');
        let taken = api.post("/deployments", other.clone()).await.problem(409, "conflict");
        assert!(taken["detail"].as_str().unwrap().contains("registered with image"), "{taken}");

        other["release"] = json!({ "image": image('a'), "commit_sha": commit("1") });
        let completed = api.post("/deployments", other.clone()).await.ok(201)["deployment"].take();
        assert_eq!(completed["commit_sha"], commit("1"));
        api.finished(&id_of(&completed), "succeeded").await;
        other["release"]["commit_sha"] = json!("1234567");
        api.post("/deployments", other).await.problem(409, "conflict");
        api.post("/deployments", bought("1", 'a')).await.ok(201);
        db.assert_sound().await;
    }
);

db_test!(
    async fn neither_commit_nor_image_is_refused_with_what_to_give(db: TestDb) {
        let api = Api::new(&db).await;
        let mut body = bought("1", 'a');
        body["release"] = json!({ "initiated_by": "ada" });
        let refused = api.post("/deployments", body).await;
        assert_eq!(refused.faults(), [("/release/commit_sha".to_owned(), "required".to_owned())]);
        let said = refused.json()["errors"][0]["detail"].as_str().unwrap().to_owned();
        assert!(said.contains("git rev-parse HEAD") && said.contains("`image`"), "{said}");
        let refused = api.post("/services/proxy/releases", json!({ "version": "1" })).await;
        assert_eq!(refused.faults(), [("/commit_sha".to_owned(), "required".to_owned())]);
    }
);

db_test!(
    async fn what_has_no_commit_is_ordered_by_its_registration(db: TestDb) {
        let api = Api::new(&db).await;
        let put = async |version: &str, mut body: Value| {
            body["version"] = json!(version);
            api.post("/services/proxy/releases", body).await.ok(201)
        };
        let first = put("1", json!({ "image": image('a'), "committed_at": "2020-01-01T00:00:00Z" })).await;
        assert_eq!(first["ordered_at"], first["created_at"], "a moment without its commit says nothing");
        let mut built = release("2");
        built["committed_at"] = json!("2021-01-01T00:00:00Z");
        put("2", built).await;
        let names = json!([{ "sha": commit("2"), "committed_at": "2021-01-01T00:00:00Z" }]);
        put("3", json!({ "image": image('c'), "changes": names })).await;
        let list = api.get("/services/proxy/releases").await.ok(200);
        assert_eq!(texts(&list["items"], "version"), ["3", "1", "2"]);
        db.assert_sound().await;
    }
);
