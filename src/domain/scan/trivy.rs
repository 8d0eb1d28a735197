//! Reports as Trivy writes them: `trivy image --format json`, schema version 2.

use std::collections::BTreeSet;

use serde::{Deserialize, de::IgnoredAny};

use crate::domain::{
    scan::{
        Subject,
        findings::{Findings, Places, Said},
        given::{Given, Object},
        platform::platform,
        subject::digest_of,
        walk::{Sink, Step, walk},
    },
    vocabulary::{PackageClass, Severity},
};

/// What the release's image can be told by.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Metadata {
    repo_digests: Given<Vec<Given<String>>>,
    image_config: Given<Object<ImageConfig>>,
}

/// The image's own configuration, as OCI's image specification has it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ImageConfig {
    os: Given<String>,
    architecture: Given<String>,
    variant: Given<String>,
    rootfs: Given<Object<RootFs>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RootFs {
    diff_ids: Given<Vec<Given<String>>>,
}

impl Metadata {
    /// The platform that the image is for.
    pub(super) fn platform(&self) -> Option<String> {
        let Given::Right(Object(config)) = &self.image_config else { return None };
        platform(config.os.text(), config.architecture.text(), config.variant.text())
    }

    /// Whether the image has no layers, and so nothing that could be looked at.
    pub(super) fn is_empty(&self) -> bool {
        let Given::Right(Object(config)) = &self.image_config else { return false };
        let Given::Right(Object(root)) = &config.rootfs else { return false };
        matches!(&root.diff_ids, Given::Right(layers) if layers.is_empty())
    }
}

/// What tells what a result is of.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Kind {
    class: Given<String>,
    #[serde(rename = "Type")]
    of: Given<String>,
    packages: Option<IgnoredAny>,
    vulnerabilities: Option<IgnoredAny>,
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
    vendor_severity: Given<Vec<u64>>,
}

/// Where the findings are.
pub(super) const RESULTS: &str = "/Results";
const KINDS: &[Step] = &[Step::Member("Results"), Step::Items];
const STEPS: &[Step] = &[Step::Member("Results"), Step::Items, Step::Member("Vulnerabilities"), Step::Items];
const PLACES: Places = Places { id: "VulnerabilityID", package: "PkgName", severity: "Severity" };

/// So many other things that were looked for are named, each by so many characters.
const OTHERS_MAX: usize = 10;
const OTHER_MAX: usize = 40;

/// The operating systems by which Trivy names its results of their packages, for reports of a time before the class was told.
const SYSTEMS: [&str; 22] = [
    "alma",
    "alpine",
    "amazon",
    "azurelinux",
    "bottlerocket",
    "cbl-mariner",
    "centos",
    "chainguard",
    "debian",
    "fedora",
    "minimos",
    "opensuse",
    "opensuse.leap",
    "opensuse.tumbleweed",
    "oracle",
    "photon",
    "redhat",
    "rocky",
    "sles",
    "suse linux enterprise server",
    "ubuntu",
    "wolfi",
];

/// What a report has results of.
#[derive(Debug, Default)]
pub(super) struct Results {
    /// For each result the packages that it is of; none for one that is of no packages.
    classes: Vec<Option<PackageClass>>,
    /// What else was looked for.
    others: BTreeSet<String>,
}

impl Sink<Kind> for Results {
    fn take(&mut self, kind: Kind, _: &str) {
        let class = match (kind.class.text(), kind.of.text().map(str::to_ascii_lowercase)) {
            (Some("os-pkgs"), _) => Some(PackageClass::Os),
            (Some("lang-pkgs"), _) => Some(PackageClass::Language),
            (Some(other), _) => {
                if self.others.len() < OTHERS_MAX {
                    self.others.insert(other.chars().filter(|c| !c.is_control()).take(OTHER_MAX).collect());
                }
                None
            }
            // What tells no class says by its lists alone that packages were looked at.
            (None, _) if kind.packages.is_none() && kind.vulnerabilities.is_none() => None,
            (None, Some(of)) if SYSTEMS.contains(&of.as_str()) => Some(PackageClass::Os),
            (None, Some(_)) => Some(PackageClass::Language),
            (None, None) => Some(PackageClass::All),
        };
        self.classes.push(class);
    }

    /// What is of the wrong type is told of when the findings are read.
    fn wrong(&mut self, _: &str, _: &'static str) {
        self.classes.push(None);
    }
}

impl Results {
    /// Reads what each result is of.
    pub(super) fn read(report: &[u8]) -> Result<Self, serde_json::Error> {
        let mut results = Self::default();
        walk(report, KINDS, &mut results)?;
        // A report of which one result does not tell its packages is one of all packages.
        if results.classes.contains(&Some(PackageClass::All)) {
            results.classes.iter_mut().flatten().for_each(|class| *class = PackageClass::All);
        }
        Ok(results)
    }

    /// The packages that were looked at.
    pub(super) fn covered(&self) -> BTreeSet<PackageClass> {
        self.classes.iter().copied().flatten().collect()
    }

    /// The packages that a finding is among, which lies at this pointer. One that was found elsewhere is counted among
    /// packages that were looked at, those of languages first: it takes the place of no others.
    fn class_at(&self, pointer: &str) -> PackageClass {
        let index = pointer.split('/').nth(2).and_then(|index| index.parse::<usize>().ok());
        let class = index.and_then(|index| self.classes.get(index).copied().flatten());
        class
            .or_else(|| {
                self.classes.iter().copied().flatten().max_by_key(|class| *class == PackageClass::Language)
            })
            .unwrap_or(PackageClass::Any)
    }

    /// Why a report that is of no packages is no scan for vulnerabilities, and what to do.
    pub(super) fn why_nothing(&self) -> (&'static str, String) {
        if self.others.is_empty() {
            let detail = "names nothing that was looked at, so that nobody can tell an image without vulnerabilities from \
                          one that was not looked into; list what was, as in `trivy image --list-all-pkgs --format json \
                          REPOSITORY@sha256:…`; of an image without any packages, send the plain form";
            return ("nothing-scanned", detail.to_owned());
        }
        let others = self.others.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let detail = format!(
            "has results of class {others} alone, which say nothing about vulnerabilities; scan for these, as in `trivy image \
             --scanners vuln --list-all-pkgs --format json REPOSITORY@sha256:…`"
        );
        ("no-vulnerability-scan", detail)
    }
}

/// Where the findings of the results go.
struct Found<'a> {
    results: &'a Results,
    findings: &'a mut Findings,
}

impl Sink<Vulnerability> for Found<'_> {
    fn take(&mut self, found: Vulnerability, pointer: &str) {
        let severity = if found.severity == Given::Wrong { Some("?") } else { found.severity.text() };
        let said = Said {
            class: self.results.class_at(pointer),
            id: found.id.text(),
            others: found.vendor_ids.values().collect(),
            package: found.pkg_name.text(),
            severity,
            quoted: found.vendor_severity.right().unwrap_or_default().into_iter().filter_map(quoted).min(),
            installed: found.installed_version.text(),
            fixed: found.fixed_version.right().into_iter().collect(),
        };
        self.findings.add(&said, pointer, &PLACES);
    }

    fn wrong(&mut self, pointer: &str, what: &'static str) {
        self.findings.wrong(pointer, what);
    }
}

/// A severity as Trivy writes what others say: a number.
fn quoted(number: u64) -> Option<Severity> {
    Some(match number {
        1 => Severity::Low,
        2 => Severity::Medium,
        3 => Severity::High,
        4 => Severity::Critical,
        _ => return None,
    })
}

/// Reads the findings.
pub(super) fn findings(
    report: &[u8],
    results: &Results,
    findings: &mut Findings,
) -> Result<(), serde_json::Error> {
    walk(report, STEPS, &mut Found { results, findings })
}

/// What the report is of.
pub(super) fn subject(name: &Given<String>, kind: &Given<String>, metadata: Metadata) -> Subject {
    let of_image = kind.text().is_none_or(|kind| kind == "container_image");
    let mut digests: Vec<_> = metadata
        .repo_digests
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
