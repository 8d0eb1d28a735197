//! Remembers the freeze windows of environments and what they come to: the gate asks for the same again and again, and
//! reading them and working cron expressions out each time would be most of its work.

use std::{
    collections::{BTreeSet, HashMap},
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

/// Remembers for each environment the windows that concern it: those that count for every service, and beside them, for each
/// service that windows name, those that count for it. It need not be told when they change: the environment, as it is read
/// for each decision, says which windows it means ([`Environment::freezes`]).
#[derive(Debug, Default)]
pub struct FreezeMemo(Mutex<HashMap<Key, Known>>);

/// An environment, and a service where windows name it.
type Key = (Uuid, Option<String>);

#[derive(Debug)]
struct Known {
    freezes: Option<Uuid>,
    tier: Tier,
    windows: Vec<Window>,
    /// The services that windows name.
    named: BTreeSet<String>,
    from: DateTime<Utc>,
    outlook: Outlook,
}

impl Known {
    fn look(
        environment: &Environment,
        (windows, named): (Vec<Window>, BTreeSet<String>),
        from: DateTime<Utc>,
    ) -> Self {
        let outlook = outlook(&windows, from);
        Self { freezes: environment.freezes, tier: environment.settings.tier, windows, named, from, outlook }
    }

    fn holds(&self, now: DateTime<Utc>) -> bool {
        self.from <= now && self.outlook.until.is_none_or(|until| now < until)
    }

    fn periods(&self) -> Vec<Period> {
        named(&self.windows, &self.outlook.spells)
    }
}

impl FreezeMemo {
    /// What the windows of an environment come to for a service, if they are the ones that are known.
    pub fn recall(
        &self,
        service: &str,
        environment: &Environment,
        now: DateTime<Utc>,
    ) -> Option<Vec<Period>> {
        let known = self.lock();
        // The tier besides, since a version that does not know of this may have changed it.
        let is_same =
            |mine: &&Known| mine.freezes == environment.freezes && mine.tier == environment.settings.tier;
        let mut key = (environment.id, None);
        let mut mine = known.get(&key).filter(is_same)?;
        if mine.named.contains(service) {
            key.1 = Some(service.to_owned());
            mine = known.get(&key).filter(is_same)?;
        }
        if mine.holds(now) {
            return Some(mine.periods());
        }
        let windows = (mine.windows.clone(), mine.named.clone());
        // Looking ahead takes its time, in which others may look up theirs.
        drop(known);
        Some(self.remember(key, Known::look(environment, windows, now)))
    }

    /// Remembers the windows of an environment, and tells what they come to for a service.
    pub fn keep(
        &self,
        service: &str,
        environment: &Environment,
        windows: Vec<Window>,
        now: DateTime<Utc>,
    ) -> Vec<Period> {
        let named: BTreeSet<String> =
            windows.iter().filter_map(|window| window.services.as_ref()).flatten().cloned().collect();
        let is_named = named.contains(service);
        let general = windows.iter().filter(|window| window.services.is_none()).cloned().collect();
        let general = Known::look(environment, (general, named), now);
        let periods = self.remember((environment.id, None), general);
        if !is_named {
            return periods;
        }
        let own = windows.into_iter().filter(|window| window.is_for(service)).collect();
        let own = Known::look(environment, (own, BTreeSet::new()), now);
        self.remember((environment.id, Some(service.to_owned())), own)
    }

    fn remember(&self, key: Key, looked: Known) -> Vec<Period> {
        let periods = looked.periods();
        let size = |one: &Known| one.windows.len() + one.named.len() + 1;
        let mine = size(&looked);
        let mut known = self.lock();
        known.remove(&key);
        if known.values().map(size).sum::<usize>() + mine > WINDOWS_MAX {
            // What is asked for again is soon back; but for its next service this one is asked for at once.
            known.clear();
        }
        if mine <= WINDOWS_MAX {
            known.insert(key, looked);
        }
        periods
    }

    /// What it holds is right even after a panic elsewhere: it is only ever replaced as a whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Known>> {
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
        Window { id: Uuid::from_u128(number), reason: name.clone(), name, services: None, timing }
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
            Window { id: Uuid::from_u128(5), reason: name.clone(), name, services: None, timing },
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
                prop_assert_eq!(memo.recall("shop", &one, now), None, "the windows have changed");
                prop_assert_eq!(memo.keep("shop", &one, some.clone(), now), periods(&some, now));
                for minutes in [0, 3, 40, -20, 900, 3000] {
                    let now = now + TimeDelta::minutes(minutes);
                    prop_assert_eq!(memo.recall("shop", &one, now), Some(periods(&some, now)));
                }
            }
        }
    }

    #[test]
    fn each_environment_has_its_own() {
        let memo = FreezeMemo::default();
        let now = at("2026-10-24T20:00:00Z");
        let shut = vec![recurring(1, "0 18 * * *", "0 8 * * *")];
        assert_eq!(memo.keep("shop", &environment(1, None), shut, now).len(), 1);
        assert_eq!(memo.keep("shop", &environment(2, None), Vec::new(), now), []);
        assert_eq!(memo.recall("shop", &environment(1, None), now).map(|periods| periods.len()), Some(1));
        assert_eq!(memo.recall("shop", &environment(2, None), now), Some(Vec::new()));
        assert_eq!(memo.recall("shop", &environment(3, None), now), None);
    }

    #[test]
    fn each_service_that_windows_name_has_its_own() {
        let memo = FreezeMemo::default();
        let (now, prod) = (at("2026-10-24T20:00:00Z"), environment(1, None));
        let for_pay = |window| Window { services: Some(BTreeSet::from(["pay".to_owned()])), ..window };
        let windows = || {
            vec![
                recurring(1, "0 18 * * *", "0 8 * * *"),
                for_pay(recurring(2, "0 8 * * SAT", "0 18 * * SUN")),
            ]
        };
        let named =
            |periods: Vec<Period>| periods.into_iter().map(|period| period.name).collect::<BTreeSet<_>>();
        assert_eq!(named(memo.keep("shop", &prod, windows(), now)), BTreeSet::from(["window 1".to_owned()]));
        assert_eq!(memo.recall("pay", &prod, now), None, "what counts for it was not looked at yet");
        assert_eq!(named(memo.keep("pay", &prod, windows(), now)).len(), 2);
        for later in [now, now + TimeDelta::days(7)] {
            assert_eq!(named(memo.recall("pay", &prod, later).unwrap()).len(), 2);
            assert_eq!(named(memo.recall("till", &prod, later).unwrap()).len(), 1);
        }
        let changed = environment(1, Some(7));
        assert_eq!((memo.recall("pay", &changed, now), memo.recall("shop", &changed, now)), (None, None));
    }

    #[test]
    fn it_forgets_rather_than_grow() {
        let memo = FreezeMemo::default();
        let now = at("2026-10-24T20:00:00Z");
        let timing = Timing::Once { starts_at: now, ends_at: now + TimeDelta::days(1) };
        let many = vec![Window { timing, ..recurring(1, "", "") }; 1000];
        for id in 0..60 {
            assert_eq!(memo.keep("shop", &environment(id, None), many.clone(), now).len(), 1000);
            let held = memo.lock().values().map(|known| known.windows.len()).sum::<usize>();
            assert!(held <= WINDOWS_MAX);
            assert!(memo.recall("pay", &environment(id, None), now).is_some(), "the last one stays");
        }
    }
}
