//! The command that deploys, as a child process with our own input and output.
//!
//! In the foreground of a terminal it stays in our process group: it may then read from the terminal, and Ctrl-C reaches
//! it from the terminal itself, so that SIGINT is not passed on a second time. Anywhere else, as in a pipeline, it leads
//! a group of its own, so that a signal reaches everything it has started and reaches it once.

use std::{ffi::OsString, fs::File, io, os::unix::process::ExitStatusExt as _, process::ExitStatus};

use rustix::{
    process::{Pid, Signal, getpgrp, kill_process, kill_process_group},
    termios::tcgetpgrp,
};
use tokio::process::Command;

use super::signals::Caught;
use crate::cli::client::exit::Exit;

/// What leads to the client's token. Of the rest of the environment the command gets everything: also the settings of a
/// server, which may be what it deploys.
const CREDENTIALS: [&str; 2] = ["WAYBILL_TOKEN", "WAYBILL_TOKEN_FILE"];

/// What a command is given besides our own environment.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// The version to deploy.
    pub version: &'a str,
    /// The deployment's id, if there is one.
    pub deployment: Option<&'a str>,
    /// Whether it keeps our token.
    pub token: bool,
}

/// A running command.
pub struct Child {
    process: tokio::process::Child,
    foreground: bool,
}

impl Child {
    /// Starts the command; what it is given is in its environment.
    pub fn spawn(command: &[OsString], given: Given<'_>) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments).env("WAYBILL_VERSION", given.version);
        if !given.token {
            for name in CREDENTIALS {
                command.env_remove(name);
            }
        }
        if let Some(id) = given.deployment {
            command.env("WAYBILL_DEPLOYMENT_ID", id);
        }
        let foreground = in_foreground();
        if !foreground {
            command.process_group(0);
        }
        Ok(Self { process: command.spawn()?, foreground })
    }

    /// Waits for its end.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.process.wait().await
    }

    /// Passes on a signal that came to us.
    pub fn pass_on(&self, caught: Caught) {
        if !(self.foreground && caught == Caught::Interrupt) {
            self.send(caught.signal());
        }
    }

    /// Sends a signal; that the command has just ended is no fault.
    pub fn send(&self, signal: Signal) {
        let pid = self.process.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let Some(pid) = pid else { return };
        let sent = if self.foreground { kill_process(pid, signal) } else { kill_process_group(pid, signal) };
        sent.ok();
    }
}

/// Whether Ctrl-C on the terminal goes to our process group.
fn in_foreground() -> bool {
    File::open("/dev/tty").is_ok_and(|terminal| tcgetpgrp(terminal).is_ok_and(|group| group == getpgrp()))
}

/// The exit code as shells say it: the command's own, or 128 and the signal that killed it.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(Exit::ERROR.0)
}

/// The exit code for a command that could not be started, as shells say it.
pub fn spawn_exit(error: &io::Error) -> Exit {
    if error.kind() == io::ErrorKind::NotFound { Exit::NOT_FOUND } else { Exit::CANNOT_EXECUTE }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: Given<'_> = Given { version: "1", deployment: None, token: false };

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(exit_code(ExitStatus::from_raw(0)), 0);
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(15)), 143);
        assert_eq!(spawn_exit(&io::ErrorKind::NotFound.into()).0, 127);
        assert_eq!(spawn_exit(&io::ErrorKind::PermissionDenied.into()).0, 126);
    }

    #[tokio::test]
    async fn a_signal_ends_the_command() {
        let Ok(mut child) = Child::spawn(&["sleep".into(), "60".into()], GIVEN) else { return };
        child.send(Signal::TERM);
        let code = child.wait().await.map(exit_code).ok();
        assert_eq!(code, Some(143));
        child.send(Signal::TERM);
    }
}
