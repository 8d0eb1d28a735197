//! The `waybill` program.

use std::process::ExitCode;

use waybill::cli;

#[tokio::main]
async fn main() -> ExitCode {
    match cli::parse() {
        Ok(cli) => cli::run(cli).await,
        Err(exit) => exit,
    }
}
