//! `waybill service`: services that are no more, and come back.

use super::{
    archive::{self, ArchiveArgs, ReviveArgs, What},
    error::Error,
    session::Session,
};
use crate::cli::exit::Exit;

#[derive(Debug, clap::Subcommand)]
pub enum ServiceCommand {
    /// Archive a service, after telling where it runs.
    #[command(after_help = archive::EXAMPLES)]
    Archive(ArchiveArgs),
    /// Bring an archived service back.
    Revive(ReviveArgs),
}

pub(super) async fn run(session: &Session, command: ServiceCommand) -> Result<Exit, Error> {
    match command {
        ServiceCommand::Archive(args) => archive::archive(session, What::Service, &args).await,
        ServiceCommand::Revive(args) => archive::revive(session, What::Service, &args).await,
    }
}
