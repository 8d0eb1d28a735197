//! Whether the head of the audit log's chain went back while this server ran: somebody has put an older state of the
//! database back, or replaced the log.

use std::sync::{Mutex, PoisonError};

use crate::domain::chain::{Link, WentBack, went_back};

/// The furthest head that this process has read, and what it has noticed since.
#[derive(Debug, Default)]
pub struct HeadWatch(Mutex<Seen>);

#[derive(Clone, Debug, Default)]
struct Seen {
    head: Link,
    back: Option<WentBack>,
}

impl HeadWatch {
    /// The furthest head that was read so far. Whoever is about to read the head asks first, so that two who read at the
    /// same time do not take each other's order for a step back.
    pub fn seen(&self) -> Link {
        self.state(|seen| seen.head.clone())
    }

    /// Takes a head that was read after [`HeadWatch::seen`] was asked. The first one that lies behind is an error in the
    /// log.
    pub fn observe(&self, seen: &Link, now: &Link) {
        let noticed = self.state(|state| {
            if let Some(back) = went_back(seen, now) {
                let first = state.back.is_none();
                state.back.get_or_insert_with(|| back.clone());
                return first.then_some(back);
            }
            if now.seq > state.head.seq {
                state.head = now.clone();
            }
            None
        });
        if let Some(WentBack { seen, now }) = noticed {
            tracing::error!(
                seen_seq = seen.seq,
                seen_hash = seen.hash,
                seq = now.seq,
                hash = now.hash,
                "the head of the chain went back: the audit log was cut or replaced, or a backup was restored under a \
                 running server; `waybill audit verify` tells what is missing"
            );
        }
    }

    /// How the head went back since this process started, if it ever did.
    pub fn went_back(&self) -> Option<WentBack> {
        self.state(|seen| seen.back.clone())
    }

    fn state<T>(&self, work: impl FnOnce(&mut Seen) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
