//! `/services/{service}/releases`: the versions of a service.

use poem::{Request, http::StatusCode};
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
    payload::Json,
    types::Example,
};
use serde::Serialize;

use crate::{
    api::{
        Tags,
        auth::Auth,
        page::{List, Listed, Page, Words, page_request},
        reply::{MadeOrThere, Reply, answer},
        types::{Many, Nullable, Text, Time, owned},
        view::{ActorView, LabelsView, bad_query, refuse},
        who::{See, Who, named},
    },
    domain::{
        address::{self, Pages},
        descriptive::Ignored,
        fault::{Faults, Malformed},
        form::{Digest, GitRef, Long, PlatformWord, Short, WebUrl},
        idempotency::Answer,
        platform::{self, PLATFORMS_MAX, Platform},
        release::{CHANGES_LISTED_MAX, Change, Release, ReleaseDescription},
        text::{CommitSha, Image, Name, Version},
    },
    http::problem::Problem,
    usecase::{
        register::{GivenRelease, Registered},
        releases,
    },
};

/// The operations.
#[derive(Debug)]
pub struct ReleasesApi;

/// One commit that a release brings.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Change", deny_unknown_fields)]
pub struct ChangeBody {
    /// The commit: 7 to 64 hexadecimal digits.
    pub sha: Text<CommitSha>,
    /// When it was made.
    pub committed_at: Time,
    /// Its first line; what is longer than 2000 characters is cut.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<Text<Long>>,
}

impl From<Change> for ChangeBody {
    fn from(change: Change) -> Self {
        Self {
            sha: change.sha.into(),
            committed_at: Time(change.committed_at),
            title: change.title.map(Into::into),
        }
    }
}

/// A platform of a release's image.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Platform", deny_unknown_fields)]
pub struct PlatformBody {
    /// The operating system, such as `linux`.
    pub os: Text<PlatformWord>,
    /// The architecture, such as `arm64`.
    pub architecture: Text<PlatformWord>,
    /// The variant, where it tells two apart, such as `v7`.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<Text<PlatformWord>>,
    /// The digest of its manifest, `sha256:…`.
    pub digest: Text<Digest>,
}

impl From<Platform> for PlatformBody {
    fn from(platform: Platform) -> Self {
        let (os, architecture, variant) = platform.parts();
        Self {
            os: os.into(),
            architecture: architecture.into(),
            variant: variant.map(Into::into),
            digest: platform.digest.clone().into(),
        }
    }
}

impl From<&PlatformBody> for platform::Given {
    fn from(given: &PlatformBody) -> Self {
        Self {
            os: given.os.0.clone(),
            architecture: given.architecture.0.clone(),
            variant: owned(given.variant.as_ref()),
            digest: given.digest.0.clone(),
        }
    }
}

/// A release.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Release")]
pub struct ReleaseView {
    /// The service it is a version of.
    pub service: String,
    /// Its version.
    pub version: String,
    /// Its place in the order of registration within the service, from 1.
    pub number: i64,
    /// Its moment in the order of the service's releases: when its commit was made or when it was registered, whichever is
    /// earlier, but after those whose commits are among its changes. The newest is what counts as newest everywhere.
    pub ordered_at: Time,
    /// The commit it was built from; null where that is not known, as of the software of others.
    pub commit_sha: Nullable<String>,
    /// The image it was built into, pinned by digest.
    pub image: Nullable<String>,
    /// Other repositories that hold the same image; a deployment that names one of them is judged by that one.
    pub locations: Vec<String>,
    /// The platforms of the image, as far as they are declared: what is said of one of these digests is said of the release.
    pub platforms: Vec<PlatformBody>,
    /// The branch or tag it was built from.
    pub r#ref: Nullable<String>,
    /// When its commit was made.
    pub committed_at: Nullable<Time>,
    /// The commits it brings.
    pub changes: Vec<ChangeBody>,
    /// The pipeline that built it.
    pub pipeline_url: Nullable<String>,
    /// The person who set that off.
    pub initiated_by: Nullable<String>,
    /// What people call them, as an actor's name.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiator_name: Option<String>,
    /// Anything else, by name.
    pub labels: LabelsView,
    /// Who registered it.
    pub actor: ActorView,
    /// When it was registered.
    pub created_at: Time,
    /// The fields of this request that are not kept as they were sent: because others are on record, or because they are
    /// odd and only descriptive. Absent where it is only read.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored: Option<Vec<String>>,
    /// How many of the request's changes were left out, the oldest. Absent where it is only read.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes_left_out: Option<u64>,
    /// Where people look at it. Absent in lists, and where the server was not told its own address
    /// (`server.public_url`).
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web_url: Option<String>,
}

impl ReleaseView {
    /// The same, with where people look at it.
    fn at(self, pages: &Pages) -> Self {
        let web_url = pages.url(address::Page::Release { service: &self.service, version: &self.version });
        Self { web_url, ..self }
    }
}

impl Who for ReleaseView {
    fn who(&mut self, see: &mut See<'_>) {
        self.actor.who(see);
        if let Some(initiator) = &self.initiated_by.0 {
            see(initiator, &mut self.initiator_name);
        }
    }
}

/// A release as it is seen.
fn view(service: &str, release: Release, ignored: Option<Ignored>) -> ReleaseView {
    let ReleaseDescription { git_ref, committed_at, changes, pipeline_url, initiated_by, labels } =
        release.description;
    ReleaseView {
        service: service.to_owned(),
        version: release.identity.version.to_string(),
        number: release.number,
        ordered_at: Time(release.ordered_at),
        commit_sha: Nullable(release.identity.commit_sha.map(|commit| commit.to_string())),
        image: release.identity.image.map(|image| image.to_string()).into(),
        locations: release.locations,
        platforms: release.platforms.into_iter().map(Into::into).collect(),
        r#ref: git_ref.into(),
        committed_at: committed_at.map(Time).into(),
        changes: changes.into_iter().map(Into::into).collect(),
        pipeline_url: pipeline_url.into(),
        initiated_by: initiated_by.into(),
        initiator_name: None,
        labels,
        actor: release.actor.into(),
        created_at: Time(release.created_at),
        changes_left_out: ignored.as_ref().map(|ignored| ignored.changes_left_out as u64),
        ignored: ignored.map(|ignored| ignored.fields),
        web_url: None,
    }
}

macro_rules! release_body {
    ($(#[$meta:meta])* $name:ident { $($(#[$extra_meta:meta])* $extra:ident: $type:ty = $example:expr,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Object)]
        #[oai(deny_unknown_fields, example)]
        pub struct $name {
            $($(#[$extra_meta])* pub $extra: $type,)?
            /// The commit it was built from: 7 to 64 hexadecimal digits. It may be absent where there is an image, as of the
            /// software of others; a later request may bring it.
            #[oai(skip_serializing_if_is_none)]
            pub commit_sha: Option<Text<CommitSha>>,
            /// The image it was built into, pinned by digest: `repository@sha256:…`.
            #[oai(skip_serializing_if_is_none)]
            pub image: Option<Text<Image>>,
            /// The platforms of that image, each with the digest of its own manifest, at most 50. What is said of one of
            /// these digests is said of the release; with `require_scan`, each of them needs a scan.
            #[oai(default)]
            pub platforms: Many<PlatformBody, 0, PLATFORMS_MAX>,
            /// The branch or tag it was built from; what is longer than 255 characters is cut.
            #[oai(skip_serializing_if_is_none)]
            pub r#ref: Option<Text<GitRef>>,
            /// When its commit was made.
            #[oai(skip_serializing_if_is_none)]
            pub committed_at: Option<Time>,
            /// The commits it brings. Of more than 1000 the newest are kept.
            #[oai(default)]
            pub changes: Many<ChangeBody, 0, CHANGES_LISTED_MAX>,
            /// The pipeline that built it: an http or https URL; anything else is dropped.
            #[oai(skip_serializing_if_is_none)]
            pub pipeline_url: Option<Text<WebUrl>>,
            /// The person who set that off, at most 200 characters.
            #[oai(skip_serializing_if_is_none)]
            pub initiated_by: Option<Text<Short>>,
            /// Anything else, by name. Those that are wrong or too many are dropped.
            #[oai(default)]
            pub labels: LabelsView,
        }

        impl Example for $name {
            fn example() -> Self {
                Self {
                    $($extra: $example,)?
                    commit_sha: Some("8f3c0ab1d2e4f5a6b7c8d9e0f1a2b3c4d5e6f7a8".into()),
                    image: Some(format!("registry.example.com/shop@sha256:{}", "5e".repeat(32)).into()),
                    platforms: Many(vec![PlatformBody {
                        os: "linux".into(),
                        architecture: "arm64".into(),
                        variant: None,
                        digest: format!("sha256:{}", "a7".repeat(32)).into(),
                    }]),
                    r#ref: Some("main".into()),
                    committed_at: None,
                    changes: Many::default(),
                    pipeline_url: None,
                    initiated_by: Some("ada".into()),
                    labels: LabelsView::new(),
                }
            }
        }

        impl $name {
            /// The release, once every field of it that decides something is right; and what of the rest is not kept.
            pub fn parse(&self, labels_max: usize) -> Result<(GivenRelease, Ignored), Faults> {
                let mut faults = Faults::default();
                let commit_sha = self.commit_sha.as_deref().map(CommitSha::parse);
                let commit_sha = faults.take_optional("/commit_sha", commit_sha);
                if self.commit_sha.is_none() && self.image.is_none() {
                    let detail = "must name the commit that it was built from (`git rev-parse HEAD` prints it), or `image` the \
                                  image; only the software of others is without a commit";
                    faults.add("/commit_sha", "required", detail);
                }
                let image = faults.take_optional("/image", self.image.as_deref().map(Image::parse));
                let given: Vec<_> = self.platforms.0.iter().map(Into::into).collect();
                let platforms = platform::parse(&given, self.image.is_some(), &mut faults);
                let change = |change: &ChangeBody| Change {
                    sha: change.sha.to_ascii_lowercase(),
                    committed_at: change.committed_at.0,
                    title: owned(change.title.as_ref()),
                };
                let mut description = ReleaseDescription {
                    git_ref: owned(self.r#ref.as_ref()),
                    committed_at: self.committed_at.map(|time| time.0),
                    changes: self.changes.0.iter().map(change).collect(),
                    pipeline_url: owned(self.pipeline_url.as_ref()),
                    initiated_by: owned(self.initiated_by.as_ref()),
                    labels: self.labels.clone(),
                };
                description.validate(&mut faults);
                let mut ignored = Ignored::default();
                ignored.release(&mut description, labels_max);
                faults.finish(Some((GivenRelease { commit_sha, image, platforms, description }, ignored)))
            }
        }
    };
}

release_body! {
    /// A release to register.
    CreateRelease {
        /// Its version: letters, digits and `. _ + ~ -`.
        version: Text<Version> = "1.4.2".into(),
    }
}

release_body! {
    /// The release of a deployment, for when it is not on record yet.
    DeployedRelease {}
}

impl Listed for ReleaseView {
    const PAGE: Words =
        Words { name: "ReleasePage", is: "A page of releases.", items: "The releases, newest first." };
}

fn render(service: &Name, ignored: Ignored, pages: Pages) -> impl Fn(&Registered) -> Answer + use<> {
    let service = service.to_string();
    move |registered| {
        let Registered { release, new, otherwise } = registered;
        let mut ignored = ignored.clone();
        for field in otherwise {
            ignored.note(field);
        }
        let version = release.identity.version.as_str();
        let location = new.then(|| format!("/api/v1/services/{service}/releases/{version}"));
        let status = if *new { StatusCode::CREATED } else { StatusCode::OK };
        let body = view(&service, release.clone(), Some(ignored)).at(&pages);
        Answer { location, ..answer(status, &body) }
    }
}

#[OpenApi(tag = "Tags::Registry")]
impl ReleasesApi {
    /// Register a release
    ///
    /// The same identity (version, commit, image) again answers 200 and names in `ignored` what it says otherwise; what is
    /// odd and only descriptive is cut or dropped, and named there, too. Another identity under the version is a conflict.
    /// Platforms that it lacked are added; a missing image may be, once, before the first deployment.
    /// A service that is not on record yet is registered, too.
    #[oai(path = "/services/:service/releases", method = "post", operation_id = "create_release")]
    async fn create_release(
        &self,
        auth: Auth,
        /// The service's name.
        service: Path<String>,
        body: Json<CreateRelease>,
    ) -> Result<Reply<ReleaseView, MadeOrThere>, Problem> {
        let mut faults = Faults::default();
        let service = faults.take("/path/service", Name::of_service(&service.0));
        let version = faults.take("/version", Version::parse(&body.0.version));
        let given = body.0.parse(auth.labels_max()).map_err(|inner| faults.nest("", inner)).ok();
        let whole = service.zip(version).zip(given);
        let ((service, version), (given, ignored)) = faults.finish(whole).map_err(refuse)?;
        let render = render(&service, ignored, auth.pages());
        auth.once(
            &body.0,
            |ctx| async move { releases::create(&ctx, &service, &version, &given, &render).await },
        )
        .await
    }

    /// List a service's releases, newest first
    #[oai(path = "/services/:service/releases", method = "get", operation_id = "list_releases")]
    async fn list_releases(
        &self,
        auth: Auth,
        request: &Request,
        /// The service's name.
        service: Path<String>,
        /// Those of which this is the digest of the image, or of one of its platforms: `sha256:…`.
        digest: Query<Option<String>>,
        /// At most this many, from 1 to 200.
        limit: Query<Option<u64>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<List<Page<ReleaseView>>, Problem> {
        let digest = digest.0.as_deref().map(platform::digest).transpose();
        let digest = digest.map_err(|Malformed { code, detail }| bad_query("digest", code, &detail))?;
        let asked = page_request(limit.0, cursor.0.as_deref())?;
        let ctx = auth.ctx();
        let page = releases::list(&ctx, &service.0, digest.as_deref(), &asked).await?;
        List::named(&ctx, page, request, |release| view(&service.0, release, None)).await
    }

    /// Read a release
    #[oai(path = "/services/:service/releases/:version", method = "get", operation_id = "get_release")]
    async fn get_release(
        &self,
        auth: Auth,
        /// The service's name.
        service: Path<String>,
        /// The version.
        version: Path<String>,
    ) -> Result<Json<ReleaseView>, Problem> {
        let ctx = auth.ctx();
        let release = releases::get(&ctx, &service.0, &version.0).await?;
        let release = view(&service.0, release, None).at(&ctx.app.people.pages);
        Ok(Json(named(&ctx, release).await?))
    }
}
