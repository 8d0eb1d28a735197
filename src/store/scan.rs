//! Scans, their parts and their findings. Of each scanner one part counts for a platform and a class of packages, and only
//! the findings of what counts are kept.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DatabaseBackend, QueryResult};
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    domain::{
        actor::Actor,
        gate::facts::{Counts, ScanFact},
        page::{PageRequest, TimeKey},
        policy::VulnerabilitiesRule,
        scan::{Coverage, Finding, FindingKey, Held, Part, Report, ReportPart, Scan, within},
        vocabulary::{PackageClass, ScanFormat, Severity},
    },
    store::{
        error::StoreError,
        sql::{Sql, objects},
    },
};

/// How many findings one statement writes. SQLite looks each placeholder up among all of them.
const FINDINGS_PER_STATEMENT: usize = 250;
/// So many scans of the same moment are looked through.
const OF_MOMENT_MAX: i64 = 100;

/// What is read of a scan; its parts come as one column of JSON.
pub(super) fn columns(postgres: bool) -> String {
    let fields = ["class", "critical", "high", "medium", "low", "unknown", "counting", "findings"];
    format!(
        "c.id, c.service_id, c.release_id, r.version, c.artefact, c.scanner, c.format, c.platform, c.scanned_at, \
         c.actor_token, c.actor_subject, c.created_at, {}SELECT p.class, p.critical, p.high, p.medium, p.low, p.unknown, \
         CASE WHEN p.latest THEN 1 ELSE 0 END AS counting, \
         (SELECT COUNT(*) FROM finding f WHERE f.scan_id = p.scan_id AND f.class = p.class) AS findings \
         FROM scan_part p WHERE p.scan_id = c.id) AS o) AS parts",
        objects(postgres, &fields)
    )
}

/// A part as the database writes it into JSON.
#[derive(Deserialize)]
struct PartRow {
    class: PackageClass,
    #[serde(flatten)]
    counts: Counts,
    counting: u8,
    findings: u32,
}

fn counts(row: &QueryResult) -> Result<Counts, StoreError> {
    let count = |severity: Severity| {
        let count: i64 = row.try_get("", severity.as_str())?;
        u32::try_from(count).map_err(|_| StoreError::Corrupt("count of a scan"))
    };
    Ok(Counts {
        critical: count(Severity::Critical)?,
        high: count(Severity::High)?,
        medium: count(Severity::Medium)?,
        low: count(Severity::Low)?,
        unknown: count(Severity::Unknown)?,
    })
}

fn format(row: &QueryResult) -> Result<ScanFormat, StoreError> {
    row.try_get::<String>("", "format")?.parse().map_err(|_| StoreError::Corrupt("format of a scan"))
}

pub(super) fn from_row(row: &QueryResult) -> Result<Scan, StoreError> {
    let parts: String = row.try_get("", "parts")?;
    let mut parts: Vec<PartRow> =
        serde_json::from_str(&parts).map_err(|_| StoreError::Corrupt("parts of a scan"))?;
    parts.sort_by_key(|part| part.class);
    let part = |PartRow { class, counts, counting, findings }| Part {
        class,
        counts,
        findings,
        latest: counting == 1,
    };
    Ok(Scan {
        id: row.try_get("", "id")?,
        service_id: row.try_get("", "service_id")?,
        release_id: row.try_get("", "release_id")?,
        version: row.try_get("", "version")?,
        artefact: row.try_get("", "artefact")?,
        scanner: row.try_get("", "scanner")?,
        format: format(row)?,
        platform: row.try_get("", "platform")?,
        scanned_at: row.try_get("", "scanned_at")?,
        parts: parts.into_iter().map(part).collect(),
        actor: Actor { token: row.try_get("", "actor_token")?, subject: row.try_get("", "actor_subject")? },
        created_at: row.try_get("", "created_at")?,
    })
}

/// What [`fact`] reads of a part `p` and its scan `c`.
pub(super) const FACT: &str =
    "c.id, c.scanner, c.platform, p.class, c.scanned_at, p.critical, p.high, p.medium, p.low, p.unknown";

fn class(row: &QueryResult) -> Result<PackageClass, StoreError> {
    row.try_get::<String>("", "class")?.parse().map_err(|_| StoreError::Corrupt("class of a scan"))
}

fn fact(row: &QueryResult) -> Result<ScanFact, StoreError> {
    Ok(ScanFact {
        id: row.try_get("", "id")?,
        scanner: row.try_get("", "scanner")?,
        platform: row.try_get("", "platform")?,
        class: class(row)?,
        scanned_at: row.try_get("", "scanned_at")?,
        counts: counts(row)?,
    })
}

/// Writes a scan down with its parts and the findings of those that count. Fails with [`StoreError::Unique`] when another
/// of the scanner counts for the same.
pub async fn insert(conn: &impl ConnectionTrait, scan: &Scan, report: &Report) -> Result<(), StoreError> {
    let mut sql = Sql::new(
        "INSERT INTO scan (id, service_id, release_id, artefact, scanner, format, platform, scanned_at, actor_token, \
         actor_subject, created_at) VALUES (",
    );
    sql.bind(scan.id).push(", ").bind(scan.service_id).push(", ").bind(scan.release_id);
    sql.push(", ").bind(scan.artefact.as_str()).push(", ").bind(scan.scanner.as_str());
    sql.push(", ").bind(scan.format.as_str()).push(", ").bind(scan.platform.as_deref());
    sql.push(", ").bind(scan.scanned_at).push(", ").bind(scan.actor.token.as_str());
    sql.push(", ").bind(scan.actor.subject.as_str()).push(", ").bind(scan.created_at);
    sql.push(")").run(conn).await?;
    insert_parts(conn, scan).await?;
    let counting = |part: &&ReportPart| scan.parts.iter().any(|kept| kept.class == part.class && kept.latest);
    for ReportPart { class, findings, .. } in report.parts.iter().filter(counting) {
        for chunk in findings.chunks(FINDINGS_PER_STATEMENT) {
            insert_findings(conn, (scan.id, *class), chunk).await?;
        }
        let aliases: BTreeSet<(&str, &str)> = findings.iter().flat_map(aliases).collect();
        let aliases: Vec<_> = aliases.into_iter().collect();
        for chunk in aliases.chunks(FINDINGS_PER_STATEMENT) {
            insert_aliases(conn, (scan.id, *class), chunk).await?;
        }
    }
    Ok(())
}

/// The other ids of a finding's vulnerability, each with its own.
fn aliases(finding: &Finding) -> impl Iterator<Item = (&str, &str)> {
    finding.aliases.iter().map(|alias| (alias.as_str(), finding.vulnerability.as_str()))
}

async fn insert_parts(conn: &impl ConnectionTrait, scan: &Scan) -> Result<(), StoreError> {
    let mut sql = Sql::new(
        "INSERT INTO scan_part (scan_id, service_id, artefact, scanner, platform, class, latest, critical, high, medium, \
         low, unknown) VALUES (",
    );
    for (index, part) in scan.parts.iter().enumerate() {
        sql.push(if index == 0 { "" } else { "), (" }).bind(scan.id).push(", ").bind(scan.service_id);
        sql.push(", ").bind(scan.artefact.as_str()).push(", ").bind(scan.scanner.as_str());
        sql.push(", ").bind(scan.platform.as_deref().unwrap_or_default());
        sql.push(", ").bind(part.class.as_str()).push(", ").bind(part.latest);
        for severity in Severity::ALL {
            sql.push(", ").bind(i64::from(part.counts.of(*severity)));
        }
    }
    sql.push(")").run(conn).await?;
    Ok(())
}

async fn insert_findings(
    conn: &impl ConnectionTrait,
    (scan_id, class): (Uuid, PackageClass),
    findings: &[Finding],
) -> Result<(), StoreError> {
    let mut sql = Sql::new(
        "INSERT INTO finding (scan_id, class, vulnerability, package, version, severity, fixed_version) VALUES (",
    );
    sql.bind(scan_id).push(", ").bind(class.as_str());
    for (index, finding) in findings.iter().enumerate() {
        sql.push(if index == 0 { ", " } else { "), ($1, $2, " }).bind(finding.vulnerability.as_str());
        sql.push(", ").bind(finding.package.as_str());
        sql.push(", ").bind(finding.installed_version.as_deref().unwrap_or_default());
        sql.push(", ").bind(finding.severity.as_str());
        sql.push(", ").bind(finding.fixed_version.as_deref());
    }
    sql.push(")").run(conn).await?;
    Ok(())
}

async fn insert_aliases(
    conn: &impl ConnectionTrait,
    (scan_id, class): (Uuid, PackageClass),
    aliases: &[(&str, &str)],
) -> Result<(), StoreError> {
    let mut sql = Sql::new("INSERT INTO vulnerability_alias (scan_id, class, alias, vulnerability) VALUES (");
    sql.bind(scan_id).push(", ").bind(class.as_str());
    for (index, (alias, vulnerability)) in aliases.iter().enumerate() {
        sql.push(if index == 0 { ", " } else { "), ($1, $2, " }).bind(*alias);
        sql.push(", ").bind(*vulnerability);
    }
    sql.push(")").run(conn).await?;
    Ok(())
}

/// Lets a part of a scan count no longer; its findings go.
pub async fn supersede(
    conn: &impl ConnectionTrait,
    (scan_id, class): (Uuid, PackageClass),
) -> Result<(), StoreError> {
    for statement in
        ["UPDATE scan_part SET latest = FALSE", "DELETE FROM finding", "DELETE FROM vulnerability_alias"]
    {
        let mut sql = Sql::new(format!("{statement} WHERE scan_id = "));
        sql.bind(scan_id).push(" AND class = ").bind(class.as_str()).run(conn).await?;
    }
    Ok(())
}

/// The scans of an artefact that the same scanner made at the same moment, in the same form, in the order of arrival.
pub async fn of_moment(conn: &impl ConnectionTrait, of: &Scan) -> Result<Vec<Scan>, StoreError> {
    let mut sql = select(conn, of.service_id, &of.artefact);
    sql.push(" AND c.scanner = ").bind(of.scanner.as_str()).push(" AND c.scanned_at = ").bind(of.scanned_at);
    sql.push(" AND c.format = ").bind(of.format.as_str());
    sql.push(" ORDER BY c.created_at, c.id LIMIT ").bind(OF_MOMENT_MAX);
    sql.all(conn).await?.iter().map(from_row).collect()
}

/// What tells the findings that are kept of a scan apart.
pub async fn finding_keys(
    conn: &impl ConnectionTrait,
    scan_id: Uuid,
) -> Result<BTreeSet<FindingKey>, StoreError> {
    let mut sql = Sql::new("SELECT class, vulnerability, package, version FROM finding WHERE scan_id = ");
    let key = |row: &QueryResult| {
        let version: String = row.try_get("", "version")?;
        Ok(FindingKey {
            class: class(row)?,
            vulnerability: row.try_get("", "vulnerability")?,
            package: row.try_get("", "package")?,
            installed_version: Some(version).filter(|version| !version.is_empty()),
        })
    };
    sql.bind(scan_id).all(conn).await?.iter().map(key).collect()
}

/// Whether the scanner has made a scan of the artefact later than this one.
pub async fn has_later(conn: &impl ConnectionTrait, than: &Scan) -> Result<bool, StoreError> {
    let mut sql = Sql::new("SELECT 1 AS there FROM scan c WHERE c.service_id = ");
    sql.bind(than.service_id).push(" AND c.artefact = ").bind(than.artefact.as_str());
    sql.push(" AND c.scanner = ").bind(than.scanner.as_str());
    sql.push(" AND c.scanned_at > ").bind(than.scanned_at).push(" LIMIT 1");
    Ok(sql.one(conn).await?.is_some())
}

fn select(conn: &impl ConnectionTrait, service_id: Uuid, artefact: &str) -> Sql {
    let columns = columns(conn.get_database_backend() == DatabaseBackend::Postgres);
    let mut sql = Sql::new(format!(
        "SELECT {columns} FROM scan c JOIN release r ON r.id = c.release_id WHERE c.service_id = "
    ));
    sql.bind(service_id).push(" AND c.artefact = ").bind(artefact);
    sql
}

/// Lists the scans of an artefact, whichever release they came with, newest first.
pub async fn list(
    conn: &impl ConnectionTrait,
    service_id: Uuid,
    artefact: &str,
    page: &PageRequest<TimeKey>,
) -> Result<Vec<Scan>, StoreError> {
    let mut sql = select(conn, service_id, artefact);
    sql.newest_first(("c.scanned_at", "c.id"), page);
    sql.all(conn).await?.iter().map(from_row).collect()
}

/// A part of a scan that counts.
#[derive(Clone, Debug)]
pub struct Counting {
    /// What the gate sees of it.
    pub fact: ScanFact,
    /// What it is of.
    pub coverage: Coverage,
    /// Whose report it is.
    pub reporter: String,
}

impl Counting {
    /// Whose word it is, and of what platform.
    pub fn held(&self) -> Held<'_> {
        let ScanFact { scanner, platform, .. } = &self.fact;
        Held { scanner, platform: platform.as_deref(), reporter: &self.reporter }
    }
}

/// The parts of scans of an artefact that count, by the scanner's name.
pub async fn counting(
    conn: &impl ConnectionTrait,
    service_id: Uuid,
    artefact: &str,
) -> Result<Vec<Counting>, StoreError> {
    let mut sql = Sql::new(format!(
        "SELECT {FACT}, c.format, c.actor_subject FROM scan_part p JOIN scan c ON c.id = p.scan_id \
         WHERE p.latest AND p.service_id = "
    ));
    sql.bind(service_id).push(" AND p.artefact = ").bind(artefact);
    sql.push(" ORDER BY p.scanner, p.platform, p.class");
    let read = |row: &QueryResult| {
        let fact = fact(row)?;
        let ScanFact { platform, class, scanned_at, .. } = fact.clone();
        let coverage = Coverage { format: format(row)?, platform, class, scanned_at };
        Ok(Counting { fact, coverage, reporter: row.try_get("", "actor_subject")? })
    };
    sql.all(conn).await?.iter().map(read).collect()
}

/// The newest release of the service that has scans which count and is within the budget, among its `limit` newest.
pub async fn newest_within(
    conn: &impl ConnectionTrait,
    service_id: Uuid,
    rule: &VulnerabilitiesRule,
    limit: i64,
) -> Result<Option<String>, StoreError> {
    let mut sql = Sql::new(format!(
        "SELECT r.version, {FACT} FROM (SELECT version, place, artefact FROM release WHERE service_id = "
    ));
    sql.bind(service_id).push(" ORDER BY ordered_at DESC, number DESC LIMIT ").bind(limit);
    sql.push(
        ") AS r JOIN scan_part p ON p.service_id = $1 AND p.artefact = r.artefact AND p.latest \
         JOIN scan c ON c.id = p.scan_id ORDER BY r.place DESC, p.scanner",
    );
    let mut candidate: Option<(String, Vec<ScanFact>)> = None;
    for row in sql.all(conn).await? {
        let version: String = row.try_get("", "version")?;
        match &mut candidate {
            Some((of, scans)) if *of == version => scans.push(fact(&row)?),
            Some((of, scans)) if within(rule, scans) => return Ok(Some(std::mem::take(of))),
            Some(_) | None => candidate = Some((version, vec![fact(&row)?])),
        }
    }
    Ok(candidate.filter(|(_, scans)| within(rule, scans)).map(|(version, _)| version))
}
