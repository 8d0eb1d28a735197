//! What the gate reads beside the target and its environment, in as few statements as can be: how many do not depend on
//! how many approvals or scans there are.

mod sources;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DatabaseBackend, QueryResult};
use serde::{Deserialize, de::DeserializeOwned};
use uuid::Uuid;

pub use self::sources::sources;
use crate::{
    domain::{
        environment::Environment,
        gate::facts::{ApprovalFact, Counts, ScanFact, Source},
        release::Release,
        vocabulary::{Mode, Voice},
    },
    store::{
        entity::release::Entity as ReleaseEntity,
        error::StoreError,
        release,
        sql::{Sql, columns},
    },
};

// These two are written into the statement: SQLite plans it anew for each limit that is bound.

/// So many voices about a release in an environment are looked at, rejections first.
const APPROVALS_MAX: i64 = 500;
/// The latest scans of so many scanners are.
const SCANS_MAX: i64 = 100;

/// Whose evidence is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The service.
    pub service_id: Uuid,
    /// The environment, with its policy: what no rule looks at is not read.
    pub environment: &'a Environment,
    /// The release's version.
    pub version: &'a str,
    /// The artefact that it will be, where it is registered only now.
    pub artefact: Option<&'a str>,
    /// The release that is current in the target.
    pub current: Option<Uuid>,
    /// Whether the targets that the policy promotes from are locked against every change, which a start needs. What is
    /// on record about them is then read by [`sources()`] in a statement of its own, which sees it as it is under the locks.
    pub lock_sources: bool,
}

/// The releases that are asked for, and what is on record about the one that is to go there.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The release of the version, if it is on record.
    pub release: Option<Release>,
    /// The release that is current in the target.
    pub current: Option<Release>,
    /// The highest number that the service has given to a release.
    pub last_number: i64,
    /// What people say about it, the oldest first.
    pub approvals: Vec<ApprovalFact>,
    /// The latest scan by each scanner.
    pub scans: Vec<ScanFact>,
    /// When its artefact was last reverted in this environment.
    pub reverted_at: Option<DateTime<Utc>>,
    /// The environments that the policy promotes from, where they were not locked.
    pub sources: Option<Vec<Source>>,
}

fn looked_at(mode: Mode) -> bool {
    mode != Mode::Off
}

/// Reads the releases and all that is on record about the one that is to go there, in one statement.
pub async fn evidence(conn: &impl ConnectionTrait, wanted: &Wanted<'_>) -> Result<Evidence, StoreError> {
    let policy = &wanted.environment.policy.policy;
    let postgres = conn.get_database_backend() == DatabaseBackend::Postgres;
    let mut sql = Sql::new(String::new());
    if wanted.lock_sources && postgres && looked_at(policy.promotion.mode) {
        sql.push("WITH sources AS MATERIALIZED (SELECT t.environment_id FROM target t JOIN environment e ON e.id = t.environment_id WHERE t.service_id = ");
        sql.bind(wanted.service_id).push(" AND e.name IN (NULL");
        for name in &policy.promotion.from {
            sql.push(", ").bind(name.as_str());
        }
        sql.push(") ORDER BY e.id FOR SHARE OF t) SELECT (SELECT COUNT(*) FROM sources) AS locked, ");
    } else {
        sql.push("SELECT ");
    }
    sql.push(&columns::<ReleaseEntity>("r", "")).push(", l.* FROM (SELECT ");
    sql.push("(SELECT COALESCE(MAX(number), 0) FROM release WHERE service_id = ").bind(wanted.service_id);
    sql.push(") AS last_number");
    if looked_at(policy.approval.mode) {
        approvals(&mut sql, postgres, wanted);
    }
    if looked_at(policy.vulnerabilities.mode) {
        scans(&mut sql, postgres, wanted);
    }
    if looked_at(policy.promotion.mode) && !wanted.lock_sources {
        sources::push(sql.push(", "), postgres, wanted);
    }
    sql.push(") AS l LEFT JOIN release r ON r.service_id = ").bind(wanted.service_id);
    sql.push(" AND (r.version = ").bind(wanted.version).push(" OR r.id = ").bind(wanted.current).push(")");
    let rows = sql.all(conn).await?;
    let first = rows.first().ok_or(StoreError::Corrupt("evidence"))?;
    let mut evidence = read_evidence(first, wanted)?;
    for row in &rows {
        if row.try_get::<Option<Uuid>>("", "id")?.is_some() {
            let release = release::from_row(row)?;
            if Some(release.id) == wanted.current {
                evidence.current = Some(release.clone());
            }
            if release.identity.version.as_str() == wanted.version {
                evidence.release = Some(release);
            }
        }
    }
    Ok(evidence)
}

/// A column of JSON, up to the query whose rows become objects of these fields; it ends with `) AS o)`. An id is written
/// as text, which both databases read back as one.
fn objects(postgres: bool, fields: &[&str]) -> String {
    if postgres {
        return "(SELECT COALESCE(json_agg(o), '[]')::text FROM (".to_owned();
    }
    let field = |name: &&str| match *name {
        "id" => "'id', lower(hex(id))".to_owned(),
        name => format!("'{name}', {name}"),
    };
    let fields = fields.iter().map(field).collect::<Vec<_>>().join(", ");
    format!("(SELECT json_group_array(json_object({fields})) FROM (")
}

/// The artefact of the release that is to go there, in SQL.
fn artefact(sql: &mut Sql, column: &str, wanted: &Wanted<'_>) {
    sql.push(&format!("{column} IN (")).bind(wanted.artefact.map(ToOwned::to_owned));
    sql.push(", (SELECT artefact FROM release WHERE service_id = ").bind(wanted.service_id);
    sql.push(" AND version = ").bind(wanted.version).push("))");
}

fn approvals(sql: &mut Sql, postgres: bool, wanted: &Wanted<'_>) {
    sql.push(", ").push(&objects(postgres, &["id", "decision", "subject", "spoke_for", "at"]));
    sql.push(
        "SELECT a.id, a.decision, a.actor_subject AS subject, a.groups AS spoke_for, a.created_at AS at ",
    );
    sql.push("FROM approval a JOIN release ar ON ar.id = a.release_id WHERE ar.service_id = ");
    sql.bind(wanted.service_id).push(" AND ar.version = ").bind(wanted.version);
    sql.push(" AND a.environment_id = ").bind(wanted.environment.id).push(" AND a.withdrawn_at IS NULL");
    sql.push(&format!(" ORDER BY a.decision DESC, a.created_at DESC, a.id DESC LIMIT {APPROVALS_MAX}"));
    sql.push(") AS o) AS approvals, (SELECT MAX(b.finished_at) FROM deployment d JOIN deployment b ON b.id = d.reverted_by");
    sql.push(" WHERE d.status = 'succeeded' AND d.service_id = ").bind(wanted.service_id);
    sql.push(" AND d.environment_id = ").bind(wanted.environment.id).push(" AND ");
    artefact(sql, "d.artefact", wanted);
    sql.push(") AS reverted_at");
}

fn scans(sql: &mut Sql, postgres: bool, wanted: &Wanted<'_>) {
    let fields = ["id", "scanner", "scanned_at", "critical", "high", "medium", "low", "unknown"];
    sql.push(", ").push(&objects(postgres, &fields)).push("SELECT ").push(&fields.join(", "));
    sql.push(" FROM scan WHERE latest AND service_id = ").bind(wanted.service_id).push(" AND ");
    artefact(sql, "artefact", wanted);
    sql.push(&format!(" ORDER BY scanner LIMIT {SCANS_MAX}) AS o) AS scans"));
}

/// What somebody says, as the database writes it into JSON.
#[derive(Deserialize)]
struct ApprovalRow {
    id: Uuid,
    decision: Voice,
    subject: String,
    spoke_for: String,
    at: DateTime<Utc>,
}

/// A scan as the database writes it into JSON.
#[derive(Deserialize)]
struct ScanRow {
    id: Uuid,
    scanner: String,
    scanned_at: DateTime<Utc>,
    #[serde(flatten)]
    counts: Counts,
}

/// The rows of a column of JSON, which is there only where the rule that looks at them is not off.
fn rows<T: DeserializeOwned>(row: &QueryResult, column: &str, mode: Mode) -> Result<Vec<T>, StoreError> {
    if !looked_at(mode) {
        return Ok(Vec::new());
    }
    let text: String = row.try_get("", column)?;
    serde_json::from_str(&text).map_err(|_| StoreError::Corrupt("evidence"))
}

fn read_evidence(row: &QueryResult, wanted: &Wanted<'_>) -> Result<Evidence, StoreError> {
    let policy = &wanted.environment.policy.policy;
    let approval = |row: ApprovalRow| {
        let groups = serde_json::from_str(&row.spoke_for).map_err(|_| StoreError::Corrupt("groups"))?;
        Ok(ApprovalFact { id: row.id, decision: row.decision, subject: row.subject, groups, at: row.at })
    };
    let approvals = rows(row, "approvals", policy.approval.mode)?.into_iter().map(approval);
    let mut approvals: Vec<ApprovalFact> = approvals.collect::<Result<_, StoreError>>()?;
    approvals.sort_by_key(|approval| (approval.at, approval.id));
    let sources = if wanted.lock_sources {
        None
    } else {
        let stays: Vec<_> = rows(row, "sources", policy.promotion.mode)?;
        Some(sources::read(&stays, &policy.promotion.from))
    };
    let scan = |ScanRow { id, scanner, scanned_at, counts }| ScanFact { id, scanner, scanned_at, counts };
    Ok(Evidence {
        release: None,
        current: None,
        last_number: row.try_get("", "last_number")?,
        approvals,
        scans: rows(row, "scans", policy.vulnerabilities.mode)?.into_iter().map(scan).collect(),
        reverted_at: if looked_at(policy.approval.mode) { row.try_get("", "reverted_at")? } else { None },
        sources,
    })
}
