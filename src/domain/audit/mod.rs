//! Checking the ledger against its audit log: what is found wrong, the heads that were kept elsewhere, and what the
//! events say a row must hold.

pub mod heads;
pub mod rebuild;
pub mod rows;

use std::fmt;

use crate::domain::chain::Broken;

/// The most findings that are listed; the others are counted.
pub const LISTED_MAX: usize = 1000;

/// The most characters of a value that a finding shows.
const SHOWN_MAX: usize = 200;

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The row, as people know it; none where the sentence names it.
    pub row: Option<String>,
    /// What is wrong. Both have in them what somebody who tampers has written: whoever shows them makes it harmless.
    pub wrong: String,
}

impl Finding {
    /// A finding about a row.
    pub fn about(row: impl Into<String>, wrong: impl Into<String>) -> Self {
        Self { row: Some(row.into()), wrong: wrong.into() }
    }
}

impl From<Broken> for Finding {
    fn from(broken: Broken) -> Self {
        Self { row: None, wrong: broken.to_string() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(row) = &self.row {
            write!(f, "{row}: ")?;
        }
        f.write_str(&self.wrong)
    }
}

/// Findings, of which the first are kept and all are counted.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    listed: Vec<Finding>,
    count: u64,
}

impl Findings {
    /// Adds one.
    pub fn add(&mut self, finding: impl Into<Finding>) {
        self.count += 1;
        if self.listed.len() < LISTED_MAX {
            self.listed.push(finding.into());
        }
    }

    /// Adds several.
    pub fn extend<F: Into<Finding>>(&mut self, findings: impl IntoIterator<Item = F>) {
        findings.into_iter().for_each(|finding| self.add(finding));
    }

    /// The first of them, at most [`LISTED_MAX`].
    pub fn listed(&self) -> &[Finding] {
        &self.listed
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// A value as a finding shows it.
pub fn shown(value: &serde_json::Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= SHOWN_MAX {
        return text;
    }
    text.chars().take(SHOWN_MAX).chain("…".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_findings_are_counted_and_some_are_listed() {
        assert_eq!(Finding::about("service a", "it is not there").to_string(), "service a: it is not there");
        let mut findings = Findings::default();
        findings.extend((0..1500).map(|n| Finding::about(n.to_string(), "x")));
        assert_eq!((findings.listed().len(), findings.count()), (LISTED_MAX, 1500));
        assert_eq!(shown(&serde_json::Value::String("x".repeat(500))).chars().count(), 201);
    }
}
