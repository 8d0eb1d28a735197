//! What the tests stand on: databases of their own, the real binary, and bounded waiting.

#![expect(
    clippy::disallowed_methods,
    reason = "tests are processes of their own, with a real clock and environment"
)]

pub mod api;
pub mod browser;
pub mod cluster;
pub mod db;
pub mod ignored;
pub mod issuer;
pub mod ledger;
pub mod manifests;
pub mod postgres;
pub mod process;
pub mod promql;
pub mod provider;
pub mod random;
pub mod secrets;
pub mod shell;
pub mod sqlite;
pub mod wire;

use std::time::{Duration, Instant};

/// How long a test waits for what must happen, on a slow and busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Asks `probe` again and again until it gives a value; fails the test when that takes too long.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(Instant::now() < deadline, "{what} did not happen within {PATIENCE:?}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
