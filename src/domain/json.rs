//! JSON as it is stored: every key of an object once, or it reads differently to different readers.

use std::{collections::BTreeSet, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

/// Checks that a text is JSON in which no object has a key twice (RFC 8259, section 4: what readers make of such an object
/// is unpredictable). The error names the key and its place in the text.
pub fn check(text: &str) -> Result<(), serde_json::Error> {
    serde_json::from_str::<Unique>(text).map(|Unique| ())
}

/// An object with the members of another besides, as far as that is one.
pub fn merged(mut object: Value, more: &impl Serialize) -> Value {
    if let (Value::Object(members), Ok(Value::Object(more))) = (&mut object, serde_json::to_value(more)) {
        members.extend(more);
    }
    object
}

/// Any value without a key twice; nothing is kept of it.
struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Unique)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = members.next_key::<String>()? {
            if seen.contains(&key) {
                return Err(A::Error::custom(format_args!("the key {key:?} is there twice")));
            }
            members.next_value::<Self>()?;
            seen.insert(key);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_there_twice_is_named_wherever_it_is() {
        for text in ["{}", "null", r#"{"a":{"b":1},"c":[{"b":1},{"b":2.5}],"b":"x"}"#, "-1", "[true]"] {
            assert!(check(text).is_ok(), "{text}");
        }
        for text in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"\u0061":2}}]"#] {
            let error = check(text).unwrap_err().to_string();
            assert!(error.contains(r#"the key "a" is there twice"#), "{error}");
        }
        for text in ["", "{", r#"{"a":1} x"#] {
            assert!(check(text).is_err(), "{text}");
        }
    }
}
