//! The `waybill` binary.

use clap::Parser as _;

#[derive(clap::Parser)]
struct Cli {
    #[command(subcommand)]
    command: waybill::cli::server::ServerCommand,
}

#[tokio::main]
async fn main() -> anyhow::Result<std::process::ExitCode> {
    waybill::cli::server::run(Cli::parse().command).await
}
