//! Putting finished deployments into the past of a target: who they follow, and whom they push aside.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, QueryResult};
use uuid::Uuid;

use crate::{
    domain::deployment::{Deployment, Neighbour},
    store::{error::StoreError, sql::Sql},
};

async fn neighbour(
    conn: &impl ConnectionTrait,
    of: &Deployment,
    at: DateTime<Utc>,
    (comparison, order): (&str, &str),
) -> Result<Option<Neighbour>, StoreError> {
    let mut sql = Sql::new(
        "SELECT id, artefact, finished_at, stay_started_at FROM deployment WHERE status = 'succeeded' AND service_id = ",
    );
    sql.bind(of.service_id).push(" AND environment_id = ").bind(of.environment_id);
    sql.push(&format!(" AND finished_at {comparison} ")).bind(at);
    sql.push(&format!(" ORDER BY finished_at {order} LIMIT 1"));
    let read = |row: QueryResult| {
        Ok(Neighbour {
            id: row.try_get("", "id")?,
            artefact: row.try_get("", "artefact")?,
            finished_at: row.try_get("", "finished_at")?,
            stay_started_at: row.try_get("", "stay_started_at")?,
        })
    };
    sql.one(conn).await?.map(read).transpose()
}

/// The last success of the target before the moment.
pub async fn before(
    conn: &impl ConnectionTrait,
    of: &Deployment,
    at: DateTime<Utc>,
) -> Result<Option<Neighbour>, StoreError> {
    neighbour(conn, of, at, ("<", "DESC")).await
}

/// The first success of the target at or after the moment.
pub async fn from(
    conn: &impl ConnectionTrait,
    of: &Deployment,
    at: DateTime<Utc>,
) -> Result<Option<Neighbour>, StoreError> {
    neighbour(conn, of, at, (">=", "ASC")).await
}

/// Lets a deployment be superseded by another from a moment on.
pub async fn supersede(
    conn: &impl ConnectionTrait,
    id: Uuid,
    at: DateTime<Utc>,
    by: Uuid,
) -> Result<(), StoreError> {
    let mut sql = Sql::new("UPDATE deployment SET superseded_at = ");
    sql.bind(at).push(", superseded_by = ").bind(by).push(" WHERE id = ").bind(id).run(conn).await?;
    Ok(())
}

/// Moves the start of a stay, for those of its deployments that became current at `from` or later.
pub async fn move_stay(
    conn: &impl ConnectionTrait,
    of: &Deployment,
    from: &Neighbour,
    start: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut sql = Sql::new("UPDATE deployment SET stay_started_at = ");
    sql.bind(start).push(" WHERE status = 'succeeded' AND service_id = ").bind(of.service_id);
    sql.push(" AND environment_id = ")
        .bind(of.environment_id)
        .push(" AND stay_started_at = ")
        .bind(from.stay_started_at);
    sql.push(" AND finished_at >= ").bind(from.finished_at).run(conn).await?;
    Ok(())
}

/// The deployment that is on record with the very same result and times, if there is one. `slack` is by how much the
/// ends may differ: what a fast clock called the future was put on record as the moment it came in.
pub async fn twin(
    conn: &impl ConnectionTrait,
    of: &Deployment,
    finished_at: DateTime<Utc>,
    slack: TimeDelta,
) -> Result<Option<Uuid>, StoreError> {
    let mut sql = Sql::new("SELECT id FROM deployment WHERE recorded AND service_id = ");
    sql.bind(of.service_id).push(" AND environment_id = ").bind(of.environment_id);
    sql.push(" AND release_id = ").bind(of.release_id).push(" AND status = ").bind(of.status.as_str());
    sql.push(" AND started_at = ").bind(of.times.started_at);
    sql.push(" AND finished_at >= ").bind(finished_at - slack).push(" AND finished_at <= ").bind(finished_at);
    sql.one(conn).await?.map(|row| Ok(row.try_get("", "id")?)).transpose()
}

/// The rollback that reverted the span in which the moment lies, unless it returned to the deployment's own release.
pub async fn reverter_of(
    conn: &impl ConnectionTrait,
    of: &Deployment,
    at: DateTime<Utc>,
) -> Result<Option<Uuid>, StoreError> {
    let mut sql = Sql::new(
        "SELECT id FROM deployment WHERE status = 'succeeded' AND kind = 'rollback' AND service_id = ",
    );
    sql.bind(of.service_id).push(" AND environment_id = ").bind(of.environment_id);
    sql.push(" AND finished_at > ").bind(at).push(" AND reverts_since < ").bind(at);
    sql.push(" AND release_id <> ").bind(of.release_id).push(" ORDER BY finished_at LIMIT 1");
    sql.one(conn).await?.map(|row| Ok(row.try_get("", "id")?)).transpose()
}

/// Marks as reverted what became current in between, by a rollback that happened at `until`.
pub async fn revert(
    conn: &impl ConnectionTrait,
    rollback: &Deployment,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut sql = Sql::new("UPDATE deployment SET reverted_by = ");
    sql.bind(rollback.id).push(" WHERE reverted_by IS NULL AND status = 'succeeded' AND service_id = ");
    sql.bind(rollback.service_id).push(" AND environment_id = ").bind(rollback.environment_id);
    sql.push(" AND release_id <> ").bind(rollback.release_id);
    sql.push(" AND finished_at > ").bind(since).push(" AND finished_at < ").bind(until).run(conn).await?;
    Ok(())
}
