//! Documents in JSON that people take for a report and that are none of the forms that are read: they are called by their
//! names.

use serde::Deserialize;

use crate::domain::scan::given::{Given, Object};

/// What makes a report that is read.
pub(super) const REMEDY: &str = "make the report with `trivy image --list-all-pkgs --format json REPOSITORY@sha256:…` or `grype \
     REPOSITORY@sha256:… --output json`, or send the plain form: an object with scanner, scanned_at and counts";

/// What tells such documents.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Clues {
    // Trivy
    #[serde(rename = "SchemaVersion")]
    schema_version: Given<u64>,
    #[serde(rename = "ClusterName")]
    cluster_name: Given<String>,
    #[serde(rename = "Target")]
    target: Given<String>,
    // Kubernetes
    #[serde(rename = "apiVersion")]
    api_version: Given<String>,
    kind: Given<String>,
    items: Given<Vec<Given<Object<Resource>>>>,
    // others
    #[serde(rename = "bomFormat")]
    bom_format: Given<String>,
    #[serde(rename = "spdxVersion")]
    spdx_version: Given<String>,
    #[serde(rename = "$schema")]
    schema: Given<String>,
    #[serde(rename = "@context")]
    context: Given<String>,
    runs: Given<Vec<Given<String>>>,
    #[serde(rename = "_type")]
    of_type: Given<String>,
    #[serde(rename = "payloadType")]
    payload_type: Given<String>,
    scan: Given<String>,
    vulnerabilities: Given<Vec<Given<String>>>,
    detector: Given<String>,
    #[serde(rename = "packageManager")]
    package_manager: Given<String>,
    #[serde(rename = "auditReportVersion")]
    audit_report_version: Given<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resource {
    #[serde(rename = "apiVersion")]
    api_version: Given<String>,
}

/// Trivy's operator keeps its reports under this name.
fn is_of_operator(api_version: &Given<String>) -> bool {
    api_version.text().is_some_and(|version| version.starts_with("aquasecurity.github.io/"))
}

/// Why a document that is of none of the forms is not read.
pub(super) fn why(report: &[u8]) -> String {
    let list = serde_json::from_slice::<Given<Vec<Given<Object<Clues>>>>>(report).ok().and_then(Given::right);
    let first = list.and_then(|list| Some(list.into_iter().next()?.right()?.0));
    let what = match first {
        Some(first) if first.schema_version.is_given() => {
            return "is a list of reports; send each by itself".to_owned();
        }
        Some(first) => {
            first.target.is_given().then_some("a report of a Trivy before 0.20 (schema version 1)")
        }
        None => what(report),
    };
    let what = what.map_or("no report that is known".to_owned(), |what| format!("{what}, which is not read"));
    format!("is {what}; {REMEDY}")
}

fn what(report: &[u8]) -> Option<&'static str> {
    let Object(clues) = serde_json::from_slice::<Given<Object<Clues>>>(report).ok()?.right()?;
    let items = clues.items.right().unwrap_or_default();
    let is_operators_list = items
        .iter()
        .any(|item| matches!(item, Given::Right(Object(resource)) if is_of_operator(&resource.api_version)));
    let names = |text: &Given<String>, what: &str| text.text().is_some_and(|text| text.contains(what));
    Some(if clues.cluster_name.is_given() {
        "a report of a whole cluster, as `trivy k8s` writes it"
    } else if is_of_operator(&clues.api_version) || is_operators_list {
        "a resource of Trivy's operator, such as a VulnerabilityReport"
    } else if clues.api_version.is_given() && clues.kind.is_given() {
        "a resource of Kubernetes"
    } else if clues.bom_format.is_given() {
        "a CycloneDX document (a list of what an image holds)"
    } else if clues.spdx_version.is_given() || names(&clues.context, "spdx.org") {
        "an SPDX document (a list of what an image holds)"
    } else if names(&clues.context, "openvex") {
        "an OpenVEX document"
    } else if names(&clues.schema, "sarif") || clues.runs.is_given() {
        "a SARIF report (it leaves out what tells the image and the packages)"
    } else if clues.of_type.is_given() || clues.payload_type.is_given() {
        "an attestation"
    } else if clues.scan.is_given() && clues.vulnerabilities.is_given() {
        "a report for GitLab (gl-container-scanning-report.json)"
    } else if clues.detector.is_given() {
        "a dependency snapshot for GitHub"
    } else if clues.package_manager.is_given() {
        "a report of Snyk in its own form"
    } else if clues.audit_report_version.is_given() {
        "a report of npm audit"
    } else {
        return None;
    })
}
