//! The ids of vulnerabilities: how they are spelled, and which of them are names of one.

use std::collections::BTreeSet;

/// The longest id of a vulnerability, in characters.
pub const ID_MAX: usize = 128;
/// So many CVEs may one advisory stand for, and so many other names may a vulnerability have in one report.
pub(super) const NAMES_MAX: usize = 1000;

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

/// Whether an id can be kept: it says something, and not too much.
pub fn is_id(id: &str) -> bool {
    (1..=ID_MAX).contains(&id.chars().count()) && !id.chars().any(char::is_control)
}

/// Whether a vulnerability can have this id at all: letters and a number with a hyphen between, as databases give them, or a
/// long number right after the letters. What begins as a CVE or a GHSA has the form of these.
pub fn can_be_id(id: &str) -> bool {
    let digits = |text: &str, counts: std::ops::RangeInclusive<usize>| {
        counts.contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit())
    };
    if id.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("CVE")) {
        let parts = id.strip_prefix("CVE-").and_then(|rest| rest.split_once('-'));
        let year = |year: &str| digits(year, 4..=4) && ("1999"..="2099").contains(&year);
        return parts.is_some_and(|(of, number)| year(of) && digits(number, 4..=19));
    }
    if let Some(rest) = id.strip_prefix("GHSA-").or_else(|| id.strip_prefix("CGA-")) {
        let group = |group: &str| group.len() == 4 && group.chars().all(|c| c.is_ascii_alphanumeric());
        return rest.split('-').count() == 3 && rest.split('-').all(group);
    }
    let letters = id.chars().take_while(char::is_ascii_alphabetic).count();
    let rest = id.get(letters..).unwrap_or_default();
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/');
    let hyphened = rest.contains('-') && id.chars().all(inner) && id.contains(|c: char| c.is_ascii_digit());
    id.len() <= ID_MAX && letters > 0 && (hyphened || digits(rest.strip_prefix('#').unwrap_or(rest), 5..=12))
}

/// The names of a vulnerability, each with its other ones. An advisory that stands for CVEs counts as each of them, as it
/// does in reports that name the CVEs: people ask for those, and so what two tools call by two names is one.
pub(super) fn names(id: &str, others: &[String]) -> Vec<(String, BTreeSet<String>)> {
    let id = spelled(id);
    let others = others.iter().map(|other| spelled(other.trim()));
    let others: BTreeSet<String> = others.filter(|other| is_id(other)).collect();
    let is_cve = |name: &String| name.starts_with("CVE-");
    let cves: Vec<&String> = others.iter().filter(|other| is_cve(other)).take(NAMES_MAX).collect();
    if is_cve(&id) || cves.is_empty() {
        let others = others.into_iter().filter(|other| *other != id).take(NAMES_MAX).collect();
        return vec![(id, others)];
    }
    let advisories = others.iter().filter(|other| !is_cve(other)).take(NAMES_MAX);
    let advisories: BTreeSet<String> = advisories.cloned().chain([id]).collect();
    cves.into_iter().map(|cve| (cve.clone(), advisories.clone())).collect()
}
