//! What can go wrong in a client command, and the exit code each of it has.

use std::{io, time::Duration};

use chrono::TimeDelta;

use super::problem::Problem;
use crate::cli::{exit::Exit, output::duration};

/// The error of a client command; its text is for the person at the terminal and never holds a token.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line, the environment or a file named there is wrong.
    #[error("{0}")]
    Usage(String),
    /// What was asked for cannot be done as things stand.
    #[error("{0}")]
    Failed(String),
    /// Waybill answered with a problem, or did not answer.
    #[error(transparent)]
    Client(#[from] NoAnswer),
    /// The output could not be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// Waybill answered with something of another shape than this version of the client knows.
    #[error("cannot read Waybill's answer; is the server much older or newer than this client? {0}")]
    Shape(#[from] serde_json::Error),
}

impl Error {
    /// The exit code that tells a script what kind of error this is.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::USAGE,
            Self::Client(error) => error.exit(),
            // Whoever closed the pipe has read all they wanted.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::DONE,
            Self::Failed(_) | Self::Output(_) | Self::Shape(_) => Exit::ERROR,
        }
    }
}

/// What came back instead of an answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    #[error("cannot reach Waybill at {at}: {cause}")]
    Unreachable { at: String, cause: String, transient: bool },
    #[error("{problem}")]
    Problem {
        problem: Box<Problem>,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// It was not asked, because it did not answer before.
    #[error(
        "Waybill did not answer {} and is left alone for another {}",
        if *failures == 1 { "the last time".to_owned() } else { format!("the last {failures} times") },
        duration(*left)
    )]
    LeftAlone { failures: u32, left: TimeDelta },
}

impl NoAnswer {
    /// Whether the same call may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { transient, .. } => *transient,
            Self::LeftAlone { .. } => false,
            Self::Problem { problem, .. } => matches!(problem.status, 429 | 502..=504),
        }
    }

    /// Whether Waybill gave no verdict at all: nobody answered, or it is not able to work.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::LeftAlone { .. } => true,
            Self::Problem { problem, .. } => problem.status == 429 || problem.status >= 500,
        }
    }

    fn exit(&self) -> Exit {
        match self.problem().map(|problem| problem.status) {
            _ if self.is_outage() => Exit::AWAY,
            Some(401 | 403) => Exit::DENIED,
            // It was edited by somebody else in the meantime.
            Some(409 | 412) => Exit::REFUSED,
            _ => Exit::ERROR,
        }
    }

    /// Whether the state things are in forbids it.
    pub fn is_conflict(&self) -> bool {
        self.problem().is_some_and(|problem| problem.status == 409)
    }

    /// Whether a deployment is ours no longer: somebody else has its target, or it was canceled.
    pub fn is_taken_away(&self) -> bool {
        let deployment = self.problem().filter(|problem| problem.status == 409);
        deployment.and_then(|problem| problem.raw.get("deployment")).is_some_and(|deployment| {
            deployment.get("taken_by").is_some_and(|by| !by.is_null())
                || deployment.get("status").is_some_and(|status| status == "canceled")
        })
    }

    pub fn is_forbidden(&self) -> bool {
        self.problem().is_some_and(|problem| problem.status == 403)
    }

    pub fn is_not_found(&self) -> bool {
        self.problem().is_some_and(|problem| problem.status == 404)
    }

    fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Unreachable { .. } | Self::LeftAlone { .. } => None,
            Self::Problem { problem, .. } => Some(problem),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, slug: &str) -> Error {
        let problem = Problem { kind: format!("http://w/problems/{slug}"), status, ..Problem::default() };
        Error::Client(NoAnswer::Problem { problem: Box::new(problem), retry_after: None })
    }

    #[test]
    fn every_error_has_its_exit_code() {
        assert_eq!(Error::Usage(String::new()).exit(), Exit::USAGE);
        assert_eq!(Error::Failed(String::new()).exit(), Exit::ERROR);
        assert_eq!(answer(409, "gate-denied").exit(), Exit::REFUSED);
        assert_eq!(answer(409, "conflict").exit(), Exit::REFUSED);
        assert_eq!(answer(412, "stale").exit(), Exit::REFUSED);
        assert_eq!(answer(401, "unauthenticated").exit(), Exit::DENIED);
        assert_eq!(answer(403, "forbidden").exit(), Exit::DENIED);
        assert_eq!(answer(422, "invalid-input").exit(), Exit::ERROR);
        assert_eq!(answer(429, "rate-limited").exit(), Exit::AWAY);
        assert_eq!(answer(503, "unavailable").exit(), Exit::AWAY);
        assert_eq!(Error::Output(io::Error::from(io::ErrorKind::BrokenPipe)).exit(), Exit::DONE);
        assert_eq!(Error::Output(io::Error::from(io::ErrorKind::StorageFull)).exit(), Exit::ERROR);
    }
}
