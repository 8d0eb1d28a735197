//! `waybill lockdown`: the emergency stop of an environment.

use std::io;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{call::Call, error::Error, moment, session::Session, view::Actor};
use crate::{
    cli::{
        exit::Exit,
        output::{self, age, plain, print},
    },
    clock,
};

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

#[derive(Debug, clap::Args)]
pub struct PlaceArgs {
    /// The environment.
    environment: String,
    /// Why: everybody whose deployment is refused reads it.
    #[arg(long)]
    reason: String,
}

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

/// The environments that are locked down.
#[derive(Debug, Deserialize)]
struct LockedDown {
    items: Vec<Environment>,
}

#[derive(Debug, Deserialize)]
struct Environment {
    name: String,
    lockdown: Lockdown,
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
    let call = Call::put(&path, &json!({ "reason": args.reason }))?;
    session.tell(&call, told).await
}

fn told(Placed { environment, running }: Placed) -> io::Result<()> {
    let environment = plain(&environment);
    print(format_args!("{environment} is locked down: nothing but an override starts there"))?;
    if running.is_empty() {
        return print("nothing is being deployed there");
    }
    print(
        "still being deployed there, and going on; `waybill deploy finish ID --status canceled` ends one:",
    )?;
    let now = clock::now();
    let row = |it: Running| [it.service, it.version, it.actor.shown(), age(now - it.since), it.deployment_id];
    let rows: Vec<_> = running.into_iter().map(row).collect();
    output::list("", ["SERVICE", "VERSION", "BY", "FOR", "ID"], &rows)
}

async fn lift(session: &Session, environment: &str) -> Result<Exit, Error> {
    session.client.send(&Call::delete(&["environments", environment, "lockdown"])).await?;
    let answer = json!({ "environment": environment, "lockdown": null });
    session.show(&answer, |_: Value| print(format_args!("{} is not locked down", plain(environment))))
}

async fn status(session: &Session) -> Result<Exit, Error> {
    let mut items = session.pages(&Call::get(&["environments"]), u32::MAX).await?.items;
    items.retain(|item| item.get("lockdown").is_some_and(Value::is_object));
    session.show(&json!({ "items": items }), |LockedDown { items }| {
        let row = |Environment { name, lockdown: Lockdown { reason, actor, since } }| {
            [name, moment::second(since), actor.shown(), reason]
        };
        let rows: Vec<_> = items.into_iter().map(row).collect();
        output::list("No environment is locked down.", ["ENVIRONMENT", "SINCE (UTC)", "BY", "REASON"], &rows)
    })
}
