//! The command line: what can be asked for, and what each command does and prints.

mod chain;
mod client;
mod exit;
mod help;
mod input;
mod output;
mod server;
mod table;
mod words;

use std::{io, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;

use self::{
    client::{
        ClientCommand,
        credentials::{ConnectionArgs, HEADING},
        deploy,
        error::Error,
    },
    exit::Exit,
    help::Apart,
    output::{Format, error as say_error},
    server::ServerCommand,
};

/// Waybill, a self-hosted deployment ledger and release gate.
#[derive(Debug, Parser)]
#[command(name = "waybill", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = exit::TABLE)]
pub struct Cli {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// The form in which results are printed; table unless given.
    #[arg(long, short, value_enum, global = true, help_heading = HEADING)]
    output: Option<Format>,
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

/// Reads the command line. Where that asks for help or is wrong, it is said, and how the process ends with it.
pub fn parse() -> Result<Cli, ExitCode> {
    let mut apart = Apart::default();
    let matches = apart.take(Cli::command()).try_get_matches();
    let cli = matches.and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    cli.map_err(|error| apart.show(&error))
}

/// Does what the command line asks for; errors are printed here and nowhere else.
pub async fn run(cli: Cli) -> ExitCode {
    let (around, done) = match cli.command {
        Command::Server(_) | Command::Completions { .. } if cli.output.is_some() => {
            let message = "--output is for the client commands (`waybill --help` lists them before `serve`); this one prints \
                           in one form only, and runs without it";
            (false, Err(Error::Usage(message.into())))
        }
        Command::Server(command) => return run_server(command, &cli.connection).await,
        Command::Client(command) => {
            let around = command.runs_a_command();
            (around, client::run(command, &cli.connection, cli.output.unwrap_or_default()).await)
        }
        Command::WatchOver(args) => (false, Ok(deploy::watch_over(args).await)),
        Command::Completions { shell } => (false, completions(shell)),
    };
    let exit = done.unwrap_or_else(|error| {
        let exit = error.exit();
        if exit != Exit::DONE {
            say_error(&error);
        }
        if around { exit.around_a_command() } else { exit }
    });
    exit.into()
}

async fn run_server(command: ServerCommand, connection: &ConnectionArgs) -> ExitCode {
    server::run(command, connection).await.unwrap_or_else(|error| {
        say_error(causes(&error));
        error.downcast_ref::<Error>().map_or(Exit::ERROR, Error::exit).into()
    })
}

/// An error with its causes, those left out that were told already.
fn causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told.as_str() {
        "" => cause,
        _ if told.contains(&cause) => told,
        _ => format!("{told}: {cause}"),
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

    #[test]
    fn a_cause_that_was_told_already_is_not_told_again() {
        let inner = anyhow::anyhow!("connection refused");
        let error = inner.context("the database: connection refused").context("cannot open it");
        assert_eq!(causes(&error), "cannot open it: the database: connection refused");
    }
}
