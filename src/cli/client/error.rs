//! What can go wrong in a client command, and the exit code each of it has.

use std::io;

use super::{exit::Exit, http};

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
    Client(#[from] http::Error),
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
            Self::Client(error) if error.is_conflict() => Exit::REFUSED,
            // Whoever closed the pipe has read all they wanted.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::DONE,
            Self::Failed(_) | Self::Client(_) | Self::Output(_) | Self::Shape(_) => Exit::ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::problem::Problem;

    fn answer(status: u16, slug: &str) -> Error {
        let problem = Problem { kind: format!("http://w/problems/{slug}"), status, ..Problem::default() };
        Error::Client(http::Error::Problem { problem: Box::new(problem), retry_after: None })
    }

    #[test]
    fn every_error_has_its_exit_code() {
        assert_eq!(Error::Usage(String::new()).exit(), Exit::USAGE);
        assert_eq!(Error::Failed(String::new()).exit(), Exit::ERROR);
        assert_eq!(answer(409, "gate-denied").exit(), Exit::REFUSED);
        assert_eq!(answer(409, "conflict").exit(), Exit::REFUSED);
        assert_eq!(answer(403, "forbidden").exit(), Exit::ERROR);
        assert_eq!(Error::Output(io::Error::from(io::ErrorKind::BrokenPipe)).exit(), Exit::DONE);
        assert_eq!(Error::Output(io::Error::from(io::ErrorKind::StorageFull)).exit(), Exit::ERROR);
    }
}
