//! Reading what may be anything: a member of the wrong type is noted and does not end the reading, so that every fault
//! of a report is named at once, and what nobody asks for is skipped without being kept.

use std::marker::PhantomData;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error, IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use crate::domain::fault::Faults;

/// The longest list that is kept whole; what lies beyond is skipped.
const LIST_MAX: usize = 1000;

/// A member of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Given<T> {
    /// Not there, or null.
    #[default]
    Absent,
    /// There, and of another type.
    Wrong,
    /// There.
    Right(T),
}

impl<T: Shape> Given<T> {
    /// The value; one of another type is a fault.
    pub(super) fn take(self, pointer: &str, faults: &mut Faults) -> Option<T> {
        match self {
            Self::Right(value) => Some(value),
            Self::Absent => None,
            Self::Wrong => {
                faults.add(pointer, "type", format!("must be {}", T::WHAT));
                None
            }
        }
    }

    /// The value, whatever else was sent in its place.
    pub(super) fn right(self) -> Option<T> {
        if let Self::Right(value) = self { Some(value) } else { None }
    }

    /// Whether anything is there.
    pub(super) fn is_given(&self) -> bool {
        !matches!(self, Self::Absent)
    }
}

impl Given<String> {
    /// The text, unless it is empty: the tools write nothing where they know nothing.
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Right(text) = self { Some(text.as_str()).filter(|text| !text.is_empty()) } else { None }
    }
}

impl<T: Shape> Given<Vec<Given<T>>> {
    /// The values of a list, without those of another type.
    pub(super) fn values(self) -> impl Iterator<Item = T> {
        self.right().unwrap_or_default().into_iter().filter_map(Given::right)
    }
}

/// A type that a member may have.
pub(super) trait Shape: Sized {
    /// What it is for people, with its article.
    const WHAT: &'static str;

    fn of_text(_: &str) -> Option<Self> {
        None
    }

    fn of_number(_: u64) -> Option<Self> {
        None
    }

    fn of_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn of_members<'de, A: MapAccess<'de>>(mut members: A) -> Result<Option<Self>, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

impl Shape for String {
    const WHAT: &'static str = "a string";

    fn of_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Shape for u64 {
    const WHAT: &'static str = "a whole number that is not negative";

    fn of_number(number: u64) -> Option<Self> {
        Some(number)
    }
}

impl<T: Shape> Shape for Vec<Given<T>> {
    const WHAT: &'static str = "an array";

    fn of_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        let mut items = Self::new();
        while items.len() < LIST_MAX {
            let Some(item) = list.next_element()? else { return Ok(Some(items)) };
            items.push(item);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Some(items))
    }
}

/// A table of numbers, without what is none: its first entries.
impl Shape for Vec<u64> {
    const WHAT: &'static str = "an object of numbers";

    fn of_members<'de, A: MapAccess<'de>>(mut members: A) -> Result<Option<Self>, A::Error> {
        let mut numbers = Self::new();
        while let Some((IgnoredAny, number)) = members.next_entry::<IgnoredAny, Given<u64>>()? {
            numbers.extend(number.right().filter(|_| numbers.len() < LIST_MAX));
        }
        Ok(Some(numbers))
    }
}

/// An object with the members of `T`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Object<T>(pub(super) T);

impl<T: DeserializeOwned> Shape for Object<T> {
    const WHAT: &'static str = "an object";

    fn of_members<'de, A: MapAccess<'de>>(members: A) -> Result<Option<Self>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members)).map(|members| Some(Self(members)))
    }
}

impl<'de, T: Shape> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader(PhantomData))
    }
}

struct Reader<T>(PhantomData<T>);

fn given<T>(value: Option<T>) -> Given<T> {
    value.map_or(Given::Wrong, Given::Right)
}

impl<'de, T: Shape> Visitor<'de> for Reader<T> {
    type Value = Given<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(T::WHAT)
    }

    fn visit_unit<E: Error>(self) -> Result<Given<T>, E> {
        Ok(Given::Absent)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Given<T>, E> {
        Ok(Given::Wrong)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Given<T>, E> {
        Ok(Given::Wrong)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Given<T>, E> {
        Ok(given(T::of_number(number)))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Given<T>, E> {
        Ok(Given::Wrong)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Given<T>, E> {
        Ok(given(T::of_text(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Given<T>, A::Error> {
        T::of_list(list).map(given)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Given<T>, A::Error> {
        T::of_members(members).map(given)
    }
}
