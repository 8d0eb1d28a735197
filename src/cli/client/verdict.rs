//! How the gate's answers look: a line for each rule that stands in the way, and one for all that hold.

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde_json::Value;

use super::view::{Check, Decision};
use crate::cli::{
    output::{self, BAD, DIM, GOOD, WARN, plain},
    table::wrapped,
};

/// How much there must be beside a rule for its reason to be wrapped there.
const ROOM_MIN: usize = 24;

/// Every rule that counts: those that fail, do not apply or hold with a reservation, each with its reason, and in a last
/// line those that just hold.
pub fn lines(decision: &Decision) -> Vec<String> {
    let mut lines = table(decision, |check| !just_holds(check) && check.mode != "off");
    let held = decision.checks.iter().filter(|check| just_holds(check));
    let held: Vec<_> = held.map(|check| format!("{GOOD}✓{GOOD:#} {}", plain(&check.rule))).collect();
    if !held.is_empty() {
        lines.push(format!("  {}", held.join("  ")));
    }
    lines
}

/// Whether a rule holds and there is no more to say: where nobody is known to have initiated it, four eyes are not proved,
/// and what is waived is there all the same.
fn just_holds(check: &Check) -> bool {
    let initiator = check.details.get("initiator").and_then(Value::as_str);
    check.outcome == "pass" && initiator != Some("unknown") && check.details.get("waived").is_none()
}

/// The rules that stand in the way.
pub fn denials(decision: &Decision) -> Vec<String> {
    table(decision, Check::denies)
}

/// The rules that fail, whether or not that counts.
pub fn failures(decision: &Decision) -> Vec<String> {
    table(decision, |check| check.outcome == "fail")
}

fn table(decision: &Decision, shown: impl Fn(&Check) -> bool) -> Vec<String> {
    let checks: Vec<_> = decision.checks.iter().filter(|check| shown(check)).collect();
    let widest = |text: fn(&Check) -> &str| {
        checks.iter().map(|check| text(check).chars().count()).max().unwrap_or_default()
    };
    let (rules, codes) = (widest(|check| &check.rule), widest(code));
    checks.iter().map(|check| line(check, decision.evaluated_at, rules, codes)).collect()
}

fn code(check: &Check) -> &str {
    check.code.as_deref().unwrap_or_default()
}

/// A mark, the rule, the code, and why.
fn line(check: &Check, now: Option<DateTime<Utc>>, rules: usize, codes: usize) -> String {
    let (style, mark, note) = match check.outcome.as_str() {
        "fail" if check.denies() => (BAD, "✗", ""),
        "fail" => (WARN, "!", "  (reported only)"),
        "pass" => (GOOD, "✓", ""),
        _ => (DIM, "-", ""),
    };
    let (rule, code, why) = (plain(&check.rule), plain(code(check)), why(check, now));
    let why = beside(rules + codes + 8, &format!("{}{note}", plain(&why)), output::width());
    format!("  {style}{mark}{style:#} {rule:rules$}  {code:codes$}  {why}")
}

/// The text in what is left of the lines of a terminal, unless that is too little.
fn beside(taken: usize, text: &str, width: Option<u16>) -> String {
    match width.map(|width| usize::from(width).saturating_sub(taken)) {
        Some(room) if room >= ROOM_MIN => wrapped(text, room).join(&format!("\n{:taken$}", "")),
        _ => text.to_owned(),
    }
}

/// The message, with the time at which it opens as short as it may be.
fn why(check: &Check, now: Option<DateTime<Utc>>) -> String {
    let message = check.message.clone().unwrap_or_default();
    match (check.retry_at, message.rsplit_once("; opens ")) {
        (Some(at), Some((before, _))) => format!("{before}; opens {}", short(at, now)),
        (_, _) => message,
    }
}

/// A time to come, without the date if that is today's.
pub fn short(at: DateTime<Utc>, now: Option<DateTime<Utc>>) -> String {
    // Whoever comes at the minute shown must not be too early.
    let at = at.duration_round_up(TimeDelta::minutes(1)).unwrap_or(at);
    let today = now.is_some_and(|now| now.date_naive() == at.date_naive());
    at.format(if today { "%H:%M UTC" } else { "%Y-%m-%d %H:%M UTC" }).to_string()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;
    use serde_json::json;

    use super::*;

    fn shown(lines: &[String]) -> Vec<String> {
        lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
    }

    fn decision() -> Decision {
        let value = json!({"evaluated_at": "2026-03-04T14:00:10Z", "checks": [
            {"rule": "concurrency", "mode": "enforce", "outcome": "pass", "code": "pass", "message": "nothing"},
            {"rule": "promotion", "mode": "enforce", "outcome": "fail", "code": "soak-not-met",
             "message": "in staging for 22m of 1h; opens 2026-03-04 14:37:30 UTC", "retry_at": "2026-03-04T14:37:30Z"},
            {"rule": "approval", "mode": "enforce", "outcome": "fail", "code": "approval-missing",
             "message": "1 of 2 (mira); groups: release-managers", "retry_at": null},
            {"rule": "vulnerabilities", "mode": "off", "outcome": "skipped", "code": "off", "message": "not looked at"},
            {"rule": "image", "mode": "enforce", "outcome": "pass", "code": "pass", "message": "by digest"},
            {"rule": "outdated", "mode": "report", "outcome": "fail", "code": "outdated", "message": "older"},
        ]});
        Decision::deserialize(value).unwrap_or_default()
    }

    #[test]
    fn what_stands_in_the_way_comes_first_and_what_holds_last() {
        let expected = [
            "  ✗ promotion  soak-not-met      in staging for 22m of 1h; opens 14:38 UTC",
            "  ✗ approval   approval-missing  1 of 2 (mira); groups: release-managers",
            "  ! outdated   outdated          older  (reported only)",
            "  ✓ concurrency  ✓ image",
        ];
        assert_eq!(shown(&lines(&decision())), expected);
        assert_eq!(shown(&denials(&decision())), expected[..2]);
        assert_eq!(shown(&failures(&decision())).len(), 3);
    }

    #[test]
    fn what_holds_with_a_reservation_says_which() {
        let value = json!({"checks": [
            {"rule": "approval", "mode": "enforce", "outcome": "pass", "code": "pass", "details": {"initiator": "unknown"},
             "message": "1 of 1 (ada); nobody is known to have initiated it"},
            {"rule": "image", "mode": "enforce", "outcome": "pass", "code": "pass", "message": "by digest"},
        ]});
        let decision = Decision::deserialize(value).unwrap_or_default();
        let expected =
            ["  ✓ approval  pass  1 of 1 (ada); nobody is known to have initiated it", "  ✓ image"];
        assert_eq!(shown(&lines(&decision)), expected);
    }

    #[test]
    fn a_time_of_another_day_has_its_date() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().ok();
        let now = at("2026-03-04T23:59:59Z");
        let shown = |text| at(text).map(|time| short(time, now)).unwrap_or_default();
        assert_eq!(shown("2026-03-04T23:30:00Z"), "23:30 UTC");
        assert_eq!(shown("2026-03-04T23:59:30Z"), "2026-03-05 00:00 UTC");
    }
}
