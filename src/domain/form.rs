//! What texts look like, as far as a pattern and two lengths can say. The API's document states it, so that clients know
//! before they send; the `parse` functions hold it, and what no pattern says.

use crate::domain::{
    deployment::OVERRIDE_REASON_MIN,
    freeze::CRON_MAX,
    repository::REPOSITORY_MAX,
    scan::ID_MAX,
    text::{
        COMMIT_MAX, COMMIT_MIN, CommitSha, Image, NAME_MAX, Name, REF_MAX, SHORT_TEXT_MAX, TEXT_MAX,
        VERSION_MAX, Version,
    },
};

/// What a text looks like.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// What the whole text is of, in what ECMA-262 and Rust read alike.
    pub pattern: &'static str,
    /// The fewest characters.
    pub min: usize,
    /// The most characters.
    pub max: usize,
}

/// A kind of text that has a form.
pub trait Formed {
    /// Its form.
    const FORM: Form;
}

/// No control characters but line breaks and tabs.
const FREE: &str = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$";
/// No control characters.
const LINE: &str = r"^[^\x00-\x1f\x7f-\x9f]*$";
const NAME: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$";
/// A domain with a port where there is one, the components of a path, a tag where there is one, and the digest.
const IMAGE: &str = concat!(
    r"^(([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?/)?",
    r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*",
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?@sha256:[0-9A-Fa-f]{64}$"
);
/// A tag, `@sha256:` and the digest.
const BEHIND_REPOSITORY: usize = 1 + 128 + 8 + 64;

macro_rules! forms {
    ($($name:ident: $pattern:expr, $min:expr, $max:expr;)+) => {
        $(impl Formed for $name {
            const FORM: Form = Form { pattern: $pattern, min: $min, max: $max };
        })+
    };
}

macro_rules! kinds {
    ($($(#[$meta:meta])* $name:ident,)+) => {
        $($(#[$meta])* #[derive(Clone, Debug, Default, PartialEq, Eq)] pub struct $name;)+
    };
}

kinds! {
    /// A text for people.
    Long,
    /// A text for people that must say something.
    TellingLong,
    /// A short text, such as a subject.
    Short,
    /// A short text that must say something.
    TellingShort,
    /// Why the gate's rules are lifted.
    OverrideReason,
    /// The id of a vulnerability.
    VulnerabilityId,
    /// A word of a platform's name.
    PlatformWord,
    /// The digest of an image.
    Digest,
    /// A branch or a tag.
    GitRef,
    /// A page of the web.
    WebUrl,
    /// When something happens again and again.
    Cron,
    /// A name of the IANA time zone database.
    Zone,
    /// A signed token in its compact form.
    Jwt,
}

forms! {
    Name: NAME, 1, NAME_MAX;
    Version: "^[A-Za-z0-9][A-Za-z0-9._+~-]*$", 1, VERSION_MAX;
    CommitSha: "^0*[1-9A-Fa-f][0-9A-Fa-f]*$", COMMIT_MIN, COMMIT_MAX;
    Image: IMAGE, 1, REPOSITORY_MAX + BEHIND_REPOSITORY;
    Long: FREE, 0, TEXT_MAX;
    TellingLong: FREE, 1, TEXT_MAX;
    Short: FREE, 0, SHORT_TEXT_MAX;
    TellingShort: FREE, 1, SHORT_TEXT_MAX;
    OverrideReason: FREE, OVERRIDE_REASON_MIN, TEXT_MAX;
    VulnerabilityId: LINE, 1, ID_MAX;
    PlatformWord: "^[A-Za-z0-9._-]+$", 1, 32;
    Digest: "^sha256:[0-9A-Fa-f]{64}$", 71, 71;
    GitRef: FREE, 0, REF_MAX;
    WebUrl: r"^[Hh][Tt][Tt][Pp][Ss]?://[^\x00-\x20\x7f-\x9f]+$", 8, TEXT_MAX;
    Cron: r"^[A-Za-z0-9*,/#-]+([ \t]+[A-Za-z0-9*,/#-]+){4}$", 9, CRON_MAX;
    Zone: "^[A-Za-z0-9_+/-]+$", 2, 64;
    Jwt: r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$", 5, 16_384;
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, string::string_regex, test_runner::TestRunner};
    use regex::Regex;

    use super::*;
    use crate::domain::{fault::Malformed, text};

    fn has(form: Form, text: &str) -> bool {
        let pattern = Regex::new(form.pattern).unwrap();
        (form.min..=form.max).contains(&text.chars().count()) && pattern.is_match(text)
    }

    /// What of the form is not taken, and what is taken and not of the form.
    fn parts<T>(form: Form, parse: impl Fn(&str) -> Result<T, Malformed>) {
        let anchored = form.pattern.trim_start_matches('^').trim_end_matches('$');
        let of_the_form = string_regex(anchored).unwrap();
        let anything = string_regex("[a-zA-Z0-9._+~\\-\\n\\x00\u{9f}ä ]{0,70}").unwrap();
        let judge = |text: String| {
            prop_assert_eq!(has(form, &text), parse(&text).is_ok(), "{:?}", text);
            Ok(())
        };
        TestRunner::default().run(&of_the_form, judge).unwrap();
        TestRunner::default().run(&anything, judge).unwrap();
    }

    #[test]
    fn what_is_of_the_form_is_taken_and_nothing_else() {
        parts(Name::FORM, Name::parse);
        parts(Version::FORM, Version::parse);
        parts(CommitSha::FORM, CommitSha::parse);
        parts(Long::FORM, |given| text::free(given, TEXT_MAX));
        parts(Short::FORM, |given| text::free(given, SHORT_TEXT_MAX));
    }

    #[test]
    fn what_is_taken_is_of_the_form() {
        let digest = "5E".repeat(32);
        for repository in [
            "shop",
            "a/b/c",
            "a__b/c-d/e.f",
            "Registry.example.com:5000/shop:1.4-RC_1",
            "localhost/shop",
            "[fd00::1]:5000/shop",
        ] {
            let image = format!("{repository}@sha256:{digest}");
            assert!(Image::parse(&image).is_ok() && has(Image::FORM, &image), "{image}");
        }
        for wrong in ["shop", "shop:1.4", "shop@sha256:5e", "Shop@sha256:", "a//b@sha256:"] {
            let wrong = if wrong.ends_with(':') { format!("{wrong}{digest}") } else { wrong.to_owned() };
            assert!(Image::parse(&wrong).is_err() && !has(Image::FORM, &wrong), "{wrong}");
        }
        for url in ["https://example.com/a?b#c", "HTTP://a", "http://[::1]:80", "https://bücher.example/ä"]
        {
            assert!(text::web_url(url).is_ok() && has(WebUrl::FORM, url), "{url}");
        }
        for zone in chrono_tz::TZ_VARIANTS {
            assert!(has(Zone::FORM, zone.name()), "{zone}");
        }
        for cron in ["0 18 * * FRI", "*/5\t0-4 1,15  jan-mar 5L", "0 0 * * MON#1"] {
            assert!(has(Cron::FORM, cron), "{cron}");
        }
    }
}
