//! `/services/{service}/environments/{environment}`: one target, with what may go there, its history and the way back.

use askama::Template;
use chrono::{DateTime, Utc};
use poem::{Request, Response, Result};

use super::{
    address::address,
    approvals::offered,
    form::blank::Blank,
    named::{Peopled, named},
    page::{Frame, Visitor, app, live, to_login},
    rows::{DecisionRow, DeploymentRow},
    when::{Moment, Shown, When},
    words::Words,
};
use crate::{
    clock,
    domain::{
        deployment::Filter,
        gate::{Check, remedy::remedy, stored},
        page::PageRequest,
        release::Release,
        target::{Occupant, Occupied},
        text::Name,
        vocabulary::Rule,
    },
    http::problem::Problem,
    usecase::{
        approvals::About,
        context::Ctx,
        deployments::read,
        error::Error,
        gate::{
            check::{self, Deployer, Question},
            decisions,
        },
        matrix, releases,
    },
};

/// So many of the newest releases are judged.
const RELEASES: u64 = 5;

/// So many deployments of the past are shown, and so many decisions.
const DEPLOYMENTS: u64 = 20;
const DECISIONS: u64 = 10;

#[derive(Template)]
#[template(path = "target.html")]
struct Page {
    frame: Frame,
    shown: Shown,
    service: String,
    environment: String,
    current: Option<Here>,
    running: Option<Here>,
    back: Option<Here>,
    /// What the gate says now; nothing of the past.
    judged: Vec<Judged>,
    /// What it said before.
    decisions: Vec<DecisionRow>,
    history: Vec<DeploymentRow>,
    /// All of it.
    all: String,
}

/// What occupies the target.
struct Here {
    deployment: String,
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
    reasons: Vec<Reason>,
    /// The image that it has.
    image: Option<String>,
    /// Where it is approved or rejected, for those who may.
    say: Option<Blank>,
}

/// A rule that stands in the way.
struct Reason {
    rule: String,
    message: Words,
    /// Whether it only reports.
    reports: bool,
    /// What would make it a yes, and when it will by itself.
    remedy: Option<Words>,
    retry_at: Option<Moment>,
}

/// Shows a target to whoever has signed in.
pub async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    let (service, environment) = request.path_params::<(String, String)>()?;
    let as_of = visitor.as_of();
    let frame = Frame::of(app, Some(&visitor)).at("board").telling();
    let mut page =
        Page::read(&visitor.ctx, frame, (service, environment), as_of).await.map_err(Problem::from)?;
    page.offer(&visitor);
    live(&named(&visitor.ctx, page).await?)
}

impl Peopled for Page {
    fn people(&mut self) -> Vec<&mut String> {
        let here = [&mut self.current, &mut self.running, &mut self.back].into_iter().flatten();
        let decisions = self.decisions.iter_mut().map(|row| &mut row.by);
        let history = self.history.iter_mut().map(|row| &mut row.by);
        here.map(|here| &mut here.by).chain(decisions).chain(history).collect()
    }
}

impl Page {
    /// Offers to approve and to reject what waits for approvals.
    fn offer(&mut self, visitor: &Visitor) {
        let back = format!("/services/{}/environments/{}", self.service, self.environment);
        for release in &mut self.judged {
            if release.reasons.iter().any(|reason| reason.rule == Rule::Approval.as_str()) {
                let about = About {
                    service: &self.service,
                    version: &release.version,
                    environment: &self.environment,
                };
                release.say = offered(visitor, &self.frame.base, about, release.image.as_deref(), &back);
            }
        }
    }

    async fn read(
        ctx: &Ctx,
        frame: Frame,
        (service, environment): (String, String),
        as_of: Option<DateTime<Utc>>,
    ) -> Result<Self, Error> {
        let now = clock::now();
        let at = as_of.unwrap_or(now);
        let (Occupied { current, running, .. }, rollback_to) = match as_of {
            None => {
                let state = matrix::target(ctx, &service, &environment).await?;
                (state.occupied, state.rollback_to)
            }
            Some(at) => (matrix::target_at(ctx, &service, &environment, at).await?, None),
        };
        let judged = match as_of {
            None => judge_newest(ctx, (&service, &environment), current.as_ref(), now).await?,
            Some(_) => Vec::new(),
        };
        let there = || (Some(service.clone()), Some(environment.clone()));
        let ((of, into), (about, to)) = (there(), there());
        let only = Filter { service: of, environment: into, until: as_of, ..Filter::default() };
        let said =
            stored::Filter { service: about, environment: to, until: as_of, ..stored::Filter::default() };
        let last = |limit| PageRequest { after: None, limit };
        let history = read::list(ctx, &only, &last(DEPLOYMENTS)).await?.items;
        let decisions = decisions::list(ctx, &said, &last(DECISIONS)).await?.items;
        let fields = [("service", service.as_str()), ("environment", environment.as_str())];
        let here = |occupant: Option<Occupant>| occupant.map(|occupant| Here::of(occupant, at));
        Ok(Self {
            shown: Shown::of(as_of, now),
            current: here(current),
            running: here(running),
            back: here(rollback_to),
            judged,
            decisions: DecisionRow::all(decisions, at),
            history: DeploymentRow::all(history, at),
            all: address(&format!("{}/deployments", frame.base), fields),
            frame,
            service,
            environment,
        })
    }
}

/// What the gate would say now of the newest releases, for nobody in particular.
async fn judge_newest(
    ctx: &Ctx,
    (service, environment): (&str, &str),
    current: Option<&Occupant>,
    now: DateTime<Utc>,
) -> Result<Vec<Judged>, Error> {
    let newest = PageRequest { after: None, limit: RELEASES };
    let newest = releases::list(ctx, service, None, &newest).await?.items;
    let mut judged = Vec::new();
    for release in newest {
        let is_current = current.is_some_and(|current| current.release.version == release.identity.version);
        judged.push(judge(ctx, (service, environment), release, is_current, now).await?);
    }
    Ok(judged)
}

async fn judge(
    ctx: &Ctx,
    (service, environment): (&str, &str),
    release: Release,
    is_current: bool,
    now: DateTime<Utc>,
) -> Result<Judged, Error> {
    let image = release.identity.image.as_ref().map(ToString::to_string);
    let version = release.identity.version;
    let question = Question {
        service: Name::trusted(service.to_owned()),
        environment: Name::trusted(environment.to_owned()),
        version: Some(version.clone()),
        kind: None,
        preempt: false,
        initiated_by: Vec::new(),
        deployer: Deployer::Anybody,
        override_reason: None,
    };
    let (allowed, reasons) = match check::check(ctx, &question).await {
        Ok(answer) => {
            let verdict = answer.decided.decision.verdict;
            let reason = |check: &Check| Reason {
                rule: check.rule.as_str().to_owned(),
                message: check.message.clone().into(),
                reports: !verdict.denying().any(|denying| denying.rule == check.rule),
                remedy: remedy(check, environment).map(Into::into),
                retry_at: check.retry_at.map(|at| Moment::of(at, now)),
            };
            (verdict.allowed, verdict.failing().map(reason).collect())
        }
        // What is archived, or only looks like production, takes nothing; that is an answer too.
        Err(Error::Conflict(message)) => {
            let rule = "closed".to_owned();
            (
                false,
                vec![Reason { rule, message: message.into(), reports: false, remedy: None, retry_at: None }],
            )
        }
        Err(error) => return Err(error),
    };
    let when = When::of(release.ordered_at, now);
    Ok(Judged { version: version.to_string(), when, is_current, allowed, reasons, image, say: None })
}

impl Here {
    fn of(occupant: Occupant, now: DateTime<Utc>) -> Self {
        let Occupant { deployment_id, release, since, actor, removal, .. } = occupant;
        Self {
            deployment: deployment_id.to_string(),
            version: release.version.to_string(),
            image: release.image.map(|image| image.to_string()),
            commit: release.commit_sha.map(|commit| commit.to_string()),
            since: When::of(since, now),
            by: actor.subject,
            removal,
        }
    }
}
