//! The history of a public project, and the rule by which its releases reach dev, staging and prod.
//!
//! The rule is made up, but fixed: the same file always gives the same deployments, at the same moments.
//! - dev: every release, ten minutes after its commit. Every 13th fails there and goes no further.
//! - staging: a day after it reached dev, unless a newer one has reached dev by then.
//! - prod: three days after it reached staging, unless a newer one has reached staging by then. Every 9th fails there.
//!   Of the others, every 8th is rolled back two hours later, and every 5th is redeployed half a day later.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// The environments, in the order of promotion.
pub const ENVIRONMENTS: [&str; 3] = ["dev", "staging", "prod"];

/// The releases of a service, in the order in which they were made.
#[derive(Debug, Deserialize)]
pub struct History {
    pub service: String,
    pub repository_url: String,
    pub releases: Vec<Release>,
}

/// A release, as it is registered.
#[derive(Debug, Serialize, Deserialize)]
pub struct Release {
    pub version: String,
    pub commit_sha: String,
    pub committed_at: DateTime<Utc>,
    pub changes: Vec<Change>,
}

/// A commit.
#[derive(Debug, Serialize, Deserialize)]
pub struct Change {
    pub sha: String,
    pub committed_at: DateTime<Utc>,
}

/// One deployment.
#[derive(Clone, Debug)]
pub struct Step {
    pub environment: &'static str,
    pub version: String,
    pub kind: &'static str,
    pub succeeds: bool,
    pub started_at: DateTime<Utc>,
    pub finished_at: DateTime<Utc>,
}

/// A release on its way through the environments.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    version: &'a str,
    at: DateTime<Utc>,
}

/// Every deployment of the history, in the order of time.
pub fn plan(history: &History) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut in_dev = Vec::new();
    for (release, nth) in history.releases.iter().zip(1..) {
        let start = release.committed_at + TimeDelta::minutes(10);
        let step = step("dev", &release.version, start, 1, nth % 13 != 0);
        if step.succeeds {
            in_dev.push(Arrival { version: &release.version, at: step.finished_at });
        }
        steps.push(step);
    }
    let mut in_staging = Vec::new();
    for (version, start) in promoted(&in_dev, TimeDelta::days(1)) {
        let step = step("staging", version, start, 5, true);
        in_staging.push(Arrival { version, at: step.finished_at });
        steps.push(step);
    }
    steps.extend(prod(&in_staging));
    steps.sort_by_key(|step| step.finished_at);
    steps
}

/// What moves on after it has stayed for a while, and when: whatever nothing newer has replaced by then.
fn promoted<'a>(arrivals: &[Arrival<'a>], stay: TimeDelta) -> impl Iterator<Item = (&'a str, DateTime<Utc>)> {
    let next = arrivals.iter().skip(1).map(|next| Some(next.at)).chain([None]);
    arrivals.iter().zip(next).filter_map(move |(arrival, next)| {
        let start = arrival.at + stay;
        next.is_none_or(|next| next > start).then_some((arrival.version, start))
    })
}

fn prod(in_staging: &[Arrival<'_>]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut current: Option<&str> = None;
    let mut successes = 0;
    for ((version, start), nth) in promoted(in_staging, TimeDelta::days(3)).zip(1..) {
        let first = step("prod", version, start, 10, nth % 9 != 0);
        let (succeeds, done) = (first.succeeds, first.finished_at);
        steps.push(first);
        if !succeeds {
            continue;
        }
        successes += 1;
        let before = current.replace(version);
        if let Some(before) = before.filter(|_| successes % 8 == 0) {
            let rollback = step("prod", before, done + TimeDelta::hours(2), 2, true);
            steps.push(Step { kind: "rollback", ..rollback });
            current = Some(before);
        } else if successes % 5 == 0 {
            let again = step("prod", version, done + TimeDelta::hours(12), 3, true);
            steps.push(Step { kind: "redeploy", ..again });
        }
    }
    steps
}

fn step(
    environment: &'static str,
    version: &str,
    started_at: DateTime<Utc>,
    minutes: i64,
    succeeds: bool,
) -> Step {
    let finished_at = started_at + TimeDelta::minutes(minutes);
    Step { environment, version: version.to_owned(), kind: "deploy", succeeds, started_at, finished_at }
}
