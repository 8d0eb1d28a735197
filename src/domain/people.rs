//! The names that subjects go by: apart from the subjects, which never change, and as they were last seen.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

/// A subject with the name that an issuer last gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Whom the ledger names.
    pub subject: String,
    /// What people call them.
    pub name: String,
    /// When the issuer said so last.
    pub seen_at: DateTime<Utc>,
}

/// Names by subject, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    /// The name of a subject.
    pub fn of(&self, subject: &str) -> Option<&str> {
        self.0.get(subject).map(String::as_str)
    }

    /// A subject as people are shown it.
    pub fn shown(&self, subject: &str) -> String {
        shown(self.of(subject), subject)
    }
}

impl FromIterator<(String, String)> for Names {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

/// A subject as people are shown it: behind the name, never without the subject, because anybody may choose a name.
pub fn shown(name: Option<&str>, subject: &str) -> String {
    match name {
        Some(name) => format!("{name} ({subject})"),
        None => subject.to_owned(),
    }
}

/// The subject in what people are shown, or the text itself: what a page shows can be searched for.
pub fn subject_in(text: &str) -> &str {
    let within = text.strip_suffix(')').and_then(|text| text.rsplit_once(" ("));
    within.map_or(text, |(_name, subject)| subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_is_shown_with_every_name() {
        let names: Names = [("gitlab:42".to_owned(), "Ada".to_owned())].into_iter().collect();
        assert_eq!(names.shown("gitlab:42"), "Ada (gitlab:42)");
        assert_eq!(names.shown("gitlab:43"), "gitlab:43");
        for subject in ["gitlab:42", "gitlab:43"] {
            assert_eq!(subject_in(&names.shown(subject)), subject);
        }
        assert_eq!(subject_in("Ada"), "Ada");
    }
}
