//! The signals that ask a deployment to stop.

use std::io;

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
    /// The signal as the operating system knows it.
    pub fn signal(self) -> rustix::process::Signal {
        match self {
            Self::Hangup => rustix::process::Signal::HUP,
            Self::Interrupt => rustix::process::Signal::INT,
            Self::Terminate => rustix::process::Signal::TERM,
        }
    }

    /// Its name, for people.
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
    /// Begins to catch.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Caught {
        tokio::select! {
            _ = self.hangup.recv() => Caught::Hangup,
            _ = self.interrupt.recv() => Caught::Interrupt,
            _ = self.terminate.recv() => Caught::Terminate,
        }
    }

    /// Waits for the next Ctrl-C.
    pub async fn interrupt(&mut self) {
        self.interrupt.recv().await;
    }
}
