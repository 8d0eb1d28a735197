//! How the process comes to its end.
//!
//! The phases only go forward: running, draining (readiness is off, requests are still taken), stopping (no new
//! connections, the requests in flight are finished). A second signal aborts the wait in any of them.

use std::{future::Future, io, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFuture},
    task::TaskTracker,
};

/// The handle to the process's end; clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    stopping: CancellationToken,
    aborted: CancellationToken,
    work: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// A process that runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts the end: readiness goes off at once, new connections are refused after `drain_delay`.
    pub async fn begin(&self, drain_delay: Duration) {
        self.draining.cancel();
        tokio::select! {
            () = tokio::time::sleep(drain_delay) => {}
            () = self.aborted.cancelled() => {}
        }
        self.stopping.cancel();
    }

    /// Ends every wait at once.
    pub fn abort(&self) {
        self.aborted.cancel();
        self.draining.cancel();
        self.stopping.cancel();
    }

    /// Whether readiness is off.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Resolves when readiness goes off; long polls end then.
    pub fn draining(&self) -> WaitForCancellationFuture<'_> {
        self.draining.cancelled()
    }

    /// Resolves when no new connection is to be taken.
    pub fn stopping(&self) -> WaitForCancellationFuture<'_> {
        self.stopping.cancelled()
    }

    /// Resolves when the process must not wait any longer.
    pub fn aborted(&self) -> WaitForCancellationFuture<'_> {
        self.aborted.cancelled()
    }

    /// Runs a background worker; it gets a token that is cancelled when it must stop, which is after the last
    /// request.
    pub fn spawn_worker<F, W>(&self, worker: F)
    where
        F: FnOnce(CancellationToken) -> W,
        W: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(worker(self.work.clone()));
    }

    /// Tells the workers to stop and waits for them; false if one did not within `limit`.
    pub async fn stop_workers(&self, limit: Duration) -> bool {
        self.work.cancel();
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => true,
            () = tokio::time::sleep(limit) => false,
            () = self.aborted() => false,
        }
    }

    /// Begins the end at the first SIGTERM or SIGINT and aborts it at the second.
    pub fn on_signals(&self, drain_delay: Duration) -> io::Result<impl Future<Output = ()> + use<>> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut next = async move || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let shutdown = self.clone();
        Ok(async move {
            let first = next().await;
            tracing::info!(signal = first, "shutting down; a second signal ends the wait");
            tokio::select! {
                () = async { shutdown.begin(drain_delay).await; std::future::pending().await } => {}
                second = next() => {
                    tracing::warn!(signal = second, "shutting down at once");
                    shutdown.abort();
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn readiness_goes_off_before_connections_are_refused() {
        let shutdown = Shutdown::new();
        let watch = async {
            shutdown.draining().await;
            assert!(shutdown.is_draining());
            assert!(!shutdown.stopping.is_cancelled());
        };
        tokio::join!(shutdown.begin(Duration::from_millis(100)), watch);
        assert!(shutdown.stopping.is_cancelled());
        assert!(!shutdown.work.is_cancelled(), "workers outlive the last request");
    }

    #[tokio::test]
    async fn a_worker_that_does_not_stop_is_reported() {
        let shutdown = Shutdown::new();
        shutdown.spawn_worker(|token| async move { token.cancelled().await });
        assert!(shutdown.clone().stop_workers(Duration::from_secs(1)).await);

        let shutdown = Shutdown::new();
        shutdown.spawn_worker(|_| std::future::pending());
        assert!(!shutdown.stop_workers(Duration::from_millis(50)).await);
    }

    #[tokio::test]
    async fn an_abort_ends_every_wait() {
        let shutdown = Shutdown::new();
        shutdown.abort();
        shutdown.begin(Duration::from_hours(1)).await;
        shutdown.stopping().await;
        shutdown.spawn_worker(|_| std::future::pending());
        assert!(!shutdown.stop_workers(Duration::from_hours(1)).await);
    }
}
