//! Moments and other fields of a page's address, and how they are read.

use std::ops::RangeInclusive;

use chrono::{
    DateTime, Datelike as _, NaiveDate, NaiveDateTime, SecondsFormat, SubsecRound as _, TimeDelta, Utc,
};

use super::form::Form;
use crate::{
    clock,
    http::problem::{Code, FieldError, Problem},
};

/// How a moment is written into a field of a form, in UTC.
pub const FIELD: &str = "%Y-%m-%dT%H:%M";

/// The years that can have been: both databases hold them, and so do all times computed from them.
const YEARS: RangeInclusive<i32> = 1970..=9998;

/// A moment that a query names: whole, as a field of a form has it, which has no zone and means UTC, as a day, or as how
/// long before `now` it is (`2h`). None where the field is empty.
pub fn moment(form: &Form, field: &str, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, Problem> {
    let text = form.get(field).trim();
    if text.is_empty() {
        return Ok(None);
    }
    let at = parse(text, now).filter(|at| YEARS.contains(&at.year()));
    at.map(|at| Some(at.trunc_subsecs(6))).ok_or_else(|| {
        wrong(field, "must be a moment, such as 2026-03-04T12:00 (UTC), or how long ago, such as 2h")
    })
}

fn parse(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if let Ok(whole) = DateTime::parse_from_rfc3339(text) {
        return Some(whole.to_utc());
    }
    if let Ok(field) = NaiveDateTime::parse_from_str(text, FIELD) {
        return Some(field.and_utc());
    }
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return day.and_hms_opt(0, 0, 0).map(|start| start.and_utc());
    }
    let ago = TimeDelta::from_std(humantime::parse_duration(text).ok()?).ok()?;
    now.checked_sub_signed(ago)
}

/// The moment of the past that a page is asked to show; none for now, and for what is yet to come.
pub fn as_of(form: &Form) -> Result<Option<DateTime<Utc>>, Problem> {
    let now = clock::now();
    Ok(moment(form, "as_of", now)?.filter(|at| *at < now))
}

/// A moment as an address has it, to the last digit; empty for now.
pub fn exact(as_of: Option<DateTime<Utc>>) -> String {
    as_of.map(|at| at.to_rfc3339_opts(SecondsFormat::Micros, true)).unwrap_or_default()
}

/// What a query says of one of these words; none where it says nothing.
pub fn word<T: Copy>(
    form: &Form,
    field: &str,
    words: &[T],
    name: fn(T) -> &'static str,
) -> Result<Option<T>, Problem> {
    let text = form.get(field).trim();
    if text.is_empty() {
        return Ok(None);
    }
    let found = words.iter().copied().find(|word| name(*word) == text);
    found.map(Some).ok_or_else(|| wrong(field, "must be one of those that the page offers"))
}

/// A field of the query in which a page cannot be shown.
pub fn wrong(field: &str, detail: &str) -> Problem {
    let error = FieldError::new(format!("/query/{field}"), "invalid", detail.to_owned());
    Problem::new(Code::InvalidRequest, "The page cannot be shown so.").errors(vec![error])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_database_holds_is_refused() {
        for text in ["-262143-01-01", "0001-01-01", "9999-12-31T23:59", "+262142-12-31T23:59:59Z", "9000y"] {
            let form = Form::parse(format!("at={}", text.replace('+', "%2B")).as_bytes());
            assert!(moment(&form, "at", DateTime::UNIX_EPOCH).is_err(), "{text}");
        }
        let form = Form::parse(b"at=2026-03-04T12:00:00.123456789Z");
        assert_eq!(exact(moment(&form, "at", DateTime::UNIX_EPOCH).unwrap()), "2026-03-04T12:00:00.123456Z");
    }

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now = DateTime::UNIX_EPOCH;
        let at = |text: &str| parse(text, now).map(|at| at.to_rfc3339());
        let noon = Some("2026-03-04T12:00:00+00:00".to_owned());
        assert_eq!(at("2026-03-04T13:00:00+01:00"), noon);
        assert_eq!(at("2026-03-04T12:00"), noon);
        assert_eq!(at("2026-03-04"), Some("2026-03-04T00:00:00+00:00".to_owned()));
        assert_eq!(at("2h"), Some("1969-12-31T22:00:00+00:00".to_owned()));
        assert_eq!(at("yesterday"), None);
    }
}
