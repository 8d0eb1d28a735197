//! A year of an environment, day by day: when it is frozen.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike as _, NaiveDate, TimeDelta, Utc};

use crate::{domain::freeze::calendar::Interval, usecase::freezes::Calendar};

/// A month of the year.
pub struct Month {
    pub name: String,
    pub days: Vec<Day>,
}

/// A day of a month, in UTC.
pub struct Day {
    pub number: u32,
    /// How much of it is frozen: all, some or none.
    pub look: &'static str,
    pub is_today: bool,
    /// In words, where it is frozen.
    pub title: String,
}

/// When the year begins, and the next one.
pub fn bounds(year: i32) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let first = |year| Some(NaiveDate::from_ymd_opt(year, 1, 1)?.and_hms_opt(0, 0, 0)?.and_utc());
    Some((first(year)?, first(year + 1)?))
}

/// The months of a year, from the calendar of one environment.
pub fn months(year: i32, calendar: &Calendar, now: DateTime<Utc>) -> Vec<Month> {
    let intervals =
        calendar.environments.first().map(|(_, intervals)| intervals.as_slice()).unwrap_or_default();
    let month = |month| {
        let first = NaiveDate::from_ymd_opt(year, month, 1)?;
        let days = first.iter_days().take_while(|day| day.month() == month && day.year() == year);
        let days = days.map(|day| shown(day, calendar, intervals, now)).collect();
        Some(Month { name: first.format("%b").to_string(), days })
    };
    (1..=12).filter_map(month).collect()
}

fn shown(day: NaiveDate, calendar: &Calendar, intervals: &[Interval], now: DateTime<Utc>) -> Day {
    let begin = day.and_time(chrono::NaiveTime::MIN).and_utc();
    let end = begin + TimeDelta::days(1);
    let touching =
        || intervals.iter().filter(|interval| interval.span.starts_at < end && interval.span.ends_at > begin);
    let is_whole =
        touching().any(|interval| interval.span.starts_at <= begin && interval.span.ends_at >= end);
    let places: BTreeSet<_> = touching().flat_map(|interval| &interval.windows).collect();
    let names: Vec<_> = places
        .into_iter()
        .filter_map(|place| calendar.windows.get(*place))
        .map(|window| window.definition.name.as_str())
        .collect();
    let look = match (touching().next().is_some(), is_whole) {
        (false, _) => "",
        (true, false) => "part",
        (true, true) => "whole",
    };
    let title = match look {
        "" => String::new(),
        "part" => format!("{}, partly frozen: {}", day.format("%-d %B"), names.join(", ")),
        _ => format!("{}, frozen: {}", day.format("%-d %B"), names.join(", ")),
    };
    Day { number: day.day(), look, is_today: day == now.date_naive(), title }
}
