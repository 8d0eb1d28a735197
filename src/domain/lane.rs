//! Lanes: of each environment, which release of a service was current there when, over a stretch of time.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{
    deployment::NamedDeployment,
    release::Identity,
    target::{Occupant, Occupied},
};

/// A stretch of time, from one moment up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub from: DateTime<Utc>,
    pub until: DateTime<Utc>,
}

/// One environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    pub environment: String,
    /// What was current there, in order and without overlaps.
    pub stays: Vec<Stay>,
}

/// A release that was current for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stay {
    /// The deployment that put it there; the first of several that did in a row.
    pub deployment_id: Uuid,
    pub release: Identity,
    /// Since when, as far as it lies in the window.
    pub from: DateTime<Utc>,
    /// Until when, as far as it lies in the window.
    pub until: DateTime<Utc>,
    /// Whether it goes on at the end of the window.
    pub goes_on: bool,
}

/// Something that became current, or was removed.
struct Step {
    deployment_id: Uuid,
    /// None where it was removed.
    release: Option<Identity>,
    at: DateTime<Utc>,
}

/// The lanes of a service, of every environment that something was current in: by what was at the beginning of the window,
/// and by the deployments that succeeded in it.
pub fn lanes(window: Window, before: Vec<Occupied>, successes: Vec<NamedDeployment>) -> Vec<Lane> {
    let mut steps: BTreeMap<String, Vec<Step>> = BTreeMap::new();
    for Occupied { environment, current, .. } in before {
        let step = |Occupant { deployment_id, release, .. }| Step {
            deployment_id,
            release: Some(release),
            at: window.from,
        };
        steps.entry(environment).or_default().extend(current.map(step));
    }
    for NamedDeployment { deployment, environment, release, .. } in successes {
        let Some(at) = deployment.times.finished_at else { continue };
        let release = deployment.kind.ships().then_some(release);
        steps.entry(environment).or_default().push(Step { deployment_id: deployment.id, release, at });
    }
    let lane = |(environment, steps)| Lane { environment, stays: stays(steps, window.until) };
    steps.into_iter().map(lane).filter(|lane| !lane.stays.is_empty()).collect()
}

fn stays(mut steps: Vec<Step>, end: DateTime<Utc>) -> Vec<Stay> {
    steps.sort_by_key(|step| step.at);
    let mut stays: Vec<Stay> = Vec::new();
    for Step { deployment_id, release, at } in steps {
        if let Some(last) = stays.last_mut().filter(|last| last.goes_on) {
            if release.as_ref().is_some_and(|release| release.version == last.release.version) {
                continue;
            }
            (last.until, last.goes_on) = (at, false);
        }
        let began = |release| Stay { deployment_id, release, from: at, until: end, goes_on: true };
        stays.extend(release.map(began));
    }
    stays
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::text::Version;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    /// Steps of `1@3`, a version and its second; `-@5` is a removal.
    fn told(text: &str, end: i64) -> Vec<String> {
        let step = |word: &str| {
            let (version, second) = word.split_once('@').unwrap();
            let identity =
                Identity { version: Version::trusted(version.to_owned()), commit_sha: None, image: None };
            let release = (version != "-").then_some(identity);
            Step { deployment_id: Uuid::nil(), release, at: at(second.parse().unwrap()) }
        };
        let told = |stay: &Stay| {
            let goes_on = if stay.goes_on { "…" } else { "" };
            format!("{} {}-{}{goes_on}", stay.release.version, stay.from.timestamp(), stay.until.timestamp())
        };
        stays(text.split(' ').map(step).collect(), at(end)).iter().map(told).collect()
    }

    #[test]
    fn each_stay_ends_where_the_next_begins() {
        assert_eq!(told("1@0 2@5", 9), ["1 0-5", "2 5-9…"]);
        assert_eq!(told("2@5 1@0", 9), ["1 0-5", "2 5-9…"], "whatever the order that they come in");
        assert_eq!(told("1@0 1@4 2@5", 9), ["1 0-5", "2 5-9…"], "the same again goes on");
        assert_eq!(told("1@0 -@5", 9), ["1 0-5"]);
        assert_eq!(told("1@0 -@5 1@6", 9), ["1 0-5", "1 6-9…"]);
        assert!(told("-@5", 9).is_empty());
    }
}
