//! Deployments as they are seen.

use poem_openapi::Object;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    api::{
        page::{Listed, Words},
        types::{Nullable, Time},
        view::{ActorView, DecisionView, OverrideView},
        who::{See, Who},
    },
    domain::{
        address::{Page, Pages},
        deployment::{Entry, NamedDeployment},
        event::Event,
        vocabulary::{Kind, Outcome, Status, Strategy},
    },
};

/// A deployment.
#[expect(clippy::struct_excessive_bools, reason = "six independent facts of the record")]
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Deployment")]
pub struct DeploymentView {
    /// Identity.
    pub id: Uuid,
    /// The service.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// The release's version.
    pub version: String,
    /// The commit it was built from; null where that is not known, as of the software of others.
    pub commit_sha: Nullable<String>,
    /// The image it was built into.
    pub image: Nullable<String>,
    /// Where it is in its life.
    pub status: Status,
    /// What it is for.
    pub kind: Kind,
    /// How it replaces what was there.
    pub strategy: Strategy,
    /// A step of the strategy, as its pipeline names it.
    pub phase: Nullable<String>,
    /// The share of the traffic that reaches the release.
    pub traffic_percent: Nullable<i64>,
    /// What its pipeline last said.
    pub message: Nullable<String>,
    /// Why it was started.
    pub reason: Nullable<String>,
    /// The pipeline that does it.
    pub pipeline_url: Nullable<String>,
    /// The person who set it off.
    pub initiated_by: Nullable<String>,
    /// What people call them, as an actor's name.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiator_name: Option<String>,
    /// The deployment whose damage it repairs.
    pub remediates: Nullable<Uuid>,
    /// Who started it.
    pub actor: ActorView,
    /// When it started.
    pub started_at: Time,
    /// When it ended; null while it runs.
    pub finished_at: Nullable<Time>,
    /// When it was found silent for too long; stays known when a late result came in.
    pub expired_at: Nullable<Time>,
    /// The start of the stay that it began or went on with, once it succeeded.
    pub stay_started_at: Nullable<Time>,
    /// How long it may stay silent, in seconds.
    pub lease_seconds: i64,
    /// When it was last heard of.
    pub heartbeat_at: Nullable<Time>,
    /// When its lease runs out, or would have.
    pub lease_expires_at: Nullable<Time>,
    /// When another took its place.
    pub superseded_at: Nullable<Time>,
    /// The deployment that took its place.
    pub superseded_by: Nullable<Uuid>,
    /// The rollback that reverted it: its release; and its image, unless the rollback returned to the same one.
    pub reverted_by: Nullable<Uuid>,
    /// A result that came too late to count.
    pub late_status: Nullable<Outcome>,
    /// Put on record after the fact, past the gate.
    pub recorded: bool,
    /// Recorded because its pipeline went on without an answer.
    pub ungated: bool,
    /// Counts as having gone through the gate: for soak, for promotion, and as a place to roll back to.
    pub credited: bool,
    /// A rollback to a verified choice, which is a release.
    pub verified: bool,
    /// Cancelled by a rollback that took its place.
    pub preempted: bool,
    /// The gate's decision that let it start.
    pub decision_id: Nullable<Uuid>,
    /// Why the gate's rules were lifted, where they were.
    pub r#override: Nullable<OverrideView>,
    /// Where people look at it. Absent in lists and answers to heartbeats, and where the server was not told its own address
    /// (`server.public_url`).
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web_url: Option<String>,
}

impl DeploymentView {
    /// The same, with where people look at it.
    #[must_use]
    pub fn at(self, pages: &Pages) -> Self {
        Self { web_url: pages.url(Page::Deployment(self.id)), ..self }
    }
}

impl Who for DeploymentView {
    fn who(&mut self, see: &mut See<'_>) {
        self.actor.who(see);
        if let Some(initiator) = &self.initiated_by.0 {
            see(initiator, &mut self.initiator_name);
        }
    }
}

/// A deployment as it is seen.
pub fn view(named: NamedDeployment) -> DeploymentView {
    let NamedDeployment { deployment, service, environment, release } = named;
    let deployment = Entry::from(deployment);
    let (plan, times, standing) = (deployment.plan, deployment.times, deployment.standing);
    let time = |at: Option<chrono::DateTime<chrono::Utc>>| Nullable(at.map(Time));
    DeploymentView {
        id: deployment.id,
        service,
        environment,
        version: release.version.to_string(),
        commit_sha: Nullable(release.commit_sha.map(|commit| commit.to_string())),
        image: Nullable(release.image.map(|image| image.to_string())),
        status: deployment.status,
        kind: deployment.kind,
        strategy: plan.strategy,
        phase: deployment.progress.phase.into(),
        traffic_percent: deployment.progress.traffic_percent.into(),
        message: deployment.progress.message.into(),
        reason: plan.reason.into(),
        pipeline_url: plan.pipeline_url.into(),
        initiated_by: plan.initiated_by.into(),
        initiator_name: None,
        remediates: plan.remediates.into(),
        actor: deployment.actor.into(),
        started_at: Time(times.started_at),
        finished_at: time(times.finished_at),
        expired_at: time(times.expired_at),
        stay_started_at: time(times.stay_started_at),
        lease_seconds: deployment.lease_seconds,
        heartbeat_at: time(times.heartbeat_at),
        lease_expires_at: time(times.lease_expires_at),
        superseded_at: time(times.superseded_at),
        superseded_by: standing.superseded_by.into(),
        reverted_by: standing.reverted_by.into(),
        late_status: standing.late_status.into(),
        recorded: standing.recorded,
        ungated: standing.ungated,
        credited: standing.credited,
        verified: standing.verified,
        preempted: standing.preempted,
        decision_id: deployment.decision_id.into(),
        r#override: Nullable(deployment.override_reason.map(|reason| OverrideView { reason })),
        web_url: None,
    }
}

/// A deployment as a request has left it.
#[derive(Clone, Debug, Object)]
pub struct ToldDeployment {
    /// The deployment.
    #[oai(flatten)]
    pub deployment: DeploymentView,
    /// The fields of the request that are not kept as they were sent, because they are odd and only descriptive.
    pub ignored: Vec<String>,
}

/// A deployment that is over and on record.
#[derive(Clone, Debug, Object)]
pub struct RecordedDeployment {
    /// The deployment.
    #[oai(flatten)]
    pub deployment: DeploymentView,
    /// The fields of the request that are not kept as they were sent, because they are odd and only descriptive.
    pub ignored: Vec<String>,
    /// How many changes of its release were left out, the oldest.
    pub changes_left_out: u64,
}

/// A deployment that the gate let start.
#[derive(Clone, Debug, Object)]
#[oai(rename = "StartedDeployment")]
pub struct StartedView {
    /// The deployment.
    pub deployment: DeploymentView,
    /// What the gate said.
    pub decision: DecisionView,
    /// The fields of the request that are not kept as they were sent, because they are odd and only descriptive.
    pub ignored: Vec<String>,
    /// How many changes of its release were left out, the oldest.
    pub changes_left_out: u64,
}

/// One entry of a timeline.
#[derive(Clone, Debug, Object)]
#[oai(rename = "TimelineEntry")]
pub struct TimelineEntry {
    /// When it happened.
    pub at: Time,
    /// What happened.
    pub kind: String,
    /// Who did it.
    pub actor: ActorView,
    /// What changed.
    pub data: serde_json::Value,
}

impl From<Event> for TimelineEntry {
    fn from(event: Event) -> Self {
        let data = serde_json::from_str(&event.data).unwrap_or_default();
        Self { at: Time(event.at), kind: event.kind, actor: event.actor.into(), data }
    }
}

impl Who for TimelineEntry {
    fn who(&mut self, see: &mut See<'_>) {
        self.actor.who(see);
    }
}

/// A deployment with its timeline.
#[derive(Clone, Debug, Object)]
pub struct DeploymentDetail {
    /// The deployment.
    #[oai(flatten)]
    pub deployment: DeploymentView,
    /// What happened to it, in order.
    pub timeline: Vec<TimelineEntry>,
}

impl Who for DeploymentDetail {
    fn who(&mut self, see: &mut See<'_>) {
        self.deployment.who(see);
        self.timeline.who(see);
    }
}

impl Listed for DeploymentView {
    const PAGE: Words = Words {
        name: "DeploymentPage",
        is: "A page of deployments.",
        items: "The deployments, newest first.",
    };
}
