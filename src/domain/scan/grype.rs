//! Reports as Grype writes them: `grype --output json`.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;

use crate::domain::{
    scan::{
        Subject,
        findings::{Findings, Places, Said, severity},
        given::{Given, Object},
        platform::platform,
        subject::digest_of,
        walk::{Sink, Step, walk},
    },
    vocabulary::{PackageClass, Severity},
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
    os: Given<String>,
    architecture: Given<String>,
    variant: Given<String>,
    config: Given<String>,
}

/// The image's own configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    os: Given<String>,
    architecture: Given<String>,
    variant: Given<String>,
}

/// Which Grype it was, and when.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Descriptor {
    pub(super) name: Given<String>,
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
    severity: Given<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Artifact {
    name: Given<String>,
    version: Given<String>,
}

/// Where the findings are.
pub(super) const MATCHES: &str = "/matches";
const STEPS: &[Step] = &[Step::Member("matches"), Step::Items];
const PLACES: Places =
    Places { id: "vulnerability/id", package: "artifact/name", severity: "vulnerability/severity" };

/// Reads the findings.
pub(super) fn findings(report: &[u8], findings: &mut Findings) -> Result<(), serde_json::Error> {
    walk(report, STEPS, findings)
}

impl Sink<Match> for Findings {
    fn take(&mut self, found: Match, pointer: &str) {
        let Object(vulnerability) = found.vulnerability.right().unwrap_or_default();
        let Object(artifact) = found.artifact.right().unwrap_or_default();
        let related: Vec<Related> =
            found.related_vulnerabilities.values().map(|Object(related)| related).collect();
        let quoted = related.iter().filter_map(|related| severity(related.severity.text()?));
        let quoted = quoted.filter(|severity| *severity != Severity::Unknown).min();
        let own = &vulnerability.severity;
        let said = Said {
            class: PackageClass::All,
            id: vulnerability.id.text(),
            severity: if *own == Given::Wrong { Some("?") } else { own.text() },
            quoted,
            others: related.into_iter().filter_map(|related| related.id.right()).collect(),
            package: artifact.name.text(),
            installed: artifact.version.text(),
            fixed: vulnerability.fix.right().unwrap_or_default().0.versions.values().collect(),
        };
        self.add(&said, pointer, &PLACES);
    }

    fn wrong(&mut self, pointer: &str, what: &'static str) {
        Self::wrong(self, pointer, what);
    }
}

impl Source {
    /// The platform that the image is for: as the report has it, or in older ones the image's own configuration.
    pub(super) fn platform(&self) -> Option<String> {
        let Given::Right(Object(target)) = &self.target else { return None };
        let configured = || {
            let bytes = BASE64_STANDARD.decode(target.config.text()?).ok()?;
            let Config { os, architecture, variant } = serde_json::from_slice(&bytes).ok()?;
            platform(os.text(), architecture.text(), variant.text())
        };
        let told = platform(target.os.text(), target.architecture.text(), target.variant.text());
        told.or_else(configured)
    }
}

/// What the report is of.
pub(super) fn subject(source: Source) -> Subject {
    let target = source.target;
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
