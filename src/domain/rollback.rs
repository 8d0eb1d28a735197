//! Rolling back: which releases a target may return to as a verified choice, and what each return takes away.

use std::{cmp::Reverse, collections::BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// How many of a target's successes are looked at for choices; older ones are out of reach.
pub const HISTORY_MAX: u64 = 200;

/// How many of its newest successes are looked at first where the nearest choice is enough.
pub const NEWEST: u64 = 10;

/// One success of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Success {
    pub deployment_id: Uuid,
    /// The release it put there: what choices are told apart by.
    pub release_id: Uuid,
    /// What stays are measured by; several releases may share it.
    pub artefact: String,
    /// When it became current.
    pub finished_at: DateTime<Utc>,
    /// The start of the stay that it began or went on with.
    pub stay_started_at: DateTime<Utc>,
    /// Whether it counts as having gone through the gate.
    pub credited: bool,
    /// What a rollback has taken away with it.
    pub reverted: Option<Reverted>,
}

/// What a rollback takes away with a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reverted {
    /// Its release: the rollback returned to another one of the same artefact.
    Release,
    /// Its release and its artefact: the rollback returned to another artefact.
    Artefact,
}

/// The verified choices of a target, newest first: releases that succeeded here through the gate, are not current and
/// were not reverted here since, the `depth` of them that went through the gate last. `history` is newest first. What
/// went past the gate counts for nothing: it neither clears what was reverted nor brings back what is out of reach.
pub fn choices(history: &[Success], current: Option<Uuid>, depth: usize) -> Vec<&Success> {
    let mut choices: Vec<(&Success, DateTime<Utc>)> = Vec::new();
    let mut seen: BTreeSet<Uuid> = current.into_iter().collect();
    for success in history {
        if seen.insert(success.release_id) {
            choices.extend(credited_at(history, success).map(|at| (success, at)));
        }
    }
    choices.sort_by_key(|(_, credited_at)| Reverse(*credited_at));
    choices.truncate(depth);
    choices.sort_by_key(|(success, _)| Reverse(success.finished_at));
    choices.into_iter().map(|(success, _)| success).collect()
}

/// The newest verified choice, where the newest of a target's successes are enough to tell it: what ran right before the current
/// release, if it went through the gate then. All that ran earlier went through it earlier.
pub fn nearest_choice(newest: &[Success], current: Option<Uuid>) -> Option<&Success> {
    let before = newest.iter().find(|success| Some(success.release_id) != current)?;
    let choice = choices(newest, current, 1).pop()?;
    (before.credited && choice.release_id == before.release_id).then_some(choice)
}

/// When the release of a success last went through the gate, unless it was reverted since, or its artefact was and has not
/// gone through the gate again as any release.
fn credited_at(history: &[Success], of: &Success) -> Option<DateTime<Utc>> {
    let mut of_release = history.iter().filter(|other| other.release_id == of.release_id);
    let mut of_artefact = history.iter().filter(|other| other.artefact == of.artefact);
    let release = of_release.find(|other| other.credited || other.reverted.is_some())?;
    let artefact = of_artefact.find(|other| other.credited || other.reverted == Some(Reverted::Artefact))?;
    let stands = release.reverted.is_none() && artefact.reverted != Some(Reverted::Artefact);
    stands.then_some(release.finished_at)
}

/// What going back to a release means in a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Return {
    /// Whether it is a verified choice.
    pub verified: bool,
    /// What became current after this moment is what it reverts.
    pub reverts_since: Option<DateTime<Utc>>,
}

/// What going back to `release`, which is of this artefact, means where the release `current` runs, or nothing does since it
/// was removed. None when that very release is current: a rollback returns to another.
pub fn back_to(
    history: &[Success],
    current: Option<Uuid>,
    (release, artefact): (Uuid, &str),
    depth: usize,
) -> Option<Return> {
    if current == Some(release) {
        return None;
    }
    let verified = choices(history, current, depth).iter().any(|choice| choice.release_id == release);
    Some(Return { verified, reverts_since: reverts_since(history, current.is_some(), (release, artefact)) })
}

/// Since when a rollback to a release reverts: since that release last became current, or else its artefact; or else all of
/// the stay that it ends, which is the release's where the artefact goes on. It ends the newest stay of `history`, unless
/// that is over already because the service was removed (`is_current` is false).
pub fn reverts_since(
    history: &[Success],
    is_current: bool,
    (release, artefact): (Uuid, &str),
) -> Option<DateTime<Utc>> {
    let ended = history.first()?;
    let goes_on = is_current && ended.artefact == artefact;
    let there = history.iter().find(|success| success.release_id == release);
    let there = there.or_else(|| history.iter().find(|success| !goes_on && success.artefact == artefact));
    if let Some(there) = there {
        return Some(there.finished_at);
    }
    if !is_current {
        return None;
    }
    let of_stay = history.iter().take_while(|success| success.finished_at >= ended.stay_started_at);
    let stay = of_stay.take_while(|success| success.release_id == ended.release_id);
    let began = if goes_on { stay.last()?.finished_at } else { ended.stay_started_at };
    Some(began - TimeDelta::microseconds(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn release(name: &str) -> Uuid {
        Uuid::from_u128(name.bytes().fold(0, |sum, byte| sum * 256 + u128::from(byte)))
    }

    fn at(second: usize) -> DateTime<Utc> {
        DateTime::from_timestamp(i64::try_from(second).unwrap(), 0).unwrap()
    }

    /// A history of successes, one a second, oldest first: `b2` is the second release of the artefact b. A word ends with
    /// `!` where release and artefact were reverted, with `-` where the release alone was, with `?` when not credited.
    fn history(text: &str) -> Vec<Success> {
        let mut list: Vec<Success> = Vec::new();
        for (second, word) in text.split(' ').enumerate() {
            let artefact = word[..1].to_owned();
            let before = list.last().filter(|before| before.artefact == artefact);
            list.push(Success {
                deployment_id: Uuid::from_u128(second as u128),
                release_id: release(word.trim_end_matches(['!', '-', '?'])),
                stay_started_at: before.map_or(at(second), |before| before.stay_started_at),
                artefact,
                finished_at: at(second),
                credited: !word.contains('?'),
                reverted: match word {
                    word if word.contains('!') => Some(Reverted::Artefact),
                    word if word.contains('-') => Some(Reverted::Release),
                    _ => None,
                },
            });
        }
        list.reverse();
        list
    }

    /// The seconds at which the choices succeeded, newest first.
    fn verified(text: &str, current: &str, depth: usize) -> Vec<i64> {
        let history = history(text);
        let choices = choices(&history, Some(release(current)), depth);
        choices.iter().map(|success| success.finished_at.timestamp()).collect()
    }

    #[test]
    fn choices_are_the_newest_that_went_well() {
        assert_eq!(verified("a b c", "c", 5), [1, 0]);
        assert_eq!(verified("a b c", "c", 1), [1]);
        assert_eq!(verified("a b a", "a", 5), [1], "the current release is no choice, however often it ran");
        assert_eq!(verified("a b! a c", "c", 5), [2], "what was reverted is no choice");
        assert_eq!(verified("a b! a b c", "c", 5), [3, 2], "unless it was deployed again since");
        assert_eq!(verified("a b? c", "c", 5), [0], "what went past the gate is no choice");
        assert_eq!(verified("b a b? c", "c", 5), [2, 1], "unless it went through the gate another time");
        assert_eq!(verified("a b! a b? c", "c", 5), [2], "what was reverted stays so past the gate");
        assert_eq!(verified("a b a! b a? c", "c", 5), [3], "though it had gone through the gate long before");
        assert_eq!(
            verified("a b a? c", "c", 1),
            [1],
            "what is out of reach is not brought back past the gate"
        );
        assert!(verified("a", "a", 5).is_empty());
    }

    proptest! {
        #[test]
        fn what_the_newest_successes_tell_is_what_all_of_them_do(
            words in prop::collection::vec("(a|b1|b2|c)[!?-]?", 1..12),
            newest in 1_usize..12,
        ) {
            let history = history(&words.join(" "));
            let current = history.first().map(|success| success.release_id);
            let told = nearest_choice(history.get(..newest).unwrap_or(&history), current);
            if told.is_some() {
                assert_eq!(told, choices(&history, current, 1).pop());
            }
        }
    }

    #[test]
    fn the_newest_successes_tell_the_choice_where_it_ran_before_the_current_release() {
        let told = |text: &str| nearest_choice(&history(text), Some(release("c"))).is_some();
        assert!(told("b c") && told("b c c"));
        assert!(!told("b! c") && !told("b? c") && !told("c"), "otherwise what is older may be the choice");
    }

    #[test]
    fn releases_of_one_artefact_are_choices_of_their_own() {
        assert_eq!(verified("a b1 b2", "b2", 5), [1, 0]);
        assert_eq!(verified("a b1 b2 b3", "b3", 2), [2, 1], "and each counts for the depth");
        assert_eq!(verified("a b1 b2 b3", "b1", 5), [3, 2, 0]);
        assert_eq!(verified("a b1 b2?", "b1", 5), [0], "what went past the gate has no share in the other's");
    }

    #[test]
    fn a_release_is_reverted_alone_where_its_artefact_stays() {
        assert_eq!(verified("a b1 b2- b1 c", "c", 5), [3, 0]);
        assert_eq!(verified("a b1 b2- b1", "b1", 5), [0]);
        assert_eq!(verified("a b1 b2- b1 b2 c", "c", 5), [4, 3, 0], "deployed again, it is a choice again");
        assert_eq!(verified("a b1 b2- b1 b2? c", "c", 5), [3, 0]);
    }

    #[test]
    fn an_artefact_is_reverted_with_all_its_releases() {
        assert_eq!(verified("b1 a b2! a c", "c", 5), [3], "also with the one that ran before");
        assert_eq!(verified("b1 a b2! a b3 c", "c", 5), [4, 3, 0], "until it goes through the gate again");
        assert_eq!(verified("a b1! b2- b1! a c", "c", 5), [4]);
    }

    #[test]
    fn the_current_release_alone_is_nothing_to_return_to() {
        let history = history("a b1 b2");
        let back = |name: &str| back_to(&history, Some(release("b2")), (release(name), &name[..1]), 5);
        assert_eq!(back("b2"), None);
        assert_eq!(back("b1"), Some(Return { verified: true, reverts_since: Some(at(1)) }));
        assert_eq!(back("a"), Some(Return { verified: true, reverts_since: Some(at(0)) }));
        assert!(!back("b3").unwrap().verified, "it never ran here, though its artefact did");
        assert_eq!(back_to(&[], None, (release("a"), "a"), 5), Some(Return::default()));
    }

    #[test]
    fn a_rollback_reverts_what_came_after_what_it_returns_to() {
        let since = |text: &str, name: &str| {
            let since = reverts_since(&history(text), true, (release(name), &name[..1])).unwrap();
            history(text).iter().filter(|success| success.finished_at > since).count()
        };
        assert_eq!(since("a b1 b2", "b1"), 1);
        assert_eq!(since("a b1 b2", "a"), 2);
        assert_eq!(since("a b1 b2 b1 c", "b2"), 2);
        assert_eq!(since("a b1 c d", "b2"), 2, "where the release never ran, since its artefact did");
        assert_eq!(since("a b1 b2 b2", "b3"), 2, "or the stay of the release, where the artefact goes on");
        assert_eq!(since("a b1 b2", "c"), 2, "or that of the artefact");
        assert_eq!(reverts_since(&[], true, (release("a"), "a")), None);
    }

    #[test]
    fn what_was_removed_is_the_first_choice_and_nothing_else_is_ended() {
        let history = history("a b1");
        let back = |name: &str| back_to(&history, None, (release(name), &name[..1]), 5).unwrap();
        assert_eq!(back("b1"), Return { verified: true, reverts_since: Some(at(1)) });
        assert_eq!(back("a"), Return { verified: true, reverts_since: Some(at(0)) });
        assert_eq!(back("b2"), Return { verified: false, reverts_since: Some(at(1)) });
        assert_eq!(back("c"), Return::default());
    }
}
