//! What is refused for how it is written, and told how to write it.

use serde_json::json;

use crate::{
    db_test,
    support::api::{Answer, Api, image, release, start_body},
};

/// What is said of the one field that is wrong.
#[track_caller]
fn said(answer: &Answer, pointer: &str) -> String {
    let problem = answer.problem(422, "invalid-input");
    let errors = problem["errors"].as_array().unwrap();
    assert_eq!((errors.len(), &errors[0]["pointer"]), (1, &json!(pointer)), "{problem}");
    errors[0]["detail"].as_str().unwrap().to_owned()
}

db_test!(
    async fn what_pipelines_write_otherwise_is_told_how_to_write_it(db: TestDb) {
        let api = Api::new(&db).await;
        let digest = image('a').split_once('@').unwrap().1.to_owned();
        for (member, wrong, advice) in [
            ("service", "Group/Shop".to_owned(), &["`group-shop`", "CI_PROJECT_PATH_SLUG"][..]),
            ("environment", "review/Feature_X".to_owned(), &["`review-feature-x`", "CI_ENVIRONMENT_SLUG"]),
            ("version", "shop/v1.2.3".to_owned(), &["`v1.2.3`", "--version-prefix shop/"]),
            ("release/commit_sha", "0".repeat(40), &["no commit", "CI_COMMIT_SHA"]),
            (
                "release/image",
                format!("registry.example.com/Team/shop@{digest}"),
                &["`registry.example.com/team/shop`"],
            ),
        ] {
            let mut body = start_body("shop/prod", "1");
            *body.pointer_mut(&format!("/{member}")).unwrap_or(&mut json!(null)) = json!(wrong);
            if member == "release/image" {
                body["release"]["image"] = json!(wrong);
            }
            let detail = said(&api.post("/deployments", body).await, &format!("/{member}"));
            for advice in advice {
                assert!(detail.contains(advice), "{detail}");
            }
        }
        let mut body = start_body("shop/prod", "1");
        body["release"]["image"] = json!(format!("[fd00::1]:5000/shop@{digest}"));
        api.post("/environments", json!({ "name": "prod" })).await.ok(201);
        let policy = json!({ "image": { "mode": "enforce", "allowed_repositories": ["[fd00::1]:5000/**"] } });
        api.put("/environments/prod/policy", policy).await.ok(200);
        api.post("/deployments", body).await.ok(201);
    }
);

db_test!(
    async fn a_version_that_differs_only_by_its_v_is_told_the_known_one(db: TestDb) {
        let api = Api::new(&db).await;
        api.deployed("shop/prod", "1.2.3").await;
        let mut start = start_body("shop/prod", "v1.2.3");
        let detail = said(&api.post("/deployments", start.clone()).await, "/version");
        assert!(detail.contains("1.2.3 is, which differs only by its `v`"), "{detail}");
        start.as_object_mut().unwrap().remove("release");
        said(&api.post("/deployments", start).await, "/version");
        let mut body = release("V1.2.3");
        body["version"] = json!("V1.2.3");
        said(&api.post("/services/shop/releases", body).await, "/version");
        let mut record = start_body("shop/prod", "v1.2.3");
        record["status"] = json!("failed");
        (record["started_at"], record["finished_at"]) =
            (json!("2026-01-01T00:00:00Z"), json!("2026-01-01T00:01:00Z"));
        said(&api.post("/deployments/record", record).await, "/version");
        api.start("other/prod", "v1.2.3").await.ok(201);
        api.deployed("shop/prod", "v1.2.4").await;
        said(&api.start("shop/prod", "1.2.4").await, "/version");
        api.start("shop/prod", "vanilla").await.ok(201);
    }
);
