//! The command that deploys, as a child process with our own input and output.
//!
//! In the foreground of a terminal it stays in our process group: it may then read from the terminal, and Ctrl-C reaches
//! it from the terminal itself, so that SIGINT is not passed on a second time. Anywhere else, as in a pipeline, it leads
//! a group of its own, so that a signal reaches everything it has started and reaches it once.
//!
//! Between us and it is a shim that ends it when we are gone.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, process::ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use bytes::BytesMut;
use rustix::{
    io::Errno,
    net::{Shutdown, shutdown},
    process::{
        Pid, Signal, getpgrp, getpid, kill_process, kill_process_group, test_kill_process,
        test_kill_process_group,
    },
    termios::tcgetpgrp,
};
use tokio::{
    io::AsyncReadExt as _,
    net::UnixStream,
    process::Command,
    time::{sleep, timeout},
};

use super::{
    shim::{self, Word},
    signals::Caught,
};
use crate::cli::{exit::Exit, output::plain};

/// What leads to the client's token. Of the rest of the environment the command gets everything: also the settings of a
/// server, which may be what it deploys.
const CREDENTIALS: [&str; 4] =
    ["WAYBILL_TOKEN", "WAYBILL_TOKEN_FILE", "WAYBILL_ID_TOKEN", "WAYBILL_ID_TOKEN_FILE"];

/// What a command is given besides our own environment.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// What is deployed or removed, as far as that is known.
    pub version: Option<&'a str>,
    pub deployment: Option<&'a str>,
    /// Whether it keeps our token.
    pub token: bool,
}

/// A running command, with the shim between us and it.
pub struct Child {
    shim: tokio::process::Child,
    socket: UnixStream,
    heard: BytesMut,
    status: Option<ExitStatus>,
    command: Pid,
    foreground: bool,
}

impl Child {
    /// Starts the command; what it is given is in its environment.
    pub async fn spawn(command: &[OsString], given: Given<'_>) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let mut line = Command::new(own_binary());
        line.arg0("waybill")
            .arg(shim::SHIM)
            .arg("--")
            .args(command)
            .stdin(Stdio::from(OwnedFd::from(theirs)));
        if let Some(version) = given.version {
            line.env("WAYBILL_VERSION", version);
        }
        if !given.token {
            for name in CREDENTIALS {
                line.env_remove(name);
            }
        }
        if let Some(id) = given.deployment {
            line.env("WAYBILL_DEPLOYMENT_ID", id);
        }
        let foreground = in_foreground();
        if !foreground {
            line.process_group(0);
        }
        let shim = line.spawn()?;
        // It holds the other end of the socket, of which we must have none.
        drop(line);
        shim::give(&ours, io::stdin().as_fd())?;
        ours.set_nonblocking(true)?;
        let socket = UnixStream::from_std(ours)?;
        let (heard, status) = (BytesMut::new(), None);
        let mut child = Self { shim, socket, heard, status, command: getpid(), foreground };
        match child.hear().await? {
            Some(Word::Started(pid)) => {
                child.command = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidData)?;
            }
            Some(Word::Failed(error)) => {
                return Err(named(command, &io::Error::from_raw_os_error(error)));
            }
            Some(Word::Ended(_)) | None => return Err(io::Error::other("our own process for it has ended")),
        }
        Ok(child)
    }

    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        while self.status.is_none() {
            match self.hear().await? {
                Some(Word::Ended(status)) => self.status = Some(ExitStatus::from_raw(status)),
                Some(Word::Started(_) | Word::Failed(_)) => {}
                None => {
                    // Somebody has killed the shim, and nobody but us can end the command.
                    self.send(Signal::TERM);
                    self.send(Signal::CONT);
                    let gone = async {
                        while self.is_left() {
                            sleep(shim::POLL).await;
                        }
                    };
                    if timeout(shim::GRACE, gone).await.is_err() {
                        self.send(Signal::KILL);
                    }
                    self.status = Some(self.shim.wait().await?);
                }
            }
        }
        self.shim.wait().await?;
        self.status.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The next word of the shim; none once it is gone. May be asked again when it was not waited for.
    async fn hear(&mut self) -> io::Result<Option<Word>> {
        while self.heard.len() < Word::LENGTH {
            match self.socket.read_buf(&mut self.heard).await {
                Ok(1..) => {}
                Ok(0) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let bytes = self.heard.split_to(Word::LENGTH);
        let word = bytes.as_ref().try_into().ok().and_then(Word::read);
        word.map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Ends it and all that it has started: SIGTERM, and after [`shim::GRACE`] SIGKILL.
    pub fn end(&self) {
        // The shim does the same when we are gone.
        shutdown(&self.socket, Shutdown::Write).ok();
    }

    pub fn pass_on(&self, caught: Caught) {
        if !(self.foreground && caught == Caught::Interrupt) {
            self.send(caught.signal());
        }
    }

    /// Sends a signal; that the command has just ended is no fault.
    pub fn send(&self, signal: Signal) {
        let pid = self.command;
        let sent = if self.foreground { kill_process(pid, signal) } else { kill_process_group(pid, signal) };
        sent.ok();
    }

    fn is_left(&self) -> bool {
        let pid = self.command;
        let asked = if self.foreground { test_kill_process(pid) } else { test_kill_process_group(pid) };
        asked.is_ok()
    }

    /// Whether it is in the foreground of a terminal, which then stops it and lets it go on by itself.
    pub fn is_in_foreground(&self) -> bool {
        self.foreground
    }
}

/// The very binary that runs, also when another has taken its place in the file system.
#[cfg(target_os = "linux")]
fn own_binary() -> PathBuf {
    "/proc/self/exe".into()
}

#[cfg(not(target_os = "linux"))]
fn own_binary() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_unknown| "waybill".into())
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

/// The same error, which says what could not be started, as shells do, and why.
fn named(command: &[OsString], error: &io::Error) -> io::Error {
    let program = Path::new(command.first().map_or(OsStr::new(""), OsString::as_os_str));
    let is_path = program.as_os_str().as_bytes().contains(&b'/');
    let why = match Errno::from_io_error(error) {
        Some(Errno::NOENT) if !is_path => "command not found".to_owned(),
        Some(Errno::NOENT) if program.exists() => {
            "the interpreter that its first line names is not there".to_owned()
        }
        Some(Errno::NOENT) => "no such file".to_owned(),
        Some(Errno::ACCESS) if program.is_dir() => "is a directory".to_owned(),
        Some(Errno::ACCESS) => "may not be executed; `chmod +x` lets it".to_owned(),
        Some(Errno::NOEXEC) => {
            "is no program, and has no first line that names one, such as #!/bin/sh".to_owned()
        }
        _ => error.to_string(),
    };
    io::Error::new(error.kind(), format!("{}: {why}", plain(&program.to_string_lossy())))
}

/// The exit code for a command that could not be started, as shells say it.
pub fn spawn_exit(error: &io::Error) -> Exit {
    if error.kind() == io::ErrorKind::NotFound { Exit::NOT_FOUND } else { Exit::CANNOT_EXECUTE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(exit_code(ExitStatus::from_raw(0)), 0);
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(15)), 143);
        assert_eq!(spawn_exit(&io::ErrorKind::NotFound.into()).0, 127);
        assert_eq!(spawn_exit(&io::ErrorKind::PermissionDenied.into()).0, 126);
    }
}
