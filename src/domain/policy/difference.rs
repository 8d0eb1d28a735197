//! What differs between two policies.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::domain::policy::Policy;

/// JSON pointers to the settings that differ, in order.
pub fn changed(before: &Policy, after: &Policy) -> Vec<String> {
    let value = |policy| serde_json::to_value(policy).unwrap_or_default();
    differences(&value(before), &value(after))
}

/// JSON pointers to what differs between two values, in order. A list counts as a whole.
pub fn differences(before: &Value, after: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(before, after, "", &mut found);
    found
}

fn compare(before: &Value, after: &Value, at: &str, found: &mut Vec<String>) {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        if before != after {
            found.push(at.to_owned());
        }
        return;
    };
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let pointer = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        let member =
            |members: &serde_json::Map<String, Value>| members.get(name).cloned().unwrap_or_default();
        compare(&member(old), &member(new), &pointer, found);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::domain::{
        policy::{ApprovalRule, Budget, PromotionRule, VulnerabilitiesRule},
        vocabulary::{Mode, Require},
    };

    fn policy() -> impl Strategy<Value = Policy> {
        let budget = (prop::option::of(0u32..3), prop::option::of(0u32..3));
        let names = || prop::collection::vec(prop::sample::select(vec!["a", "b"]), 0..3);
        (names(), 0i64..3, any::<bool>(), names(), budget, prop::sample::select(Mode::ALL)).prop_map(
            |(from, soak_seconds, allow_self, groups, (critical, low), mode)| {
                let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
                Policy {
                    promotion: PromotionRule { mode, from: owned(from), require: Require::Any, soak_seconds },
                    approval: ApprovalRule { allow_self, groups: owned(groups), ..ApprovalRule::default() },
                    vulnerabilities: VulnerabilitiesRule {
                        max: Budget { critical, low, ..Budget::default() },
                        ..VulnerabilitiesRule::default()
                    },
                    ..Policy::default()
                }
            },
        )
    }

    #[test]
    fn every_setting_that_differs_is_named_once() {
        let before = Policy::default();
        let mut after = Policy::default();
        after.outdated.mode = Mode::Enforce;
        after.promotion.from = vec!["staging".to_owned(), "qa".to_owned()];
        after.vulnerabilities.max.critical = Some(0);
        after.vulnerabilities.max_scan_age_seconds = Some(60);
        let expected = [
            "/outdated/mode",
            "/promotion/from",
            "/vulnerabilities/max/critical",
            "/vulnerabilities/max_scan_age_seconds",
        ];
        assert_eq!(changed(&before, &after), expected);
        assert_eq!(changed(&after, &before), expected);
    }

    #[test]
    fn names_are_escaped_as_pointers_have_them() {
        assert_eq!(differences(&json!({}), &json!({"a/b": {"~": 1}})), ["/a~1b"]);
        assert_eq!(differences(&json!(1), &json!(2)), [""]);
    }

    proptest! {
        #[test]
        fn what_differs_lies_where_the_pointers_say_and_nowhere_else(before in policy(), after in policy()) {
            let pointers = changed(&before, &after);
            prop_assert_eq!(pointers.is_empty(), before == after);
            let (old, mut new) = (serde_json::to_value(&before).unwrap(), serde_json::to_value(&after).unwrap());
            for pointer in pointers {
                let (parent, name) = pointer.rsplit_once('/').unwrap();
                prop_assert_ne!(old.pointer(&pointer), new.pointer(&pointer));
                let members = new.pointer_mut(parent).unwrap().as_object_mut().unwrap();
                match old.pointer(&pointer) {
                    Some(value) => members.insert(name.to_owned(), value.clone()),
                    None => members.remove(name),
                };
            }
            prop_assert_eq!(new, old);
        }
    }
}
