//! Who asks, and what goes with every request.

use chrono::{DateTime, Utc};

use crate::{
    app::App,
    domain::{
        actor::{Actor, Principal},
        event::NewEvent,
        idempotency::{Answer, Key},
        scope::Narrowing,
        vocabulary::Scope,
    },
    store::{db::Tx, event, idempotency},
    usecase::error::Error,
};

/// Renders a use case's result as the answer that is kept under the request's idempotency key.
pub type Render<'a, T> = &'a (dyn Fn(&T) -> Answer + Send + Sync);

/// A request: by whom, under which id, and with which idempotency key.
#[derive(Clone, Debug)]
pub struct Ctx {
    /// The server.
    pub app: App,
    /// Who asks.
    pub principal: Principal,
    /// The request's id; events name it.
    pub request_id: String,
    /// The idempotency key it came with.
    pub key: Option<Key>,
}

impl Ctx {
    /// Whom the ledger names.
    pub fn actor(&self) -> &Actor {
        &self.principal.actor
    }

    /// What the token is narrowed to.
    pub fn within(&self) -> &Narrowing {
        &self.principal.narrowing
    }

    /// Fails when the token lacks the scope.
    pub fn require(&self, scope: Scope) -> Result<(), Error> {
        if self.principal.holds(scope) {
            return Ok(());
        }
        Err(Error::Forbidden(format!("this needs a token with the scope {scope}")))
    }

    /// Fails when the token is narrowed to other services.
    pub fn require_service(&self, name: &str) -> Result<(), Error> {
        if self.within().allows_service(name) {
            return Ok(());
        }
        Err(Error::Forbidden(format!("this token is narrowed to services that {name} is not one of")))
    }

    /// Fails when the token is narrowed to other environments.
    pub fn require_environment(&self, name: &str) -> Result<(), Error> {
        if self.within().allows_environment(name) {
            return Ok(());
        }
        Err(Error::Forbidden(format!("this token is narrowed to environments that {name} is not one of")))
    }

    /// Fails when the token is narrowed to some services: what it would change concerns them all.
    pub fn require_all_services(&self) -> Result<(), Error> {
        require_whole(self.within().services.is_none(), "services")
    }

    /// Fails when the token is narrowed to some environments: what it would change concerns them all.
    pub fn require_all_environments(&self) -> Result<(), Error> {
        require_whole(self.within().environments.is_none(), "environments")
    }

    /// Writes the events of a change.
    pub async fn record(&self, tx: &Tx, events: Vec<NewEvent>, at: DateTime<Utc>) -> Result<(), Error> {
        Ok(event::insert(tx.conn(), events, at, Some(&self.request_id)).await?)
    }

    /// Keeps the answer under the request's key, if it has one, and commits.
    pub async fn commit<T>(
        &self,
        tx: Tx,
        now: DateTime<Utc>,
        value: T,
        render: Render<'_, T>,
    ) -> Result<T, Error> {
        if let Some(key) = &self.key {
            let kept = idempotency::insert(tx.conn(), key, &render(&value), now).await;
            kept.map_err(
                |error| if error.is_taken("idempotency_key") { Error::Repeated } else { error.into() },
            )?;
        }
        Ok(tx.commit(value).await?)
    }

    /// Fails when a twin of this request has been answered since this one began.
    pub async fn refuse_repeated(&self, tx: &Tx) -> Result<(), Error> {
        match &self.key {
            Some(key) if idempotency::find(tx.conn(), key).await?.is_some() => Err(Error::Repeated),
            Some(_) | None => Ok(()),
        }
    }
}

fn require_whole(whole: bool, what: &str) -> Result<(), Error> {
    if whole {
        return Ok(());
    }
    Err(Error::Forbidden(format!("this concerns all {what}, and the token is narrowed to some of them")))
}
