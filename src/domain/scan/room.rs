//! How many scanners may have a say about one artefact, and of how many platforms.

use std::collections::BTreeSet;

use crate::domain::person::Person;

/// For how many scanners one subject may report about one artefact.
const SCANNERS_OF_ONE: usize = 20;
/// For how many scanners one subject may report about one artefact where each platform counts: more than any image has.
const PLATFORMS_OF_ONE: usize = 40;
/// How many scanners may have a say about one artefact, beside those that policies name; each platform counts.
const SCANNERS_MAX: usize = 400;

/// Why a scanner that has not reported on an artefact yet, or not of this platform, gets no say about it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// Its sender reports for as many scanners as one may.
    #[error(
        "you have reported for {SCANNERS_OF_ONE} scanners on this artefact already, which is as many as one may; {}",
        REMEDY
    )]
    Own,
    /// There are as many as there may be.
    #[error(
        "{SCANNERS_MAX} scanners and platforms have been reported on this artefact already, which is as many as may have a \
         say; {}",
        REMEDY
    )]
    All,
    /// Its sender reports of as many platforms as one may.
    #[error(
        "you have reported of {PLATFORMS_OF_ONE} platforms of this artefact already, counted for each scanner, which is as \
         many as one may; report of one of these again"
    )]
    Platforms,
}

const REMEDY: &str = "report for one of these again, or have a policy name the scanner in `vulnerabilities.scanners`: one \
                      that a policy names is always taken";

/// A scanner that has a say about a platform of an artefact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held<'a> {
    pub scanner: &'a str,
    /// The platform; none where its reports do not tell.
    pub platform: Option<&'a str>,
    /// The subject whose report counts there.
    pub reporter: &'a str,
}

/// Whether another scanner gets a say about an artefact, or one that has a say gets another platform. What is there is
/// never displaced: so anybody could wipe away what others have found.
pub fn room(held: &[Held<'_>], new: Held<'_>) -> Result<(), Full> {
    if held.iter().any(|held| (held.scanner, held.platform) == (new.scanner, new.platform)) {
        return Ok(());
    }
    let sender = Person::of(new.reporter);
    let own = || held.iter().filter(|held| Person::of(held.reporter) == sender);
    let platforms: BTreeSet<_> = own().map(|held| (held.scanner, held.platform)).collect();
    if platforms.len() >= PLATFORMS_OF_ONE {
        return Err(Full::Platforms);
    }
    let scanners: BTreeSet<_> = own().map(|held| held.scanner).collect();
    if scanners.len() >= SCANNERS_OF_ONE && !scanners.contains(new.scanner) {
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
        let names: Vec<String> = (0..450).map(|number| format!("scanner-{number}")).collect();
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
        assert_eq!(room(&by("mal", 399), new("ci")), Ok(()));
        assert_eq!(room(&by("mal", 400), new("ci")), Err(Full::All));
    }

    #[test]
    fn nobodys_platforms_shut_those_of_others_out() {
        let platforms: Vec<String> = (0..40).map(|number| format!("linux/{number}")).collect();
        let of = |platform, reporter| Held { scanner: "trivy", platform: Some(platform), reporter };
        let held: Vec<_> = platforms.iter().map(|platform| of(platform.as_str(), "mal")).collect();
        assert_eq!(room(&held, of("linux/3", "mal")), Ok(()));
        assert_eq!(room(&held, of("linux/amd64", "mal")), Err(Full::Platforms));
        assert_eq!(room(&held[1..], of("linux/amd64", "mal")), Ok(()));
        assert_eq!(room(&held, of("linux/amd64", "ci")), Ok(()));
    }
}
