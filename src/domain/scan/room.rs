//! How many scanners may have a say about one artefact.

use crate::domain::person::Person;

/// For how many scanners one subject may report about one artefact.
const SCANNERS_OF_ONE: usize = 20;
/// How many scanners may have a say about one artefact, beside those that policies name.
const SCANNERS_MAX: usize = 200;

/// Why a scanner that has not reported on an artefact yet gets no say about it any more.
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
}

const REMEDY: &str = "report for one of these again, or have a policy name the scanner in `vulnerabilities.scanners`: one \
                      that a policy names is always taken";

/// Whether another scanner gets a say about an artefact, by the subjects whose reports count there. What is there is
/// never displaced: so anybody could wipe away what others have found.
pub fn room<'a>(reporters: impl IntoIterator<Item = &'a str>, sender: &str) -> Result<(), Full> {
    let sender = Person::of(sender);
    let (mut all, mut own) = (0, 0);
    for reporter in reporters {
        all += 1;
        own += usize::from(Person::of(reporter) == sender);
    }
    match (own >= SCANNERS_OF_ONE, all >= SCANNERS_MAX) {
        (true, _) => Err(Full::Own),
        (false, true) => Err(Full::All),
        (false, false) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_has_its_own_room_and_all_have_one_together() {
        let by = |subject: &'static str, count: usize| std::iter::repeat_n(subject, count);
        assert_eq!(room(by("mal", 19), "mal"), Ok(()));
        assert_eq!(room(by("mal", 20), "mal"), Err(Full::Own));
        assert_eq!(room(by("mal", 20), "Mal\u{200b}"), Err(Full::Own));
        assert_eq!(room(by("mal", 20), "ci"), Ok(()));
        assert_eq!(room(by("mal", 199), "ci"), Ok(()));
        assert_eq!(room(by("mal", 200), "ci"), Err(Full::All));
    }
}
