//! Platforms of a release: what is said of one of their digests is said of the release.

use serde_json::{Value, json};

use crate::{
    api::scans::{plain, scans, texts},
    db_test,
    support::{
        api::{Api, commit, id_of, image},
        db::TestDb,
    },
};

fn digest(digit: char) -> String {
    image(digit).rsplit_once('@').unwrap().1.to_owned()
}

fn platform(architecture: &str, digit: char) -> Value {
    json!({ "os": "linux", "architecture": architecture, "digest": digest(digit) })
}

/// A release of the image `a`, with these platforms.
fn release(version: &str, platforms: &[Value]) -> Value {
    json!({ "version": version, "commit_sha": commit(version), "image": image('a'), "platforms": platforms })
}

/// The API with release 1 of `shop` for two platforms, and an environment whose gate demands scans without critical ones.
async fn guarded(db: &TestDb) -> Api {
    let api = Api::new(db).await;
    let two = [platform("amd64", 'b'), platform("arm64", 'c')];
    api.post("/services/shop/releases", release("1", &two)).await.ok(201);
    api.post("/environments", json!({ "name": "prod" })).await.ok(201);
    let policy = json!({ "vulnerabilities": { "max": { "critical": 0 }, "require_scan": true } });
    api.put("/environments/prod/policy", policy).await.ok(200);
    api
}

/// A report of Trivy that names this digest and tells no platform, with so many critical vulnerabilities.
fn report(digit: char, minute: u32, critical: usize) -> Value {
    let found = (0..critical).map(|number| json!({ "VulnerabilityID": format!("CVE-2026-100{number}"), "PkgName": "p", "Severity": "CRITICAL" }));
    json!({ "SchemaVersion": 2, "CreatedAt": format!("2026-01-20T10:{minute:02}:00Z"), "ArtifactType": "container_image",
        "Metadata": { "RepoDigests": [image(digit)] },
        "Results": [{ "Class": "os-pkgs", "Target": "t", "Vulnerabilities": found.collect::<Vec<_>>() }] })
}

/// What the gate says about vulnerabilities.
async fn gate(api: &Api) -> Value {
    let question = json!({ "service": "shop", "environment": "prod", "version": "1" });
    let mut answer = api.post("/gate/check", question).await.ok(200);
    let checks = answer["checks"].as_array_mut().unwrap();
    checks.iter_mut().find(|check| check["rule"] == "vulnerabilities").unwrap().take()
}

db_test!(
    async fn the_same_release_is_completed_and_no_platform_changes(db: TestDb) {
        let api = Api::new(&db).await;
        let one = [platform("x86_64", 'b')];
        let made = api.post("/services/shop/releases", release("1", &one)).await.ok(201);
        assert_eq!(made["platforms"], json!([platform("amd64", 'b')]), "in one spelling");
        let mut arm = platform("arm", 'c');
        arm["variant"] = json!("7");
        let more = [platform("amd64", 'b'), arm.clone()];
        let completed = api.post("/services/shop/releases", release("1", &more)).await.ok(200);
        arm["variant"] = json!("v7");
        assert_eq!(completed["platforms"], json!([platform("amd64", 'b'), arm]));
        assert_eq!(api.post("/services/shop/releases", release("1", &one)).await.ok(200), completed);
        assert_eq!(api.get("/services/shop/releases/1").await.ok(200)["platforms"], completed["platforms"]);
        let other = [platform("amd64", 'd')];
        let refused =
            api.post("/services/shop/releases", release("1", &other)).await.problem(409, "conflict");
        assert!(refused["detail"].as_str().unwrap().contains("linux/amd64"), "{refused}");
        let start = json!({ "service": "shop", "environment": "dev", "version": "1", "release": {
            "commit_sha": commit("1"), "image": image('a'), "platforms": [platform("s390x", 'e')] } });
        let id = id_of(&api.post("/deployments", start).await.ok(201)["deployment"]);
        api.finished(&id, "succeeded").await;
        assert_eq!(
            api.get("/services/shop/releases/1").await.ok(200)["platforms"].as_array().unwrap().len(),
            3
        );
        let mut bare = release("2", &one);
        bare.as_object_mut().unwrap().remove("image");
        let faults = api.post("/services/shop/releases", bare).await.faults();
        assert_eq!(faults, [("/platforms".to_owned(), "image-missing".to_owned())]);
        for (asked, found) in [('a', vec!["1"]), ('b', vec!["1"]), ('d', vec![])] {
            let listed = api.get(&format!("/services/shop/releases?digest={}", digest(asked))).await.ok(200);
            assert_eq!(texts(&listed["items"], "version"), found);
        }
    }
);

db_test!(
    async fn every_platform_needs_a_scan_where_one_is_demanded(db: TestDb) {
        let api = guarded(&db).await;
        assert_eq!(gate(&api).await["message"], "no scan is on record");
        api.post(&scans("1"), report('d', 1, 0)).await.problem(422, "invalid-input");
        let made = api.post(&scans("1"), report('b', 1, 0)).await.ok(201);
        assert_eq!(made["platform"], "linux/amd64", "as its digest tells");
        let check = gate(&api).await;
        assert_eq!(
            (&check["code"], &check["message"]),
            (&json!("scan-missing"), &json!("no scan of linux/arm64 is on record"))
        );
        assert_eq!(check["details"]["platforms_without_scan"], json!(["linux/arm64"]));
        api.post(&scans("1"), report('c', 2, 1)).await.ok(201);
        assert_eq!(gate(&api).await["message"], "over the budget: 1 critical of 0 (trivy, linux/arm64)");
        api.post(&scans("1"), report('c', 3, 0)).await.ok(201);
        assert_eq!(gate(&api).await["code"], "pass");
        let more = [platform("s390x", 'e')];
        api.post("/services/shop/releases", release("1", &more)).await.ok(200);
        assert_eq!(gate(&api).await["code"], "scan-missing");
        let mut of_all = plain("snyk", "2026-01-20T10:00:00Z", 0);
        of_all["image"] = json!(image('e'));
        api.post(&scans("1"), of_all).await.ok(201);
        assert_eq!(gate(&api).await["code"], "pass", "a plain report is of every platform");
    }
);

db_test!(
    async fn who_deploys_or_approves_the_digest_of_a_platform_means_the_release(db: TestDb) {
        let api = guarded(&db).await;
        api.post("/environments", json!({ "name": "staging" })).await.ok(201);
        let policy = json!({ "promotion": { "from": ["staging"] }, "approval": { "required": 1, "allow_self": true } });
        api.put("/environments/prod/policy", policy).await.ok(200);
        let start = |environment: &str, image: String| {
            json!({ "service": "shop", "environment": environment, "version": "1",
                "release": { "commit_sha": commit("1"), "image": image } })
        };
        let id = id_of(&api.post("/deployments", start("staging", image('b'))).await.ok(201)["deployment"]);
        api.finished(&id, "succeeded").await;
        let said = |image: String| json!({ "environment": "prod", "decision": "approved", "image": image });
        api.post("/services/shop/releases/1/approvals", said(image('d'))).await.problem(412, "stale");
        api.post("/services/shop/releases/1/approvals", said(image('c'))).await.ok(201);
        let started = api.post("/deployments", start("prod", image('c'))).await.ok(201);
        assert_eq!(
            started["deployment"]["image"],
            image('a'),
            "it is the release that is deployed: {started}"
        );
        api.post("/deployments", start("staging", image('d'))).await.problem(409, "conflict");
        let elsewhere = image('b').replace(".com", ".org");
        api.post("/deployments", start("staging", elsewhere)).await.ok(201);
        let known = api.get("/services/shop/releases/1").await.ok(200);
        assert_eq!(known["locations"].as_array().unwrap().len(), 1, "{known}");
    }
);
