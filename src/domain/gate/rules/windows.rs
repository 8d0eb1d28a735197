//! The rule about freeze windows.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::domain::{
    gate::{
        Check,
        facts::{Facts, Period},
        for_people, time,
    },
    policy::FreezeRule,
    vocabulary::{Kind, Rule},
};

/// Nothing starts while a freeze window keeps the environment shut, but for the kinds that the policy lets through.
pub fn freeze(facts: &Facts, rule: &FreezeRule, now: DateTime<Utc>) -> Check {
    let holds = |period: &&Period| period.starts_at <= now && period.ends_at.is_none_or(|end| end > now);
    let holding: Vec<&Period> = facts.freezes.iter().filter(holds).collect();
    let Some(first) = holding.first() else {
        return Check::pass(Rule::Freeze, "no freeze window holds");
    };
    if rule.exempt_kinds.contains(&facts.kind) && is_what_it_says(facts) {
        return Check::exempt(Rule::Freeze, format!("a freeze window lets a {} through", facts.kind.noun()));
    }
    let opens_at = opens_at(&facts.freezes, now);
    let until = opens_at.map(|at| format!("; opens {}", for_people(at))).unwrap_or_default();
    let others = match holding.len() {
        1 => String::new(),
        several => format!(" and {} more", several - 1),
    };
    // The chain of windows may go on beyond those that hold now; its last link says when it opens.
    let last = facts.freezes.iter().find(|period| period.ends_at == opens_at && !holds(period));
    let then = last.map(|period| format!("; then {}", period.name)).unwrap_or_default();
    let message = format!("{}{others}: {}{then}{until}", first.name, first.reason);
    let window = |period: &&Period| {
        json!({
            "id": period.window_id,
            "name": period.name,
            "reason": period.reason,
            "starts_at": time(period.starts_at),
            "ends_at": period.ends_at.map(time),
        })
    };
    let mut ids: Vec<_> = holding.iter().map(|period| period.window_id).collect();
    ids.sort_unstable();
    Check::fail(Rule::Freeze, "freeze-window", message)
        .about(json!(ids))
        .with_details(json!({ "windows": holding.iter().map(window).collect::<Vec<_>>() }))
        .retry_at(opens_at)
}

/// A rollback counts as one only when it is verified, and a hotfix only from a token that may make them: their names
/// alone would let anything through.
fn is_what_it_says(facts: &Facts) -> bool {
    match facts.kind {
        Kind::Rollback => facts.verified,
        Kind::Hotfix => facts.hotfix,
        Kind::Deploy | Kind::Redeploy | Kind::Remove => true,
    }
}

/// A place that freeze windows keep shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shut {
    /// When it opens; none when that lies too far ahead to be told.
    pub until: Option<DateTime<Utc>>,
}

/// Whether freeze windows keep a place shut at a moment, by the periods in which they hold.
pub fn shut(periods: &[Period], now: DateTime<Utc>) -> Option<Shut> {
    let holds = |period: &Period| period.starts_at <= now && period.ends_at.is_none_or(|end| end > now);
    periods.iter().any(holds).then(|| Shut { until: opens_at(periods, now) })
}

/// When none of the periods that hold now, or begin before those have ended, holds any more.
fn opens_at(periods: &[Period], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut opens = now;
    loop {
        let holding = periods
            .iter()
            .filter(|period| period.starts_at <= opens && period.ends_at.is_none_or(|end| end > opens));
        match holding.map(|period| period.ends_at).reduce(|a, b| a.zip(b).map(|(a, b)| a.max(b))) {
            Some(end) => opens = end?,
            None => return Some(opens),
        }
    }
}
