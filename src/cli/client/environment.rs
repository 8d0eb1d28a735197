//! `waybill environment`: what environments there are, and saying that one is what it seems.

use serde::Deserialize;
use serde_json::{Value, json};

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
    /// Confirm an environment that a deployment has registered, so that releases can be promoted from it.
    #[command(after_help = EXAMPLES)]
    Confirm(ConfirmArgs),
}

const EXAMPLES: &str = "\
Examples:
  waybill environment confirm staging
  waybill environment confirm eu-1 --tier production --rank 400";

/// The options of `environment confirm`.
#[derive(Debug, clap::Args)]
pub struct ConfirmArgs {
    /// The environment.
    environment: String,
    /// What it is for, where the guess from its name is wrong.
    #[arg(long, value_parser = ["production", "staging", "testing", "development", "other"])]
    tier: Option<String>,
    /// Its place in the order of promotion, low to high.
    #[arg(long)]
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
        EnvironmentCommand::Confirm(args) => confirm(session, &args).await,
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

async fn confirm(session: &Session, args: &ConfirmArgs) -> Result<Exit, Error> {
    let mut edit = serde_json::Map::new();
    edit.extend(args.tier.as_ref().map(|tier| ("tier".to_owned(), Value::from(tier.as_str()))));
    edit.extend(args.rank.map(|rank| ("rank".to_owned(), Value::from(rank))));
    let answer = session.client.send(&Call::patch(&["environments", &args.environment], &edit)?).await?;
    if session.format == Format::Json {
        output::print_json(&answer)?;
        return Ok(Exit::DONE);
    }
    let Environment { name, tier, rank, .. } = Environment::deserialize(answer)?;
    output::print(format_args!("{} is confirmed: tier {}, rank {rank}", plain(&name), plain(&tier)))?;
    Ok(Exit::DONE)
}
