//! The command line: what can be asked for, and what each command does and prints.

mod chain;
mod client;
mod exit;
mod input;
mod output;
mod server;
mod words;

use std::{io, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use self::{
    client::{ClientCommand, credentials::ConnectionArgs, deploy, error::Error},
    exit::Exit,
    output::{Format, error as say_error},
    server::ServerCommand,
};

/// Waybill, a self-hosted deployment ledger and release gate.
#[derive(Debug, Parser)]
#[command(name = "waybill", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done, 1 error, 2 wrong use, 5 refused.")]
pub struct Cli {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// The form in which results are printed.
    #[arg(long, short, value_enum, default_value_t, global = true)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Client(ClientCommand),
    #[command(flatten)]
    Server(ServerCommand),
    /// Run a command for `waybill deploy`, and end it when that is gone.
    #[command(name = deploy::SHIM, hide = true)]
    WatchOver(deploy::ShimArgs),
    /// Print the completion script of a shell.
    Completions {
        /// The shell to complete for.
        shell: Shell,
    },
}

/// Does what the command line asks for; errors are printed here and nowhere else.
pub async fn run(cli: Cli) -> ExitCode {
    let done = match cli.command {
        Command::Server(command) => return run_server(command, &cli.connection).await,
        Command::Client(command) => client::run(command, &cli.connection, cli.output).await,
        Command::WatchOver(args) => Ok(deploy::watch_over(args).await),
        Command::Completions { shell } => completions(shell),
    };
    let exit = done.unwrap_or_else(|error| {
        let exit = error.exit();
        if exit != Exit::DONE {
            say_error(&error);
        }
        exit
    });
    exit.into()
}

async fn run_server(command: ServerCommand, connection: &ConnectionArgs) -> ExitCode {
    server::run(command, connection).await.unwrap_or_else(|error| {
        say_error(format_args!("{error:#}"));
        Exit::ERROR.into()
    })
}

fn completions(shell: Shell) -> Result<Exit, Error> {
    // Written to memory first, since the generator panics when its output is closed.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "waybill", &mut script);
    io::Write::write_all(&mut io::stdout().lock(), &script)?;
    Ok(Exit::DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
