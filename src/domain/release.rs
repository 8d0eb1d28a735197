//! A release: one immutable version of one service.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{
    actor::Actor,
    fault::{Faults, Malformed},
    person::Person,
    platform::{Platform, completed},
    service::Labels,
    text::{self, CommitSha, Image, SHORT_TEXT_MAX, Version, is_same_commit},
};

/// The most commits that are kept of those that a release lists.
pub const CHANGES_MAX: usize = 1000;
/// The most commits that a release may list: more than any brings.
pub const CHANGES_LISTED_MAX: usize = 100_000;
/// So many of those that are wrong are named.
const CHANGES_NAMED_MAX: usize = 50;

/// A registered release.
#[derive(Clone, Debug)]
pub struct Release {
    pub id: Uuid,
    /// The service it is a version of.
    pub service_id: Uuid,
    /// Its place in the order of registration within the service, from 1.
    pub number: i64,
    /// Its moment in the order of the service's releases, which never changes; of the same moment, the higher number is
    /// newer.
    pub ordered_at: DateTime<Utc>,
    /// Its place in that order as it is now, from 1.
    pub place: i64,
    /// What makes it this release and no other.
    pub identity: Identity,
    /// What is told about it.
    pub description: ReleaseDescription,
    /// Who registered it.
    pub actor: Actor,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
    /// The subject that added the image, where it was missing at first.
    pub image_added_by: Option<String>,
    /// Other repositories that hold the same image, as later requests have named it.
    pub locations: Vec<String>,
    /// The platforms of its image, as far as they are declared.
    pub platforms: Vec<Platform>,
}

/// The identity of a release; it never changes, but for an image or a commit that was missing. It has one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identity {
    pub version: Version,
    /// The commit it was built from; none where that is not known, as of the software of others.
    pub commit_sha: Option<CommitSha>,
    /// The image it was built into.
    pub image: Option<Image>,
}

/// The artefact of what is there where nothing is: no release has it.
pub const NOTHING: &str = "";

impl Identity {
    /// What promotion, soak and stays follow: the image's digest, else the version. Within one service that is the
    /// same as comparing digests where both releases have one and versions otherwise, because a version names one
    /// release only and holds no colon.
    pub fn artefact(&self) -> String {
        self.image.as_ref().map_or_else(|| self.version.to_string(), |image| image.digest().to_owned())
    }
}

impl Release {
    /// Whether an image is its own, in whichever place, or that of one of its platforms.
    fn is_of(&self, own: &Image, image: &Image) -> bool {
        let digest = image.digest();
        own.digest() == digest || self.platforms.iter().any(|platform| platform.digest == digest)
    }
}

/// What is told about a release; the first value of each field wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleaseDescription {
    /// The branch or tag it was built from.
    pub git_ref: Option<String>,
    /// When its commit was made.
    pub committed_at: Option<DateTime<Utc>>,
    /// The commits it brings.
    pub changes: Vec<Change>,
    /// The pipeline that built it.
    pub pipeline_url: Option<String>,
    /// The person who set that off.
    pub initiated_by: Option<String>,
    /// Anything else, by name.
    pub labels: Labels,
}

/// One commit that a release brings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The commit.
    pub sha: String,
    /// When it was made.
    pub committed_at: DateTime<Utc>,
    /// Its first line.
    pub title: Option<String>,
}

impl ReleaseDescription {
    /// Checks what decides something; the rest is descriptive ([`crate::domain::descriptive`]).
    pub fn validate(&self, faults: &mut Faults) {
        let whose = self.initiated_by.as_deref().map(|who| text::free(who, SHORT_TEXT_MAX));
        faults.take_optional("/initiated_by", whose);
        if self.changes.len() > CHANGES_LISTED_MAX {
            faults.add("/changes", "too-many", format!("must have at most {CHANGES_LISTED_MAX} changes"));
            return;
        }
        let parsed = self.changes.iter().map(|change| CommitSha::parse(&change.sha)).enumerate();
        for (index, wrong) in parsed.filter(|(_, sha)| sha.is_err()).take(CHANGES_NAMED_MAX) {
            faults.take(&format!("/changes/{index}/sha"), wrong);
        }
    }

    /// The fields in which `again` says something else than what is on record; they are ignored.
    pub fn otherwise(&self, again: &Self) -> Vec<&'static str> {
        let whose = |description: &Self| description.initiated_by.as_deref().map(Person::of);
        let fields = [
            ("ref", again.git_ref.is_some() && again.git_ref != self.git_ref),
            ("committed_at", again.committed_at.is_some() && again.committed_at != self.committed_at),
            ("changes", !again.changes.is_empty() && again.changes != self.changes),
            ("pipeline_url", again.pipeline_url.is_some() && again.pipeline_url != self.pipeline_url),
            ("initiated_by", again.initiated_by.is_some() && whose(again) != whose(self)),
            ("labels", !again.labels.is_empty() && again.labels != self.labels),
        ];
        fields.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }
}

/// The most other repositories that are kept of a release.
const LOCATIONS_MAX: usize = 20;

/// What a release gains when it is registered again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gains {
    /// The image that it lacked.
    pub image: Option<Image>,
    /// The commit that it lacked, or more digits of it.
    pub commit_sha: Option<CommitSha>,
    /// Another repository that holds its image.
    pub location: Option<String>,
    /// All its platforms, where there are more of them now.
    pub platforms: Option<Vec<Platform>>,
}

/// Compares what is registered with what comes again. A commit may be cut short, and one image be in several places. `used`
/// tells whether the release was deployed or scanned: from then on its image is fixed. What people said before it had one
/// does not count for it.
pub fn again(
    known: &Release,
    given: &Identity,
    platforms: &[Platform],
    used: bool,
) -> Result<Gains, Malformed> {
    let Release { identity: Identity { version, commit_sha, image }, locations, .. } = known;
    if let (Some(commit_sha), Some(given)) = (commit_sha, &given.commit_sha)
        && !is_same_commit(commit_sha.as_str(), given.as_str())
    {
        return Err(Malformed::new(
            "version-taken",
            format!(
                "version {version} is registered with commit {commit_sha}; a new commit needs a new version"
            ),
        ));
    }
    let digits = commit_sha.as_ref().map_or(0, |commit| commit.as_str().len());
    let longer = given.commit_sha.clone().filter(|commit| commit.as_str().len() > digits);
    let mut gains = Gains { commit_sha: longer, ..Gains::default() };
    match (image, &given.image) {
        (_, None) => {}
        (Some(image), Some(given)) if known.is_of(image, given) => {
            let place = given.repository();
            let is_new = place != image.repository() && !locations.iter().any(|other| other == place);
            gains.location = (is_new && locations.len() < LOCATIONS_MAX).then(|| place.to_owned());
        }
        (Some(image), Some(_)) => {
            return Err(Malformed::new(
                "version-taken",
                format!(
                    "version {version} is registered with image {image}; a new image needs a new version"
                ),
            ));
        }
        (None, Some(_)) if used => {
            return Err(Malformed::new(
                "image-fixed",
                format!(
                    "version {version} was deployed or scanned without an image; it can no longer be added"
                ),
            ));
        }
        (None, Some(image)) => gains.image = Some(image.clone()),
    }
    gains.platforms = completed(&known.platforms, platforms)?;
    Ok(gains)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(version: &str, image: Option<char>) -> Identity {
        Identity {
            version: Version::parse(version).unwrap(),
            commit_sha: CommitSha::parse("8f3c0ab").ok(),
            image: image.map(|c| Image::parse(&format!("shop@sha256:{}", c.to_string().repeat(64))).unwrap()),
        }
    }

    #[test]
    fn the_artefact_is_the_digest_or_else_the_version() {
        assert_eq!(identity("1.0", None).artefact(), "1.0");
        assert_eq!(identity("1.0", Some('a')).artefact(), identity("2.0", Some('a')).artefact());
        assert_ne!(identity("1.0", Some('a')).artefact(), identity("1.0", Some('b')).artefact());
    }

    fn release(identity: Identity) -> Release {
        Release {
            id: Uuid::nil(),
            service_id: Uuid::nil(),
            number: 1,
            ordered_at: DateTime::UNIX_EPOCH,
            place: 1,
            identity,
            description: ReleaseDescription::default(),
            actor: Actor { token: "ci".into(), subject: "ci".into() },
            created_at: DateTime::UNIX_EPOCH,
            image_added_by: None,
            locations: Vec::new(),
            platforms: Vec::new(),
        }
    }

    #[test]
    fn an_identity_never_changes_but_may_gain_its_image_once() {
        let (bare, built) = (identity("1.0", None), identity("1.0", Some('a')));
        let (known_bare, known_built) = (release(bare.clone()), release(built.clone()));
        assert_eq!(again(&known_bare, &bare, &[], true), Ok(Gains::default()));
        assert_eq!(again(&known_built, &bare, &[], true), Ok(Gains::default()));
        assert_eq!(again(&known_bare, &built, &[], false).unwrap().image, built.image);
        assert_eq!(again(&known_bare, &built, &[], true).unwrap_err().code, "image-fixed");
        let other = identity("1.0", Some('b'));
        assert_eq!(again(&known_built, &other, &[], false).unwrap_err().code, "version-taken");
        let other = Identity { commit_sha: CommitSha::parse("1234567").ok(), ..bare };
        assert_eq!(again(&known_bare, &other, &[], false).unwrap_err().code, "version-taken");
    }

    #[test]
    fn a_commit_may_be_cut_short_and_the_longer_one_is_kept() {
        let (short, long) = (identity("1.0", None), CommitSha::parse(&"8f3c0ab".repeat(5)).unwrap());
        let full = Identity { commit_sha: Some(long.clone()), ..short.clone() };
        assert_eq!(again(&release(short.clone()), &full, &[], true).unwrap().commit_sha, Some(long));
        assert_eq!(again(&release(full), &short, &[], true), Ok(Gains::default()));
    }

    #[test]
    fn a_commit_that_is_missing_contradicts_none_and_may_come_later() {
        let built = identity("1.0", Some('a'));
        let bought = Identity { commit_sha: None, ..built.clone() };
        assert_eq!(again(&release(built.clone()), &bought, &[], true), Ok(Gains::default()));
        assert_eq!(again(&release(bought.clone()), &bought, &[], true), Ok(Gains::default()));
        assert_eq!(again(&release(bought), &built, &[], true).unwrap().commit_sha, built.commit_sha);
    }

    #[test]
    fn one_image_may_be_in_several_places() {
        let here = identity("1.0", Some('a'));
        let image = here.image.as_ref().unwrap();
        let in_place = |place: &str| Identity {
            image: Some(Image::parse(&format!("{place}@{}", image.digest())).unwrap()),
            ..here.clone()
        };
        let mut known = release(here.clone());
        let mirror = in_place("mirror.example.com/shop");
        assert_eq!(again(&known, &mirror, &[], true).unwrap().location.unwrap(), "mirror.example.com/shop");
        known.locations.push("mirror.example.com/shop".to_owned());
        for same in
            [&here, &mirror, &in_place("docker.io/library/shop"), &in_place("index.docker.io/library/shop")]
        {
            assert_eq!(again(&known, same, &[], true), Ok(Gains::default()), "{same:?}");
        }
        known.locations = (0..LOCATIONS_MAX).map(|n| n.to_string()).collect();
        assert_eq!(
            again(&known, &mirror, &[], true),
            Ok(Gains::default()),
            "no more are kept, and none is refused"
        );
    }

    #[test]
    fn the_image_of_a_platform_is_the_releases_own() {
        let known = identity("1.0", Some('a'));
        let of_platform = Identity { image: identity("1.0", Some('b')).image, ..known.clone() };
        let digest = of_platform.image.as_ref().map(|image| image.digest().to_owned()).unwrap();
        let platforms = vec![Platform { name: "linux/arm64".into(), digest }];
        let mut release = release(known.clone());
        assert_eq!(again(&release, &of_platform, &[], true).unwrap_err().code, "version-taken");
        assert_eq!(again(&release, &known, &platforms, true).unwrap().platforms.as_ref(), Some(&platforms));
        release.platforms = platforms;
        assert_eq!(again(&release, &of_platform, &[], true), Ok(Gains::default()));
    }

    #[test]
    fn what_is_ignored_is_named() {
        let first = ReleaseDescription { git_ref: Some("main".into()), ..Default::default() };
        let mut second = first.clone();
        assert!(first.otherwise(&second).is_empty());
        second.git_ref = Some("dev".into());
        second.initiated_by = Some("ada".into());
        assert_eq!(first.otherwise(&second), ["ref", "initiated_by"]);
        second.git_ref = None;
        let first = ReleaseDescription { initiated_by: Some("Ada ".into()), ..first };
        assert_eq!(first.otherwise(&second), [""; 0], "it is the same person");
        assert!(first.otherwise(&ReleaseDescription::default()).is_empty(), "silence contradicts nothing");
    }
}
