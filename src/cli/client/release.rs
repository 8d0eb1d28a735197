//! `waybill release`, and the release a deployment may bring along.

use std::{
    fs,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    call::Call,
    card::print_card,
    error::Error,
    moment,
    session::{PageArgs, Session},
    view::Release,
};
use crate::{
    cli::{
        exit::Exit,
        output::{self, plain, print, warn},
    },
    domain::descriptive::newest,
};

/// So many digits of a commit tell it from others.
const SHORT: usize = 12;
/// So much of a ref is shown beside others, in characters.
const REF_MAX: usize = 40;

#[derive(Debug, clap::Subcommand)]
pub enum ReleaseCommand {
    /// Put a release on record, as a build does once its image is pushed.
    ///
    /// The same release again is fine; another commit or image under a version that is taken is refused.
    #[command(after_help = EXAMPLES)]
    Record(Box<RecordArgs>),
    /// List a service's releases, newest first.
    List(ListArgs),
    /// Show one release: what it was built from, by whom, and which commits it brings.
    Show(ShowArgs),
}

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// The service.
    #[arg(long)]
    service: String,
    #[command(flatten)]
    page: PageArgs,
}

#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The service.
    #[arg(long)]
    service: String,
    /// The release's version.
    #[arg(long)]
    version: String,
}

const EXAMPLES: &str = "\
Example:
  waybill release record --service shop --version 1.4.2 \\
    --commit 3f1c9e0 --image registry.example.com/shop@sha256:…

In a GitLab job the commit, ref, commit time, pipeline and user are known without being named.";

#[derive(Debug, clap::Args)]
pub struct RecordArgs {
    /// The service the release belongs to.
    #[arg(long)]
    service: String,
    #[command(flatten)]
    version: VersionArgs,
    #[command(flatten)]
    origin: Origin,
    /// A JSON file with the release's commits: `[{"sha": …, "committed_at": …, "title": …}, …]`; the newest 1000 are kept.
    #[arg(long, value_name = "FILE")]
    changes_file: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
}

/// Which release it is about.
#[derive(Debug, Clone, clap::Args)]
pub struct VersionArgs {
    /// The release's version.
    #[arg(long)]
    version: String,
    #[command(flatten)]
    prefix: Prefix,
}

impl VersionArgs {
    /// The version, without what comes before it.
    pub fn version(self) -> String {
        self.prefix.take_off(self.version)
    }
}

/// What a tag has before the version.
#[derive(Debug, Clone, clap::Args)]
pub struct Prefix {
    /// What `--version` begins with where it is a tag, such as `shop/` of `shop/v1.2.3`; it is taken off.
    #[arg(long, value_name = "PREFIX")]
    version_prefix: Option<String>,
}

impl Prefix {
    /// The version without it; one that does not begin so is whole already.
    pub fn take_off(&self, version: String) -> String {
        let prefix = self.version_prefix.as_deref().unwrap_or_default();
        version.strip_prefix(prefix).map(str::to_owned).unwrap_or(version)
    }
}

/// What a release was built from.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args, Serialize)]
pub struct Origin {
    /// The commit the release was built from. In a pipeline that deploys the software of others, give '': it has none of yours.
    #[arg(long, env = "CI_COMMIT_SHA", value_name = "SHA")]
    #[serde(rename = "commit_sha", skip_serializing_if = "is_missing")]
    commit: Option<String>,
    /// The image, as repository@sha256:….
    #[arg(long)]
    #[serde(skip_serializing_if = "is_missing")]
    image: Option<String>,
    /// A platform of the image with the digest of its own manifest, as linux/arm64@sha256:…; repeat for more.
    #[arg(long = "platform", value_name = "PLATFORM@DIGEST", value_parser = Platform::parse)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    platforms: Vec<Platform>,
    /// The branch or tag it was built from.
    #[arg(long = "ref", env = "CI_COMMIT_REF_NAME", value_name = "REF")]
    #[serde(rename = "ref", skip_serializing_if = "is_missing")]
    git_ref: Option<String>,
    /// When the commit was made.
    #[arg(long, env = "CI_COMMIT_TIMESTAMP", value_name = "TIME")]
    #[serde(skip_serializing_if = "is_missing")]
    committed_at: Option<String>,
}

/// A platform of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Platform {
    os: String,
    architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
    digest: String,
}

impl Platform {
    fn row(self) -> [String; 2] {
        let words = [Some(self.os), Some(self.architecture), self.variant];
        [words.into_iter().flatten().collect::<Vec<_>>().join("/"), self.digest]
    }

    fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || "must be a platform and the digest of its manifest, like linux/arm64@sha256:…".to_owned();
        let (platform, digest) = text.split_once('@').ok_or_else(wrong)?;
        let mut words = platform.splitn(3, '/').map(ToOwned::to_owned);
        let (os, architecture) = words.next().zip(words.next()).ok_or_else(wrong)?;
        Ok(Self { os, architecture, variant: words.next(), digest: digest.to_owned() })
    }
}

/// Who does something, and in which pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize)]
pub struct Source {
    /// The pipeline that does this.
    #[arg(long, env = "CI_PIPELINE_URL", value_name = "URL")]
    #[serde(skip_serializing_if = "is_missing")]
    pipeline_url: Option<String>,
    /// The person on whose behalf this is done.
    #[arg(long, env = "GITLAB_USER_LOGIN", value_name = "WHO")]
    #[serde(skip_serializing_if = "is_missing")]
    initiated_by: Option<String>,
}

/// A release as the API takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReleaseBody {
    #[serde(flatten)]
    origin: Origin,
    #[serde(flatten)]
    source: Source,
}

#[derive(Debug, Serialize)]
struct NewRelease {
    version: String,
    #[serde(flatten)]
    release: ReleaseBody,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Value>,
}

impl Origin {
    /// The release of this origin; `None` without a commit and an image, when it has to be on record already.
    pub fn release(self, source: &Source) -> Option<ReleaseBody> {
        let source = source.clone();
        if !is_missing(&self.commit) {
            return Some(ReleaseBody { origin: self, source });
        }
        // What a pipeline knows of its own commit says nothing of this release.
        let origin = Self { git_ref: None, committed_at: None, ..self };
        (!is_missing(&origin.image) || !origin.platforms.is_empty()).then_some(ReleaseBody { origin, source })
    }
}

impl Source {
    /// The person on whose behalf this is done.
    pub fn initiated_by(&self) -> Option<String> {
        self.initiated_by.clone().filter(|who| !who.is_empty())
    }
}

/// A pipeline sets variables to nothing rather than leaving them out.
#[expect(clippy::ref_option, reason = "the signature that serde's skip_serializing_if asks for")]
fn is_missing(value: &Option<String>) -> bool {
    value.as_ref().is_none_or(String::is_empty)
}

pub(super) async fn run(session: &Session, command: ReleaseCommand) -> Result<Exit, Error> {
    match command {
        ReleaseCommand::Record(args) => record(session, *args).await,
        ReleaseCommand::List(args) => list(session, &args).await,
        ReleaseCommand::Show(args) => show(session, &args).await,
    }
}

async fn list(session: &Session, args: &ListArgs) -> Result<Exit, Error> {
    let call = Call::get(&["services", &args.service, "releases"]);
    let header = ["VERSION", "REGISTERED (UTC)", "COMMIT", "REF", "BY"];
    let rows = |found: Vec<Release>| found.into_iter().map(row).collect();
    session.list(&call, args.page.limit, "No releases.", header, rows).await
}

/// A text that fits beside others in a table.
fn cut(text: &str) -> String {
    if text.chars().count() <= REF_MAX {
        return text.to_owned();
    }
    text.chars().take(REF_MAX - 1).chain(['…']).collect()
}

fn row(release: Release) -> [String; 5] {
    let who = release.who();
    [
        release.version,
        release.created_at.map(moment::second).unwrap_or_default(),
        release.commit_sha.map(|sha| sha.chars().take(SHORT).collect()).unwrap_or_default(),
        cut(&release.git_ref.unwrap_or_default()),
        who,
    ]
}

const MEMBERS: [(&str, &str); 12] = [
    ("commit", "/commit_sha"),
    ("committed", "/committed_at"),
    ("ref", "/ref"),
    ("image", "/image"),
    ("also at", "/locations"),
    ("number", "/number"),
    ("in order at", "/ordered_at"),
    ("set off by", "/initiated_by"),
    ("recorded by", "/actor"),
    ("registered", "/created_at"),
    ("pipeline", "/pipeline_url"),
    ("labels", "/labels"),
];

async fn show(session: &Session, ShowArgs { service, version }: &ShowArgs) -> Result<Exit, Error> {
    let words = |release: Value| {
        print_card(&format!("{service} {version}"), &release, &MEMBERS)?;
        let platforms = release.get("platforms").map(Vec::<Platform>::deserialize).transpose()?;
        let rows: Vec<_> = platforms.unwrap_or_default().into_iter().map(Platform::row).collect();
        if !rows.is_empty() {
            print("")?;
            output::list("", ["PLATFORM", "DIGEST"], &rows)?;
        }
        let changes = release.get("changes").map(Vec::<Change>::deserialize).transpose()?.unwrap_or_default();
        if !changes.is_empty() {
            print("")?;
            let rows: Vec<_> = changes.into_iter().map(Change::row).collect();
            output::list("", ["COMMIT", "COMMITTED (UTC)", "TITLE"], &rows)?;
        }
        Ok::<_, Error>(())
    };
    session.tell(&Call::get(&["services", service, "releases", version]), words).await
}

#[derive(Deserialize)]
struct Change {
    sha: String,
    committed_at: DateTime<Utc>,
    #[serde(default)]
    title: Option<String>,
}

impl Change {
    fn row(self) -> [String; 3] {
        let sha = self.sha.chars().take(SHORT).collect();
        [sha, moment::second(self.committed_at), self.title.unwrap_or_default()]
    }
}

async fn record(session: &Session, args: RecordArgs) -> Result<Exit, Error> {
    let missing = || {
        Error::Usage(
            "which commit was it built from? Give --commit, or --image of the software of others".into(),
        )
    };
    let release = args.origin.release(&args.source).ok_or_else(missing)?;
    let changes = args.changes_file.as_deref().map(read_changes).transpose()?;
    let body = NewRelease { version: args.version.version(), release, changes };
    let words = |release: Release| {
        let number = release.number.map(|number| format!(" as release {number}")).unwrap_or_default();
        print(format_args!("{} {} is on record{number}", plain(&release.service), plain(&release.version)))
    };
    session.tell(&Call::post(&["services", &args.service, "releases"], &body)?, words).await
}

fn read_changes(path: &Path) -> Result<Value, Error> {
    let wrong = |why: String| Error::Usage(format!("--changes-file {}: {why}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let changes: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let Value::Array(changes) = changes else { return Err(wrong("it must hold a JSON array".into())) };
    let all = changes.len();
    // No more are kept, and a request has its limit.
    let kept = newest(changes, |change| {
        change.get("committed_at")?.as_str().and_then(|at| DateTime::parse_from_rfc3339(at).ok())
    });
    if kept.len() < all {
        warn(format_args!("of {all} changes only the newest {} are sent", kept.len()));
    }
    Ok(Value::Array(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(commit: Option<&str>, image: Option<&str>) -> Origin {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Origin {
            commit: owned(commit),
            image: owned(image),
            platforms: Vec::new(),
            git_ref: Some(String::new()),
            committed_at: None,
        }
    }

    #[test]
    fn a_tag_loses_what_comes_before_its_version() {
        let prefix = Prefix { version_prefix: Some("shop/".into()) };
        assert_eq!(prefix.take_off("shop/v1.2".into()), "v1.2");
        assert_eq!(prefix.take_off("v1.2".into()), "v1.2");
        assert_eq!(Prefix { version_prefix: None }.take_off("shop/v1.2".into()), "shop/v1.2");
    }

    #[test]
    fn a_release_is_sent_only_with_a_commit_or_an_image() {
        let source = Source { pipeline_url: None, initiated_by: Some("mira".into()) };
        assert_eq!(origin(None, None).release(&source), None);
        assert_eq!(origin(Some(""), None).release(&source), None);
        let sent = |commit| {
            let of = Origin { git_ref: Some("main".into()), ..origin(commit, Some("r/shop@sha256:0")) };
            of.release(&source).and_then(|release| serde_json::to_value(release).ok())
        };
        let built = serde_json::json!({"commit_sha": "3f1c9e0", "image": "r/shop@sha256:0", "ref": "main", "initiated_by": "mira"});
        assert_eq!(sent(Some("3f1c9e0")), Some(built));
        let bought = serde_json::json!({"image": "r/shop@sha256:0", "initiated_by": "mira"});
        assert_eq!(sent(Some("")), Some(bought), "a branch without its commit says nothing");
    }

    #[test]
    fn a_platform_is_named_with_its_digest() {
        let value =
            |text| Platform::parse(text).ok().and_then(|platform| serde_json::to_value(platform).ok());
        let arm64 = serde_json::json!({"os": "linux", "architecture": "arm64", "digest": "sha256:0"});
        assert_eq!(value("linux/arm64@sha256:0"), Some(arm64));
        let v7 =
            serde_json::json!({"os": "linux", "architecture": "arm", "variant": "v7", "digest": "sha256:0"});
        assert_eq!(value("linux/arm/v7@sha256:0"), Some(v7));
        assert_eq!((value("linux/arm64"), value("linux@sha256:0")), (None, None));
        let row = Platform::parse("linux/arm/v7@sha256:0").map(Platform::row);
        assert_eq!(row, Ok(["linux/arm/v7".to_owned(), "sha256:0".to_owned()]));
    }
}
