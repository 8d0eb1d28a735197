//! The order of a service's releases is that of their commits, everywhere: builds end in any order.

use serde_json::{Value, json};

use crate::{
    db_test,
    support::{
        api::{Api, commit, id_of},
        db::TestDb,
    },
};

const EARLY: &str = "2026-01-01T10:00:00Z";
const LATE: &str = "2026-01-01T11:00:00Z";

fn release(digit: &str, committed_at: Option<&str>, changes: &[&str]) -> Value {
    let change = |digit: &&str| json!({ "sha": commit(digit), "committed_at": EARLY });
    let mut body =
        json!({ "commit_sha": commit(digit), "changes": changes.iter().map(change).collect::<Vec<_>>() });
    if let Some(at) = committed_at {
        body["committed_at"] = json!(at);
    }
    body
}

async fn ground(db: &TestDb) -> Api {
    let api = Api::new(db).await;
    api.post("/services", json!({ "name": "shop" })).await.ok(201);
    for name in ["staging", "prod"] {
        api.post("/environments", json!({ "name": name })).await.ok(201);
        let policy = json!({ "outdated": { "mode": "enforce" } });
        api.put(&format!("/environments/{name}/policy"), policy).await.ok(200);
    }
    api
}

async fn register(api: &Api, version: &str, mut body: Value) -> Value {
    body["version"] = json!(version);
    api.post("/services/shop/releases", body).await.ok(201)
}

async fn deploy(api: &Api, environment: &str, version: &str, body: Option<Value>) -> Result<(), Value> {
    let mut start = json!({ "service": "shop", "environment": environment, "version": version });
    if let Some(body) = body {
        start["release"] = body;
    }
    let answer = api.post("/deployments", start).await;
    if answer.status == 409 {
        let problem = answer.problem(409, "gate-denied");
        let checks = problem["decision"]["checks"].as_array().unwrap();
        return Err(checks.iter().find(|check| check["rule"] == "outdated").unwrap().clone());
    }
    api.finished(&id_of(&answer.ok(201)["deployment"]), "succeeded").await;
    Ok(())
}

async fn versions(api: &Api) -> Vec<String> {
    let mut found = Vec::new();
    let mut path = "/services/shop/releases?limit=2".to_owned();
    loop {
        let page = api.get(&path).await.ok(200);
        let items = page["items"].as_array().unwrap();
        found.extend(items.iter().map(|one| one["version"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { return found };
        path = format!("/services/shop/releases?limit=2&cursor={next}");
    }
}

async fn behind(api: &Api, query: &str, environment: &str) -> Value {
    let matrix = api.get(&format!("/matrix{query}")).await.ok(200);
    let row = matrix["services"].as_array().unwrap().iter().find(|row| row["name"] == "shop").unwrap();
    let targets = row["targets"].as_array().unwrap();
    targets.iter().find(|target| target["environment"] == environment).unwrap()["behind"].clone()
}

db_test!(
    async fn an_older_commit_is_outdated_whenever_its_build_ends(db: TestDb) {
        let api = ground(&db).await;
        deploy(&api, "prod", "102", Some(release("2", Some(LATE), &[]))).await.unwrap();
        let check = deploy(&api, "prod", "101", Some(release("1", Some(EARLY), &[]))).await.unwrap_err();
        assert_eq!(check["details"]["releases_between"], 1, "{check}");
        let message = check["message"].as_str().unwrap();
        assert!(
            message.contains("2026-01-01 10:00:00") && message.contains("2026-01-01 11:00:00"),
            "{check}"
        );
        assert!(message.contains("hotfix") && message.contains("override"), "{check}");
        deploy(&api, "prod", "102", Some(release("2", Some(LATE), &[]))).await.unwrap();
        assert_eq!(versions(&api).await, ["102", "101"]);
        register(&api, "100", release("0", Some("2025-12-31T10:00:00Z"), &[])).await;
        register(&api, "103", release("3", Some(LATE), &[])).await;
        assert_eq!(versions(&api).await, ["103", "102", "101", "100"], "of one moment, by registration");
        assert_eq!(deploy(&api, "prod", "100", None).await.unwrap_err()["details"]["releases_between"], 2);
        deploy(&api, "prod", "103", None).await.unwrap();
    }
);

db_test!(
    async fn a_start_that_registers_an_older_release_counts_it_in(db: TestDb) {
        let api = ground(&db).await;
        deploy(&api, "prod", "3", Some(release("3", Some(LATE), &[]))).await.unwrap();
        register(&api, "1", release("1", Some("2025-12-31T10:00:00Z"), &[])).await;
        let check = deploy(&api, "prod", "2", Some(release("2", Some(EARLY), &[]))).await.unwrap_err();
        assert_eq!(check["details"]["releases_between"], 1, "{check}");
        assert_eq!(deploy(&api, "prod", "1", None).await.unwrap_err()["details"]["releases_between"], 2);
    }
);

db_test!(
    async fn what_changes_name_is_older_whatever_the_clocks_say(db: TestDb) {
        let api = ground(&db).await;
        register(&api, "1", release("1", Some(LATE), &[])).await;
        register(&api, "2", release("2", Some(EARLY), &["2", "1"])).await;
        assert_eq!(versions(&api).await, ["2", "1"]);
        // Its build had no time to tell, and came last.
        register(&api, "4", release("4", Some(LATE), &["4", "3"])).await;
        let three = register(&api, "3", release("3", None, &["3"])).await;
        assert_eq!(versions(&api).await, ["4", "2", "1", "3"]);
        assert!(three["ordered_at"].as_str().unwrap() < LATE, "{three}");
        // A list may cut its commits short, at any length.
        let sha = |text: &str| hex::encode(text).repeat(20)[..40].to_owned();
        for digits in [7, 10, 12, 39] {
            let (newer, older) = (format!("a{digits}"), format!("b{digits}"));
            let listed = json!([{ "sha": sha(&older)[..digits], "committed_at": EARLY }]);
            let body = json!({ "commit_sha": sha(&newer), "committed_at": EARLY, "changes": listed });
            register(&api, &newer, body).await;
            register(&api, &older, json!({ "commit_sha": sha(&older), "committed_at": LATE })).await;
            let all = versions(&api).await;
            let place = |version: &str| all.iter().position(|other| other == version).unwrap();
            assert!(place(&newer) < place(&older), "{digits}: {all:?}");
        }
        // A rebuild of the same commit comes after the first.
        register(&api, "4b", release("4", Some(LATE), &["4", "3"])).await;
        let all = versions(&api).await;
        let place = |version: &str| all.iter().position(|other| other == version).unwrap();
        assert_eq!(place("4b") + 1, place("4"), "{all:?}");
    }
);

db_test!(
    async fn how_far_an_environment_is_behind_follows_the_order(db: TestDb) {
        let api = ground(&db).await;
        deploy(&api, "prod", "1", Some(release("1", Some(EARLY), &[]))).await.unwrap();
        deploy(&api, "staging", "4", Some(release("4", Some(LATE), &[]))).await.unwrap();
        assert_eq!(behind(&api, "", "prod").await, 1);
        let then = waybill::clock::now();
        register(&api, "2", release("2", Some("2026-01-01T10:30:00Z"), &[])).await;
        register(&api, "0", release("0", Some("2025-12-31T10:00:00Z"), &[])).await;
        register(&api, "5", release("5", None, &[])).await;
        assert_eq!(behind(&api, "", "prod").await, 2, "one more lies between");
        let then = then.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        assert_eq!(behind(&api, &format!("?as_of={then}"), "prod").await, 1, "it was not there then");
    }
);
