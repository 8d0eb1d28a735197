//! Walks down a report to its findings and hands over one after the other, so that however long a report is, no more of
//! it is in memory than what is kept.

use std::marker::PhantomData;

use serde::{
    Deserialize as _, Deserializer,
    de::{DeserializeOwned, DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::domain::scan::{
    findings::Findings,
    given::{Given, Object},
};

/// A step down.
#[derive(Clone, Copy)]
pub(super) enum Step {
    /// To a member of an object.
    Member(&'static str),
    /// To each item of an array.
    Items,
}

/// What is done with a finding, which lies at this pointer.
pub(super) type Take<T> = fn(T, &str, &mut Findings);

/// Reads the findings that lie at the end of these steps.
pub(super) fn walk<T: DeserializeOwned>(
    report: &[u8],
    steps: &'static [Step],
    take: Take<T>,
    findings: &mut Findings,
) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(report);
    Walk { steps, pointer: String::new(), take, findings, kind: PhantomData }.deserialize(&mut deserializer)
}

struct Walk<'a, T> {
    steps: &'static [Step],
    pointer: String,
    take: Take<T>,
    findings: &'a mut Findings,
    kind: PhantomData<fn(T)>,
}

impl<T> Walk<'_, T> {
    fn below(&mut self, steps: &'static [Step], name: impl std::fmt::Display) -> Walk<'_, T> {
        let pointer = format!("{}/{name}", self.pointer);
        Walk { steps, pointer, take: self.take, findings: self.findings, kind: PhantomData }
    }

    fn wrong(self) {
        let what = match self.steps.first() {
            Some(Step::Items) => "an array",
            Some(Step::Member(_)) | None => "an object",
        };
        self.findings.fault(&self.pointer, "type", format!("must be {what}"));
    }
}

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for Walk<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if !self.steps.is_empty() {
            return deserializer.deserialize_any(self);
        }
        match Given::deserialize(deserializer)? {
            Given::Right(Object(found)) => (self.take)(found, &self.pointer, self.findings),
            Given::Absent | Given::Wrong => self.wrong(),
        }
        Ok(())
    }
}

impl<'de, T: DeserializeOwned> Visitor<'de> for Walk<'_, T> {
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
