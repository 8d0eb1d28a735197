//! A target: a service in an environment, with at most one current and at most one running deployment.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{
    actor::Actor,
    moment::stored_at,
    release::{Identity, NOTHING},
};

/// A target's state, as its row holds it while the row is locked.
#[derive(Clone, Debug)]
pub struct Target {
    pub service_id: Uuid,
    pub environment_id: Uuid,
    /// The deployment that last succeeded, unless that was a removal.
    pub current: Option<Current>,
    /// The deployment under way.
    pub running: Option<Running>,
    /// When its latest deployment started.
    pub last_started_at: Option<DateTime<Utc>>,
    /// The latest moment of its history.
    pub last_at: Option<DateTime<Utc>>,
}

/// What a target runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// The deployment that put it there.
    pub deployment_id: Uuid,
    pub release_id: Uuid,
    /// What stays are measured by.
    pub artefact: String,
    /// The start of the stay.
    pub since: DateTime<Utc>,
    /// When the deployment finished.
    pub finished_at: DateTime<Utc>,
    /// Who put it there.
    pub actor: Actor,
}

/// What is under way in a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    pub deployment_id: Uuid,
    pub release_id: Uuid,
    /// When it started.
    pub since: DateTime<Utc>,
    /// Who started it.
    pub actor: Actor,
}

/// What occupies a target, as current or as running.
#[derive(Clone, Debug)]
pub struct Occupant {
    pub deployment_id: Uuid,
    pub release: Identity,
    /// The release's place in the order of the service's releases.
    pub place: i64,
    /// The start of the stay, or of the deployment.
    pub since: DateTime<Utc>,
    /// Who put it there.
    pub actor: Actor,
    /// Whether it is being taken away from there.
    pub removal: bool,
}

/// A target that something occupies.
#[derive(Clone, Debug)]
pub struct Occupied {
    pub service: String,
    pub environment: String,
    /// What it runs.
    pub current: Option<Occupant>,
    /// What is under way.
    pub running: Option<Occupant>,
}

impl Target {
    /// A target that nothing was ever deployed to.
    pub fn empty(service_id: Uuid, environment_id: Uuid) -> Self {
        Self {
            service_id,
            environment_id,
            current: None,
            running: None,
            last_started_at: None,
            last_at: None,
        }
    }

    /// The ids of its service and its environment.
    pub fn place(&self) -> (Uuid, Uuid) {
        (self.service_id, self.environment_id)
    }

    /// The moment at which its next step is stored (see [`stored_at`]).
    pub fn next_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        stored_at(now, self.last_at)
    }

    /// The start of the stay, when `artefact` becomes current at `at`: the same artefact again does not break it.
    pub fn stay(&self, artefact: &str, at: DateTime<Utc>) -> DateTime<Utc> {
        match &self.current {
            Some(current) if current.artefact == artefact => current.since,
            Some(_) | None => at,
        }
    }
}

/// The start of the stay of the success that follows a recorded one, when putting it between the two changes that: the
/// same artefact on both sides of the gap makes one stay of them, and another artefact in between parts what was one.
/// `recorded` and `next` are artefacts with the starts that they have: of the stay, and of being current. A removal begins
/// anew each time.
pub fn mended_stay(
    before: Option<&str>,
    (recorded, since): (&str, DateTime<Utc>),
    (next, current_from): (&str, DateTime<Utc>),
) -> Option<DateTime<Utc>> {
    if next == NOTHING {
        return None;
    }
    if next == recorded {
        return Some(since);
    }
    (before == Some(next)).then_some(current_from)
}

/// How far a target is behind: how many releases are newer than the one it runs, up to the newest that runs in a lower
/// rank. The others are ranks with the places of what runs there, in the order of the service's releases.
pub fn behind(rank: i64, place: i64, others: impl IntoIterator<Item = (i64, i64)>) -> Option<i64> {
    let newest = others.into_iter().filter(|(other, _)| *other < rank).map(|(_, place)| place).max()?;
    Some((newest - place).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_in_between_joins_stays_or_parts_them() {
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        assert_eq!(mended_stay(Some("a"), ("b", at(2)), ("b", at(3))), Some(at(2)), "b is current from 2 on");
        assert_eq!(mended_stay(Some("a"), ("b", at(2)), ("a", at(3))), Some(at(3)), "a comes back at 3");
        assert_eq!(mended_stay(Some("a"), ("b", at(2)), ("c", at(3))), None);
        assert_eq!(mended_stay(None, ("b", at(2)), ("c", at(3))), None);
        assert_eq!(mended_stay(Some("a"), (NOTHING, at(2)), ("a", at(3))), Some(at(3)), "a was away");
        assert_eq!(mended_stay(Some("a"), (NOTHING, at(2)), (NOTHING, at(3))), None);
    }

    #[test]
    fn behind_counts_up_to_the_newest_of_a_lower_rank() {
        let lower = [(100, 7), (200, 5), (400, 9)];
        assert_eq!(behind(300, 4, lower), Some(3));
        assert_eq!(behind(300, 8, lower), Some(0), "ahead of them all is not behind");
        assert_eq!(behind(100, 7, lower), None, "nothing has a lower rank");
    }
}
