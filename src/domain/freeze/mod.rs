//! Freeze windows: stretches of time in which nothing starts, declared once or by a recurring schedule.
//!
//! Everything here is decided for one moment that is handed in, and has an answer for every moment.

pub mod calendar;
pub mod draft;
#[cfg(test)]
mod properties;
mod schedule;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::schedule::CRON_MAX;
use self::schedule::{Schedule, State};
use crate::domain::{declared::Declared, gate::facts::Period, scope::Narrowing, vocabulary::Tier};

/// The most freeze windows that a ledger has.
pub const WINDOWS_MAX: i64 = 1000;

/// How many times in a row a freeze that goes over into another is followed: beyond that, nobody is told when it ends.
const CHAIN_MAX: usize = 100;

/// How often in a row the search for the next start may end where the search gave up.
const TRIES_MAX: usize = 5;

/// A freeze window as it is on record.
pub type FreezeWindow = Declared<Definition>;

/// What people say about a freeze window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Definition {
    pub name: String,
    /// Why it is there.
    pub reason: String,
    /// Where it counts.
    #[serde(flatten)]
    pub covers: Covers,
    /// The only services that it counts for; every one where none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<BTreeSet<String>>,
    /// When it holds.
    #[serde(flatten)]
    pub timing: Timing,
}

/// What the gate reads of a freeze window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub id: Uuid,
    pub name: String,
    /// Why it is there.
    pub reason: String,
    /// The only services that it counts for; every one where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<BTreeSet<String>>,
    /// When it holds.
    pub timing: Timing,
}

impl Window {
    /// Whether it counts for a service.
    pub fn is_for(&self, service: &str) -> bool {
        self.services.as_ref().is_none_or(|names| names.contains(service))
    }
}

/// Where a freeze window counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Covers {
    /// In the environments of these names.
    Environments(BTreeSet<String>),
    /// In every environment of these tiers.
    Tiers(BTreeSet<Tier>),
}

impl Covers {
    /// The environments that it names; none where it is about all of some tiers.
    pub fn environments(&self) -> Option<&BTreeSet<String>> {
        match self {
            Self::Environments(names) => Some(names),
            Self::Tiers(_) => None,
        }
    }
}

/// When a freeze window holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Timing {
    /// From one moment to another, once.
    Once {
        /// When it begins.
        starts_at: DateTime<Utc>,
        /// When it ends.
        ends_at: DateTime<Utc>,
    },
    /// Again and again: it holds when its last start is later than its last end, as the clocks of its time zone show
    /// them. A time that they show twice counts the first time; one that they skip counts when they skip it.
    Recurring {
        /// When it begins, as a cron expression.
        start_cron: String,
        /// When it ends, as a cron expression.
        end_cron: String,
        /// Where those are read: a name of the IANA time zone database.
        timezone: String,
    },
}

impl FreezeWindow {
    /// What the gate reads of it.
    pub fn window(&self) -> Window {
        let Definition { name, reason, services, timing, .. } = self.definition.clone();
        Window { id: self.id, name, reason, services, timing }
    }
}

impl Definition {
    /// What of it may be seen within a narrowing.
    #[must_use]
    pub fn within(mut self, narrowing: &Narrowing) -> Self {
        self.covers = self.covers.within(narrowing);
        if let Some(names) = &mut self.services {
            names.retain(|name| narrowing.allows_service(name));
        }
        self
    }
}

impl Covers {
    /// Whether it counts in an environment.
    pub fn includes(&self, environment: &str, tier: Tier) -> bool {
        match self {
            Self::Environments(names) => names.contains(environment),
            Self::Tiers(tiers) => tiers.contains(&tier),
        }
    }

    /// What of it may be seen within a narrowing.
    #[must_use]
    pub fn within(mut self, narrowing: &Narrowing) -> Self {
        if let Self::Environments(names) = &mut self {
            names.retain(|name| narrowing.allows_environment(name));
        }
        self
    }
}

/// One unbroken stretch in which a window holds, start inclusive, end exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spell {
    /// Which of the windows it is.
    pub window: usize,
    /// When it begins.
    pub starts_at: DateTime<Utc>,
    /// When it ends; none when that lies too far ahead to be told.
    pub ends_at: Option<DateTime<Utc>>,
}

/// The spells that [`periods`] names, and how long they stay the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    pub spells: Vec<Spell>,
    /// Until when they are the same for every moment from the one that was asked for; none when for good.
    pub until: Option<DateTime<Utc>>,
}

/// The periods in which windows hold: those that hold now, and after them one for each link of the chain that goes on
/// where these end, the longest there is. Empty when none holds now.
pub fn periods(windows: &[Window], now: DateTime<Utc>) -> Vec<Period> {
    named(windows, &outlook(windows, now).spells)
}

/// Looks at all windows at one moment.
pub fn outlook(windows: &[Window], now: DateTime<Utc>) -> Outlook {
    let schedules: Vec<_> = windows.iter().map(|window| Schedule::read(&window.timing)).collect();
    let states: Vec<_> = schedules.iter().map(|schedule| schedule.at(now)).collect();
    let until = states.iter().filter_map(|state| match state {
        State::Holds { until, .. } | State::Idle { until, .. } => *until,
    });
    let until = until.min();
    let mut spells = holding(&states);
    let mut last = latest(&spells);
    for step in 1..=CHAIN_MAX {
        let Some(at) = last.and_then(|last| last.ends_at) else { break };
        let states: Vec<_> = schedules.iter().map(|schedule| schedule.at(at)).collect();
        last = latest(&holding(&states));
        if let Some(link) = &mut last {
            link.ends_at = link.ends_at.filter(|_| step < CHAIN_MAX);
            spells.push(*link);
        }
    }
    Outlook { spells, until }
}

fn holding(states: &[State]) -> Vec<Spell> {
    let spell = |(window, state): (usize, &State)| match *state {
        State::Holds { since, until } => Some(Spell { window, starts_at: since, ends_at: until }),
        State::Idle { .. } => None,
    };
    states.iter().enumerate().filter_map(spell).collect()
}

/// The one that ends last.
fn latest(spells: &[Spell]) -> Option<Spell> {
    spells.iter().copied().max_by_key(|spell| (spell.ends_at.is_none(), spell.ends_at))
}

/// The periods that spells of these windows are.
pub fn named(windows: &[Window], spells: &[Spell]) -> Vec<Period> {
    let period = |spell: &Spell| {
        windows.get(spell.window).map(|window| Period {
            window_id: window.id,
            name: window.name.clone(),
            reason: window.reason.clone(),
            starts_at: spell.starts_at,
            ends_at: spell.ends_at,
        })
    };
    spells.iter().filter_map(period).collect()
}

/// How a window stands at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether it holds.
    pub active: bool,
    /// When it ends, where it holds and that can be told.
    pub opens_at: Option<DateTime<Utc>>,
    /// When it begins the next time, where it does and that can be told.
    pub next_starts_at: Option<DateTime<Utc>>,
}

/// How a window stands at one moment.
pub fn standing(timing: &Timing, now: DateTime<Utc>) -> Standing {
    let schedule = Schedule::read(timing);
    match schedule.at(now) {
        State::Holds { until, .. } => {
            let next_starts_at = until.and_then(|end| next_start(&schedule, end));
            Standing { active: true, opens_at: until, next_starts_at }
        }
        State::Idle { .. } => {
            Standing { active: false, opens_at: None, next_starts_at: next_start(&schedule, now) }
        }
    }
}

/// When a window that does not hold begins the next time.
fn next_start(schedule: &Schedule, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut at = from;
    for _ in 0..TRIES_MAX {
        match schedule.at(at) {
            State::Holds { since, .. } => return Some(since),
            State::Idle { until, starts: true } => return until,
            State::Idle { until, starts: false } => at = until?,
        }
    }
    None
}
