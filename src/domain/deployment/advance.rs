//! The state machine of a deployment: what each command does to it, by the state it is in.

use chrono::{DateTime, Utc};

use crate::domain::vocabulary::{Outcome, Status};

/// Something that is asked of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
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
pub(super) enum Move {
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
pub(super) struct Situation {
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
pub(super) fn advance(situation: Situation, command: Command, now: DateTime<Utc>) -> Result<Move, Refused> {
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
