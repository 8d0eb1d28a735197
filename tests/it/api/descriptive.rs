//! What is only descriptive never refuses a deployment: it is cut or dropped, and named.

use serde_json::{Value, json};

use crate::{
    db_test,
    support::api::{Api, id_of, release, start_body},
};

/// Changes of as many commits, the newest first, as `git log` lists them.
fn changes(many: usize) -> Value {
    let change = |number: usize| {
        let (minute, second) = (number / 60 % 60, number % 60);
        json!({ "sha": format!("a{number:039x}"), "committed_at": format!("2026-01-01T0{}:{minute:02}:{second:02}Z", number / 3600) })
    };
    (1..=many).rev().map(change).collect()
}

/// A start whose every descriptive field is odd.
fn odd(target: &str, version: &str) -> Value {
    let mut body = start_body(target, version);
    body["reason"] = json!("why\u{0}");
    body["pipeline_url"] = json!("n/a");
    body["release"]["ref"] = json!("r".repeat(256));
    body["release"]["pipeline_url"] = json!(format!("https://ci.example.com/{}", "1".repeat(2000)));
    body["release"]["labels"] = json!({ "team": "shop", "a label": "of no right name" });
    body["release"]["changes"] = changes(1001);
    body["release"]["changes"][0]["title"] = json!("t".repeat(2001));
    body
}

const ODD: [&str; 6] =
    ["release.ref", "release.pipeline_url", "release.labels", "release.changes", "reason", "pipeline_url"];

fn named(answer: &Value) -> (Value, Value) {
    (answer["ignored"].clone(), answer["changes_left_out"].clone())
}

db_test!(
    async fn what_is_only_descriptive_refuses_no_start(db: TestDb) {
        let api = Api::new(&db).await;
        let started = api.post("/deployments", odd("shop/prod", "1")).await.ok(201);
        assert_eq!(named(&started), (json!(ODD), json!(1)));
        let deployment = &started["deployment"];
        assert_eq!((&deployment["reason"], &deployment["pipeline_url"]), (&json!("why"), &Value::Null));
        let kept = api.get("/services/shop/releases/1").await.ok(200);
        assert_eq!(kept["ref"], format!("{}…", "r".repeat(254)));
        assert_eq!((&kept["pipeline_url"], &kept["labels"]), (&Value::Null, &json!({ "team": "shop" })));
        let listed = kept["changes"].as_array().unwrap();
        assert_eq!((listed.len(), &listed[999]["sha"]), (1000, &json!(format!("a{:039x}", 2))));
        assert_eq!(listed[0]["title"].as_str().map(|title| title.chars().count()), Some(2000));
        assert_eq!(
            named(&kept),
            (Value::Null, Value::Null),
            "only an answer to what was sent says what was ignored"
        );
        db.assert_sound().await;
    }
);

db_test!(
    async fn what_is_only_descriptive_refuses_no_sign_of_life_and_no_end(db: TestDb) {
        let api = Api::new(&db).await;
        let id = id_of(&api.post("/deployments", start_body("shop/prod", "1")).await.ok(201)["deployment"]);
        let beat = json!({ "message": "m".repeat(2001), "phase": "p\u{1b}" });
        let renewed = api.post(&format!("/deployments/{id}/heartbeat"), beat).await.ok(200);
        assert_eq!((&renewed["ignored"], &renewed["phase"]), (&json!(["message", "phase"]), &json!("p")));
        let end = json!({ "status": "succeeded", "message": "\u{7}" });
        let finished = api.post(&format!("/deployments/{id}/finish"), end).await.ok(200);
        assert_eq!((&finished["ignored"], &finished["status"]), (&json!(["message"]), &json!("succeeded")));
    }
);

db_test!(
    async fn what_is_only_descriptive_refuses_no_record_and_no_release(db: TestDb) {
        let api = Api::new(&db).await;
        let mut body = odd("shop/prod", "1");
        for (field, value) in [
            ("status", "succeeded"),
            ("started_at", "2026-01-01T00:00:00Z"),
            ("finished_at", "2026-01-01T00:01:00Z"),
            ("message", "m\u{0}"),
        ] {
            body[field] = json!(value);
        }
        let recorded = api.post("/deployments/record", body).await.ok(201);
        let all = [&ODD[..], &["message"]].concat();
        assert_eq!(named(&recorded), (json!(all), json!(1)));
        let mut body = release("2");
        body["version"] = json!("2");
        body["ref"] = json!("r\u{0}");
        body["changes"] = changes(1234);
        let made = api.post("/services/shop/releases", body.clone()).await.ok(201);
        assert_eq!(named(&made), (json!(["ref", "changes"]), json!(234)));
        body["labels"] = json!({ "team": "shop" });
        let again = api.post("/services/shop/releases", body).await.ok(200);
        assert_eq!(named(&again), (json!(["ref", "changes", "labels"]), json!(234)), "others are on record");
    }
);

db_test!(
    async fn what_decides_something_is_refused_wherever_it_stands(db: TestDb) {
        let api = Api::new(&db).await;
        let mut body = odd("shop/prod", "1");
        body["initiated_by"] = json!("a".repeat(201));
        body["release"]["initiated_by"] = json!("a\u{0}");
        body["release"]["changes"][1000]["sha"] = json!("HEAD");
        let faults = api.post("/deployments", body).await.faults();
        let mut pointers: Vec<_> = faults.iter().map(|(pointer, _)| pointer.as_str()).collect();
        pointers.sort_unstable();
        assert_eq!(pointers, ["/initiated_by", "/release/changes/1000/sha", "/release/initiated_by"]);
        api.get("/services/shop").await.problem(404, "not-found");
    }
);
