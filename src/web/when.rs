//! A moment as pages show it: how long ago, with the whole of it for who wants it.

use askama::Template;
use chrono::{DateTime, Utc};

use crate::domain::span::age;

/// A moment, seen from another one.
#[derive(Clone, Template)]
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
        Self { age: minute(at), whole: whole(at), stamp: stamp(at) }
    }
}

/// A moment in full, with how far it is away.
#[derive(Clone, Template)]
#[template(
    source = r#"<time datetime="{{ stamp }}">{{ whole }} UTC</time> <span class="quiet">({{ away }})</span>"#,
    ext = "html"
)]
pub struct Moment {
    whole: String,
    stamp: String,
    away: String,
}

impl Moment {
    /// A moment, seen from `now`.
    pub fn of(at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let away = if at > now { format!("in {}", age(at - now)) } else { format!("{} ago", age(now - at)) };
        Self { whole: whole(at), stamp: stamp(at), away }
    }
}

/// The moment that a page shows, and whether it is over.
pub struct Shown {
    /// For people.
    pub at: String,
    /// For programs.
    pub stamp: String,
    /// Whether it is a moment of the past that was asked for.
    pub is_past: bool,
}

impl Shown {
    /// The moment that was asked for, or now.
    pub fn of(as_of: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        let at = as_of.unwrap_or(now);
        Self { at: whole(at), stamp: stamp(at), is_past: as_of.is_some() }
    }
}

/// A moment for people, to the minute.
pub fn minute(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// A moment for people, in UTC.
pub fn whole(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// A moment for programs.
pub fn stamp(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}
