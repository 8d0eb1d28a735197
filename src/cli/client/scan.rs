//! `waybill scan`: reports of vulnerability scanners, sent as the tool wrote them.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;

use super::{
    Session,
    error::Error,
    exit::Exit,
    history::collect,
    http::Call,
    output::{self, Format, age, plain},
};
use crate::clock;

/// What can be done with scans.
#[derive(Debug, clap::Subcommand)]
pub enum ScanCommand {
    /// Put a report of Trivy or Grype on record, or one in the plain form.
    ///
    /// The same report again is fine. Of each scanner, platform and class of packages, the report that was made last counts,
    /// whenever it arrives: reports of several platforms, or of one class each, stand beside each other.
    #[command(after_help = UPLOAD_EXAMPLES)]
    Upload(UploadArgs),
    /// List the scans of a release, newest first.
    #[command(after_help = LIST_EXAMPLES)]
    List(ListArgs),
}

/// The examples of `waybill scan upload --help`.
pub const UPLOAD_EXAMPLES: &str = "\
Examples:
  trivy image --list-all-pkgs --format json --output report.json registry.example.com/shop@sha256:…
  waybill scan upload --service shop --version 1.4.2 report.json
  grype registry.example.com/shop@sha256:… --output json | waybill scan upload --service shop --version 1.4.2 -

Where the release has an image, the report must name its digest; scanning by digest makes it so. A report that lists no
packages, or is of secrets, configuration or licences alone, says nothing about vulnerabilities and is refused.";

/// The examples of `waybill scan list --help`.
pub const LIST_EXAMPLES: &str = "\
Example:
  waybill scan list --service shop --version 1.4.2";

/// The options of `scan upload`.
#[derive(Debug, clap::Args)]
pub struct UploadArgs {
    /// The service the release belongs to.
    #[arg(long)]
    service: String,
    /// The release's version.
    #[arg(long)]
    version: String,
    /// When the report was made, for tools so old that their reports do not say.
    #[arg(long, value_name = "TIME")]
    scanned_at: Option<String>,
    /// The file with the report; `-` reads it from stdin.
    #[arg(value_name = "FILE")]
    report: PathBuf,
}

/// The options of `scan list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// The service the release belongs to.
    #[arg(long)]
    service: String,
    /// The release's version.
    #[arg(long)]
    version: String,
    /// How many to list at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// A scan, as far as the client shows it.
#[derive(Debug, Clone, Deserialize)]
struct Scan {
    service: String,
    version: String,
    scanner: String,
    #[serde(default)]
    platform: Option<String>,
    scanned_at: DateTime<Utc>,
    counts: Counts,
    #[serde(default)]
    parts: Vec<Part>,
}

/// A part of a scan, as far as the client shows it.
#[derive(Debug, Clone, Deserialize)]
struct Part {
    class: String,
    counts: Counts,
    #[serde(default)]
    latest: bool,
}

impl Part {
    /// What it is of, for people.
    fn packages(&self) -> String {
        plain(if self.class == "any" { "all" } else { &self.class }).into_owned()
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Counts {
    critical: u64,
    high: u64,
    medium: u64,
    low: u64,
    unknown: u64,
}

pub(super) async fn run(session: &Session, command: ScanCommand) -> Result<Exit, Error> {
    match command {
        ScanCommand::Upload(args) => upload(session, args).await,
        ScanCommand::List(args) => list(session, &args).await,
    }
}

async fn upload(session: &Session, args: UploadArgs) -> Result<Exit, Error> {
    let report = read(&args.report)?;
    let path = ["services", &args.service, "releases", &args.version, "scans"];
    let call = Call::post_as_it_is(&path, report.into()).query("scanned_at", args.scanned_at);
    let answer = session.client.send(&call).await?;
    if session.format == Format::Json {
        output::print_json(&answer)?;
        return Ok(Exit::DONE);
    }
    output::print(sentence(&Scan::deserialize(&answer)?))?;
    Ok(Exit::DONE)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut report = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().read_to_end(&mut report).map(|_| report)
    } else {
        fs::read(path)
    };
    read.map_err(|error| Error::Usage(format!("{}: {error}", path.display())))
}

fn sentence(scan: &Scan) -> String {
    let Counts { critical, high, medium, low, unknown } = &scan.counts;
    let classes = scan.parts.iter().map(Part::packages).collect::<Vec<_>>().join(" and ");
    let platform = scan.platform.as_deref().map(|platform| format!(" for {}", plain(platform)));
    let old: Vec<_> = scan.parts.iter().filter(|part| !part.latest).map(Part::packages).collect();
    let later = match old.len() {
        0 => String::new(),
        of if of == scan.parts.len() => "; a later scan counts".to_owned(),
        _ => format!("; of {} a later scan counts", old.join(" and ")),
    };
    format!(
        "{} {}: {} found {critical} critical, {high} high, {medium} medium, {low} low, {unknown} unknown in {classes} \
         packages{}{later}",
        plain(&scan.service),
        plain(&scan.version),
        plain(&scan.scanner),
        platform.unwrap_or_default(),
    )
}

async fn list(session: &Session, args: &ListArgs) -> Result<Exit, Error> {
    let call = Call::get(&["services", &args.service, "releases", &args.version, "scans"]);
    let (items, next_cursor) = collect(session, &call, args.limit).await?;
    if session.format == Format::Json {
        output::print_json(&json!({"items": items, "next_cursor": next_cursor}))?;
        return Ok(Exit::DONE);
    }
    let scans = items.iter().map(Scan::deserialize).collect::<Result<Vec<_>, _>>()?;
    if scans.is_empty() {
        output::say("No scans.");
        return Ok(Exit::DONE);
    }
    let header =
        ["AGE", "SCANNER", "VERSION", "PLATFORM", "PACKAGES", "CRIT", "HIGH", "MED", "LOW", "UNK", "COUNTS"];
    let now = clock::now();
    let rows: Vec<_> = scans.iter().flat_map(|scan| rows(scan, now)).collect();
    output::print(output::table(&header.map(str::to_owned), &rows, output::width()))?;
    Ok(Exit::DONE)
}

/// A row for each part: each counts on its own.
fn rows(scan: &Scan, now: DateTime<Utc>) -> Vec<Vec<String>> {
    let row = |part: &Part| {
        let Counts { critical, high, medium, low, unknown } = &part.counts;
        let mut cells = vec![
            age(now - scan.scanned_at),
            plain(&scan.scanner).into_owned(),
            plain(&scan.version).into_owned(),
            plain(scan.platform.as_deref().unwrap_or("-")).into_owned(),
            part.packages(),
        ];
        cells.extend([critical, high, medium, low, unknown].map(ToString::to_string));
        cells.push(if part.latest { "yes" } else { "no" }.to_owned());
        cells
    };
    scan.parts.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_is_told_in_one_line_and_listed_by_its_parts() {
        let mut value = json!({"service": "shop", "version": "1.4.2", "scanner": "trivy", "platform": "linux/arm64",
            "scanned_at": "2026-01-20T08:30:15.123456Z", "counts": {"critical": 1, "high": 2, "low": 4}, "new_field": 1,
            "parts": [{"class": "language", "counts": {"high": 2}, "latest": true},
                {"class": "os", "counts": {"critical": 1, "low": 4}, "latest": false}]});
        let Ok(scan) = Scan::deserialize(&value) else { unreachable!("the scan is whole") };
        let found = "shop 1.4.2: trivy found 1 critical, 2 high, 0 medium, 4 low, 0 unknown";
        assert_eq!(
            sentence(&scan),
            format!("{found} in language and os packages for linux/arm64; of os a later scan counts")
        );
        let cells = |text: &str| text.split('|').map(str::to_owned).collect::<Vec<_>>();
        let expected = [
            cells("3d|trivy|1.4.2|linux/arm64|language|0|2|0|0|0|yes"),
            cells("3d|trivy|1.4.2|linux/arm64|os|1|0|0|4|0|no"),
        ];
        assert_eq!(rows(&scan, scan.scanned_at + chrono::TimeDelta::days(3)), expected);
        value["platform"] = json!(null);
        value["parts"] = json!([{"class": "any", "counts": {}, "latest": false}]);
        let Ok(scan) = Scan::deserialize(&value) else { unreachable!("the scan is whole") };
        assert_eq!(sentence(&scan), format!("{found} in all packages; a later scan counts"));
    }
}
