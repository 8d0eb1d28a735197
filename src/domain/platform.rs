//! The platforms of a release's image, each with the digest of its own manifest: what is said of one of these digests is
//! said of the release.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::domain::{
    fault::{Faults, Malformed},
    scan::platform_name,
    text,
};

/// The most platforms that one release has.
pub const PLATFORMS_MAX: usize = 50;

/// A platform, as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
    pub digest: String,
}

/// A platform of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `os/architecture`, or with the variant as a third part where it tells two apart.
    pub name: String,
    /// The digest of its manifest, `sha256:…`.
    pub digest: String,
}

impl Platform {
    fn parse(given: &Given, faults: &mut Faults, at: &str) -> Option<Self> {
        let name = platform_name(Some(&given.os), Some(&given.architecture), given.variant.as_deref());
        let name = name.ok_or_else(|| {
            Malformed::new(
                "invalid-platform",
                "must be a platform as images name it, such as os `linux`, architecture `arm64`, variant `v8`",
            )
        });
        let name = faults.take(&format!("{at}/architecture"), name);
        let digest = faults.take(&format!("{at}/digest"), digest(&given.digest));
        Some(Self { name: name?, digest: digest? })
    }

    /// Its parts: operating system, architecture and variant.
    pub fn parts(&self) -> (&str, &str, Option<&str>) {
        let mut parts = self.name.splitn(3, '/');
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next())
    }
}

/// The digest of an image, `sha256:…`, in its one spelling.
pub fn digest(text: &str) -> Result<String, Malformed> {
    let detail = "must be sha256: and 64 hex digits; `docker buildx imagetools inspect IMAGE` shows it";
    text::digest(text).ok_or_else(|| Malformed::new("invalid-digest", detail))
}

/// Platforms, once every field of them is right: they are of an image, and distinct.
pub fn parse(given: &[Given], has_image: bool, faults: &mut Faults) -> Vec<Platform> {
    if given.len() > PLATFORMS_MAX {
        faults.add("/platforms", "too-many", format!("must be at most {PLATFORMS_MAX} platforms"));
        return Vec::new();
    }
    if !given.is_empty() && !has_image {
        faults.add("/platforms", "image-missing", "are those of an image: give it beside them as `image`");
    }
    let (mut names, mut digests) = (BTreeSet::new(), BTreeSet::new());
    let mut platforms = Vec::new();
    for (index, given) in given.iter().enumerate() {
        let at = format!("/platforms/{index}");
        let Some(platform) = Platform::parse(given, faults, &at) else { continue };
        if !names.insert(platform.name.clone()) || !digests.insert(platform.digest.clone()) {
            faults.add(&at, "duplicate", "has the platform or the digest of another one");
        }
        platforms.push(platform);
    }
    platforms
}

/// The platforms of a release when it is registered again with more of them; none when that adds nothing. A platform has
/// one digest, and a digest one platform.
pub fn completed(known: &[Platform], given: &[Platform]) -> Result<Option<Vec<Platform>>, Malformed> {
    let mut all = known.to_vec();
    for platform in given {
        let Platform { name, digest } = platform;
        match all.iter().find(|other| other.name == *name || other.digest == *digest) {
            Some(other) if other == platform => {}
            Some(other) => {
                return Err(Malformed::new(
                    "platform-taken",
                    format!(
                        "{digest} cannot be its {name}: the release has {} for {}; a new image needs a new version",
                        other.digest, other.name
                    ),
                ));
            }
            None => all.push(platform.clone()),
        }
    }
    if all.len() > PLATFORMS_MAX {
        let detail = format!("a release has at most {PLATFORMS_MAX} platforms");
        return Err(Malformed::new("too-many", detail));
    }
    Ok((all.len() > known.len()).then_some(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(architecture: &str, digit: char) -> Given {
        Given {
            os: "linux".into(),
            architecture: architecture.into(),
            variant: None,
            digest: format!("sha256:{}", digit.to_string().repeat(64)),
        }
    }

    fn parsed(given: &[Given], has_image: bool) -> Result<Vec<Platform>, Vec<(String, &'static str)>> {
        let mut faults = Faults::default();
        let platforms = parse(given, has_image, &mut faults);
        let named =
            |faults: Faults| faults.into_vec().into_iter().map(|fault| (fault.pointer, fault.code)).collect();
        faults.finish(Some(platforms)).map_err(named)
    }

    #[test]
    fn platforms_have_one_spelling_and_are_distinct() {
        let two = parsed(&[given("AArch64", 'A'), given("x86_64", 'b')], true).unwrap();
        assert_eq!(two[0].name, "linux/arm64");
        assert_eq!(two[0].digest, format!("sha256:{}", "a".repeat(64)));
        assert_eq!(two[1].parts(), ("linux", "amd64", None));
        let arm = Given { variant: Some("6".into()), ..given("arm", 'c') };
        assert_eq!(parsed(&[arm], true).unwrap()[0].parts(), ("linux", "arm", Some("v6")));
        let wrong = [
            given("amd64", 'a'),
            given("x86_64", 'b'),
            given("arm64", 'a'),
            given("a/b", 'c'),
            given("s390x", 'z'),
        ];
        let expected = [
            ("/platforms", "image-missing"),
            ("/platforms/1", "duplicate"),
            ("/platforms/2", "duplicate"),
            ("/platforms/3/architecture", "invalid-platform"),
            ("/platforms/4/digest", "invalid-digest"),
        ];
        assert_eq!(parsed(&wrong, false), Err(expected.map(|(at, code)| (at.to_owned(), code)).to_vec()));
        assert_eq!(
            parsed(&vec![given("amd64", 'a'); 51], true),
            Err(vec![("/platforms".to_owned(), "too-many")])
        );
    }

    #[test]
    fn a_release_gains_platforms_and_none_of_them_changes() {
        let of = |list: &[(&str, char)]| -> Vec<Platform> {
            let given: Vec<_> = list.iter().map(|(name, digit)| given(name, *digit)).collect();
            parsed(&given, true).unwrap()
        };
        let known = of(&[("amd64", 'a')]);
        assert_eq!(completed(&known, &known), Ok(None));
        assert_eq!(completed(&known, &[]), Ok(None));
        assert_eq!(
            completed(&known, &of(&[("arm64", 'b')])),
            Ok(Some(of(&[("amd64", 'a'), ("arm64", 'b')])))
        );
        for other in [of(&[("amd64", 'b')]), of(&[("arm64", 'a')])] {
            assert_eq!(completed(&known, &other).unwrap_err().code, "platform-taken");
        }
    }
}
