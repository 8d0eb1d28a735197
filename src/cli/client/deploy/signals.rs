//! The signals that ask a deployment to stop, or to pause.

use std::io;

use rustix::process::Signal;
use tokio::signal::unix::{Signal as Listener, SignalKind, signal};

/// A signal that was caught instead of ending the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caught {
    /// The terminal is gone.
    Hangup,
    /// Ctrl-C.
    Interrupt,
    /// The polite request to end.
    Terminate,
}

impl Caught {
    pub fn signal(self) -> Signal {
        match self {
            Self::Hangup => Signal::HUP,
            Self::Interrupt => Signal::INT,
            Self::Terminate => Signal::TERM,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Hangup => "SIGHUP",
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// The exit code of a process that it ended.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Hangup => 129,
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Catches the signals from its creation on.
pub struct Signals {
    hangup: Listener,
    interrupt: Listener,
    terminate: Listener,
}

impl Signals {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    pub async fn next(&mut self) -> Caught {
        tokio::select! {
            _ = self.hangup.recv() => Caught::Hangup,
            _ = self.interrupt.recv() => Caught::Interrupt,
            _ = self.terminate.recv() => Caught::Terminate,
        }
    }
}

/// The signals that stop a process for a while and let it go on, as long as it does not do so by itself.
pub struct Pauses {
    stop: Listener,
    go_on: Listener,
}

impl Pauses {
    pub fn new() -> io::Result<Self> {
        let kind = |signal: Signal| SignalKind::from_raw(signal.as_raw());
        Ok(Self { stop: signal(kind(Signal::TSTP))?, go_on: signal(kind(Signal::CONT))? })
    }

    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.stop.recv() => Signal::TSTP,
            _ = self.go_on.recv() => Signal::CONT,
        }
    }
}
