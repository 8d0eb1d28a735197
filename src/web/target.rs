//! `/services/{service}/environments/{environment}`: one target, with what may go there, its history and the way back.

use std::collections::BTreeSet;

use askama::Template;
use chrono::{DateTime, Utc};
use poem::{Request, Response, Result};

use super::{
    approvals::offered,
    assets,
    form::blank::Blank,
    page::{Frame, Visitor, app, live, to_login},
    when::{When, stamp, whole},
};
use crate::{
    clock,
    domain::{
        deployment::{Filter, NamedDeployment},
        page::PageRequest,
        people::Names,
        release::Release,
        span::duration,
        target::Occupant,
        text::Name,
        vocabulary::Rule,
    },
    http::problem::Problem,
    usecase::{
        approvals::About,
        context::Ctx,
        deployments::read,
        error::Error,
        gate::check::{self, Deployer, Question},
        matrix::{self, TargetState},
        people, releases,
    },
};

/// So many of the newest releases are judged.
const RELEASES: u64 = 5;

/// So many deployments of the past are shown.
const DEPLOYMENTS: u64 = 20;

#[derive(Template)]
#[template(path = "target.html")]
struct Page {
    frame: Frame,
    /// What keeps it up to date.
    script: &'static str,
    service: String,
    environment: String,
    at: String,
    stamp: String,
    current: Option<Shown>,
    running: Option<Shown>,
    back: Option<Shown>,
    judged: Vec<Judged>,
    history: Vec<Entry>,
}

/// What occupies the target.
struct Shown {
    version: String,
    image: Option<String>,
    commit: Option<String>,
    since: When,
    by: String,
    removal: bool,
}

/// What the gate says of a release.
struct Judged {
    version: String,
    when: When,
    is_current: bool,
    allowed: bool,
    /// Every rule that stands in the way, and whether it only reports.
    reasons: Vec<(String, String, bool)>,
    /// Where it is approved or rejected, for those who may.
    say: Option<Blank>,
}

/// A deployment of the past.
struct Entry {
    version: String,
    kind: &'static str,
    status: &'static str,
    when: When,
    took: String,
    by: String,
    reason: String,
}

/// Shows a target to whoever has signed in.
pub async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    let (service, environment) = request.path_params::<(String, String)>()?;
    let frame = Frame::of(app, Some(&visitor));
    let shown = Page::read(&visitor, frame, service, environment).await.map_err(Problem::from)?;
    live(&shown)
}

impl Page {
    async fn read(
        visitor: &Visitor,
        frame: Frame,
        service: String,
        environment: String,
    ) -> Result<Self, Error> {
        let ctx = &visitor.ctx;
        let TargetState { occupied, rollback_to } = matrix::target(ctx, &service, &environment).await?;
        let now = clock::now();
        let newest = PageRequest { after: None, limit: RELEASES };
        let newest = releases::list(ctx, &service, None, &newest).await?.items;
        let current = occupied.current.as_ref().map(|current| current.release.version.clone());
        let mut judged = Vec::new();
        for release in newest {
            let is_current = current.as_ref() == Some(&release.identity.version);
            let image = release.identity.image.as_ref().map(ToString::to_string);
            let mut said = judge(ctx, (&service, &environment), release, is_current, now).await?;
            if said.reasons.iter().any(|(rule, _, _)| rule == Rule::Approval.as_str()) {
                let about = About { service: &service, version: &said.version, environment: &environment };
                let back = format!("/services/{service}/environments/{environment}");
                said.say = offered(visitor, &frame.base, about, image.as_deref(), &back);
            }
            judged.push(said);
        }
        let only = Filter {
            service: Some(service.clone()),
            environment: Some(environment.clone()),
            ..Filter::default()
        };
        let last = PageRequest { after: None, limit: DEPLOYMENTS };
        let history = read::list(ctx, &only, &last).await?.items;
        let there = [&occupied.current, &occupied.running, &rollback_to].into_iter().flatten();
        let mut subjects: BTreeSet<_> = there.map(|occupant| occupant.actor.subject.clone()).collect();
        subjects.extend(history.iter().map(|past| whose(past).to_owned()));
        let names = people::names(ctx, subjects).await?;
        let shown = |occupant: Option<Occupant>| occupant.map(|occupant| Shown::of(occupant, &names, now));
        Ok(Self {
            frame,
            script: assets::LIVE.path(),
            service,
            environment,
            at: whole(now),
            stamp: stamp(now),
            current: shown(occupied.current),
            running: shown(occupied.running),
            back: shown(rollback_to),
            judged,
            history: history.into_iter().map(|past| entry(past, &names, now)).collect(),
        })
    }
}

/// What the gate would say of a release now, for nobody in particular.
async fn judge(
    ctx: &Ctx,
    (service, environment): (&str, &str),
    release: Release,
    is_current: bool,
    now: DateTime<Utc>,
) -> Result<Judged, Error> {
    let version = release.identity.version;
    let question = Question {
        service: Name::trusted(service.to_owned()),
        environment: Name::trusted(environment.to_owned()),
        version: Some(version.clone()),
        kind: None,
        preempt: false,
        initiated_by: None,
        deployer: Deployer::Anybody,
        override_reason: None,
    };
    let judged = |allowed, reasons| Judged {
        version: version.to_string(),
        when: When::of(release.ordered_at, now),
        is_current,
        allowed,
        reasons,
        say: None,
    };
    match check::check(ctx, &question).await {
        Ok(answer) => {
            let verdict = answer.decided.decision.verdict;
            let reason = |check: &crate::domain::gate::Check| {
                let denies = verdict.denying().any(|denying| denying.rule == check.rule);
                (check.rule.as_str().to_owned(), check.message.clone(), !denies)
            };
            let reasons = verdict.failing().map(reason).collect();
            Ok(judged(verdict.allowed, reasons))
        }
        // What is archived, or only looks like production, takes nothing; that is an answer too.
        Err(Error::Conflict(why)) => Ok(judged(false, vec![("closed".to_owned(), why, false)])),
        Err(error) => Err(error),
    }
}

impl Shown {
    fn of(occupant: Occupant, names: &Names, now: DateTime<Utc>) -> Self {
        let Occupant { release, since, actor, removal, .. } = occupant;
        Self {
            version: release.version.to_string(),
            image: release.image.map(|image| image.to_string()),
            commit: release.commit_sha.map(|commit| commit.to_string()),
            since: When::of(since, now),
            by: names.shown(&actor.subject),
            removal,
        }
    }
}

/// Who is behind a deployment: whoever set it off, or else who started it.
fn whose(NamedDeployment { deployment, .. }: &NamedDeployment) -> &str {
    deployment.plan.initiated_by.as_ref().unwrap_or(&deployment.actor.subject)
}

fn entry(past: NamedDeployment, names: &Names, now: DateTime<Utc>) -> Entry {
    let by = names.shown(whose(&past));
    let NamedDeployment { deployment, release, .. } = past;
    let (times, plan) = (&deployment.times, &deployment.plan);
    let took = times.finished_at.map(|end| duration(end - times.started_at));
    Entry {
        version: release.version.to_string(),
        kind: deployment.kind.as_str(),
        status: deployment.status.as_str(),
        when: When::of(times.started_at, now),
        took: took.unwrap_or_default(),
        by,
        reason: plan.reason.clone().or_else(|| deployment.override_reason.clone()).unwrap_or_default(),
    }
}
