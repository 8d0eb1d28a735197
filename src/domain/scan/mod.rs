//! Scans: what a vulnerability scanner reported about a release.
//!
//! A report is read from the bytes that the tool wrote. What it says is kept in one shape, whichever tool it was.

mod findings;
mod given;
mod grype;
mod part;
mod plain;
mod platform;
mod room;
mod trivy;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use serde::{Deserialize, de::IgnoredAny};
use uuid::Uuid;

use self::{
    findings::Findings,
    given::{Given, Object},
};
pub use self::{
    findings::{FINDINGS_MAX, Finding, ID_MAX, can_be_id, counts, spelled},
    part::{Filed, Part, Place, file},
    room::{Full, Held, room},
};
use crate::domain::{
    actor::Actor,
    fault::{Fault, Faults},
    gate::{
        facts::{Counts, ScanFact},
        rules,
    },
    moment::is_ahead,
    policy::VulnerabilitiesRule,
    text::Image,
    vocabulary::{PackageClass, ScanFormat, Severity, Tier},
};

/// How old a report may be: ten years.
const OLDEST: TimeDelta = TimeDelta::days(3653);

/// A scan on record.
#[derive(Clone, Debug)]
pub struct Scan {
    /// Identity.
    pub id: Uuid,
    /// The service.
    pub service_id: Uuid,
    /// The release that it was put on record for.
    pub release_id: Uuid,
    /// That release's version.
    pub version: String,
    /// What it is of: every release of the service with this artefact.
    pub artefact: String,
    /// Who made it.
    pub scanner: String,
    /// In which form it came.
    pub format: ScanFormat,
    /// The platform of the image that it is of; none where its report does not tell.
    pub platform: Option<String>,
    /// When it was made.
    pub scanned_at: DateTime<Utc>,
    /// What it is of, by class.
    pub parts: Vec<Part>,
    /// Who put it on record.
    pub actor: Actor,
    /// When.
    pub created_at: DateTime<Utc>,
}

impl Scan {
    /// How many vulnerabilities it found.
    pub fn counts(&self) -> Counts {
        self.parts.iter().fold(Counts::default(), |sum, part| sum.plus(part.counts))
    }

    /// What its part of this class is of.
    pub fn place(&self, class: PackageClass) -> Place {
        Place { format: self.format, platform: self.platform.clone(), class, scanned_at: self.scanned_at }
    }

    /// How many findings are kept of it.
    pub fn findings(&self) -> u32 {
        self.parts.iter().map(|part| part.findings).sum()
    }

    /// Whether any of it counts.
    pub fn latest(&self) -> bool {
        self.parts.iter().any(|part| part.latest)
    }
}

/// A report, read and in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// In which form it came.
    pub format: ScanFormat,
    /// Who made it.
    pub scanner: String,
    /// When it was made, if it says so.
    pub scanned_at: Option<DateTime<Utc>>,
    /// What it is of.
    pub subject: Subject,
    /// The platform of the image, if it says so.
    pub platform: Option<String>,
    /// What it found, for each class of packages that it is of.
    pub parts: Vec<ReportPart>,
}

/// What a report found in packages of one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportPart {
    /// The packages.
    pub class: PackageClass,
    /// How many vulnerabilities.
    pub counts: Counts,
    /// Which, once for each version of each package; nothing in a plain report.
    pub findings: Vec<Finding>,
}

/// What a report says it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The digests it names, and where. They are names of one image: of its index, of its manifest, in each repository.
    digests: Vec<(String, String)>,
    /// Where it lacks a digest when it names none, and what to do; none where the sender's word is enough.
    nameless: Option<(&'static str, &'static str)>,
}

impl Subject {
    /// Fails unless the report is of the release's image. A release without an image takes reports that name none.
    pub fn check(&self, image: Option<&Image>) -> Result<(), Fault> {
        let fault = |pointer: &str, code, detail| Err(Fault { pointer: pointer.to_owned(), code, detail });
        match (image, self.digests.first(), self.nameless) {
            (None, None, _) | (Some(_), None, None) => Ok(()),
            (None, Some((pointer, digest)), _) => {
                let detail = format!(
                    "names {digest}, and the release has no image; a release gets its image when it is registered, and at \
                     the latest before its first deployment or scan"
                );
                fault(pointer, "image-missing", detail)
            }
            (Some(_), None, Some((pointer, remedy))) => fault(pointer, "image-unnamed", remedy.to_owned()),
            (Some(image), Some((pointer, digest)), _) => {
                if self.digests.iter().any(|(_, digest)| digest == image.digest()) {
                    return Ok(());
                }
                let detail = format!("names {digest}, and the release's image is {}", image.digest());
                fault(pointer, "other-image", detail)
            }
        }
    }
}

impl Report {
    /// When the report was made: as it says itself, else as `given` beside it. Neither in the future nor too long ago.
    pub fn time(&self, given: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<DateTime<Utc>, Fault> {
        let own = match self.format {
            ScanFormat::Trivy => "/CreatedAt",
            ScanFormat::Grype => "/descriptor/timestamp",
            ScanFormat::Plain => "/scanned_at",
        };
        let pointer = if self.scanned_at.is_none() && given.is_some() { "/query/scanned_at" } else { own };
        let fault =
            |code, detail: &str| Err(Fault { pointer: pointer.to_owned(), code, detail: detail.to_owned() });
        let Some(at) = self.scanned_at.or(given) else {
            return fault(
                "required",
                "is required, and older versions of the tool leave it out: use a newer one, or tell when the report was \
                 made as `?scanned_at=2026-01-31T12:00:00Z`",
            );
        };
        if is_ahead(at, now) {
            return fault("in-the-future", "must not be in the future; is the clock of the scanner right?");
        }
        if at < now - OLDEST {
            return fault("too-old", "must be of the last ten years");
        }
        Ok(at)
    }
}

/// Where a vulnerability is, by the latest scans.
#[derive(Clone, Debug)]
pub struct Exposure {
    /// The targets whose current release has it, or the one that is on its way there.
    pub targets: Vec<ExposedTarget>,
    /// The releases that have it and are in no target, the newest first.
    pub releases: Vec<ExposedRelease>,
    /// Whether there are more such releases than these.
    pub more_releases: bool,
    /// The targets of which nobody can tell: no scan that names vulnerabilities has looked at what is current there.
    /// Those of production first.
    pub unscanned: Vec<UnscannedTarget>,
    /// How many such targets there are.
    pub unscanned_count: u64,
}

/// A target whose current release was never looked at by a scanner that names what it finds.
#[derive(Clone, Debug)]
pub struct UnscannedTarget {
    /// The service.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// The environment's tier.
    pub tier: Tier,
    /// The release's version.
    pub version: String,
    /// Its image.
    pub image: Option<String>,
    /// The deployment that put it there.
    pub deployment_id: Uuid,
    /// Since when it is there.
    pub since: DateTime<Utc>,
}

/// A target with a release that has a vulnerability.
#[derive(Clone, Debug)]
pub struct ExposedTarget {
    /// The service.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// The release's version.
    pub version: String,
    /// Its image.
    pub image: Option<String>,
    /// The deployment that put it there, or is about to.
    pub deployment_id: Uuid,
    /// Whether it is on its way there, and not yet current.
    pub running: bool,
    /// Since when.
    pub since: DateTime<Utc>,
    /// The worst that any scanner says of it.
    pub severity: Severity,
    /// The packages that have it.
    pub packages: Vec<ExposedPackage>,
    /// The scanners that found it.
    pub scanners: BTreeSet<String>,
}

/// A package that has a vulnerability.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExposedPackage {
    /// Its name.
    pub name: String,
    /// The version that was found.
    pub installed_version: Option<String>,
    /// The versions in which it is mended.
    pub fixed_version: Option<String>,
}

/// A release that has a vulnerability and is in no target.
#[derive(Clone, Debug)]
pub struct ExposedRelease {
    /// The service.
    pub service: String,
    /// The version.
    pub version: String,
    /// Its image.
    pub image: Option<String>,
    /// The worst that any scanner says of it.
    pub severity: Severity,
    /// When the release was registered.
    pub created_at: DateTime<Utc>,
}

/// Whether nothing in the latest scans of a release is over the budget, and at least one of them counts.
pub fn within(rule: &VulnerabilitiesRule, scans: &[ScanFact]) -> bool {
    rules::accepted(rule, scans).next().is_some() && rules::over(rule, scans).is_empty()
}

/// Why a report could not be read.
#[derive(Debug)]
pub enum Unreadable {
    /// It is not JSON.
    NotJson(String),
    /// It is JSON, and not a report that is known.
    Faulty(Faults),
}

impl From<serde_json::Error> for Unreadable {
    fn from(error: serde_json::Error) -> Self {
        if !error.is_data() {
            return Self::NotJson(error.to_string());
        }
        let mut faults = Faults::default();
        faults.add("", "malformed", format!("cannot be read as a report: {error}"));
        Self::Faulty(faults)
    }
}

/// What tells the forms apart, and all of them but the findings.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Head {
    #[serde(rename = "SchemaVersion")]
    schema_version: Given<u64>,
    #[serde(rename = "CreatedAt")]
    created_at: Given<String>,
    #[serde(rename = "ArtifactName")]
    artifact_name: Given<String>,
    #[serde(rename = "ArtifactType")]
    artifact_type: Given<String>,
    #[serde(rename = "Metadata")]
    metadata: Given<Object<trivy::Metadata>>,
    matches: Option<IgnoredAny>,
    source: Given<Object<grype::Source>>,
    descriptor: Given<Object<grype::Descriptor>>,
    scanner: Given<String>,
    scanned_at: Given<String>,
    image: Given<String>,
    counts: Given<Object<plain::GivenCounts>>,
}

/// Reads a report in whichever of the three forms it is.
pub fn read(report: &[u8]) -> Result<Report, Unreadable> {
    let head: Given<Object<Head>> = serde_json::from_slice(report)?;
    let Object(head) = head.right().unwrap_or_default();
    if head.schema_version.is_given() {
        read_trivy(head, report)
    } else if head.matches.is_some() || head.descriptor.is_given() {
        read_grype(head, report)
    } else if head.scanner.is_given() || head.counts.is_given() {
        read_plain(head).map_err(Unreadable::Faulty)
    } else {
        let mut faults = Faults::default();
        faults.add(
            "",
            "unknown-format",
            "must be what `trivy image --format json` (schema version 2) or `grype --output json` writes, or an object \
             with scanner, scanned_at and counts",
        );
        Err(Unreadable::Faulty(faults))
    }
}

fn read_trivy(head: Head, report: &[u8]) -> Result<Report, Unreadable> {
    let mut faults = Faults::default();
    if head.schema_version != Given::Right(2) {
        faults.add("/SchemaVersion", "unknown-value", "must be 2; use Trivy 0.20 or newer");
    }
    let scanned_at = moment(head.created_at, "/CreatedAt", &mut faults);
    let results = trivy::Results::read(report)?;
    let mut found = Findings::default();
    trivy::findings(report, &results, &mut found)?;
    let findings = found.finish(trivy::RESULTS).map_err(|inner| faults.nest("", inner)).ok();
    let Object(metadata) = head.metadata.right().unwrap_or_default();
    let mut covered = results.covered();
    if metadata.is_empty() {
        covered.insert(PackageClass::All);
    }
    let parts = findings.map(|findings| parts(&covered, findings)).filter(|parts| {
        if parts.is_empty() {
            let (code, detail) = results.why_nothing();
            faults.add(trivy::RESULTS, code, detail);
        }
        !parts.is_empty()
    });
    let report = parts.map(|parts| Report {
        format: ScanFormat::Trivy,
        scanner: "trivy".to_owned(),
        scanned_at,
        platform: metadata.platform(),
        subject: trivy::subject(&head.artifact_name, &head.artifact_type, metadata),
        parts,
    });
    faults.finish(report).map_err(Unreadable::Faulty)
}

/// What was found in each class of packages that was looked at, or in which anything was found.
fn parts(
    covered: &BTreeSet<PackageClass>,
    mut findings: BTreeMap<PackageClass, Vec<Finding>>,
) -> Vec<ReportPart> {
    for class in covered {
        findings.entry(*class).or_default();
    }
    let part =
        |(class, findings): (_, Vec<Finding>)| ReportPart { class, counts: counts(&findings), findings };
    findings.into_iter().map(part).collect()
}

fn read_grype(head: Head, report: &[u8]) -> Result<Report, Unreadable> {
    let mut faults = Faults::default();
    if head.matches.is_none() {
        let detail = "is required: without it nobody can tell whether anything was found; use what `grype --output json` \
                      writes, as it is";
        faults.add(grype::MATCHES, "required", detail);
    }
    if !head.descriptor.is_given() {
        faults.add("/descriptor", "required", "is required: it tells that Grype made the report, and when");
    }
    let Object(descriptor) = head.descriptor.take("/descriptor", &mut faults).unwrap_or_default();
    if descriptor.name.text().is_some_and(|name| name != "grype") {
        faults.add(
            "/descriptor/name",
            "unknown-value",
            "must be grype; send reports of other tools in the plain form",
        );
    }
    let scanned_at = moment(descriptor.timestamp, "/descriptor/timestamp", &mut faults);
    let mut found = Findings::default();
    grype::findings(report, &mut found)?;
    let findings = found.finish(grype::MATCHES).map_err(|inner| faults.nest("", inner)).ok();
    let Object(source) = head.source.right().unwrap_or_default();
    let report = findings.map(|findings| Report {
        format: ScanFormat::Grype,
        scanner: "grype".to_owned(),
        scanned_at,
        platform: source.platform(),
        subject: grype::subject(source),
        parts: parts(&BTreeSet::from([PackageClass::All]), findings),
    });
    faults.finish(report).map_err(Unreadable::Faulty)
}

fn read_plain(head: Head) -> Result<Report, Faults> {
    let mut faults = Faults::default();
    let scanner = plain::scanner(head.scanner, &mut faults);
    let scanned_at = moment(head.scanned_at, "/scanned_at", &mut faults);
    let subject = plain::subject(head.image, &mut faults);
    let counts = plain::counts(head.counts, &mut faults);
    let report = scanner.zip(counts).map(|(scanner, counts)| Report {
        format: ScanFormat::Plain,
        scanner,
        scanned_at,
        subject,
        platform: None,
        parts: vec![ReportPart { class: PackageClass::All, counts, findings: Vec::new() }],
    });
    faults.finish(report)
}

/// Reads a time. Where a tool knows none, it writes nothing, or the first moment of the year 1.
fn moment(given: Given<String>, pointer: &str, faults: &mut Faults) -> Option<DateTime<Utc>> {
    let text =
        given.take(pointer, faults).filter(|text| !text.is_empty() && !text.starts_with("0001-01-01T"))?;
    let time = DateTime::parse_from_rfc3339(&text).ok();
    if time.is_none() {
        faults.add(pointer, "format", "must be a time as RFC 3339 has it, such as 2026-01-31T12:00:00Z");
    }
    Some(time?.with_timezone(&Utc).trunc_subsecs(6))
}

/// The digest in `repository@sha256:…`, or in `sha256:…` alone.
fn digest_of(text: &str) -> Option<String> {
    let digest = text.rsplit_once('@').map_or(text, |(_, digest)| digest).to_ascii_lowercase();
    let hex = digest.strip_prefix("sha256:")?;
    let whole = hex.len() == 64 && hex.chars().all(|c| c.is_ascii_hexdigit());
    whole.then_some(digest)
}
