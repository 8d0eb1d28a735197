//! The calendar of freeze windows: when at least one of several holds, as merged intervals.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Timing, Window,
    schedule::{Schedule, State},
};
use crate::domain::fault::Malformed;

/// The longest stretch of time that a calendar shows, in days.
const DAYS_MAX: i64 = 366;
/// How far it looks when nobody says, in days.
const DAYS_DEFAULT: i64 = 30;

/// How often all windows together may change within a calendar.
const CHANGES_MAX: usize = 100_000;

/// A stretch of time, start inclusive, end exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// When it begins.
    pub starts_at: DateTime<Utc>,
    /// When it ends.
    pub ends_at: DateTime<Utc>,
}

impl Span {
    /// What a calendar is to show: from now on when nobody says. What is wrong with it is wrong with its end.
    pub fn asked(
        from: Option<DateTime<Utc>>,
        to: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<Self, Malformed> {
        let starts_at = from.unwrap_or(now);
        let later =
            |days| starts_at.checked_add_signed(TimeDelta::days(days)).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let ends_at = to.unwrap_or_else(|| later(DAYS_DEFAULT));
        if ends_at <= starts_at {
            return Err(Malformed::new(
                "before-start",
                "it must be later than from, which is now when absent",
            ));
        }
        if ends_at > later(DAYS_MAX) {
            let detail = format!("it must be at most {DAYS_MAX} days after from, which is now when absent");
            return Err(Malformed::new("out-of-range", detail));
        }
        Ok(Self { starts_at, ends_at })
    }
}

/// A stretch of time in which at least one window holds at every moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval {
    /// From when to when.
    pub span: Span,
    /// Which windows hold at some time of it.
    pub windows: BTreeSet<usize>,
}

/// The windows change more often than a calendar can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// When at least one of the windows holds within a span: intervals that neither touch nor overlap, in order.
pub fn calendar(windows: &[Window], within: Span) -> Result<Vec<Interval>, TooMany> {
    let spans = spans(windows.iter().map(|window| &window.timing), within)?;
    Ok(merged(spans.iter().map(Vec::as_slice).enumerate()))
}

/// When each of several windows holds within a span, in order.
pub fn spans<'a>(
    timings: impl IntoIterator<Item = &'a Timing>,
    within: Span,
) -> Result<Vec<Vec<Span>>, TooMany> {
    let mut left = CHANGES_MAX;
    timings.into_iter().map(|timing| spans_of(&Schedule::read(timing), within, &mut left)).collect()
}

fn spans_of(schedule: &Schedule, within: Span, left: &mut usize) -> Result<Vec<Span>, TooMany> {
    let mut spans = Vec::new();
    let mut at = within.starts_at;
    while at < within.ends_at {
        *left = left.checked_sub(1).ok_or(TooMany)?;
        let until = match schedule.at(at) {
            State::Holds { since, until } => {
                let ends_at = until.unwrap_or(within.ends_at).min(within.ends_at);
                spans.push(Span { starts_at: since.max(within.starts_at), ends_at });
                until
            }
            State::Idle { until, .. } => until,
        };
        let Some(until) = until else { break };
        at = until;
    }
    Ok(spans)
}

/// Merges the spans of several windows.
pub fn merged<'a>(spans: impl IntoIterator<Item = (usize, &'a [Span])>) -> Vec<Interval> {
    let each = |(window, spans): (usize, &'a [Span])| spans.iter().map(move |span| (*span, window));
    let mut all: Vec<_> = spans.into_iter().flat_map(each).collect();
    all.sort_unstable();
    let mut intervals: Vec<Interval> = Vec::new();
    for (span, window) in all {
        match intervals.last_mut() {
            Some(last) if span.starts_at <= last.span.ends_at => {
                last.span.ends_at = last.span.ends_at.max(span.ends_at);
                last.windows.insert(window);
            }
            _ => intervals.push(Interval { span, windows: BTreeSet::from([window]) }),
        }
    }
    intervals
}
