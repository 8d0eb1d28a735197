//! The services and environments that something is confined to, as people name them.

use std::collections::BTreeSet;

use crate::domain::{
    fault::{Faults, Malformed},
    text::Name,
};

/// The most services, and the most environments, that one thing names.
pub const PLACES_MAX: usize = 100;

/// Those of the names that are given which are on record.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub services: BTreeSet<String>,
    pub environments: BTreeSet<String>,
}

/// Those of the names that are given which can be names, on record or not.
pub fn names(given: Option<&Vec<String>>) -> Vec<Name> {
    given.into_iter().flatten().take(PLACES_MAX).filter_map(|name| Name::parse(name).ok()).collect()
}

/// The names of services or environments, as `what` says, of which there must be some and not too many, each on record.
/// `instead` is what somebody can do who would name none, or more.
pub fn check(
    what: &str,
    given: &[String],
    instead: &str,
    known: &BTreeSet<String>,
    faults: &mut Faults,
) -> BTreeSet<String> {
    let pointer = format!("/{what}s");
    if given.is_empty() {
        faults.add(&pointer, "empty", format!("must name at least one {what}; {instead}"));
    }
    if given.len() > PLACES_MAX {
        faults.add(&pointer, "too-many", format!("must name at most {PLACES_MAX} {what}s; {instead}"));
    }
    for (index, name) in given.iter().enumerate() {
        let on_record = |_| {
            let detail = || format!("there is no {what} {name}; `POST /api/v1/{what}s` registers it");
            known.contains(name).then_some(()).ok_or_else(|| Malformed::new("unknown", detail()))
        };
        faults.take(&format!("{pointer}/{index}"), Name::parse(name).and_then(on_record));
    }
    given.iter().cloned().collect()
}

/// The one name that all of these sets have, and none has another; no set stands for all names.
pub fn only<const N: usize>(sets: [Option<&BTreeSet<String>>; N]) -> Option<&str> {
    let sets = sets.into_iter().collect::<Option<Vec<_>>>()?;
    let mut names = sets.into_iter().flatten();
    let first = names.next()?;
    names.all(|name| name == first).then_some(first.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_alone_is_the_only_one() {
        let set = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let (shop, both) = (set(&["shop"]), set(&["pay", "shop"]));
        assert_eq!(only([Some(&shop), Some(&shop)]), Some("shop"));
        assert_eq!(only([Some(&shop), Some(&both)]), None);
        assert_eq!(only([Some(&shop), None]), None);
    }
}
