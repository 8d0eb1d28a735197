//! What the server does in the background. Every worker calls one use case, again and again; all of them may run on
//! every replica.

use std::{future::Future, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    domain::audit::heads::MESSAGE,
    shutdown::Shutdown,
    telemetry,
    usecase::{
        app::{App, feed},
        error::Error,
        upkeep,
    },
};

/// How long the relay waits after a commit for others to join, so that one transaction seals them all.
const RELAY_PAUSE: Duration = Duration::from_millis(50);

/// How often the log is read while somebody waits for news, for what another replica has sealed.
const FEED_INTERVAL: Duration = Duration::from_millis(250);

/// How often it is looked at whether the database takes writes, and how long a write is proof of it.
const PROOF_INTERVAL: Duration = Duration::from_secs(2);
const PROOF_AGE: Duration = Duration::from_secs(5);

/// How often the gauges are brought up to date.
const GAUGE_INTERVAL: Duration = Duration::from_secs(10);

/// How often it is looked whether anybody asks for the matrix, and how long it is kept for nobody.
const MATRIX_INTERVAL: Duration = Duration::from_secs(10);
const MATRIX_AGE: Duration = Duration::from_secs(45);

/// Starts all workers; `shutdown` stops them.
pub fn start(app: &App, shutdown: &Shutdown) {
    let workers = &app.config.workers;
    let relay = app.clone();
    shutdown.spawn_worker(|stop| relay_events(relay, stop));
    let follower = app.clone();
    shutdown.spawn_worker(|stop| follow_log(follower, stop));
    let spawn =
        |name, interval, work: fn(App) -> futures_util::future::BoxFuture<'static, Result<(), Error>>| {
            let app = app.clone();
            shutdown.spawn_worker(move |stop| every(name, interval, stop, move || work(app.clone())));
        };
    spawn("leases", workers.lease_interval, |app| {
        Box::pin(async move {
            upkeep::shorten_leases(&app).await?;
            upkeep::expire_leases(&app).await.map(drop)
        })
    });
    spawn("purge", workers.purge_interval, |app| {
        Box::pin(async move { upkeep::purge(&app).await.map(drop) })
    });
    spawn("proof", PROOF_INTERVAL, |app| {
        Box::pin(async move { upkeep::prove_writes(&app, PROOF_AGE).await })
    });
    spawn("gauges", GAUGE_INTERVAL, |app| Box::pin(async move { upkeep::measure(&app).await }));
    spawn("matrix", MATRIX_INTERVAL, |app| {
        app.matrix.forget_unused(MATRIX_AGE);
        Box::pin(async { Ok(()) })
    });
    spawn("anchor", workers.head_log_interval, |app| {
        Box::pin(async move {
            let head = upkeep::chain_head(&app).await?;
            if head.seq > 0 {
                tracing::info!(seq = head.seq, hash = head.hash, "{MESSAGE}");
            }
            Ok(())
        })
    });
}

/// Seals events soon after each commit, and now and then in case another replica has left some. A last time at the end,
/// so that nothing waits for the next start.
async fn relay_events(app: App, stop: CancellationToken) {
    let interval = app.config.workers.relay_interval;
    while !stop.is_cancelled() {
        tokio::select! {
            () = app.db.committed() => tokio::time::sleep(RELAY_PAUSE).await,
            () = tokio::time::sleep(interval) => {}
            () = stop.cancelled() => {}
        }
        seal_all(&app, &stop).await;
    }
    // What was committed while the last ones were sealed.
    seal_all(&app, &stop).await;
}

async fn seal_all(app: &App, stop: &CancellationToken) {
    loop {
        match upkeep::seal_events(app).await {
            Ok(sealed) => {
                if sealed > 0 {
                    app.feed.nudge();
                }
                if !upkeep::is_full(sealed) {
                    return;
                }
            }
            Err(error) => {
                report("relay", &error);
                tokio::select! {
                    () = tokio::time::sleep(app.config.workers.relay_interval) => return,
                    () = stop.cancelled() => return,
                }
            }
        }
    }
}

/// Wakes those who wait for news, as soon as this process has sealed some, and soon after another one has. Does nothing
/// while nobody waits.
pub async fn follow_log(app: App, stop: CancellationToken) {
    let mut place = feed::Place::default();
    loop {
        let followed = feed::follow(&app.db, &app.feed, &mut place).await;
        if let Err(error) = &followed {
            report("feed", error);
        }
        // An error says nothing about who waits.
        let somebody_waits = followed.unwrap_or(true);
        tokio::select! {
            () = app.feed.nudged() => {}
            () = tokio::time::sleep(FEED_INTERVAL), if somebody_waits => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Does the work at once and then at each interval, until it is told to stop. An error is reported and the work done
/// again at the next interval.
async fn every<W, F>(name: &'static str, interval: Duration, stop: CancellationToken, work: W)
where
    W: Fn() -> F,
    F: Future<Output = Result<(), Error>>,
{
    loop {
        if let Err(error) = work().await {
            report(name, &error);
        }
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = stop.cancelled() => return,
        }
    }
}

fn report(worker: &str, error: &Error) {
    let error = telemetry::chain(error);
    tracing::warn!(worker, error, "a worker failed and will try again");
}
