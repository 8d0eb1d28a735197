//! What runs where: the targets of many services at once, now or at any moment of the past.
//!
//! Now is read from the targets' own rows, which repeat who is current; the past from the deployments' effective times,
//! one index probe for each target. By hand: joins that an index serves, read by place. The services are named by whoever
//! has asked for those that may be seen.

use chrono::{DateTime, Utc};

use crate::{
    domain::{
        actor::Actor,
        matrix::{Column, Described},
        release::Identity,
        scope::Narrowing,
        service::Labels,
        target::{Occupant, Occupied},
        text::{CommitSha, Image, Version},
        vocabulary::{Kind, Tier},
    },
    store::{
        entity::{column::Json, environment, service},
        prelude::*,
        sql::Sql,
    },
};

/// Reads by place, because the matrix is the largest answer there is: at `own` the deployment, since when, and by whom,
/// at `release` the release. What is current is never a removal.
fn occupant(row: &QueryResult, own: usize, release: usize) -> Result<Option<Occupant>, StoreError> {
    let Some(deployment_id) = row.try_get_by_index(own)? else { return Ok(None) };
    let commit_sha: Option<String> = row.try_get_by_index(release + 1)?;
    let image: Option<String> = row.try_get_by_index(release + 2)?;
    Ok(Some(Occupant {
        deployment_id,
        release: Identity {
            version: Version::trusted(row.try_get_by_index(release)?),
            commit_sha: commit_sha.map(CommitSha::trusted),
            image: image.map(Image::trusted),
        },
        place: row.try_get_by_index(release + 3)?,
        since: row.try_get_by_index(own + 1)?,
        actor: Actor { token: row.try_get_by_index(own + 2)?, subject: row.try_get_by_index(own + 3)? },
        removal: false,
    }))
}

fn occupied(row: &QueryResult) -> Result<Occupied, StoreError> {
    let removal = row.try_get_by_index::<Option<Kind>>(18)?.is_some_and(|kind| !kind.ships());
    Ok(Occupied {
        service: row.try_get_by_index(0)?,
        environment: row.try_get_by_index(1)?,
        current: occupant(row, 2, 10)?,
        running: occupant(row, 6, 14)?.map(|running| Occupant { removal, ..running }),
    })
}

/// The targets of these services as they are now, also in environments that are archived; or in one environment.
pub async fn now(
    conn: &impl ConnectionTrait,
    services: &[&str],
    environment: Option<&str>,
) -> Result<Vec<Occupied>, StoreError> {
    let mut sql = Sql::new(
        "SELECT s.name, e.name, t.current_deployment_id, t.current_since, \
         t.current_token, t.current_subject, t.running_deployment_id, t.running_since, t.running_token, \
         t.running_subject, rc.version, rc.commit_sha, rc.image, rc.place, rr.version, rr.commit_sha, rr.image, \
         rr.place, (SELECT d.kind FROM deployment d WHERE d.id = t.running_deployment_id) \
         FROM target t JOIN service s ON s.id = t.service_id \
         JOIN environment e ON e.id = t.environment_id LEFT JOIN release rc ON rc.id = t.current_release_id \
         LEFT JOIN release rr ON rr.id = t.running_release_id \
         WHERE s.name",
    );
    sql.among(few_lengths(services)).and_equals("e.name", environment);
    sql.all(conn).await?.iter().map(occupied).collect()
}

/// The names, and one of them again and again up to the next power of two: a statement for each number of names would be
/// prepared anew each time.
fn few_lengths<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut names = names.to_vec();
    if let Some(last) = names.last().copied() {
        names.resize(names.len().next_power_of_two(), last);
    }
    names
}

/// Joins each target's latest deployment that meets a condition, if it is one to `keep`, by an index probe for each target.
/// PostgreSQL takes a plain join for leave to read the whole history, which a lateral one does not give; SQLite has only
/// plain ones, and finds a row by its number without a search by id.
fn latest(conn: &impl ConnectionTrait, alias: &str, condition: &str, order: &str, keep: &str) -> String {
    let probe = |columns: &str| {
        format!(
            "(SELECT {columns} FROM deployment d WHERE d.service_id = t.service_id \
             AND d.environment_id = t.environment_id AND {condition} ORDER BY {order} LIMIT 1)"
        )
    };
    if conn.get_database_backend() == DatabaseBackend::Postgres {
        format!("LEFT JOIN LATERAL {} {alias} ON {keep}", probe("d.*"))
    } else {
        format!("LEFT JOIN deployment {alias} ON {alias}.rowid = {} AND {keep}", probe("d.rowid"))
    }
}

/// Of the releases up to the current one of a target that were registered by the moment, those after the oldest one that is
/// current in the service: how far one target is behind another needs no more, and the history before it may be long.
/// What was registered later took no place then, unless all of it was put on record later.
const PLACE_THEN: &str = "(SELECT COUNT(*) FROM release n WHERE n.service_id = x.service_id \
     AND n.ordered_at >= x.oldest_at AND n.ordered_at <= x.ordered_at AND n.place > x.oldest AND n.place <= x.place \
     AND (n.created_at <= $1 OR n.created_at <= x.created_at))";

/// The targets of these services as they were at a moment: a start counts from its moment on, an end ends right before its
/// own. The places of what is current are those among its service's.
pub async fn as_of(
    conn: &impl ConnectionTrait,
    services: &[&str],
    at: DateTime<Utc>,
) -> Result<Vec<Occupied>, StoreError> {
    let succeeded = "d.status = 'succeeded' AND d.finished_at <= $1";
    let current = latest(conn, "c", succeeded, "d.finished_at DESC", "c.kind <> 'remove'");
    let started = "NOT d.recorded AND d.started_at <= $1";
    let goes_on = "(r.finished_at IS NULL OR COALESCE(r.expired_at, r.finished_at) > $1)";
    let running = latest(conn, "r", started, "d.started_at DESC, d.id DESC", goes_on);
    let text = format!(
        "SELECT x.service, x.environment, x.current_id, x.current_since, x.current_token, x.current_subject, \
         x.running_id, x.running_since, x.running_token, x.running_subject, x.version, x.commit_sha, x.image, \
         {PLACE_THEN}, x.running_version, x.running_commit_sha, x.running_image, x.running_place, x.running_kind \
         FROM (SELECT s.name AS service, e.name AS environment, c.id AS current_id, \
         c.stay_started_at AS current_since, c.actor_token AS current_token, c.actor_subject AS current_subject, \
         r.id AS running_id, r.started_at AS running_since, r.actor_token AS running_token, \
         r.actor_subject AS running_subject, r.kind AS running_kind, rc.version, rc.commit_sha, rc.image, \
         rc.service_id, rc.place, rc.ordered_at, rc.created_at, rr.version AS running_version, \
         rr.commit_sha AS running_commit_sha, rr.image AS running_image, rr.place AS running_place, \
         MIN(rc.place) OVER of_service AS oldest, MIN(rc.ordered_at) OVER of_service AS oldest_at \
         FROM target t JOIN service s ON s.id = t.service_id JOIN environment e ON e.id = t.environment_id \
         {current} {running} \
         LEFT JOIN release rc ON rc.id = c.release_id LEFT JOIN release rr ON rr.id = r.release_id \
         WHERE (c.id IS NOT NULL OR r.id IS NOT NULL) AND s.name"
    );
    let mut sql = Sql::with(text, [at.into()]);
    sql.among(few_lengths(services)).push(" WINDOW of_service AS (PARTITION BY t.service_id)) AS x");
    sql.all(conn).await?.iter().map(occupied).collect()
}

/// The environments, in the order of promotion. `at` leaves out what was archived by then.
pub async fn columns(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    at: Option<DateTime<Utc>>,
) -> Result<Vec<Column>, StoreError> {
    use environment::{Column as C, Entity};
    type Row = (String, Tier, i64, bool, bool, DateTime<Utc>);
    let query = Entity::find().filter(in_use(C::ArchivedAt, at)).within_environments(within);
    let query = query.select_only().columns([C::Name, C::Tier, C::Rank, C::Unconfirmed]);
    let query = query.expr(C::LockdownSince.is_not_null()).column(C::CreatedAt);
    let rows: Vec<Row> = query.order_by_asc(C::Rank).order_by_asc(C::Name).into_tuple().all(conn).await?;
    let column = |(name, tier, rank, unconfirmed, locked_down, created_at)| Column {
        name,
        tier,
        rank,
        unconfirmed,
        locked_down,
        created_at,
    };
    Ok(rows.into_iter().map(column).collect())
}

/// The services, by name, but for those that were archived by the moment; of these names, where some are given.
pub async fn services(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    at: Option<DateTime<Utc>>,
    names: Option<&[&str]>,
) -> Result<Vec<Described>, StoreError> {
    use service::{Column as C, Entity};
    type Row = (String, Option<String>, Json<Labels>, DateTime<Utc>);
    let query = Entity::find().filter(in_use(C::ArchivedAt, at)).within_services(within);
    let query = query.apply_if(names, |query, names| query.filter(C::Name.is_in(few_lengths(names))));
    let query = query.select_only().columns([C::Name, C::Owner, C::Labels, C::CreatedAt]);
    let rows: Vec<Row> = query.into_tuple().all(conn).await?;
    let service = |(name, owner, Json(labels), created_at)| Described { name, owner, labels, created_at };
    let mut services: Vec<_> = rows.into_iter().map(service).collect();
    // Not by the database, whose order of hyphens may be another one.
    services.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(services)
}

fn in_use(archived_at: impl ColumnTrait, at: Option<DateTime<Utc>>) -> Condition {
    Condition::any().add(archived_at.is_null()).add_option(at.map(|at| archived_at.gt(at)))
}
