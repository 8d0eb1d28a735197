//! Deployments: writing their lives down, one statement a step.

use chrono::{DateTime, Utc};
use sea_orm::{PartialModelTrait as _, sea_query::Query as Statement};
use uuid::Uuid;

use crate::{
    domain::{
        actor::Actor,
        deployment::{Deployment, Entry, Filter, NamedDeployment, Plan, Progress, Standing, Times},
        page::{PageRequest, TimeKey},
        release::Identity,
        rollback::{Reverted, Success},
        scope::Narrowing,
        target::Target,
        vocabulary::{Outcome, Status},
    },
    store::{
        entity::{
            deployment::{ActiveModel, Column, Entity, Model, Relation},
            environment, release, service, target,
        },
        prelude::*,
        query::is,
        sql::{Sql, now_of},
    },
};

/// When the release of this id, or this artefact of its, was last reverted in the environment `e`: an expression that the id of
/// the service and a parenthesis end.
pub(super) fn reverted_at(release_id: &str, artefact: &str) -> String {
    format!(
        "(SELECT MAX(b.finished_at) FROM deployment x JOIN deployment b ON b.id = x.reverted_by \
         WHERE x.environment_id = e.id AND x.artefact = {artefact} \
         AND (b.artefact <> x.artefact OR x.release_id = {release_id}) AND x.status = 'succeeded' AND x.service_id = "
    )
}

impl FromQueryResult for Deployment {
    fn from_query_result(row: &QueryResult, prefix: &str) -> Result<Self, DbErr> {
        let model = Model::from_query_result(row, prefix)?;
        Ok(Deployment::kept(Entry {
            id: model.id,
            service_id: model.service_id,
            environment_id: model.environment_id,
            release_id: model.release_id,
            artefact: model.artefact,
            status: model.status,
            kind: model.kind,
            plan: Plan {
                strategy: model.strategy,
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
            credential: model.credential_id,
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
                late_status: model.late_status,
            },
        }))
    }
}

impl FromQueryResult for NamedDeployment {
    fn from_query_result(row: &QueryResult, _: &str) -> Result<Self, DbErr> {
        Ok(Self {
            deployment: Deployment::from_query_result(row, "")?,
            service: row.try_get("", "service_name")?,
            environment: row.try_get("", "environment_name")?,
            release: Identity {
                version: row.try_get("", "release_version")?,
                commit_sha: row.try_get("", "release_commit_sha")?,
                image: row.try_get("", "release_image")?,
            },
        })
    }
}

/// Deployments with the names that people know them by.
pub(super) fn named() -> Select<Entity> {
    Entity::find()
        .with(Relation::Service)
        .with(Relation::Environment)
        .with(Relation::Release)
        .column_as(service::Column::Name, "service_name")
        .column_as(environment::Column::Name, "environment_name")
        .column_as(release::Column::Version, "release_version")
        .column_as(release::Column::CommitSha, "release_commit_sha")
        .column_as(release::Column::Image, "release_image")
}

/// Inserts a deployment.
pub async fn insert(conn: &impl ConnectionTrait, deployment: &Deployment) -> Result<(), StoreError> {
    let Entry { plan, progress, actor, times, standing, .. } = Entry::from(deployment.clone());
    let model = Model {
        id: deployment.id,
        service_id: deployment.service_id,
        environment_id: deployment.environment_id,
        release_id: deployment.release_id,
        artefact: deployment.artefact.clone(),
        status: deployment.status,
        kind: deployment.kind,
        strategy: plan.strategy,
        phase: progress.phase,
        traffic_percent: progress.traffic_percent,
        message: progress.message,
        reason: plan.reason,
        override_reason: deployment.override_reason.clone(),
        pipeline_url: plan.pipeline_url,
        initiated_by: plan.initiated_by,
        remediates: plan.remediates,
        decision_id: deployment.decision_id,
        actor_token: actor.token,
        actor_subject: actor.subject,
        credential_id: deployment.credential,
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
        late_status: standing.late_status,
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
    pub named: NamedDeployment,
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
    let query = named().with(Relation::Target).filter(Column::Id.eq(id));
    let query = query.within_services(within).within_environments(within);
    let query = target::Model::select_cols_nested(query, Some("t_"), None);
    let rows = query.locked(conn, "FOR UPDATE OF target, deployment").await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(LockedDeployment {
        named: NamedDeployment::from_query_result(row, "")?,
        target: Target::from_query_result(row, "t_")?,
        now: now_of(row)?,
    }))
}

/// What was started in the deployment's target since it started, or put on record as having happened since: the last of it.
pub async fn overtaking(
    conn: &impl ConnectionTrait,
    deployment: &Deployment,
) -> Result<Option<NamedDeployment>, StoreError> {
    let started_at = deployment.times.started_at;
    let since = Condition::any().add(Column::StartedAt.gt(started_at)).add(Column::FinishedAt.gt(started_at));
    let query = named()
        .filter(Column::ServiceId.eq(deployment.service_id))
        .filter(Column::EnvironmentId.eq(deployment.environment_id))
        .filter(Column::Id.ne(deployment.id))
        .filter(since)
        .order_by_desc(Column::StartedAt)
        .order_by_desc(Column::Id);
    Ok(query.into_model().one(conn).await?)
}

/// Renews a lease, also one that had run out, and notes what the pipeline says.
pub async fn renew(conn: &impl ConnectionTrait, deployment: &Deployment) -> Result<(), StoreError> {
    let Entry { progress, times, .. } = Entry::from(deployment.clone());
    let renewed = ActiveModel {
        id: Unchanged(deployment.id),
        status: Set(deployment.status),
        finished_at: Set(times.finished_at),
        expired_at: Set(times.expired_at),
        heartbeat_at: Set(times.heartbeat_at),
        lease_expires_at: Set(times.lease_expires_at),
        message: Set(progress.message),
        phase: Set(progress.phase),
        traffic_percent: Set(progress.traffic_percent),
        ..ActiveModel::default()
    };
    Entity::update(renewed).exec_without_returning(conn).await?;
    Ok(())
}

/// Ends a deployment. When it succeeded, the one before it (`superseded`) gives way, and where it is a rollback, what
/// came after the release it returns to is marked as reverted: one statement for all of them, by hand, because each gets
/// values of its own.
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
    let mut own = |column: &str, value: Value| {
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
    let late = ActiveModel { id: Unchanged(id), late_status: Set(Some(outcome)), ..ActiveModel::default() };
    Entity::update(late).exec_without_returning(conn).await?;
    Ok(())
}

/// Reads a deployment that the narrowing allows.
pub async fn find(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    id: Uuid,
) -> Result<Option<NamedDeployment>, StoreError> {
    let query = named().filter(Column::Id.eq(id)).within_services(within).within_environments(within);
    Ok(query.into_model().one(conn).await?)
}

/// Lists the deployments that the narrowing allows, newest first.
pub async fn list(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    filter: &Filter,
    page: &PageRequest<TimeKey>,
) -> Result<Vec<NamedDeployment>, StoreError> {
    let query = named()
        .only_of::<service::Entity>(
            Column::ServiceId,
            service::Column::Id,
            service::Column::Name,
            filter.service.as_deref(),
        )
        .only_of::<environment::Entity>(
            Column::EnvironmentId,
            environment::Column::Id,
            environment::Column::Name,
            filter.environment.as_deref(),
        )
        .apply_if(filter.version.as_deref(), |query, version| {
            let such = release::Entity::find().select_only().column(release::Column::Id);
            query.filter(
                Column::ReleaseId.in_subquery(such.filter(release::Column::Version.eq(version)).into_query()),
            )
        })
        .only(Column::Status, filter.status)
        .only(Column::Kind, filter.kind)
        .apply_if(filter.actor.as_deref(), |query, actor| {
            let named = [Column::ActorSubject, Column::ActorToken, Column::InitiatedBy];
            query.filter(named.iter().fold(Condition::any(), |any, column| any.add(column.eq(actor))))
        })
        .apply_if(filter.since, |query, since| query.filter(Column::StartedAt.gte(since)))
        .apply_if(filter.until, |query, until| query.filter(Column::StartedAt.lt(until)))
        .within_services(within)
        .within_environments(within)
        .newest_first(Column::StartedAt, Column::Id, page);
    query.limited(conn).await
}

/// The deployments that are under way in an environment, newest first.
pub async fn running_in(
    conn: &impl ConnectionTrait,
    environment_id: Uuid,
    limit: i64,
) -> Result<Vec<NamedDeployment>, StoreError> {
    // By the targets, of which there are few, and not by the deployments' history.
    let running = target::Entity::find().select_only().column(target::Column::RunningDeploymentId);
    let running = running.filter(target::Column::EnvironmentId.eq(environment_id));
    let query = named()
        .filter(Column::Id.in_subquery(running.into_query()))
        .order_by_desc(Column::StartedAt)
        .order_by_desc(Column::Id)
        .limit(limit.unsigned_abs());
    Ok(query.into_model().all(conn).await?)
}

/// So many of the newest successes of a target but for removals, before a moment if one is given, newest first: by hand,
/// because the table is joined with itself.
pub async fn successes(
    conn: &impl ConnectionTrait,
    (service_id, environment_id): (Uuid, Uuid),
    before: Option<DateTime<Utc>>,
    limit: u64,
) -> Result<Vec<Success>, StoreError> {
    let mut sql = Sql::new(
        "SELECT d.id, d.release_id, d.artefact, d.finished_at, d.stay_started_at, d.credited, d.reverted_by, \
         b.artefact AS returned_to FROM deployment d LEFT JOIN deployment b ON b.id = d.reverted_by \
         WHERE d.status = 'succeeded' AND d.kind <> 'remove' AND d.service_id = ",
    );
    sql.bind(service_id).push(" AND d.environment_id = ").bind(environment_id);
    if let Some(before) = before {
        sql.push(" AND d.finished_at < ").bind(before);
    }
    sql.push(&format!(" ORDER BY d.finished_at DESC LIMIT {limit}"));
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
    let overdue = running(limit).filter(Column::LeaseExpiresAt.lte(now));
    Ok(overdue.order_by_asc(Column::LeaseExpiresAt).into_tuple().all(conn).await?)
}

/// The running deployments whose lease ends later than `limit_at`, the farthest first.
pub async fn leased_beyond(
    conn: &impl ConnectionTrait,
    limit_at: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Uuid>, StoreError> {
    let beyond = running(limit).filter(Column::LeaseExpiresAt.gt(limit_at));
    Ok(beyond.order_by_desc(Column::LeaseExpiresAt).into_tuple().all(conn).await?)
}

/// The ids of running deployments.
fn running(limit: i64) -> Select<Entity> {
    let ids = Entity::find().select_only().column(Column::Id);
    ids.filter(is(Column::Status, Status::Running.as_str())).limit(limit.unsigned_abs())
}

/// The deployment that started last of those of the target `t` that have ended.
const LAST_ENDED: &str = "(SELECT ended.id FROM deployment ended WHERE ended.service_id = t.service_id \
     AND ended.environment_id = t.environment_id AND ended.status <> 'running' \
     ORDER BY ended.started_at DESC, ended.id DESC LIMIT 1)";

/// Of each target, the deployment that started last of those that have ended, where it ended after `since`: of the
/// `limit` targets that changed last.
pub async fn last_ended(
    conn: &impl ConnectionTrait,
    since: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<NamedDeployment>, StoreError> {
    use target::Column::{EnvironmentId, LastAt, ServiceId};
    let changed = target::Entity::find().select_only().columns([ServiceId, EnvironmentId]);
    let changed = changed.filter(LastAt.gt(since)).order_by_desc(LastAt).limit(limit.unsigned_abs());
    let last =
        Statement::select().expr(Expr::cust(LAST_ENDED)).from_subquery(changed.into_query(), "t").take();
    let query = named().filter(Column::Id.in_subquery(last)).filter(Column::FinishedAt.gt(since));
    Ok(query.into_model().all(conn).await?)
}
