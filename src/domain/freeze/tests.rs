//! The traps of freeze windows, one by one.

use chrono::TimeDelta;

use super::{
    calendar::{Span, calendar},
    draft::Draft,
    *,
};
use crate::domain::places::Known;

pub(super) fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub(super) fn recurring(start: &str, end: &str, zone: &str) -> Timing {
    Timing::Recurring { start_cron: start.to_owned(), end_cron: end.to_owned(), timezone: zone.to_owned() }
}

fn once(from: &str, until: &str) -> Timing {
    Timing::Once { starts_at: at(from), ends_at: at(until) }
}

pub(super) fn window(timing: Timing) -> Window {
    Window { id: Uuid::nil(), name: "name".to_owned(), reason: "reason".to_owned(), services: None, timing }
}

/// From when to when a window holds that holds at this moment.
fn spell(timing: &Timing, now: &str) -> Option<(String, String)> {
    let found = periods(&[window(timing.clone())], at(now));
    let text = |at: DateTime<Utc>| at.format("%m-%dT%H:%M").to_string();
    found.first().map(|first| (text(first.starts_at), first.ends_at.map(text).unwrap_or_default()))
}

#[track_caller]
fn assert_spell(timing: &Timing, now: &str, from: &str, until: &str) {
    assert_eq!(spell(timing, now), Some((from.to_owned(), until.to_owned())), "at {now}");
}

#[track_caller]
fn assert_open(timing: &Timing, now: &str) {
    assert_eq!(spell(timing, now), None, "at {now}");
}

#[test]
fn the_start_belongs_to_a_window_and_the_end_does_not() {
    let weekend = recurring("0 18 * * FRI", "0 8 * * MON", "UTC");
    for timing in [weekend, once("2026-11-20T18:00:00Z", "2026-11-23T08:00:00Z")] {
        assert_open(&timing, "2026-11-20T17:59:59.999999Z");
        assert_spell(&timing, "2026-11-20T18:00:00Z", "11-20T18:00", "11-23T08:00");
        assert_spell(&timing, "2026-11-23T07:59:59.999999Z", "11-20T18:00", "11-23T08:00");
        assert_open(&timing, "2026-11-23T08:00:00Z");
    }
}

#[test]
fn a_start_that_fires_again_and_again_before_the_end_is_one_start() {
    let evening = recurring("* 23 * * 5", "0 1 * * 6", "UTC");
    for now in ["2026-11-20T23:00:00Z", "2026-11-20T23:30:30Z", "2026-11-21T00:59:59Z"] {
        assert_spell(&evening, now, "11-20T23:00", "11-21T01:00");
    }
    assert_open(&evening, "2026-11-20T22:59:59Z");
    assert_open(&evening, "2026-11-21T01:00:00Z");
}

#[test]
fn where_the_end_fires_again_and_again_the_first_counts() {
    let night = recurring("0 22 * * *", "*/10 6-8 * * *", "UTC");
    assert_spell(&night, "2026-11-21T05:00:00Z", "11-20T22:00", "11-21T06:00");
    assert_open(&night, "2026-11-21T07:05:00Z");
}

#[test]
fn windows_are_read_in_their_own_time_zone() {
    let night = |zone| recurring("0 22 * * *", "0 6 * * *", zone);
    assert_spell(&night("Asia/Tokyo"), "2026-11-20T14:00:00Z", "11-20T13:00", "11-20T21:00");
    assert_spell(&night("America/New_York"), "2026-11-20T04:00:00Z", "11-20T03:00", "11-20T11:00");
    assert_spell(&night("Asia/Kathmandu"), "2026-11-20T17:00:00Z", "11-20T16:15", "11-21T00:15");
}

#[test]
fn a_time_that_the_clocks_skip_counts_when_they_skip_it() {
    // Berlin: 02:00 becomes 03:00 at 01:00 UTC.
    let until_half_past = recurring("0 22 * * *", "30 2 * * *", "Europe/Berlin");
    assert_spell(&until_half_past, "2026-03-29T00:30:00Z", "03-28T21:00", "03-29T01:00");
    assert_open(&until_half_past, "2026-03-29T01:00:00Z");
    let from_half_past = recurring("30 2 * * *", "0 5 * * *", "Europe/Berlin");
    assert_open(&from_half_past, "2026-03-29T00:59:59Z");
    assert_spell(&from_half_past, "2026-03-29T01:00:00Z", "03-29T01:00", "03-29T03:00");
    // New York: 02:00 becomes 03:00 at 07:00 UTC.
    let in_new_york = recurring("30 2 * * *", "0 5 * * *", "America/New_York");
    assert_open(&in_new_york, "2026-03-08T06:59:59Z");
    assert_spell(&in_new_york, "2026-03-08T07:00:00Z", "03-08T07:00", "03-08T09:00");
    // Lord Howe: 02:00 becomes 02:30 at 15:30 UTC of the day before.
    let lord_howe = recurring("15 2 * * *", "0 3 * * *", "Australia/Lord_Howe");
    assert_open(&lord_howe, "2026-10-03T15:29:59Z");
    assert_spell(&lord_howe, "2026-10-03T15:30:00Z", "10-03T15:30", "10-03T16:00");
    // Santiago: midnight becomes 01:00 at 04:00 UTC.
    let day = recurring("0 0 * * SUN", "0 0 * * MON", "America/Santiago");
    assert_spell(&day, "2026-09-06T10:00:00Z", "09-06T04:00", "09-07T03:00");
}

#[test]
fn what_the_clocks_skip_whole_does_not_hold_and_does_not_turn_a_window_inside_out() {
    let skipped = recurring("15 2 * * *", "45 2 * * *", "Europe/Berlin");
    assert_open(&skipped, "2026-03-29T01:00:00Z");
    let standing = standing(&skipped, at("2026-03-28T12:00:00Z"));
    assert_eq!(standing.next_starts_at, Some(at("2026-03-30T00:15:00Z")), "not the day that skips it");
    // Both fall on the same moment; the start is still the later one.
    let all_but = recurring("45 2 * * *", "15 2 * * *", "Europe/Berlin");
    assert_spell(&all_but, "2026-03-29T01:00:00Z", "03-29T01:00", "03-30T00:15");
    // A list of times is no different from a single one.
    let twice = recurring("0 1,13 * * *", "30 2,14 * * *", "Europe/Berlin");
    assert_open(&twice, "2026-03-29T01:00:00Z");
    assert_open(&twice, "2026-03-29T05:00:00Z");
}

#[test]
fn a_time_that_the_clocks_show_twice_counts_the_first_time() {
    // Berlin: 03:00 becomes 02:00 at 01:00 UTC.
    let until_half_past = recurring("0 22 * * *", "30 2 * * *", "Europe/Berlin");
    assert_spell(&until_half_past, "2026-10-25T00:29:59Z", "10-24T20:00", "10-25T00:30");
    for open in
        ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:15:00Z", "2026-10-25T01:45:00Z"]
    {
        assert_open(&until_half_past, open);
    }
    let from_half_past = recurring("30 2 * * *", "0 5 * * *", "Europe/Berlin");
    assert_open(&from_half_past, "2026-10-25T00:29:59Z");
    for now in
        ["2026-10-25T00:30:00Z", "2026-10-25T01:10:00Z", "2026-10-25T01:59:59Z", "2026-10-25T02:30:00Z"]
    {
        assert_spell(&from_half_past, now, "10-25T00:30", "10-25T04:00");
    }
    // New York: 02:00 becomes 01:00 at 06:00 UTC.
    let in_new_york = recurring("30 1 * * *", "0 2 * * *", "America/New_York");
    assert_open(&in_new_york, "2026-11-01T05:29:59Z");
    for now in ["2026-11-01T05:30:00Z", "2026-11-01T06:05:00Z", "2026-11-01T06:59:59Z"] {
        assert_spell(&in_new_york, now, "11-01T05:30", "11-01T07:00");
    }
    // Lord Howe: 02:00 becomes 01:30 at 15:00 UTC of the day before.
    let lord_howe = recurring("45 1 * * *", "0 2 * * *", "Australia/Lord_Howe");
    assert_open(&lord_howe, "2026-04-04T14:44:59Z");
    for now in ["2026-04-04T14:45:00Z", "2026-04-04T15:00:00Z", "2026-04-04T15:29:59Z"] {
        assert_spell(&lord_howe, now, "04-04T14:45", "04-04T15:30");
    }
    assert_open(&lord_howe, "2026-04-04T15:30:00Z");
}

#[test]
fn rare_windows_hold_when_their_time_comes() {
    let christmas = recurring("0 0 24 12 *", "0 0 27 12 *", "Europe/Berlin");
    assert_open(&christmas, "2026-12-23T22:59:59Z");
    assert_spell(&christmas, "2026-12-25T12:00:00Z", "12-23T23:00", "12-26T23:00");
    assert_open(&christmas, "2026-12-26T23:00:00Z");
    let turn = recurring("0 0 30 12 *", "0 0 2 1 *", "UTC");
    assert_spell(&turn, "2027-01-01T00:00:00Z", "12-30T00:00", "01-02T00:00");
    let leap_day = recurring("0 0 29 2 *", "0 0 1 3 *", "UTC");
    assert_spell(&leap_day, "2028-02-29T12:00:00Z", "02-29T00:00", "03-01T00:00");
    assert_open(&leap_day, "2027-02-28T12:00:00Z");
    let next = standing(&leap_day, at("2097-01-01T00:00:00Z")).next_starts_at;
    assert_eq!(next, Some(at("2104-02-29T00:00:00Z")), "2100 has none");
    let last_friday = recurring("0 0 * * FRI#L", "0 0 * * SAT", "UTC");
    assert_spell(&last_friday, "2026-11-27T12:00:00Z", "11-27T00:00", "11-28T00:00");
    assert_open(&last_friday, "2026-11-20T12:00:00Z");
}

#[test]
fn an_end_at_the_moment_of_a_start_wins() {
    // At midnight both fire: the day begins an hour later.
    let timing = recurring("0 * * * *", "0 0 * * *", "UTC");
    assert_open(&timing, "2026-11-20T00:30:00Z");
    assert_spell(&timing, "2026-11-20T12:00:00Z", "11-20T01:00", "11-21T00:00");
    let next = standing(&timing, at("2026-11-20T12:00:00Z")).next_starts_at;
    assert_eq!(next, Some(at("2026-11-21T01:00:00Z")));
}

fn ends(windows: &[Timing], now: &str) -> Vec<Option<DateTime<Utc>>> {
    let windows: Vec<_> = windows.iter().cloned().map(window).collect();
    periods(&windows, at(now)).iter().map(|period| period.ends_at).collect()
}

#[test]
fn windows_that_go_over_into_one_another_are_followed() {
    let night = recurring("0 18 * * *", "0 8 * * *", "UTC");
    let weekend = recurring("0 8 * * SAT", "0 18 * * SUN", "UTC");
    let release = once("2026-11-23T07:00:00Z", "2026-11-23T12:00:00Z");
    let far = once("2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z");
    let all = [night, weekend, release, far];
    let end = |text| Some(at(text));
    // Friday night touches the weekend, that Sunday night, and that overlaps with the release.
    assert_eq!(
        ends(&all, "2026-11-20T20:00:00Z"),
        [
            end("2026-11-21T08:00:00Z"),
            end("2026-11-22T18:00:00Z"),
            end("2026-11-23T08:00:00Z"),
            end("2026-11-23T12:00:00Z"),
        ]
    );
    assert_eq!(ends(&all, "2026-11-23T12:00:00Z"), []);
}

#[test]
fn a_chain_that_does_not_end_is_not_told_an_end() {
    let night = recurring("0 18 * * *", "0 8 * * *", "UTC");
    let day = recurring("0 8 * * *", "0 18 * * *", "UTC");
    let ends = ends(&[night, day], "2026-11-20T20:00:00Z");
    assert_eq!(ends.len(), CHAIN_MAX + 1);
    assert_eq!(ends.last(), Some(&None));
    assert!(ends.iter().rev().skip(1).all(Option::is_some));
}

#[test]
fn the_calendar_merges_what_overlaps_and_what_touches() {
    let windows = [
        once("2026-11-01T00:00:00Z", "2026-11-03T00:00:00Z"),
        once("2026-11-02T00:00:00Z", "2026-11-04T00:00:00Z"),
        once("2026-11-04T00:00:00Z", "2026-11-05T00:00:00Z"),
        recurring("0 0 10,20 11 *", "0 0 11,21 11 *", "UTC"),
    ];
    let windows: Vec<_> = windows.into_iter().map(window).collect();
    let within = Span { starts_at: at("2026-11-01T12:00:00Z"), ends_at: at("2026-11-20T12:00:00Z") };
    let found = calendar(&windows, within).unwrap();
    let shown: Vec<_> = found
        .iter()
        .map(|interval| {
            (interval.span.starts_at, interval.span.ends_at, interval.windows.iter().copied().collect())
        })
        .collect();
    assert_eq!(
        shown,
        [
            (within.starts_at, at("2026-11-05T00:00:00Z"), vec![0, 1, 2]),
            (at("2026-11-10T00:00:00Z"), at("2026-11-11T00:00:00Z"), vec![3]),
            (at("2026-11-20T00:00:00Z"), within.ends_at, vec![3]),
        ]
    );
    let nothing = Span { starts_at: within.ends_at, ends_at: within.starts_at };
    assert_eq!(calendar(&windows, nothing), Ok(Vec::new()));
}

#[test]
fn a_calendar_of_too_many_changes_is_refused() {
    let busy = window(recurring("*/2 * * * *", "1-59/2 * * * *", "UTC"));
    let within = Span { starts_at: at("2026-01-01T00:00:00Z"), ends_at: at("2027-01-01T00:00:00Z") };
    assert_eq!(calendar(&[busy], within), Err(calendar::TooMany));
}

#[test]
fn there_is_an_answer_for_every_moment() {
    let timings = [
        recurring("0 18 * * *", "0 8 * * *", "Europe/Berlin"),
        recurring("0 0 29 2 *", "0 0 1 3 *", "Pacific/Apia"),
        recurring("* * * * *", "0 0 30 2 *", "UTC"),
        recurring("0 0 30 2 *", "* * * * *", "UTC"),
    ];
    for now in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC, at("0000-01-01T00:00:00Z")] {
        for timing in &timings {
            assert_eq!(spell(timing, &now.to_rfc3339()).map(|_| ()), None, "{now}");
        }
    }
    for now in
        ["0002-01-01T00:00:00Z", "1582-10-10T00:00:00Z", "2011-12-30T12:00:00Z", "4998-12-31T23:59:59Z"]
    {
        for timing in &timings {
            let found = standing(timing, at(now));
            assert!(found.opens_at.is_none_or(|end| end > at(now)), "{now}");
            assert!(found.next_starts_at.is_none_or(|next| next > at(now)), "{now}");
        }
    }
}

#[test]
fn what_cannot_be_read_holds() {
    let broken = recurring("0 18 * *", "0 8 * * *", "UTC");
    assert_eq!(ends(&[broken], "2026-11-20T12:00:00Z"), [None]);
    let nowhere = recurring("0 18 * * *", "0 8 * * *", "Middle/Earth");
    assert!(standing(&nowhere, at("2026-11-20T12:00:00Z")).active);
}

fn faults(draft: &Draft) -> Vec<(String, &'static str)> {
    let known = Known { environments: BTreeSet::from(["prod".to_owned()]), ..Known::default() };
    let faults = match draft.parse(&known, None, at("2026-11-20T12:00:00Z")) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.into_vec(),
    };
    faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect()
}

fn good() -> Draft {
    Draft {
        name: "weekend".to_owned(),
        reason: "nobody is here".to_owned(),
        environments: Some(vec!["prod".to_owned()]),
        start_cron: Some("0 18 * * FRI".to_owned()),
        end_cron: Some("0 8 * * MON".to_owned()),
        timezone: Some("Europe/Berlin".to_owned()),
        ..Draft::default()
    }
}

fn good_once() -> Draft {
    let (start_cron, end_cron, timezone) = (None, None, None);
    let (starts_at, ends_at) = (Some(at("2026-11-20T00:00:00Z")), Some(at("2026-11-21T00:00:00Z")));
    Draft { starts_at, ends_at, start_cron, end_cron, timezone, ..good() }
}

#[test]
fn what_is_right_is_taken_as_it_is() {
    for draft in [good(), good_once()] {
        assert_eq!(faults(&draft), []);
        let known = Known { environments: BTreeSet::from(["prod".to_owned()]), ..Known::default() };
        let definition = draft.parse(&known, None, at("2026-11-20T12:00:00Z")).unwrap();
        assert_eq!(Draft::from(&definition), draft);
    }
    let tiers = Draft { environments: None, tiers: Some(vec![Tier::Production]), ..good() };
    assert_eq!(faults(&tiers), []);
}

#[test]
fn every_fault_is_named() {
    let fault = |pointer: &str, code| (pointer.to_owned(), code);
    let nothing = faults(&Draft::default());
    assert_eq!(
        nothing,
        [
            fault("/name", "empty"),
            fault("/reason", "empty"),
            fault("/environments", "required"),
            fault("/starts_at", "required"),
        ]
    );
    let wrong = Draft {
        name: "x".repeat(201),
        environments: Some(vec!["prod".to_owned(), "Prod".to_owned(), "qa".to_owned()]),
        start_cron: Some("0 25 * * *".to_owned()),
        end_cron: Some("daily".to_owned()),
        timezone: Some("Berlin".to_owned()),
        ..good()
    };
    assert_eq!(
        faults(&wrong),
        [
            fault("/name", "too-long"),
            fault("/environments/1", "invalid-name"),
            fault("/environments/2", "unknown"),
            fault("/start_cron", "invalid-cron"),
            fault("/end_cron", "invalid-cron"),
            fault("/timezone", "unknown-timezone"),
        ]
    );
    let half = Draft { end_cron: None, timezone: None, ..good() };
    assert_eq!(faults(&half), [fault("/end_cron", "required"), fault("/timezone", "required")]);
    let empty = Draft { environments: Some(Vec::new()), ..good() };
    assert_eq!(faults(&empty), [fault("/environments", "empty")]);
    let many = Draft { environments: Some(vec!["prod".to_owned(); 101]), ..good() };
    assert_eq!(faults(&many), [fault("/environments", "too-many")]);
    let both =
        Draft { tiers: Some(vec![Tier::Production]), ends_at: Some(at("2027-01-01T00:00:00Z")), ..good() };
    assert_eq!(faults(&both), [fault("/tiers", "conflicting"), fault("/start_cron", "conflicting")]);
    let endless = Draft { ends_at: None, ..good_once() };
    assert_eq!(faults(&endless), [fault("/ends_at", "required")]);
    let backwards = Draft { ends_at: good_once().starts_at, ..good_once() };
    assert_eq!(faults(&backwards), [fault("/ends_at", "before-start")]);
    let over = Draft { ends_at: Some(at("2026-11-20T12:00:00Z")), ..good_once() };
    assert_eq!(faults(&over), [fault("/ends_at", "past")]);
}

#[test]
fn a_window_that_is_over_can_still_be_renamed() {
    let before = once("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    let Timing::Once { starts_at, ends_at } = &before else { panic!("it is") };
    let draft = Draft { starts_at: Some(*starts_at), ends_at: Some(*ends_at), ..good_once() };
    let known = Known { environments: BTreeSet::from(["prod".to_owned()]), ..Known::default() };
    assert!(draft.parse(&known, Some(&before), at("2026-11-20T12:00:00Z")).is_ok());
    let moved = Draft { ends_at: Some(*ends_at + TimeDelta::hours(1)), ..draft };
    assert!(moved.parse(&known, Some(&before), at("2026-11-20T12:00:00Z")).is_err());
}

#[test]
fn schedules_that_come_to_nothing_are_refused() {
    let fault = |pointer: &str, code| vec![(pointer.to_owned(), code)];
    let cron = |start: &str, end: &str| {
        faults(&Draft { start_cron: Some(start.to_owned()), end_cron: Some(end.to_owned()), ..good() })
    };
    assert_eq!(cron("0 0 30 2 *", "0 0 1 3 *"), fault("/start_cron", "never-starts"));
    assert_eq!(cron("0 0 1 2 *", "0 0 31 4,6 *"), fault("/end_cron", "never-ends"));
    assert_eq!(cron("0 18 * * 5", "0 18 * * 5"), fault("/end_cron", "never-holds"));
    assert_eq!(cron("0 18 * * 5", "* * * * *"), fault("/end_cron", "never-holds"));
    assert_eq!(cron("0 0 29 2 *", "0 0 1 3 *"), []);
}

#[test]
fn cron_expressions_have_five_fields_and_nothing_unusual() {
    for good in ["0 18 * * FRI", "*/5 8-18 1,15 jan-mar *", "0 0 L * *", "0 9 * * 1#1", "\t0  0 * * 7 "] {
        assert!(schedule::cron(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "* * * *",
        "* * * * * *",
        "@daily",
        "60 * * * *",
        "* * * * 8",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "*/0 * * * *",
        "5-1 * * * *",
        "0 0 * * +1",
        "? * * * *",
        "0 0 * * FOO",
        "\u{0}",
        "0 0 * * \u{e9}",
        "1/5 * * * *",
        "99999999999999999999 * * * *",
        &"0 ".repeat(200),
        "0 0\u{a0}* * *",
        "0,,1 * * * * ,",
    ] {
        let fault = schedule::cron(bad).map(|_| ()).unwrap_err();
        assert_eq!(fault.code, "invalid-cron", "{bad}");
    }
}
