//! Scans: putting reports on record, and asking where a vulnerability is.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;
use serde_json::json;
use uuid::Uuid;

use crate::{
    clock,
    domain::{
        event::EventKind,
        idempotency::Answer,
        page::{Page, PageRequest, TimeKey, page},
        platform::Platform,
        scan::{
            self, Coverage, ExposedTarget, Exposure, Filed, Full, Held, Part, Report, ReportPart, Scan,
            can_be_id, room, spelled,
        },
        text::{Name, Version},
        vocabulary::{ScanFormat, Scope},
        waiver::{Taken, Waiver},
    },
    store::{
        db,
        error::StoreError,
        policy, release,
        scan::{self as store, Counting},
        service, vulnerability, waiver,
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

/// A scan, and what is waived of it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The scan.
    pub scan: Scan,
    /// The waivers that hold in some environment, each with how many of the findings that count it takes out of the budget.
    pub waived: Vec<(Waiver, u32)>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Uploaded {
    /// The scan that is on record.
    pub seen: Seen,
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
        return Err(Error::archived("service", name, "it takes no scans"));
    }
    let release = release::find(work.conn(), service.id, version.as_str()).await?;
    let Some(release) = release else {
        return Err(named::no_release(work.conn(), &service, version.as_str()).await);
    };
    let subject = report.subject.check(release.identity.image.as_ref(), &release.platforms);
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
        platform: platform(report, &release.platforms),
        scanned_at,
        parts: report.parts.iter().map(|part| new_part(part, report.format)).collect(),
        actor: ctx.actor().clone(),
        created_at: now,
    };
    if let Some(scan) = said_before(&work, &made, report).await? {
        let seen = seen_one(ctx, work.conn(), scan, now).await?;
        return work.answer(now, &Uploaded { seen, new: false }, render).await;
    }
    file(&work, &mut made, report).await?;
    let part = |part: &Part| json!({ "class": part.class, "counts": part.counts, "fixable": part.fixable, "latest": part.latest });
    let data = json!({
        "scanner": made.scanner, "format": made.format, "platform": made.platform, "scanned_at": made.scanned_at,
        "counts": made.counts(), "latest": made.latest(), "parts": made.parts.iter().map(part).collect::<Vec<_>>(),
    });
    work.tell(EventKind::ScanRecorded, data).service(name).version(version);
    let seen = seen_one(ctx, work.conn(), made, now).await?;
    work.answer(now, &Uploaded { seen, new: true }, render).await
}

/// The platform that a report is of: that of the digest which it names, if the release declares it, else the one that it
/// tells. A plain one is of all.
fn platform(report: &Report, declared: &[Platform]) -> Option<String> {
    let declared = report.subject.platform(declared).filter(|_| report.format != ScanFormat::Plain);
    declared.map(ToOwned::to_owned).or_else(|| report.platform.clone())
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

fn new_part(part: &ReportPart, format: ScanFormat) -> Part {
    let fixable = part.fixable(format);
    Part { class: part.class, counts: part.counts, fixable, findings: 0, latest: true }
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
) -> Result<Page<Seen>, Error> {
    ctx.require(Scope::Read)?;
    let conn = ctx.app.db.read();
    let (service, release) = named::release(ctx, service_name, version).await?;
    let rows = store::list(conn, service.id, &release.identity.artefact(), request).await?;
    let Page { items, next } = page(rows, request.limit, |scan| TimeKey { at: scan.scanned_at, id: scan.id });
    Ok(Page { items: seen(ctx, conn, items, db::now(conn).await?).await?, next })
}

async fn seen_one(
    ctx: &Ctx,
    conn: &impl ConnectionTrait,
    scan: Scan,
    now: DateTime<Utc>,
) -> Result<Seen, Error> {
    let seen = seen(ctx, conn, vec![scan], now).await?;
    seen.into_iter().next().ok_or(Error::Internal(StoreError::Corrupt("scan")))
}

/// Scans with what is waived of them, as far as the caller may see it.
async fn seen(
    ctx: &Ctx,
    conn: &impl ConnectionTrait,
    scans: Vec<Scan>,
    now: DateTime<Utc>,
) -> Result<Vec<Seen>, Error> {
    let counting: BTreeSet<Uuid> = scans.iter().filter(|scan| scan.latest()).map(|scan| scan.id).collect();
    let (taken, waivers) = waived(ctx, conn, &counting, now).await?;
    let of_scan = |scan: &Scan| {
        let findings = |waiver: &Waiver| {
            let theirs =
                taken.iter().filter(|taken| taken.scan_id == scan.id && taken.waived.waiver == waiver.id);
            theirs.map(|taken| taken.waived.found).sum()
        };
        let waived = waivers.iter().map(|waiver| (waiver.clone(), findings(waiver)));
        waived.filter(|(_, findings)| *findings > 0).collect()
    };
    Ok(scans.into_iter().map(|scan| Seen { waived: of_scan(&scan), scan }).collect())
}

/// What waivers take out of the budget of these scans, and the waivers, as far as the caller may see them.
async fn waived(
    ctx: &Ctx,
    conn: &impl ConnectionTrait,
    scans: &BTreeSet<Uuid>,
    now: DateTime<Utc>,
) -> Result<(Vec<Taken>, Vec<Waiver>), Error> {
    let taken = waiver::in_scans(conn, scans, now).await?;
    let ids = taken.iter().map(|taken| taken.waived.waiver).collect();
    let mut waivers = waiver::among(conn, ctx.within(), &ids).await?;
    for waiver in &mut waivers {
        waiver.definition.places = std::mem::take(&mut waiver.definition.places).within(ctx.within());
    }
    Ok((taken, waivers))
}

/// Tells of each target which waivers take the vulnerability out of the budget there.
async fn tell_waivers(ctx: &Ctx, targets: &mut [ExposedTarget], ids: &[String]) -> Result<(), Error> {
    let conn = ctx.app.db.read();
    let scans = targets.iter().flat_map(|target| target.scans.iter().copied()).collect();
    let (taken, waivers) = waived(ctx, conn, &scans, db::now(conn).await?).await?;
    for target in targets {
        let holds_there = |waiver: &&Waiver| {
            let places = &waiver.definition.places;
            let theirs = |taken: &&Taken| {
                taken.waived.waiver == waiver.id
                    && target.scans.contains(&taken.scan_id)
                    && ids.contains(&taken.waived.finding)
            };
            places.allows_service(&target.service)
                && places.allows_environment(&target.environment)
                && taken.iter().any(|taken| theirs(&taken))
        };
        target.waivers = waivers.iter().filter(holds_there).cloned().collect();
    }
    Ok(())
}

/// Tells where a vulnerability is, by the latest scans, and of which targets nobody can tell. What cannot be an id, and is
/// none that a scanner gave, is refused.
pub async fn exposure(ctx: &Ctx, id: &str) -> Result<(String, Exposure), Error> {
    ctx.require(Scope::Read)?;
    let conn = ctx.app.db.read();
    let id = spelled(id.trim());
    let ids = vulnerability::ids(conn, &id).await?;
    let mut targets = vulnerability::targets(conn, ctx.within(), &ids).await?;
    tell_waivers(ctx, &mut targets, &ids).await?;
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
