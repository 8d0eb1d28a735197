//! The one order of a service's releases: by when their commits were made, as far as that is known, and not by when their
//! builds were done.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use crate::domain::{
    release::ReleaseDescription,
    text::{CommitSha, is_same_commit},
};

/// So many of the newest releases are asked whether they and a new one name each other's commits.
pub const NEIGHBOURS_MAX: i64 = 50;

/// A release that is on record already, as a new one sees it.
#[derive(Clone, Debug, Deserialize)]
pub struct Neighbour {
    /// Its moment in the order.
    pub ordered_at: DateTime<Utc>,
    /// The commit it was built from, where that is known.
    pub commit_sha: Option<String>,
    /// 1 where its changes name the commit of the new one, else 0.
    pub names: u8,
}

/// The moment by which a release has its place in the order, from now on: that of its commit, or of its registration where
/// that is earlier or alone known. Whatever the clocks say, it is newer than those whose commits it names among its
/// changes, and older than those that name its own. Without a commit, nothing but its registration tells.
pub fn ordered_at(
    commit: Option<&CommitSha>,
    description: &ReleaseDescription,
    created_at: DateTime<Utc>,
    neighbours: &[Neighbour],
) -> DateTime<Utc> {
    let Some(commit) = commit else { return created_at };
    let told = description.committed_at.map_or(created_at, |at| at.min(created_at));
    // A rebuild has the commit of the build before, and names the same ones.
    let is_rebuild = |sha: &String| is_same_commit(sha, commit.as_str());
    let others = || neighbours.iter().filter(|other| !other.commit_sha.as_ref().is_some_and(is_rebuild));
    let is_named = |sha: &String| description.changes.iter().any(|change| is_same_commit(&change.sha, sha));
    let named = |other: &&Neighbour| other.commit_sha.as_ref().is_some_and(is_named);
    let newer_than = others().filter(named).map(|other| other.ordered_at).max();
    let older_than = others().filter(|other| other.names > 0).map(|other| other.ordered_at).min();
    // Of the same moment, the one that was registered later is the newer one.
    let at = told.max(newer_than.unwrap_or(told));
    older_than.map_or(at, |newer| at.min(newer - TimeDelta::microseconds(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::release::Change;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + 60 * minute, 0).unwrap()
    }

    fn sha(digit: char) -> String {
        digit.to_string().repeat(40)
    }

    fn described(committed: Option<i64>, changes: &[char]) -> ReleaseDescription {
        let change = |digit: &char| Change { sha: sha(*digit), committed_at: at(0), title: None };
        ReleaseDescription {
            committed_at: committed.map(at),
            changes: changes.iter().map(change).collect(),
            ..ReleaseDescription::default()
        }
    }

    fn neighbour(minute: i64, digit: char, names: bool) -> Neighbour {
        Neighbour { ordered_at: at(minute), commit_sha: Some(sha(digit)), names: names.into() }
    }

    fn order(description: &ReleaseDescription, neighbours: &[Neighbour]) -> DateTime<Utc> {
        ordered_at(CommitSha::parse(&sha('a')).ok().as_ref(), description, at(100), neighbours)
    }

    #[test]
    fn without_a_commit_it_is_as_old_as_its_registration() {
        let others = [neighbour(5, 'b', true), Neighbour { commit_sha: None, ..neighbour(7, 'c', false) }];
        assert_eq!(ordered_at(None, &described(Some(3), &['b']), at(100), &others), at(100));
        assert_eq!(order(&described(Some(3), &['c']), &others[1..]), at(3), "nobody can name it either");
    }

    #[test]
    fn a_commit_orders_its_release_and_never_later_than_its_registration() {
        assert_eq!(order(&described(None, &[]), &[]), at(100));
        assert_eq!(order(&described(Some(50), &[]), &[neighbour(70, 'b', false)]), at(50));
        assert_eq!(order(&described(Some(500), &[]), &[]), at(100), "that clock was fast");
    }

    #[test]
    fn what_changes_name_wins_over_clocks() {
        let known = [neighbour(70, 'b', false), neighbour(60, 'c', false)];
        assert_eq!(order(&described(Some(50), &['a', 'b', 'c']), &known), at(70));
        assert_eq!(order(&described(Some(50), &['c']), &known), at(60));
        let naming = [neighbour(70, 'b', true), neighbour(60, 'c', true)];
        assert!(order(&described(None, &[]), &naming) < at(60), "built late");
        assert_eq!(order(&described(Some(50), &[]), &naming), at(50));
        let short = [Neighbour { commit_sha: Some("bbbbbbb".into()), ..neighbour(70, 'b', false) }];
        assert_eq!(order(&described(Some(50), &['b']), &short), at(70));
    }

    #[test]
    fn a_rebuild_is_neither_older_nor_newer_than_the_build_before() {
        let before = [neighbour(50, 'a', true)];
        assert_eq!(order(&described(Some(50), &['a']), &before), at(50));
    }
}
