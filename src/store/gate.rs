//! What the gate reads beside the target and its environment, in as few statements as can be: how many do not depend on
//! how many windows, approvals or scans there are.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DatabaseBackend, QueryResult};
use serde::{Deserialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    domain::{
        environment::Environment,
        freeze::{Timing, Window},
        gate::{
            facts::{ApprovalFact, Counts, ScanFact, Source, SourceStanding},
            rules,
        },
        policy::Policy,
        release::Release,
        vocabulary::{Mode, Voice},
    },
    store::{
        entity::release::Entity as ReleaseEntity,
        error::StoreError,
        release,
        sql::{Sql, clock, columns, now_of},
    },
};

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
    /// The moment.
    pub now: DateTime<Utc>,
    /// Whether the targets that the policy promotes from are locked against every change, which a start needs.
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
    /// The freeze windows that concern the environment and are not over.
    pub windows: Vec<Window>,
    /// What people say about it, the oldest first.
    pub approvals: Vec<ApprovalFact>,
    /// The latest scan by each scanner.
    pub scans: Vec<ScanFact>,
    /// When its artefact was last reverted in this environment.
    pub reverted_at: Option<DateTime<Utc>>,
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
        sql.push(") ORDER BY e.id FOR SHARE OF t) SELECT (SELECT COUNT(*) FROM sources) AS sources, ");
    } else {
        sql.push("SELECT ");
    }
    sql.push(&columns::<ReleaseEntity>("r", "")).push(", l.* FROM (SELECT ");
    sql.push("(SELECT COALESCE(MAX(number), 0) FROM release WHERE service_id = ").bind(wanted.service_id);
    sql.push(") AS last_number");
    if looked_at(policy.freeze.mode) {
        windows(&mut sql, postgres, wanted);
    }
    if looked_at(policy.approval.mode) {
        approvals(&mut sql, postgres, wanted);
    }
    if looked_at(policy.vulnerabilities.mode) {
        scans(&mut sql, postgres, wanted);
    }
    sql.push(") AS l LEFT JOIN release r ON r.service_id = ").bind(wanted.service_id);
    sql.push(" AND (r.version = ").bind(wanted.version).push(" OR r.id = ").bind(wanted.current).push(")");
    let rows = sql.all(conn).await?;
    let first = rows.first().ok_or(StoreError::Corrupt("evidence"))?;
    let mut evidence = read_evidence(first, policy)?;
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

/// A column of JSON: the rows of a query as objects of these fields. An id is written as text, which both databases read
/// back as one.
fn objects(postgres: bool, fields: &[(&str, &str)]) -> String {
    let field = |(name, column): &(&str, &str)| {
        let is_id = *name == "id" && !postgres;
        if is_id { format!("'{name}', lower(hex({column}))") } else { format!("'{name}', {column}") }
    };
    let fields = fields.iter().map(field).collect::<Vec<_>>().join(", ");
    if postgres {
        format!("(SELECT COALESCE(json_agg(json_build_object({fields})), '[]')::text FROM (")
    } else {
        format!("(SELECT json_group_array(json_object({fields})) FROM (")
    }
}

fn windows(sql: &mut Sql, postgres: bool, wanted: &Wanted<'_>) {
    let columns = ["id", "name", "reason", "starts_at", "ends_at", "start_cron", "end_cron", "timezone"];
    sql.push(", ").push(&objects(postgres, &columns.map(|column| (column, column))));
    // Names hold neither quotes nor wildcards, so that this finds the whole name and nothing else.
    sql.push("SELECT * FROM freeze_window WHERE (environments LIKE ");
    sql.bind(format!("%\"{}\"%", wanted.environment.name));
    sql.push(" OR tiers LIKE ").bind(format!("%\"{}\"%", wanted.environment.settings.tier));
    sql.push(") AND (ends_at IS NULL OR ends_at > ").bind(wanted.now);
    sql.push(") ORDER BY created_at, id) AS w) AS windows");
}

/// The artefact of the release that is to go there, in SQL.
fn artefact(sql: &mut Sql, column: &str, wanted: &Wanted<'_>) {
    sql.push(&format!("{column} IN (")).bind(wanted.artefact.map(ToOwned::to_owned));
    sql.push(", (SELECT artefact FROM release WHERE service_id = ").bind(wanted.service_id);
    sql.push(" AND version = ").bind(wanted.version).push("))");
}

fn approvals(sql: &mut Sql, postgres: bool, wanted: &Wanted<'_>) {
    let fields = [
        ("id", "id"),
        ("decision", "decision"),
        ("subject", "actor_subject"),
        ("groups", "groups"),
        ("at", "created_at"),
    ];
    sql.push(", ").push(&objects(postgres, &fields).replace("'groups', groups", "'groups', \"groups\""));
    sql.push("SELECT a.* FROM approval a JOIN release ar ON ar.id = a.release_id WHERE ar.service_id = ");
    sql.bind(wanted.service_id).push(" AND ar.version = ").bind(wanted.version);
    sql.push(" AND a.environment_id = ").bind(wanted.environment.id).push(" AND a.withdrawn_at IS NULL");
    sql.push(" ORDER BY a.decision DESC, a.created_at DESC, a.id DESC LIMIT ").bind(APPROVALS_MAX);
    sql.push(") AS a) AS approvals, (SELECT MAX(b.finished_at) FROM deployment d JOIN deployment b ON b.id = d.reverted_by");
    sql.push(" WHERE d.status = 'succeeded' AND d.service_id = ").bind(wanted.service_id);
    sql.push(" AND d.environment_id = ").bind(wanted.environment.id).push(" AND ");
    artefact(sql, "d.artefact", wanted);
    sql.push(") AS reverted_at");
}

fn scans(sql: &mut Sql, postgres: bool, wanted: &Wanted<'_>) {
    let columns = ["id", "scanner", "scanned_at", "critical", "high", "medium", "low", "unknown"];
    sql.push(", ").push(&objects(postgres, &columns.map(|column| (column, column))));
    sql.push("SELECT * FROM scan WHERE latest AND service_id = ").bind(wanted.service_id).push(" AND ");
    artefact(sql, "artefact", wanted);
    sql.push(" ORDER BY scanner LIMIT ").bind(SCANS_MAX).push(") AS s) AS scans");
}

/// A freeze window as the database writes it into JSON.
#[derive(Deserialize)]
struct WindowRow {
    id: Uuid,
    name: String,
    reason: String,
    starts_at: Option<DateTime<Utc>>,
    ends_at: Option<DateTime<Utc>>,
    start_cron: Option<String>,
    end_cron: Option<String>,
    timezone: Option<String>,
}

impl WindowRow {
    fn window(self) -> Option<Window> {
        let once = self.starts_at.zip(self.ends_at);
        let recurring = self.start_cron.zip(self.end_cron).zip(self.timezone);
        let timing = once.map(|(starts_at, ends_at)| Timing::Once { starts_at, ends_at }).or_else(|| {
            recurring.map(|((start_cron, end_cron), timezone)| Timing::Recurring {
                start_cron,
                end_cron,
                timezone,
            })
        })?;
        Some(Window { id: self.id, name: self.name, reason: self.reason, timing })
    }
}

/// What somebody says, as the database writes it into JSON.
#[derive(Deserialize)]
struct ApprovalRow {
    id: Uuid,
    decision: Voice,
    subject: String,
    groups: String,
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

fn read_evidence(row: &QueryResult, policy: &Policy) -> Result<Evidence, StoreError> {
    let windows: Vec<WindowRow> = rows(row, "windows", policy.freeze.mode)?;
    let approval = |row: ApprovalRow| {
        let groups = serde_json::from_str(&row.groups).map_err(|_| StoreError::Corrupt("groups"))?;
        Ok(ApprovalFact { id: row.id, decision: row.decision, subject: row.subject, groups, at: row.at })
    };
    let approvals = rows(row, "approvals", policy.approval.mode)?.into_iter().map(approval);
    let mut approvals: Vec<ApprovalFact> = approvals.collect::<Result<_, StoreError>>()?;
    approvals.sort_by_key(|approval| (approval.at, approval.id));
    let scan = |ScanRow { id, scanner, scanned_at, counts }| ScanFact { id, scanner, scanned_at, counts };
    let windows = windows.into_iter().map(WindowRow::window);
    Ok(Evidence {
        release: None,
        current: None,
        last_number: row.try_get("", "last_number")?,
        windows: windows.collect::<Option<_>>().ok_or(StoreError::Corrupt("freeze window"))?,
        approvals,
        scans: rows(row, "scans", policy.vulnerabilities.mode)?.into_iter().map(scan).collect(),
        reverted_at: if looked_at(policy.approval.mode) { row.try_get("", "reverted_at")? } else { None },
    })
}

/// What the rules know of the environments that a policy promotes from, in the order of `names`, and the moment.
pub async fn sources(
    conn: &impl ConnectionTrait,
    service_id: Uuid,
    artefact: &str,
    names: &[String],
) -> Result<(Vec<Source>, Option<DateTime<Utc>>), StoreError> {
    // Of each stay, from when on it counts: from the first deployment in it that went through the gate.
    let mut sql = Sql::new(format!(
        "SELECT e.name, e.unconfirmed, e.archived_at, v.since, v.until, v.goes_on, \
         (SELECT MAX(b.finished_at) FROM deployment x JOIN deployment b ON b.id = x.reverted_by \
         WHERE x.status = 'succeeded' AND x.service_id = $1 AND x.artefact = $2 AND x.environment_id = e.id) AS reverted_at, \
         {} AS now FROM environment e LEFT JOIN (SELECT d.environment_id, \
         MIN(CASE WHEN d.credited THEN d.finished_at END) AS since, MAX(d.superseded_at) AS until, \
         COUNT(*) > COUNT(d.superseded_at) AS goes_on FROM deployment d WHERE d.status = 'succeeded' \
         AND d.service_id = ",
        clock(conn)
    ));
    sql.bind(service_id).push(" AND d.artefact = ").bind(artefact);
    sql.push(" GROUP BY d.environment_id, d.stay_started_at) AS v ON v.environment_id = e.id WHERE e.name IN (NULL");
    for name in names {
        sql.push(", ").bind(name.as_str());
    }
    let found = sql.push(")").all(conn).await?;
    let now = found.first().map(now_of).transpose()?;
    let source = |name: &String| {
        let mut standing = SourceStanding::Unknown;
        let (mut stays, mut reverted_at) = (Vec::new(), None);
        for row in &found {
            if row.try_get::<String>("", "name")? != *name {
                continue;
            }
            let archived: Option<DateTime<Utc>> = row.try_get("", "archived_at")?;
            standing = match (archived, row.try_get::<bool>("", "unconfirmed")?) {
                (Some(_), _) => SourceStanding::Archived,
                (None, true) => SourceStanding::Unconfirmed,
                (None, false) => SourceStanding::Confirmed,
            };
            reverted_at = row.try_get("", "reverted_at")?;
            if let Some(since) = row.try_get::<Option<DateTime<Utc>>>("", "since")? {
                let goes_on: bool = row.try_get("", "goes_on")?;
                let until: Option<DateTime<Utc>> = row.try_get("", "until")?;
                stays.push((since, until.filter(|_| !goes_on)));
            }
        }
        Ok(rules::source(name.clone(), standing, &stays, reverted_at))
    };
    Ok((names.iter().map(source).collect::<Result<_, StoreError>>()?, now))
}
