//! A moment as pages show it: how long ago, with the whole of it for who wants it.

use askama::Template;
use chrono::{DateTime, Utc};

use crate::domain::span::age;

/// A moment, seen from another one.
#[derive(Template)]
#[template(source = r#"<time datetime="{{ stamp }}" title="{{ whole }} UTC">{{ age }}</time>"#, ext = "html")]
pub struct When {
    age: String,
    whole: String,
    stamp: String,
}

impl When {
    /// A moment, seen from `now`.
    pub fn of(at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self { age: age(now - at), whole: whole(at), stamp: stamp(at) }
    }

    /// A moment by its date and time, such as one that is still to come.
    pub fn at(at: DateTime<Utc>) -> Self {
        Self { age: at.format("%Y-%m-%d %H:%M").to_string(), whole: whole(at), stamp: stamp(at) }
    }
}

/// A moment for people, in UTC.
pub fn whole(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// A moment for programs.
pub fn stamp(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}
