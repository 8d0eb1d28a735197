//! Keeps the lease while the command runs.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::body::HeartbeatBody;
use crate::cli::client::{
    error::Error,
    http::{Call, Client},
    output::{say, warn},
};

/// Sends a heartbeat at every third of the lease, and returns only when the deployment is no longer running: with the
/// server's word for why. Until then it goes on trying, whatever happens to the network.
pub async fn keep(client: &Client, id: &str, lease: Duration) -> Error {
    let third = lease / 3;
    let mut renewed = Instant::now();
    let mut warned = false;
    let mut pause = third;
    loop {
        sleep(pause).await;
        let call = match Call::post(&["deployments", id, "heartbeat"], &HeartbeatBody::default()) {
            Ok(call) => call.patience(third).quiet(),
            Err(error) => return error,
        };
        pause = match client.send(&call).await {
            Ok(_deployment) => {
                if warned {
                    say("heartbeats reach Waybill again");
                }
                warned = false;
                renewed = Instant::now();
                third
            }
            Err(error) if error.is_conflict() => return error.into(),
            Err(error) => {
                // The server granted the lease before its answer came here, so by now it has run out for certain.
                if !warned && renewed.elapsed() > lease {
                    warn(format_args!(
                        "no heartbeat got through during the whole lease; others may start: {error}"
                    ));
                    warned = true;
                }
                // A transient fault has used up its time already.
                if error.is_transient() { Duration::from_secs(1) } else { third }
            }
        };
    }
}
