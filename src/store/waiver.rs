//! Waivers, and what they take out of the budget of parts of scans.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    domain::{
        actor::Actor,
        gate::facts::{Waived, WaiverFact, cut},
        page::{PageRequest, TimeKey},
        scope::Narrowing,
        vocabulary::Severity,
        waiver::{Definition, Filter, Taken, Waiver},
    },
    store::{
        entity::{
            column::Json,
            finding, vulnerability_alias,
            waiver::{ActiveModel, Column, Entity, Model},
        },
        prelude::*,
        query::{naming, naming_any},
        sql::{Sql, objects},
    },
};

/// So much of what waivers take out of one part of a scan is looked at; the rest counts.
const WAIVED_MAX: i64 = 1000;
/// How many scans' findings one statement reads.
const SCANS_PER_STATEMENT: usize = 500;

impl FromQueryResult for Waiver {
    fn from_query_result(row: &QueryResult, prefix: &str) -> Result<Self, DbErr> {
        let model = Model::from_query_result(row, prefix)?;
        let names = |names: Option<Json<BTreeSet<String>>>| names.map(|Json(names)| names);
        Ok(Self {
            id: model.id,
            definition: Definition {
                vulnerability: model.vulnerability,
                reason: model.reason,
                expires_at: model.expires_at,
                places: Narrowing {
                    services: names(model.services),
                    environments: names(model.environments),
                },
            },
            actor: Actor { token: model.actor_token, subject: model.actor_subject },
            created_at: model.created_at,
            withdrawn_at: model.withdrawn_at,
        })
    }
}

/// Inserts a waiver.
pub async fn insert(conn: &impl ConnectionTrait, waiver: &Waiver) -> Result<(), StoreError> {
    let Definition { vulnerability, reason, expires_at, places } = waiver.definition.clone();
    let model = Model {
        id: waiver.id,
        vulnerability,
        reason,
        services: places.services.map(Json),
        environments: places.environments.map(Json),
        expires_at,
        actor_token: waiver.actor.token.clone(),
        actor_subject: waiver.actor.subject.clone(),
        created_at: waiver.created_at,
        withdrawn_at: waiver.withdrawn_at,
    };
    Entity::insert(model.into_active_model()).exec_without_returning(conn).await?;
    Ok(())
}

/// Withdraws a waiver.
pub async fn withdraw(conn: &impl ConnectionTrait, id: Uuid, now: DateTime<Utc>) -> Result<(), StoreError> {
    let gone = ActiveModel { id: Unchanged(id), withdrawn_at: Set(Some(now)), ..ActiveModel::default() };
    Entity::update(gone).exec_without_returning(conn).await?;
    Ok(())
}

/// Those that hold at a moment.
fn holding(waivers: Select<Entity>, now: DateTime<Utc>) -> Select<Entity> {
    waivers.filter(Column::WithdrawnAt.is_null()).filter(Column::ExpiresAt.gt(now))
}

/// How many hold.
pub async fn count(conn: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<i64, StoreError> {
    Ok(i64::try_from(holding(Entity::find(), now).count(conn).await?).unwrap_or(i64::MAX))
}

/// Whether a scan has named a vulnerability, by this id or with it as another one.
pub async fn is_scanned(conn: &impl ConnectionTrait, vulnerability: &str) -> Result<bool, StoreError> {
    let named = finding::Entity::find().filter(finding::Column::Vulnerability.eq(vulnerability));
    let called = vulnerability_alias::Entity::find();
    let called = called.filter(vulnerability_alias::Column::Alias.eq(vulnerability));
    Ok(named.exists(conn).await? || called.exists(conn).await?)
}

/// The waivers that count somewhere within the narrowing.
fn select(within: &Narrowing) -> Select<Entity> {
    Entity::find()
        .apply_if(within.services.as_ref(), |query, names| {
            query.filter(naming_any(Column::Services, names, Column::Services.is_null()))
        })
        .apply_if(within.environments.as_ref(), |query, names| {
            query.filter(naming_any(Column::Environments, names, Column::Environments.is_null()))
        })
}

/// Finds a waiver that counts somewhere within the narrowing.
pub async fn find(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    id: Uuid,
) -> Result<Option<Waiver>, StoreError> {
    Ok(select(within).filter(Column::Id.eq(id)).into_model().one(conn).await?)
}

/// Those of these waivers that count somewhere within the narrowing.
pub async fn among(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    ids: &BTreeSet<Uuid>,
) -> Result<Vec<Waiver>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    Ok(select(within).filter(Column::Id.is_in(ids.iter().copied())).into_model().all(conn).await?)
}

/// Lists the waivers that count somewhere within the narrowing, newest first.
pub async fn list(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    filter: &Filter,
    page: &PageRequest<TimeKey>,
) -> Result<Vec<Waiver>, StoreError> {
    let counts =
        |column: Column, name: &str| Condition::any().add(column.is_null()).add(naming(column, name));
    let query = select(within)
        .only(Column::Vulnerability, filter.vulnerability.as_deref())
        .apply_if(filter.service.as_deref(), |query, name| query.filter(counts(Column::Services, name)))
        .apply_if(filter.environment.as_deref(), |query, name| {
            query.filter(counts(Column::Environments, name))
        })
        .apply_if(filter.at, holding);
    Ok(query.newest_first(Column::CreatedAt, Column::Id, page).into_model().all(conn).await?)
}

/// Whose waivers [`waived`] reads, and how much of them.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// Those that hold in this environment; in any where it is not given.
    pub environment: Option<&'a str>,
    /// Those that hold at this moment.
    pub now: DateTime<Utc>,
    /// Whether it is told too what they say.
    pub words: bool,
}

/// Pushes the column `waived`: what the waivers that hold take out of the budget of the part `p` of a scan. A part's
/// vulnerability is known by the other ids that its report gives it, too.
pub(super) fn waived(sql: &mut Sql, postgres: bool, wanted: Wanted<'_>) {
    let now = sql.number(wanted.now);
    let there = wanted.environment.map(|name| {
        let name = sql.number(name);
        // Put together there, because SQLite plans a statement anew each time for a pattern that is bound.
        format!(" AND (w.environments IS NULL OR w.environments LIKE '%\"' || {name} || '\"%')")
    });
    let there = there.unwrap_or_default();
    let holds = format!(
        "w.withdrawn_at IS NULL AND w.expires_at > {now} AND (w.services IS NULL OR w.services LIKE '%\"' || \
         (SELECT s.name FROM service s WHERE s.id = p.service_id) || '\"%'){there}"
    );
    let mut fields = vec!["id", "expires_at", "vulnerability", "severity", "found", "fixable"];
    if wanted.words {
        fields.extend(["waives", "reason"]);
    }
    sql.push(&objects(postgres, &fields)).push(&format!(
        "SELECT n.id, n.waives, n.reason, n.expires_at, f.vulnerability, f.severity, COUNT(*) AS found, \
         COUNT(f.fixed_version) AS fixable FROM (SELECT w.id, w.vulnerability AS waives, w.reason, w.expires_at, \
         w.vulnerability AS name FROM waiver w WHERE {holds} UNION SELECT w.id, w.vulnerability, w.reason, w.expires_at, \
         a.vulnerability FROM waiver w JOIN vulnerability_alias a ON a.scan_id = p.scan_id AND a.class = p.class \
         AND a.alias = w.vulnerability WHERE {holds}) AS n JOIN finding f ON f.scan_id = p.scan_id AND f.class = p.class \
         AND f.vulnerability = n.name GROUP BY n.id, n.waives, n.reason, n.expires_at, f.vulnerability, f.severity \
         ORDER BY n.expires_at DESC, n.id, f.vulnerability, f.severity LIMIT {WAIVED_MAX}) AS o) AS waived"
    ));
}

/// What a waiver takes, as the database writes it into JSON.
#[derive(Deserialize)]
struct Row {
    id: Uuid,
    #[serde(default)]
    waives: String,
    #[serde(default)]
    reason: String,
    expires_at: DateTime<Utc>,
    vulnerability: String,
    severity: Severity,
    found: u32,
    fixable: u32,
}

/// What the column that [`waived`] pushes says.
pub(super) fn read_waived(text: &str) -> Result<Vec<Waived>, StoreError> {
    read_told(text, &mut BTreeMap::new())
}

/// As [`read_waived`], and puts what the waivers say with those that are known already.
pub(super) fn read_told(
    text: &str,
    known: &mut BTreeMap<Uuid, WaiverFact>,
) -> Result<Vec<Waived>, StoreError> {
    let rows: Vec<Row> = serde_json::from_str(text).map_err(|_| StoreError::Corrupt("waivers"))?;
    let waived = |Row { id, waives, reason, expires_at, vulnerability, severity, found, fixable }: Row| {
        known.entry(id).or_insert_with(|| WaiverFact { vulnerability: waives, reason: cut(&reason) });
        Waived { waiver: id, expires_at, finding: vulnerability, severity, found, fixable }
    };
    Ok(rows.into_iter().map(waived).collect())
}

/// What waivers take out of the budget of these scans, in any environment.
pub async fn in_scans(
    conn: &impl ConnectionTrait,
    scans: &BTreeSet<Uuid>,
    now: DateTime<Utc>,
) -> Result<Vec<Taken>, StoreError> {
    let postgres = conn.get_database_backend() == DatabaseBackend::Postgres;
    let scans: Vec<Uuid> = scans.iter().copied().collect();
    let mut taken = Vec::new();
    for scans in scans.chunks(SCANS_PER_STATEMENT) {
        let mut sql = Sql::new("SELECT p.scan_id, ");
        waived(&mut sql, postgres, Wanted { environment: None, now, words: false });
        sql.push(" FROM scan_part p WHERE p.latest AND p.scan_id").among(scans.iter().copied());
        for row in sql.all(conn).await? {
            let scan_id = row.try_get("", "scan_id")?;
            let waived = read_waived(&row.try_get::<String>("", "waived")?)?;
            taken.extend(waived.into_iter().map(|waived| Taken { scan_id, waived }));
        }
    }
    Ok(taken)
}
