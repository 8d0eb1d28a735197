//! Keeps the lease while the command runs.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::body::HeartbeatBody;
use crate::cli::{
    client::{
        call::Call,
        error::{Error, NoAnswer},
        http::Client,
    },
    output::{say, warn},
};

/// What people have been told of heartbeats that do not get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    /// That nobody answers.
    Silence,
    /// That somebody says no.
    Refusal,
}

/// Sends a heartbeat at every third of the lease, and returns only when the server says that the target is somebody else's or
/// that the deployment was canceled: with its word for that. Until then it goes on trying, whatever else it hears, because
/// a Waybill that is away or has changed its mind about us is no reason to break off what goes well.
pub async fn keep(client: &Client, id: &str, lease: Duration) -> Error {
    let third = lease / 3;
    let mut renewed = Instant::now();
    let mut told = Told::Nothing;
    let mut pause = third;
    loop {
        sleep(pause).await;
        let call = match Call::post(&["deployments", id, "heartbeat"], &HeartbeatBody::default()) {
            Ok(call) => call.patience(third).quiet(),
            Err(error) => return error,
        };
        pause = match client.send(&call).await {
            Ok(_deployment) => {
                if told != Told::Nothing {
                    say("heartbeats reach Waybill again, and the deployment goes on");
                }
                told = Told::Nothing;
                renewed = Instant::now();
                third
            }
            Err(error) if error.is_taken_away() => return error.into(),
            Err(error) => {
                told = tell(&error, told, renewed.elapsed() > lease);
                // A transient fault has used up its time already.
                if error.is_transient() { Duration::from_secs(1) } else { third }
            }
        };
    }
}

/// Says what is new about heartbeats that do not get through. Silence is told of once the lease must have run out: the server
/// granted it before its answer came here.
fn tell(error: &NoAnswer, told: Told, run_out: bool) -> Told {
    let now = if error.is_outage() { Told::Silence } else { Told::Refusal };
    if now == told || now == Told::Silence && !run_out {
        return told;
    }
    if now == Told::Silence {
        warn(format_args!(
            "no heartbeat got through during the whole lease; others may start, and the command goes on: {error}"
        ));
    } else {
        warn(format_args!("Waybill refuses the heartbeats; the command goes on: {error}"));
    }
    now
}
