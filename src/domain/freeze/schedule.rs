//! When one window holds.
//!
//! A recurring window is decided on the clocks of its time zone, on which times neither repeat nor are missing: there
//! the order of starts and ends is plain. Only what comes out is carried over to the line of real moments, and that
//! never changes the order: a time that the clocks show twice is the first of the two moments, and one that they skip is
//! the moment at which they skip it.

use chrono::{DateTime, Datelike as _, LocalResult, NaiveDateTime, SubsecRound as _, TimeZone as _, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};

use super::Timing;
use crate::domain::fault::Malformed;

/// The longest cron expression, in characters.
pub const CRON_MAX: usize = 200;
/// How many starts in a row that come to nothing are looked past.
const EMPTY_MAX: usize = 1000;
/// The years in which clocks are read; no recurring window holds outside of them.
const YEARS: std::ops::RangeInclusive<i32> = 2..=4998;
/// No place is further from UTC than this, in seconds.
const OFFSET_MAX: i64 = 26 * 60 * 60;

/// When a window holds, ready to be asked.
pub(super) enum Schedule {
    /// From one moment to another.
    Once(DateTime<Utc>, DateTime<Utc>),
    /// Again and again.
    Recurring(Box<Recurring>),
    /// What cannot be read holds: no mistake lifts a freeze.
    Unreadable,
}

/// A start and an end that come again and again.
pub(super) struct Recurring {
    start: Cron,
    end: Cron,
    zone: Tz,
}

/// Whether a window holds at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It does.
    Holds {
        /// Since when.
        since: DateTime<Utc>,
        /// Until when; none when that lies too far ahead to be told.
        until: Option<DateTime<Utc>>,
    },
    /// It does not.
    Idle {
        /// Until when at least; none when for good.
        until: Option<DateTime<Utc>>,
        /// Whether it holds then. Otherwise, the search has gone no further.
        starts: bool,
    },
}

impl Schedule {
    /// Reads when a window holds.
    pub(super) fn read(timing: &Timing) -> Self {
        match timing {
            Timing::Once { starts_at, ends_at } => Self::Once(*starts_at, *ends_at),
            Timing::Recurring { start_cron, end_cron, timezone } => {
                match (cron(start_cron), cron(end_cron), zone(timezone)) {
                    (Ok(start), Ok(end), Ok(zone)) => {
                        Self::Recurring(Box::new(Recurring { start, end, zone }))
                    }
                    _ => Self::Unreadable,
                }
            }
        }
    }

    /// Whether it holds at a moment. What it names as `until` is always later than that.
    pub(super) fn at(&self, now: DateTime<Utc>) -> State {
        match self {
            Self::Once(starts_at, _) if now < *starts_at => {
                State::Idle { until: Some(*starts_at), starts: true }
            }
            Self::Once(starts_at, ends_at) if now < *ends_at => {
                State::Holds { since: *starts_at, until: Some(*ends_at) }
            }
            Self::Once(..) => State::Idle { until: None, starts: false },
            Self::Recurring(recurring) => recurring.at(now),
            Self::Unreadable => State::Holds { since: DateTime::UNIX_EPOCH, until: None },
        }
    }
}

/// Parses a cron expression of five fields.
pub(super) fn cron(text: &str) -> Result<Cron, Malformed> {
    let bad = |why: &str| {
        let detail = format!(
            "must be a cron expression of five fields (minute 0-59, hour 0-23, day 1-31, month 1-12, day of the week 0-7 or \
             SUN-SAT; ranges go upwards), such as `0 18 * * FRI`: {why}"
        );
        Malformed::new("invalid-cron", detail)
    };
    if text.len() > CRON_MAX {
        return Err(bad(&format!("it must be at most {CRON_MAX} characters")));
    }
    if let Some(c) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !" \t*,/-#".contains(*c)) {
        return Err(bad(&format!("it must not hold {c:?}")));
    }
    let fields = text.split_whitespace().count();
    if fields != 5 {
        return Err(bad(&format!("it has {fields}")));
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    parser.parse(text).map_err(|error| bad(error.to_string().trim_end_matches('.')))
}

/// Finds a time zone.
pub(super) fn zone(text: &str) -> Result<Tz, Malformed> {
    text.parse().map_err(|_| {
        let detail = "must be a name of the IANA time zone database, such as Europe/Berlin or UTC";
        Malformed::new("unknown-timezone", detail)
    })
}

/// The first time after `from` at which a cron expression fires, on the clocks of one place.
pub(super) fn next(cron: &Cron, from: NaiveDateTime) -> Option<NaiveDateTime> {
    cron.find_next_occurrence(&from.and_utc(), false).ok().map(|at| at.naive_utc())
}

/// The last time up to `from` at which a cron expression fires, on the clocks of one place.
fn last(cron: &Cron, from: NaiveDateTime) -> Option<NaiveDateTime> {
    cron.find_previous_occurrence(&from.and_utc(), true).ok().map(|at| at.naive_utc())
}

impl Recurring {
    fn at(&self, now: DateTime<Utc>) -> State {
        if !YEARS.contains(&now.year()) {
            return State::Idle { until: None, starts: false };
        }
        let shown = self.shown(now);
        let (start, end) = (last(&self.start, shown), last(&self.end, shown));
        // A time that there is, is later than none.
        if start <= end {
            return self.idle(shown);
        }
        let first = end.map_or(start, |end| next(&self.start, end)).or(start);
        let since = first.map_or(now, |first| self.moment(first));
        State::Holds { since, until: next(&self.end, shown).map(|end| self.moment(end)) }
    }

    fn idle(&self, shown: NaiveDateTime) -> State {
        let mut start = shown;
        for _ in 0..EMPTY_MAX {
            let Some(found) = next(&self.start, start) else {
                return State::Idle { until: None, starts: false };
            };
            start = found;
            if !self.comes_to_nothing(start) {
                return State::Idle { until: Some(self.moment(start)), starts: true };
            }
        }
        State::Idle { until: Some(self.moment(start)), starts: false }
    }

    /// Whether what starts at this time has ended at the same moment: the end fires too, or the clocks skip both.
    fn comes_to_nothing(&self, start: NaiveDateTime) -> bool {
        if self.end.is_time_matching(&start.and_utc()).unwrap_or(false) {
            return true;
        }
        let skipped = matches!(self.zone.from_local_datetime(&start), LocalResult::None);
        let end = skipped.then(|| next(&self.end, start)).flatten();
        end.is_some_and(|end| self.moment(end) == self.moment(start))
    }

    /// The latest time that the clocks have shown up to a moment, in whole seconds. While they show an hour for the
    /// second time, that is the end of the hour.
    fn shown(&self, now: DateTime<Utc>) -> NaiveDateTime {
        let now = now.trunc_subsecs(0);
        let local = self.local(now);
        let LocalResult::Ambiguous(first, second) = self.zone.from_local_datetime(&local) else {
            return local;
        };
        if now < second.with_timezone(&Utc) {
            return local;
        }
        // The clocks were put back somewhere between the two moments.
        let put_back = first_second(first.timestamp(), second.timestamp(), |at| {
            utc(at)
                .is_some_and(|at| self.local(at) - at.naive_utc() != first.naive_local() - first.naive_utc())
        });
        let before = put_back.and_then(|at| utc(at - 1));
        before.map_or(local, |before| self.local(before))
    }

    /// The moment that a time on the clocks is.
    fn moment(&self, shown: NaiveDateTime) -> DateTime<Utc> {
        if let Some(at) = self.zone.from_local_datetime(&shown).earliest() {
            return at.with_timezone(&Utc);
        }
        let about = shown.and_utc().timestamp();
        let skipped = first_second(about - OFFSET_MAX, about + OFFSET_MAX, |at| {
            utc(at).is_some_and(|at| self.local(at) >= shown)
        });
        skipped.and_then(utc).unwrap_or_else(|| shown.and_utc())
    }

    fn local(&self, at: DateTime<Utc>) -> NaiveDateTime {
        at.with_timezone(&self.zone).naive_local()
    }
}

fn utc(at: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(at, 0)
}

/// The first second after `before`, up to `after`, from which on something is so; it is not so at `before`.
fn first_second(before: i64, after: i64, is_so: impl Fn(i64) -> bool) -> Option<i64> {
    let (mut before, mut after) = (before, after);
    if !is_so(after) {
        return None;
    }
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        if is_so(middle) { after = middle } else { before = middle }
    }
    Some(after)
}
