//! Targets: the rows that starts and finishes lock.

use chrono::{DateTime, Utc};
use sea_orm::ActiveModelTrait as _;
use uuid::Uuid;

use crate::{
    domain::{
        actor::Actor,
        environment::Environment,
        scope::Narrowing,
        target::{Current, Running, Target},
    },
    store::{
        entity::{
            environment,
            target::{ActiveModel, Column, Entity, Model},
        },
        environment::OTHER_PRODUCTION,
        prelude::*,
        sql::{Sql, clock, columns, locking, now_of},
    },
};

impl FromQueryResult for Target {
    fn from_query_result(row: &QueryResult, prefix: &str) -> Result<Self, DbErr> {
        let model = Model::from_query_result(row, prefix)?;
        Ok(Self {
            service_id: model.service_id,
            environment_id: model.environment_id,
            current: current(&model)?,
            running: running(&model)?,
            last_started_at: model.last_started_at,
            last_at: model.last_at,
        })
    }
}

// Half an occupant must not count as none: something would start beside it, or over it.
fn whole<T>(named: Option<Uuid>, whole: Option<T>) -> Result<Option<T>, DbErr> {
    if named.is_some() && whole.is_none() {
        return Err(corrupt("target"));
    }
    Ok(whole)
}

fn actor(token: Option<&String>, subject: Option<&String>) -> Option<Actor> {
    Some(Actor { token: token?.clone(), subject: subject?.clone() })
}

fn current(model: &Model) -> Result<Option<Current>, DbErr> {
    let current = || {
        Some(Current {
            deployment_id: model.current_deployment_id?,
            release_id: model.current_release_id?,
            artefact: model.current_artefact.clone()?,
            since: model.current_since?,
            finished_at: model.current_finished_at?,
            actor: actor(model.current_token.as_ref(), model.current_subject.as_ref())?,
        })
    };
    whole(model.current_deployment_id, current())
}

fn running(model: &Model) -> Result<Option<Running>, DbErr> {
    let running = || {
        Some(Running {
            deployment_id: model.running_deployment_id?,
            release_id: model.running_release_id?,
            since: model.running_since?,
            actor: actor(model.running_token.as_ref(), model.running_subject.as_ref())?,
        })
    };
    whole(model.running_deployment_id, running())
}

/// A target with its row locked, and what a start needs to know beside it.
#[derive(Clone, Debug)]
pub struct LockedTarget {
    pub target: Target,
    /// Whether its service is archived.
    pub service_archived: bool,
    pub environment: Environment,
    /// Whether somebody keeps another environment of tier production; told where the target's is unconfirmed.
    pub other_production: bool,
    /// The moment, read after the locks.
    pub now: DateTime<Utc>,
}

fn with_environment() -> String {
    let (target, environment) = (columns::<Entity>("t", ""), columns::<environment::Entity>("e", "e_"));
    format!(
        "SELECT {target}, {environment}, s.archived_at AS service_archived_at, \
         CASE WHEN e.unconfirmed THEN {OTHER_PRODUCTION} e.name) ELSE FALSE END AS other_production"
    )
}

fn locked(row: &QueryResult) -> Result<LockedTarget, StoreError> {
    Ok(LockedTarget {
        target: Target::from_query_result(row, "")?,
        service_archived: row.try_get::<Option<DateTime<Utc>>>("", "service_archived_at")?.is_some(),
        environment: Environment::from_query_result(row, "e_")?,
        other_production: row.try_get("", "other_production")?,
        now: now_of(row)?,
    })
}

/// Locks a service and in it a target against every change, and its environment against changes of what the gate reads;
/// and the service's targets in the environments that the policy may promote from.
///
/// Whoever may register a release locks the service as a whole, because its releases are numbered one after the other.
/// The service comes first for everybody and the targets last, in the order of their environments' ids, so that nobody
/// waits for another in a circle. Fails with [`StoreError::Busy`] when the policy changed while the locks were waited for:
/// then it may name other environments.
pub async fn lock(
    conn: &impl ConnectionTrait,
    service: &str,
    environment: &str,
    registers: bool,
) -> Result<Option<LockedTarget>, StoreError> {
    // By hand: the rows are locked in three ways, and the target is joined with those beside it.
    // What is not locked is read as it was before the locks. Names hold neither quotes nor wildcards.
    let query = format!(
        "{}, (SELECT x.policy_version FROM environment x WHERE x.id = e.id) AS seen_version \
         FROM service s JOIN environment e ON e.name = $2 \
         JOIN target own ON own.service_id = s.id AND own.environment_id = e.id \
         JOIN target t ON t.service_id = s.id AND (t.environment_id = e.id OR EXISTS \
         (SELECT 1 FROM environment f WHERE f.id = t.environment_id AND e.policy LIKE '%\"' || f.name || '\"%')) \
         WHERE s.name = $1 ORDER BY t.environment_id",
        with_environment()
    );
    let service_lock = if registers { "FOR UPDATE OF s" } else { "FOR SHARE OF s" };
    let locks = format!("{service_lock} FOR SHARE OF e FOR UPDATE OF t");
    let sql = Sql::with(locking(conn, &query, &locks), [service.into(), environment.into()]);
    let (mut found, mut now) = (None, None);
    for row in sql.all(conn).await? {
        if row.try_get::<Option<i64>>("", "seen_version")?
            != row.try_get::<Option<i64>>("", "e_policy_version")?
        {
            return Err(StoreError::Busy(DbErr::Custom("the policy has just changed".to_owned())));
        }
        let locked = locked(&row)?;
        // Each row tells when it was locked itself; only the last one comes after all locks.
        now = now.max(Some(locked.now));
        if locked.target.environment_id == locked.environment.id {
            found = Some(locked);
        }
    }
    Ok(found.zip(now).map(|(locked, now)| LockedTarget { now, ..locked }))
}

/// Reads a target that the narrowing allows, with its environment, and locks nothing. A target that nothing was ever
/// deployed to is empty; without its service or its environment there is none.
pub async fn peek(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    service: &str,
    environment: &str,
) -> Result<Option<LockedTarget>, StoreError> {
    // By hand, as the lock that reads the same; and the target may be missing.
    let mut sql = Sql::new(format!(
        "{}, s.id AS known_service_id, {} AS now FROM service s JOIN environment e ON 1 = 1 \
         LEFT JOIN target t ON t.service_id = s.id AND t.environment_id = e.id WHERE s.name = ",
        with_environment(),
        clock(conn)
    ));
    sql.bind(service).push(" AND e.name = ").bind(environment);
    sql.and_within(within, Some("s.name"), Some("e.name"));
    let Some(row) = sql.one(conn).await? else { return Ok(None) };
    if row.try_get::<Option<Uuid>>("", "service_id")?.is_some() {
        return locked(&row).map(Some);
    }
    let environment = Environment::from_query_result(&row, "e_")?;
    let target = Target::empty(row.try_get("", "known_service_id")?, environment.id);
    let service_archived = row.try_get::<Option<DateTime<Utc>>>("", "service_archived_at")?.is_some();
    let other_production = row.try_get("", "other_production")?;
    Ok(Some(LockedTarget { target, service_archived, environment, other_production, now: now_of(&row)? }))
}

/// Makes sure that the target has its row.
pub async fn ensure(
    conn: &impl ConnectionTrait,
    service_id: Uuid,
    environment_id: Uuid,
) -> Result<(), StoreError> {
    let row = ActiveModel {
        service_id: Set(service_id),
        environment_id: Set(environment_id),
        ..Default::default()
    };
    Entity::insert(row).on_conflict_do_nothing().exec_without_returning(conn).await?;
    Ok(())
}

/// Writes a locked target back.
pub async fn save(conn: &impl ConnectionTrait, target: &Target) -> Result<(), StoreError> {
    let current = target.current.clone();
    let running = target.running.clone();
    let model = Model {
        service_id: target.service_id,
        environment_id: target.environment_id,
        current_deployment_id: current.as_ref().map(|c| c.deployment_id),
        current_release_id: current.as_ref().map(|c| c.release_id),
        current_artefact: current.as_ref().map(|c| c.artefact.clone()),
        current_since: current.as_ref().map(|c| c.since),
        current_finished_at: current.as_ref().map(|c| c.finished_at),
        current_token: current.as_ref().map(|c| c.actor.token.clone()),
        current_subject: current.map(|c| c.actor.subject),
        running_deployment_id: running.as_ref().map(|r| r.deployment_id),
        running_release_id: running.as_ref().map(|r| r.release_id),
        running_since: running.as_ref().map(|r| r.since),
        running_token: running.as_ref().map(|r| r.actor.token.clone()),
        running_subject: running.map(|r| r.actor.subject),
        last_started_at: target.last_started_at,
        last_at: target.last_at,
    };
    Entity::update(model.into_active_model().reset_all()).exec_without_returning(conn).await?;
    Ok(())
}

/// How many targets have a running deployment, and how many a current one.
pub async fn count(conn: &impl ConnectionTrait) -> Result<(u64, u64), StoreError> {
    let counts = [Column::RunningDeploymentId.count(), Column::CurrentDeploymentId.count()];
    let counts = Entity::find().select_only().exprs(counts).into_tuple::<(i64, i64)>().one(conn).await?;
    let (running, current) = counts.ok_or(StoreError::Corrupt("count"))?;
    Ok((running.unsigned_abs(), current.unsigned_abs()))
}
