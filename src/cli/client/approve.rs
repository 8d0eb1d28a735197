//! `waybill approve` and `waybill reject`: people say what may go where.

use serde::{Deserialize as _, Serialize};
use serde_json::{Value, json};

use super::{
    approvals::{Approval, Pending},
    call::Call,
    error::Error,
    session::Session,
    view::Release,
};
use crate::{
    cli::{
        exit::Exit,
        output::{Format, plain, print, say, warn},
    },
    domain::vocabulary::Voice,
};

#[derive(Debug, clap::Args)]
pub struct ApproveArgs {
    #[command(flatten)]
    say: SayArgs,
    /// The image that you looked at, as repository@sha256:…; when not given, the one that the release has now, which is
    /// shown. When the release gets another meanwhile, nothing is approved.
    #[arg(long)]
    image: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct SayArgs {
    /// The service.
    #[arg(long)]
    service: String,
    /// The environment that the release is to go to.
    #[arg(long)]
    environment: String,
    /// The release's version.
    #[arg(long)]
    version: String,
    /// Why.
    #[arg(long)]
    comment: Option<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    environment: &'a str,
    decision: Voice,
    comment: Option<&'a str>,
    /// Null where the release had none when it was looked at; left out where nobody looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Value>,
}

/// Approves the image that its caller looked at, and no other.
pub(super) async fn approve(
    session: &Session,
    ApproveArgs { say: args, image }: &ApproveArgs,
) -> Result<Exit, Error> {
    let image = match image {
        Some(image) => Some(json!(image)),
        None => look_up(session, args).await?,
    };
    put_on_record(session, args, Voice::Approved, image).await
}

/// Rejects, whichever image it is.
pub(super) async fn reject(session: &Session, args: &SayArgs) -> Result<Exit, Error> {
    put_on_record(session, args, Voice::Rejected, None).await
}

/// The image that the release has now, or null, and shows the release. Nothing with a token that may not read it.
async fn look_up(session: &Session, args: &SayArgs) -> Result<Option<Value>, Error> {
    let call = Call::get(&["services", &args.service, "releases", &args.version]);
    let release = match session.client.send(&call).await {
        Err(error) if error.is_forbidden() => {
            warn(
                "the token cannot read the release: what is approved is the image that it has, unless --image names it",
            );
            return Ok(None);
        }
        answer => Release::deserialize(answer?)?,
    };
    let commit = release.commit_sha.as_ref().map(|commit| format!("commit {commit}"));
    let (version, commit) = (&release.version, commit.as_deref().unwrap_or("no commit"));
    let image = release.image.as_deref().unwrap_or("no image yet");
    say(format_args!("{} {}: {}, {}", plain(&release.service), plain(version), plain(commit), plain(image)));
    Ok(Some(json!(release.image)))
}

async fn put_on_record(
    session: &Session,
    args: &SayArgs,
    decision: Voice,
    image: Option<Value>,
) -> Result<Exit, Error> {
    let body = Body { environment: &args.environment, decision, comment: args.comment.as_deref(), image };
    let call = Call::post(&["services", &args.service, "releases", &args.version, "approvals"], &body)?;
    let words = |said: Approval| {
        print(format_args!(
            "{} {} is {} for {} by {} ({})",
            plain(&said.service),
            plain(&said.version),
            plain(&said.decision),
            plain(&said.environment),
            plain(&said.actor.shown()),
            plain(&said.id)
        ))
    };
    let exit = session.tell(&call, words).await?;
    if session.format == Format::Table
        && let Some(waits) = still_waits(session, args).await
    {
        say(format_args!("the gate still waits: {}", waits.standing()));
    }
    Ok(exit)
}

/// What the release still waits for, as far as the token may see it.
async fn still_waits(session: &Session, args: &SayArgs) -> Option<Pending> {
    let call = Call::get(&["approvals", "pending"])
        .query("service", Some(&args.service))
        .query("environment", Some(&args.environment))
        .quiet();
    let waiting: Vec<Pending> = session.pages(&call, u32::MAX).await.ok()?.read().ok()?;
    waiting.into_iter().find(|pending| pending.version == args.version)
}
