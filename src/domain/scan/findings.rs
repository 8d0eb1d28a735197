//! Findings: what a report names, once for each vulnerability and package.
//!
//! Neither the order nor the repetition of what a report says changes the outcome: the worst severity wins, versions
//! are kept in their order.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{fault::Faults, gate::facts::Counts, vocabulary::Severity};

/// The most findings that one scan may have.
pub const FINDINGS_MAX: usize = 20_000;
/// The longest id of a vulnerability, in characters.
pub const ID_MAX: usize = 128;
/// The longest name of a package, and the longest version that is kept, in characters.
const PACKAGE_MAX: usize = 300;
/// So many CVEs may one advisory stand for.
const CVES_MAX: usize = 100;
/// How many versions of one package are kept.
const VERSIONS_MAX: usize = 20;
/// How many faults of one report are named.
const FAULTS_MAX: usize = 50;

/// A vulnerability in a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The vulnerability: its CVE where it has one.
    pub vulnerability: String,
    /// Another id that the report gives it.
    pub alias: Option<String>,
    /// The package.
    pub package: String,
    /// How bad it is.
    pub severity: Severity,
    /// The versions of the package that were found.
    pub installed_version: Option<String>,
    /// The versions in which it is mended.
    pub fixed_version: Option<String>,
}

/// What a report says of one vulnerability in one package.
#[derive(Debug, Default)]
pub(super) struct Said<'a> {
    /// The id of the vulnerability.
    pub id: Option<&'a str>,
    /// Its other ids.
    pub others: Vec<String>,
    /// The package.
    pub package: Option<&'a str>,
    /// The severity, as the tool writes it.
    pub severity: Option<&'a str>,
    /// The version that was found.
    pub installed: Option<&'a str>,
    /// The versions in which it is mended.
    pub fixed: Vec<String>,
}

/// Where a report says it, below the finding.
pub(super) struct Places {
    /// The id of the vulnerability.
    pub id: &'static str,
    /// The package.
    pub package: &'static str,
    /// The severity.
    pub severity: &'static str,
}

struct Kept {
    alias: Option<String>,
    severity: Severity,
    installed: BTreeSet<String>,
    fixed: BTreeSet<String>,
}

/// Collects the findings of a report, and its faults.
#[derive(Default)]
pub(super) struct Findings {
    kept: BTreeMap<(String, String), Kept>,
    faults: Faults,
    found_faults: usize,
    too_many: bool,
}

impl Findings {
    /// Notes a fault, up to a number that is still of use to people.
    pub(super) fn fault(&mut self, pointer: &str, code: &'static str, detail: impl Into<String>) {
        self.found_faults += 1;
        if self.found_faults <= FAULTS_MAX {
            self.faults.add(pointer, code, detail);
        }
    }

    /// Takes a finding, which lies at this pointer.
    pub(super) fn add(&mut self, said: &Said<'_>, pointer: &str, places: &Places) {
        let id = self.name(said.id, ID_MAX, || format!("{pointer}/{}", places.id));
        let package = self.name(said.package, PACKAGE_MAX, || format!("{pointer}/{}", places.package));
        let severity = severity(said.severity.unwrap_or_default());
        if severity.is_none() {
            let words = "critical, high, medium, low, negligible or unknown";
            self.fault(
                &format!("{pointer}/{}", places.severity),
                "unknown-value",
                format!("must be {words}"),
            );
        }
        let (Some(id), Some(package), Some(severity)) = (id, package, severity) else { return };
        let (mut installed, mut fixed) = (BTreeSet::new(), BTreeSet::new());
        keep(&mut installed, said.installed);
        keep(&mut fixed, said.fixed.iter().map(String::as_str));
        for (vulnerability, alias) in names(&id, &said.others) {
            let key = (vulnerability, package.clone());
            if self.kept.len() >= FINDINGS_MAX && !self.kept.contains_key(&key) {
                self.too_many = true;
                return;
            }
            let kept = self.kept.entry(key).or_insert_with(|| Kept {
                alias: alias.clone(),
                severity,
                installed: BTreeSet::new(),
                fixed: BTreeSet::new(),
            });
            kept.severity = kept.severity.min(severity);
            kept.alias = [kept.alias.take(), alias].into_iter().flatten().min();
            keep(&mut kept.installed, installed.iter().map(String::as_str));
            keep(&mut kept.fixed, fixed.iter().map(String::as_str));
        }
    }

    fn name(&mut self, text: Option<&str>, max: usize, pointer: impl Fn() -> String) -> Option<String> {
        let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
            self.fault(&pointer(), "required", "is required: a finding names a vulnerability and a package");
            return None;
        };
        if text.chars().count() > max {
            self.fault(&pointer(), "too-long", format!("must be at most {max} characters"));
            return None;
        }
        if text.chars().any(char::is_control) {
            self.fault(&pointer(), "control-character", "must not contain control characters");
            return None;
        }
        Some(text.to_owned())
    }

    /// The findings, in order, unless there was any fault; `list` is where they lie in the report.
    pub(super) fn finish(mut self, list: &str) -> Result<Vec<Finding>, Faults> {
        if self.too_many {
            let detail =
                format!("must name at most {FINDINGS_MAX} vulnerabilities, counted for each package");
            self.found_faults += 1;
            self.faults.add(list, "too-many", detail);
        }
        if self.found_faults > 0 {
            return Err(self.faults);
        }
        let finding = |((vulnerability, package), kept): ((String, String), Kept)| Finding {
            vulnerability,
            alias: kept.alias,
            package,
            severity: kept.severity,
            installed_version: joined(&kept.installed),
            fixed_version: joined(&kept.fixed),
        };
        Ok(self.kept.into_iter().map(finding).collect())
    }
}

/// How many findings have which severity.
pub fn counts(findings: &[Finding]) -> Counts {
    let mut counts = Counts::default();
    for finding in findings {
        let count = match finding.severity {
            Severity::Critical => &mut counts.critical,
            Severity::High => &mut counts.high,
            Severity::Medium => &mut counts.medium,
            Severity::Low => &mut counts.low,
            Severity::Unknown => &mut counts.unknown,
        };
        *count = count.saturating_add(1);
    }
    counts
}

/// The severity that a tool's word stands for; none for a word that no tool is known to write, because what it means for
/// a budget is anybody's guess.
fn severity(word: &str) -> Option<Severity> {
    Some(match word.to_ascii_lowercase().as_str() {
        "critical" => Severity::Critical,
        "high" => Severity::High,
        "medium" => Severity::Medium,
        "low" | "negligible" | "none" => Severity::Low,
        "unknown" | "" => Severity::Unknown,
        _ => return None,
    })
}

/// An id in the spelling in which it is stored and looked for: CVE in capitals, GHSA with its letters small. Others are
/// taken as they are.
pub fn spelled(id: &str) -> String {
    let begins =
        |prefix: &str| id.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    if begins("CVE-") {
        id.to_ascii_uppercase()
    } else if begins("GHSA-") {
        format!("GHSA-{}", id.get(5..).unwrap_or_default().to_ascii_lowercase())
    } else {
        id.to_owned()
    }
}

/// The names of a vulnerability, each with its alias. An advisory that stands for CVEs counts as each of them, as it
/// does in reports that name the CVEs: people ask for those, and so what two tools call by two names is one.
fn names(id: &str, others: &[String]) -> Vec<(String, Option<String>)> {
    let id = spelled(id);
    let fits = |other: &String| !other.chars().any(char::is_control) && other.chars().count() <= ID_MAX;
    let others: BTreeSet<String> = others.iter().map(|other| spelled(other)).filter(fits).collect();
    let of_kind = |kind: &'static str| others.iter().filter(move |other| other.starts_with(kind)).cloned();
    if id.starts_with("CVE-") {
        return vec![(id, of_kind("GHSA-").next())];
    }
    let cves: Vec<_> = of_kind("CVE-").map(|cve| (cve, Some(id.clone()))).take(CVES_MAX).collect();
    if cves.is_empty() { vec![(id, None)] } else { cves }
}

/// Keeps the first versions in their order, whatever order they come in: no more than can be shown.
fn keep<'a>(versions: &mut BTreeSet<String>, more: impl IntoIterator<Item = &'a str>) {
    for version in more {
        let version: String = version.chars().filter(|c| !c.is_control()).take(PACKAGE_MAX).collect();
        if version.is_empty() || !versions.insert(version) {
            continue;
        }
        while versions.len() > VERSIONS_MAX || chars_but_last(versions) > PACKAGE_MAX {
            versions.pop_last();
        }
    }
}

fn chars_but_last(versions: &BTreeSet<String>) -> usize {
    versions.iter().rev().skip(1).map(|version| version.chars().count()).sum()
}

fn joined(versions: &BTreeSet<String>) -> Option<String> {
    let text = versions.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    if text.chars().count() > PACKAGE_MAX {
        return Some(text.chars().take(PACKAGE_MAX - 1).chain(['…']).collect());
    }
    Some(text).filter(|text| !text.is_empty())
}
