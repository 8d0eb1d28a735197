//! The plain form, for every other scanner: who, when, and how many of each severity.

use serde::Deserialize;

use crate::domain::{
    fault::Faults,
    gate::facts::Counts,
    scan::{
        Subject,
        given::{Given, Object},
    },
    text::{Image, Name},
    vocabulary::Severity,
};

/// The most vulnerabilities of one severity: far more than any image has.
pub const COUNT_MAX: u32 = 1_000_000;

/// How many of each severity; every one is to be given, so that none is left out by mistake.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct GivenCounts {
    critical: Given<u64>,
    high: Given<u64>,
    medium: Given<u64>,
    low: Given<u64>,
    unknown: Given<u64>,
}

/// Reads who made it.
pub(super) fn scanner(given: Given<String>, faults: &mut Faults) -> Option<String> {
    if !given.is_given() {
        faults.add("/scanner", "required", "is required: the name of the scanner");
    }
    let name = given.take("/scanner", faults)?;
    faults.take("/scanner", Name::parse(&name)).map(|name| name.to_string())
}

/// Reads what it counts.
pub(super) fn counts(given: Given<Object<GivenCounts>>, faults: &mut Faults) -> Option<Counts> {
    if !given.is_given() {
        faults.add("/counts", "required", "is required: how many vulnerabilities of each severity");
    }
    let Object(given) = given.take("/counts", faults)?;
    let mut count = |severity: Severity, given: Given<u64>| {
        let pointer = format!("/counts/{severity}");
        if !given.is_given() {
            faults.add(&pointer, "required", "is required; 0 where there are none");
        }
        let number = u32::try_from(given.take(&pointer, faults)?).ok().filter(|number| *number <= COUNT_MAX);
        if number.is_none() {
            faults.add(&pointer, "out-of-range", format!("must be from 0 to {COUNT_MAX}"));
        }
        number
    };
    let critical = count(Severity::Critical, given.critical);
    let high = count(Severity::High, given.high);
    let medium = count(Severity::Medium, given.medium);
    let low = count(Severity::Low, given.low);
    let unknown = count(Severity::Unknown, given.unknown);
    Some(Counts { critical: critical?, high: high?, medium: medium?, low: low?, unknown: unknown? })
}

/// What the report is of. Where it does not say, whoever sends it vouches for it.
pub(super) fn subject(image: Given<String>, faults: &mut Faults) -> Subject {
    let image = image.take("/image", faults).map(|image| Image::parse(&image));
    let image = faults.take_optional("/image", image);
    let digests = image.into_iter().map(|image| ("/image".to_owned(), image.digest().to_owned())).collect();
    Subject { digests, nameless: None }
}
