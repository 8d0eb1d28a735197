//! `waybill audit`: checking the log's hash chain.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;

use super::{ConfigArgs, say};
use crate::{domain::chain::Link, usecase::events};

/// What can be done with the audit log.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check every event against the hash chain; exits 1 and names the first event that does not fit.
    Verify {
        /// A head of the chain that was kept elsewhere, as `SEQ:HASH`; the chain must still hold it.
        #[arg(long, value_name = "SEQ:HASH", value_parser = parse_head)]
        head: Option<Link>,
        /// Where the database is.
        #[command(flatten)]
        config: ConfigArgs,
    },
}

fn parse_head(text: &str) -> anyhow::Result<Link> {
    let (seq, hash) =
        text.split_once(':').context("it must be SEQ:HASH, as `GET /events/head` gives them")?;
    anyhow::ensure!(
        hash.len() == 64 && hash.chars().all(|c| c.is_ascii_hexdigit()),
        "the hash must be 64 hex digits"
    );
    Ok(Link { seq: seq.parse()?, hash: hash.to_ascii_lowercase() })
}

/// Does what is asked.
pub async fn run(command: &AuditCommand) -> anyhow::Result<ExitCode> {
    let AuditCommand::Verify { head, config } = command;
    let db = config.open().await?;
    let link = events::verify(&db, head.as_ref()).await?;
    let waiting = match events::unsealed(&db).await? {
        0 => String::new(),
        some => format!("; {some} more wait to be sealed by a running server"),
    };
    say(&format!("The chain is whole: {} events, head {}:{}{waiting}", link.seq, link.seq, link.hash))
}
