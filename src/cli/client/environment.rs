//! `waybill environment`: what environments there are, registering one, and saying that one is what it seems.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Session,
    error::Error,
    exit::Exit,
    history,
    http::Call,
    output::{self, Format, plain},
};

/// So many environments are listed at most.
const SHOWN_MAX: u32 = 1000;

/// What can be done about environments.
#[derive(Debug, clap::Subcommand)]
pub enum EnvironmentCommand {
    /// List the environments: what each is for, and its place in the order of promotion.
    List,
    /// Register an environment before anything is deployed to it, for its policy to be there from the first deployment on.
    #[command(after_help = EXAMPLES)]
    Create(EnvironmentArgs),
    /// Confirm an environment that a deployment has registered, so that releases can be promoted from it.
    #[command(after_help = EXAMPLES)]
    Confirm(EnvironmentArgs),
}

const EXAMPLES: &str = "\
Examples:
  waybill environment create prod
  waybill environment confirm staging
  waybill environment confirm eu-1 --tier production --rank 400";

/// The options of `environment create` and `environment confirm`.
#[derive(Debug, clap::Args)]
pub struct EnvironmentArgs {
    /// The environment.
    environment: String,
    /// What it is for, where the guess from its name is wrong.
    #[arg(long, value_parser = ["production", "staging", "testing", "development", "other"])]
    tier: Option<String>,
    /// Its place in the order of promotion, low to high.
    #[arg(long)]
    rank: Option<i64>,
}

/// What is said of an environment; what is not said is guessed from its name, or stays as it is.
#[derive(Debug, Serialize)]
struct Settings<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rank: Option<i64>,
}

/// An environment, as far as this looks into it.
#[derive(Debug, Deserialize)]
struct Environment {
    name: String,
    tier: String,
    rank: i64,
    unconfirmed: bool,
}

impl Environment {
    fn row(&self) -> Vec<String> {
        let confirmed = if self.unconfirmed { "no" } else { "yes" };
        vec![
            plain(&self.name).into_owned(),
            plain(&self.tier).into_owned(),
            self.rank.to_string(),
            confirmed.to_owned(),
        ]
    }
}

pub(super) async fn run(session: &Session, command: EnvironmentCommand) -> Result<Exit, Error> {
    match command {
        EnvironmentCommand::List => list(session).await,
        EnvironmentCommand::Create(args) => {
            let settings =
                Settings { name: Some(&args.environment), tier: args.tier.as_deref(), rank: args.rank };
            set(session, &Call::post(&["environments"], &settings)?, "registered").await
        }
        EnvironmentCommand::Confirm(args) => {
            let settings = Settings { name: None, tier: args.tier.as_deref(), rank: args.rank };
            set(session, &Call::patch(&["environments", &args.environment], &settings)?, "confirmed").await
        }
    }
}

async fn list(session: &Session) -> Result<Exit, Error> {
    let (items, next_cursor) = history::collect(session, &Call::get(&["environments"]), SHOWN_MAX).await?;
    if session.format == Format::Json {
        output::print_json(&json!({ "items": items, "next_cursor": next_cursor }))?;
        return Ok(Exit::DONE);
    }
    let found = items.into_iter().map(Environment::deserialize).collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() {
        output::say("No environments.");
        return Ok(Exit::DONE);
    }
    let mut found = found;
    found.sort_by(|a, b| (a.rank, &a.name).cmp(&(b.rank, &b.name)));
    let rows: Vec<_> = found.iter().map(Environment::row).collect();
    let header = ["ENVIRONMENT", "TIER", "RANK", "CONFIRMED"].map(str::to_owned);
    output::print(output::table(&header, &rows, output::width()))?;
    Ok(Exit::DONE)
}

async fn set(session: &Session, call: &Call, done: &str) -> Result<Exit, Error> {
    let answer = session.client.send(call).await?;
    if session.format == Format::Json {
        output::print_json(&answer)?;
        return Ok(Exit::DONE);
    }
    let Environment { name, tier, rank, .. } = Environment::deserialize(answer)?;
    output::print(format_args!("{} is {done}: tier {}, rank {rank}", plain(&name), plain(&tier)))?;
    Ok(Exit::DONE)
}
