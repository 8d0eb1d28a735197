//! How many scanners may have a say about one artefact, and of how many platforms.

use std::collections::BTreeSet;

use crate::domain::person::Person;

/// For how many scanners one subject may report about one artefact.
const SCANNERS_OF_ONE: usize = 20;
/// How many scanners may have a say about one artefact, beside those that policies name; each platform counts.
const SCANNERS_MAX: usize = 200;
/// Of how many platforms one scanner may report: more than any image is built for.
const PLATFORMS_MAX: usize = 16;

/// Why a scanner that has not reported on an artefact yet, or not of this platform, gets no say about it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// Its sender reports for as many as one may.
    #[error(
        "you have reported for {SCANNERS_OF_ONE} scanners on this artefact already, which is as many as one may; {}",
        REMEDY
    )]
    Own,
    /// There are as many as there may be.
    #[error(
        "{SCANNERS_MAX} scanners have reported on this artefact already, which is as many as may have a say; {}",
        REMEDY
    )]
    All,
    /// The scanner has reported of as many platforms as one may.
    #[error(
        "this scanner has reported of {PLATFORMS_MAX} platforms of this artefact already, which is as many as one may; \
         report of one of these again"
    )]
    Platforms,
}

const REMEDY: &str = "report for one of these again, or have a policy name the scanner in `vulnerabilities.scanners`: one \
                      that a policy names is always taken";

/// A scanner that has a say about a platform of an artefact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held<'a> {
    /// The scanner.
    pub scanner: &'a str,
    /// The platform; none where its reports do not tell.
    pub platform: Option<&'a str>,
    /// The subject whose report counts there.
    pub reporter: &'a str,
}

/// Whether another scanner gets a say about an artefact, or one that has a say gets another platform. What is there is
/// never displaced: so anybody could wipe away what others have found.
pub fn room(held: &[Held<'_>], new: Held<'_>) -> Result<(), Full> {
    let of_scanner = || held.iter().filter(|held| held.scanner == new.scanner);
    if of_scanner().any(|held| held.platform == new.platform) {
        return Ok(());
    }
    if of_scanner().map(|held| held.platform).collect::<BTreeSet<_>>().len() >= PLATFORMS_MAX {
        return Err(Full::Platforms);
    }
    let sender = Person::of(new.reporter);
    let own = held.iter().filter(|held| Person::of(held.reporter) == sender);
    let own = own.map(|held| held.scanner).collect::<BTreeSet<_>>();
    if own.len() >= SCANNERS_OF_ONE && !own.contains(new.scanner) {
        return Err(Full::Own);
    }
    let all = held.iter().map(|held| (held.scanner, held.platform)).collect::<BTreeSet<_>>();
    if all.len() >= SCANNERS_MAX { Err(Full::All) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_has_its_own_room_and_all_have_one_together() {
        let names: Vec<String> = (0..250).map(|number| format!("scanner-{number}")).collect();
        let by = |reporter: &'static str, count: usize| -> Vec<Held<'_>> {
            let held = |scanner: &'static str| Held { scanner, platform: None, reporter };
            names[..count].iter().map(|name| held(name.clone().leak())).collect()
        };
        let new = |reporter: &'static str| Held { scanner: "new", platform: None, reporter };
        assert_eq!(room(&by("mal", 19), new("mal")), Ok(()));
        assert_eq!(room(&by("mal", 20), new("mal")), Err(Full::Own));
        assert_eq!(room(&by("mal", 20), new("Mal\u{200b}")), Err(Full::Own));
        assert_eq!(room(&by("mal", 20), Held { scanner: "scanner-3", ..new("mal") }), Ok(()));
        assert_eq!(room(&by("mal", 20), new("ci")), Ok(()));
        assert_eq!(room(&by("mal", 199), new("ci")), Ok(()));
        assert_eq!(room(&by("mal", 200), new("ci")), Err(Full::All));
    }

    #[test]
    fn a_scanner_reports_of_so_many_platforms() {
        let platforms: Vec<String> = (0..16).map(|number| format!("linux/{number}")).collect();
        let of = |platform| Held { scanner: "trivy", platform: Some(platform), reporter: "ci" };
        let held: Vec<_> = platforms.iter().map(|platform| of(platform.as_str())).collect();
        assert_eq!(room(&held, of("linux/3")), Ok(()));
        assert_eq!(room(&held, of("linux/16")), Err(Full::Platforms));
        assert_eq!(room(&held[1..], of("linux/16")), Ok(()));
        assert_eq!(room(&held, Held { scanner: "grype", ..of("linux/16") }), Ok(()));
    }
}
