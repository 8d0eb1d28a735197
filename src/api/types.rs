//! Shapes of values that the framework lacks: texts that are nothing else, times as this API writes them, and members that
//! may be null.

use std::{borrow::Cow, marker::PhantomData};

use chrono::{DateTime, SecondsFormat, SubsecRound as _, Utc};
use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef, Registry},
    types::{ParseError, ParseFromJSON, ParseFromParameter, ParseResult, ToJSON, Type},
};
use serde::{Serialize, Serializer};
use serde_json::{Value, value::RawValue};

use crate::domain::form::{Form, Formed};

/// A text of a request, which is to be a `K`: the document states the form of one, and whoever parses the text holds it.
/// The framework takes a number for its digits: `1.10` would be the version `1.1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text<K>(pub String, PhantomData<K>);

impl<K> std::ops::Deref for Text<K> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<K, T: Into<String>> From<T> for Text<K> {
    fn from(text: T) -> Self {
        Self(text.into(), PhantomData)
    }
}

/// The text of an optional member.
pub fn owned<K>(text: Option<&Text<K>>) -> Option<String> {
    text.map(|text| text.0.clone())
}

/// The schema of texts of a form.
pub fn form_schema(Form { pattern, min, max }: Form) -> MetaSchema {
    MetaSchema {
        pattern: Some(pattern.to_owned()),
        min_length: (min > 0).then_some(min),
        max_length: Some(max),
        ..MetaSchema::new("string")
    }
}

impl<K> Serialize for Text<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<K: Formed + Send + Sync> Type for Text<K> {
    const IS_REQUIRED: bool = true;
    type RawValueType = String;
    type RawElementValueType = String;

    fn name() -> Cow<'static, str> {
        String::name()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(form_schema(K::FORM)))
    }

    fn as_raw_value(&self) -> Option<&String> {
        Some(&self.0)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a String> + 'a> {
        self.0.raw_element_iter()
    }
}

impl<K: Formed + Send + Sync> ParseFromJSON for Text<K> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        match value {
            Some(Value::String(text)) => Ok(text.into()),
            value => Err(ParseError::expected_type(value.unwrap_or_default())),
        }
    }
}

impl<K: Formed + Send + Sync> ToJSON for Text<K> {
    fn to_json(&self) -> Option<Value> {
        self.0.to_json()
    }
}

/// A whole number of a request: the document states its bounds, and whoever parses it holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole<const MIN: i64, const MAX: i64>(pub i64);

impl<const MIN: i64, const MAX: i64> Type for Whole<MIN, MAX> {
    const IS_REQUIRED: bool = true;
    type RawValueType = i64;
    type RawElementValueType = i64;

    fn name() -> Cow<'static, str> {
        i64::name()
    }

    fn schema_ref() -> MetaSchemaRef {
        #[expect(
            clippy::cast_precision_loss,
            reason = "no bound has more than 53 bits but the largest number"
        )]
        let bound = |bound: i64| (bound.unsigned_abs() < 1 << 53).then_some(bound as f64);
        i64::schema_ref().merge(MetaSchema { minimum: bound(MIN), maximum: bound(MAX), ..MetaSchema::ANY })
    }

    fn as_raw_value(&self) -> Option<&i64> {
        Some(&self.0)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a i64> + 'a> {
        Box::new(std::iter::once(&self.0))
    }
}

impl<const MIN: i64, const MAX: i64> ParseFromJSON for Whole<MIN, MAX> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        i64::parse_from_json(value).map(Self).map_err(ParseError::propagate)
    }
}

impl<const MIN: i64, const MAX: i64> ToJSON for Whole<MIN, MAX> {
    fn to_json(&self) -> Option<Value> {
        self.0.to_json()
    }
}

/// A list of a request: the document states how many it may hold, and whoever parses it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Many<T, const MIN: usize, const MAX: usize>(pub Vec<T>);

impl<T, const MIN: usize, const MAX: usize> Default for Many<T, MIN, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Type, const MIN: usize, const MAX: usize> Type for Many<T, MIN, MAX> {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = T::RawValueType;

    fn name() -> Cow<'static, str> {
        Vec::<T>::name()
    }

    fn schema_ref() -> MetaSchemaRef {
        Vec::<T>::schema_ref().merge(MetaSchema {
            min_items: (MIN > 0).then_some(MIN),
            max_items: (MAX < usize::MAX).then_some(MAX),
            ..MetaSchema::ANY
        })
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a T::RawValueType> + 'a> {
        Box::new(self.0.iter().filter_map(Type::as_raw_value))
    }
}

impl<T: ParseFromJSON, const MIN: usize, const MAX: usize> ParseFromJSON for Many<T, MIN, MAX> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        Vec::<T>::parse_from_json(value).map(Self).map_err(ParseError::propagate)
    }
}

impl<T: ToJSON, const MIN: usize, const MAX: usize> ToJSON for Many<T, MIN, MAX> {
    fn to_json(&self) -> Option<Value> {
        self.0.to_json()
    }
}

/// A moment: RFC 3339 in UTC with microseconds. Read with any offset, as RFC 3339 has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub DateTime<Utc>);

impl Time {
    /// The text of a moment.
    pub fn text(at: DateTime<Utc>) -> String {
        at.to_rfc3339_opts(SecondsFormat::Micros, true)
    }

    fn parse(text: &str) -> ParseResult<Self> {
        let time = DateTime::parse_from_rfc3339(text).map_err(|_| {
            ParseError::custom("must be a time as RFC 3339 has it, such as 2026-11-21T14:05:00Z")
        })?;
        let time = time.with_timezone(&Utc).trunc_subsecs(6);
        // The range that both databases keep and RFC 3339 can write.
        if (0..=9999).contains(&chrono::Datelike::year(&time)) {
            return Ok(Self(time));
        }
        Err(ParseError::custom("must be a time of the years 0 to 9999"))
    }
}

impl Type for Time {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "string_date-time".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "date-time")))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromJSON for Time {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        match value {
            Some(Value::String(text)) => Self::parse(&text),
            value => Err(ParseError::expected_type(value.unwrap_or_default())),
        }
    }
}

impl ParseFromParameter for Time {
    fn parse_from_parameter(value: &str) -> ParseResult<Self> {
        // An unescaped `+` of an offset arrives as a space.
        Self::parse(&value.replace(' ', "+"))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Self::text(self.0))
    }
}

impl ToJSON for Time {
    fn to_json(&self) -> Option<Value> {
        Some(Value::String(Self::text(self.0)))
    }
}

/// A member that is always there and may be null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Nullable<T>(pub Option<T>);

impl<T> From<Option<T>> for Nullable<T> {
    fn from(value: Option<T>) -> Self {
        Self(value)
    }
}

impl<T: Type> Type for Nullable<T> {
    const IS_REQUIRED: bool = true;
    type RawValueType = T::RawValueType;
    type RawElementValueType = T::RawElementValueType;

    fn name() -> Cow<'static, str> {
        format!("nullable_{}", T::name()).into()
    }

    fn schema_ref() -> MetaSchemaRef {
        match T::schema_ref() {
            MetaSchemaRef::Inline(schema) => {
                MetaSchemaRef::Inline(Box::new(MetaSchema { nullable: true, ..*schema }))
            }
            MetaSchemaRef::Reference(name) => {
                // OpenAPI 3.0 lets a schema be nullable only where it names its type.
                let mut registry = Registry::new();
                T::register(&mut registry);
                let ty = registry.schemas.get(&name).map_or("object", |schema| schema.ty);
                let all_of = vec![MetaSchemaRef::Reference(name)];
                MetaSchemaRef::Inline(Box::new(MetaSchema { nullable: true, all_of, ..MetaSchema::new(ty) }))
            }
        }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn as_raw_value(&self) -> Option<&Self::RawValueType> {
        self.0.as_ref().and_then(Type::as_raw_value)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self::RawElementValueType> + 'a> {
        match &self.0 {
            Some(value) => value.raw_element_iter(),
            None => Box::new(std::iter::empty()),
        }
    }
}

impl<T: ParseFromJSON> ParseFromJSON for Nullable<T> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        Ok(Self(Option::<T>::parse_from_json(value).map_err(ParseError::propagate)?))
    }
}

impl<T: ToJSON> ToJSON for Nullable<T> {
    fn to_json(&self) -> Option<Value> {
        Some(self.0.as_ref().and_then(ToJSON::to_json).unwrap_or(Value::Null))
    }
}

/// JSON that goes out as it was kept, and is not taken apart for that.
#[derive(Clone, Debug, Serialize)]
pub struct Kept(Box<RawValue>);

impl From<String> for Kept {
    /// What is no JSON becomes null.
    fn from(text: String) -> Self {
        Self(RawValue::from_string(text).unwrap_or_else(|_not_json| RawValue::NULL.to_owned()))
    }
}

impl Type for Kept {
    const IS_REQUIRED: bool = Value::IS_REQUIRED;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        Value::name()
    }

    fn schema_ref() -> MetaSchemaRef {
        Value::schema_ref()
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromJSON for Kept {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        Ok(value.unwrap_or_default().to_string().into())
    }
}

impl ToJSON for Kept {
    fn to_json(&self) -> Option<Value> {
        serde_json::from_str(self.0.get()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_any_offset_and_written_in_utc() {
        let time = Time::parse_from_parameter("2026-11-21T14:05:00.1234567+01:00").unwrap();
        assert_eq!(time.to_json(), Some(Value::String("2026-11-21T13:05:00.123456Z".into())));
        assert_eq!(
            Time::parse_from_parameter("2026-11-21T14:05:00 01:00").unwrap().0,
            Time::parse_from_parameter("2026-11-21T13:05:00Z").unwrap().0
        );
        for bad in ["", "yesterday", "2026-11-21", "2026-13-01T00:00:00Z"] {
            assert!(Time::parse_from_parameter(bad).is_err(), "{bad}");
        }
    }
}
