//! Remembers what freeze windows come to: the gate asks the same windows again and again, and working cron expressions
//! out each time would be most of its work.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState},
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, Utc};

use crate::domain::{
    freeze::{Outlook, Timing, Window, named, outlook},
    gate::facts::Period,
};

/// How many windows are remembered, over all sets of them. Each takes less than a kilobyte.
const WINDOWS_MAX: usize = 20_000;

/// Remembers what sets of freeze windows come to, for as long as it stays the same. It knows them by their timing alone,
/// so that a window that was edited is another one.
#[derive(Debug, Default)]
pub struct Memo {
    hasher: RandomState,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    sets: HashMap<u64, Set>,
    windows: usize,
}

#[derive(Debug)]
struct Set {
    timings: Vec<Timing>,
    from: DateTime<Utc>,
    outlook: Outlook,
}

impl Set {
    fn answers(&self, windows: &[Window], now: DateTime<Utc>) -> bool {
        self.from <= now
            && self.outlook.until.is_none_or(|until| now < until)
            && self.timings.iter().eq(windows.iter().map(|window| &window.timing))
    }
}

impl Memo {
    /// As [`freeze::periods`](crate::domain::freeze::periods), and mostly from memory.
    pub fn periods(&self, windows: &[Window], now: DateTime<Utc>) -> Vec<Period> {
        if windows.is_empty() {
            return Vec::new();
        }
        let key = self.key(windows);
        if let Some(set) = self.lock().sets.get(&key)
            && set.answers(windows, now)
        {
            return named(windows, &set.outlook.spells);
        }
        let outlook = outlook(windows, now);
        let periods = named(windows, &outlook.spells);
        let timings = windows.iter().map(|window| window.timing.clone()).collect();
        self.lock().keep(key, Set { timings, from: now, outlook });
        periods
    }

    fn key(&self, windows: &[Window]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        for window in windows {
            window.timing.hash(&mut hasher);
        }
        hasher.finish()
    }

    /// What it holds is right even after a panic elsewhere: it is only ever replaced as a whole.
    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn keep(&mut self, key: u64, set: Set) {
        let more = set.timings.len();
        if more > WINDOWS_MAX {
            return;
        }
        if let Some(old) = self.sets.remove(&key) {
            self.windows -= old.timings.len();
        }
        if self.windows + more > WINDOWS_MAX {
            // What is asked for again is soon back, and what is not, such as windows that are over, is gone.
            self.sets.clear();
            self.windows = 0;
        }
        self.windows += more;
        self.sets.insert(key, set);
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::domain::freeze::periods;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
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
            let memo = Memo::default();
            let all = windows();
            for (hours, jitter, wanted) in steps {
                let now = at("2026-10-24T20:00:00Z") + TimeDelta::hours(hours) + TimeDelta::microseconds(jitter);
                let some: Vec<_> = all.iter().zip(wanted).filter(|(_, wanted)| *wanted).map(|(one, _)| one.clone()).collect();
                prop_assert_eq!(memo.periods(&some, now), periods(&some, now));
                prop_assert_eq!(memo.periods(&all, now), periods(&all, now));
            }
        }
    }

    #[test]
    fn a_window_of_another_name_is_told_by_its_own() {
        let memo = Memo::default();
        let now = at("2026-10-24T20:00:00Z");
        let first = [recurring(1, "0 18 * * *", "0 8 * * *")];
        let second = [recurring(2, "0 18 * * *", "0 8 * * *")];
        assert_eq!(memo.periods(&first, now)[0].name, "window 1");
        assert_eq!(memo.periods(&second, now)[0].name, "window 2");
    }

    #[test]
    fn it_forgets_rather_than_grow() {
        let memo = Memo::default();
        let now = at("2026-10-24T20:00:00Z");
        for day in 0..60 {
            let ends_at = now + TimeDelta::days(day + 1);
            let timing = Timing::Once { starts_at: now, ends_at };
            let window = Window { timing, ..recurring(1, "", "") };
            let many = vec![window; 1000];
            assert_eq!(memo.periods(&many, now).len(), 1000);
            assert!(memo.lock().windows <= WINDOWS_MAX);
        }
        let sets = memo.lock().sets.values().map(|set| set.timings.len()).sum::<usize>();
        assert_eq!(memo.lock().windows, sets);
    }
}
