//! What the server has left behind for one release of each service, and the same for the releases after it.

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ColumnTrait as _, DatabaseConnection, EntityTrait as _, QueryFilter as _, QueryOrder as _};
use uuid::Uuid;
use waybill::{
    clock,
    domain::{
        actor::Actor,
        event::Event,
        text::{CommitSha, Version},
    },
    store::entity::{decision, deployment, event, release},
};

use super::pattern::Pattern;
use crate::load;

/// From the start of a deployment to its end.
const LENGTH: TimeDelta = TimeDelta::microseconds(20);

/// A service, with its last release.
pub struct Service {
    release: release::Model,
    previous: release::Model,
    registered: Told,
    targets: Vec<Target>,
}

/// A target, with the last deployment to it.
struct Target {
    deployment: deployment::Model,
    decision: decision::Model,
    checks: Pattern,
    inputs: Pattern,
    started: Told,
    succeeded: Told,
}

/// An event, and what it says.
struct Told {
    event: Event,
    data: Pattern,
}

/// What a deployment leaves behind, besides itself.
pub struct Made {
    /// The one before it in its target, which it has superseded.
    pub before: deployment::Model,
    pub decision: decision::Model,
    pub events: [Event; 2],
}

/// What is put into the texts of a deployment: those of the release, of the one before it, and of the deployment.
#[derive(Clone, Debug, Default)]
struct Words {
    /// Version, commit, number, and moment in the order.
    release: [String; 4],
    previous: [String; 4],
    decision: String,
    superseded: String,
    finished_at: String,
}

impl Words {
    fn of(release: &release::Model, previous: &release::Model) -> anyhow::Result<Self> {
        let of = |release: &release::Model| {
            anyhow::Ok([
                release.version.to_string(),
                release.commit_sha.as_ref().map(ToString::to_string).unwrap_or_default(),
                format!("\"number\":{}", release.number),
                moment(release.ordered_at)?,
            ])
        };
        Ok(Self { release: of(release)?, previous: of(previous)?, ..Self::default() })
    }

    fn with(&self, decision: Uuid, superseded: Uuid, finished_at: DateTime<Utc>) -> anyhow::Result<Self> {
        Ok(Self {
            decision: decision.to_string(),
            superseded: superseded.to_string(),
            finished_at: moment(finished_at)?,
            ..self.clone()
        })
    }

    /// In one order, whether they are looked for or put in.
    fn list(&self) -> Vec<&str> {
        let releases = self.release.iter().chain(&self.previous);
        let all = releases.chain([&self.decision, &self.superseded, &self.finished_at]);
        all.map(String::as_str).collect()
    }
}

/// A moment as it is written in JSON.
fn moment(at: DateTime<Utc>) -> anyhow::Result<String> {
    Ok(serde_json::to_string(&at)?.trim_matches('"').to_owned())
}

/// Reads what the release with this number has left behind, which is the last one.
pub async fn read(conn: &DatabaseConnection, number: usize) -> anyhow::Result<Vec<Service>> {
    let of = |number| release::Entity::find().filter(release::Column::Version.eq(load::version_name(number)));
    let mut services = Vec::new();
    for release in of(number).all(conn).await? {
        let previous =
            of(number - 1).filter(release::Column::ServiceId.eq(release.service_id)).one(conn).await?;
        let previous = previous.context("no release before it")?;
        let words = Words::of(&release, &previous)?;
        let mut targets = Vec::new();
        let deployments = deployment::Entity::find().filter(deployment::Column::ReleaseId.eq(release.id));
        for deployment in deployments.all(conn).await? {
            targets.push(target(conn, deployment, &words).await?);
        }
        let first = targets.first().context("no deployment of it")?;
        let registered = event::Entity::find()
            .filter(event::Column::Service.eq(first.started.event.service.clone()))
            .filter(event::Column::Version.eq(release.version.as_str()))
            .filter(event::Column::Kind.eq("release.registered"));
        let registered = registered.one(conn).await?.context("nothing tells of the release")?;
        services.push(Service { registered: Told::of(registered, &words), release, previous, targets });
    }
    Ok(services)
}

async fn target(
    conn: &DatabaseConnection,
    deployment: deployment::Model,
    words: &Words,
) -> anyhow::Result<Target> {
    let id = deployment.decision_id.context("no decision")?;
    let decision = decision::Entity::find_by_id(id).one(conn).await?.context("no decision")?;
    let before = deployment::Entity::find().filter(deployment::Column::SupersededBy.eq(deployment.id));
    let before = before.one(conn).await?.context("no deployment before it")?;
    let finished_at = deployment.finished_at.context("it is under way")?;
    let words = words.with(decision.id, before.id, finished_at)?;
    let events = event::Entity::find().filter(event::Column::DeploymentId.eq(deployment.id));
    let events = events.order_by_asc(event::Column::Seq).all(conn).await?;
    let [started, succeeded] = <[_; 2]>::try_from(events).ok().context("not two events")?;
    Ok(Target {
        checks: Pattern::of(&decision.checks, &words.list()),
        inputs: Pattern::of(&decision.inputs, &words.list()),
        started: Told::of(started, &words),
        succeeded: Told::of(succeeded, &words),
        deployment,
        decision,
    })
}

impl Told {
    fn of(model: event::Model, words: &Words) -> Self {
        let data = Pattern::of(&model.data, &words.list());
        let event = Event {
            id: model.id,
            seal: None,
            at: model.occurred_at,
            kind: model.kind,
            actor: Actor { token: model.actor_token, subject: model.actor_subject },
            service: model.service,
            environment: model.environment,
            version: model.version,
            deployment_id: model.deployment_id,
            request_id: model.request_id,
            data: String::new(),
        };
        Self { event, data }
    }

    fn again(&self, at: DateTime<Utc>, words: &Words) -> Event {
        let (version, data) = (words.release.first().cloned(), self.data.fill(&words.list()));
        Event { id: clock::new_id(), at, version, data, ..self.event.clone() }
    }
}

impl Service {
    /// Registers the release with this number.
    pub fn register(&mut self, number: usize, now: DateTime<Utc>) -> anyhow::Result<(release::Model, Event)> {
        let (version, place) = (load::version_name(number), self.release.number + 1);
        let release = release::Model {
            id: clock::new_id(),
            number: place,
            place,
            commit_sha: Some(CommitSha::trusted(load::commit(number))),
            artefact: version.clone(),
            version: Version::trusted(version),
            created_at: now,
            ordered_at: now,
            ..self.release.clone()
        };
        self.previous = std::mem::replace(&mut self.release, release.clone());
        let words = Words::of(&self.release, &self.previous)?;
        Ok((release, self.registered.again(now, &words)))
    }

    /// Deploys the last release to each target.
    pub fn deploy(&mut self) -> anyhow::Result<Vec<Made>> {
        let words = Words::of(&self.release, &self.previous)?;
        self.targets.iter_mut().map(|target| target.deploy(&self.release, &words, clock::now())).collect()
    }

    /// What is current in its targets.
    pub fn current(self) -> impl Iterator<Item = deployment::Model> {
        self.targets.into_iter().map(|target| target.deployment)
    }
}

impl Target {
    fn deploy(
        &mut self,
        release: &release::Model,
        words: &Words,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Made> {
        let (finished_at, decision_id) = (now + LENGTH, clock::new_id());
        let words = words.with(decision_id, self.deployment.id, finished_at)?;
        let deployment = deployment::Model {
            id: clock::new_id(),
            release_id: release.id,
            artefact: release.artefact.clone(),
            decision_id: Some(decision_id),
            started_at: now,
            finished_at: Some(finished_at),
            heartbeat_at: Some(now),
            lease_expires_at: Some(now + TimeDelta::seconds(self.deployment.lease_seconds)),
            stay_started_at: Some(finished_at),
            ..self.deployment.clone()
        };
        let decision = decision::Model {
            id: decision_id,
            release_id: release.id,
            deployment_id: Some(deployment.id),
            evaluated_at: now,
            last_evaluated_at: now,
            checks: self.checks.fill(&words.list()),
            inputs: self.inputs.fill(&words.list()),
            ..self.decision.clone()
        };
        let about = |event| Event { deployment_id: Some(deployment.id), ..event };
        let events =
            [about(self.started.again(now, &words)), about(self.succeeded.again(finished_at, &words))];
        let mut before = std::mem::replace(&mut self.deployment, deployment);
        before.superseded_at = Some(finished_at);
        before.superseded_by = Some(self.deployment.id);
        Ok(Made { before, decision, events })
    }
}
