//! Of which image a report is.

use crate::domain::{
    fault::Fault,
    platform::Platform,
    text::{self, Image},
};

/// What a report says it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The digests it names, and where. They are names of one image: of its index, of its manifest, in each repository.
    pub(super) digests: Vec<(String, String)>,
    /// Where it lacks a digest when it names none, and what to do; none where the sender's word is enough.
    pub(super) nameless: Option<(&'static str, &'static str)>,
}

impl Subject {
    /// Fails unless the report is of the release's image, or of one of its platforms. A release without an image takes reports that name none.
    pub fn check(&self, image: Option<&Image>, platforms: &[Platform]) -> Result<(), Fault> {
        let fault = |pointer: &str, code, detail| Err(Fault { pointer: pointer.to_owned(), code, detail });
        match (image, self.digests.first(), self.nameless) {
            (None, None, _) | (Some(_), None, None) => Ok(()),
            (None, Some((pointer, digest)), _) => {
                let detail = format!(
                    "names {digest}, and the release has no image; a release gets its image when it is registered, and at \
                     the latest before its first deployment or scan"
                );
                fault(pointer, "image-missing", detail)
            }
            (Some(_), None, Some((pointer, remedy))) => fault(pointer, "image-unnamed", remedy.to_owned()),
            (Some(image), Some((pointer, digest)), _) => {
                let is_its = |digest: &String| {
                    digest == image.digest() || platforms.iter().any(|platform| platform.digest == *digest)
                };
                if self.digests.iter().any(|(_, digest)| is_its(digest)) {
                    return Ok(());
                }
                let detail = format!("names {digest}, and the release's image is {}", image.digest());
                fault(pointer, "other-image", detail)
            }
        }
    }
}

impl Subject {
    /// The platform of which the report is, by the digest that it names.
    pub fn platform<'a>(&self, platforms: &'a [Platform]) -> Option<&'a str> {
        let named = |platform: &&Platform| self.digests.iter().any(|(_, digest)| *digest == platform.digest);
        platforms.iter().find(named).map(|platform| platform.name.as_str())
    }
}

/// The digest in `repository@sha256:…`, or in `sha256:…` alone.
pub(super) fn digest_of(text: &str) -> Option<String> {
    let digest = text.rsplit_once('@').map_or(text, |(_, digest)| digest);
    text::digest(&digest.to_ascii_lowercase())
}
