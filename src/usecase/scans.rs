//! Scans: putting reports on record, and asking where a vulnerability is.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::{
    clock,
    domain::{
        event::{EventKind, NewEvent},
        moment::is_ahead,
        page::{Page, PageRequest, TimeKey, page},
        scan::{Exposure, Report, Scan, room, spelled},
        text::{Name, Version},
        vocabulary::Scope,
    },
    store::{db::Tx, policy, release, scan, service, vulnerability},
    usecase::{
        context::{Ctx, Render},
        error::Error,
    },
};

/// How many releases that are in no target are told of.
const RELEASES_MAX: usize = 100;

/// A report about a release.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The service.
    pub service: Name,
    /// The release's version.
    pub version: Version,
    /// The report.
    pub report: Report,
    /// When it was made, for when it does not say so itself.
    pub scanned_at: Option<DateTime<Utc>>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Uploaded {
    /// The scan that is on record.
    pub scan: Scan,
    /// Whether it was put there now.
    pub new: bool,
}

/// Fails when the token may not put scans of the service on record: before anything of a report is read.
pub fn require(ctx: &Ctx, service: &Name) -> Result<(), Error> {
    ctx.require(Scope::Attest)?;
    ctx.require_service(service.as_str())
}

/// Puts a report on record.
pub async fn upload(ctx: &Ctx, upload: &Upload, render: Render<'_, Uploaded>) -> Result<Uploaded, Error> {
    require(ctx, &upload.service)?;
    ctx.app.db.write(|tx| async move { upload_in(ctx, tx, upload, render).await }).await
}

async fn upload_in(
    ctx: &Ctx,
    tx: Tx,
    Upload { service: name, version, report, scanned_at }: &Upload,
    render: Render<'_, Uploaded>,
) -> Result<Uploaded, Error> {
    let locked = service::lock(tx.conn(), name.as_str()).await?;
    let (service, now) = locked.ok_or_else(|| Error::not_found("service", name))?;
    if service.archived_at.is_some() {
        return Err(Error::Conflict(format!("service {name} is archived; it takes no scans")));
    }
    let release = release::find(tx.conn(), service.id, version.as_str()).await?;
    let release = release.ok_or_else(|| Error::not_found("release", &format!("{version} of {name}")))?;
    let subject = report.subject.check(release.identity.image.as_ref());
    let (subject, time) = (subject.err(), report.time(*scanned_at, now));
    let scanned_at = match (subject, time) {
        (None, Ok(at)) => at,
        (subject, time) => return Err(Error::Invalid(subject.into_iter().chain(time.err()).collect())),
    };
    let mut made = Scan {
        id: clock::new_id(),
        service_id: service.id,
        release_id: release.id,
        version: version.to_string(),
        artefact: release.identity.artefact(),
        scanner: report.scanner.clone(),
        format: report.format,
        scanned_at,
        counts: report.counts,
        findings: 0,
        latest: true,
        actor: ctx.actor().clone(),
        created_at: now,
    };
    if let Some(scan) = scan::twin(tx.conn(), &made).await? {
        return ctx.commit(tx, now, Uploaded { scan, new: false }, render).await;
    }
    file(&tx, &mut made, report).await?;
    let data = json!({
        "scanner": made.scanner, "format": made.format, "scanned_at": made.scanned_at, "counts": made.counts,
        "latest": made.latest,
    });
    let event = NewEvent::new(EventKind::ScanRecorded, ctx.actor(), data).service(name).version(version);
    ctx.record(&tx, vec![event], now).await?;
    ctx.commit(tx, now, Uploaded { scan: made, new: true }, render).await
}

/// Files a scan among those of its artefact. One that is older than the latest of its scanner does not count, unless that
/// one is from the future; of two that were made at the same moment, the one that arrives last does.
async fn file(tx: &Tx, made: &mut Scan, report: &Report) -> Result<(), Error> {
    let counting = scan::latest(tx.conn(), made.service_id, &made.artefact).await?;
    match counting.iter().map(|(fact, _)| fact).find(|fact| fact.scanner == made.scanner) {
        Some(latest)
            if latest.scanned_at > made.scanned_at && !is_ahead(latest.scanned_at, made.created_at) =>
        {
            made.latest = false;
        }
        Some(latest) => scan::supersede(tx.conn(), latest.id).await?,
        None => {
            let reporters = counting.iter().map(|(_, reporter)| reporter.as_str());
            if let Err(full) = room(reporters, &made.actor.subject)
                && !policy::names_scanner(tx.conn(), &made.scanner).await?
            {
                return Err(Error::Conflict(full.to_string()));
            }
        }
    }
    let findings = if made.latest { report.findings.as_slice() } else { &[] };
    made.findings = u32::try_from(findings.len()).unwrap_or(u32::MAX);
    scan::insert(tx.conn(), made, findings).await.map_err(Error::raced)
}

/// Lists the scans of a release's artefact, newest first.
pub async fn list(
    ctx: &Ctx,
    service_name: &str,
    version: &str,
    request: &PageRequest<TimeKey>,
) -> Result<Page<Scan>, Error> {
    ctx.require(Scope::Read)?;
    let conn = ctx.app.db.read();
    let service = service::find(conn, ctx.within(), service_name).await?;
    let service = service.ok_or_else(|| Error::not_found("service", service_name))?;
    let release = release::find(conn, service.id, version).await?;
    let release =
        release.ok_or_else(|| Error::not_found("release", &format!("{version} of {service_name}")))?;
    let rows = scan::list(conn, service.id, &release.identity.artefact(), request).await?;
    Ok(page(rows, request.limit, |scan| TimeKey { at: scan.scanned_at, id: scan.id }))
}

/// Tells where a vulnerability is, by the latest scans. One that nobody has heard of is nowhere.
pub async fn exposure(ctx: &Ctx, id: &str) -> Result<(String, Exposure), Error> {
    ctx.require(Scope::Read)?;
    let conn = ctx.app.db.read();
    let id = spelled(id.trim());
    let ids = vulnerability::ids(conn, &id).await?;
    let targets = vulnerability::targets(conn, ctx.within(), &ids).await?;
    let limit = i64::try_from(RELEASES_MAX).unwrap_or(i64::MAX);
    let mut releases = vulnerability::releases(conn, ctx.within(), &ids, limit).await?;
    let more_releases = releases.len() > RELEASES_MAX;
    releases.truncate(RELEASES_MAX);
    Ok((id, Exposure { targets, releases, more_releases }))
}
