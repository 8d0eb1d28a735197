//! `/services/{service}/releases/{version}`: a release's journey, and all that is on record about it.

use askama::Template;
use chrono::{DateTime, Utc};
use poem::{Request, Response, Result};
use uuid::Uuid;

use super::{
    address::segment,
    approvals::withdrawal,
    form::blank::Blank,
    named::{Peopled, named},
    page::{Frame, Visitor, app, live, to_login},
    promotion::Commit,
    rows::{DecisionRow, DeploymentRow},
    when::{Moment, Shown, When},
};
use crate::{
    clock,
    domain::{
        approval::NamedApproval,
        deployment::Filter,
        gate::{facts::Counts, stored},
        page::PageRequest,
        platform::Platform,
        release::{Change, Release},
        vocabulary::{Severity, Voice},
    },
    http::problem::Problem,
    usecase::{
        approvals::{self, About},
        context::Ctx,
        deployments::read,
        error::Error,
        gate::decisions,
        matrix::{self, Place},
        releases,
        scans::{self, Seen},
    },
};

/// So many deployments, decisions, approvals and scans are shown, each.
const ROWS: u64 = 50;
/// So many of its commits.
const COMMITS: usize = 100;

#[derive(Template)]
#[template(path = "release.html")]
struct Page {
    frame: Frame,
    shown: Shown,
    service: String,
    version: String,
    commit: Option<String>,
    git_ref: Option<String>,
    image: Option<String>,
    locations: Vec<String>,
    platforms: Vec<Platform>,
    registered: Moment,
    committed: Option<Moment>,
    by: String,
    initiated_by: Option<String>,
    pipeline: Option<String>,
    labels: Vec<(String, String)>,
    /// Each environment, and since when it is there, if it is.
    places: Vec<(String, Option<When>)>,
    commits: Vec<Commit>,
    /// How many more there are.
    more_commits: usize,
    journey: Vec<DeploymentRow>,
    decisions: Vec<DecisionRow>,
    approvals: Vec<ApprovalRow>,
    scans: Vec<ScanRow>,
    severities: &'static [Severity],
}

/// What somebody said of it.
struct ApprovalRow {
    voice: Voice,
    environment: String,
    by: String,
    groups: String,
    when: When,
    comment: String,
    withdrawn: Option<When>,
    id: Uuid,
    /// Where it is withdrawn, for whoever said it.
    withdraw: Option<Blank>,
}

/// A scan of it.
struct ScanRow {
    scanner: String,
    platform: String,
    classes: String,
    when: When,
    /// Whether any of it counts, or a later one has taken its place, which is told of now alone.
    counts: bool,
    /// Of each severity how many it found, and how many of these have a fix, where that is told.
    found: Vec<(u32, Option<u32>)>,
    waived: Vec<WaivedRow>,
}

/// What a waiver takes out of a scan.
struct WaivedRow {
    vulnerability: String,
    /// Where that is.
    address: String,
    reason: String,
    findings: u32,
    until: Moment,
}

/// Shows a release to whoever has signed in.
pub async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    let (service, version) = request.path_params::<(String, String)>()?;
    let frame = Frame::of(app, Some(&visitor)).at("services");
    let mut page = Page::read(&visitor.ctx, frame.telling(), service, version, visitor.as_of())
        .await
        .map_err(Problem::from)?;
    page.offer(&visitor);
    live(&named(&visitor.ctx, page).await?)
}

impl Peopled for Page {
    fn people(&mut self) -> Vec<&mut String> {
        let own = std::iter::once(&mut self.by).chain(&mut self.initiated_by);
        let journey = self.journey.iter_mut().map(|row| &mut row.by);
        let decisions = self.decisions.iter_mut().map(|row| &mut row.by);
        let approvals = self.approvals.iter_mut().map(|row| &mut row.by);
        own.chain(journey).chain(decisions).chain(approvals).collect()
    }
}

impl Page {
    /// Offers to withdraw to whoever looks what they have said.
    fn offer(&mut self, visitor: &Visitor) {
        for row in self.approvals.iter_mut().filter(|row| row.withdrawn.is_none()) {
            let about =
                About { service: &self.service, version: &self.version, environment: &row.environment };
            row.withdraw = withdrawal(visitor, &self.frame.base, about, (row.id, &row.by));
        }
    }

    async fn read(
        ctx: &Ctx,
        frame: Frame,
        service: String,
        version: String,
        as_of: Option<DateTime<Utc>>,
    ) -> Result<Self, Error> {
        let release = releases::get(ctx, &service, &version).await?;
        let now = as_of.unwrap_or_else(clock::now);
        let deployed = Filter {
            service: Some(service.clone()),
            version: Some(version.clone()),
            until: as_of,
            ..Filter::default()
        };
        let said = stored::Filter {
            service: Some(service.clone()),
            version: Some(version.clone()),
            until: as_of,
            ..stored::Filter::default()
        };
        let newest = PageRequest { after: None, limit: ROWS };
        let journey = read::list(ctx, &deployed, &newest).await?.items;
        let decisions = decisions::list(ctx, &said, &newest).await?.items;
        let mut approvals = approvals::list(ctx, &service, &version, None, &newest).await?.items;
        approvals.retain(|named| named.approval.created_at <= now);
        let mut scans = scans::list(ctx, &service, &version, &newest).await?.items;
        scans.retain(|seen| seen.scan.created_at <= now);
        let places = matrix::of_service(ctx, &service, as_of).await?;
        // What was put on record later ran all the same.
        let is_there = |place: &Place| {
            place.current.as_ref().is_some_and(|current| current.release.version.as_str() == version)
        };
        if release.created_at > now && !places.iter().any(is_there) {
            return Err(Error::missing("release", &version, "It was registered later than that."));
        }
        let there = |place: Place| {
            let current = place.current.filter(|current| current.release.version.as_str() == version);
            (place.environment.name, current.map(|current| When::of(current.since, now)))
        };
        let commit = |change: &Change| Commit::of(change, version.clone(), now);
        let Release { identity, description, locations, platforms, created_at, actor, .. } = release;
        Ok(Self {
            shown: Shown::of(as_of, now),
            places: places.into_iter().map(there).collect(),
            commits: description.changes.iter().take(COMMITS).map(commit).collect(),
            more_commits: description.changes.len().saturating_sub(COMMITS),
            journey: DeploymentRow::all(journey, now),
            decisions: DecisionRow::all(decisions, now),
            approvals: approvals.into_iter().map(|named| approval_row(named, now)).collect(),
            scans: scans.into_iter().map(|seen| scan_row(&frame.base, seen, now, as_of.is_some())).collect(),
            severities: Severity::ALL,
            commit: identity.commit_sha.map(|commit| commit.to_string()),
            image: identity.image.map(|image| image.to_string()),
            git_ref: description.git_ref,
            locations,
            platforms,
            registered: Moment::of(created_at, now),
            committed: description.committed_at.map(|at| Moment::of(at, now)),
            by: actor.subject,
            initiated_by: description.initiated_by,
            pipeline: description.pipeline_url,
            labels: description.labels.into_iter().collect(),
            frame,
            service,
            version,
        })
    }
}

fn approval_row(
    NamedApproval { approval, environment, .. }: NamedApproval,
    now: DateTime<Utc>,
) -> ApprovalRow {
    ApprovalRow {
        voice: approval.voice,
        environment,
        by: approval.actor.subject,
        groups: approval.groups.into_iter().collect::<Vec<_>>().join(", "),
        when: When::of(approval.created_at, now),
        comment: approval.comment.unwrap_or_default(),
        withdrawn: approval.withdrawn_at.filter(|at| *at <= now).map(|at| When::of(at, now)),
        id: approval.id,
        withdraw: None,
    }
}

fn scan_row(base: &str, Seen { scan, waived }: Seen, now: DateTime<Utc>, is_past: bool) -> ScanRow {
    let (found, fixable): (Counts, Option<Counts>) = (scan.counts(), scan.fixable());
    let of = |severity: &Severity| (found.of(*severity), fixable.map(|fixable| fixable.of(*severity)));
    let classes: Vec<_> = scan.parts.iter().map(|part| part.class.as_str()).collect();
    let waived = waived.into_iter().filter(|_| !is_past).map(|(waiver, findings)| WaivedRow {
        address: format!("{base}/vulnerabilities/{}", segment(&waiver.definition.vulnerability)),
        until: Moment::of(waiver.definition.expires_at, now),
        vulnerability: waiver.definition.vulnerability,
        reason: waiver.definition.reason,
        findings,
    });
    ScanRow {
        counts: is_past || scan.latest(),
        found: Severity::ALL.iter().map(of).collect(),
        waived: waived.collect(),
        when: When::of(scan.scanned_at, now),
        platform: scan.platform.unwrap_or_else(|| "any".to_owned()),
        classes: classes.join(", "),
        scanner: scan.scanner,
    }
}
