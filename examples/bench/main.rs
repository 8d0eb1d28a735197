//! Load for a running server, and the limits that its figures stand beside: a bare server that returns the same bytes,
//! and a bare connection that runs the same statements. `scripts/bench` puts them together.

mod floor;
mod gate;
mod load;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use clap::{Args, Parser, Subcommand};
use poem::{Response, Server, endpoint::make_sync, listener::TcpListener};

/// Put load on a server and print requests per second and latencies.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Deploy a first release of every service to every environment.
    Seed {
        #[command(flatten)]
        server: ServerArgs,
        #[arg(long, default_value_t = 200)]
        services: usize,
        #[arg(long, default_value_t = 5)]
        environments: usize,
    },
    /// Read one URL again and again.
    Read {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        load: LoadArgs,
        /// What to read.
        #[arg(long)]
        path: String,
    },
    /// Start and finish deployments, each client in targets of its own.
    Write {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        load: LoadArgs,
        #[arg(long, default_value_t = 200)]
        services: usize,
        #[arg(long, default_value_t = 5)]
        environments: usize,
    },
    /// Put 50 freeze windows, 20 approvals and 10 scans behind the gate of one of the seed's targets.
    SeedGate {
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Ask that gate.
    Check {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        load: LoadArgs,
    },
    /// Read the deployment that is current in that target.
    Deployment {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        load: LoadArgs,
    },
    /// Return the bytes of a file to every request, and do nothing else; until it is killed.
    Bare {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        body: PathBuf,
    },
    /// Run the statements of a start and a finish against a copy of a SQLite database.
    Sqlite {
        #[arg(long)]
        database: PathBuf,
        /// The statements, one a line.
        #[arg(long)]
        statements: PathBuf,
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
}

/// Where the server is.
#[derive(Args)]
struct ServerArgs {
    #[arg(long)]
    url: String,
    #[arg(long, env = "WAYBILL_TOKEN", default_value = "")]
    token: String,
}

/// How much load, and for how long.
#[derive(Args)]
struct LoadArgs {
    #[arg(long, default_value_t = 16)]
    clients: usize,
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Seed { server, services, environments } => {
            load::seed(load::Client::new(&server.url, &server.token)?, services, environments).await
        }
        Command::Read { server, load: LoadArgs { clients, seconds }, path } => {
            let client = load::Client::new(&server.url, &server.token)?;
            load::read(client, &path, clients, Duration::from_secs(seconds)).await
        }
        Command::Write { server, load: LoadArgs { clients, seconds }, services, environments } => {
            let client = load::Client::new(&server.url, &server.token)?;
            load::write(client, services, environments, clients, Duration::from_secs(seconds)).await
        }
        Command::SeedGate { server } => gate::seed(&load::Client::new(&server.url, &server.token)?).await,
        Command::Check { server, load: LoadArgs { clients, seconds } } => {
            let client = load::Client::new(&server.url, &server.token)?;
            gate::check(&client, clients, Duration::from_secs(seconds)).await
        }
        Command::Deployment { server, load: LoadArgs { clients, seconds } } => {
            let client = load::Client::new(&server.url, &server.token)?;
            gate::deployment(&client, clients, Duration::from_secs(seconds)).await
        }
        Command::Bare { listen, body } => {
            let body: Arc<[u8]> = tokio::fs::read(body).await?.into();
            let endpoint = make_sync(move |_| {
                Response::builder().content_type("application/json; charset=utf-8").body(body.to_vec())
            });
            Ok(Server::new(TcpListener::bind(listen)).run(endpoint).await?)
        }
        Command::Sqlite { database, statements, seconds } => {
            floor::sqlite(&database, &statements, Duration::from_secs(seconds)).await
        }
    }
}
