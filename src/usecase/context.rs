//! Who asks, and what goes with every request.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::{
    domain::{
        actor::{Actor, Principal},
        deployment::Deployment,
        idempotency::Key,
        scope::Narrowing,
        text::Name,
        vocabulary::Scope,
    },
    store::moved::Mark,
    usecase::{
        app::App,
        error::Error,
        sessions,
        work::{self, Doer, Work},
    },
};

const LINGERING: &str = "the pipeline's credential has expired: it may still heartbeat, finish and read the deployments that \
                         it started; for anything else, exchange a fresh ID token";

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
    /// What the ledger was like when the request came, for requests that are answered by it.
    pub seen: Option<Seen>,
}

/// What was seen of the ledger together with the token.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Where it was.
    pub mark: Mark,
    /// When that was.
    pub at: DateTime<Utc>,
    /// How often somebody had begun to read the matrix before the request came.
    pub readings: u64,
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
        self.require_one_of(&[scope])
    }

    /// Fails when the token has none of the scopes.
    pub fn require_one_of(&self, scopes: &[Scope]) -> Result<(), Error> {
        if scopes.iter().any(|scope| self.principal.holds(*scope)) {
            return Ok(());
        }
        Err(self.lacking(scopes))
    }

    fn lacking(&self, scopes: &[Scope]) -> Error {
        if self.principal.is_lingering() {
            return Error::Forbidden(LINGERING.to_owned());
        }
        let names: Vec<_> = scopes.iter().map(|scope| scope.as_str()).collect();
        Error::Forbidden(format!("this needs a token with the scope {}", names.join(" or ")))
    }

    /// How far each of the scopes that is held reaches: a person's roles may reach differently far, and [`Ctx::within`] is the
    /// reach of the scope alone that the request was made with. Fails when none is held.
    pub fn reaches(&self, scopes: &[Scope]) -> Result<Vec<Narrowing>, Error> {
        let reaches: Vec<_> = scopes.iter().filter_map(|scope| sessions::reach(self, *scope)).collect();
        if reaches.is_empty() { Err(self.lacking(scopes)) } else { Ok(reaches) }
    }

    /// Fails when none of the scopes is held for this service in this environment.
    pub fn require_at(&self, scopes: &[Scope], service: &Name, environment: &Name) -> Result<(), Error> {
        let reaches = self.reaches(scopes)?.into_iter().map(|reach| {
            require_service(&reach, service.as_str())?;
            require_environment(&reach, environment.as_str())
        });
        reaches.reduce(Result::or).unwrap_or(Ok(()))
    }

    /// Whether the scope is held for this service in this environment.
    pub fn holds_at(&self, scope: Scope, service: &Name, environment: &Name) -> bool {
        self.require_at(&[scope], service, environment).is_ok()
    }

    /// Fails when the token lacks the scope. A pipeline whose time is over may pass, and must be held to what it started by
    /// [`Ctx::require_started`].
    pub fn require_or_linger(&self, scope: Scope) -> Result<(), Error> {
        if self.principal.is_lingering() { Ok(()) } else { self.require(scope) }
    }

    /// Fails when a pipeline whose time is over has not started this deployment itself.
    pub fn require_started(&self, deployment: &Deployment) -> Result<(), Error> {
        if self.principal.is_lingering() && deployment.credential != Some(self.principal.token_id) {
            return Err(Error::Forbidden(LINGERING.to_owned()));
        }
        Ok(())
    }

    /// The commit that a pipeline's ID token names, if it does.
    pub fn commit(&self) -> Option<&str> {
        self.principal.pipeline()?.commit.as_deref()
    }

    /// Who set something off, as far as the caller may say it.
    pub fn initiator(&self, said: Option<String>) -> Option<String> {
        self.principal.initiator(said)
    }

    /// Fails when the token is narrowed to other services.
    pub fn require_service(&self, name: &str) -> Result<(), Error> {
        require_service(self.within(), name)
    }

    /// Fails when the token is narrowed to other environments.
    pub fn require_environment(&self, name: &str) -> Result<(), Error> {
        require_environment(self.within(), name)
    }

    /// Fails when the token does not reach all of these environments, or of all where none are named.
    pub fn require_environments(&self, names: Option<&BTreeSet<String>>) -> Result<(), Error> {
        match names {
            Some(names) => names.iter().try_for_each(|name| self.require_environment(name)),
            None => self.require_all_environments(),
        }
    }

    /// Fails when the token is narrowed to some services: what it would change concerns them all.
    pub fn require_all_services(&self) -> Result<(), Error> {
        require_whole(self.within().services.is_none(), "services")
    }

    /// Fails when the token is narrowed to some environments: what it would change concerns them all.
    pub fn require_all_environments(&self) -> Result<(), Error> {
        require_whole(self.within().environments.is_none(), "environments")
    }

    /// Does a piece of work for the request (see [`work::write`]).
    pub async fn write<T, W, F>(&self, work: W) -> Result<T, Error>
    where
        W: Fn(Work) -> F,
        F: Future<Output = Result<T, Error>>,
    {
        let (actor, request_id) = (self.actor().clone(), Some(self.request_id.clone()));
        let doer = Doer { actor, request_id, key: self.key.clone() };
        work::write(&self.app.db, &doer, work).await
    }
}

fn require_service(within: &Narrowing, name: &str) -> Result<(), Error> {
    if within.allows_service(name) {
        return Ok(());
    }
    Err(Error::Forbidden(format!("this token is narrowed to services that {name} is not one of")))
}

fn require_environment(within: &Narrowing, name: &str) -> Result<(), Error> {
    if within.allows_environment(name) {
        return Ok(());
    }
    Err(Error::Forbidden(format!("this token is narrowed to environments that {name} is not one of")))
}

/// Fails when something that concerns all of them does not reach all.
pub fn require_whole(whole: bool, what: &str) -> Result<(), Error> {
    if whole {
        return Ok(());
    }
    Err(Error::Forbidden(format!("this concerns all {what}, and the token is narrowed to some of them")))
}
