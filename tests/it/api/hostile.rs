//! Hostile and mistaken requests: never a 5xx, never a framework's plain text, never a half-done change.

use poem::http::Method;
use serde_json::{Value, json};

use crate::{
    db_test,
    support::api::{Api, id_of, start_body},
};

fn hostile_texts() -> Vec<String> {
    vec![
        String::new(),
        " ".to_owned(),
        "\u{0}".to_owned(),
        "a\u{0}b".to_owned(),
        "'; DROP TABLE deployment; --".to_owned(),
        "../../etc/passwd".to_owned(),
        "\u{202e}evil\u{1f4a9}".to_owned(),
        "\u{feff}x".to_owned(),
        "{{7*7}}${jndi:ldap://x}".to_owned(),
        "x".repeat(100_000),
        "\u{1f680}".repeat(3000),
        "%s%n%00".to_owned(),
        "\u{7f}\u{1b}[31m".to_owned(),
    ]
}

db_test!(
    async fn no_text_in_any_field_is_a_fault_of_the_server(db: TestDb) {
        let api = Api::new(&db).await;
        let id = api.started("busy/prod", "1").await;
        let bodies = [
            (
                "/services".to_owned(),
                json!({ "name": "shop", "display_name": "", "description": "", "repository_url": "", "owner": "" }),
            ),
            ("/environments".to_owned(), json!({ "name": "dev", "url": "", "tier": "" })),
            (
                "/services/busy/releases".to_owned(),
                json!({ "version": "2", "commit_sha": "", "image": "", "ref": "", "committed_at": "", "pipeline_url": "", "initiated_by": "" }),
            ),
            ("/deployments".to_owned(), {
                let mut body = start_body("shop/prod", "1");
                for field in ["strategy", "kind", "remediates", "initiated_by", "reason", "pipeline_url"] {
                    body[field] = json!("");
                }
                body
            }),
            (format!("/deployments/{id}/heartbeat"), json!({ "message": "", "phase": "" })),
            (format!("/deployments/{id}/finish"), json!({ "status": "", "message": "" })),
            ("/tokens".to_owned(), json!({ "name": "", "subject": "", "scopes": ["read"] })),
        ];
        for text in hostile_texts() {
            for (path, body) in &bodies {
                for field in body.as_object().unwrap().keys() {
                    let mut hostile = json!({});
                    for (name, value) in body.as_object().unwrap() {
                        if value != "" {
                            hostile[name] = value.clone();
                        }
                    }
                    hostile[field] = json!(text);
                    let answer = api.post(path, hostile).await;
                    if answer.status >= 300 {
                        answer.assert_refused(&format!(
                            "{path} {field} {:?}",
                            text.chars().take(20).collect::<String>()
                        ));
                    }
                }
            }
        }
    }
);

db_test!(
    async fn no_value_of_another_type_is_a_fault_of_the_server(db: TestDb) {
        let api = Api::new(&db).await;
        let values = [
            Value::Null,
            json!(true),
            json!(-1),
            json!(1e308),
            json!(9_223_372_036_854_775_807_i64),
            json!([]),
            json!([[[]]]),
            json!({}),
            json!({ "a": null }),
        ];
        let fields = [
            "service",
            "environment",
            "version",
            "release",
            "strategy",
            "kind",
            "preempt",
            "remediates",
            "initiated_by",
            "reason",
            "pipeline_url",
            "lease_seconds",
            "override",
        ];
        for field in fields {
            for value in &values {
                let mut body = start_body("shop/prod", "1");
                body[field] = value.clone();
                let answer = api.post("/deployments", body).await;
                if answer.status == 201 {
                    let id = id_of(&answer.json()["deployment"]);
                    api.finished(&id, "failed").await;
                } else {
                    answer.assert_refused(&format!("{field} {value}"));
                }
            }
        }
        for field in ["started_at", "finished_at"] {
            for time in [
                "-0001-01-01T00:00:00Z",
                "+99999-01-01T00:00:00Z",
                "0000-01-01T00:00:00Z",
                "9999-12-31T23:59:60Z",
            ] {
                let mut body = start_body("shop/prod", "1");
                body["status"] = json!("failed");
                body["started_at"] = json!("2026-01-01T00:00:00Z");
                body["finished_at"] = json!("2026-01-01T00:00:00Z");
                body[field] = json!(time);
                let answer = api.post("/deployments/record", body).await;
                assert!(answer.status < 500, "{field} {time}: {}", answer.text);
            }
            let at = api.get("/matrix?as_of=0000-01-01T00:00:00Z").await;
            assert!(at.status < 500, "{}", at.text);
            let at = api.get("/matrix?as_of=9999-12-31T23:59:59.999999Z").await;
            assert!(at.status < 500, "{}", at.text);
        }
    }
);

db_test!(
    async fn bodies_that_are_no_json_are_refused(db: TestDb) {
        let api = Api::new(&db).await;
        let json = [("content-type", "application/json")];
        let deep = format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000));
        let nested = format!("{}1{}", "{\"a\":".repeat(5_000), "}".repeat(5_000));
        let bodies: [&[u8]; 10] = [
            b"",
            b"{",
            b"nonsense",
            b"[1,2",
            b"\xff\xfe",
            b"{\"name\": \"a\xff\"}",
            b"{\"name\": \"\\ud800\"}",
            b"{\"name\": 1e999}",
            deep.as_bytes(),
            nested.as_bytes(),
        ];
        for body in bodies {
            for path in ["/services", "/deployments", "/deployments/record", "/tokens"] {
                let answer = api.send(Method::POST, path, &json, Some(body.to_vec())).await;
                let start = String::from_utf8_lossy(&body[..body.len().min(20)]).into_owned();
                answer.assert_refused(&format!("{path} {start}"));
            }
        }
        let twice = br#"{"name": "one", "name": "two"}"#.to_vec();
        let answer = api.send(Method::POST, "/services", &json, Some(twice)).await;
        assert!(answer.status < 500, "{}", answer.text);
        let large = format!("{{\"name\": \"{}\"}}", "x".repeat(2_000_000));
        let answer = api.send(Method::POST, "/services", &json, Some(large.into_bytes())).await;
        answer.problem(413, "payload-too-large");
    }
);

db_test!(
    async fn labels_of_any_kind_are_kept_or_refused(db: TestDb) {
        let api = Api::new(&db).await;
        for (n, text) in hostile_texts().into_iter().enumerate() {
            for labels in [json!({ "key": text }), json!({ text: "value" })] {
                let name = format!("svc-{n}");
                let answer = api.post("/services", json!({ "name": name, "labels": labels })).await;
                if answer.status == 201 {
                    assert_eq!(answer.json()["labels"], labels);
                    api.delete(&format!("/services/{name}")).await.ok(200);
                } else if answer.status != 409 {
                    answer.assert_refused(&format!("{labels}").chars().take(40).collect::<String>());
                }
            }
        }
        let many: serde_json::Map<String, Value> = (0..33).map(|n| (format!("k{n}"), json!("v"))).collect();
        assert_eq!(
            api.post("/services", json!({ "name": "many", "labels": many })).await.faults()[0].0,
            "/labels"
        );
    }
);
