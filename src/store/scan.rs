//! Scans and their findings. Of each scanner one scan of an artefact is the latest, and only its findings are kept.

use sea_orm::{ConnectionTrait, QueryResult};
use uuid::Uuid;

use crate::{
    domain::{
        actor::Actor,
        gate::facts::{Counts, ScanFact},
        page::{PageRequest, TimeKey},
        policy::VulnerabilitiesRule,
        scan::{Finding, Scan, within},
        vocabulary::Severity,
    },
    store::{error::StoreError, sql::Sql},
};

/// How many findings one statement writes. SQLite looks each placeholder up among all of them.
const FINDINGS_PER_STATEMENT: usize = 250;

pub(super) const COLUMNS: &str = "c.id, c.service_id, c.release_id, r.version, c.artefact, c.scanner, c.format, c.scanned_at, \
    c.critical, c.high, c.medium, c.low, c.unknown, c.latest, c.actor_token, c.actor_subject, c.created_at, \
    (SELECT COUNT(*) FROM finding f WHERE f.scan_id = c.id) AS findings";

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

pub(super) fn from_row(row: &QueryResult) -> Result<Scan, StoreError> {
    let format: String = row.try_get("", "format")?;
    let findings: i64 = row.try_get("", "findings")?;
    Ok(Scan {
        id: row.try_get("", "id")?,
        service_id: row.try_get("", "service_id")?,
        release_id: row.try_get("", "release_id")?,
        version: row.try_get("", "version")?,
        artefact: row.try_get("", "artefact")?,
        scanner: row.try_get("", "scanner")?,
        format: format.parse().map_err(|_| StoreError::Corrupt("format of a scan"))?,
        scanned_at: row.try_get("", "scanned_at")?,
        counts: counts(row)?,
        findings: u32::try_from(findings).map_err(|_| StoreError::Corrupt("number of findings"))?,
        latest: row.try_get("", "latest")?,
        actor: Actor { token: row.try_get("", "actor_token")?, subject: row.try_get("", "actor_subject")? },
        created_at: row.try_get("", "created_at")?,
    })
}

fn fact(row: &QueryResult) -> Result<ScanFact, StoreError> {
    Ok(ScanFact {
        id: row.try_get("", "id")?,
        scanner: row.try_get("", "scanner")?,
        scanned_at: row.try_get("", "scanned_at")?,
        counts: counts(row)?,
    })
}

/// Writes a scan down with its findings. Fails with [`StoreError::Unique`] when another of the scanner is the latest.
pub async fn insert(
    conn: &impl ConnectionTrait,
    scan: &Scan,
    findings: &[Finding],
) -> Result<(), StoreError> {
    let mut sql = Sql::new(
        "INSERT INTO scan (id, service_id, release_id, artefact, scanner, format, scanned_at, critical, high, medium, \
         low, unknown, latest, actor_token, actor_subject, created_at) VALUES (",
    );
    sql.bind(scan.id).push(", ").bind(scan.service_id).push(", ").bind(scan.release_id);
    sql.push(", ").bind(scan.artefact.as_str()).push(", ").bind(scan.scanner.as_str());
    sql.push(", ").bind(scan.format.as_str()).push(", ").bind(scan.scanned_at);
    for severity in Severity::ALL {
        sql.push(", ").bind(i64::from(scan.counts.of(*severity)));
    }
    sql.push(", ").bind(scan.latest).push(", ").bind(scan.actor.token.as_str());
    sql.push(", ").bind(scan.actor.subject.as_str()).push(", ").bind(scan.created_at);
    sql.push(")").run(conn).await?;
    for chunk in findings.chunks(FINDINGS_PER_STATEMENT) {
        insert_findings(conn, scan.id, chunk).await?;
    }
    Ok(())
}

async fn insert_findings(
    conn: &impl ConnectionTrait,
    scan_id: Uuid,
    findings: &[Finding],
) -> Result<(), StoreError> {
    let mut sql = Sql::new(
        "INSERT INTO finding (scan_id, vulnerability, alias, package, severity, installed_version, fixed_version) VALUES (",
    );
    sql.bind(scan_id);
    for (index, finding) in findings.iter().enumerate() {
        sql.push(if index == 0 { ", " } else { "), ($1, " }).bind(finding.vulnerability.as_str());
        sql.push(", ").bind(finding.alias.as_deref()).push(", ").bind(finding.package.as_str());
        sql.push(", ").bind(finding.severity.as_str());
        sql.push(", ").bind(finding.installed_version.as_deref());
        sql.push(", ").bind(finding.fixed_version.as_deref());
    }
    sql.push(")").run(conn).await?;
    Ok(())
}

/// Lets a scan be the latest no longer; its findings go.
pub async fn supersede(conn: &impl ConnectionTrait, id: Uuid) -> Result<(), StoreError> {
    let mut sql = Sql::new("UPDATE scan SET latest = FALSE WHERE id = ");
    sql.bind(id).run(conn).await?;
    let mut sql = Sql::new("DELETE FROM finding WHERE scan_id = ");
    sql.bind(id).run(conn).await?;
    Ok(())
}

/// Finds the scan of an artefact that says the very same.
pub async fn twin(conn: &impl ConnectionTrait, of: &Scan) -> Result<Option<Scan>, StoreError> {
    let mut sql = select(of.service_id, &of.artefact);
    sql.push(" AND c.scanner = ").bind(of.scanner.as_str()).push(" AND c.scanned_at = ").bind(of.scanned_at);
    sql.push(" AND c.format = ").bind(of.format.as_str());
    for severity in Severity::ALL {
        sql.push(&format!(" AND c.{severity} = ")).bind(i64::from(of.counts.of(*severity)));
    }
    sql.push(" ORDER BY c.created_at, c.id LIMIT 1").one(conn).await?.as_ref().map(from_row).transpose()
}

fn select(service_id: Uuid, artefact: &str) -> Sql {
    let mut sql = Sql::new(format!(
        "SELECT {COLUMNS} FROM scan c JOIN release r ON r.id = c.release_id WHERE c.service_id = "
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
    let mut sql = select(service_id, artefact);
    sql.newest_first(("c.scanned_at", "c.id"), page);
    sql.all(conn).await?.iter().map(from_row).collect()
}

/// The scans of an artefact that count: the latest of each scanner, by the scanner's name, and whose report each is.
pub async fn latest(
    conn: &impl ConnectionTrait,
    service_id: Uuid,
    artefact: &str,
) -> Result<Vec<(ScanFact, String)>, StoreError> {
    let mut sql = Sql::new(
        "SELECT id, scanner, scanned_at, critical, high, medium, low, unknown, actor_subject FROM scan \
         WHERE latest AND service_id = ",
    );
    sql.bind(service_id).push(" AND artefact = ").bind(artefact).push(" ORDER BY scanner");
    sql.all(conn).await?.iter().map(|row| Ok((fact(row)?, row.try_get("", "actor_subject")?))).collect()
}

/// The newest release of the service that has scans which count and is within the budget, among its `limit` newest.
pub async fn newest_within(
    conn: &impl ConnectionTrait,
    service_id: Uuid,
    rule: &VulnerabilitiesRule,
    limit: i64,
) -> Result<Option<String>, StoreError> {
    let mut sql = Sql::new(
        "SELECT r.version, c.id, c.scanner, c.scanned_at, c.critical, c.high, c.medium, c.low, c.unknown FROM \
         (SELECT version, place, artefact FROM release WHERE service_id = ",
    );
    sql.bind(service_id).push(" ORDER BY ordered_at DESC, number DESC LIMIT ").bind(limit);
    sql.push(
        ") AS r JOIN scan c ON c.service_id = $1 AND c.artefact = r.artefact AND c.latest \
         ORDER BY r.place DESC, c.scanner",
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
