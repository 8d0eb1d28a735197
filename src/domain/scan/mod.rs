//! Scans: what a vulnerability scanner reported about a release.
//!
//! A report is read from the bytes that the tool wrote. What it says is kept in one shape, whichever tool it was.

mod bytes;
mod exposure;
mod findings;
mod given;
mod grype;
mod ids;
mod part;
mod plain;
mod platform;
mod read;
mod room;
mod subject;
mod trivy;
mod unread;
mod walk;

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

pub use self::{
    exposure::{ExposedPackage, ExposedRelease, ExposedTarget, Exposure, UnscannedTarget},
    findings::{FINDINGS_MAX, Finding, FindingKey, counts},
    ids::{ID_MAX, can_be_id, is_id, spelled},
    part::{Coverage, Filed, Part, file},
    plain::COUNT_MAX,
    platform::platform as platform_name,
    read::{Unreadable, read},
    room::{Full, Held, room},
    subject::Subject,
};
use crate::domain::{
    actor::Actor,
    fault::Fault,
    gate::{
        facts::{Counts, ScanFact},
        rules,
    },
    moment::is_ahead,
    policy::VulnerabilitiesRule,
    vocabulary::{PackageClass, ScanFormat},
};

/// How old a report may be: ten years.
const OLDEST: TimeDelta = TimeDelta::days(3653);

/// A scan on record.
#[derive(Clone, Debug)]
pub struct Scan {
    pub id: Uuid,
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

    /// How many of them have a fix; none where a part of it does not tell.
    pub fn fixable(&self) -> Option<Counts> {
        self.parts.iter().try_fold(Counts::default(), |sum, part| Some(sum.plus(part.fixable?)))
    }

    /// What its part of this class is of.
    pub fn coverage(&self, class: PackageClass) -> Coverage {
        Coverage { format: self.format, platform: self.platform.clone(), class, scanned_at: self.scanned_at }
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

impl Report {
    /// Whether a scan that was made at the same moment says the very same as this report, for a scan that is `made` of it: of
    /// the same, as many of each severity, and where it counts these very findings. One that counts no longer is said again
    /// only where something later counts anyway; else what arrives last does.
    pub fn is_said_by(&self, scan: &Scan, made: &Scan, kept: &BTreeSet<FindingKey>, has_later: bool) -> bool {
        let said =
            |scan: &Scan| -> Vec<_> { scan.parts.iter().map(|part| (part.class, part.counts)).collect() };
        let counts = |class| scan.parts.iter().any(|part| part.class == class && part.latest);
        let keys = self.parts.iter().filter(|part| counts(part.class)).flat_map(ReportPart::keys);
        scan.platform == made.platform
            && said(scan) == said(made)
            && (scan.latest() || has_later)
            && keys.collect::<BTreeSet<_>>() == *kept
    }
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

impl ReportPart {
    /// How many of them have a fix; a report in the plain form does not tell.
    pub fn fixable(&self, format: ScanFormat) -> Option<Counts> {
        let fixable = self.findings.iter().filter(|finding| finding.fixed_version.is_some());
        (format != ScanFormat::Plain).then(|| counts(fixable))
    }

    fn keys(&self) -> impl Iterator<Item = FindingKey> {
        self.findings.iter().map(|finding| FindingKey {
            class: self.class,
            vulnerability: finding.vulnerability.clone(),
            package: finding.package.clone(),
            installed_version: finding.installed_version.clone(),
        })
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

/// Whether nothing in the latest scans of a release with these platforms is over the budget, at least one of them counts, and
/// no platform lacks one that must have it.
pub fn within(
    rule: &VulnerabilitiesRule,
    scans: &[ScanFact],
    platforms: &[String],
    now: DateTime<Utc>,
) -> bool {
    rules::accepted(rule, scans).next().is_some()
        && rules::over(rule, scans, now).is_empty()
        && rules::unscanned(rule, scans, platforms).is_empty()
}
