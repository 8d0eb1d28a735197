//! A deployment: one attempt to put a release into an environment, and the moves of its life.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::domain::{
    actor::Actor,
    moment::is_ahead,
    release::Identity,
    vocabulary,
    vocabulary::{Kind, Outcome, Status},
};

/// A deployment as the ledger keeps it.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Identity.
    pub id: Uuid,
    /// Into which target.
    pub service_id: Uuid,
    /// Into which target.
    pub environment_id: Uuid,
    /// What is put there.
    pub release_id: Uuid,
    /// What stays are measured by (see [`crate::domain::release::Identity::artefact`]).
    pub artefact: String,
    /// Where it is in its life.
    pub status: Status,
    /// What it was asked to be.
    pub plan: Plan,
    /// What its pipeline last said.
    pub progress: Progress,
    /// Who started it.
    pub actor: Actor,
    /// The gate's answer that let it start; none for what was recorded.
    pub decision_id: Option<Uuid>,
    /// Its moments.
    pub times: Times,
    /// How it came on record and what it counts for.
    pub standing: Standing,
}

impl Deployment {
    /// What its moves depend on, given when the latest deployment of its target started.
    pub fn situation(&self, last_started_at: Option<DateTime<Utc>>) -> Situation {
        Situation {
            status: self.status,
            lease_expires_at: self.times.lease_expires_at,
            later_started: last_started_at.is_some_and(|last| last > self.times.started_at),
            resumable_until: None,
        }
    }

    /// The same for a heartbeat, given how long a lease may be at most, and whether anything else was started in its target
    /// since it started, or put on record as having happened since.
    pub fn resumption(&self, max_lease: TimeDelta, overtaken: bool) -> Situation {
        let until = self.times.started_at.checked_add_signed(max_lease).unwrap_or(DateTime::<Utc>::MAX_UTC);
        Situation { later_started: overtaken, resumable_until: Some(until), ..self.situation(None) }
    }

    /// Makes it run again, as if its lease had never run out.
    pub fn resume(&mut self) {
        self.status = Status::Running;
        self.times.finished_at = None;
        self.times.expired_at = None;
    }
}

/// What a deployment was asked to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it is for.
    pub kind: Kind,
    /// How it replaces what was there.
    pub strategy: vocabulary::Strategy,
    /// Why, in its pipeline's words.
    pub reason: Option<String>,
    /// Why the gate's rules were lifted.
    pub override_reason: Option<String>,
    /// The pipeline that does it.
    pub pipeline_url: Option<String>,
    /// The person who set that off.
    pub initiated_by: Option<String>,
    /// The deployment whose damage it repairs.
    pub remediates: Option<Uuid>,
    /// How long it may stay silent, in seconds.
    pub lease_seconds: i64,
}

/// What its pipeline last said of it.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// A step of the strategy, such as `canary`.
    pub phase: Option<String>,
    /// The share of the traffic that reaches the release, in percent.
    pub traffic_percent: Option<i64>,
    /// A line for people.
    pub message: Option<String>,
}

/// The moments of a deployment's life. They strictly increase within a target.
#[derive(Clone, Debug)]
pub struct Times {
    /// When it started.
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
pub struct Named {
    /// The deployment.
    pub deployment: Deployment,
    /// Its service's name.
    pub service: String,
    /// Its environment's name.
    pub environment: String,
    /// Its release.
    pub release: Identity,
}

/// What a list of deployments is confined to.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The service's name.
    pub service: Option<String>,
    /// The environment's name.
    pub environment: Option<String>,
    /// The status.
    pub status: Option<Status>,
    /// The kind.
    pub kind: Option<Kind>,
    /// Started at this moment or later.
    pub since: Option<DateTime<Utc>>,
    /// Started before this moment.
    pub until: Option<DateTime<Utc>>,
}

/// Something that is asked of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// It is still under way.
    Heartbeat,
    /// It has come out this way.
    Finish(Outcome),
    /// It has been silent; has its lease run out?
    Expire,
    /// A rollback takes its place at once.
    Preempt,
}

/// What a command does to a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// The lease begins anew.
    Renew,
    /// It had expired and goes on, with a lease that begins anew.
    Resume,
    /// It ends with this status.
    End(Status),
    /// It had ended so already; nothing changes.
    Already,
    /// Its result is kept beside the status, and changes nothing.
    KeepLate(Outcome),
}

/// A command that the deployment's state does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deployment is {status}; {}", remedy(*.status, *.overtaken))]
pub struct Refused {
    /// The state it is in.
    pub status: Status,
    /// Whether it is too late because something else has happened in its target.
    pub overtaken: bool,
}

fn remedy(status: Status, overtaken: bool) -> &'static str {
    match status {
        Status::Running => "it can be heartbeat or finished; its lease has not run out",
        Status::Expired if overtaken => {
            "it cannot be resumed, because something else was started or recorded in its target since; start a new one \
             to deploy again"
        }
        Status::Expired => {
            "it cannot be resumed, because it started longer ago than `ledger.max_lease`; it may still be finished, \
             as long as no later deployment of its target has started"
        }
        Status::Succeeded | Status::Failed | Status::Canceled => {
            "that is final; start a new one to deploy again"
        }
    }
}

/// The facts that a move depends on.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// The state it is in.
    pub status: Status,
    /// When its lease runs out.
    pub lease_expires_at: Option<DateTime<Utc>>,
    /// Whether a later deployment of its target has started.
    pub later_started: bool,
    /// Until when a heartbeat resumes it after its lease has run out.
    pub resumable_until: Option<DateTime<Utc>>,
}

/// What a command does to a deployment in this situation: the whole state machine.
pub fn advance(situation: Situation, command: Command, now: DateTime<Utc>) -> Result<Move, Refused> {
    let Situation { status, lease_expires_at, later_started, resumable_until } = situation;
    let resumable = resumable_until.is_some_and(|until| now <= until) && !later_started;
    let overdue = lease_expires_at.is_some_and(|end| end <= now);
    match (status, command) {
        (Status::Running, Command::Heartbeat) => Ok(Move::Renew),
        (Status::Expired, Command::Heartbeat) if resumable => Ok(Move::Resume),
        (Status::Running, Command::Expire) if overdue => Ok(Move::End(Status::Expired)),
        (Status::Running, Command::Preempt) => Ok(Move::End(Status::Canceled)),
        (Status::Expired, Command::Finish(outcome)) if later_started => Ok(Move::KeepLate(outcome)),
        (Status::Running | Status::Expired, Command::Finish(outcome)) => Ok(Move::End(outcome.into())),
        (_, Command::Finish(outcome)) if status == outcome.into() => Ok(Move::Already),
        (
            Status::Running | Status::Succeeded | Status::Failed | Status::Canceled | Status::Expired,
            Command::Heartbeat | Command::Finish(_) | Command::Expire | Command::Preempt,
        ) => Err(Refused { status, overtaken: later_started }),
    }
}

/// Whether a lease ends later than one that begins now would: the clock was wrong when it began.
pub fn is_beyond(lease_expires_at: DateTime<Utc>, now: DateTime<Utc>, seconds: i64) -> bool {
    is_ahead(lease_expires_at, lease_end(now, seconds))
}

/// When a lease that begins now runs out, of a deployment that may be silent for so many seconds.
pub fn lease_end(now: DateTime<Utc>, seconds: i64) -> DateTime<Utc> {
    now + TimeDelta::seconds(seconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    fn situation(status: Status, later_started: bool) -> Situation {
        Situation { status, lease_expires_at: Some(at(60)), later_started, resumable_until: Some(at(100)) }
    }

    #[test]
    fn a_running_one_moves_to_every_end() {
        let running = situation(Status::Running, false);
        assert_eq!(advance(running, Command::Heartbeat, at(0)), Ok(Move::Renew));
        for outcome in Outcome::ALL {
            assert_eq!(advance(running, Command::Finish(*outcome), at(0)), Ok(Move::End((*outcome).into())));
        }
        assert_eq!(advance(running, Command::Preempt, at(0)), Ok(Move::End(Status::Canceled)));
    }

    #[test]
    fn a_lease_runs_out_at_its_end_and_not_before() {
        let running = situation(Status::Running, false);
        assert_eq!(
            advance(running, Command::Expire, at(59)),
            Err(Refused { status: Status::Running, overtaken: false })
        );
        assert_eq!(advance(running, Command::Expire, at(60)), Ok(Move::End(Status::Expired)));
    }

    #[test]
    fn an_expired_one_takes_a_late_result_until_a_later_one_starts() {
        let finish = Command::Finish(Outcome::Succeeded);
        let end = advance(situation(Status::Expired, false), finish, at(99));
        assert_eq!(end, Ok(Move::End(Status::Succeeded)));
        let late = advance(situation(Status::Expired, true), finish, at(99));
        assert_eq!(late, Ok(Move::KeepLate(Outcome::Succeeded)));
    }

    #[test]
    fn a_heartbeat_resumes_an_expired_one_for_a_while_and_until_another_has_its_place() {
        let beat = |later, second| advance(situation(Status::Expired, later), Command::Heartbeat, at(second));
        assert_eq!((beat(false, 61), beat(false, 100)), (Ok(Move::Resume), Ok(Move::Resume)));
        let (late, overtaken) = (beat(false, 101).unwrap_err(), beat(true, 61).unwrap_err());
        assert!(late.to_string().contains("may still be finished"), "{late}");
        assert!(overtaken.to_string().contains("something else was started"), "{overtaken}");
        for status in [Status::Succeeded, Status::Failed, Status::Canceled] {
            assert!(advance(situation(status, false), Command::Heartbeat, at(61)).is_err(), "{status}");
        }
    }

    #[test]
    fn the_same_end_again_is_no_error_and_another_is() {
        let succeeded = situation(Status::Succeeded, true);
        assert_eq!(advance(succeeded, Command::Finish(Outcome::Succeeded), at(0)), Ok(Move::Already));
        let refused = advance(succeeded, Command::Finish(Outcome::Failed), at(0)).unwrap_err();
        assert!(refused.to_string().contains("succeeded"), "{refused}");
    }

    fn command() -> impl Strategy<Value = Command> {
        prop_oneof![
            Just(Command::Heartbeat),
            Just(Command::Expire),
            Just(Command::Preempt),
            prop::sample::select(Outcome::ALL).prop_map(Command::Finish),
        ]
    }

    proptest! {
        #[test]
        fn no_walk_leaves_a_final_state(commands in prop::collection::vec((command(), 0i64..120, any::<bool>()), 1..20)) {
            let mut status = Status::Running;
            for (command, second, later) in commands {
                let next = match advance(situation(status, later), command, at(second)) {
                    Ok(Move::End(next)) => next,
                    Ok(Move::Resume) => Status::Running,
                    Ok(Move::Renew | Move::Already | Move::KeepLate(_)) | Err(_) => continue,
                };
                prop_assert!(matches!(status, Status::Running | Status::Expired), "{status} moved to {next}");
                prop_assert!(next != Status::Running || status == Status::Expired, "{status} was resumed");
                prop_assert!(status == Status::Running || !later, "it moved after a later start");
                status = next;
            }
        }
    }
}
