//! What goes along when one release of a service takes the place of another: all releases in between, and their commits.

use std::collections::BTreeSet;

use crate::domain::{
    release::{Change, Release},
    text::Version,
};

/// So many releases are looked at on the way from one to another.
pub const PASSAGE_MAX: u64 = 200;

/// Which way a passage leads in the order of the service's releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Nowhere: it is the same release.
    Same,
    /// To a newer release, which brings something.
    Forward,
    /// To an older one, which takes something back.
    Back,
}

impl Way {
    /// The way from one release, or from nothing, to another.
    pub fn between(from: Option<&Release>, to: &Release) -> Self {
        match from {
            Some(from) if order(from) == order(to) => Self::Same,
            Some(from) if order(from) > order(to) => Self::Back,
            Some(_) | None => Self::Forward,
        }
    }
}

fn order(release: &Release) -> (chrono::DateTime<chrono::Utc>, i64) {
    (release.ordered_at, release.number)
}

/// What lies between two releases.
#[derive(Clone, Debug)]
pub struct Passage {
    pub way: Way,
    /// The releases after the older one, up to the newer one, newest first.
    pub releases: Vec<Release>,
    /// Whether there are more of them, which are older.
    pub more: bool,
}

impl Passage {
    /// What lies after `older` among `rows`, which begin with the newer one and go on with those before it.
    pub fn of(way: Way, older: Option<&Release>, rows: Vec<Release>) -> Self {
        let all = rows.len();
        let beyond = |release: &Release| older.is_none_or(|older| order(release) > order(older));
        let mut releases: Vec<_> = rows.into_iter().take_while(beyond).collect();
        let limit = usize::try_from(PASSAGE_MAX).unwrap_or(usize::MAX);
        let more = releases.len() == all && all > limit;
        releases.truncate(limit);
        Self { way, releases, more }
    }

    /// The commits of all of them, those of the newest release first, each once: with the oldest release that names it, which
    /// is the one that brings it.
    pub fn changes(&self) -> Vec<(&Version, &Change)> {
        let mut seen = BTreeSet::new();
        let mut brought = Vec::new();
        for release in self.releases.iter().rev() {
            let new =
                release.description.changes.iter().rev().filter(|change| seen.insert(change.sha.as_str()));
            brought.extend(new.map(|change| (&release.identity.version, change)));
        }
        brought.reverse();
        brought
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        actor::Actor,
        release::{Identity, ReleaseDescription},
    };

    /// A release of this number, registered that many seconds after the beginning of time, which names these commits.
    fn release(number: i64, commits: &[&str]) -> Release {
        let at = DateTime::from_timestamp(number, 0).unwrap();
        let change = |sha: &&str| Change { sha: (*sha).to_owned(), committed_at: at, title: None };
        Release {
            id: Uuid::from_u128(number.unsigned_abs().into()),
            service_id: Uuid::nil(),
            number,
            ordered_at: at,
            place: number,
            identity: Identity {
                version: Version::trusted(number.to_string()),
                commit_sha: None,
                image: None,
            },
            description: ReleaseDescription {
                changes: commits.iter().map(change).collect(),
                ..ReleaseDescription::default()
            },
            actor: Actor { token: "ci".into(), subject: "ci".into() },
            created_at: at,
            image_added_by: None,
            locations: Vec::new(),
            platforms: Vec::new(),
        }
    }

    #[test]
    fn a_way_leads_forward_back_or_nowhere() {
        let (one, two) = (release(1, &[]), release(2, &[]));
        assert_eq!(Way::between(Some(&one), &two), Way::Forward);
        assert_eq!(Way::between(Some(&two), &one), Way::Back);
        assert_eq!(Way::between(Some(&one), &one), Way::Same);
        assert_eq!(Way::between(None, &one), Way::Forward);
    }

    #[test]
    fn each_commit_comes_with_the_release_that_brings_it() {
        let rows = vec![
            release(4, &["d", "c", "b"]),
            release(3, &["c", "b"]),
            release(2, &["a"]),
            release(1, &["z"]),
        ];
        let older = release(2, &[]);
        let passage = Passage::of(Way::Forward, Some(&older), rows.clone());
        let told = |passage: &Passage| -> Vec<_> {
            passage.changes().iter().map(|(version, change)| format!("{version}{}", change.sha)).collect()
        };
        assert_eq!(told(&passage), ["4d", "3c", "3b"]);
        assert!(!passage.more);
        assert_eq!(told(&Passage::of(Way::Forward, None, rows)), ["4d", "3c", "3b", "2a", "1z"]);
    }

    #[test]
    fn what_lies_further_apart_than_is_looked_at_is_told() {
        let limit = i64::try_from(PASSAGE_MAX).unwrap();
        let rows: Vec<_> = (0..=limit).rev().map(|number| release(number, &[])).collect();
        let far = Passage::of(Way::Forward, None, rows.clone());
        assert_eq!((far.releases.len(), far.more), (200, true));
        let near = Passage::of(Way::Forward, Some(&release(limit - 3, &[])), rows);
        assert_eq!((near.releases.len(), near.more), (3, false));
    }
}
