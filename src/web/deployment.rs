//! `/deployments/{id}`: one deployment, with all that happened to it.

use askama::Template;
use chrono::{DateTime, Utc};
use poem::{Request, Response, Result};
use serde_json::Value;
use uuid::Uuid;

use super::{
    named::{Peopled, named},
    page::{Frame, Visitor, app, id, live, to_login},
    when::{Moment, Shown, whole},
};
use crate::{
    clock,
    domain::{
        deployment::{Entry, NamedDeployment, Progress, Standing, Times},
        event::Event,
        span::duration,
        vocabulary::{Kind, Status, Strategy},
    },
    http::problem::{Code, Problem},
    usecase::deployments::read,
};

#[derive(Template)]
#[template(path = "deployment.html")]
struct Page {
    frame: Frame,
    shown: Shown,
    id: Uuid,
    service: String,
    environment: String,
    version: String,
    commit: Option<String>,
    image: Option<String>,
    status: Status,
    kind: Kind,
    strategy: Strategy,
    progress: Progress,
    by: String,
    token: String,
    initiated_by: Option<String>,
    reason: Option<String>,
    override_reason: Option<String>,
    pipeline: Option<String>,
    decision: Option<Uuid>,
    remediates: Option<Uuid>,
    started: Moment,
    finished: Option<Moment>,
    took: String,
    /// The last heartbeat, and when the lease ends.
    heard: Option<(Moment, Option<Moment>)>,
    superseded: Option<(Moment, Option<Uuid>)>,
    reverted_by: Option<Uuid>,
    /// What is unusual about it, in words.
    marks: Vec<String>,
    timeline: Vec<Happened>,
}

/// Something that happened to it.
struct Happened {
    at: Moment,
    kind: String,
    by: String,
    /// What was said about it.
    words: String,
}

/// Shows a deployment to whoever has signed in.
pub async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    let id = id(&request, "deployment")?;
    let (found, events) = read::get(&visitor.ctx, id).await.map_err(Problem::from)?;
    let frame = Frame::of(app, Some(&visitor)).at("deployments");
    let page = Page::of(frame.telling(), found, events, visitor.as_of())?;
    live(&named(&visitor.ctx, page).await?)
}

impl Peopled for Page {
    fn people(&mut self) -> Vec<&mut String> {
        let own = std::iter::once(&mut self.by).chain(&mut self.initiated_by);
        own.chain(self.timeline.iter_mut().map(|happened| &mut happened.by)).collect()
    }
}

impl Page {
    fn of(
        frame: Frame,
        named: NamedDeployment,
        mut events: Vec<Event>,
        as_of: Option<DateTime<Utc>>,
    ) -> Result<Self, Problem> {
        let now = as_of.unwrap_or_else(clock::now);
        let NamedDeployment { deployment, service, environment, release } = named;
        let Entry {
            id,
            status,
            kind,
            plan,
            override_reason,
            progress,
            actor,
            decision_id,
            times,
            standing,
            ..
        } = match as_of {
            None => Entry::from(deployment),
            Some(at) if deployment.times.started_at > at => {
                let when = whole(deployment.times.started_at);
                return Err(Problem::new(Code::NotFound, format!("It began later, at {when} UTC.")));
            }
            Some(at) => Entry::from(deployment).at(at),
        };
        events.retain(|event| event.at <= now);
        let moment = |at| Moment::of(at, now);
        Ok(Self {
            frame,
            shown: Shown::of(as_of, now),
            id,
            service,
            environment,
            version: release.version.to_string(),
            commit: release.commit_sha.map(|commit| commit.to_string()),
            image: release.image.map(|image| image.to_string()),
            status,
            kind,
            strategy: plan.strategy,
            progress,
            by: actor.subject,
            token: actor.token,
            initiated_by: plan.initiated_by,
            reason: plan.reason,
            override_reason,
            pipeline: plan.pipeline_url,
            decision: decision_id,
            remediates: plan.remediates,
            started: moment(times.started_at),
            finished: times.finished_at.map(moment),
            took: duration(times.finished_at.unwrap_or(now) - times.started_at),
            heard: times.heartbeat_at.map(|at| (moment(at), times.lease_expires_at.map(moment))),
            superseded: times.superseded_at.map(|at| (moment(at), standing.superseded_by)),
            reverted_by: standing.reverted_by,
            marks: marks(&standing, &times),
            timeline: events.into_iter().map(|event| happened(event, now)).collect(),
        })
    }
}

/// What is unusual about a deployment.
fn marks(standing: &Standing, times: &Times) -> Vec<String> {
    let marks = [
        (standing.recorded && !standing.ungated, "put on record after the fact, past the gate"),
        (standing.ungated, "went on without an answer of the gate"),
        (standing.recorded && standing.credited, "counts as if it had gone through the gate"),
        (standing.verified, "a rollback to a verified choice"),
        (standing.preempted, "cancelled by a rollback that took its place"),
        (times.expired_at.is_some(), "was silent for longer than its lease"),
    ];
    let marks = marks.iter().filter(|(holds, _)| *holds).map(|(_, words)| (*words).to_owned());
    let late = standing.late_status.map(|late| format!("a result that came too late to count: {late}"));
    marks.chain(late).collect()
}

fn happened(event: Event, now: DateTime<Utc>) -> Happened {
    let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
    let said = |member: &str| data.get(member).and_then(Value::as_str).filter(|text| !text.is_empty());
    let words = ["late_status", "message", "reason", "override"].into_iter().filter_map(said);
    Happened {
        at: Moment::of(event.at, now),
        kind: event.kind.trim_start_matches("deployment.").replace(['-', '.'], " "),
        by: event.actor.subject,
        words: words.collect::<Vec<_>>().join("; "),
    }
}
