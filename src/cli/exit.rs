//! The exit codes: what a script may rely on. No other code leaves the process, except the one of a wrapped command.

use std::process::ExitCode;

/// The table of all of them, for people.
pub const TABLE: &str = "\
Exit codes:
  0    done
  1    something else went wrong; Waybill's answer or the message says what
  2    wrong use: the command line, a variable or a file that they name
  3    Waybill cannot be reached, or is not able to work
  4    the token is not good for this
  5    refused: by the gate, or by the state that things are in
  6    looked, and not all is as it should be (audit verify, decisions replay, migrate status)
Around a command (deploy, rollback) they are the command's own, and
  120  Waybill did not take it as it was asked (1, 2, 4); the command did not run
  121  refused (5); the command did not run
  122  Waybill cannot be reached (3); the command did not run
  123  the lease was lost: somebody else has the target, or it was canceled
  126  the command cannot be started
  127  the command is not there
  129, 130, 143  ended by SIGHUP, SIGINT or SIGTERM before the command ran";

/// How a command ended, as a process exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// Everything asked for was done.
    pub const DONE: Self = Self(0);
    /// Something else went wrong.
    pub const ERROR: Self = Self(1);
    /// The command line or its environment is wrong.
    pub const USAGE: Self = Self(2);
    /// Waybill cannot be reached, or is not able to work.
    pub const AWAY: Self = Self(3);
    /// The token is unknown, or has not the right.
    pub const DENIED: Self = Self(4);
    /// Waybill refused, because of the gate or because of the state things are in.
    pub const REFUSED: Self = Self(5);
    /// What was looked at is not as it should be.
    pub const UNSOUND: Self = Self(6);
    /// Around a command: Waybill did not take it as it was asked, the command did not run.
    pub const NOT_TAKEN: Self = Self(120);
    /// Around a command: Waybill refused, the command did not run.
    pub const GATE: Self = Self(121);
    /// Around a command: Waybill could not be reached, the command did not run.
    pub const UNREACHABLE: Self = Self(122);
    /// Around a command: the lease was lost while the command ran.
    pub const LEASE_LOST: Self = Self(123);
    /// The command to wrap exists but cannot be started, as shells say it.
    pub const CANNOT_EXECUTE: Self = Self(126);
    /// The command to wrap does not exist, as shells say it.
    pub const NOT_FOUND: Self = Self(127);

    /// The same around a command that did not run, where the small codes are the command's.
    pub fn around_a_command(self) -> Self {
        match self {
            Self::DONE => Self::DONE,
            Self::REFUSED => Self::GATE,
            Self::AWAY => Self::UNREACHABLE,
            _ => Self::NOT_TAKEN,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn around_a_command_no_code_of_ours_is_one_of_its_own() {
        let small = [Exit::ERROR, Exit::USAGE, Exit::AWAY, Exit::DENIED, Exit::REFUSED, Exit::UNSOUND];
        assert!(small.iter().all(|exit| exit.around_a_command().0 >= 120));
        assert_eq!(Exit::REFUSED.around_a_command(), Exit::GATE);
        for exit in small.iter().flat_map(|exit| [*exit, exit.around_a_command()]) {
            assert!(TABLE.contains(&format!("\n  {:<3}  ", exit.0)), "{exit:?}");
        }
    }
}
