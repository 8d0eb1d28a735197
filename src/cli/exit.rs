//! The exit codes: what a script may rely on. No other code leaves the process, except the one of a wrapped command.

use std::process::ExitCode;

/// How a command ended, as a process exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// Everything asked for was done.
    pub const DONE: Self = Self(0);
    /// Something went wrong.
    pub const ERROR: Self = Self(1);
    /// The command line or its environment is wrong.
    pub const USAGE: Self = Self(2);
    /// Waybill refused, because of the gate or because of the state things are in.
    pub const REFUSED: Self = Self(5);
    /// `deploy` and `rollback` around a command: the gate refused, the command did not run.
    pub const GATE: Self = Self(121);
    /// `deploy` and `rollback` around a command: Waybill could not be reached.
    pub const UNREACHABLE: Self = Self(122);
    /// `deploy` and `rollback` around a command: the lease was lost while the command ran.
    pub const LEASE_LOST: Self = Self(123);
    /// The command to wrap exists but cannot be started, as shells say it.
    pub const CANNOT_EXECUTE: Self = Self(126);
    /// The command to wrap does not exist, as shells say it.
    pub const NOT_FOUND: Self = Self(127);
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}
