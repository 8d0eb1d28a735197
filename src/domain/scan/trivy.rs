//! Reports as Trivy writes them: `trivy image --format json`, schema version 2.

use serde::Deserialize;

use crate::domain::scan::{
    Subject, digest_of,
    findings::{Findings, Places, Said},
    given::{Given, Object},
    walk::{Step, walk},
};

/// What the release's image can be told by.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Metadata {
    repo_digests: Given<Vec<Given<String>>>,
}

/// One of a result's vulnerabilities.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Vulnerability {
    #[serde(rename = "VulnerabilityID")]
    id: Given<String>,
    #[serde(rename = "VendorIDs")]
    vendor_ids: Given<Vec<Given<String>>>,
    pkg_name: Given<String>,
    installed_version: Given<String>,
    fixed_version: Given<String>,
    severity: Given<String>,
}

/// Where the findings are.
pub(super) const FINDINGS: &str = "/Results";
const STEPS: &[Step] = &[Step::Member("Results"), Step::Items, Step::Member("Vulnerabilities"), Step::Items];
const PLACES: Places = Places { id: "VulnerabilityID", package: "PkgName", severity: "Severity" };

/// Reads the findings.
pub(super) fn findings(report: &[u8], findings: &mut Findings) -> Result<(), serde_json::Error> {
    walk(report, STEPS, take, findings)
}

fn take(found: Vulnerability, pointer: &str, findings: &mut Findings) {
    let severity = if found.severity == Given::Wrong { Some("?") } else { found.severity.text() };
    let said = Said {
        id: found.id.text(),
        others: found.vendor_ids.values().collect(),
        package: found.pkg_name.text(),
        severity,
        installed: found.installed_version.text(),
        fixed: found.fixed_version.right().into_iter().collect(),
    };
    findings.add(&said, pointer, &PLACES);
}

/// What the report is of.
pub(super) fn subject(
    name: &Given<String>,
    kind: &Given<String>,
    metadata: Given<Object<Metadata>>,
) -> Subject {
    let of_image = kind.text().is_none_or(|kind| kind == "container_image");
    let repo_digests = metadata.right().unwrap_or_default().0.repo_digests;
    let mut digests: Vec<_> = repo_digests
        .values()
        .enumerate()
        .filter_map(|(index, text)| Some((format!("/Metadata/RepoDigests/{index}"), digest_of(&text)?)))
        .collect();
    let name = name.text().filter(|_| of_image).and_then(digest_of);
    digests.extend(name.map(|digest| ("/ArtifactName".to_owned(), digest)));
    if of_image {
        let remedy = "names no digest, so that nobody can tell whether it is of the release's image; scan the image by \
                      its digest, as in `trivy image --format json REPOSITORY@sha256:…`";
        return Subject { digests, nameless: Some(("/Metadata/RepoDigests", remedy)) };
    }
    let remedy = "must be container_image: the release has an image, and this is a report of something else; scan the \
                  image, as in `trivy image --format json REPOSITORY@sha256:…`";
    Subject { digests, nameless: Some(("/ArtifactType", remedy)) }
}
