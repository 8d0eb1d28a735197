//! Travelling in time: `as_of` in the address of any page names the moment that it is to show. What a page tells of the past it
//! shows as it was; of what it cannot, it says so and shows now. Nothing is changed from there, and every way leads to the same
//! moment ([`super::answer`]) but the one to now.

use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};
use poem::{Request, http::Method};

use super::{
    address::{address, segment},
    form::Form,
    moment::{FIELD, as_of, exact},
    when::{stamp, whole},
};
use crate::{clock, http::problem::Problem};

/// The moment that a page is asked to show, and what its address says besides.
#[derive(Clone, Debug, Default)]
pub struct Travel {
    /// The moment of the past; none for now.
    pub as_of: Option<DateTime<Utc>>,
    path: String,
    fields: Vec<(String, String)>,
}

/// What stands above a page: which moment it shows, and the ways to others.
#[derive(Template)]
#[template(path = "travel.html")]
pub struct Ways {
    /// The moment of the past, for people, for programs and as a field has it.
    then: Option<(String, String, String)>,
    /// Whether the page tells of the past; where it does not, it shows now.
    tells: bool,
    path: String,
    fields: Vec<(String, String)>,
    now: String,
    earlier: Vec<Step>,
    later: Vec<Step>,
}

/// A step in time: its length, and where it leads.
type Step = (&'static str, String);

/// The lengths of the steps, as addresses of now have them too.
const STEPS: [(&str, &str, TimeDelta); 3] = [
    ("week", "7d", TimeDelta::weeks(1)),
    ("day", "1d", TimeDelta::days(1)),
    ("hour", "1h", TimeDelta::hours(1)),
];

impl Travel {
    /// What a request asks for. One that changes something is about now, and its address is not where its page is.
    pub fn of(base: &str, request: &Request) -> Result<Self, Problem> {
        if request.method() == Method::POST {
            return Ok(Self::default());
        }
        let query = Form::of_query(request);
        // Where a list went on is not where it does at another moment.
        let fields = query.fields().filter(|(name, _)| !["as_of", "cursor"].contains(name));
        Ok(Self {
            as_of: as_of(&query)?,
            path: format!("{base}{}", request.uri().path()),
            fields: fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        })
    }

    /// Whether it is a moment of the past.
    pub fn is_past(&self) -> bool {
        self.as_of.is_some()
    }

    /// The address of the same page at another moment.
    fn to(&self, as_of: &str) -> String {
        let fields = self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        address(&self.path, fields.chain([("as_of", as_of)]))
    }

    /// The address of the same page now.
    pub fn now(&self) -> String {
        self.to("")
    }

    /// The address of the page that has something else in the place of what was given; none where it was not given here.
    pub fn instead(&self, given: &str, meant: &str) -> Option<String> {
        let (given_segment, segment_meant) = (segment(given), segment(meant));
        let path = self.path.split('/').map(|part| if part == given_segment { &segment_meant } else { part });
        let path: Vec<&str> = path.collect();
        let fields = self.fields.iter().map(|(name, value)| {
            let value = if value == given { meant } else { value.as_str() };
            (name.as_str(), value)
        });
        let instead = address(&path.join("/"), fields);
        let here = self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        (instead != address(&self.path, here)).then_some(instead)
    }

    /// What stands above a page that tells of the past, or cannot. Nothing, where there is nothing to say.
    pub fn ways(&self, tells: bool) -> Option<Ways> {
        if self.path.is_empty() || !(tells || self.is_past()) {
            return None;
        }
        let step = |(words, ago, span): (&'static str, &str, TimeDelta)| match self.as_of {
            None => (words, self.to(ago)),
            Some(at) => (words, self.to(&exact(at.checked_sub_signed(span)))),
        };
        let now = clock::now();
        let back = |(words, _, span): (&'static str, &str, TimeDelta)| {
            let at = self.as_of?.checked_add_signed(span).filter(|at| *at < now)?;
            Some((words, self.to(&exact(Some(at)))))
        };
        Some(Ways {
            then: self.as_of.map(|at| (whole(at), stamp(at), at.format(FIELD).to_string())),
            tells,
            path: self.path.clone(),
            fields: self.fields.clone(),
            now: self.now(),
            earlier: STEPS.into_iter().map(step).collect(),
            later: STEPS.into_iter().rev().filter_map(back).collect(),
        })
    }
}
