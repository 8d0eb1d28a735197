//! Walks down a report to what is wanted of it and hands over one after the other, so that however long a report is, no more of
//! it is in memory than what is kept.

use std::marker::PhantomData;

use serde::{
    Deserialize as _, Deserializer,
    de::{DeserializeOwned, DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::domain::scan::given::{Given, Object};

/// A step down.
#[derive(Clone, Copy)]
pub(super) enum Step {
    /// To a member of an object.
    Member(&'static str),
    /// To each item of an array.
    Items,
}

/// Who takes what lies at the end of the steps.
pub(super) trait Sink<T> {
    /// Takes one, which lies at this pointer.
    fn take(&mut self, found: T, pointer: &str);

    /// Hears that what lies at this pointer is not what it must be.
    fn wrong(&mut self, pointer: &str, what: &'static str);
}

/// Reads what lies at the end of these steps.
pub(super) fn walk<T: DeserializeOwned, S: Sink<T>>(
    report: &[u8],
    steps: &'static [Step],
    sink: &mut S,
) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(report);
    Walk { steps, pointer: String::new(), sink, kind: PhantomData }.deserialize(&mut deserializer)
}

struct Walk<'a, T, S> {
    steps: &'static [Step],
    pointer: String,
    sink: &'a mut S,
    kind: PhantomData<T>,
}

impl<T, S: Sink<T>> Walk<'_, T, S> {
    fn below(&mut self, steps: &'static [Step], name: impl std::fmt::Display) -> Walk<'_, T, S> {
        let pointer = format!("{}/{name}", self.pointer);
        Walk { steps, pointer, sink: self.sink, kind: PhantomData }
    }

    fn wrong(self) {
        let what = match self.steps.first() {
            Some(Step::Items) => "an array",
            Some(Step::Member(_)) | None => "an object",
        };
        self.sink.wrong(&self.pointer, what);
    }
}

impl<'de, T: DeserializeOwned, S: Sink<T>> DeserializeSeed<'de> for Walk<'_, T, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if !self.steps.is_empty() {
            return deserializer.deserialize_any(self);
        }
        match Given::deserialize(deserializer)? {
            Given::Right(Object(found)) => self.sink.take(found, &self.pointer),
            Given::Absent | Given::Wrong => self.wrong(),
        }
        Ok(())
    }
}

impl<'de, T: DeserializeOwned, S: Sink<T>> Visitor<'de> for Walk<'_, T, S> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a report")
    }

    /// The tools write null for a list that is empty.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.wrong();
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.wrong();
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.wrong();
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.wrong();
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.wrong();
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let Some((Step::Items, rest)) = self.steps.split_first() else {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            self.wrong();
            return Ok(());
        };
        for index in 0_usize.. {
            if list.next_element_seed(self.below(rest, index))?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let Some((Step::Member(name), rest)) = self.steps.split_first() else {
            while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            self.wrong();
            return Ok(());
        };
        while let Some(key) = members.next_key::<String>()? {
            if key == *name {
                members.next_value_seed(self.below(rest, name))?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}
