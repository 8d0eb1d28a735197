//! What the server does by itself: sealing events, letting leases run out, forgetting what has aged.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::{
    domain::{
        chain::{Link, seal},
        deployment::lease_end,
        scope::Narrowing,
    },
    metrics::MAX_ENVIRONMENTS,
    store::{
        db::{self, Tx},
        decision, deployment, environment, event, idempotency, sign_in, target, token,
    },
    telemetry::chain,
    usecase::{
        app::App,
        deployments::held::{self, Lease},
        error::Error,
        work::{self, Doer},
    },
};

/// How many rows one transaction of the server's own takes on.
const BATCH: i64 = 500;

/// The metrics show the last deployments of so many targets, if they are not older than this.
const SHOWN_TARGETS: i64 = 500;
const SHOWN_AGE: TimeDelta = TimeDelta::days(30);

/// Seals the events that wait, in the order in which they happened. Tells how many; more may be waiting when it is the
/// most it takes on. Whoever holds the chain's head goes on alone, so any replica may call this at any time.
pub async fn seal_events(app: &App) -> Result<usize, Error> {
    if event::backlog(app.db.read(), 1).await? == 0 {
        return Ok(0);
    }
    app.db
        .write(|tx| async move {
            let seen = app.chain.seen();
            let mut link = event::lock_head(tx.conn()).await?;
            app.chain.observe(&seen, &link);
            let waiting = event::unsealed(tx.conn(), BATCH).await?;
            if waiting.is_empty() {
                return Ok(0);
            }
            let mut seals = Vec::with_capacity(waiting.len());
            for event in &waiting {
                let seal = seal(event, link.seq + 1, &link.hash);
                link = Link { seq: seal.seq, hash: seal.hash.clone() };
                seals.push((event.id, seal));
            }
            event::seal(tx.conn(), &seals).await?;
            let now = db::now(tx.conn()).await?;
            event::move_head(tx.conn(), &link, now).await?;
            Ok(tx.commit(seals.len()).await?)
        })
        .await
}

/// Whether the most that [`seal_events`] takes on was sealed.
pub fn is_full(sealed: usize) -> bool {
    usize::try_from(BATCH).is_ok_and(|batch| sealed >= batch)
}

/// Lets every overdue lease run out, each exactly once however many replicas look. Tells how many this one ended.
pub async fn expire_leases(app: &App) -> Result<usize, Error> {
    let now = db::now(app.db.read()).await?;
    let mut expired = 0;
    for id in deployment::overdue(app.db.read(), now, BATCH).await? {
        match expire(app, id).await {
            Ok(ended) => expired += usize::from(ended),
            // The others must not wait for this one.
            Err(error) => {
                tracing::warn!(deployment_id = %id, error = chain(&error), "a lease could not run out");
            }
        }
    }
    Ok(expired)
}

/// Lets the leases that were given by a wrong clock begin now: no deployment may be silent for longer than its start asked
/// for. Tells how many there were.
pub async fn shorten_leases(app: &App) -> Result<usize, Error> {
    let now = db::now(app.db.read()).await?;
    let longest = i64::try_from(app.config.ledger.max_lease.as_secs()).unwrap_or(i64::MAX);
    let mut shortened = 0;
    for id in deployment::leased_beyond(app.db.read(), lease_end(now, longest), BATCH).await? {
        match app.db.write(|tx| async move { shorten(tx, id).await }).await {
            Ok(ended) => shortened += usize::from(ended),
            // The others must not wait for this one.
            Err(error) => {
                tracing::warn!(deployment_id = %id, error = chain(&error), "a lease could not be shortened");
            }
        }
    }
    Ok(shortened)
}

async fn shorten(tx: Tx, id: Uuid) -> Result<bool, Error> {
    let Some(mut held) = deployment::lock(tx.conn(), id, &Narrowing::default()).await? else {
        return Ok(false);
    };
    let Some(end) = held.named.deployment.shorten_lease(held.now) else { return Ok(false) };
    deployment::renew(tx.conn(), &held.named.deployment).await?;
    let shortened = tx.commit(true).await?;
    tracing::warn!(deployment_id = %id, until = %end, "a lease was ahead of the clock, which is or was wrong; it begins now");
    Ok(shortened)
}

async fn expire(app: &App, id: Uuid) -> Result<bool, Error> {
    let ended = work::write(&app.db, &Doer::server(), |mut work| async move {
        let Some(Lease::RanOut(held, end)) = held::expire(&mut work, id).await? else { return Ok(None) };
        Ok(Some(work.commit(end.at, held.named).await?))
    })
    .await?;
    if let Some(named) = &ended {
        tracing::warn!(deployment_id = %id, service = named.service, environment = named.environment, "a lease ran out");
        held::count(app, named);
    }
    Ok(ended.is_some())
}

/// Forgets idempotency keys and denials that are older than the configuration keeps them, and credentials of pipelines and
/// sessions that are over. Tells how many rows went.
pub async fn purge(app: &App) -> Result<u64, Error> {
    let workers = &app.config.workers;
    let now = db::now(app.db.read()).await?;
    let before = |age: Duration| {
        let age = TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
        now.checked_sub_signed(age).unwrap_or(DateTime::<Utc>::MIN_UTC)
    };
    let (keys_before, denials_before) =
        (before(workers.idempotency_retention), before(workers.denial_retention));
    let mut gone = 0;
    loop {
        let some = app
            .db
            .write(|tx| async move {
                let keys = idempotency::purge(tx.conn(), keys_before, BATCH).await?;
                let denials = decision::purge(tx.conn(), denials_before, BATCH).await?;
                let credentials = token::purge(tx.conn(), now, BATCH).await?;
                let codes = sign_in::purge(tx.conn(), now, BATCH).await?;
                Ok::<_, Error>(tx.commit(keys + denials + credentials + codes).await?)
            })
            .await?;
        gone += some;
        if some == 0 {
            return Ok(gone);
        }
    }
}

/// Writes to the database, changing nothing, unless another write has just shown that it takes writes: reads alone would
/// not tell that a disk is full, or a database read-only.
pub async fn prove_writes(app: &App, age: Duration) -> Result<(), Error> {
    if app.db.is_unproven_for(age) {
        app.db
            .write(|tx| async move {
                event::touch_head(tx.conn()).await?;
                tx.commit(()).await
            })
            .await?;
    }
    Ok(())
}

/// Brings the gauges up to date.
pub async fn measure(app: &App) -> Result<(), Error> {
    // First, because the rest waits for a connection, and fails when there is none to be had.
    let (size, idle) = app.db.pool_size();
    let idle = u64::try_from(idle).unwrap_or(0);
    let max = u64::from(app.config.database.max_connections);
    app.metrics.set_database_connections(idle, u64::from(size).saturating_sub(idle), max);
    chain_head(app).await?;
    let conn = app.db.read();
    let now = db::now(conn).await?;
    let backlog = event::backlog(conn, 100_000).await?;
    let oldest = event::oldest_unsealed(conn).await?;
    let waited = oldest.and_then(|at| (now - at).to_std().ok()).unwrap_or_default();
    app.metrics.set_relay_backlog(u64::try_from(backlog).unwrap_or(0), waited);
    let (running, current) = target::count(conn).await?;
    app.metrics.set_deployments(running, current);
    let environments =
        environment::names(conn, &Narrowing::default(), u64::try_from(MAX_ENVIRONMENTS).unwrap_or(u64::MAX))
            .await?;
    app.metrics.know_environments(environments.iter().map(String::as_str));
    if app.config.metrics.deployments {
        let ended = deployment::last_ended(conn, now - SHOWN_AGE, SHOWN_TARGETS).await?;
        app.metrics.set_last_deployments(&ended);
    }
    Ok(())
}

/// The head of the chain, for whoever anchors it elsewhere. That it went back is noticed here.
pub async fn chain_head(app: &App) -> Result<Link, Error> {
    let seen = app.chain.seen();
    let (head, _) = event::head(app.db.read()).await?;
    app.chain.observe(&seen, &head);
    Ok(head)
}
