//! A deployment: one attempt to put a release into an environment.

mod advance;
mod lease;
mod life;

use std::ops::Deref;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

pub use self::{
    advance::Refused,
    lease::{is_beyond, lease_end, lease_seconds},
    life::{Beat, End, Finish, Neighbour, New, Past, Surroundings},
};
use crate::domain::{
    actor::Actor,
    fault::{Faults, Malformed},
    release::Identity,
    text::{self, SHORT_TEXT_MAX, TEXT_MAX},
    vocabulary::{Kind, Outcome, Status, Strategy},
};

/// The shortest reason for lifting the gate's rules, in characters that can be read.
pub const OVERRIDE_REASON_MIN: usize = 10;
/// All of the traffic, in percent.
pub const TRAFFIC_MAX: i64 = 100;

/// A deployment. All of it can be read, as of its [`Entry`]; it is written only in `life.rs`, by the moves of its life
/// ([`Deployment::start`], [`Deployment::record`] and those after them), which keep what belongs together together.
#[derive(Clone, Debug)]
pub struct Deployment(Entry);

impl Deployment {
    /// One that the ledger has kept.
    pub fn kept(entry: Entry) -> Self {
        Self(entry)
    }
}

impl Deref for Deployment {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.0
    }
}

impl From<Deployment> for Entry {
    fn from(deployment: Deployment) -> Self {
        deployment.0
    }
}

/// What the ledger keeps of a deployment.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: Uuid,
    /// Into which target.
    pub service_id: Uuid,
    /// Into which target.
    pub environment_id: Uuid,
    /// What is put there, or taken away.
    pub release_id: Uuid,
    /// What stays are measured by (see [`crate::domain::release::Identity::artefact`]); that of a removal is
    /// [`crate::domain::release::NOTHING`].
    pub artefact: String,
    pub status: Status,
    pub kind: Kind,
    /// What was said of it when it came on record.
    pub plan: Plan,
    /// Why the gate's rules were lifted.
    pub override_reason: Option<String>,
    /// How long it may stay silent; 0 for what was recorded.
    pub lease_seconds: i64,
    /// What its pipeline last said.
    pub progress: Progress,
    /// Who started it.
    pub actor: Actor,
    /// The credential of the pipeline that started it, by which it sees it through; none for others.
    pub credential: Option<Uuid>,
    /// The gate's answer that let it start; none for what was recorded.
    pub decision_id: Option<Uuid>,
    pub times: Times,
    pub standing: Standing,
}

impl Entry {
    /// As it was at a moment after its start. What is not known to have happened by then is left out, such as what reverted it.
    #[must_use]
    pub fn at(mut self, at: DateTime<Utc>) -> Self {
        let Times { heartbeat_at, finished_at, expired_at, superseded_at, .. } = &mut self.times;
        let known = |moment: &mut Option<DateTime<Utc>>| *moment = moment.filter(|moment| *moment <= at);
        let ended = expired_at.or(*finished_at).is_some_and(|end| end <= at);
        for moment in [heartbeat_at, finished_at, expired_at, superseded_at] {
            known(moment);
        }
        self.times.lease_expires_at = None;
        self.progress = Progress::default();
        self.standing.reverted_by = None;
        self.standing.late_status = None;
        if self.times.superseded_at.is_none() {
            self.standing.superseded_by = None;
        }
        if !ended {
            self.status = Status::Running;
            self.standing.preempted = false;
        } else if self.times.finished_at.is_none() {
            // A late result came after it was given up.
            self.status = Status::Expired;
            self.times.finished_at = self.times.expired_at;
        }
        self
    }

    /// The ids of its service and its environment.
    pub fn target(&self) -> (Uuid, Uuid) {
        (self.service_id, self.environment_id)
    }
}

/// What is said of a deployment, whether it is started or recorded. Its members go into events as they are.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Plan {
    /// How it replaces what was there.
    pub strategy: Strategy,
    /// Why, in its pipeline's words.
    pub reason: Option<String>,
    /// The pipeline that does it.
    pub pipeline_url: Option<String>,
    /// The person who set that off.
    pub initiated_by: Option<String>,
    /// The deployment whose damage it repairs.
    pub remediates: Option<Uuid>,
}

impl Plan {
    /// Checks what decides something; the rest is descriptive ([`crate::domain::descriptive`]).
    pub fn validate(&self, faults: &mut Faults) {
        let whose = self.initiated_by.as_deref().map(|who| text::free(who, SHORT_TEXT_MAX));
        faults.take_optional("/initiated_by", whose);
    }
}

/// Why the gate's rules are to be lifted: a reason that tells a reader something.
pub fn override_reason(given: &str) -> Result<String, Malformed> {
    let reason = text::telling(given, TEXT_MAX)?;
    if text::readable(&reason) >= OVERRIDE_REASON_MIN {
        return Ok(reason);
    }
    let detail = format!("must be at least {OVERRIDE_REASON_MIN} characters that can be read");
    Err(Malformed::new("too-short", detail))
}

/// What its pipeline last said of a deployment.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// A step of the strategy, such as `canary`.
    pub phase: Option<String>,
    /// The share of the traffic that reaches the release, in percent.
    pub traffic_percent: Option<i64>,
    /// A line for people.
    pub message: Option<String>,
}

impl Progress {
    /// Checks what decides something; the rest is descriptive ([`crate::domain::descriptive`]).
    pub fn validate(&self, faults: &mut Faults) {
        if self.traffic_percent.is_some_and(|percent| !(0..=TRAFFIC_MAX).contains(&percent)) {
            faults.add("/traffic_percent", "out-of-range", format!("must be from 0 to {TRAFFIC_MAX}"));
        }
    }

    /// What is known once this has been said after `before`: what is left out stays as it was.
    fn after(self, before: Self) -> Self {
        Self {
            phase: self.phase.or(before.phase),
            traffic_percent: self.traffic_percent.or(before.traffic_percent),
            message: self.message.or(before.message),
        }
    }
}

/// The moments of a deployment's life. They strictly increase within a target.
#[derive(Clone, Debug)]
pub struct Times {
    pub started_at: DateTime<Utc>,
    /// When it was last heard of.
    pub heartbeat_at: Option<DateTime<Utc>>,
    /// When its lease runs out, if nothing more is heard.
    pub lease_expires_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// When it was found silent for too long; it stays known when a late result comes in, and not when it is resumed.
    pub expired_at: Option<DateTime<Utc>>,
    /// The start of the stay it began or went on with.
    pub stay_started_at: Option<DateTime<Utc>>,
    /// When another took its place.
    pub superseded_at: Option<DateTime<Utc>>,
    /// For a rollback: when the release it returns to had last become current; what came after is reverted (see
    /// [`crate::domain::rollback::reverts_since`]).
    pub reverts_since: Option<DateTime<Utc>>,
}

impl Times {
    fn of_start(started_at: DateTime<Utc>) -> Self {
        Self {
            started_at,
            heartbeat_at: None,
            lease_expires_at: None,
            finished_at: None,
            expired_at: None,
            stay_started_at: None,
            superseded_at: None,
            reverts_since: None,
        }
    }
}

/// How a deployment came on record and what it counts for.
#[expect(
    clippy::struct_excessive_bools,
    reason = "five independent facts of the record, none a state of another"
)]
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Put on record after the fact, past the gate.
    pub recorded: bool,
    /// Recorded because its pipeline went on without an answer.
    pub ungated: bool,
    /// Counts as having gone through the gate: for soak, for promotion, and as a place to roll back to.
    pub credited: bool,
    /// A rollback to a verified choice.
    pub verified: bool,
    /// Cancelled by a rollback that took its place.
    pub preempted: bool,
    /// The deployment that took its place.
    pub superseded_by: Option<Uuid>,
    /// The rollback that reverted it: its release; and its artefact, unless the rollback returned to the same one.
    pub reverted_by: Option<Uuid>,
    /// A result that came too late to count.
    pub late_status: Option<Outcome>,
}

/// A deployment with the names of what it is about.
#[derive(Clone, Debug)]
pub struct NamedDeployment {
    pub deployment: Deployment,
    pub service: String,
    pub environment: String,
    pub release: Identity,
}

/// What a list of deployments is confined to.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub service: Option<String>,
    pub environment: Option<String>,
    /// The release's version.
    pub version: Option<String>,
    pub status: Option<Status>,
    pub kind: Option<Kind>,
    /// The subject or the token that started it, or the person who set that off.
    pub actor: Option<String>,
    /// Started at this moment or later.
    pub since: Option<DateTime<Utc>>,
    /// Started before this moment.
    pub until: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn succeeded(times: Times) -> Entry {
        Entry {
            id: Uuid::nil(),
            service_id: Uuid::nil(),
            environment_id: Uuid::nil(),
            release_id: Uuid::nil(),
            artefact: String::new(),
            status: Status::Succeeded,
            kind: Kind::Deploy,
            plan: Plan::default(),
            override_reason: None,
            lease_seconds: 600,
            progress: Progress::default(),
            actor: Actor { token: "ci".to_owned(), subject: "ci".to_owned() },
            credential: None,
            decision_id: None,
            times,
            standing: Standing { superseded_by: Some(Uuid::nil()), ..Standing::default() },
        }
    }

    #[test]
    fn of_then_nothing_is_known_that_came_later() {
        let (finished_at, superseded_at) = (Some(at(5)), Some(at(9)));
        let whole = succeeded(Times { finished_at, superseded_at, ..Times::of_start(at(1)) });
        let seen = |minute| {
            let Entry { status, times, standing, .. } = whole.clone().at(at(minute));
            (status, times.finished_at, times.superseded_at, standing.superseded_by)
        };
        assert_eq!(seen(4), (Status::Running, None, None, None));
        assert_eq!(seen(5), (Status::Succeeded, finished_at, None, None));
        assert_eq!(seen(9), (Status::Succeeded, finished_at, superseded_at, Some(Uuid::nil())));
    }

    #[test]
    fn a_late_result_comes_after_it_was_given_up() {
        let (expired_at, finished_at) = (Some(at(6)), Some(at(8)));
        let late = succeeded(Times { finished_at, expired_at, ..Times::of_start(at(1)) });
        let seen = |minute| {
            let entry = late.clone().at(at(minute));
            (entry.status, entry.times.finished_at)
        };
        let expected =
            [(Status::Running, None), (Status::Expired, expired_at), (Status::Succeeded, finished_at)];
        assert_eq!([5, 7, 8].map(seen), expected);
    }
}
