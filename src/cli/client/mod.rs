//! The client's side of the command line: what is asked of a Waybill that runs elsewhere.

pub mod credentials;
pub mod deploy;
pub mod error;
pub mod exit;
pub mod freeze;
pub mod history;
pub mod http;
pub mod output;
pub mod problem;
pub mod release;
pub mod rollback;
pub mod status;
pub mod view;

use clap::Subcommand;

use self::{credentials::ConnectionArgs, error::Error, exit::Exit, http::Client, output::Format};

/// What is asked of a Waybill that runs elsewhere.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Ask the gate, run the command that deploys, and put its result on record.
    #[command(after_help = deploy::EXAMPLES)]
    Deploy(Box<deploy::DeployArgs>),
    /// Return a target to an earlier release, after showing what that reverts.
    #[command(after_help = rollback::EXAMPLES)]
    Rollback(Box<rollback::RollbackArgs>),
    /// Show what runs where: services down, environments across in promotion order.
    #[command(after_help = status::EXAMPLES)]
    Status(status::StatusArgs),
    /// List deployments, newest first.
    #[command(after_help = history::EXAMPLES)]
    History(history::HistoryArgs),
    /// Declare freeze windows, and see when they hold.
    #[command(subcommand)]
    Freeze(freeze::FreezeCommand),
    /// Put releases on record.
    #[command(subcommand)]
    Release(release::ReleaseCommand),
}

/// What every client command works with.
#[derive(Clone)]
pub struct Session {
    /// The connection to Waybill.
    pub client: Client,
    /// How to print results.
    pub format: Format,
}

/// Does what is asked.
pub async fn run(command: ClientCommand, connection: &ConnectionArgs, format: Format) -> Result<Exit, Error> {
    let session = Session { client: Client::new(&connection.resolve()?)?, format };
    match command {
        ClientCommand::Deploy(args) => deploy::run(&session, *args).await,
        ClientCommand::Rollback(args) => rollback::run(&session, *args).await,
        ClientCommand::Status(args) => status::run(&session, &args).await,
        ClientCommand::History(args) => history::run(&session, &args).await,
        ClientCommand::Freeze(command) => freeze::run(&session, command).await,
        ClientCommand::Release(command) => release::run(&session, command).await,
    }
}
