//! When the server is ready.

use std::sync::{Mutex, PoisonError};

use futures_util::{FutureExt as _, future::BoxFuture};

use crate::{
    http::ops::{Check, Checks, Readiness},
    store::{error::Unwritable, schema},
    telemetry::chain,
    usecase::app::App,
};

/// Ready when the database answers, takes writes, holds a whole ledger, the one it held before, and its schema is not
/// behind.
pub(super) struct Ready(pub(super) App);

impl Readiness for Ready {
    fn checks(&self) -> BoxFuture<'_, Checks> {
        async {
            let db = &self.0.db;
            if let Some(fault) = db.unwritable() {
                return Checks::from([("database", takes_no_writes(fault))]);
            }
            let database = match schema::status(db).await {
                Err(error) => {
                    tracing::warn!(error = chain(&error), "the database is not ready");
                    match error.unwritable() {
                        Some(fault) => takes_no_writes(fault),
                        None => Check::unavailable("It does not answer."),
                    }
                }
                // A PostgreSQL that has failed over to a standby may have lost its last moment, and serves on.
                Ok(_) if !db.is_postgres() && self.0.chain.went_back().is_some() => Check::unavailable(
                    "It is older than what was read from it before; restart the server to use it.",
                ),
                Ok(status) if status.half_copied => Check::unavailable("A copy into it is not finished."),
                Ok(status) if status.pending.is_empty() => Check::ok(),
                Ok(_) => Check::unavailable("Its schema is behind; run `waybill migrate up`."),
            };
            Checks::from([("database", database)])
        }
        .boxed()
    }
}

/// Not ready while the database is waited for.
#[derive(Default)]
pub(super) struct Waiting(Mutex<String>);

impl Waiting {
    /// Notes why the database cannot be used yet, and tells whether that is something new.
    pub(super) fn note(&self, why: String) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = *noted != why;
        *noted = why;
        is_new
    }
}

impl Readiness for Waiting {
    fn checks(&self) -> BoxFuture<'_, Checks> {
        let why = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let detail = match why.as_str() {
            "" => "It is being opened.".to_owned(),
            why => format!("It does not answer yet ({why}); the server waits for it."),
        };
        async { Checks::from([("database", Check::unavailable(detail))]) }.boxed()
    }
}

fn takes_no_writes(fault: Unwritable) -> Check {
    Check::unavailable(format!("It takes no writes: {fault}."))
}
