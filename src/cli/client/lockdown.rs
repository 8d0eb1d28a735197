//! `waybill lockdown`: the emergency stop of an environment.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Session,
    error::Error,
    exit::Exit,
    history,
    http::Call,
    output::{self, Format, age, plain},
    view::Actor,
};
use crate::clock;

/// What can be done about lockdowns.
#[derive(Debug, clap::Subcommand)]
pub enum LockdownCommand {
    /// Let nothing start in an environment any more but an override; what is running goes on, and is listed.
    #[command(after_help = PLACE_EXAMPLES)]
    Place(PlaceArgs),
    /// Let deployments start in an environment again.
    Lift {
        /// The environment.
        environment: String,
    },
    /// Show which environments are locked down, since when, by whom and why.
    Status,
}

const PLACE_EXAMPLES: &str = "\
Example:
  waybill lockdown place prod --reason \"payments fail since 14:05, incident 42\"";

/// The options of `lockdown place`.
#[derive(Debug, clap::Args)]
pub struct PlaceArgs {
    /// The environment.
    environment: String,
    /// Why: everybody whose deployment is refused reads it.
    #[arg(long)]
    reason: String,
}

/// A lockdown just placed.
#[derive(Debug, Deserialize)]
struct Placed {
    environment: String,
    #[serde(default)]
    running: Vec<Running>,
}

/// A deployment that goes on.
#[derive(Debug, Deserialize)]
struct Running {
    deployment_id: String,
    service: String,
    version: String,
    #[serde(default)]
    actor: Actor,
    since: DateTime<Utc>,
}

/// An environment, as far as this looks into it.
#[derive(Debug, Deserialize)]
struct Environment {
    name: String,
    #[serde(default)]
    lockdown: Option<Lockdown>,
}

#[derive(Debug, Deserialize)]
struct Lockdown {
    reason: String,
    #[serde(default)]
    actor: Actor,
    since: DateTime<Utc>,
}

pub(super) async fn run(session: &Session, command: LockdownCommand) -> Result<Exit, Error> {
    match command {
        LockdownCommand::Place(args) => place(session, &args).await,
        LockdownCommand::Lift { environment } => lift(session, &environment).await,
        LockdownCommand::Status => status(session).await,
    }
}

async fn place(session: &Session, args: &PlaceArgs) -> Result<Exit, Error> {
    let path = ["environments", &args.environment, "lockdown"];
    let answer = session.client.send(&Call::put(&path, &json!({ "reason": args.reason }))?).await?;
    if session.format == Format::Json {
        output::print_json(&answer)?;
        return Ok(Exit::DONE);
    }
    let Placed { environment, running } = Placed::deserialize(answer)?;
    output::print(format_args!(
        "{} is locked down: nothing but an override starts there",
        plain(&environment)
    ))?;
    if running.is_empty() {
        output::print("nothing is being deployed there")?;
        return Ok(Exit::DONE);
    }
    output::print(
        "still being deployed there, and going on; `waybill deploy finish ID --status canceled` ends one:",
    )?;
    let now = clock::now();
    let row = |running: &Running| {
        let texts = [&running.service, &running.version, running.actor.name(), &running.deployment_id];
        let mut row: Vec<_> = texts.into_iter().map(|text| plain(text).into_owned()).collect();
        row.insert(3, age(now - running.since));
        row
    };
    let rows: Vec<_> = running.iter().map(row).collect();
    let header = ["SERVICE", "VERSION", "BY", "FOR", "ID"].map(str::to_owned);
    output::print(output::table(&header, &rows, output::width()))?;
    Ok(Exit::DONE)
}

async fn lift(session: &Session, environment: &str) -> Result<Exit, Error> {
    session.client.send(&Call::delete(&["environments", environment, "lockdown"])).await?;
    if session.format == Format::Json {
        output::print_json(&json!({ "environment": environment, "lockdown": null }))?;
    } else {
        output::print(format_args!("{} is not locked down", plain(environment)))?;
    }
    Ok(Exit::DONE)
}

async fn status(session: &Session) -> Result<Exit, Error> {
    let (mut items, _) = history::collect(session, &Call::get(&["environments"]), u32::MAX).await?;
    items.retain(|item| item.get("lockdown").is_some_and(Value::is_object));
    if session.format == Format::Json {
        output::print_json(&json!({ "items": items }))?;
        return Ok(Exit::DONE);
    }
    let environments = items.iter().map(Environment::deserialize).collect::<Result<Vec<_>, _>>()?;
    if environments.is_empty() {
        output::say("No environment is locked down.");
        return Ok(Exit::DONE);
    }
    let row = |environment: Environment| {
        let Lockdown { reason, actor, since } = environment.lockdown?;
        let since = since.format("%Y-%m-%d %H:%M:%S").to_string();
        let texts = [environment.name.as_str(), &since, actor.name(), &reason];
        Some(texts.into_iter().map(|text| plain(text).into_owned()).collect())
    };
    let rows: Vec<Vec<String>> = environments.into_iter().filter_map(row).collect();
    let header = ["ENVIRONMENT", "SINCE (UTC)", "BY", "REASON"].map(str::to_owned);
    output::print(output::table(&header, &rows, output::width()))?;
    Ok(Exit::DONE)
}
