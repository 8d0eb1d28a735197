//! Reading a report, in whichever of the three forms it is.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SubsecRound as _, Utc};
use serde::{Deserialize, de::IgnoredAny};

use crate::domain::{
    fault::Faults,
    scan::{
        Finding, Report, ReportPart,
        bytes::{utf8, why_no_json},
        counts,
        findings::Findings,
        given::{Given, Object},
        grype, plain, trivy, unread,
    },
    vocabulary::{PackageClass, ScanFormat},
};

/// Why a report could not be read.
#[derive(Debug)]
pub enum Unreadable {
    /// It is not JSON: what it is, and what to do.
    NotJson(String),
    /// It is JSON, and not a report that is known.
    Faulty(Faults),
}

impl From<serde_json::Error> for Unreadable {
    fn from(error: serde_json::Error) -> Self {
        if !error.is_data() {
            return Self::NotJson(format!("it is no JSON ({error})"));
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
    #[serde(rename = "ClusterName")]
    cluster_name: Given<String>,
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
    let report = &*utf8(report)?;
    let head: Given<Object<Head>> = serde_json::from_slice(report).map_err(|fault| {
        if fault.is_data() { fault.into() } else { Unreadable::NotJson(why_no_json(report, &fault)) }
    })?;
    let Object(head) = head.right().unwrap_or_default();
    if head.schema_version.is_given() && !head.cluster_name.is_given() {
        read_trivy(head, report)
    } else if head.matches.is_some() || head.descriptor.is_given() {
        read_grype(head, report)
    } else if head.scanner.is_given() || head.counts.is_given() {
        read_plain(head).map_err(Unreadable::Faulty)
    } else {
        let mut faults = Faults::default();
        faults.add("", "unknown-format", unread::why(report));
        Err(Unreadable::Faulty(faults))
    }
}

fn read_trivy(head: Head, report: &[u8]) -> Result<Report, Unreadable> {
    let mut faults = Faults::default();
    if head.schema_version != Given::Right(2) {
        let newer = matches!(head.schema_version, Given::Right(version) if version > 2);
        let detail = if newer {
            "must be 2, which every Trivy writes that this Waybill knows, from 0.20 on: use one of these, or a newer Waybill, or \
             send the plain form"
        } else {
            "must be 2; use Trivy 0.20 or newer"
        };
        faults.add("/SchemaVersion", "unknown-value", detail);
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

/// What was found in each class of packages that was looked at.
fn parts(
    covered: &BTreeSet<PackageClass>,
    mut findings: BTreeMap<PackageClass, Vec<Finding>>,
) -> Vec<ReportPart> {
    let part = |class: &PackageClass| {
        let findings = findings.remove(class).unwrap_or_default();
        ReportPart { class: *class, counts: counts(&findings), findings }
    };
    covered.iter().map(part).collect()
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
