//! Remembers the freeze windows of environments and what they come to: the gate asks for the same again and again, and
//! reading them and working cron expressions out each time would be most of its work.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{
    environment::Environment,
    freeze::{Outlook, Window, named, outlook},
    gate::facts::Period,
    vocabulary::Tier,
};

/// How many windows are remembered, over all environments. Each takes ten kilobytes at most.
const WINDOWS_MAX: usize = 5_000;

/// Remembers for each environment the windows that concern it. It need not be told when they change: the environment, as
/// it is read for each decision, says which windows it means ([`Environment::freezes`]).
#[derive(Debug, Default)]
pub struct FreezeMemo(Mutex<HashMap<Uuid, Known>>);

#[derive(Debug)]
struct Known {
    freezes: Option<Uuid>,
    tier: Tier,
    windows: Vec<Window>,
    from: DateTime<Utc>,
    outlook: Outlook,
}

impl Known {
    fn look(environment: &Environment, windows: Vec<Window>, from: DateTime<Utc>) -> Self {
        let outlook = outlook(&windows, from);
        Self { freezes: environment.freezes, tier: environment.settings.tier, windows, from, outlook }
    }

    fn holds(&self, now: DateTime<Utc>) -> bool {
        self.from <= now && self.outlook.until.is_none_or(|until| now < until)
    }

    fn periods(&self) -> Vec<Period> {
        named(&self.windows, &self.outlook.spells)
    }
}

impl FreezeMemo {
    /// What the windows of an environment come to, if they are the ones that are known.
    pub fn recall(&self, environment: &Environment, now: DateTime<Utc>) -> Option<Vec<Period>> {
        let known = self.lock();
        // The tier besides, since a version that does not know of this may have changed it.
        let is_same =
            |mine: &&Known| mine.freezes == environment.freezes && mine.tier == environment.settings.tier;
        let mine = known.get(&environment.id).filter(is_same)?;
        if mine.holds(now) {
            return Some(mine.periods());
        }
        let windows = mine.windows.clone();
        // Looking ahead takes its time, in which others may look up theirs.
        drop(known);
        Some(self.keep(environment, windows, now))
    }

    /// Remembers the windows of an environment, and tells what they come to.
    pub fn keep(&self, environment: &Environment, windows: Vec<Window>, now: DateTime<Utc>) -> Vec<Period> {
        let looked = Known::look(environment, windows, now);
        let periods = looked.periods();
        let mut known = self.lock();
        known.insert(environment.id, looked);
        if known.values().map(|one| one.windows.len() + 1).sum::<usize>() > WINDOWS_MAX {
            // What is asked for again is soon back.
            known.clear();
        }
        periods
    }

    /// What it holds is right even after a panic elsewhere: it is only ever replaced as a whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{
        environment::EnvironmentSettings,
        freeze::{Timing, periods},
        policy::InForce,
        text::Name,
    };

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn environment(id: u128, freezes: Option<u128>) -> Environment {
        let then = DateTime::UNIX_EPOCH;
        Environment {
            id: Uuid::from_u128(id),
            name: Name::parse("prod").unwrap(),
            settings: EnvironmentSettings { tier: Tier::Production, rank: 1, url: None },
            unconfirmed: false,
            policy: InForce::default(),
            lockdown: None,
            freezes: freezes.map(Uuid::from_u128),
            revision: 1,
            created_at: then,
            updated_at: then,
            archived_at: None,
        }
    }

    fn recurring(number: u128, start: &str, end: &str) -> Window {
        let timing = Timing::Recurring {
            start_cron: start.to_owned(),
            end_cron: end.to_owned(),
            timezone: "Europe/Berlin".to_owned(),
        };
        let name = format!("window {number}");
        Window { id: Uuid::from_u128(number), reason: name.clone(), name, timing }
    }

    fn windows() -> Vec<Window> {
        let timing =
            Timing::Once { starts_at: at("2026-10-24T23:00:00Z"), ends_at: at("2026-10-25T00:15:00Z") };
        let name = "once".to_owned();
        vec![
            recurring(1, "0 18 * * *", "0 8 * * *"),
            recurring(2, "0 8 * * SAT", "0 18 * * SUN"),
            recurring(3, "*/7 * * * *", "3-59/7 * * * *"),
            recurring(4, "30 2 * * *", "45 2 * * *"),
            Window { id: Uuid::from_u128(5), reason: name.clone(), name, timing },
        ]
    }

    proptest! {
        #[test]
        fn it_says_what_the_domain_says(
            steps in proptest::collection::vec((0..6_i64, 0..7_200_000_000_i64, any::<[bool; 5]>()), 1..40)
        ) {
            let memo = FreezeMemo::default();
            let now = at("2026-10-24T20:00:00Z");
            for (number, (hours, jitter, wanted)) in (1..).zip(steps) {
                let now = now + TimeDelta::hours(hours) + TimeDelta::microseconds(jitter);
                let all = windows().into_iter().zip(wanted);
                let some: Vec<_> = all.filter(|(_, wanted)| *wanted).map(|(one, _)| one).collect();
                let one = environment(1, Some(number));
                prop_assert_eq!(memo.recall(&one, now), None, "the windows have changed");
                prop_assert_eq!(memo.keep(&one, some.clone(), now), periods(&some, now));
                for minutes in [0, 3, 40, -20, 900, 3000] {
                    let now = now + TimeDelta::minutes(minutes);
                    prop_assert_eq!(memo.recall(&one, now), Some(periods(&some, now)));
                }
            }
        }
    }

    #[test]
    fn each_environment_has_its_own() {
        let memo = FreezeMemo::default();
        let now = at("2026-10-24T20:00:00Z");
        let shut = vec![recurring(1, "0 18 * * *", "0 8 * * *")];
        assert_eq!(memo.keep(&environment(1, None), shut, now).len(), 1);
        assert_eq!(memo.keep(&environment(2, None), Vec::new(), now), []);
        assert_eq!(memo.recall(&environment(1, None), now).map(|periods| periods.len()), Some(1));
        assert_eq!(memo.recall(&environment(2, None), now), Some(Vec::new()));
        assert_eq!(memo.recall(&environment(3, None), now), None);
    }

    #[test]
    fn it_forgets_rather_than_grow() {
        let memo = FreezeMemo::default();
        let now = at("2026-10-24T20:00:00Z");
        let timing = Timing::Once { starts_at: now, ends_at: now + TimeDelta::days(1) };
        let many = vec![Window { timing, ..recurring(1, "", "") }; 1000];
        for id in 0..60 {
            assert_eq!(memo.keep(&environment(id, None), many.clone(), now).len(), 1000);
            let held = memo.lock().values().map(|known| known.windows.len()).sum::<usize>();
            assert!(held <= WINDOWS_MAX);
        }
    }
}
