//! `waybill service`: what services there are, those that are no more, and those that come back.

use serde::Deserialize;

use super::{
    archive::{self, ArchiveArgs, ReviveArgs},
    call::Call,
    error::Error,
    place::{self, What},
    session::Session,
};
use crate::cli::exit::Exit;

/// So many services are listed at most.
const SHOWN_MAX: u32 = 10_000;

#[derive(Debug, clap::Subcommand)]
pub enum ServiceCommand {
    /// List the services, and who owns them.
    List {
        /// Those that are archived instead.
        #[arg(long)]
        archived: bool,
    },
    /// Show one service: what it is, who owns it, and where it runs.
    Show {
        /// Which one.
        name: String,
    },
    /// Archive a service, after telling where it runs.
    #[command(after_help = archive::EXAMPLES)]
    Archive(ArchiveArgs),
    /// Bring an archived service back.
    Revive(ReviveArgs),
}

#[derive(Debug, Deserialize)]
struct Service {
    name: String,
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default)]
    owner: Option<String>,
    #[serde(default)]
    repository_url: Option<String>,
}

const MEMBERS: [(&str, &str); 7] = [
    ("called", "/display_name"),
    ("is", "/description"),
    ("owner", "/owner"),
    ("repository", "/repository_url"),
    ("labels", "/labels"),
    ("archived", "/archived"),
    ("registered", "/created_at"),
];

pub(super) async fn run(session: &Session, command: ServiceCommand) -> Result<Exit, Error> {
    match command {
        ServiceCommand::List { archived } => list(session, archived).await,
        ServiceCommand::Show { name } => place::show(session, What::Service, &name, &MEMBERS).await,
        ServiceCommand::Archive(args) => archive::archive(session, What::Service, &args).await,
        ServiceCommand::Revive(args) => archive::revive(session, What::Service, &args).await,
    }
}

async fn list(session: &Session, archived: bool) -> Result<Exit, Error> {
    let call = Call::get(&["services"]).query("archived", archived.then_some(true));
    let header = ["SERVICE", "OWNER", "CALLED", "REPOSITORY"];
    let row = |it: Service| {
        [Some(it.name), it.owner, it.display_name, it.repository_url].map(Option::unwrap_or_default)
    };
    let rows = |found: Vec<Service>| found.into_iter().map(row).collect();
    session.list(&call, SHOWN_MAX, "No services.", header, rows).await
}
