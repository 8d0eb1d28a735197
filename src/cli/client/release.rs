//! `waybill release record`, and the release a deployment may bring along.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use super::{
    Session,
    error::Error,
    exit::Exit,
    http::Call,
    output::{self, Format, plain},
    view::Release,
};

/// What can be done with releases.
#[derive(Debug, clap::Subcommand)]
pub enum ReleaseCommand {
    /// Put a release on record, as a build does once its image is pushed.
    ///
    /// The same release again is fine; another commit or image under a version that is taken is refused.
    #[command(after_help = EXAMPLES)]
    Record(Box<RecordArgs>),
}

/// The examples of `waybill release record --help`.
pub const EXAMPLES: &str = "\
Example:
  waybill release record --service shop --version 1.4.2 \\
    --commit 3f1c9e0 --image registry.example.com/shop@sha256:…

In a GitLab job the commit, ref, commit time, pipeline and user are known without being named.";

/// The options of `release record`.
#[derive(Debug, clap::Args)]
pub struct RecordArgs {
    /// The service the release belongs to.
    #[arg(long)]
    service: String,
    /// The release's version.
    #[arg(long)]
    version: String,
    #[command(flatten)]
    origin: OriginArgs,
    /// A JSON file with the release's commits: `[{"sha": …, "committed_at": …, "title": …}, …]`.
    #[arg(long, value_name = "FILE")]
    changes_file: Option<PathBuf>,
    #[command(flatten)]
    source: SourceArgs,
}

/// What a release was built from.
#[derive(Debug, Clone, clap::Args)]
pub struct OriginArgs {
    /// The commit the release was built from.
    #[arg(long, env = "CI_COMMIT_SHA", value_name = "SHA")]
    commit: Option<String>,
    /// The image, as repository@sha256:…; it belongs to the release, and so needs the commit as well.
    #[arg(long)]
    image: Option<String>,
    /// The branch or tag it was built from.
    #[arg(long = "ref", env = "CI_COMMIT_REF_NAME", value_name = "REF")]
    git_ref: Option<String>,
    /// When the commit was made.
    #[arg(long, env = "CI_COMMIT_TIMESTAMP", value_name = "TIME")]
    committed_at: Option<String>,
}

/// Who does it, and in which pipeline.
#[derive(Debug, Clone, clap::Args)]
pub struct SourceArgs {
    /// The pipeline that does this.
    #[arg(long, env = "CI_PIPELINE_URL", value_name = "URL")]
    pipeline_url: Option<String>,
    /// The person on whose behalf this is done.
    #[arg(long, env = "GITLAB_USER_LOGIN", value_name = "WHO")]
    initiated_by: Option<String>,
}

/// A release as the API takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReleaseBody {
    commit_sha: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    git_ref: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    committed_at: Option<String>,
    #[serde(flatten)]
    source: Source,
}

/// Where something comes from, as the API takes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Source {
    #[serde(skip_serializing_if = "Option::is_none")]
    pipeline_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    initiated_by: Option<String>,
}

#[derive(Debug, Serialize)]
struct RecordBody {
    version: String,
    #[serde(flatten)]
    release: ReleaseBody,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Value>,
}

impl OriginArgs {
    /// The release these options describe; `None` without a commit, when it has to be on record already.
    pub fn release(self, source: &Source) -> Result<Option<ReleaseBody>, Error> {
        let image = given(self.image);
        let Some(commit_sha) = given(self.commit) else {
            if image.is_some() {
                let message = "--image is recorded as part of the release and needs --commit as well; \
                    leave it out when the release is on record already";
                return Err(Error::Usage(message.into()));
            }
            return Ok(None);
        };
        let (git_ref, committed_at) = (given(self.git_ref), given(self.committed_at));
        Ok(Some(ReleaseBody { commit_sha, image, git_ref, committed_at, source: source.clone() }))
    }
}

impl Source {
    /// The person on whose behalf this is done.
    pub fn initiated_by(&self) -> Option<&str> {
        self.initiated_by.as_deref()
    }
}

impl From<SourceArgs> for Source {
    fn from(args: SourceArgs) -> Self {
        Self { pipeline_url: given(args.pipeline_url), initiated_by: given(args.initiated_by) }
    }
}

/// A pipeline sets variables to nothing rather than leaving them out.
fn given(value: Option<String>) -> Option<String> {
    value.filter(|text| !text.is_empty())
}

pub(super) async fn run(session: &Session, command: ReleaseCommand) -> Result<Exit, Error> {
    let ReleaseCommand::Record(args) = command;
    let missing = || Error::Usage("which commit was it built from? Give --commit".into());
    let release = args.origin.release(&args.source.into())?.ok_or_else(missing)?;
    let changes = args.changes_file.as_deref().map(read_changes).transpose()?;
    let body = RecordBody { version: args.version, release, changes };
    let answer = session.client.send(&Call::post(&["services", &args.service, "releases"], &body)?).await?;
    if session.format == Format::Json {
        output::print_json(&answer)?;
        return Ok(Exit::DONE);
    }
    let release = Release::deserialize(&answer)?;
    let number = release.number.map(|number| format!(" as release {number}")).unwrap_or_default();
    output::print(format_args!(
        "{} {} is on record{number}",
        plain(&release.service),
        plain(&release.version)
    ))?;
    if !release.ignored.is_empty() {
        output::warn(format_args!("kept as first recorded: {}", plain(&release.ignored.join(", "))));
    }
    Ok(Exit::DONE)
}

fn read_changes(path: &Path) -> Result<Value, Error> {
    let wrong = |why: String| Error::Usage(format!("--changes-file {}: {why}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let changes: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if changes.is_array() { Ok(changes) } else { Err(wrong("it must hold a JSON array".into())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(commit: Option<&str>, image: Option<&str>) -> OriginArgs {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        OriginArgs {
            commit: owned(commit),
            image: owned(image),
            git_ref: Some(String::new()),
            committed_at: None,
        }
    }

    #[test]
    fn a_release_is_sent_only_with_a_commit() {
        let source = Source { pipeline_url: None, initiated_by: Some("mira".into()) };
        assert!(matches!(origin(None, None).release(&source), Ok(None)));
        assert!(matches!(origin(Some(""), None).release(&source), Ok(None)));
        let sent = origin(Some("3f1c9e0"), Some("r/shop@sha256:0")).release(&source);
        let sent = sent.ok().flatten().and_then(|release| serde_json::to_value(release).ok());
        let expected =
            serde_json::json!({"commit_sha": "3f1c9e0", "image": "r/shop@sha256:0", "initiated_by": "mira"});
        assert_eq!(sent, Some(expected));
    }

    #[test]
    fn an_image_without_a_commit_is_wrong_use() {
        let error = origin(None, Some("r/shop@sha256:0")).release(&Source::default());
        assert!(matches!(error, Err(Error::Usage(message)) if message.contains("--commit")));
    }
}
