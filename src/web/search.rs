//! `/search?q=`: one box that finds services, releases by version, commit or image, people, and vulnerabilities.

use askama::Template;
use chrono::{DateTime, Utc};
use poem::{Request, Response, Result, http::StatusCode};
use uuid::Uuid;

use super::{
    address::{address, segment},
    form::Form,
    named::{Peopled, named},
    page::{Frame, Visitor, app, page, see, to_login},
    rows::{DeploymentRow, short},
    when::When,
};
use crate::{
    clock,
    domain::search::{FoundRelease, FoundService, Needle},
    http::problem::Problem,
    usecase::search::{self, Found},
};

#[derive(Template)]
#[template(path = "search.html")]
struct Page {
    frame: Frame,
    q: String,
    services: Vec<FoundService>,
    releases: Vec<ReleaseRow>,
    deployments: Vec<DeploymentRow>,
    /// All that whoever it is has deployed.
    by: String,
    decision: Option<Uuid>,
    vulnerability: Option<(String, String, usize)>,
}

struct ReleaseRow {
    service: String,
    version: String,
    commit: String,
    registered: When,
}

/// Shows what was found to whoever has signed in; where it is one thing alone, that is shown itself.
pub async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    let needle = Needle::of(Form::of_query(&request).get("q"));
    let found = search::find(&visitor.ctx, &needle).await.map_err(Problem::from)?;
    let frame = Frame::of(app, Some(&visitor));
    if let Some(only) = only(&frame.base, &needle, &found) {
        return Ok(see(&only));
    }
    let shown = Page::of(frame, needle, found, clock::now());
    page(StatusCode::OK, &named(&visitor.ctx, shown).await?)
}

/// Where the only thing is that was found, if it is one that is meant by its name.
fn only(base: &str, needle: &Needle, found: &Found) -> Option<String> {
    let Found { services, releases, deployments, decision, vulnerability } = found;
    match (services.as_slice(), releases.as_slice(), deployments.as_slice(), decision, vulnerability) {
        ([service], [], [], None, None) => Some(format!("{base}/services/{}", service.name)),
        ([], [release], [], None, None) => {
            Some(format!("{base}/services/{}/releases/{}", release.service, release.version))
        }
        ([], [], [one], None, None) if needle.id.is_some() => {
            Some(format!("{base}/deployments/{}", one.deployment.id))
        }
        ([], [], [], Some(decision), _) => Some(format!("{base}/decisions/{decision}")),
        ([], [], [], None, Some((id, _))) => Some(format!("{base}/vulnerabilities/{}", segment(id))),
        _ => None,
    }
}

impl Peopled for Page {
    fn people(&mut self) -> Vec<&mut String> {
        self.deployments.iter_mut().map(|row| &mut row.by).collect()
    }
}

impl Page {
    fn of(frame: Frame, needle: Needle, found: Found, now: DateTime<Utc>) -> Self {
        let base = frame.base.as_str();
        let vulnerability = found.vulnerability.map(|(id, count)| {
            let address = format!("{base}/vulnerabilities/{}", segment(&id));
            (id, address, count)
        });
        Self {
            by: address(&format!("{base}/deployments"), [("actor", needle.text.as_str())]),
            q: needle.text,
            services: found.services,
            releases: found.releases.into_iter().map(|release| release_row(release, now)).collect(),
            deployments: DeploymentRow::all(found.deployments, now),
            decision: found.decision,
            vulnerability,
            frame,
        }
    }

    fn is_empty(&self) -> bool {
        self.services.is_empty()
            && self.releases.is_empty()
            && self.deployments.is_empty()
            && self.decision.is_none()
            && self.vulnerability.is_none()
    }
}

fn release_row(release: FoundRelease, now: DateTime<Utc>) -> ReleaseRow {
    ReleaseRow {
        service: release.service,
        version: release.version,
        commit: short(&release.commit_sha.unwrap_or_default()),
        registered: When::of(release.created_at, now),
    }
}
