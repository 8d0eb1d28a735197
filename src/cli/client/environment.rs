//! `waybill environment`: what environments there are and what runs in one, registering one, saying that one is what it seems, and archiving one.

use serde::{Deserialize, Serialize};

use super::{
    archive::{self, ArchiveArgs, ReviveArgs},
    call::Call,
    error::Error,
    place::{self, What},
    session::{ALL, Session},
};
use crate::{
    cli::{
        exit::Exit,
        output::{plain, print},
        words::one_of,
    },
    domain::vocabulary::Tier,
};

#[derive(Debug, clap::Subcommand)]
pub enum EnvironmentCommand {
    /// List the environments: what each is for, and its place in the order of promotion.
    List {
        /// Those that are archived instead.
        #[arg(long)]
        archived: bool,
    },
    /// Show one environment: what it is for, whether it is locked down, and what runs in it.
    Show {
        /// Which one.
        environment: String,
    },
    /// Register an environment before anything is deployed to it, for its policy to be there from the first deployment on.
    #[command(after_help = EXAMPLES)]
    Create(EnvironmentArgs),
    /// Confirm an environment that a deployment has registered, so that releases can be promoted from it.
    #[command(after_help = EXAMPLES)]
    Confirm(EnvironmentArgs),
    /// Archive an environment, after telling what runs in it.
    #[command(after_help = archive::EXAMPLES)]
    Archive(ArchiveArgs),
    /// Bring an archived environment back.
    Revive(ReviveArgs),
}

const EXAMPLES: &str = "\
Examples:
  waybill environment create prod
  waybill environment confirm staging
  waybill environment confirm eu-1 --tier production --rank 400";

#[derive(Debug, clap::Args)]
pub struct EnvironmentArgs {
    /// The environment.
    environment: String,
    /// What it is for, where the guess from its name is wrong.
    #[arg(long, value_parser = one_of(Tier::ALL))]
    tier: Option<Tier>,
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
    tier: Option<Tier>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rank: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Environment {
    name: String,
    tier: String,
    rank: i64,
    unconfirmed: bool,
}

const MEMBERS: [(&str, &str); 9] = [
    ("tier", "/tier"),
    ("rank", "/rank"),
    ("at", "/url"),
    ("unconfirmed", "/unconfirmed"),
    ("archived", "/archived"),
    ("locked down", "/lockdown/reason"),
    ("since", "/lockdown/since"),
    ("by", "/lockdown/actor"),
    ("registered", "/created_at"),
];

pub(super) async fn run(session: &Session, command: EnvironmentCommand) -> Result<Exit, Error> {
    match command {
        EnvironmentCommand::List { archived } => list(session, archived).await,
        EnvironmentCommand::Show { environment } => {
            place::show(session, What::Environment, &environment, &MEMBERS).await
        }
        EnvironmentCommand::Create(EnvironmentArgs { environment, tier, rank }) => {
            let settings = Settings { name: Some(&environment), tier, rank };
            set(session, &Call::post(&["environments"], &settings)?, "registered").await
        }
        EnvironmentCommand::Confirm(EnvironmentArgs { environment, tier, rank }) => {
            let settings = Settings { name: None, tier, rank };
            set(session, &Call::patch(&["environments", &environment], &settings)?, "confirmed").await
        }
        EnvironmentCommand::Archive(args) => archive::archive(session, What::Environment, &args).await,
        EnvironmentCommand::Revive(args) => archive::revive(session, What::Environment, &args).await,
    }
}

async fn list(session: &Session, archived: bool) -> Result<Exit, Error> {
    let header = ["ENVIRONMENT", "TIER", "RANK", "CONFIRMED"];
    let rows = |mut found: Vec<Environment>| {
        found.sort_by(|a, b| (a.rank, &a.name).cmp(&(b.rank, &b.name)));
        let confirmed = |unconfirmed| if unconfirmed { "no" } else { "yes" }.to_owned();
        let row = |it: Environment| [it.name, it.tier, it.rank.to_string(), confirmed(it.unconfirmed)];
        found.into_iter().map(row).collect()
    };
    let call = Call::get(&["environments"]).query("archived", archived.then_some(true));
    session.list(&call, ALL, "No environments.", header, rows).await
}

async fn set(session: &Session, call: &Call, done: &str) -> Result<Exit, Error> {
    let words = |Environment { name, tier, rank, .. }| {
        print(format_args!("{} is {done}: tier {}, rank {rank}", plain(&name), plain(&tier)))
    };
    session.tell(call, words).await
}
