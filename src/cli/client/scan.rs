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
  waybill scan list --service shop --version 1.4.2

In brackets stands how many of them have a fix, where the report tells.";

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
    fixable: Option<Counts>,
    #[serde(default)]
    parts: Vec<Part>,
    #[serde(default)]
    waived: Vec<Waived>,
}

#[derive(Debug, Clone, Deserialize)]
struct Waived {
    findings: u64,
}

#[derive(Debug, Clone, Deserialize)]
struct Part {
    class: String,
    counts: Counts,
    #[serde(default)]
    fixable: Option<Counts>,
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

impl Counts {
    fn all(&self) -> [u64; 5] {
        [self.critical, self.high, self.medium, self.low, self.unknown]
    }
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
    let fixable = scan.fixable.as_ref().filter(|_| scan.counts.all().iter().any(|count| *count > 0));
    let fixable = fixable.map(|counts| format!(" ({} with a fix)", counts.all().iter().sum::<u64>()));
    let fixable = fixable.unwrap_or_default();
    let platform = scan.platform.as_deref().map(|platform| format!(" for {}", plain(platform)));
    let old: Vec<_> = scan.parts.iter().filter(|part| !part.latest).map(Part::packages).collect();
    let later = match old.len() {
        0 => String::new(),
        of if of == scan.parts.len() => "; a later scan counts".to_owned(),
        _ => format!("; of {} a later scan counts", old.join(" and ")),
    };
    format!(
        "{} {}: {} found {critical} critical, {high} high, {medium} medium, {low} low, {unknown} unknown{fixable} in {} \
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
        let fixable = part.fixable.as_ref().map(Counts::all);
        let cell = |place: usize, found: u64| match fixable.and_then(|fixable| fixable.get(place).copied()) {
            Some(fixable) if found > 0 => format!("{found} ({fixable})"),
            Some(_) | None => found.to_string(),
        };
        let Counts { critical, high, medium, low, unknown } = part.counts;
        [
            age(now - scan.scanned_at),
            scan.scanner.clone(),
            scan.version.clone(),
            scan.platform.clone().unwrap_or_else(|| "-".to_owned()),
            part.packages().to_owned(),
            cell(0, critical),
            cell(1, high),
            cell(2, medium),
            cell(3, low),
            cell(4, unknown),
            counts(scan, part),
        ]
    };
    scan.parts.iter().map(row).collect()
}

/// Whether a part counts, and how much of its scan is waived.
fn counts(scan: &Scan, part: &Part) -> String {
    let waived: u64 = scan.waived.iter().map(|waived| waived.findings).sum();
    match (part.latest, waived) {
        (false, _) => "no".to_owned(),
        (true, 0) => "yes".to_owned(),
        (true, waived) => format!("yes, but {waived} waived"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_scan_is_told_in_one_line_and_listed_by_its_parts() {
        let mut value = json!({"service": "shop", "version": "1.4.2", "scanner": "trivy", "platform": "linux/arm64",
            "scanned_at": "2026-01-20T08:30:15.123456Z", "counts": {"critical": 1, "high": 2, "low": 4}, "new_field": 1,
            "fixable": {"high": 1, "low": 2},
            "parts": [{"class": "language", "counts": {"high": 2}, "fixable": {"high": 1}, "latest": true},
                {"class": "os", "counts": {"critical": 1, "low": 4}, "latest": false}]});
        let Ok(scan) = Scan::deserialize(&value) else { unreachable!("the scan is whole") };
        let found = "shop 1.4.2: trivy found 1 critical, 2 high, 0 medium, 4 low, 0 unknown";
        assert_eq!(
            sentence(&scan),
            format!(
                "{found} (3 with a fix) in language and os packages for linux/arm64; of os a later scan counts"
            )
        );
        let expected = [
            ["3d", "trivy", "1.4.2", "linux/arm64", "language", "0", "2 (1)", "0", "0", "0", "yes"],
            ["3d", "trivy", "1.4.2", "linux/arm64", "os", "1", "0", "0", "4", "0", "no"],
        ];
        assert_eq!(rows(&scan, scan.scanned_at + chrono::TimeDelta::days(3)), expected);
        value["platform"] = json!(null);
        value["fixable"] = json!(null);
        value["parts"] = json!([{"class": "any", "counts": {}, "latest": false}]);
        let Ok(scan) = Scan::deserialize(&value) else { unreachable!("the scan is whole") };
        assert_eq!(sentence(&scan), format!("{found} in all packages; a later scan counts"));
    }
}
