//! Putting finished deployments into the past of a target: who they follow, and whom they push aside.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::{
    domain::{
        deployment::{Deployment, NamedDeployment, Neighbour},
        scope::Narrowing,
        vocabulary::{Kind, Status},
    },
    store::{
        deployment::named,
        entity::{
            deployment::{ActiveModel, Column, Entity},
            target,
        },
        prelude::*,
        query::is,
    },
};

fn of_target((service_id, environment_id): (Uuid, Uuid)) -> Condition {
    let service = Column::ServiceId.eq(service_id);
    Condition::all().add(service).add(Column::EnvironmentId.eq(environment_id))
}

/// The successes of a target.
fn successes(target: (Uuid, Uuid)) -> Condition {
    of_target(target).add(is(Column::Status, Status::Succeeded.as_str()))
}

async fn neighbour(
    conn: &impl ConnectionTrait,
    successes: Select<Entity>,
) -> Result<Option<Neighbour>, StoreError> {
    let columns =
        [Column::Id, Column::ReleaseId, Column::Artefact, Column::FinishedAt, Column::StayStartedAt];
    let found = successes.select_only().columns(columns).into_tuple().one(conn).await?;
    Ok(found.map(|(id, release_id, artefact, finished_at, stay_started_at)| Neighbour {
        id,
        release_id,
        artefact,
        finished_at,
        stay_started_at,
    }))
}

/// The last success of the target before the moment.
pub async fn before(
    conn: &impl ConnectionTrait,
    target: (Uuid, Uuid),
    at: DateTime<Utc>,
) -> Result<Option<Neighbour>, StoreError> {
    let earlier = Entity::find().filter(successes(target)).filter(Column::FinishedAt.lt(at));
    neighbour(conn, earlier.order_by_desc(Column::FinishedAt)).await
}

/// The first success of the target at or after the moment.
pub async fn from(
    conn: &impl ConnectionTrait,
    of: &Deployment,
    at: DateTime<Utc>,
) -> Result<Option<Neighbour>, StoreError> {
    let later = Entity::find().filter(successes(of.target())).filter(Column::FinishedAt.gte(at));
    neighbour(conn, later.order_by_asc(Column::FinishedAt)).await
}

/// Lets a deployment be superseded by another from a moment on.
pub async fn supersede(
    conn: &impl ConnectionTrait,
    id: Uuid,
    at: DateTime<Utc>,
    by: Uuid,
) -> Result<(), StoreError> {
    let superseded = ActiveModel {
        id: Unchanged(id),
        superseded_at: Set(Some(at)),
        superseded_by: Set(Some(by)),
        ..ActiveModel::default()
    };
    Entity::update(superseded).exec_without_returning(conn).await?;
    Ok(())
}

/// Moves the start of a stay, for those of its deployments that became current at `from` or later.
pub async fn move_stay(
    conn: &impl ConnectionTrait,
    of: &Deployment,
    from: &Neighbour,
    start: DateTime<Utc>,
) -> Result<(), StoreError> {
    let moved = ActiveModel { stay_started_at: Set(Some(start)), ..ActiveModel::default() };
    let stay = successes(of.target())
        .add(Column::StayStartedAt.eq(from.stay_started_at))
        .add(Column::FinishedAt.gte(from.finished_at));
    Entity::update_many().set(moved).filter(stay).exec(conn).await?;
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
    let same = of_target(of.target())
        .add(Column::Recorded.into_expr())
        .add(Column::ReleaseId.eq(of.release_id))
        .add(Column::Status.eq(of.status))
        .add(Column::StartedAt.eq(of.times.started_at))
        .add(Column::FinishedAt.gte(finished_at - slack))
        .add(Column::FinishedAt.lte(finished_at));
    Ok(Entity::find().select_only().column(Column::Id).filter(same).into_tuple().one(conn).await?)
}

/// The rollback that reverted the span in which the moment lies, unless it returned to the deployment's own release.
pub async fn reverter_of(
    conn: &impl ConnectionTrait,
    of: &Deployment,
    at: DateTime<Utc>,
) -> Result<Option<Uuid>, StoreError> {
    let rollbacks = successes(of.target())
        .add(Column::Kind.eq(Kind::Rollback))
        .add(Column::FinishedAt.gt(at))
        .add(Column::RevertsSince.lt(at))
        .add(Column::ReleaseId.ne(of.release_id));
    let first = Entity::find().filter(rollbacks).order_by_asc(Column::FinishedAt);
    Ok(first.select_only().column(Column::Id).into_tuple().one(conn).await?)
}

/// Marks as reverted what became current in between, by a rollback that happened at `until`.
pub async fn revert(
    conn: &impl ConnectionTrait,
    rollback: &Deployment,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<(), StoreError> {
    let reverted = ActiveModel { reverted_by: Set(Some(rollback.id)), ..ActiveModel::default() };
    let between = successes(rollback.target())
        .add(Column::RevertedBy.is_null())
        .add(Column::ReleaseId.ne(rollback.release_id))
        .add(Column::FinishedAt.gt(since))
        .add(Column::FinishedAt.lt(until));
    Entity::update_many().set(reverted).filter(between).exec(conn).await?;
    Ok(())
}

/// The successes of a service after one moment and up to another, newest first and no more than a limit: what has become
/// current in which of its targets.
pub async fn of_service(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    service_id: Uuid,
    (after, until): (DateTime<Utc>, DateTime<Utc>),
    limit: u64,
) -> Result<Vec<NamedDeployment>, StoreError> {
    // By the service's targets, of each of which an index has the successes in their order.
    let targets = target::Entity::find().select_only().column(target::Column::EnvironmentId);
    let targets = targets.filter(target::Column::ServiceId.eq(service_id));
    let query = named()
        .filter(Column::ServiceId.eq(service_id))
        .filter(Column::EnvironmentId.in_subquery(targets.into_query()))
        .filter(is(Column::Status, Status::Succeeded.as_str()))
        .filter(Column::FinishedAt.gt(after))
        .filter(Column::FinishedAt.lte(until))
        .within_environments(within)
        .order_by_desc(Column::FinishedAt)
        .limit(limit);
    Ok(query.into_model().all(conn).await?)
}
