//! `waybill audit`: checking the log's hash chain, and the ledger against the log.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use chrono::SecondsFormat;
use clap::{Args, Subcommand};

use super::{ConfigArgs, say};
use crate::{
    cli::{
        chain::{Read, Reading},
        client::{self, credentials::ConnectionArgs, events::Log},
        exit::Exit,
        input,
        output::{self, Format},
    },
    domain::{
        audit::heads::{self, MESSAGE},
        chain::Link,
    },
    usecase::audit::{self, Asked, Report},
};

/// The most bytes of a line of a log that are looked at.
const LINE_MAX: u64 = 1024 * 1024;

/// The most different heads that are taken from logs: those of a hundred years, logged every hour.
const HEADS_MAX: usize = 1_000_000;

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check every event against the hash chain, and the stored JSON; names everything that does not fit and exits 6.
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A head of the chain that was kept elsewhere, as `SEQ:HASH`; the chain must still hold it.
    #[arg(long, value_name = "SEQ:HASH", value_parser = parse_head)]
    head: Vec<Link>,
    /// Logs of servers, or `-` for standard input; the chain must still hold every head that they tell of.
    #[arg(long, value_name = "FILE")]
    heads: Vec<PathBuf>,
    /// Compare the ledger's rows with what their events say, too.
    #[arg(long)]
    deep: bool,
    /// Check a log that `waybill events export` has printed, or `-` for standard input, instead of the database.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["deep", "through_api", "database_url"])]
    log: Option<PathBuf>,
    /// Check what a running Waybill answers, with a token that may read, instead of the database.
    #[arg(long, conflicts_with_all = ["deep", "database_url"])]
    through_api: bool,
    /// Where the database is.
    #[command(flatten)]
    config: ConfigArgs,
}

fn parse_head(text: &str) -> anyhow::Result<Link> {
    heads::parse(text)
        .context("it must be SEQ:HASH, as `GET /events/head` gives them: a number and 64 hex digits")
}

pub async fn run(command: &AuditCommand, connection: &ConnectionArgs) -> anyhow::Result<ExitCode> {
    let AuditCommand::Verify(args) = command;
    let mut anchors: BTreeSet<Link> = args.head.iter().cloned().collect();
    for path in &args.heads {
        let found = input::open(path)
            .map_err(Into::into)
            .and_then(|log| heads_of(BufReader::new(log)))
            .with_context(|| format!("cannot take heads from {}", path.display()))?;
        anchors.extend(found);
    }
    let anchored = anchors.len();
    if let Some(path) = &args.log {
        let mut reading = Reading::new(anchors);
        let log = input::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        reading.read(BufReader::new(log))?;
        return tell(&reading.end(None).into(), anchored);
    }
    if args.through_api {
        return tell(&through_api(connection, anchors).await?.into(), anchored);
    }
    let db = args.config.open().await?;
    let asked = Asked { anchors: anchors.into_iter().collect(), deep: args.deep };
    let report = audit::verify(&db, &asked).await?;
    tell(&report, anchored)
}

/// Reads the whole log as a running Waybill answers it, up to where its chain ends.
async fn through_api(connection: &ConnectionArgs, anchors: BTreeSet<Link>) -> anyhow::Result<Read> {
    let session = client::connect(connection, Format::Json)?;
    let mut reading = Reading::new(anchors);
    let mut log = Log::new(&session, 0);
    while let Some(lines) = log.next().await? {
        for line in lines {
            reading.take(line).context("the server answered something that is no event")?;
        }
    }
    Ok(reading.end(None))
}

impl From<Read> for Report {
    fn from(Read { link, hidden, findings }: Read) -> Self {
        Self { link, hidden, findings, ..Self::default() }
    }
}

/// The heads that the lines of a log tell of.
fn heads_of(mut log: impl BufRead) -> anyhow::Result<BTreeSet<Link>> {
    let mut found = BTreeSet::new();
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        if log.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let head =
            heads::in_line(&String::from_utf8_lossy(&line)).with_context(|| format!("line {number}"))?;
        found.extend(head);
        anyhow::ensure!(found.len() <= HEADS_MAX, "it tells of more than {HEADS_MAX} different heads");
    }
    anyhow::ensure!(!found.is_empty(), "no line of it has {MESSAGE:?}, which servers log every hour");
    Ok(found)
}

/// Prints the findings, one a line, and what all of it comes to.
fn tell(report: &Report, anchored: usize) -> anyhow::Result<ExitCode> {
    let Link { seq, hash } = &report.link;
    let findings = &report.findings;
    if findings.count() > 0 {
        for finding in findings.listed() {
            output::say(output::plain(&finding.to_string()));
        }
        let listed = u64::try_from(findings.listed().len()).unwrap_or(u64::MAX);
        let more = match findings.count().saturating_sub(listed) {
            0 => String::new(),
            more => format!(" ({more} of them not listed)"),
        };
        let faults = if findings.count() == 1 { "fault" } else { "faults" };
        output::error(format_args!(
            "{} {faults} found{more}; the log ends with event {seq}:{hash}",
            findings.count()
        ));
        return Ok(Exit::UNSOUND.into());
    }
    let mut parts = vec![format!("The chain is whole: {seq} events, head {seq}:{hash}")];
    if anchored > 0 {
        parts.push(format!("it holds what was kept elsewhere ({anchored})"));
    }
    if report.hidden > 0 {
        parts.push(format!(
            "{} of them are hidden from the token and checked by their place alone",
            report.hidden
        ));
    }
    if let Some(rows) = report.compared {
        parts.push(format!("{rows} rows are as their events say"));
    }
    if let Some(since) = report.waiting_since {
        let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
        parts.push(format!("{} more wait to be sealed by a running server, since {since}", report.waiting));
    }
    say(&parts.join("; "))
}
