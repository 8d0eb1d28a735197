//! The parts of scans: a report counts for its platform and for the packages that it is of, until these have been
//! looked at again by the same scanner.

use chrono::{DateTime, Utc};

use crate::domain::{
    gate::facts::Counts,
    moment::is_ahead,
    vocabulary::{PackageClass, ScanFormat},
};

/// A part of a scan on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The packages that it is of.
    pub class: PackageClass,
    /// How many vulnerabilities were found in them.
    pub counts: Counts,
    /// How many of them have a fix; none where the report does not tell.
    pub fixable: Option<Counts>,
    /// How many findings are kept of it.
    pub findings: u32,
    /// Whether it counts: nothing of its scanner that was made later has looked at the same.
    pub latest: bool,
}

/// What a part of a scan is of, for one scanner and one artefact, and when that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// In which form its report came. A plain one speaks for all that its scanner knows.
    pub format: ScanFormat,
    /// The platform; none where the report does not tell.
    pub platform: Option<String>,
    /// The packages.
    pub class: PackageClass,
    /// When the report was made.
    pub scanned_at: DateTime<Utc>,
}

impl Coverage {
    /// Whether it is of what `earlier` is of, as far as platforms go: only another plain report is of all that a plain one is of.
    fn meets(&self, earlier: &Self) -> bool {
        self.format == ScanFormat::Plain
            || earlier.format != ScanFormat::Plain && self.platform == earlier.platform
    }
}

/// Whether all that a part is of has been looked at again in later ones. Where a report tells no platform, nothing but
/// another that tells none is of the same. What is of before parts were told apart gives way to whatever comes next.
fn is_covered(earlier: &Coverage, later: &[&Coverage]) -> bool {
    let again = |class: PackageClass| later.iter().any(|one| one.meets(earlier) && one.class == class);
    match earlier.class {
        PackageClass::Any => !later.is_empty(),
        PackageClass::All => {
            again(PackageClass::All) || again(PackageClass::Os) && again(PackageClass::Language)
        }
        class @ (PackageClass::Os | PackageClass::Language) => again(PackageClass::All) || again(class),
    }
}

/// What becomes of the parts of a scanner's reports about an artefact when another report comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filed {
    /// Which parts of the new report count, in their order.
    pub count: Vec<bool>,
    /// Which of those that counted until now no longer do, by their indexes.
    pub superseded: Vec<usize>,
}

/// Files the parts of a new report among those that count: one that was made before what counts does not, unless that is
/// from the future; of two that were made at the same moment, the one that arrives last does.
pub fn file(new: &[Coverage], counting: &[Coverage], now: DateTime<Utc>) -> Filed {
    let made = new.first().map_or(now, |one| one.scanned_at);
    let is_later = |one: &Coverage| one.scanned_at > made && !is_ahead(one.scanned_at, now);
    let later: Vec<&Coverage> = counting.iter().filter(|one| is_later(one)).collect();
    let count: Vec<bool> = new.iter().map(|one| !is_covered(one, &later)).collect();
    let kept: Vec<&Coverage> =
        new.iter().zip(&count).filter(|(_, count)| **count).map(|(one, _)| one).collect();
    // What counts beside a part that is of all packages came after it: it would have been covered otherwise.
    let beside: Vec<&Coverage> =
        kept.iter().copied().chain(counting.iter().filter(|one| one.class != PackageClass::All)).collect();
    let is_superseded = |one: &Coverage| {
        let since = if one.class == PackageClass::All { &beside } else { &kept };
        !is_later(one) && is_covered(one, since)
    };
    let counted = counting.iter().enumerate();
    let superseded = counted.filter(|(_, one)| is_superseded(one)).map(|(index, _)| index).collect();
    Filed { count, superseded }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const NOW: DateTime<Utc> = DateTime::from_timestamp_nanos(1_800_000_000_000_000_000);

    /// `minute:platform:classes`; the platform `*` is a plain report, `?` one that tells none.
    fn coverage(text: &str) -> Vec<Coverage> {
        let mut parts = text.split(':');
        let (minute, platform) = (parts.next().unwrap(), parts.next().unwrap());
        let of = |class: &str| Coverage {
            format: if platform == "*" { ScanFormat::Plain } else { ScanFormat::Trivy },
            platform: Some(platform.to_owned()).filter(|platform| !matches!(platform.as_str(), "*" | "?")),
            class: class.parse().unwrap(),
            scanned_at: NOW + TimeDelta::minutes(minute.parse().unwrap()),
        };
        parts.next().unwrap().split('+').map(of).collect()
    }

    /// Files the reports one after the other, and gives what counts in the end.
    fn counting(reports: &str) -> String {
        let mut counting: Vec<(Coverage, String)> = Vec::new();
        for report in reports.split(' ') {
            let new = coverage(report);
            let held: Vec<Coverage> = counting.iter().map(|(one, _)| one.clone()).collect();
            let filed = file(&new, &held, NOW);
            for index in filed.superseded.into_iter().rev() {
                counting.remove(index);
            }
            let kept = new.into_iter().zip(filed.count).filter(|(_, count)| *count);
            let of = report.rsplit_once(':').unwrap().0;
            counting.extend(kept.map(|(one, _)| (one.clone(), format!("{of}:{}", one.class))));
        }
        counting.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_report_replaces_what_it_is_of_and_nothing_else() {
        for (reports, expected) in [
            ("-9:amd:os -8:arm:os", "-9:amd:os -8:arm:os"),
            ("-9:amd:os -8:amd:language", "-9:amd:os -8:amd:language"),
            ("-9:amd:os+language -8:amd:os", "-9:amd:language -8:amd:os"),
            ("-9:amd:os+language -8:amd:os+language", "-8:amd:os -8:amd:language"),
            ("-9:amd:all -8:amd:os", "-9:amd:all -8:amd:os"),
            ("-9:amd:all -8:amd:os -7:amd:language", "-8:amd:os -7:amd:language"),
            ("-9:amd:all -8:amd:os -7:arm:language", "-9:amd:all -8:amd:os -7:arm:language"),
            ("-9:amd:os -8:amd:all", "-8:amd:all"),
            ("-9:amd:os -8:?:os", "-9:amd:os -8:?:os"),
            ("-9:?:os -8:amd:os", "-9:?:os -8:amd:os"),
            ("-9:?:os -8:?:os", "-8:?:os"),
            ("-9:amd:os -8:arm:language -7:*:all", "-7:*:all"),
            ("-9:*:all -8:amd:os", "-9:*:all -8:amd:os"),
            ("-9:*:all -8:amd:os+language", "-9:*:all -8:amd:os -8:amd:language"),
            ("-9:*:all -8:amd:all -7:*:all", "-7:*:all"),
            ("-9:?:any -8:amd:os", "-8:amd:os"),
        ] {
            assert_eq!(counting(reports), expected, "{reports}");
        }
    }

    #[test]
    fn what_was_made_before_does_not_count_whenever_it_arrives() {
        for (reports, expected) in [
            ("-8:amd:os -9:amd:os", "-8:amd:os"),
            ("-8:amd:os -9:amd:os+language", "-8:amd:os -9:amd:language"),
            ("-8:amd:os -9:amd:all", "-8:amd:os -9:amd:all"),
            ("-7:amd:os -8:amd:language -9:amd:all", "-7:amd:os -8:amd:language"),
            ("-8:amd:all -9:amd:language", "-8:amd:all"),
            ("-8:*:all -9:amd:os", "-8:*:all"),
            ("-8:?:any -9:amd:os", "-8:?:any -9:amd:os"),
            ("-8:amd:os -8:amd:os", "-8:amd:os"),
            ("90:amd:os -9:amd:os", "-9:amd:os"),
            ("90:amd:os -9:arm:os", "90:amd:os -9:arm:os"),
        ] {
            assert_eq!(counting(reports), expected, "{reports}");
        }
    }
}
