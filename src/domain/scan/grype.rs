//! Reports as Grype writes them: `grype --output json`.

use serde::Deserialize;

use crate::domain::scan::{
    Subject, digest_of,
    findings::{Findings, Places, Said},
    given::{Given, Object},
    walk::{Step, walk},
};

/// What was scanned.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Source {
    target: Given<Object<Target>>,
}

/// The image that was scanned; for anything else the target is a text.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Target {
    user_input: Given<String>,
    manifest_digest: Given<String>,
    repo_digests: Given<Vec<Given<String>>>,
}

/// Which Grype it was, and when.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Descriptor {
    pub(super) timestamp: Given<String>,
}

/// One of the matches.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Match {
    vulnerability: Given<Object<Vulnerability>>,
    related_vulnerabilities: Given<Vec<Given<Object<Related>>>>,
    artifact: Given<Object<Artifact>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Vulnerability {
    id: Given<String>,
    severity: Given<String>,
    fix: Given<Object<Fix>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fix {
    versions: Given<Vec<Given<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Related {
    id: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Artifact {
    name: Given<String>,
    version: Given<String>,
}

/// Where the findings are.
pub(super) const FINDINGS: &str = "/matches";
const STEPS: &[Step] = &[Step::Member("matches"), Step::Items];
const PLACES: Places =
    Places { id: "vulnerability/id", package: "artifact/name", severity: "vulnerability/severity" };

/// Reads the findings.
pub(super) fn findings(report: &[u8], findings: &mut Findings) -> Result<(), serde_json::Error> {
    walk(report, STEPS, take, findings)
}

fn take(found: Match, pointer: &str, findings: &mut Findings) {
    let Object(vulnerability) = found.vulnerability.right().unwrap_or_default();
    let Object(artifact) = found.artifact.right().unwrap_or_default();
    let related = found.related_vulnerabilities.values();
    let severity =
        if vulnerability.severity == Given::Wrong { Some("?") } else { vulnerability.severity.text() };
    let said = Said {
        id: vulnerability.id.text(),
        others: related.filter_map(|Object(related)| related.id.right()).collect(),
        package: artifact.name.text(),
        severity,
        installed: artifact.version.text(),
        fixed: vulnerability.fix.right().unwrap_or_default().0.versions.values().collect(),
    };
    findings.add(&said, pointer, &PLACES);
}

/// What the report is of.
pub(super) fn subject(source: Given<Object<Source>>) -> Subject {
    let target = source.right().unwrap_or_default().0.target;
    let remedy = "names no image by its digest, and the release has one; scan the image by its digest, as in `grype \
                  REPOSITORY@sha256:… --output json`";
    let Given::Right(Object(target)) = target else {
        return Subject { digests: Vec::new(), nameless: Some(("/source/target", remedy)) };
    };
    let mut digests: Vec<_> = target
        .repo_digests
        .values()
        .enumerate()
        .filter_map(|(index, text)| Some((format!("/source/target/repoDigests/{index}"), digest_of(&text)?)))
        .collect();
    let named = [("manifestDigest", target.manifest_digest), ("userInput", target.user_input)];
    digests.extend(
        named.into_iter().filter_map(|(member, text)| {
            Some((format!("/source/target/{member}"), digest_of(text.text()?)?))
        }),
    );
    Subject { digests, nameless: Some(("/source/target/repoDigests", remedy)) }
}
