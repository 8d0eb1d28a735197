//! Deployments: writing their lives down, one statement a step.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, EntityTrait as _, FromQueryResult as _, IntoActiveModel as _, QueryResult};
use uuid::Uuid;

use crate::{
    domain::{
        actor::Actor,
        deployment::{Deployment, Entry, Filter, NamedDeployment, Plan, Progress, Standing, Times},
        page::{PageRequest, TimeKey},
        release::Identity,
        rollback::{HISTORY_MAX, Reverted, Success},
        scope::Narrowing,
        target::Target,
        text::{CommitSha, Image, Version},
        vocabulary::{Kind, Outcome, Status},
    },
    store::{
        entity::{
            deployment::{Entity, Model},
            target,
        },
        error::StoreError,
        sql::{Sql, columns, locking, now_of},
        target::from_row as target_from_row,
    },
};

fn word<T: std::str::FromStr>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt("word of a deployment"))
}

fn from_row(row: &QueryResult, prefix: &str) -> Result<Deployment, StoreError> {
    let model = Model::from_query_result(row, prefix)?;
    Ok(Deployment::kept(Entry {
        id: model.id,
        service_id: model.service_id,
        environment_id: model.environment_id,
        release_id: model.release_id,
        artefact: model.artefact,
        status: word(&model.status)?,
        kind: word(&model.kind)?,
        plan: Plan {
            strategy: word(&model.strategy)?,
            reason: model.reason,
            pipeline_url: model.pipeline_url,
            initiated_by: model.initiated_by,
            remediates: model.remediates,
        },
        override_reason: model.override_reason,
        lease_seconds: model.lease_seconds,
        progress: Progress {
            phase: model.phase,
            traffic_percent: model.traffic_percent,
            message: model.message,
        },
        actor: Actor { token: model.actor_token, subject: model.actor_subject },
        decision_id: model.decision_id,
        times: Times {
            started_at: model.started_at,
            heartbeat_at: model.heartbeat_at,
            lease_expires_at: model.lease_expires_at,
            finished_at: model.finished_at,
            expired_at: model.expired_at,
            stay_started_at: model.stay_started_at,
            superseded_at: model.superseded_at,
            reverts_since: model.reverts_since,
        },
        standing: Standing {
            recorded: model.recorded,
            ungated: model.ungated,
            credited: model.credited,
            verified: model.verified,
            preempted: model.preempted,
            superseded_by: model.superseded_by,
            reverted_by: model.reverted_by,
            late_status: model.late_status.as_deref().map(word).transpose()?,
        },
    }))
}

pub(super) fn named_from_row(row: &QueryResult, prefix: &str) -> Result<NamedDeployment, StoreError> {
    let image: Option<String> = row.try_get("", "release_image")?;
    Ok(NamedDeployment {
        deployment: from_row(row, prefix)?,
        service: row.try_get("", "service_name")?,
        environment: row.try_get("", "environment_name")?,
        release: Identity {
            version: Version::trusted(row.try_get("", "release_version")?),
            commit_sha: CommitSha::trusted(row.try_get("", "release_commit_sha")?),
            image: image.map(Image::trusted),
        },
    })
}

pub(super) const NAMES: &str = "s.name AS service_name, e.name AS environment_name, r.version AS release_version, \
                     r.commit_sha AS release_commit_sha, r.image AS release_image";
pub(super) const JOINS: &str = "JOIN service s ON s.id = d.service_id JOIN environment e ON e.id = d.environment_id \
                     JOIN release r ON r.id = d.release_id";

/// Inserts a deployment.
pub async fn insert(conn: &impl ConnectionTrait, deployment: &Deployment) -> Result<(), StoreError> {
    let Entry { plan, progress, times, standing, .. } = Entry::from(deployment.clone());
    let model = Model {
        id: deployment.id,
        service_id: deployment.service_id,
        environment_id: deployment.environment_id,
        release_id: deployment.release_id,
        artefact: deployment.artefact.clone(),
        status: deployment.status.to_string(),
        kind: deployment.kind.to_string(),
        strategy: plan.strategy.to_string(),
        phase: progress.phase,
        traffic_percent: progress.traffic_percent,
        message: progress.message,
        reason: plan.reason,
        override_reason: deployment.override_reason.clone(),
        pipeline_url: plan.pipeline_url,
        initiated_by: plan.initiated_by,
        remediates: plan.remediates,
        decision_id: deployment.decision_id,
        actor_token: deployment.actor.token.clone(),
        actor_subject: deployment.actor.subject.clone(),
        started_at: times.started_at,
        finished_at: times.finished_at,
        expired_at: times.expired_at,
        heartbeat_at: times.heartbeat_at,
        lease_seconds: deployment.lease_seconds,
        lease_expires_at: times.lease_expires_at,
        stay_started_at: times.stay_started_at,
        superseded_at: times.superseded_at,
        superseded_by: standing.superseded_by,
        reverts_since: times.reverts_since,
        reverted_by: standing.reverted_by,
        late_status: standing.late_status.map(|status| status.to_string()),
        recorded: standing.recorded,
        ungated: standing.ungated,
        credited: standing.credited,
        verified: standing.verified,
        preempted: standing.preempted,
    };
    Entity::insert(model.into_active_model()).exec_without_returning(conn).await?;
    Ok(())
}

/// A deployment with its row and its target's locked.
#[derive(Clone, Debug)]
pub struct LockedDeployment {
    /// The deployment.
    pub named: NamedDeployment,
    /// Its target.
    pub target: Target,
    /// The moment, read after the locks.
    pub now: DateTime<Utc>,
}

/// Locks a deployment's target, then the deployment.
pub async fn lock(
    conn: &impl ConnectionTrait,
    id: Uuid,
    within: &Narrowing,
) -> Result<Option<LockedDeployment>, StoreError> {
    let mut query = Sql::new(format!(
        "SELECT {}, {}, {NAMES} FROM target t JOIN deployment d \
         ON d.service_id = t.service_id AND d.environment_id = t.environment_id {JOINS} WHERE d.id = ",
        columns::<target::Entity>("t", "t_"),
        columns::<Entity>("d", "d_"),
    ));
    query.bind(id).and_within(within, Some("s.name"), Some("e.name"));
    let text = locking(conn, query.text(), "FOR UPDATE OF t, d");
    let Some(row) = query.with_text(text).one(conn).await? else { return Ok(None) };
    Ok(Some(LockedDeployment {
        named: named_from_row(&row, "d_")?,
        target: target_from_row(&row, "t_")?,
        now: now_of(&row)?,
    }))
}

/// What was started in the deployment's target since it started, or put on record as having happened since: the last of it.
pub async fn overtaking(
    conn: &impl ConnectionTrait,
    deployment: &Deployment,
) -> Result<Option<NamedDeployment>, StoreError> {
    let mut sql = Sql::new(format!(
        "SELECT {}, {NAMES} FROM deployment d {JOINS} WHERE d.service_id = ",
        columns::<Entity>("d", "")
    ));
    sql.bind(deployment.service_id).push(" AND d.environment_id = ").bind(deployment.environment_id);
    sql.push(" AND d.id <> ").bind(deployment.id);
    sql.push(" AND (d.started_at > ").bind(deployment.times.started_at);
    sql.push(" OR d.finished_at > ").bind(deployment.times.started_at);
    sql.push(") ORDER BY d.started_at DESC, d.id DESC LIMIT 1");
    sql.one(conn).await?.map(|row| named_from_row(&row, "")).transpose()
}

/// Renews a lease, also one that had run out, and notes what the pipeline says.
pub async fn renew(conn: &impl ConnectionTrait, deployment: &Deployment) -> Result<(), StoreError> {
    let mut sql = Sql::new("UPDATE deployment SET status = ");
    sql.bind(deployment.status.as_str())
        .push(", finished_at = ")
        .bind(deployment.times.finished_at)
        .push(", expired_at = ")
        .bind(deployment.times.expired_at)
        .push(", heartbeat_at = ")
        .bind(deployment.times.heartbeat_at)
        .push(", lease_expires_at = ")
        .bind(deployment.times.lease_expires_at);
    sql.push(", message = ").bind(deployment.progress.message.clone());
    sql.push(", phase = ").bind(deployment.progress.phase.clone());
    sql.push(", traffic_percent = ").bind(deployment.progress.traffic_percent);
    sql.push(" WHERE id = ").bind(deployment.id).run(conn).await?;
    Ok(())
}

/// Ends a deployment. When it succeeded, the one before it (`superseded`) gives way, and where it is a rollback, what
/// came after the release it returns to is marked as reverted: one statement for all of them.
pub async fn end(
    conn: &impl ConnectionTrait,
    deployment: &Deployment,
    superseded: Option<Uuid>,
) -> Result<(), StoreError> {
    let Entry { id, times, .. } = &**deployment;
    let succeeded = deployment.status == Status::Succeeded;
    let reverts = times.reverts_since.filter(|_| succeeded);
    let mut sql = Sql::new("UPDATE deployment SET status = CASE WHEN id = ");
    sql.bind(*id).push(" THEN ").bind(deployment.status.as_str()).push(" ELSE status END");
    let mut own = |column: &str, value: sea_orm::Value| {
        sql.push(&format!(", {column} = CASE WHEN id = $1 THEN "))
            .bind(value)
            .push(&format!(" ELSE {column} END"));
    };
    own("finished_at", times.finished_at.into());
    own("expired_at", times.expired_at.into());
    own("stay_started_at", times.stay_started_at.into());
    own("message", deployment.progress.message.clone().into());
    own("preempted", deployment.standing.preempted.into());
    if let Some(superseded) = superseded {
        sql.push(", superseded_at = CASE WHEN id = ").bind(superseded).push(" THEN ").bind(times.finished_at);
        sql.push(" ELSE superseded_at END, superseded_by = CASE WHEN id = ").bind(superseded);
        sql.push(" THEN $1 ELSE superseded_by END");
    }
    if let Some(since) = reverts {
        sql.push(", reverted_by = CASE WHEN reverted_by IS NULL AND release_id <> ")
            .bind(deployment.release_id)
            .push(" AND finished_at > ")
            .bind(since);
        sql.push(" THEN $1 ELSE reverted_by END");
    }
    sql.push(" WHERE id = $1");
    if let Some(superseded) = superseded {
        sql.push(" OR id = ").bind(superseded);
    }
    if let Some(since) = reverts {
        sql.push(" OR (status = 'succeeded' AND service_id = ").bind(deployment.service_id);
        sql.push(" AND environment_id = ").bind(deployment.environment_id);
        sql.push(" AND finished_at > ").bind(since).push(")");
    }
    sql.run(conn).await?;
    Ok(())
}

/// Keeps a result that came too late to count.
pub async fn keep_late(conn: &impl ConnectionTrait, id: Uuid, outcome: Outcome) -> Result<(), StoreError> {
    let mut sql = Sql::new("UPDATE deployment SET late_status = ");
    sql.bind(outcome.as_str()).push(" WHERE id = ").bind(id).run(conn).await?;
    Ok(())
}

/// Reads a deployment that the narrowing allows.
pub async fn find(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    id: Uuid,
) -> Result<Option<NamedDeployment>, StoreError> {
    let mut sql = Sql::new(format!(
        "SELECT {}, {NAMES} FROM deployment d {JOINS} WHERE d.id = ",
        columns::<Entity>("d", "")
    ));
    sql.bind(id).and_within(within, Some("s.name"), Some("e.name"));
    sql.one(conn).await?.map(|row| named_from_row(&row, "")).transpose()
}

/// Lists the deployments that the narrowing allows, newest first.
pub async fn list(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    filter: &Filter,
    page: &PageRequest<TimeKey>,
) -> Result<Vec<NamedDeployment>, StoreError> {
    let mut sql = Sql::new(format!(
        "SELECT {}, {NAMES} FROM deployment d {JOINS} WHERE 1 = 1",
        columns::<Entity>("d", "")
    ));
    sql.and_equals("s.name", filter.service.as_deref())
        .and_equals("e.name", filter.environment.as_deref())
        .and_equals("d.status", filter.status.map(Status::as_str))
        .and_equals("d.kind", filter.kind.map(Kind::as_str));
    if let Some(since) = filter.since {
        sql.push(" AND d.started_at >= ").bind(since);
    }
    if let Some(until) = filter.until {
        sql.push(" AND d.started_at < ").bind(until);
    }
    sql.and_within(within, Some("s.name"), Some("e.name")).newest_first(("d.started_at", "d.id"), page);
    sql.all(conn).await?.iter().map(|row| named_from_row(row, "")).collect()
}

/// The deployments that are under way in an environment, newest first.
pub async fn running_in(
    conn: &impl ConnectionTrait,
    environment_id: Uuid,
    limit: i64,
) -> Result<Vec<NamedDeployment>, StoreError> {
    // By the targets, of which there are few, and not by the deployments' history.
    let mut sql = Sql::new(format!(
        "SELECT {}, {NAMES} FROM target t JOIN deployment d ON d.id = t.running_deployment_id {JOINS} \
         WHERE t.environment_id = ",
        columns::<Entity>("d", "")
    ));
    sql.bind(environment_id).push(" ORDER BY d.started_at DESC, d.id DESC LIMIT ").bind(limit);
    sql.all(conn).await?.iter().map(|row| named_from_row(row, "")).collect()
}

/// The successes of a target, before a moment if one is given, newest first, as far back as a rollback may reach.
pub async fn successes(
    conn: &impl ConnectionTrait,
    (service_id, environment_id): (Uuid, Uuid),
    before: Option<DateTime<Utc>>,
) -> Result<Vec<Success>, StoreError> {
    let mut sql = Sql::new(
        "SELECT d.id, d.release_id, d.artefact, d.finished_at, d.stay_started_at, d.credited, d.reverted_by, \
         b.artefact AS returned_to FROM deployment d LEFT JOIN deployment b ON b.id = d.reverted_by \
         WHERE d.status = 'succeeded' AND d.service_id = ",
    );
    sql.bind(service_id).push(" AND d.environment_id = ").bind(environment_id);
    if let Some(before) = before {
        sql.push(" AND d.finished_at < ").bind(before);
    }
    sql.push(" ORDER BY d.finished_at DESC LIMIT ").bind(i64::try_from(HISTORY_MAX).unwrap_or(i64::MAX));
    let success = |row: &QueryResult| {
        let artefact: String = row.try_get("", "artefact")?;
        let stays = row.try_get::<Option<String>>("", "returned_to")?.as_ref() == Some(&artefact);
        let reverted_by: Option<Uuid> = row.try_get("", "reverted_by")?;
        Ok(Success {
            deployment_id: row.try_get("", "id")?,
            release_id: row.try_get("", "release_id")?,
            artefact,
            finished_at: row.try_get("", "finished_at")?,
            stay_started_at: row.try_get("", "stay_started_at")?,
            credited: row.try_get("", "credited")?,
            reverted: reverted_by.map(|_| if stays { Reverted::Release } else { Reverted::Artefact }),
        })
    };
    sql.all(conn).await?.iter().map(success).collect()
}

/// The running deployments whose lease had run out at `now`, the longest silent first.
pub async fn overdue(
    conn: &impl ConnectionTrait,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Uuid>, StoreError> {
    let mut sql = Sql::new("SELECT id FROM deployment WHERE status = 'running' AND lease_expires_at <= ");
    sql.bind(now).push(" ORDER BY lease_expires_at LIMIT ").bind(limit);
    sql.all(conn).await?.iter().map(|row| Ok(row.try_get("", "id")?)).collect()
}

/// The running deployments whose lease ends later than `limit_at`, the farthest first.
pub async fn leased_beyond(
    conn: &impl ConnectionTrait,
    limit_at: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Uuid>, StoreError> {
    let mut sql = Sql::new("SELECT id FROM deployment WHERE status = 'running' AND lease_expires_at > ");
    sql.bind(limit_at).push(" ORDER BY lease_expires_at DESC LIMIT ").bind(limit);
    sql.all(conn).await?.iter().map(|row| Ok(row.try_get("", "id")?)).collect()
}

/// Of each target, the deployment that started last of those that have ended, where it ended after `since`: of the
/// `limit` targets that changed last.
pub async fn last_ended(
    conn: &impl ConnectionTrait,
    since: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<NamedDeployment>, StoreError> {
    let mut sql = Sql::new(format!(
        "SELECT {}, {NAMES} FROM (SELECT service_id, environment_id FROM target WHERE last_at > ",
        columns::<Entity>("d", "d_")
    ));
    sql.bind(since).push(" ORDER BY last_at DESC LIMIT ").bind(limit);
    sql.push(
        ") AS t JOIN deployment d ON d.id = (SELECT ended.id FROM deployment ended \
         WHERE ended.service_id = t.service_id AND ended.environment_id = t.environment_id \
         AND ended.status <> 'running' ORDER BY ended.started_at DESC, ended.id DESC LIMIT 1) ",
    );
    sql.push(JOINS).push(" WHERE d.finished_at > ").bind(since);
    sql.all(conn).await?.iter().map(|row| named_from_row(row, "d_")).collect()
}
