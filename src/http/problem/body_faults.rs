//! Finds every fault in the shape of a JSON body by its OpenAPI schema: members that are missing, unknown or of another type.
//!
//! The framework stops at the first fault and seldom says in which field it is. This looks only at bodies that
//! the framework has refused already, so it decides nothing: it explains, in the words of the domain's `parse` functions, which
//! judge what has the right shape. Objects count as closed. Numbers and lists out of bounds are named at once, texts are not:
//! only `parse` says why one is wrong.

use chrono::DateTime;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::FieldError;
use crate::{
    domain::nearest::nearest,
    http::spec::{Schema, Spec},
};

const MAX_ERRORS: usize = 50;

/// Every fault of `value`, at most fifty.
pub fn faults(spec: &Spec, schema: &Schema, value: &Value) -> Vec<FieldError> {
    let mut check = Check { spec, found: Vec::new() };
    check.value(schema, value, "");
    check.found
}

/// The pointer of the member `name` of what `parent` points to.
pub fn member(parent: &str, name: &str) -> String {
    format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"))
}

struct Check<'a> {
    spec: &'a Spec,
    found: Vec<FieldError>,
}

impl Check<'_> {
    fn fault(&mut self, pointer: &str, code: &str, detail: impl Into<String>) {
        if self.found.len() < MAX_ERRORS {
            self.found.push(FieldError::new(pointer, code, detail));
        }
    }

    fn value(&mut self, schema: &Schema, value: &Value, at: &str) {
        if let Some(target) = self.spec.target(schema) {
            return self.value(target, value, at);
        }
        for part in &schema.all_of {
            self.value(part, value, at);
        }
        if !schema.choices.is_empty() && !schema.choices.contains(value) {
            let choices: Vec<_> = schema.choices.iter().map(Value::to_string).collect();
            return self.fault(at, "enum", format!("must be one of {}", choices.join(", ")));
        }
        match (schema.kind.as_deref(), value) {
            (Some("object"), Value::Object(fields)) => self.object(schema, fields, at),
            (Some("array"), Value::Array(items)) => self.array(schema, items, at),
            (Some("string"), Value::String(text)) => self.string(schema, text, at),
            (Some("integer"), Value::Number(number)) if !number.is_f64() => self.number(schema, value, at),
            (Some("number"), Value::Number(_)) => self.number(schema, value, at),
            (Some("boolean"), Value::Bool(_)) | (None, _) => {}
            (Some(kind), _) => {
                let article = if kind.starts_with(['a', 'i', 'o']) { "an" } else { "a" };
                self.fault(at, "type", format!("must be {article} {kind}"));
            }
        }
    }

    fn object(&mut self, schema: &Schema, fields: &Map<String, Value>, at: &str) {
        for name in &schema.required {
            if fields.get(name).is_none_or(Value::is_null) {
                self.fault(&member(at, name), "required", "is required");
            }
        }
        for (name, value) in fields {
            let pointer = member(at, name);
            match schema.properties.get(name).or(schema.additional_properties.as_deref()) {
                Some(_) if value.is_null() => {}
                Some(schema) => self.value(schema, value, &pointer),
                None if !schema.properties.is_empty() => {
                    self.fault(&pointer, "unknown", no_field(name, schema));
                }
                None => {}
            }
        }
    }

    fn array(&mut self, schema: &Schema, items: &[Value], at: &str) {
        if let Some(max) = schema.max_items.filter(|max| items.len() > *max) {
            self.fault(at, "too-many", format!("must have at most {max} members"));
        }
        if let Some(schema) = &schema.items {
            for (index, item) in items.iter().enumerate() {
                self.value(schema, item, &member(at, &index.to_string()));
            }
        }
    }

    fn string(&mut self, schema: &Schema, text: &str, at: &str) {
        match schema.format.as_deref() {
            Some("uuid") if text.parse::<Uuid>().is_err() => self.fault(at, "format", "must be a UUID"),
            Some("date-time") if DateTime::parse_from_rfc3339(text).is_err() => {
                self.fault(at, "format", "must be a time as in 2026-01-31T12:00:00Z");
            }
            _ => {}
        }
    }

    fn number(&mut self, schema: &Schema, value: &Value, at: &str) {
        if let Some(((number, min), max)) = value.as_f64().zip(schema.minimum).zip(schema.maximum)
            && !(min..=max).contains(&number)
        {
            self.fault(at, "out-of-range", format!("must be from {min} to {max}"));
        }
    }
}

fn no_field(name: &str, schema: &Schema) -> String {
    let known: Vec<_> = schema.properties.keys().map(String::as_str).collect();
    nearest(name, known.iter().copied()).map_or_else(
        || format!("is not a field of this; it has {}", known.join(", ")),
        |meant| format!("is not a field of this; did you mean `{meant}`?"),
    )
}

#[cfg(test)]
mod tests {
    use poem::http::Method;
    use serde_json::json;

    use super::*;

    fn explained(value: &Value) -> Vec<(String, String, String)> {
        let start = json!({"$ref": "#/components/schemas/Start"});
        let body = json!({"content": {"application/json": {"schema": start}}});
        let paths = json!({"/": {"post": {"operationId": "start", "requestBody": body}}});
        let document = json!({"paths": paths, "components": {"schemas": {
            "Kind": {"type": "string", "enum": ["deploy", "rollback"]},
            "Start": {"type": "object", "required": ["service", "release"], "properties": {
                "service": {"type": "string", "minLength": 1, "maxLength": 5},
                "kind": {"$ref": "#/components/schemas/Kind"},
                "release": {"allOf": [{"$ref": "#/components/schemas/Release"}, {"description": "d"}]},
            }},
            "Release": {"type": "object", "required": ["id"], "properties": {
                "id": {"type": "string", "format": "uuid"},
                "at": {"type": "string", "format": "date-time"},
                "lease": {"type": "integer", "minimum": 1, "maximum": 9},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "changes": {"type": "array", "maxItems": 2, "items": {"type": "boolean"}},
            }},
        }}});
        let spec = Spec::parse("", document.to_string().as_bytes()).unwrap();
        let operation = spec.find("/").unwrap().operation(&Method::POST).unwrap();
        let faults = faults(&spec, operation.body().unwrap(), value);
        faults.into_iter().map(|fault| (fault.pointer, fault.code, fault.detail)).collect()
    }

    fn found(value: &Value) -> Vec<(String, String)> {
        explained(value).into_iter().map(|(pointer, code, _)| (pointer, code)).collect()
    }

    #[test]
    fn a_right_body_has_no_fault() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        let release = json!({"id": id, "at": "2026-01-31T12:00:00Z", "lease": 9, "labels": {"a": "b"}});
        assert_eq!(found(&json!({"service": "shop", "kind": null, "release": release})), []);
    }

    #[test]
    fn every_fault_is_found_at_once() {
        let body = json!({"service": "", "kind": "x", "colour": 1, "release": {
            "at": "yesterday", "lease": 10, "labels": {"a/b": []}, "changes": [true, 1, false],
        }});
        let mut found = found(&body);
        found.sort();
        let expected = [
            ("/colour", "unknown"),
            ("/kind", "enum"),
            ("/release/at", "format"),
            ("/release/changes", "too-many"),
            ("/release/changes/1", "type"),
            ("/release/id", "required"),
            ("/release/labels/a~1b", "type"),
            ("/release/lease", "out-of-range"),
        ];
        assert_eq!(found, expected.map(|(pointer, code)| (pointer.to_owned(), code.to_owned())));
    }

    #[test]
    fn of_an_unknown_field_the_nearest_is_offered_or_all_are() {
        let body = json!({"servcie": "shop", "service": "shop", "colour": 1, "release": {"id": "01890a5d-ac96-774b-bcce-b302099a8057"}});
        let details: Vec<_> = explained(&body).into_iter().map(|(_, _, detail)| detail).collect();
        let expected = [
            "is not a field of this; it has kind, release, service",
            "is not a field of this; did you mean `service`?",
        ];
        assert_eq!(details, expected);
    }

    #[test]
    fn the_whole_body_can_be_wrong() {
        assert_eq!(found(&json!([])), [(String::new(), "type".to_owned())]);
    }
}
