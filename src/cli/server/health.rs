//! `waybill healthcheck`: a health check that needs no shell and no curl in the container.

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Args;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{ConfigArgs, say};

/// How long the server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub struct HealthArgs {
    /// The endpoint to ask.
    #[arg(long, default_value = "/readyz")]
    path: String,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Asks the server on this machine that the configuration describes.
pub async fn run(args: &HealthArgs) -> anyhow::Result<ExitCode> {
    let address = args.config.load(None)?.server.local_address();
    let head = tokio::time::timeout(TIMEOUT, ask(address, &args.path)).await;
    let head = head.with_context(|| format!("{address} did not answer in {} seconds", TIMEOUT.as_secs()))?;
    let head = head.with_context(|| format!("{address} does not answer"))?;
    let status = head.split_whitespace().nth(1).unwrap_or("nothing");
    anyhow::ensure!(status == "200", "{address}{} answered {status}", args.path);
    say("ok")
}

async fn ask(address: std::net::SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = [0; 64];
    let read = stream.read(&mut head).await?;
    Ok(String::from_utf8_lossy(head.get(..read).unwrap_or_default()).into_owned())
}
