//! `/environments/{environment}/lockdown`: the emergency stop.

use poem_openapi::{Object, OpenApi, param::Path, payload::Json, types::Example};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    api::{
        Tags,
        auth::Auth,
        reply::Done,
        types::{Text, Time},
        view::{ActorView, refuse},
        who::{See, Who},
    },
    domain::{
        deployment::NamedDeployment,
        environment::Lockdown,
        fault::Faults,
        form::TellingLong,
        text::{self, TEXT_MAX},
    },
    http::problem::Problem,
    usecase::lockdown::{self, Saw},
};

/// The operations.
#[derive(Debug)]
pub struct LockdownApi;

/// An emergency stop.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Lockdown")]
pub struct LockdownView {
    /// Why.
    pub reason: String,
    /// Who said so last.
    pub actor: ActorView,
    /// Since when nothing starts.
    pub since: Time,
}

impl From<Lockdown> for LockdownView {
    fn from(Lockdown { reason, actor, since }: Lockdown) -> Self {
        Self { reason, actor: actor.into(), since: Time(since) }
    }
}

impl Who for LockdownView {
    fn who(&mut self, see: &mut See<'_>) {
        self.actor.who(see);
    }
}

/// An emergency stop to place.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, example)]
pub struct PlaceLockdown {
    /// Why, in 1 to 2000 characters: everybody whose start is refused reads it.
    pub reason: Text<TellingLong>,
}

impl Example for PlaceLockdown {
    fn example() -> Self {
        Self { reason: "Payments fail since 14:05; incident 42".into() }
    }
}

impl PlaceLockdown {
    /// The reason, once it is one.
    pub fn parse(&self) -> Result<String, Faults> {
        let mut faults = Faults::default();
        let reason = faults.take("/reason", text::telling(self.reason.trim(), TEXT_MAX));
        faults.finish(reason)
    }
}

/// A deployment that goes on in spite of a lockdown.
#[derive(Clone, Debug, Object)]
pub struct StillRunning {
    /// The deployment.
    pub deployment_id: Uuid,
    /// The service.
    pub service: String,
    /// The version that it puts there.
    pub version: String,
    /// Who started it.
    pub actor: ActorView,
    /// When it started.
    pub since: Time,
}

impl From<NamedDeployment> for StillRunning {
    fn from(named: NamedDeployment) -> Self {
        Self {
            deployment_id: named.deployment.id,
            service: named.service,
            version: named.release.version.to_string(),
            actor: named.deployment.actor.clone().into(),
            since: Time(named.deployment.times.started_at),
        }
    }
}

/// A lockdown just placed.
#[derive(Clone, Debug, Object)]
#[oai(rename = "PlacedLockdown")]
pub struct PlacedView {
    /// The environment.
    pub environment: String,
    /// Why.
    pub reason: String,
    /// Who said so last.
    pub actor: ActorView,
    /// Since when nothing starts.
    pub since: Time,
    /// The deployments that go on all the same, newest first, at most 200 of them; `POST /deployments/{id}/finish`
    /// cancels one.
    pub running: Vec<StillRunning>,
}

#[OpenApi(tag = "Tags::Gate")]
impl LockdownApi {
    /// Lock an environment down
    ///
    /// Nothing but an override starts there until it is lifted, not even a rollback. What is running goes on, and is named
    /// in the answer. When it is locked down already, this gives another reason for it.
    #[oai(path = "/environments/:environment/lockdown", method = "put", operation_id = "place_lockdown")]
    async fn place_lockdown(
        &self,
        auth: Auth,
        /// The environment's name.
        environment: Path<String>,
        body: Json<PlaceLockdown>,
    ) -> Result<Json<PlacedView>, Problem> {
        let reason = body.0.parse().map_err(refuse)?;
        let placed = lockdown::place(&auth.ctx(), &environment.0, &reason, Saw::Untold).await?;
        let LockdownView { reason, actor, since } = placed.lockdown.into();
        let running = placed.running.into_iter().map(Into::into).collect();
        Ok(Json(PlacedView { environment: environment.0, reason, actor, since, running }))
    }

    /// Lift the lockdown of an environment
    ///
    /// Starts are judged by the other rules again. Done as well where there is none.
    #[oai(path = "/environments/:environment/lockdown", method = "delete", operation_id = "lift_lockdown")]
    async fn lift_lockdown(
        &self,
        auth: Auth,
        /// The environment's name.
        environment: Path<String>,
    ) -> Result<Done, Problem> {
        lockdown::lift(&auth.ctx(), &environment.0, Saw::Untold).await?;
        Ok(Done::Done)
    }
}
