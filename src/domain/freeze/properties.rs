//! Freeze windows against a simulation that goes from minute to minute and knows nothing of how they are computed.

use chrono::{Datelike as _, NaiveDateTime, TimeDelta, Timelike as _};
use chrono_tz::Tz;
use proptest::prelude::*;

use super::{
    calendar::{Span, calendar},
    tests::{at, recurring, window},
    *,
};

/// Moments around which clocks are changed somewhere, or not at all.
const PLACES: [(&str, &str); 10] = [
    ("Europe/Berlin", "2026-03-29T00:00:00Z"),
    ("Europe/Berlin", "2026-10-25T00:00:00Z"),
    ("America/New_York", "2026-03-08T05:00:00Z"),
    ("America/New_York", "2026-11-01T05:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T14:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T14:00:00Z"),
    ("America/Santiago", "2026-09-06T02:00:00Z"),
    ("Europe/Dublin", "2026-10-25T00:00:00Z"),
    ("Asia/Kathmandu", "2026-06-01T00:00:00Z"),
    ("UTC", "2026-02-28T22:00:00Z"),
];

/// How many days are looked at, half of them before the moment.
const DAYS: i64 = 3;
/// Within so many days everything fires once.
const RUN_UP: i64 = 9;

/// When something fires: at these minutes of these hours on these days of the week.
#[derive(Clone, Debug)]
struct Firing {
    minutes: Vec<u32>,
    hours: Vec<u32>,
    days: Vec<u32>,
    text: String,
}

impl Firing {
    fn at(&self, shown: NaiveDateTime) -> bool {
        self.minutes.contains(&shown.minute())
            && self.hours.contains(&shown.hour())
            && self.days.contains(&shown.weekday().num_days_from_sunday())
    }
}

fn field(count: u32, early: u32) -> impl Strategy<Value = (Vec<u32>, String)> {
    let list = |values: Vec<u32>| {
        let text: Vec<_> = values.iter().map(ToString::to_string).collect();
        (values, text.join(","))
    };
    // The small hours are those in which clocks are changed.
    let one = prop_oneof![0..early, 0..count];
    prop_oneof![
        4 => proptest::collection::vec(one, 1..=2).prop_map(list),
        1 => Just(((0..count).collect(), "*".to_owned())),
        1 => (2..=count / 2).prop_map(move |step| {
            ((0..count).filter(|value| value % step == 0).collect(), format!("*/{step}"))
        }),
    ]
}

fn firing() -> impl Strategy<Value = Firing> {
    (field(60, 60), field(24, 5), field(7, 7)).prop_map(|((minutes, minute), (hours, hour), (days, day))| {
        Firing { minutes, hours, days, text: format!("{minute} {hour} * * {day}") }
    })
}

/// For each minute, whether a window holds.
fn simulated(start: &Firing, end: &Firing, zone: Tz, from: DateTime<Utc>) -> Vec<bool> {
    let shown = |at: DateTime<Utc>| at.with_timezone(&zone).naive_local();
    let minute = TimeDelta::minutes(1);
    let begin = from - TimeDelta::days(RUN_UP);
    let mut latest = shown(begin) - minute;
    let mut holds = false;
    let mut seen = Vec::new();
    for step in 0..(RUN_UP + DAYS) * 24 * 60 {
        let at = begin + minute * i32::try_from(step).unwrap();
        while latest < shown(at) {
            latest += minute;
            holds = !end.at(latest) && (holds || start.at(latest));
        }
        if at >= from {
            seen.push(holds);
        }
    }
    seen
}

fn timing(start: &Firing, end: &Firing, zone: &str) -> Timing {
    recurring(&start.text, &end.text, zone)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn windows_hold_when_the_simulation_says_so(
        schedules in proptest::collection::vec((firing(), firing()), 1..4),
        place in 0..PLACES.len(),
        minutes in proptest::collection::vec(0..DAYS * 24 * 60, 20),
    ) {
        let (name, moment) = PLACES[place];
        let zone: Tz = name.parse().unwrap();
        let from = at(moment) - TimeDelta::days(1);
        let within = Span { starts_at: from, ends_at: from + TimeDelta::days(DAYS) };
        let windows: Vec<_> = schedules.iter().map(|(start, end)| window(timing(start, end, name))).collect();
        let each: Vec<_> = schedules.iter().map(|(start, end)| simulated(start, end, zone, from)).collect();
        let any: Vec<bool> = (0..each[0].len()).map(|n| each.iter().any(|holds| holds[n])).collect();

        let found = calendar(&windows, within).unwrap();
        for pair in found.windows(2) {
            prop_assert!(pair[0].span.ends_at < pair[1].span.starts_at, "{found:?}");
        }
        let mut covered = vec![false; any.len()];
        for interval in &found {
            prop_assert!(interval.span.starts_at < interval.span.ends_at);
            let index = |at: DateTime<Utc>| usize::try_from((at - from).num_minutes()).unwrap();
            covered[index(interval.span.starts_at)..index(interval.span.ends_at)].fill(true);
        }
        prop_assert_eq!(&covered, &any);

        for minute in minutes {
            let now = from + TimeDelta::minutes(minute) + TimeDelta::milliseconds(1500);
            let minute = usize::try_from(minute).unwrap();
            let found = periods(&windows, now);
            let holding = found.iter().filter(|period| period.starts_at <= now).count();
            prop_assert_eq!(holding, each.iter().filter(|holds| holds[minute]).count());
            prop_assert!(found.iter().all(|period| period.ends_at.is_none_or(|end| end > now)));
            let open = any[minute..].iter().position(|holds| !holds);
            let end = found.iter().map(|period| period.ends_at).reduce(|a, b| a.zip(b).map(|(a, b)| a.max(b)));
            if let (Some(open), Some(Some(end))) = (open, end) {
                prop_assert_eq!(end, from + TimeDelta::minutes(i64::try_from(minute + open).unwrap()));
            }
        }
    }

    #[test]
    fn an_outlook_stays_the_same_as_long_as_it_says(
        schedules in proptest::collection::vec((firing(), firing()), 1..4),
        place in 0..PLACES.len(),
        part in 0.0..1.0,
    ) {
        let (name, moment) = PLACES[place];
        let now = at(moment);
        let windows: Vec<_> = schedules.iter().map(|(start, end)| window(timing(start, end, name))).collect();
        let found = outlook(&windows, now);
        if let Some(until) = found.until {
            prop_assert!(until > now);
            #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "some moment of it")]
            let later = now + TimeDelta::microseconds(((until - now).num_microseconds().unwrap() as f64 * part) as i64);
            let again = outlook(&windows, later);
            prop_assert_eq!(&again.spells, &found.spells, "{}", later);
            // Where a search gave up, one that begins later may get further.
            prop_assert!(again.until.is_none_or(|again| again >= until));
        }
    }

    #[test]
    fn no_text_is_too_odd(start in "\\PC{0,20}", end in "[0-9*/,#LW -]{1,14}", zone in "[A-Za-z_/]{0,12}", seconds in any::<i32>()) {
        let now = DateTime::from_timestamp(i64::from(seconds) * 40, 0).unwrap();
        for timing in [recurring(&start, &end, &zone), recurring(&end, "0 0 * * *", "Europe/Berlin")] {
            let found = standing(&timing, now);
            prop_assert!(found.next_starts_at.is_none_or(|next| next > now));
        }
    }
}
