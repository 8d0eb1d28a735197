//! The name that somebody probably meant.

use strsim::jaro_winkler;

/// How alike two names are at least of which one may be meant by the other, from 0 to 1.
const ALIKE: f64 = 0.8;

/// The known name that is most like the one that was given, if one is like it at all.
pub fn nearest<T: AsRef<str>>(given: &str, known: impl IntoIterator<Item = T>) -> Option<T> {
    let given = given.to_lowercase();
    let alike = known.into_iter().map(|name| (jaro_winkler(&given, &name.as_ref().to_lowercase()), name));
    let best = alike.filter(|(alike, _)| *alike >= ALIKE).max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_probably_meant_is_found() {
        let known = ["shop", "shop-worker", "billing", "staging", "production"];
        for (given, meant) in [
            ("shpo", Some("shop")),
            ("Shop", Some("shop")),
            ("biling", Some("billing")),
            ("stage", Some("staging")),
            ("prod", Some("production")),
            ("search", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, known), meant, "{given}");
        }
    }
}
