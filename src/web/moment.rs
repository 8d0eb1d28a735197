//! Moments and other fields of a page's address: how they are read, and how addresses are written.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, TimeDelta, Utc};
use url::form_urlencoded;

use super::form::Form;
use crate::{
    clock,
    http::problem::{Code, FieldError, Problem},
};

/// How a moment is written into a field of a form, in UTC.
pub const FIELD: &str = "%Y-%m-%dT%H:%M";

/// A moment that a query names: whole, as a field of a form has it, which has no zone and means UTC, as a day, or as how long
/// ago it is (`2h`). None where the field is empty.
pub fn moment(form: &Form, field: &str) -> Result<Option<DateTime<Utc>>, Problem> {
    let text = form.get(field).trim();
    if text.is_empty() {
        return Ok(None);
    }
    parse(text).map(Some).ok_or_else(|| {
        wrong(field, "must be a moment, such as 2026-03-04T12:00 (UTC), or how long ago, such as 2h")
    })
}

fn parse(text: &str) -> Option<DateTime<Utc>> {
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
    clock::now().checked_sub_signed(ago)
}

/// The moment of the past that a page is asked to show; none for now, and for what is yet to come.
pub fn as_of(form: &Form) -> Result<Option<DateTime<Utc>>, Problem> {
    Ok(moment(form, "as_of")?.filter(|at| *at < clock::now()))
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

/// An address with those of the fields that say something.
pub fn address<'a>(path: &str, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    match query.finish() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

/// A text as a segment of a path.
pub fn segment(text: &str) -> String {
    let mut url = url::Url::parse("path:/").ok();
    if let Some(mut segments) = url.as_mut().and_then(|url| url.path_segments_mut().ok()) {
        segments.clear().push(text);
    }
    url.map(|url| url.path().trim_start_matches('/').to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let at = |text: &str| parse(text).map(|at| at.to_rfc3339());
        let noon = Some("2026-03-04T12:00:00+00:00".to_owned());
        assert_eq!(at("2026-03-04T13:00:00+01:00"), noon);
        assert_eq!(at("2026-03-04T12:00"), noon);
        assert_eq!(at("2026-03-04"), Some("2026-03-04T00:00:00+00:00".to_owned()));
        assert_eq!(parse("2h").map(|at| (clock::now() - at).num_minutes()), Some(120));
        assert_eq!(at("yesterday"), None);
    }

    #[test]
    fn a_segment_stays_one() {
        assert_eq!(segment("CVE-2021-44228"), "CVE-2021-44228");
        assert_eq!(segment("a/b?c#d e%"), "a%2Fb%3Fc%23d%20e%25");
    }

    #[test]
    fn an_address_has_what_says_something() {
        assert_eq!(address("/x", [("a", ""), ("b", "")]), "/x");
        assert_eq!(address("/x", [("a", "1+1 é"), ("b", ""), ("c", "&")]), "/x?a=1%2B1+%C3%A9&c=%26");
    }
}
