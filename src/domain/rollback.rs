//! Rolling back: which releases a target may return to as a verified choice.

use std::cmp::Reverse;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::domain::target::Current;

/// How many of a target's successes are looked at for choices; older ones are out of reach.
pub const HISTORY_MAX: u64 = 200;

/// One success of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Success {
    /// The deployment.
    pub deployment_id: Uuid,
    /// The release it put there.
    pub release_id: Uuid,
    /// What choices are told apart by.
    pub artefact: String,
    /// When it became current.
    pub finished_at: DateTime<Utc>,
    /// Whether it counts as having gone through the gate.
    pub credited: bool,
    /// Whether a rollback has reverted it.
    pub reverted: bool,
}

/// The verified choices of a target, newest first: artefacts that succeeded here through the gate, are not current and
/// were not reverted here since, the `depth` of them that went through the gate last. `history` is newest first. What
/// went past the gate counts for nothing: it neither clears what was reverted nor brings back what is out of reach.
pub fn choices<'a>(history: &'a [Success], current: Option<&str>, depth: usize) -> Vec<&'a Success> {
    let mut choices: Vec<(&Success, DateTime<Utc>)> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for (place, success) in history.iter().enumerate() {
        let artefact = success.artefact.as_str();
        if current == Some(artefact) || seen.contains(&artefact) {
            continue;
        }
        seen.push(artefact);
        let mut past = history.iter().skip(place).filter(|other| other.artefact == artefact);
        let decisive = past.find(|other| other.credited || other.reverted);
        choices
            .extend(decisive.filter(|past| !past.reverted).map(|credited| (success, credited.finished_at)));
    }
    choices.sort_by_key(|(_, credited_at)| Reverse(*credited_at));
    choices.truncate(depth);
    choices.sort_by_key(|(success, _)| Reverse(success.finished_at));
    choices.into_iter().map(|(success, _)| success).collect()
}

/// What going back to an artefact means in a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Return {
    /// Whether it is a verified choice.
    pub verified: bool,
    /// What became current after this moment is what it reverts.
    pub reverts_since: Option<DateTime<Utc>>,
}

/// What going back to `artefact` means where `current` runs. None when that very artefact is current: a rollback returns
/// to another.
pub fn back_to(
    history: &[Success],
    current: Option<&Current>,
    artefact: &str,
    depth: usize,
) -> Option<Return> {
    let Some(current) = current else { return Some(Return::default()) };
    if current.artefact == artefact {
        return None;
    }
    let choices = choices(history, Some(&current.artefact), depth);
    let last_there = history.iter().find(|success| success.artefact == artefact);
    Some(Return {
        verified: choices.iter().any(|choice| choice.artefact == artefact),
        reverts_since: Some(reverts_since(last_there.map(|success| success.finished_at), current.since)),
    })
}

/// Since when a rollback reverts: since its artefact last became current, or else the whole stay that it ends.
pub fn reverts_since(last_there: Option<DateTime<Utc>>, stay_started_at: DateTime<Utc>) -> DateTime<Utc> {
    last_there.unwrap_or(stay_started_at - TimeDelta::microseconds(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A history of successes, oldest first: an artefact's letter, `!` when reverted, `?` when not credited.
    fn history(text: &str) -> Vec<Success> {
        let mut list: Vec<_> = text
            .split(' ')
            .enumerate()
            .map(|(second, word)| Success {
                deployment_id: Uuid::from_u128(second as u128),
                release_id: Uuid::nil(),
                artefact: word[..1].to_owned(),
                finished_at: DateTime::from_timestamp(i64::try_from(second).unwrap(), 0).unwrap(),
                credited: !word.contains('?'),
                reverted: word.contains('!'),
            })
            .collect();
        list.reverse();
        list
    }

    fn verified(text: &str, current: &str, depth: usize) -> String {
        let history = history(text);
        choices(&history, Some(current), depth).iter().map(|success| success.artefact.as_str()).collect()
    }

    #[test]
    fn choices_are_the_newest_that_went_well() {
        assert_eq!(verified("a b c", "c", 5), "ba");
        assert_eq!(verified("a b c", "c", 1), "b");
        assert_eq!(verified("a b a", "a", 5), "b", "the current artefact is no choice, however often it ran");
        assert_eq!(verified("a b! a c", "c", 5), "a", "what was reverted is no choice");
        assert_eq!(verified("a b! a b c", "c", 5), "ba", "unless it was deployed again since");
        assert_eq!(verified("a b? c", "c", 5), "a", "what went past the gate is no choice");
        assert_eq!(verified("b a b? c", "c", 5), "ba", "unless it went through the gate another time");
        assert_eq!(
            verified("a b! a b? c", "c", 5),
            "a",
            "what was reverted is not cleared by what went past the gate"
        );
        assert_eq!(
            verified("a b a! b a? c", "c", 5),
            "b",
            "nor by that, when it had gone through the gate long before"
        );
        assert_eq!(
            verified("a b a? c", "c", 1),
            "b",
            "what is out of reach is not brought back past the gate"
        );
        assert_eq!(verified("a", "a", 5), "");
    }
}
