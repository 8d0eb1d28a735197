//! Scans: putting reports on record, and asking where a vulnerability is.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::{
    clock,
    domain::{
        event::EventKind,
        idempotency::Answer,
        page::{Page, PageRequest, TimeKey, page},
        scan::{
            self, Coverage, Exposure, Filed, Full, Held, Part, Report, ReportPart, Scan, can_be_id, room,
            spelled,
        },
        text::{Name, Version},
        vocabulary::Scope,
    },
    store::{
        policy, release,
        scan::{self as store, Counting},
        service, vulnerability,
    },
    usecase::{
        context::Ctx,
        error::Error,
        named,
        work::{Render, Work},
    },
};

/// How many releases that are in no target are told of, and how many targets that were never scanned.
const LISTED_MAX: usize = 100;

/// A report about a release.
#[derive(Clone, Debug)]
pub struct Upload {
    pub service: Name,
    /// The release's version.
    pub version: Version,
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
pub async fn upload(ctx: &Ctx, upload: &Upload, render: Render<'_, Uploaded>) -> Result<Answer, Error> {
    require(ctx, &upload.service)?;
    ctx.write(|work| async move { upload_in(ctx, work, upload, render).await }).await
}

async fn upload_in(
    ctx: &Ctx,
    mut work: Work,
    Upload { service: name, version, report, scanned_at }: &Upload,
    render: Render<'_, Uploaded>,
) -> Result<Answer, Error> {
    let locked = service::lock(work.conn(), name.as_str()).await?;
    let Some((service, now)) = locked else {
        return Err(named::no_service(work.conn(), ctx.within(), name.as_str()).await);
    };
    if service.archived_at.is_some() {
        return Err(Error::Conflict(format!("service {name} is archived; it takes no scans")));
    }
    let release = release::find(work.conn(), service.id, version.as_str()).await?;
    let Some(release) = release else {
        return Err(named::no_release(work.conn(), &service, version.as_str()).await);
    };
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
        platform: report.platform.clone(),
        scanned_at,
        parts: report.parts.iter().map(new_part).collect(),
        actor: ctx.actor().clone(),
        created_at: now,
    };
    if let Some(scan) = said_before(&work, &made, report).await? {
        return work.answer(now, &Uploaded { scan, new: false }, render).await;
    }
    file(&work, &mut made, report).await?;
    let part = |part: &Part| json!({ "class": part.class, "counts": part.counts, "latest": part.latest });
    let data = json!({
        "scanner": made.scanner, "format": made.format, "platform": made.platform, "scanned_at": made.scanned_at,
        "counts": made.counts(), "latest": made.latest(), "parts": made.parts.iter().map(part).collect::<Vec<_>>(),
    });
    work.tell(EventKind::ScanRecorded, data).service(name).version(version);
    work.answer(now, &Uploaded { scan: made, new: true }, render).await
}

/// The scan on record that says the very same as a report, of which `made` is to be made.
async fn said_before(work: &Work, made: &Scan, report: &Report) -> Result<Option<Scan>, Error> {
    for scan in store::of_moment(work.conn(), made).await? {
        let kept = store::finding_keys(work.conn(), scan.id).await?;
        let has_later = store::has_later(work.conn(), made).await?;
        if report.is_said_by(&scan, made, &kept, has_later) {
            return Ok(Some(scan));
        }
    }
    Ok(None)
}

fn new_part(part: &ReportPart) -> Part {
    Part { class: part.class, counts: part.counts, findings: 0, latest: true }
}

/// Files the parts of a scan among those of its artefact.
async fn file(work: &Work, made: &mut Scan, report: &Report) -> Result<(), Error> {
    let counting = store::counting(work.conn(), made.service_id, &made.artefact).await?;
    let held: Vec<Held<'_>> = counting.iter().map(Counting::held).collect();
    let (platform, reporter) = (made.platform.as_deref(), made.actor.subject.as_str());
    if let Err(full) = room(&held, Held { scanner: &made.scanner, platform, reporter })
        && (full == Full::Platforms || !policy::names_scanner(work.conn(), &made.scanner).await?)
    {
        return Err(Error::Conflict(full.to_string()));
    }
    let of_scanner: Vec<&Counting> =
        counting.iter().filter(|counting| counting.fact.scanner == made.scanner).collect();
    let counted: Vec<Coverage> = of_scanner.iter().map(|counting| counting.coverage.clone()).collect();
    let new: Vec<Coverage> = made.parts.iter().map(|part| made.coverage(part.class)).collect();
    let Filed { count, superseded } = scan::file(&new, &counted, made.created_at);
    for gone in superseded.iter().filter_map(|index| of_scanner.get(*index)) {
        store::supersede(work.conn(), (gone.fact.id, gone.fact.class)).await?;
    }
    for ((part, count), of_report) in made.parts.iter_mut().zip(count).zip(&report.parts) {
        part.latest = count;
        part.findings = if count { u32::try_from(of_report.findings.len()).unwrap_or(u32::MAX) } else { 0 };
    }
    store::insert(work.conn(), made, report).await.map_err(Error::raced)
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
    let (service, release) = named::release(ctx, service_name, version).await?;
    let rows = store::list(conn, service.id, &release.identity.artefact(), request).await?;
    Ok(page(rows, request.limit, |scan| TimeKey { at: scan.scanned_at, id: scan.id }))
}

/// Tells where a vulnerability is, by the latest scans, and of which targets nobody can tell. What cannot be an id, and is
/// none that a scanner gave, is refused.
pub async fn exposure(ctx: &Ctx, id: &str) -> Result<(String, Exposure), Error> {
    ctx.require(Scope::Read)?;
    let conn = ctx.app.db.read();
    let id = spelled(id.trim());
    let ids = vulnerability::ids(conn, &id).await?;
    let targets = vulnerability::targets(conn, ctx.within(), &ids).await?;
    let limit = i64::try_from(LISTED_MAX).unwrap_or(i64::MAX);
    let mut releases = vulnerability::releases(conn, ctx.within(), &ids, limit).await?;
    if targets.is_empty() && releases.is_empty() && !can_be_id(&id) {
        let detail = "is in no scan, and does not look like the id of a vulnerability; ask for one as the scanner or the \
                      advisory writes it, such as CVE-2021-44228, GHSA-jfh8-c2jp-5v3q, DSA-5000-1 or RHSA-2021:5127";
        return Err(Error::invalid("/path/id", "invalid-vulnerability-id", detail));
    }
    let more_releases = releases.len() > LISTED_MAX;
    releases.truncate(LISTED_MAX);
    let (unscanned, unscanned_count) = vulnerability::unscanned(conn, ctx.within(), limit).await?;
    Ok((id, Exposure { targets, releases, more_releases, unscanned, unscanned_count }))
}
