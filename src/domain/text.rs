//! The texts that identify things: parsed once, at the edge, and valid ever after.

use serde::Serialize;

use crate::domain::{fault::Malformed, repository};

/// The longest free text the API takes, in characters.
pub const TEXT_MAX: usize = 2000;
/// The longest short text, in characters: a subject, an owner, a display name, a phase.
pub const SHORT_TEXT_MAX: usize = 200;
/// The longest reference name, in characters.
pub const REF_MAX: usize = 255;
/// The longest name, in characters.
pub const NAME_MAX: usize = 63;
/// The longest version, in characters.
pub const VERSION_MAX: usize = 128;
/// The most digits of a commit.
pub const COMMIT_MAX: usize = 64;

macro_rules! text_type {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text as it is written.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Takes a text that the database holds, where only parsed ones are written.
            pub fn trusted(text: String) -> Self {
                Self(text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_type! {
    /// The name of a service, an environment or a token: a DNS-1123 label (RFC 1123 §2.1, as Kubernetes uses it).
    Name
}

text_type! {
    /// The version of a release, as its pipeline writes it.
    Version
}

text_type! {
    /// A commit's hash in hexadecimal, whole or shortened to no less than seven digits.
    CommitSha
}

text_type! {
    /// An image pinned by digest: `repository@sha256:…` (OCI distribution specification).
    Image
}

impl Name {
    /// Parses a DNS-1123 label of at most 63 characters.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let inner = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if text.len() <= NAME_MAX && inner && edge(text.chars().next()) && edge(text.chars().last()) {
            return Ok(Self(text.to_owned()));
        }
        let rule = "must be a DNS-1123 label: 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit";
        let advice = slug(text).map(|slug| format!("; here `{slug}` would be one")).unwrap_or_default();
        Err(Malformed::new("invalid-name", format!("{rule}{advice}")))
    }

    /// Parses the name of a service; a pipeline is told where it finds one.
    pub fn of_service(text: &str) -> Result<Self, Malformed> {
        Self::parse(text).map_err(|wrong| wrong.advised("in GitLab, CI_PROJECT_PATH_SLUG is one"))
    }

    /// Parses the name of an environment; a pipeline is told where it finds one.
    pub fn of_environment(text: &str) -> Result<Self, Malformed> {
        Self::parse(text).map_err(|wrong| wrong.advised("in GitLab, CI_ENVIRONMENT_SLUG is one"))
    }
}

/// The name that is nearest to a text; none where that has neither letters nor digits.
fn slug(text: &str) -> Option<String> {
    let mut slug = String::new();
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        match c {
            'a'..='z' | '0'..='9' => slug.push(c),
            _ if slug.is_empty() || slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
        if slug.len() == NAME_MAX {
            break;
        }
    }
    Some(slug.trim_end_matches('-').to_owned()).filter(|slug| !slug.is_empty())
}

impl Version {
    /// Parses 1 to 128 characters that are safe in a URL's path and in a file name.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let first = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
        let rest = text.chars().all(|c| c.is_ascii_alphanumeric() || "._+~-".contains(c));
        if first && rest && text.len() <= VERSION_MAX {
            return Ok(Self(text.to_owned()));
        }
        let wrong = Malformed::new(
            "invalid-version",
            "must be 1 to 128 of letters, digits and '.', '_', '+', '~', '-', beginning with a letter or digit",
        );
        Err(match text.rsplit_once('/').map(|(before, version)| (before, Self::parse(version))) {
            Some((before, Ok(version))) if before.len() <= VERSION_MAX => wrong.advised(&format!(
                "of this tag it may be `{version}`: on the command line, `--version-prefix {before}/` takes off what comes \
                 before"
            )),
            _ => wrong,
        })
    }

    /// What differs from it only by a leading `v`.
    pub fn other_spellings(&self) -> Vec<String> {
        let text = self.as_str();
        let bare = text.strip_prefix(['v', 'V']).unwrap_or(text);
        if !bare.starts_with(|c: char| c.is_ascii_digit()) {
            return Vec::new();
        }
        let spellings = [bare.to_owned(), format!("v{bare}"), format!("V{bare}")];
        spellings.into_iter().filter(|spelling| spelling != text).collect()
    }
}

impl CommitSha {
    /// Parses 7 to 64 hexadecimal digits; capitals become small. Zeros alone are what Git writes where there is no commit.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() >= COMMIT_MIN && text.chars().all(|c| c == '0') {
            return Err(Malformed::new(
                "no-commit",
                "is all zeros, which Git writes where there is no commit (as in GitLab's CI_COMMIT_BEFORE_SHA); \
                 `git rev-parse HEAD` and CI_COMMIT_SHA name the one that was built",
            ));
        }
        if (COMMIT_MIN..=COMMIT_MAX).contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit()) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        Err(Malformed::new(
            "invalid-commit",
            "must be 7 to 64 hexadecimal digits; `git rev-parse HEAD` prints them",
        ))
    }
}

/// The fewest digits by which a commit is named.
pub const COMMIT_MIN: usize = 7;

/// Whether two names of commits, of seven digits or more, mean the same one: either may be cut short.
pub fn is_same_commit(one: &str, other: &str) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

impl Image {
    /// Parses `repository@sha256:<64 hex>`, with a repository of the grammar in [`repository`]. A tag beside the digest
    /// (`repository:tag@sha256:…`) is dropped: the digest says which image it is, and a tag may move.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let bad = || {
            Malformed::new(
                "invalid-image",
                "must name one image by its digest: repository@sha256:<64 hex digits>; \
                 `docker buildx imagetools inspect IMAGE` shows it",
            )
        };
        let (name, digest) = text.split_once('@').ok_or_else(bad)?;
        let name = match name.rsplit_once(':') {
            Some((name, tag)) if repository::is_tag(tag) => name,
            _ => name,
        };
        let digest = self::digest(digest).ok_or_else(bad)?;
        let repository = repository::parse(name)?;
        Ok(Self(format!("{repository}@{digest}")))
    }

    /// Where it is, in full.
    pub fn repository(&self) -> &str {
        self.0.split_once('@').map_or("", |(repository, _)| repository)
    }

    /// The digest, `sha256:…`.
    pub fn digest(&self) -> &str {
        self.0.split_once('@').map_or("", |(_, digest)| digest)
    }
}

/// A digest, `sha256:` and 64 hexadecimal digits, in its one spelling.
pub fn digest(text: &str) -> Option<String> {
    let hex = text.strip_prefix("sha256:")?;
    let whole = hex.len() == 64 && hex.chars().all(|c| c.is_ascii_hexdigit());
    whole.then(|| text.to_ascii_lowercase())
}

/// Takes a free text of at most `max` characters, without control characters but line breaks and tabs.
pub fn free(text: &str, max: usize) -> Result<String, Malformed> {
    if text.chars().count() > max {
        return Err(Malformed::new("too-long", format!("must be at most {max} characters")));
    }
    if !text.chars().all(is_free) {
        return Err(Malformed::new("control-character", "must not contain control characters"));
    }
    Ok(text.to_owned())
}

/// Whether a free text may have a character.
pub fn is_free(c: char) -> bool {
    !c.is_control() || matches!(c, '\n' | '\r' | '\t')
}

/// Takes a text that must say something: as [`free`], with at least one letter or digit.
pub fn telling(text: &str, max: usize) -> Result<String, Malformed> {
    if text.chars().any(is_letter_or_digit) {
        return free(text, max);
    }
    Err(Malformed::new("empty", "must say something: it has not one letter or digit"))
}

/// Takes the name of a group, as an issuer has it: on one line, and without blanks around it, so that no two look the same.
pub fn group(text: &str) -> Result<(), Malformed> {
    let is_line = text.trim() == text && !text.chars().any(char::is_control);
    if is_line && text.chars().count() <= SHORT_TEXT_MAX && text.chars().any(is_letter_or_digit) {
        return Ok(());
    }
    let rule = format!(
        "must name a group as the issuer does, in 1 to {SHORT_TEXT_MAX} characters, without blanks around it"
    );
    Err(Malformed::new("invalid-group", rule))
}

/// How many characters of a text can be read: letters, digits, and what is printable of ASCII.
pub fn readable(text: &str) -> usize {
    text.trim().chars().filter(|c| is_letter_or_digit(*c) || c.is_ascii_graphic() || *c == ' ').count()
}

/// Unicode calls the four fillers of Hangul letters, and nobody sees them.
fn is_letter_or_digit(c: char) -> bool {
    c.is_alphanumeric() && !matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}')
}

/// Takes an absolute `http` or `https` URL of at most [`TEXT_MAX`] characters.
pub fn web_url(text: &str) -> Result<String, Malformed> {
    let bad = || Malformed::new("invalid-url", "must be an absolute http or https URL");
    let url = url::Url::parse(text).map_err(|_| bad())?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        return free(text, TEXT_MAX);
    }
    Err(bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "shop", "shop-2", "0", &"a".repeat(63)] {
            assert!(Name::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "Shop", "a_b", "a.b", "ä", "a\0", &"a".repeat(64)] {
            assert!(Name::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wrong_name_is_told_the_nearest_right_one() {
        for (wrong, right) in [
            ("Shop", "shop"),
            ("review/Feature_X", "review-feature-x"),
            ("group/sub.group/Shop!", "group-sub-group-shop"),
            (&format!("{}-b", "a".repeat(62)), &"a".repeat(62)),
            (&"é".repeat(3), ""),
        ] {
            let advised = slug(wrong);
            assert_eq!(advised.as_deref().unwrap_or_default(), right, "{wrong}");
            assert!(advised.is_none_or(|slug| Name::parse(&slug).is_ok()));
        }
        let detail = |wrong: Result<Name, Malformed>| wrong.unwrap_err().detail;
        assert!(
            detail(Name::of_environment("review/x"))
                .ends_with("`review-x` would be one; in GitLab, CI_ENVIRONMENT_SLUG is one")
        );
        assert!(detail(Name::of_service("a/b")).contains("CI_PROJECT_PATH_SLUG"));
    }

    #[test]
    fn a_tag_is_told_its_version() {
        let detail = |wrong: &str| Version::parse(wrong).unwrap_err().detail;
        let advised = detail("refs/tags/shop/v1.2.3");
        assert!(
            advised.contains("`v1.2.3`") && advised.contains("--version-prefix refs/tags/shop/"),
            "{advised}"
        );
        for wrong in ["", "shop/", "1.2 3", &format!("{}/1", "a".repeat(200))] {
            assert!(!detail(wrong).contains("prefix"), "{wrong}");
        }
        let spellings = |text: &str| Version::parse(text).unwrap().other_spellings();
        assert_eq!(spellings("v1.2"), ["1.2", "V1.2"]);
        assert_eq!(spellings("1.2"), ["v1.2", "V1.2"]);
        assert_eq!(spellings("vanilla"), [""; 0]);
    }

    #[test]
    fn images_are_pinned_and_lose_their_tag() {
        let digest = "AB".repeat(32);
        let image = Image::parse(&format!("registry.example.com:5000/shop:1.4@sha256:{digest}")).unwrap();
        assert_eq!(
            image.as_str(),
            format!("registry.example.com:5000/shop@sha256:{}", digest.to_lowercase())
        );
        assert_eq!(image.digest(), format!("sha256:{}", digest.to_lowercase()));
        for bad in [
            "shop:1.4",
            "shop@sha256:abc",
            "@sha256:",
            "a//b@sha256:",
            &format!("@sha256:{digest}"),
            &format!("shop:-x@sha256:{digest}"),
        ] {
            assert!(Image::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_must_say_something_has_a_letter_or_a_digit() {
        for right in ["a", "7", " ä ", "修正", "عاجل", "👍 ok"] {
            assert_eq!(telling(right, 9).as_deref(), Ok(right));
        }
        for wrong in [
            "",
            " \n",
            "\u{200b}\u{200b}",
            "\u{feff}",
            "\u{3164}",
            "\u{2800}",
            "...",
            "\u{202e}",
            "\u{ad}",
            "👍",
        ] {
            assert_eq!(telling(wrong, 9).unwrap_err().code, "empty", "{wrong:?}");
        }
        assert_eq!(telling("too long", 3).unwrap_err().code, "too-long");
        assert_eq!((readable(" it is ä. "), readable("a\u{200b}\u{200b}")), (8, 1));
    }

    #[test]
    fn versions_and_commits() {
        assert!(Version::parse("1.4.2-rc.1+build~5").is_ok());
        for bad in ["", "-1", "1/2", "a b", &"1".repeat(129)] {
            assert!(Version::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(CommitSha::parse("8F3C0aB").unwrap().as_str(), "8f3c0ab");
        assert!(CommitSha::parse("0000001").is_ok());
        for none in ["0".repeat(7), "0".repeat(40), "0".repeat(64)] {
            assert_eq!(CommitSha::parse(&none).unwrap_err().code, "no-commit");
        }
        for bad in ["8f3c", "g123456", &"0".repeat(65)] {
            assert!(CommitSha::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn urls_are_absolute_and_for_the_web() {
        assert!(web_url("https://example.com/a?b").is_ok());
        for bad in ["example.com", "javascript:alert(1)", "file:///etc/passwd", "https://"] {
            assert!(web_url(bad).is_err(), "{bad}");
        }
    }
}
