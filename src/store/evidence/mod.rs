//! What the gate reads beside the target and its environment, in as few statements as can be: how many do not depend on
//! how many approvals or scans there are. By hand: lists come as columns of JSON.

mod sources;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DatabaseBackend, FromQueryResult as _, QueryResult};
use serde::{Deserialize, de::DeserializeOwned};
use uuid::Uuid;

use self::sources::StayRow;
use crate::{
    domain::{
        approval::is_for,
        environment::Environment,
        gate::facts::{ApprovalFact, Counts, CurrentFact, ScanFact, Source, WaiverFact, told},
        release::{Identity, Release},
        text::{Image, Version},
        vocabulary::{Mode, PackageClass, ScanFormat, Voice},
    },
    store::{
        entity::release::Entity as ReleaseEntity,
        error::StoreError,
        release::{self, Before},
        scan,
        sql::{Sql, columns, objects},
        waiver,
    },
};

// These two are written into the statement: SQLite plans it anew for each limit that is bound.

/// So many voices about a release in an environment are looked at, rejections first.
const APPROVALS_MAX: i64 = 500;
/// So many parts of scans are; more than may have a say, with those of scanners that policies name.
const SCANS_MAX: i64 = 2000;

/// Whose evidence is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub service_id: Uuid,
    /// The environment, with its policy: what no rule looks at is not read.
    pub environment: &'a Environment,
    /// The release's version.
    pub version: &'a Version,
    /// What it will be, where it is registered only now.
    pub given: Option<&'a Identity>,
    /// The release that is current in the target.
    pub current: Option<Uuid>,
    pub now: DateTime<Utc>,
}

impl Wanted<'_> {
    /// The environments that are looked at for how the artefact fared there: those that the policy promotes from, and the
    /// one that it is to go to, for when it was reverted.
    fn places(&self) -> Vec<&str> {
        let policy = &self.environment.policy.policy;
        let from = policy.promotion.from.iter().map(String::as_str);
        let from = from.filter(|_| looked_at(policy.promotion.mode));
        from.chain(looked_at(policy.approval.mode).then_some(self.environment.name.as_str())).collect()
    }
}

/// The releases that are asked for, and what is on record about the one that is to go there.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The release of the version, if it is on record.
    pub release: Option<Release>,
    /// The release that is current in the target.
    pub current: Option<CurrentFact>,
    /// What a release that is registered now comes after.
    pub before: Before,
    /// What people say about it, the oldest first.
    pub approvals: Vec<Said>,
    /// What counts of the scans of its artefact.
    pub scans: Vec<ScanFact>,
    /// The waivers that take something out of the budget of these.
    pub waivers: BTreeMap<Uuid, WaiverFact>,
    /// When it, or its artefact, was last reverted in this environment.
    pub reverted_at: Option<DateTime<Utc>>,
    /// The environments that the policy promotes from.
    pub sources: Vec<Source>,
}

/// What somebody says, and the image that they said it for.
#[derive(Clone, Debug)]
pub struct Said {
    /// Whose it is, what and when; for the image that the release has.
    fact: ApprovalFact,
    image: Option<Image>,
}

impl Evidence {
    /// A release has just taken this place in the order.
    pub fn make_room(&mut self, place: i64) {
        if let Some(current) = &mut self.current
            && current.number >= place
        {
            current.number += 1;
        }
    }
}

impl Said {
    /// As the gate's rule sees it, of a release that has this image now: a start may add it.
    pub fn of(self, image: Option<&Image>) -> ApprovalFact {
        ApprovalFact { for_image: is_for(self.image.as_ref(), image), ..self.fact }
    }
}

fn looked_at(mode: Mode) -> bool {
    mode != Mode::Off
}

/// Reads the releases and all that is on record about the one that is to go there, in one statement.
pub async fn of(conn: &impl ConnectionTrait, wanted: &Wanted<'_>) -> Result<Evidence, StoreError> {
    let policy = &wanted.environment.policy.policy;
    let postgres = conn.get_database_backend() == DatabaseBackend::Postgres;
    let mut sql = Sql::new("SELECT ");
    sql.push(&columns::<ReleaseEntity>("asked", ""));
    sql.push(
        ", c.version AS current_version, c.place AS current_place, c.ordered_at AS current_ordered_at, ",
    );
    release::before(&mut sql, postgres, wanted.service_id, wanted.version, wanted.given);
    if looked_at(policy.approval.mode) {
        approvals(&mut sql, postgres, wanted);
    }
    if looked_at(policy.vulnerabilities.mode) {
        scans(&mut sql, postgres, wanted);
    }
    let places = wanted.places();
    if !places.is_empty() {
        sources::push(sql.push(", "), postgres, wanted, &places);
    }
    from_asked(&mut sql, wanted);
    sql.push(" LEFT JOIN release c ON c.id = ").bind(wanted.current);
    let row = sql.one(conn).await?.ok_or(StoreError::Corrupt("evidence"))?;
    read_evidence(&row, wanted)
}

/// Pushes where the statement reads from: `asked`, one row with the release that is to go there, empty for one that is
/// registered only now, and with the artefact that it is then or will be, as `sought`.
fn from_asked(sql: &mut Sql, wanted: &Wanted<'_>) {
    sql.push(" FROM (SELECT r.*, COALESCE(CASE WHEN r.image IS NOT NULL THEN r.artefact END, NULLIF(g.artefact, g.version), r.artefact, g.artefact) AS sought FROM (SELECT ");
    sql.bind(wanted.given.map(Identity::artefact)).push(" AS artefact, ").bind(wanted.version.as_str());
    sql.push(" AS version) AS g LEFT JOIN release r ON r.version = g.version AND r.service_id = ");
    sql.bind(wanted.service_id).push(") AS asked");
}

fn approvals(sql: &mut Sql, postgres: bool, wanted: &Wanted<'_>) {
    sql.push(", ")
        .push(&objects(postgres, &["id", "decision", "subject", "spoke_for", "at", "image", "comment"]));
    sql.push(
        "SELECT a.id, a.decision, a.actor_subject AS subject, a.groups AS spoke_for, a.created_at AS at, a.image, \
         CASE WHEN a.decision = 'rejected' THEN a.comment END AS comment FROM approval a WHERE a.release_id = asked.id AND a.environment_id = ",
    );
    sql.bind(wanted.environment.id).push(" AND a.withdrawn_at IS NULL");
    sql.push(&format!(" ORDER BY a.decision DESC, a.created_at DESC, a.id DESC LIMIT {APPROVALS_MAX}"));
    sql.push(") AS o) AS approvals");
}

fn scans(sql: &mut Sql, postgres: bool, wanted: &Wanted<'_>) {
    let fields = [
        "id",
        "scanner",
        "platform",
        "class",
        "scanned_at",
        "critical",
        "high",
        "medium",
        "low",
        "unknown",
        "fixable",
        "format",
        "waived",
    ];
    sql.push(", ").push(&objects(postgres, &fields)).push("SELECT c.id, c.scanner, c.platform, p.class, c.scanned_at, p.critical, p.high, p.medium, p.low, p.unknown, p.fixable, c.format, ");
    let environment = Some(wanted.environment.name.as_str());
    waiver::waived(sql, postgres, waiver::Wanted { environment, now: wanted.now, words: true });
    sql.push(" FROM scan_part p JOIN scan c ON c.id = p.scan_id WHERE p.latest AND p.service_id = ");
    sql.bind(wanted.service_id)
        .push(" AND p.artefact = asked.sought ORDER BY p.scanner, p.platform, p.class");
    sql.push(&format!(" LIMIT {SCANS_MAX}) AS o) AS scans"));
}

/// What somebody says, as the database writes it into JSON.
#[derive(Deserialize)]
struct ApprovalRow {
    id: Uuid,
    decision: Voice,
    subject: String,
    spoke_for: String,
    at: DateTime<Utc>,
    image: Option<String>,
    comment: Option<String>,
}

/// A part of a scan as the database writes it into JSON.
#[derive(Deserialize)]
struct ScanRow {
    id: Uuid,
    scanner: String,
    platform: Option<String>,
    class: PackageClass,
    scanned_at: DateTime<Utc>,
    critical: u32,
    high: u32,
    medium: u32,
    low: u32,
    unknown: u32,
    fixable: Option<String>,
    format: ScanFormat,
    waived: String,
}

impl ScanRow {
    fn fact(self, waivers: &mut BTreeMap<Uuid, WaiverFact>) -> Result<ScanFact, StoreError> {
        let Self {
            id,
            scanner,
            platform,
            class,
            scanned_at,
            critical,
            high,
            medium,
            low,
            unknown,
            fixable,
            format,
            waived,
        } = self;
        let counts = Counts { critical, high, medium, low, unknown };
        let fixable = scan::fixable_in(fixable)?;
        let waived = waiver::read_told(&waived, waivers)?;
        let plain = format == ScanFormat::Plain;
        Ok(ScanFact { id, scanner, platform, class, scanned_at, counts, fixable, plain, waived })
    }
}

/// The rows of a column of JSON, which is there only where a rule looks at them.
fn rows<T: DeserializeOwned>(row: &QueryResult, column: &str, looked_at: bool) -> Result<Vec<T>, StoreError> {
    if !looked_at {
        return Ok(Vec::new());
    }
    let text: String = row.try_get("", column)?;
    serde_json::from_str(&text).map_err(|_| StoreError::Corrupt("evidence"))
}

fn read_evidence(row: &QueryResult, wanted: &Wanted<'_>) -> Result<Evidence, StoreError> {
    let policy = &wanted.environment.policy.policy;
    let approval = |row: ApprovalRow| {
        let groups = serde_json::from_str(&row.spoke_for).map_err(|_| StoreError::Corrupt("groups"))?;
        let ApprovalRow { id, decision, subject, at, image, comment, .. } = row;
        let comment = told(decision, comment.as_deref());
        let image = image.map(Image::trusted);
        Ok(Said { fact: ApprovalFact { id, decision, subject, groups, at, comment, for_image: true }, image })
    };
    let approvals = rows(row, "approvals", looked_at(policy.approval.mode))?.into_iter().map(approval);
    let mut approvals: Vec<Said> = approvals.collect::<Result<_, StoreError>>()?;
    approvals.sort_by_key(|said| (said.fact.at, said.fact.id));
    let scans: Vec<ScanRow> = rows(row, "scans", looked_at(policy.vulnerabilities.mode))?;
    let mut waivers = BTreeMap::new();
    let scans = scans.into_iter().map(|scan| scan.fact(&mut waivers)).collect::<Result<_, _>>()?;
    let stays: Vec<StayRow> = rows(row, "sources", !wanted.places().is_empty())?;
    let here = stays.iter().find(|stay| stay.name == wanted.environment.name.as_str());
    let sources = if looked_at(policy.promotion.mode) {
        sources::read(&stays, &policy.promotion.from, wanted.now)
    } else {
        Vec::new()
    };
    let known = row.try_get::<Option<Uuid>>("", "id")?.is_some();
    let current = match row.try_get("", "current_version")? {
        Some(version) => Some(CurrentFact {
            version,
            number: row.try_get("", "current_place")?,
            ordered_at: Some(row.try_get("", "current_ordered_at")?),
        }),
        None => None,
    };
    Ok(Evidence {
        release: if known { Some(Release::from_query_result(row, "")?) } else { None },
        current,
        before: Before::read(row)?,
        approvals,
        scans,
        waivers,
        reverted_at: here.and_then(|stay| stay.reverted_at),
        sources,
    })
}
