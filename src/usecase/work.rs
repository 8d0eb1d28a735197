//! A unit of work: one transaction, with the events that tell of what it changes and the answer that it comes to.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{
    domain::{
        actor::Actor,
        event::{EventKind, NewEvent},
        idempotency::{Answer, Key},
    },
    store::{
        db::{self, Db, Tx, TxConn},
        error::StoreError,
        event, idempotency,
    },
    usecase::error::Error,
};

/// Renders what a use case comes to as the answer that is sent, and kept under the request's idempotency key.
pub type Render<'a, T> = &'a (dyn Fn(&T) -> Answer + Send + Sync);

/// Who does a piece of work.
#[derive(Clone, Debug)]
pub struct Doer {
    /// Whom events name.
    pub actor: Actor,
    /// The request's id; events name it.
    pub request_id: Option<String>,
    /// The idempotency key that the request came with.
    pub key: Option<Key>,
}

impl Doer {
    /// The server itself, or whoever runs it.
    pub fn server() -> Self {
        Self { actor: Actor::server(), request_id: None, key: None }
    }
}

/// Does the work in a transaction of its own; again when another was in the way. Nothing lasts but what it commits.
pub async fn write<T, W, F>(db: &Db, doer: &Doer, work: W) -> Result<T, Error>
where
    W: Fn(Work) -> F,
    F: Future<Output = Result<T, Error>>,
{
    db.write(|tx| work(Work { tx, doer: doer.clone(), events: Vec::new() })).await
}

/// A piece of work under way. Dropped without a commit, it changes nothing.
#[derive(Debug)]
pub struct Work {
    tx: Tx,
    doer: Doer,
    events: Vec<NewEvent>,
}

impl Work {
    /// What its statements run on.
    pub fn conn(&self) -> &TxConn {
        self.tx.conn()
    }

    /// Whom its events name.
    pub fn actor(&self) -> &Actor {
        &self.doer.actor
    }

    /// The database's clock; read after a lock, it comes after whatever the lock waited for.
    pub async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        db::now(self.conn()).await
    }

    /// Tells of a change; what the event is about is added to what this gives.
    pub fn tell(&mut self, kind: EventKind, data: Value) -> &mut NewEvent {
        self.tell_as(self.doer.actor.clone(), kind, data)
    }

    /// Tells of a change that somebody else has caused, such as the server's own clock.
    pub fn tell_as(&mut self, actor: Actor, kind: EventKind, data: Value) -> &mut NewEvent {
        self.events.push_mut(NewEvent::new(kind, actor, data))
    }

    /// Whether it has changed something that is told of.
    pub fn has_told(&self) -> bool {
        !self.events.is_empty()
    }

    /// Makes the changes last, with the events that tell of them, which happened at `at`.
    pub async fn commit<T>(mut self, at: DateTime<Utc>, value: T) -> Result<T, Error> {
        let events = std::mem::take(&mut self.events);
        if !events.is_empty() {
            event::insert(self.conn(), events, at, self.doer.request_id.as_deref()).await?;
        }
        Ok(self.tx.commit(value).await?)
    }

    /// As [`Work::commit`], and gives what the request is answered with, which is kept under its idempotency key.
    pub async fn answer<T>(
        self,
        at: DateTime<Utc>,
        value: &T,
        render: Render<'_, T>,
    ) -> Result<Answer, Error> {
        let Some(key) = &self.doer.key else {
            // No lock is held while it is rendered.
            self.commit(at, ()).await?;
            return Ok(render(value));
        };
        let answer = render(value);
        let kept = idempotency::insert(self.conn(), key, &answer, at).await;
        kept.map_err(|error| if error.is_taken("idempotency_key") { Error::Repeated } else { error.into() })?;
        self.commit(at, answer).await
    }

    /// Fails when a twin of this request has been answered since this one began.
    pub async fn refuse_repeated(&self) -> Result<(), Error> {
        match &self.doer.key {
            Some(key) if idempotency::find(self.conn(), key).await?.is_some() => Err(Error::Repeated),
            Some(_) | None => Ok(()),
        }
    }
}
