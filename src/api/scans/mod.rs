//! `/services/{service}/releases/{version}/scans`: what scanners reported about a release.

pub mod report;

use poem::{Request, http::StatusCode};
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
};
use serde::Serialize;
use uuid::Uuid;

use self::report::ReportBody;
use crate::{
    api::{
        Tags,
        auth::Auth,
        page::{List, Listed, Page, Words, page_request},
        reply::{MadeOrThere, Reply, answer},
        types::{Nullable, Time},
        view::{ActorView, refuse},
        who::{See, Who},
    },
    domain::{
        fault::Faults,
        gate::facts::Counts,
        idempotency::Answer,
        scan::Part,
        text::{Name, Version},
        vocabulary::{PackageClass, ScanFormat},
        waiver::Waiver,
    },
    http::problem::Problem,
    usecase::scans::{self, Seen, Upload, Uploaded},
};

/// The operations.
#[derive(Debug)]
pub struct ScansApi;

/// How many vulnerabilities of each severity, each counted once for each version of each package.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Counts")]
pub struct CountsView {
    /// Critical ones.
    pub critical: u32,
    /// High ones.
    pub high: u32,
    /// Medium ones.
    pub medium: u32,
    /// Low ones, and negligible ones.
    pub low: u32,
    /// Those without a rating.
    pub unknown: u32,
}

impl From<Counts> for CountsView {
    fn from(Counts { critical, high, medium, low, unknown }: Counts) -> Self {
        Self { critical, high, medium, low, unknown }
    }
}

/// A part of a scan.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "ScanPart")]
pub struct PartView {
    /// The packages that it is of: those of the operating system (`os`), those of languages (`language`), or `all`; `any`
    /// of a scan that was put on record before they were told apart.
    pub class: PackageClass,
    /// How many vulnerabilities were found in them.
    pub counts: CountsView,
    /// How many of these have a fix; null where the report does not tell, as a plain one.
    pub fixable: Nullable<CountsView>,
    /// How many findings are kept of it, one for each vulnerability in each version of a package: none of a plain report,
    /// and none once it counts no longer.
    pub findings: u32,
    /// Whether it counts: nothing of its scanner that was made later has looked at the same packages of the same platform.
    pub latest: bool,
}

impl From<&Part> for PartView {
    fn from(part: &Part) -> Self {
        let Part { class, counts, fixable, findings, latest } = *part;
        Self { class, counts: counts.into(), fixable: fixable.map(Into::into).into(), findings, latest }
    }
}

/// A waiver that takes findings of a scan out of the budget.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "ScanWaiver")]
pub struct WaivedView {
    /// The waiver.
    pub id: Uuid,
    /// The vulnerability, by the id that it names.
    pub vulnerability: String,
    /// Why it need not stand in the way.
    pub reason: String,
    /// When it ends.
    pub expires_at: Time,
    /// The environments in which it counts; null where it counts in all.
    pub environments: Nullable<Vec<String>>,
    /// How many findings it takes out.
    pub findings: u32,
}

impl From<(Waiver, u32)> for WaivedView {
    fn from((waiver, findings): (Waiver, u32)) -> Self {
        let definition = waiver.definition;
        Self {
            id: waiver.id,
            vulnerability: definition.vulnerability,
            reason: definition.reason,
            expires_at: Time(definition.expires_at),
            environments: definition.places.environments.map(Vec::from_iter).into(),
            findings,
        }
    }
}

/// A scan.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Scan")]
pub struct ScanView {
    /// Identity.
    pub id: Uuid,
    /// The service.
    pub service: String,
    /// The version of the release it was put on record for.
    pub version: String,
    /// What it is of: the image's digest, or the version of a release without an image. It counts for every release of
    /// the service with this artefact.
    pub artefact: String,
    /// Who made it: `trivy`, `grype`, or as the plain form names it.
    pub scanner: String,
    /// In which form it came.
    pub format: ScanFormat,
    /// The platform of the image, such as `linux/arm64`; null where the report does not tell, and of a plain report, which
    /// is of every platform.
    pub platform: Nullable<String>,
    /// When it was made.
    pub scanned_at: Time,
    /// What it is of. Each part counts on its own until its scanner has looked at the same again.
    pub parts: Vec<PartView>,
    /// How many vulnerabilities it found, in all its parts.
    pub counts: CountsView,
    /// How many of these have a fix; null where a part of it does not tell.
    pub fixable: Nullable<CountsView>,
    /// How many findings are kept of it, in all its parts.
    pub findings: u32,
    /// Whether any part of it counts at the gate.
    pub latest: bool,
    /// The waivers that hold now, in some environment, and take some of its findings out of the budget.
    pub waived: Vec<WaivedView>,
    /// Who put it on record.
    pub actor: ActorView,
    /// When it was put on record.
    pub created_at: Time,
}

fn view(service: &str, Seen { scan, waived }: Seen) -> ScanView {
    let (counts, findings, latest) = (scan.counts().into(), scan.findings(), scan.latest());
    let fixable = scan.fixable().map(Into::into).into();
    ScanView {
        id: scan.id,
        service: service.to_owned(),
        version: scan.version,
        artefact: scan.artefact,
        scanner: scan.scanner,
        format: scan.format,
        platform: scan.platform.into(),
        scanned_at: Time(scan.scanned_at),
        parts: scan.parts.iter().map(Into::into).collect(),
        counts,
        fixable,
        findings,
        latest,
        waived: waived.into_iter().map(Into::into).collect(),
        actor: scan.actor.into(),
        created_at: Time(scan.created_at),
    }
}

impl Who for ScanView {
    fn who(&mut self, see: &mut See<'_>) {
        self.actor.who(see);
    }
}

impl Listed for ScanView {
    const PAGE: Words = Words {
        name: "ScanPage",
        is: "A page of scans.",
        items: "The scans, the one that was made last first.",
    };
}

fn render(service: &Name) -> impl Fn(&Uploaded) -> Answer + use<> {
    let service = service.to_string();
    move |Uploaded { seen, new }| {
        let status = if *new { StatusCode::CREATED } else { StatusCode::OK };
        answer(status, &view(&service, seen.clone()))
    }
}

#[OpenApi(tag = "Tags::Gate")]
impl ScansApi {
    /// Put a vulnerability report on record
    ///
    /// Takes what `trivy image --format json` or `grype --output json` wrote, as it is, or the plain form for any other
    /// scanner. Of a release with an image, Trivy's and Grype's reports must name its digest, and a plain report none
    /// but it. Each vulnerability counts once for each version of each package, at its worst severity.
    ///
    /// Of each scanner, platform and class of packages, the report that was made last counts, whenever it arrives: it
    /// replaces what it is of, and nothing else. A report that is of no packages, because it lists none or is of secrets,
    /// configuration or licences alone, is refused: it says nothing about vulnerabilities. The very same again answers 200.
    /// Needs the scope `attest`.
    #[oai(path = "/services/:service/releases/:version/scans", method = "post", operation_id = "upload_scan")]
    async fn upload_scan(
        &self,
        auth: Auth,
        /// The service's name.
        service: Path<String>,
        /// The release's version.
        version: Path<String>,
        /// When the report was made, for reports that do not say so themselves; in others it is not looked at.
        scanned_at: Query<Option<Time>>,
        body: ReportBody,
    ) -> Result<Reply<ScanView, MadeOrThere>, Problem> {
        let mut faults = Faults::default();
        let service = faults.take("/path/service", Name::of_service(&service.0));
        let version = faults.take("/path/version", Version::parse(&version.0));
        let (service, version) = faults.finish(service.zip(version)).map_err(refuse)?;
        scans::require(auth.context(), &service)?;
        let (report, mut fingerprint, _permit) = body.read(auth.context().principal.token_id).await?;
        let scanned_at = scanned_at.0.map(|time| time.0);
        fingerprint.extend(scanned_at.map(Time::text));
        let render = render(&service);
        let upload = Upload { service, version, report, scanned_at };
        auth.once(&fingerprint, |ctx| async move { scans::upload(&ctx, &upload, &render).await }).await
    }

    /// List the scans of a release, newest first
    ///
    /// These are the scans of its artefact: those that came with another release of the same image are among them.
    #[oai(path = "/services/:service/releases/:version/scans", method = "get", operation_id = "list_scans")]
    async fn list_scans(
        &self,
        auth: Auth,
        request: &Request,
        /// The service's name.
        service: Path<String>,
        /// The release's version.
        version: Path<String>,
        /// At most this many, from 1 to 200.
        limit: Query<Option<u64>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<List<Page<ScanView>>, Problem> {
        let asked = page_request(limit.0, cursor.0.as_deref())?;
        let ctx = auth.ctx();
        let page = scans::list(&ctx, &service.0, &version.0, &asked).await?;
        List::named(&ctx, page, request, |seen| view(&service.0, seen)).await
    }
}
