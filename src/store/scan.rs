//! Scans, their parts and their findings. Of each scanner one part counts for a platform and a class of packages, and only
//! the findings of what counts are kept.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    domain::{
        actor::Actor,
        gate::facts::{Counts, ScanFact},
        page::{PageRequest, TimeKey},
        platform::Platform,
        policy::VulnerabilitiesRule,
        scan::{Coverage, Finding, FindingKey, Held, Part, Report, ReportPart, Scan, within},
        vocabulary::{PackageClass, ScanFormat},
    },
    store::{
        entity::{
            column::Json,
            finding, release,
            scan::{self, Column, Entity, Model, Relation},
            scan_part, vulnerability_alias,
        },
        prelude::*,
        sql::{Sql, columns, objects},
        waiver,
    },
};

/// How many findings one statement writes. SQLite looks each placeholder up among all of them.
const FINDINGS_PER_STATEMENT: usize = 250;
/// So many scans of the same moment are looked through.
const OF_MOMENT_MAX: u64 = 100;

/// A scan's parts, as one column of JSON.
fn parts(postgres: bool) -> Expr {
    let fields = ["class", "critical", "high", "medium", "low", "unknown", "fixable", "counting", "findings"];
    Expr::cust(format!(
        "{}SELECT p.class, p.critical, p.high, p.medium, p.low, p.unknown, p.fixable, \
         CASE WHEN p.latest THEN 1 ELSE 0 END AS counting, \
         (SELECT COUNT(*) FROM finding f WHERE f.scan_id = p.scan_id AND f.class = p.class) AS findings \
         FROM scan_part p WHERE p.scan_id = scan.id) AS o)",
        objects(postgres, &fields)
    ))
}

/// Scans with their releases' versions and their parts.
pub(super) fn select(conn: &impl ConnectionTrait) -> Select<Entity> {
    Entity::find()
        .with(Relation::Release)
        .column_as(release::Column::Version, "version")
        .column_as(parts(conn.get_database_backend() == DatabaseBackend::Postgres), "parts")
}

/// A part as the database writes it into JSON.
#[derive(Deserialize)]
struct PartRow {
    class: PackageClass,
    #[serde(flatten)]
    counts: Counts,
    fixable: Option<String>,
    counting: u8,
    findings: u32,
}

impl FromQueryResult for Scan {
    fn from_query_result(row: &QueryResult, _: &str) -> Result<Self, DbErr> {
        let model = Model::from_query_result(row, "")?;
        let parts: String = row.try_get("", "parts")?;
        let mut parts: Vec<PartRow> = serde_json::from_str(&parts).map_err(|_| corrupt("parts of a scan"))?;
        parts.sort_by_key(|part| part.class);
        let part = |PartRow { class, counts, fixable, counting, findings }| {
            Ok(Part { class, counts, fixable: fixable_in(fixable)?, findings, latest: counting == 1 })
        };
        Ok(Self {
            id: model.id,
            service_id: model.service_id,
            release_id: model.release_id,
            version: row.try_get("", "version")?,
            artefact: model.artefact,
            scanner: model.scanner,
            format: model.format,
            platform: model.platform,
            scanned_at: model.scanned_at,
            parts: parts.into_iter().map(part).collect::<Result<_, DbErr>>()?,
            actor: Actor { token: model.actor_token, subject: model.actor_subject },
            created_at: model.created_at,
        })
    }
}

/// What a column says of how many have a fix.
pub(super) fn fixable_in(text: Option<String>) -> Result<Option<Counts>, DbErr> {
    let read = |text: String| serde_json::from_str(&text).map_err(|_| corrupt("counts of what has a fix"));
    text.map(read).transpose()
}

/// What a part of a scan tells the gate.
fn fact(part: &scan_part::Model, scan: &Model) -> Result<ScanFact, StoreError> {
    let count = |count| u32::try_from(count).map_err(|_| StoreError::Corrupt("count of a scan"));
    Ok(ScanFact {
        id: scan.id,
        scanner: scan.scanner.clone(),
        platform: scan.platform.clone(),
        class: part.class,
        scanned_at: scan.scanned_at,
        counts: Counts {
            critical: count(part.critical)?,
            high: count(part.high)?,
            medium: count(part.medium)?,
            low: count(part.low)?,
            unknown: count(part.unknown)?,
        },
        fixable: part.fixable.as_ref().map(|Json(counts)| *counts),
        plain: scan.format == ScanFormat::Plain,
        waived: Vec::new(),
    })
}

/// Writes a scan down with its parts and the findings of those that count. Fails with [`StoreError::Unique`] when another
/// of the scanner counts for the same.
pub async fn insert(conn: &impl ConnectionTrait, scan: &Scan, report: &Report) -> Result<(), StoreError> {
    let model = Model {
        id: scan.id,
        service_id: scan.service_id,
        release_id: scan.release_id,
        artefact: scan.artefact.clone(),
        scanner: scan.scanner.clone(),
        format: scan.format,
        platform: scan.platform.clone(),
        scanned_at: scan.scanned_at,
        actor_token: scan.actor.token.clone(),
        actor_subject: scan.actor.subject.clone(),
        created_at: scan.created_at,
    };
    Entity::insert(model.into_active_model()).exec_without_returning(conn).await?;
    let parts = scan.parts.iter().map(|part| part_model(scan, part).into_active_model());
    scan_part::Entity::insert_many(parts).exec_without_returning(conn).await?;
    let counting = |part: &&ReportPart| scan.parts.iter().any(|kept| kept.class == part.class && kept.latest);
    for part in report.parts.iter().filter(counting) {
        insert_findings(conn, scan.id, part).await?;
    }
    Ok(())
}

fn part_model(scan: &Scan, part: &Part) -> scan_part::Model {
    let Counts { critical, high, medium, low, unknown } = part.counts;
    scan_part::Model {
        scan_id: scan.id,
        class: part.class,
        service_id: scan.service_id,
        artefact: scan.artefact.clone(),
        scanner: scan.scanner.clone(),
        platform: scan.platform.clone().unwrap_or_default(),
        critical: critical.into(),
        high: high.into(),
        medium: medium.into(),
        low: low.into(),
        unknown: unknown.into(),
        latest: part.latest,
        fixable: part.fixable.map(Json),
    }
}

/// Writes the findings of a part, and the other ids of their vulnerabilities.
async fn insert_findings(
    conn: &impl ConnectionTrait,
    scan_id: Uuid,
    ReportPart { class, findings, .. }: &ReportPart,
) -> Result<(), StoreError> {
    for chunk in findings.chunks(FINDINGS_PER_STATEMENT) {
        let models = chunk.iter().cloned().map(|finding| finding::Model {
            scan_id,
            class: *class,
            vulnerability: finding.vulnerability,
            package: finding.package,
            version: finding.installed_version.unwrap_or_default(),
            severity: finding.severity,
            fixed_version: finding.fixed_version,
        });
        let models = models.map(IntoActiveModel::into_active_model);
        finding::Entity::insert_many(models).exec_without_returning(conn).await?;
    }
    let aliases: BTreeSet<(&str, &str)> = findings.iter().flat_map(aliases).collect();
    for chunk in Vec::from_iter(aliases).chunks(FINDINGS_PER_STATEMENT) {
        let models = chunk.iter().map(|(alias, vulnerability)| vulnerability_alias::Model {
            scan_id,
            class: *class,
            alias: (*alias).to_owned(),
            vulnerability: (*vulnerability).to_owned(),
        });
        let models = models.map(IntoActiveModel::into_active_model);
        vulnerability_alias::Entity::insert_many(models).exec_without_returning(conn).await?;
    }
    Ok(())
}

/// The other ids of a finding's vulnerability, each with its own.
fn aliases(finding: &Finding) -> impl Iterator<Item = (&str, &str)> {
    finding.aliases.iter().map(|alias| (alias.as_str(), finding.vulnerability.as_str()))
}

/// Lets a part of a scan count no longer; its findings go.
pub async fn supersede(
    conn: &impl ConnectionTrait,
    (scan_id, class): (Uuid, PackageClass),
) -> Result<(), StoreError> {
    let part = scan_part::ActiveModel {
        scan_id: Unchanged(scan_id),
        class: Unchanged(class),
        latest: Set(false),
        ..scan_part::ActiveModel::default()
    };
    scan_part::Entity::update(part).exec_without_returning(conn).await?;
    let findings = finding::Entity::delete_many().filter(finding::Column::ScanId.eq(scan_id));
    findings.filter(finding::Column::Class.eq(class)).exec(conn).await?;
    let aliases = vulnerability_alias::Entity::delete_many();
    let aliases = aliases.filter(vulnerability_alias::Column::ScanId.eq(scan_id));
    aliases.filter(vulnerability_alias::Column::Class.eq(class)).exec(conn).await?;
    Ok(())
}

/// The scans of an artefact that the same scanner made at the same moment, in the same form, in the order of arrival.
pub async fn of_moment(conn: &impl ConnectionTrait, of: &Scan) -> Result<Vec<Scan>, StoreError> {
    let query = select(conn)
        .filter(Column::ServiceId.eq(of.service_id))
        .filter(Column::Artefact.eq(of.artefact.as_str()))
        .filter(Column::Scanner.eq(of.scanner.as_str()))
        .filter(Column::ScannedAt.eq(of.scanned_at))
        .filter(Column::Format.eq(of.format))
        .order_by_asc(Column::CreatedAt)
        .order_by_asc(Column::Id)
        .limit(OF_MOMENT_MAX);
    Ok(query.into_model().all(conn).await?)
}

/// What tells the findings that are kept of a scan apart.
pub async fn finding_keys(
    conn: &impl ConnectionTrait,
    scan_id: Uuid,
) -> Result<BTreeSet<FindingKey>, StoreError> {
    let findings = finding::Entity::find().filter(finding::Column::ScanId.eq(scan_id)).all(conn).await?;
    let key = |finding: finding::Model| FindingKey {
        class: finding.class,
        vulnerability: finding.vulnerability,
        package: finding.package,
        installed_version: Some(finding.version).filter(|version| !version.is_empty()),
    };
    Ok(findings.into_iter().map(key).collect())
}

/// Whether the scanner has made a scan of the artefact later than this one.
pub async fn has_later(conn: &impl ConnectionTrait, than: &Scan) -> Result<bool, StoreError> {
    let later = Entity::find()
        .filter(Column::ServiceId.eq(than.service_id))
        .filter(Column::Artefact.eq(than.artefact.as_str()))
        .filter(Column::Scanner.eq(than.scanner.as_str()))
        .filter(Column::ScannedAt.gt(than.scanned_at));
    Ok(later.exists(conn).await?)
}

/// Lists the scans of an artefact, whichever release they came with, newest first.
pub async fn list(
    conn: &impl ConnectionTrait,
    service_id: Uuid,
    artefact: &str,
    page: &PageRequest<TimeKey>,
) -> Result<Vec<Scan>, StoreError> {
    let query = select(conn).filter(Column::ServiceId.eq(service_id)).filter(Column::Artefact.eq(artefact));
    Ok(query.newest_first(Column::ScannedAt, Column::Id, page).into_model().all(conn).await?)
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
    use scan_part::{Column, Entity};
    let counting = Entity::find()
        .with(scan_part::Relation::Scan)
        // As a partial index has it.
        .filter(Column::Latest.into_expr())
        .filter(Column::ServiceId.eq(service_id))
        .filter(Column::Artefact.eq(artefact))
        .order_by_asc(Column::Scanner)
        .order_by_asc(Column::Platform)
        .order_by_asc(Column::Class)
        .select_two_required(scan::Entity);
    let read = |(part, scan): (scan_part::Model, Model)| {
        let fact = fact(&part, &scan)?;
        let Model { format, platform, scanned_at, actor_subject, .. } = scan;
        let coverage = Coverage { format, platform, class: part.class, scanned_at };
        Ok(Counting { fact, coverage, reporter: actor_subject })
    };
    counting.all(conn).await?.into_iter().map(read).collect()
}

/// Whose budget a release is to be within.
#[derive(Clone, Copy, Debug)]
pub struct Budgeted<'a> {
    pub service_id: Uuid,
    /// The environment, by its name: waivers may name it.
    pub environment: &'a str,
    pub rule: &'a VulnerabilitiesRule,
    pub now: DateTime<Utc>,
}

/// A release that may be within the budget.
struct Candidate {
    version: String,
    platforms: Vec<String>,
    scans: Vec<ScanFact>,
}

impl Candidate {
    fn is_within(&self, rule: &VulnerabilitiesRule, now: DateTime<Utc>) -> bool {
        within(rule, &self.scans, &self.platforms, now)
    }
}

/// The newest release of the service that has scans which count and is within the budget, among its `limit` newest: by
/// hand, because these are a query of their own.
pub async fn newest_within(
    conn: &impl ConnectionTrait,
    Budgeted { service_id, environment, rule, now }: Budgeted<'_>,
    limit: i64,
) -> Result<Option<String>, StoreError> {
    let mut sql = Sql::new(format!(
        "SELECT r.version, r.platforms, {}, {}, ",
        columns::<scan_part::Entity>("p", "p_"),
        columns::<Entity>("c", "c_")
    ));
    let postgres = conn.get_database_backend() == DatabaseBackend::Postgres;
    waiver::waived(&mut sql, postgres, waiver::Wanted { environment: Some(environment), now, words: false });
    let of_service = sql.number(service_id);
    sql.push(&format!(
        " FROM (SELECT version, platforms, place, artefact FROM release WHERE service_id = {of_service} \
         ORDER BY ordered_at DESC, number DESC LIMIT "
    ));
    sql.bind(limit).push(&format!(
        ") AS r JOIN scan_part p ON p.service_id = {of_service} AND p.artefact = r.artefact AND p.latest \
         JOIN scan c ON c.id = p.scan_id ORDER BY r.place DESC, p.scanner"
    ));
    let mut candidate: Option<Candidate> = None;
    for row in sql.all(conn).await? {
        let version: String = row.try_get("", "version")?;
        let part = scan_part::Model::from_query_result(&row, "p_")?;
        let waived = waiver::read_waived(&row.try_get::<String>("", "waived")?)?;
        let fact = ScanFact { waived, ..fact(&part, &Model::from_query_result(&row, "c_")?)? };
        match &mut candidate {
            Some(of) if of.version == version => of.scans.push(fact),
            Some(of) if of.is_within(rule, now) => return Ok(Some(std::mem::take(&mut of.version))),
            Some(_) | None => {
                let platforms: Option<Json<Vec<Platform>>> = row.try_get("", "platforms")?;
                let platforms = platforms.into_iter().flat_map(|Json(platforms)| platforms);
                let platforms = platforms.map(|platform| platform.name).collect();
                candidate = Some(Candidate { version, platforms, scans: vec![fact] });
            }
        }
    }
    Ok(candidate.filter(|of| of.is_within(rule, now)).map(|of| of.version))
}
