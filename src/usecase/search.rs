//! Finding what has a name, whatever it is.

use std::{cmp::Reverse, collections::BTreeSet};

use chrono::TimeDelta;
use uuid::Uuid;

use crate::{
    clock,
    domain::{
        deployment::{Filter, NamedDeployment},
        page::PageRequest,
        people::subject_in,
        search::{By, FoundRelease, FoundService, Needle},
        vocabulary::Scope,
    },
    store::{decision, deployment, person, search},
    usecase::{context::Ctx, error::Error, scans},
};

/// So many of each kind are found.
const FOUND_MAX: u32 = 20;
/// So many people of one name are looked for.
const NAMESAKES_MAX: u64 = 5;
/// So far back somebody's deployments are looked for.
const PERSON_DAYS: i64 = 90;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub services: Vec<FoundService>,
    pub releases: Vec<FoundRelease>,
    /// The latest that a person, or whoever the text names, started or set off.
    pub deployments: Vec<NamedDeployment>,
    /// A decision of this id.
    pub decision: Option<Uuid>,
    /// A vulnerability of this id, and in how many targets it is.
    pub vulnerability: Option<(String, usize)>,
}

/// Finds what a text may mean, as far as the caller may see it.
pub async fn find(ctx: &Ctx, needle: &Needle) -> Result<Found, Error> {
    ctx.require(Scope::Read)?;
    if needle.is_empty() {
        return Ok(Found::default());
    }
    let (conn, within) = (ctx.app.db.read(), ctx.within());
    let services = search::services(conn, within, &needle.text, FOUND_MAX.into()).await?;
    let by = [
        needle.version.as_deref().map(By::Version),
        needle.commit.as_deref().map(By::Commit),
        needle.digest.as_deref().map(By::Digest),
    ];
    let (mut releases, mut seen) = (Vec::new(), BTreeSet::new());
    for by in by.into_iter().flatten() {
        let found = search::releases(conn, within, by, FOUND_MAX.into()).await?;
        let new = |found: &FoundRelease| seen.insert((found.service.clone(), found.version.clone()));
        releases.extend(found.into_iter().filter(new));
    }
    let decision = match needle.id {
        Some(id) => decision::find(conn, within, id).await?.map(|_| id),
        None => None,
    };
    Ok(Found {
        services,
        releases,
        deployments: deployments(ctx, needle).await?,
        decision,
        vulnerability: vulnerability(ctx, needle).await?,
    })
}

async fn deployments(ctx: &Ctx, needle: &Needle) -> Result<Vec<NamedDeployment>, Error> {
    let (conn, within) = (ctx.app.db.read(), ctx.within());
    if let Some(id) = needle.id {
        return Ok(deployment::find(conn, within, id).await?.into_iter().collect());
    }
    let mut actors = person::called(conn, &needle.text, NAMESAKES_MAX).await?;
    actors.push(subject_in(&needle.text).to_owned());
    let since = clock::now() - TimeDelta::days(PERSON_DAYS);
    let first = PageRequest { after: None, limit: FOUND_MAX.into() };
    let mut found = Vec::new();
    for actor in actors {
        let by = Filter { actor: Some(actor), since: Some(since), ..Filter::default() };
        found.extend(deployment::list(conn, within, &by, &first).await?);
    }
    let key = |named: &NamedDeployment| (named.deployment.times.started_at, named.deployment.id);
    found.sort_by_key(|named| Reverse(key(named)));
    found.dedup_by_key(|named| named.deployment.id);
    found.truncate(usize::try_from(FOUND_MAX).unwrap_or(usize::MAX));
    Ok(found)
}

/// The vulnerability of this id, where it is one or a scan has named it.
async fn vulnerability(ctx: &Ctx, needle: &Needle) -> Result<Option<(String, usize)>, Error> {
    let Some(id) = &needle.vulnerability else { return Ok(None) };
    let (id, exposure) = scans::exposure(ctx, id).await?;
    let known = ["CVE-", "GHSA-"].iter().any(|prefix| id.starts_with(prefix));
    let found = !exposure.targets.is_empty() || !exposure.releases.is_empty();
    Ok((known || found).then_some((id, exposure.targets.len())))
}
