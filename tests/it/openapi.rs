//! The OpenAPI document: the committed one is the generated one, and every operation says what clients need.

use serde_json::{Map, Value};

const COMMITTED: &str = include_str!("../../docs/openapi.json");

fn document() -> Value {
    serde_json::from_str(&waybill::api::document()).unwrap()
}

fn operations(document: &Value) -> Vec<(String, &Map<String, Value>)> {
    let paths = document["paths"].as_object().unwrap();
    let methods = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (format!("{method} {path}"), operation.as_object().unwrap()))
    });
    methods.collect()
}

#[test]
fn the_committed_document_is_the_generated_one() {
    let hint = "docs/openapi.json is out of date: cargo run -- openapi > docs/openapi.json";
    assert!(COMMITTED.trim_end() == waybill::api::document().trim_end(), "{hint}");
}

#[test]
fn paths_are_relative_to_the_server() {
    let document = document();
    assert_eq!(document["servers"][0]["url"], "/api/v1");
    assert!(operations(&document).iter().all(|(name, _)| !name.contains("/api/v1")));
}

#[test]
fn every_operation_says_what_clients_need() {
    let document = document();
    let operations = operations(&document);
    let mut ids: Vec<&Value> = Vec::new();
    for (name, operation) in &operations {
        for key in ["operationId", "summary", "tags", "security"] {
            assert!(operation.contains_key(key), "{name} has no {key}");
        }
        let responses = operation["responses"].as_object().unwrap();
        for (status, response) in responses.iter().filter(|(status, _)| !status.starts_with('2')) {
            let content = response["content"].as_object().unwrap();
            assert!(content.keys().eq(["application/problem+json"]), "{name}: {status}");
        }
        for status in ["400", "401", "403", "429", "500", "503"] {
            assert!(responses.contains_key(status), "{name} does not say {status}");
        }
        let keys = operation.get("parameters").and_then(Value::as_array).into_iter().flatten();
        let keys = keys.filter(|parameter| parameter["name"] == "Idempotency-Key").count();
        assert_eq!(keys, usize::from(name.starts_with("post ")), "{name}");
        ids.push(&operation["operationId"]);
    }
    ids.sort_unstable_by_key(ToString::to_string);
    ids.dedup();
    assert_eq!(ids.len(), operations.len(), "operation ids are unique");
}
