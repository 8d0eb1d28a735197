//! What the claims of an ID token tell of a person, in whatever form the issuer tells it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::domain::{identity::claims::Claims, person::is_invisible, text::SHORT_TEXT_MAX};

/// So many groups of a person are kept; an issuer that sends more sends them where nobody looks.
const GROUPS_MAX: usize = 500;

/// The claims that say what a person is called, after the one that is configured.
const NAMES: [&str; 3] = ["name", "preferred_username", "email"];

/// The groups of a person: a list, or one alone, or none.
pub fn groups(claim: Option<&Value>) -> BTreeSet<String> {
    let of = |value: &Value| {
        value.as_str().map(|group| shortened(group, SHORT_TEXT_MAX)).filter(|group| !group.is_empty())
    };
    match claim {
        Some(Value::Array(groups)) => groups.iter().filter_map(of).take(GROUPS_MAX).collect(),
        Some(group @ Value::String(_)) => of(group).into_iter().collect(),
        _ => BTreeSet::new(),
    }
}

/// What a person is called: on one line, without what nobody sees.
pub fn name(claims: &Claims, claim: &str) -> Option<String> {
    let mut texts = [claim].into_iter().chain(NAMES).filter_map(|claim| claims.get(claim)?.as_str());
    texts.find_map(|text| Some(shortened(text, SHORT_TEXT_MAX)).filter(|name| !name.is_empty()))
}

fn shortened(text: &str, most: usize) -> String {
    let seen = text.chars().filter(|c| !is_invisible(*c));
    let seen: String = seen.map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    seen.trim().chars().take(most).collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::{groups as grouped, name as called, *};
    use crate::domain::identity::claims::Expected;

    #[test]
    fn groups_come_as_a_list_or_alone_or_not_at_all() {
        let groups = |claim: Value| groups(Some(&claim)).into_iter().collect::<Vec<_>>();
        assert_eq!(groups(json!(["b", "a", "b", 5, ""])), ["a", "b"]);
        assert_eq!(groups(json!("a")), ["a"]);
        for none in [json!(null), json!({}), json!(5), json!("")] {
            assert!(groups(none).is_empty());
        }
        assert!(grouped(None).is_empty());
        let many: Vec<_> = (0..1000).map(|n| n.to_string()).collect();
        assert_eq!(groups(json!(many)).len(), GROUPS_MAX);
    }

    #[test]
    fn a_name_is_one_line_that_is_seen() {
        let name = |claims: Value| {
            let mut all = json!({ "iss": "i", "aud": "a", "sub": "s", "exp": 9, "iat": 0 });
            all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
            let expected = Expected { issuer: "i", audience: "a", now: DateTime::UNIX_EPOCH };
            let claims = Claims::check(all.as_object().unwrap().clone(), expected).unwrap();
            called(&claims, "nickname")
        };
        assert_eq!(name(json!({ "nickname": "ada", "name": "Ada" })).as_deref(), Some("ada"));
        assert_eq!(name(json!({ "nickname": " ", "email": "a@b.test" })).as_deref(), Some("a@b.test"));
        assert_eq!(name(json!({ "name": "Ada\n\u{202e}Lovelace\u{200b}" })).as_deref(), Some("Ada Lovelace"));
        assert_eq!(name(json!({ "name": "a".repeat(999) })).unwrap().len(), SHORT_TEXT_MAX);
        assert_eq!(name(json!({ "name": 5 })), None);
    }
}
