//! The process between the wrapper and its command: when the wrapper is gone, it ends the command.
//!
//! Our binary once more, in a process group of its own, so that what kills the wrapper's group leaves it alone. Its standard
//! input is a socket whose other end only the wrapper has: that it closes is how the wrapper's end is noticed, whatever ended
//! it. The command's own standard input comes over the socket, and what becomes of the command goes back.

use std::{
    ffi::OsString,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{net::UnixStream, process::ExitStatusExt as _},
    },
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::{
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, recvmsg, sendmsg,
    },
    process::{
        Pid, Signal, getpgrp, getpid, kill_process, kill_process_group, test_kill_process,
        test_kill_process_group,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    time::{sleep, timeout},
};

use super::signals::Signals;
use crate::cli::{exit::Exit, output::error as say_error};

/// The hidden command that makes our binary the shim.
pub const SHIM: &str = "watch-over";

/// How long a command may take to end after SIGTERM: less than what is left of the shortest lease when its wrapper dies
/// right before a heartbeat, so that it is gone before another may start.
pub const GRACE: Duration = Duration::from_secs(5);

/// How often it is looked whether it has ended.
pub const POLL: Duration = Duration::from_millis(50);

/// The command to run; for the wrapper's own use.
#[derive(Debug, clap::Args)]
pub struct ShimArgs {
    /// The command, with its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// What the shim says of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// It runs as this process.
    Started(i32),
    /// It cannot be started, for this error of the operating system.
    Failed(i32),
    /// It has ended with this status, as the operating system tells it.
    Ended(i32),
}

impl Word {
    /// How long a word is on the socket.
    pub const LENGTH: usize = 5;

    fn bytes(self) -> [u8; Self::LENGTH] {
        let (tag, value) = match self {
            Self::Started(value) => (1, value),
            Self::Failed(value) => (2, value),
            Self::Ended(value) => (3, value),
        };
        let [a, b, c, d] = value.to_le_bytes();
        [tag, a, b, c, d]
    }

    /// Reads a word; none where it is none.
    pub fn read([tag, value @ ..]: [u8; Self::LENGTH]) -> Option<Self> {
        let value = i32::from_le_bytes(value);
        match tag {
            1 => Some(Self::Started(value)),
            2 => Some(Self::Failed(value)),
            3 => Some(Self::Ended(value)),
            _ => None,
        }
    }
}

/// Gives the command's standard input over the socket.
pub fn give(socket: &UnixStream, input: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let inputs = [input];
    rights.push(SendAncillaryMessage::ScmRights(&inputs));
    sendmsg(socket, &[IoSlice::new(&[0])], &mut rights, SendFlags::empty())?;
    Ok(())
}

fn take(socket: &UnixStream) -> io::Result<OwnedFd> {
    // Nobody else may inherit it.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let flags = RecvFlags::CMSG_CLOEXEC;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let flags = RecvFlags::empty();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    recvmsg(socket, &mut [IoSliceMut::new(&mut [0])], &mut rights, flags)?;
    let input = rights.drain().find_map(|message| {
        let RecvAncillaryMessage::ScmRights(mut inputs) = message else { return None };
        inputs.next()
    });
    input.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Runs the command, and ends it when the wrapper is gone or says so.
pub async fn run(args: ShimArgs) -> Exit {
    match supervise(&args.command).await {
        Ok(()) => Exit::DONE,
        Err(error) => {
            say_error(format_args!("the command is not watched over: {error}"));
            Exit::ERROR
        }
    }
}

async fn supervise(command: &[OsString]) -> io::Result<()> {
    // What a terminal sends to everybody is for the command and the wrapper.
    let _caught = Signals::new()?;
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let input = take(&socket)?;
    socket.set_nonblocking(true)?;
    let mut wrapper = tokio::net::UnixStream::from_std(socket)?;
    let mut charge = match Charge::start(command, input) {
        Ok(charge) => charge,
        Err(error) => {
            let failed = Word::Failed(error.raw_os_error().unwrap_or_default());
            return wrapper.write_all(&failed.bytes()).await;
        }
    };
    // Whether anybody listens shows in what is read.
    wrapper.write_all(&Word::Started(charge.pid.as_raw_nonzero().get()).bytes()).await.ok();
    let status = tokio::select! {
        status = charge.process.wait() => status?,
        () = closed(&mut wrapper) => charge.end().await?,
    };
    wrapper.write_all(&Word::Ended(status.into_raw()).bytes()).await.ok();
    Ok(())
}

/// Waits until the other end is closed.
async fn closed(wrapper: &mut tokio::net::UnixStream) {
    while let Ok(1..) = wrapper.read(&mut [0; 16]).await {}
}

/// The command.
struct Charge {
    process: Child,
    pid: Pid,
    /// Whether it leads a group of its own: always but in the foreground of a terminal.
    leads: bool,
}

impl Charge {
    fn start(command: &[OsString], input: OwnedFd) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::from(input));
        let leads = getpgrp() == getpid();
        if leads {
            command.process_group(0);
        } else {
            adopt()?;
        }
        let process = command.spawn()?;
        let pid =
            process.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { process, pid, leads })
    }

    /// Ends it and everything that it has started: politely first.
    async fn end(&mut self) -> io::Result<ExitStatus> {
        self.send(Signal::TERM);
        // What is stopped would not hear it.
        self.send(Signal::CONT);
        let gone = async {
            self.process.wait().await.ok();
            while self.is_left() {
                sleep(POLL).await;
            }
        };
        if timeout(GRACE, gone).await.is_err() {
            self.send(Signal::KILL);
        }
        self.process.wait().await
    }

    /// That something has just ended is no fault.
    fn send(&self, signal: Signal) {
        if self.leads {
            kill_process_group(self.pid, signal).ok();
            return;
        }
        for pid in descendants(self.pid) {
            kill_process(pid, signal).ok();
        }
    }

    fn is_left(&self) -> bool {
        if self.leads {
            return test_kill_process_group(self.pid).is_ok();
        }
        descendants(self.pid).into_iter().any(|pid| test_kill_process(pid).is_ok())
    }
}

/// In the foreground the command's group is that of whoever called the wrapper, which must not be ended. Then what it has
/// started is known by its parents, and stays so when they end.
#[cfg(target_os = "linux")]
fn adopt() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(getpid()))?)
}

#[cfg(not(target_os = "linux"))]
fn adopt() -> io::Result<()> {
    Ok(())
}

/// The processes below us that have not ended.
#[cfg(target_os = "linux")]
fn descendants(_command: Pid) -> Vec<Pid> {
    let folders = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let living: Vec<(Pid, i32)> = folders
        .filter_map(|folder| {
            let pid = Pid::from_raw(folder.file_name().to_str()?.parse().ok()?)?;
            let stat = std::fs::read_to_string(folder.path().join("stat")).ok()?;
            // The name comes before, in brackets, and may hold anything.
            let mut words = stat.rsplit_once(')')?.1.split_whitespace();
            words.next().filter(|state| *state != "Z")?;
            Some((pid, words.next()?.parse().ok()?))
        })
        .collect();
    let mut below = vec![getpid()];
    let mut looked_at = 0;
    while let Some(parent) = below.get(looked_at).map(|pid| pid.as_raw_nonzero().get()) {
        below.extend(living.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        looked_at += 1;
    }
    below.split_off(1)
}

/// Elsewhere than on Linux only the command itself is known.
#[cfg(not(target_os = "linux"))]
fn descendants(command: Pid) -> Vec<Pid> {
    vec![command]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_were_said() {
        for word in [Word::Started(4242), Word::Failed(2), Word::Ended(15), Word::Ended(-1)] {
            assert_eq!(Word::read(word.bytes()), Some(word));
        }
        assert_eq!(Word::read([9, 0, 0, 0, 0]), None);
    }

    #[test]
    fn what_is_given_over_the_socket_is_taken_from_it() -> io::Result<()> {
        let (ours, theirs) = UnixStream::pair()?;
        let (mut reader, mut writer) = io::pipe()?;
        give(&ours, reader.as_fd())?;
        let mut taken = std::fs::File::from(take(&theirs)?);
        io::Write::write_all(&mut writer, b"x")?;
        drop(writer);
        assert_eq!(io::Read::read(&mut taken, &mut [0; 2])?, 1);
        assert_eq!(io::Read::read(&mut reader, &mut [0; 2])?, 0, "it is the same pipe");
        Ok(())
    }
}
