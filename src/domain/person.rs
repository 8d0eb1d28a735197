//! Who somebody is, however their name was written.

use caseless::Caseless as _;
use unicode_normalization::UnicodeNormalization as _;

/// A person or a pipeline by their name, to be compared: `Ada`, `ａｄａ` and `ada ` are one. What is stored and shown is the
/// name as it was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Person(String);

impl Person {
    /// Whose name this is: compatible characters count as the same (NFKC), capitals as small, what is not seen as not
    /// there, and spaces around it too.
    pub fn of(name: &str) -> Self {
        if name.is_ascii() {
            // The same as below, for the many names that have no other characters.
            let seen: Vec<u8> = name.bytes().filter(|byte| !is_invisible(char::from(*byte))).collect();
            return Self(String::from_utf8_lossy(&seen).trim().to_ascii_lowercase());
        }
        let seen = name.chars().filter(|c| !is_invisible(*c));
        // Some capitals appear only once a compatible character is taken apart (Unicode §3.13, D146).
        let folded: String = seen.nfd().default_case_fold().nfkd().default_case_fold().nfkc().collect();
        Self(folded.trim().to_owned())
    }

    /// Whose name this was when names were compared as they stood.
    pub fn verbatim(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// Whether it is one of those that a namespace has: its name, a colon and more.
    pub fn is_of(&self, namespace: &Self) -> bool {
        let rest = self.0.strip_prefix(&namespace.0);
        rest.is_some_and(|rest| rest.trim_start().starts_with(':'))
    }

    /// Whether the name says nothing.
    pub fn is_nobody(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether nobody sees a character: controls, what Unicode lets be ignored (`Default_Ignorable_Code_Point`, in which the
/// joiners and the selectors of variants are), annotations, and the blank of Braille. Spaces are seen.
pub(super) fn is_invisible(c: char) -> bool {
    c.is_control() && !c.is_whitespace()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_name_is_one_person_however_it_is_written() {
        for (name, written) in [
            ("ada", &["Ada", "ADA", "ada ", "\u{a0}ada\u{a0}", "\tada\n", "\u{3000}ada", "ada\u{2028}"][..]),
            ("ada", &["ａｄａ", "ＡＤＡ", "𝐀𝐝𝐚", "ⓐⓓⓐ", "ᵃᵈᵃ"]),
            (
                "ada",
                &["a\u{200b}da", "ad\u{200d}a", "\u{feff}ada", "ada\u{202e}", "a\u{ad}da", "ada\u{fe0f}"],
            ),
            (
                "ada",
                &["ada\u{200b} ", " \u{2060} ada", "ada\u{3164}", "ada\u{2800}", "a\u{e0064}da", "ad\u{0}a"],
            ),
            ("strasse", &["Straße", "STRASSE", "STRAẞE", "ſtraſſe"]),
            ("zoë", &["ZOË", "zoe\u{308}", "ZOE\u{308}", "zo\u{200d}e\u{308}", "zoe\u{200b}\u{308}"]),
            ("σοφός", &["ΣΟΦΌΣ", "σοφόσ", "Σοφο\u{301}ς"]),
            ("ῳ", &["ΩΙ", "ῼ"]),
            ("kelvin å", &["\u{212a}elvin \u{212b}"]),
            ("ﬁona", &["fiona", "FIONA"]),
            ("김", &["\u{1100}\u{1175}\u{11b7}"]),
        ] {
            for other in written {
                assert_eq!(Person::of(other), Person::of(name), "{other:?} is {name:?}");
            }
        }
    }

    #[test]
    fn other_names_are_other_people() {
        let names = [
            "ada",
            "ada lovelace",
            "adalovelace",
            "ada\tlovelace",
            "adam",
            "аda",
            "bob",
            "adä",
            "gitlab:1",
            "1",
        ];
        for (n, one) in names.iter().enumerate() {
            for other in names.iter().skip(n + 1) {
                assert_ne!(Person::of(one), Person::of(other), "{one:?}, {other:?}");
            }
        }
        assert_ne!(Person::verbatim("Ada"), Person::verbatim("ada"));
    }

    #[test]
    fn a_name_that_says_nothing_is_nobodys() {
        for name in ["", " ", "\u{a0}\u{200b}", "\u{3164}", "\u{2800}\u{fe0f}", "\n\u{0}"] {
            assert!(Person::of(name).is_nobody(), "{name:?}");
        }
        assert!(!Person::of(".").is_nobody());
    }

    proptest! {
        #[test]
        fn a_name_in_ascii_is_the_same_beside_another(name in "[\\x00-\\x7f]{0,20}") {
            let beside = format!("{name}é");
            let seen = Person::of(&beside).0;
            let trimmed = seen.strip_suffix('é').map(str::trim_end);
            let alone = Person::of(&name).0;
            prop_assert_eq!(Some(alone.as_str()), trimmed);
        }

        #[test]
        fn what_nobody_sees_and_capitals_make_no_other_person(name in "\\PC{0,20}", at in 0_usize..20) {
            let hidden: String =
                name.chars().enumerate().flat_map(|(n, c)| [Some(c), (n == at).then_some('\u{200d}')]).flatten().collect();
            prop_assert_eq!(Person::of(&format!(" {hidden}\u{a0}")), Person::of(&name));
            let person = Person::of(&name);
            prop_assert_eq!(Person::of(&person.0), person, "who is compared is compared as the same");
        }
    }
}
