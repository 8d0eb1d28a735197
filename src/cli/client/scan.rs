//! `waybill scan`: reports of vulnerability scanners, sent as the tool wrote them.

use std::{io::Read as _, path::PathBuf};

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{
    call::Call,
    error::Error,
    release::VersionArgs,
    session::{PageArgs, Session},
};
use crate::{
    cli::{
        exit::Exit,
        input,
        output::{age, plain, print},
    },
    clock,
};

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

const UPLOAD_EXAMPLES: &str = "\
Examples:
  trivy image --list-all-pkgs --format json --output report.json registry.example.com/shop@sha256:…
  waybill scan upload --service shop --version 1.4.2 report.json
  grype registry.example.com/shop@sha256:… --output json | waybill scan upload --service shop --version 1.4.2 -

Where the release has an image, the report must name its digest; scanning by digest makes it so. A report that lists no
packages, or is of secrets, configuration or licences alone, says nothing about vulnerabilities and is refused.";

const LIST_EXAMPLES: &str = "\
Example:
  waybill scan list --service shop --version 1.4.2";

#[derive(Debug, clap::Args)]
pub struct UploadArgs {
    /// The service the release belongs to.
    #[arg(long)]
    service: String,
    #[command(flatten)]
    version: VersionArgs,
    /// When the report was made, for tools so old that their reports do not say.
    #[arg(long, value_name = "TIME")]
    scanned_at: Option<String>,
    /// The file with the report; `-` reads it from stdin.
    #[arg(value_name = "FILE")]
    report: PathBuf,
}

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// The service the release belongs to.
    #[arg(long)]
    service: String,
    #[command(flatten)]
    version: VersionArgs,
    #[command(flatten)]
    page: PageArgs,
}

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

#[derive(Debug, Clone, Deserialize)]
struct Part {
    class: String,
    counts: Counts,
    #[serde(default)]
    latest: bool,
}

impl Part {
    /// What it is of, for people.
    fn packages(&self) -> &str {
        if self.class == "any" { "all" } else { &self.class }
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
        ScanCommand::List(args) => list(session, args).await,
    }
}

async fn upload(session: &Session, args: UploadArgs) -> Result<Exit, Error> {
    let mut report = Vec::new();
    input::open(&args.report)
        .and_then(|mut file| file.read_to_end(&mut report))
        .map_err(|error| Error::Usage(format!("{}: {error}", args.report.display())))?;
    let path = ["services", &args.service, "releases", &args.version.version(), "scans"];
    let call = Call::post_as_it_is(&path, report.into()).query("scanned_at", args.scanned_at);
    session.tell(&call, |scan| print(sentence(&scan))).await
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
        "{} {}: {} found {critical} critical, {high} high, {medium} medium, {low} low, {unknown} unknown in {} \
         packages{}{}",
        plain(&scan.service),
        plain(&scan.version),
        plain(&scan.scanner),
        plain(&classes),
        platform.unwrap_or_default(),
        plain(&later),
    )
}

async fn list(session: &Session, args: ListArgs) -> Result<Exit, Error> {
    let call = Call::get(&["services", &args.service, "releases", &args.version.version(), "scans"]);
    let header =
        ["AGE", "SCANNER", "VERSION", "PLATFORM", "PACKAGES", "CRIT", "HIGH", "MED", "LOW", "UNK", "COUNTS"];
    let now = clock::now();
    let rows = |scans: Vec<_>| scans.iter().flat_map(|scan| rows(scan, now)).collect();
    session.list(&call, args.page.limit, "No scans.", header, rows).await
}

/// A row for each part: each counts on its own.
fn rows(scan: &Scan, now: DateTime<Utc>) -> Vec<[String; 11]> {
    let row = |part: &Part| {
        let Counts { critical, high, medium, low, unknown } = &part.counts;
        [
            age(now - scan.scanned_at),
            scan.scanner.clone(),
            scan.version.clone(),
            scan.platform.clone().unwrap_or_else(|| "-".to_owned()),
            part.packages().to_owned(),
            critical.to_string(),
            high.to_string(),
            medium.to_string(),
            low.to_string(),
            unknown.to_string(),
            if part.latest { "yes" } else { "no" }.to_owned(),
        ]
    };
    scan.parts.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        let expected = [
            ["3d", "trivy", "1.4.2", "linux/arm64", "language", "0", "2", "0", "0", "0", "yes"],
            ["3d", "trivy", "1.4.2", "linux/arm64", "os", "1", "0", "0", "4", "0", "no"],
        ];
        assert_eq!(rows(&scan, scan.scanned_at + chrono::TimeDelta::days(3)), expected);
        value["platform"] = json!(null);
        value["parts"] = json!([{"class": "any", "counts": {}, "latest": false}]);
        let Ok(scan) = Scan::deserialize(&value) else { unreachable!("the scan is whole") };
        assert_eq!(sentence(&scan), format!("{found} in all packages; a later scan counts"));
    }
}
