//! Findings: what a report names, once for each vulnerability in a version of a package.
//!
//! Neither the order nor the repetition of what a report says changes the outcome: the worst severity wins, names and
//! versions are kept in their order.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{
    fault::Faults,
    gate::facts::Counts,
    scan::ids::{ID_MAX, NAMES_MAX, names},
    vocabulary::{PackageClass, Severity},
};

/// The most findings that one scan may have.
pub const FINDINGS_MAX: usize = 20_000;
/// The longest name of a package, and the longest list of versions that is kept, in characters.
const PACKAGE_MAX: usize = 300;
/// The longest version that is kept, in characters: it tells findings apart, and an index has room for so much.
const VERSION_MAX: usize = 100;
/// How many names beside their own the vulnerabilities of one report may have.
const ALIASES_MAX: usize = 60_000;
/// How many versions that mend a finding are kept.
const VERSIONS_MAX: usize = 20;
/// How many faults of one report are named.
const FAULTS_MAX: usize = 50;

/// A vulnerability in a version of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The vulnerability: its CVE where it has one.
    pub vulnerability: String,
    /// The other ids that the report gives it.
    pub aliases: BTreeSet<String>,
    pub package: String,
    /// The version of the package that was found.
    pub installed_version: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// The versions in which it is mended.
    pub fixed_version: Option<String>,
}

/// What tells the findings of a report apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FindingKey {
    /// The packages that this one is among.
    pub class: PackageClass,
    pub vulnerability: String,
    pub package: String,
    /// Its version, if it is told.
    pub installed_version: Option<String>,
}

/// What a report says of one vulnerability in one package.
#[derive(Debug)]
pub(super) struct Said<'a> {
    /// The packages that this one is among.
    pub class: PackageClass,
    /// The id of the vulnerability.
    pub id: Option<&'a str>,
    /// Its other ids.
    pub others: Vec<String>,
    pub package: Option<&'a str>,
    /// The severity, as the tool writes it.
    pub severity: Option<&'a str>,
    /// The worst that others say whom the tool quotes, for when it gives none of its own.
    pub quoted: Option<Severity>,
    /// The version that was found.
    pub installed: Option<&'a str>,
    /// The versions in which it is mended.
    pub fixed: Vec<String>,
}

/// Where a report says it, below the finding.
pub(super) struct Places {
    /// The id of the vulnerability.
    pub id: &'static str,
    pub package: &'static str,
    pub severity: &'static str,
}

struct Kept {
    severity: Severity,
    fixed: BTreeSet<String>,
}

/// Collects the findings of a report, and its faults.
#[derive(Default)]
pub(super) struct Findings {
    kept: BTreeMap<FindingKey, Kept>,
    /// The other names of each vulnerability.
    aliases: BTreeMap<String, BTreeSet<String>>,
    count_of_aliases: usize,
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

    /// Notes that what lies at this pointer is of the wrong type.
    pub(super) fn wrong(&mut self, pointer: &str, what: &'static str) {
        self.fault(pointer, "type", format!("must be {what}"));
    }

    /// Takes a finding, which lies at this pointer.
    pub(super) fn add(&mut self, said: &Said<'_>, pointer: &str, places: &Places) {
        let id = self.name(said.id, ID_MAX, || format!("{pointer}/{}", places.id));
        let package = self.name(said.package, PACKAGE_MAX, || format!("{pointer}/{}", places.package));
        let severity = severity(said.severity.unwrap_or_default());
        let severity =
            severity.map(|own| if own == Severity::Unknown { said.quoted.unwrap_or(own) } else { own });
        if severity.is_none() {
            let words = "critical, high, medium, low, negligible or unknown";
            self.fault(
                &format!("{pointer}/{}", places.severity),
                "unknown-value",
                format!("must be {words}"),
            );
        }
        let (Some(id), Some(package), Some(severity)) = (id, package, severity) else { return };
        let version =
            said.installed.map(|version| cut(version, VERSION_MAX)).filter(|version| !version.is_empty());
        let mut fixed = BTreeSet::new();
        keep(&mut fixed, said.fixed.iter().map(String::as_str));
        for (vulnerability, aliases) in names(&id, &said.others) {
            let key = FindingKey {
                class: said.class,
                vulnerability: vulnerability.clone(),
                package: package.clone(),
                installed_version: version.clone(),
            };
            if self.kept.len() >= FINDINGS_MAX && !self.kept.contains_key(&key) {
                self.too_many = true;
                return;
            }
            let kept = self.kept.entry(key).or_insert_with(|| Kept { severity, fixed: BTreeSet::new() });
            kept.severity = kept.severity.min(severity);
            keep(&mut kept.fixed, fixed.iter().map(String::as_str));
            self.call(vulnerability, aliases);
        }
    }

    /// Keeps the first names that a vulnerability has beside its own, whatever order they come in.
    fn call(&mut self, vulnerability: String, aliases: BTreeSet<String>) {
        if aliases.is_empty() {
            return;
        }
        let kept = self.aliases.entry(vulnerability).or_default();
        let before = kept.len();
        kept.extend(aliases);
        while kept.len() > NAMES_MAX {
            kept.pop_last();
        }
        self.count_of_aliases += kept.len() - before;
        self.too_many |= self.count_of_aliases > ALIASES_MAX;
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

    /// The findings of each class of packages, in order, unless there was any fault; `list` is where they lie in the report.
    pub(super) fn finish(mut self, list: &str) -> Result<BTreeMap<PackageClass, Vec<Finding>>, Faults> {
        if self.too_many {
            let detail = format!(
                "must name at most {FINDINGS_MAX} vulnerabilities, counted for each version of each package, and at most \
                 {ALIASES_MAX} other names of them"
            );
            self.fault(list, "too-many", detail);
        }
        if self.found_faults > 0 {
            return Err(self.faults);
        }
        let mut findings: BTreeMap<PackageClass, Vec<Finding>> = BTreeMap::new();
        for (key, Kept { severity, fixed }) in self.kept {
            let FindingKey { class, vulnerability, package, installed_version } = key;
            let aliases = self.aliases.get(&vulnerability).cloned().unwrap_or_default();
            let fixed_version = joined(&fixed);
            let finding =
                Finding { vulnerability, aliases, package, installed_version, severity, fixed_version };
            findings.entry(class).or_default().push(finding);
        }
        Ok(findings)
    }
}

/// How many findings have which severity.
pub fn counts<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Counts {
    let mut counts = Counts::default();
    for finding in findings {
        let count = counts.of_mut(finding.severity);
        *count = count.saturating_add(1);
    }
    counts
}

/// The severity that a tool's word stands for; none for a word that no tool is known to write, because what it means for
/// a budget is anybody's guess.
pub(super) fn severity(word: &str) -> Option<Severity> {
    Some(match word.to_ascii_lowercase().as_str() {
        "critical" => Severity::Critical,
        "high" => Severity::High,
        "medium" => Severity::Medium,
        "low" | "negligible" | "none" => Severity::Low,
        "unknown" | "" => Severity::Unknown,
        _ => return None,
    })
}

/// Keeps the first versions that mend a finding, whatever order they come in: no more than can be shown.
fn keep<'a>(versions: &mut BTreeSet<String>, more: impl IntoIterator<Item = &'a str>) {
    for version in more {
        let version = cut(version, PACKAGE_MAX);
        if version.is_empty() || !versions.insert(version) {
            continue;
        }
        while versions.len() > VERSIONS_MAX || chars_but_last(versions) > PACKAGE_MAX {
            versions.pop_last();
        }
    }
}

fn cut(text: &str, max: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(max).collect()
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
