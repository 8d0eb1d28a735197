//! What a change of a policy changed, in words.

use serde_json::{Value, json};

use crate::domain::policy::{self, Policy};

/// What another policy would change: each setting, what it is, and what it would be.
pub fn difference(before: &Policy, after: &Policy) -> Vec<(String, String, String)> {
    changes(&json!({ "before": before, "after": after, "changed": policy::changed(before, after) }))
}

/// What a change of a policy changed: each setting, what it was, and what it is.
pub fn changes(event: &Value) -> Vec<(String, String, String)> {
    let at = |side: &str, pointer: &str| event[side].pointer(pointer).map_or("not set".to_owned(), said);
    let changed = event["changed"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let change = |pointer: &str| {
        let name = pointer.trim_start_matches('/').replace('/', ".");
        (name, at("before", pointer), at("after", pointer))
    };
    changed.map(change).collect()
}

/// A setting in words.
fn said(setting: &Value) -> String {
    match setting {
        Value::Null => "not set".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) if list.is_empty() => "none".to_owned(),
        Value::Array(list) => list.iter().map(said).collect::<Vec<_>>().join(", "),
        Value::Object(members) => {
            let members = members.iter().map(|(name, member)| format!("{name} {}", said(member)));
            members.collect::<Vec<_>>().join(" ")
        }
        Value::Bool(_) | Value::Number(_) => setting.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_names_each_setting_with_what_it_was_and_is() {
        let event = json!({"before": null, "after": {"approval": {"required": 2, "mode": "enforce"}},
            "changed": ["/approval/required", "/approval/mode"]});
        let expected = [("approval.required", "not set", "2"), ("approval.mode", "not set", "enforce")];
        let expected = expected.map(|(name, was, is)| (name.to_owned(), was.to_owned(), is.to_owned()));
        assert_eq!(changes(&event), expected);
    }
}
