//! Whether the database takes writes. Reads go on working when a disk is full or a database was made read-only, so only
//! writes tell: each leaves here how it went.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sea_orm::DbErr;
use tokio::{sync::Notify, time::Instant};

use crate::store::error::{self, StoreError, Unwritable};

/// How writes went, and who waits for the next one.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// Notified by each commit.
    pub(super) committed: Notify,
    last: Mutex<Last>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Last {
    success: Option<Instant>,
    fault: Option<Unwritable>,
}

impl Writes {
    pub(super) fn succeeded(&self) {
        *self.last() = Last { success: Some(Instant::now()), fault: None };
        self.committed.notify_one();
    }

    /// Keeps the error in mind if it tells that no write would work.
    pub(super) fn failed(&self, error: &StoreError) {
        self.keep(error.unwritable());
    }

    /// The same for an error of the driver's.
    pub(super) fn refused(&self, error: &DbErr) {
        self.keep(error::unwritable(error));
    }

    fn keep(&self, fault: Option<Unwritable>) {
        if fault.is_some() {
            self.last().fault = fault;
        }
    }

    pub(super) fn fault(&self) -> Option<Unwritable> {
        self.last().fault
    }

    /// Whether no write has shown for so long that writes work.
    pub(super) fn is_unproven_for(&self, age: Duration) -> bool {
        let last = *self.last();
        last.fault.is_some() || last.success.is_none_or(|at| at.elapsed() >= age)
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
