//! The OpenAPI document: the committed one is the generated one, every operation says what clients need, and every field of a
//! request how much it takes.

use serde_json::{Map, Value, json};
use waybill::domain::{
    deployment::{OVERRIDE_REASON_MIN, TRAFFIC_MAX},
    environment::{RANK_MAX, RANK_MIN},
    form::{Form, Formed as _},
    page::LIMIT_MAX,
    places::PLACES_MAX,
    policy::limits::SOAK,
    release::CHANGES_LISTED_MAX,
    text::{CommitSha, Image, Name, TEXT_MAX, Version},
};

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

/// What takes neither token nor session, because whoever asks wants to be given one, and whose answer is not kept.
const OPEN: [&str; 3] = ["post /auth/code", "post /auth/device", "post /auth/exchange"];

#[test]
fn every_operation_says_what_clients_need() {
    let document = document();
    let operations = operations(&document);
    let mut ids: Vec<&Value> = Vec::new();
    for (name, operation) in &operations {
        for key in ["operationId", "summary", "tags"] {
            assert!(operation.contains_key(key), "{name} has no {key}");
        }
        let is_open = OPEN.contains(&name.as_str());
        assert_eq!(operation.contains_key("security"), !is_open, "{name}");
        let responses = operation["responses"].as_object().unwrap();
        for (status, response) in responses.iter().filter(|(status, _)| !status.starts_with(['2', '3'])) {
            let content = response["content"].as_object().unwrap();
            assert!(content.keys().eq(["application/problem+json"]), "{name}: {status}");
        }
        for status in ["400", "401", "403", "429", "500", "503"] {
            assert!(responses.contains_key(status), "{name} does not say {status}");
        }
        let keys = operation.get("parameters").and_then(Value::as_array).into_iter().flatten();
        let keys = keys.filter(|parameter| parameter["name"] == "Idempotency-Key").count();
        assert_eq!(keys, usize::from(name.starts_with("post ") && !is_open), "{name}");
        ids.push(&operation["operationId"]);
    }
    ids.sort_unstable_by_key(ToString::to_string);
    ids.dedup();
    assert_eq!(ids.len(), operations.len(), "operation ids are unique");
}

/// Every text, number and list that a request's body may hold, below `at`.
fn leaves<'a>(document: &'a Value, schema: &'a Value, at: &str, found: &mut Vec<(String, &'a Value)>) {
    let parts = schema.get("allOf").and_then(Value::as_array).into_iter().flatten();
    let referred = schema.get("$ref").and_then(Value::as_str);
    let referred = referred.and_then(|reference| document.pointer(reference.trim_start_matches('#')));
    for schema in parts.chain(referred) {
        leaves(document, schema, at, found);
    }
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        leaves(document, property, &format!("{at}/{name}"), found);
    }
    if let Some(items) = schema.get("items") {
        leaves(document, items, &format!("{at}/*"), found);
    }
    if matches!(schema.get("type").and_then(Value::as_str), Some("string" | "integer" | "array")) {
        found.push((at.to_owned(), schema));
    }
}

fn bodies(document: &Value) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for (name, operation) in operations(document) {
        if let Some(body) = operation.get("requestBody") {
            let schema = &body["content"]["application/json; charset=utf-8"]["schema"];
            leaves(document, schema, name.split(' ').next_back().unwrap(), &mut found);
        }
    }
    found
}

#[test]
fn every_field_of_a_request_says_how_much_it_takes() {
    let document = document();
    let found = bodies(&document);
    assert!(found.len() > 100, "{}", found.len());
    for (field, schema) in found {
        let has = |keys: &[&str]| keys.iter().any(|key| schema.get(*key).is_some());
        let bounded = match schema["type"].as_str().unwrap() {
            "string" => has(&["maxLength", "enum", "format"]),
            "integer" => has(&["minimum"]),
            // A list of words has as many as there are words.
            _ => has(&["maxItems", "minItems"]),
        };
        assert!(bounded, "{field} has no bound in the document: {schema}");
    }
}

/// The document writes bounds as fractions.
fn same(one: &Value, other: &Value) -> bool {
    one == other || one.as_f64().is_some_and(|number| other.as_f64() == Some(number))
}

#[test]
fn the_document_and_the_domain_have_the_same_bounds() {
    let document = document();
    let form = |form: Form| {
        let mut schema = json!({ "type": "string", "pattern": form.pattern, "maxLength": form.max });
        if form.min > 0 {
            schema["minLength"] = json!(form.min);
        }
        schema
    };
    let found = bodies(&document);
    for (field, expected) in [
        ("/deployments/service", form(Name::FORM)),
        ("/deployments/version", form(Version::FORM)),
        ("/deployments/release/commit_sha", form(CommitSha::FORM)),
        ("/deployments/release/image", form(Image::FORM)),
        ("/deployments/release/changes", json!({ "type": "array", "maxItems": CHANGES_LISTED_MAX })),
        ("/deployments/override/reason", json!({ "minLength": OVERRIDE_REASON_MIN, "maxLength": TEXT_MAX })),
        ("/deployments/{id}/heartbeat/traffic_percent", json!({ "minimum": 0, "maximum": TRAFFIC_MAX })),
        ("/environments/rank", json!({ "minimum": RANK_MIN, "maximum": RANK_MAX })),
        ("/environments/{environment}/policy/promotion/soak_seconds", json!({ "maximum": SOAK.end() })),
        ("/freeze-windows/environments", json!({ "minItems": 1, "maxItems": PLACES_MAX })),
        ("/freeze-windows/environments/*", form(Name::FORM)),
    ] {
        let (_, schema) = found.iter().find(|(name, _)| name == field).unwrap_or_else(|| panic!("{field}"));
        for (key, value) in expected.as_object().unwrap() {
            assert!(same(&schema[key], value), "{field}: {key} of {schema} is not {value}");
        }
    }
    for (name, operation) in operations(&document) {
        for parameter in operation.get("parameters").and_then(Value::as_array).into_iter().flatten() {
            let expected = match (parameter["in"].as_str().unwrap(), parameter["name"].as_str().unwrap()) {
                ("path", "service" | "environment") => form(Name::FORM),
                ("path", "version") => form(Version::FORM),
                (_, "limit") => json!({ "minimum": 1, "maximum": LIMIT_MAX }),
                _ => continue,
            };
            for (key, value) in expected.as_object().unwrap() {
                assert!(same(&parameter["schema"][key], value), "{name}: {parameter}");
            }
        }
    }
}
