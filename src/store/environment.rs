//! Environments.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sea_orm::ActiveModelTrait as _;
use uuid::Uuid;

use crate::{
    clock,
    domain::{
        actor::Actor,
        environment::{Environment, EnvironmentSettings, Lockdown},
        page::PageRequest,
        policy::InForce,
        scope::Narrowing,
        text::Name,
    },
    store::{
        db::now,
        entity::{
            column::Json,
            environment::{Column, Entity, Model},
            target,
        },
        prelude::*,
        query::{self, archived},
        sql::{Sql, clock, moment, now_of},
    },
};

impl FromQueryResult for Environment {
    fn from_query_result(row: &QueryResult, prefix: &str) -> Result<Self, DbErr> {
        let model = Model::from_query_result(row, prefix)?;
        let lockdown =
            (model.lockdown_reason, model.lockdown_token, model.lockdown_subject, model.lockdown_since);
        Ok(Self {
            id: model.id,
            name: model.name,
            settings: EnvironmentSettings { tier: model.tier, rank: model.rank, url: model.url },
            unconfirmed: model.unconfirmed,
            policy: match (model.policy, model.policy_version) {
                (None, None) => InForce::default(),
                (Some(Json(policy)), Some(version)) => InForce { version, policy },
                // Half a policy must not count as none.
                (Some(_), None) | (None, Some(_)) => return Err(corrupt("policy")),
            },
            lockdown: match lockdown {
                (None, None, None, None) => None,
                (Some(reason), Some(token), Some(subject), Some(since)) => {
                    Some(Lockdown { reason, actor: Actor { token, subject }, since })
                }
                // Half a lockdown must not count as none.
                _ => return Err(corrupt("lockdown")),
            },
            freezes: model.freezes,
            revision: model.revision,
            created_at: model.created_at,
            updated_at: model.updated_at,
            archived_at: model.archived_at,
        })
    }
}

fn to_model(environment: &Environment) -> Model {
    let InForce { version, policy } = environment.policy.clone();
    let lockdown = environment.lockdown.clone();
    Model {
        id: environment.id,
        name: environment.name.clone(),
        tier: environment.settings.tier,
        rank: environment.settings.rank,
        url: environment.settings.url.clone(),
        unconfirmed: environment.unconfirmed,
        policy: (version > 0).then_some(Json(policy)),
        policy_version: (version > 0).then_some(version),
        lockdown_reason: lockdown.as_ref().map(|lockdown| lockdown.reason.clone()),
        lockdown_token: lockdown.as_ref().map(|lockdown| lockdown.actor.token.clone()),
        lockdown_subject: lockdown.as_ref().map(|lockdown| lockdown.actor.subject.clone()),
        lockdown_since: lockdown.map(|lockdown| lockdown.since),
        freezes: environment.freezes,
        revision: environment.revision,
        created_at: environment.created_at,
        updated_at: environment.updated_at,
        archived_at: environment.archived_at,
    }
}

/// Inserts an environment; fails with [`StoreError::Unique`] when its name is taken.
pub async fn insert(conn: &impl ConnectionTrait, environment: &Environment) -> Result<(), StoreError> {
    Entity::insert(to_model(environment).into_active_model()).exec_without_returning(conn).await?;
    Ok(())
}

/// Writes what may change of an environment.
pub async fn update(conn: &impl ConnectionTrait, environment: &Environment) -> Result<(), StoreError> {
    // Of another tier, it may be concerned by other freeze windows.
    let model = Model { freezes: Some(clock::new_id()), ..to_model(environment) };
    model.into_active_model().reset_all().update(conn).await?;
    Ok(())
}

/// Whether somebody keeps an environment of tier production other than the one whose name comes after this text: by hand,
/// because locks, which are, ask it too.
pub(super) const OTHER_PRODUCTION: &str = "EXISTS (SELECT 1 FROM environment k WHERE k.tier = 'production' \
     AND k.archived_at IS NULL AND (NOT k.unconfirmed OR k.policy_version IS NOT NULL OR k.lockdown_since IS NOT NULL) \
     AND k.name <> ";

/// Whether somebody keeps an environment of tier production other than the one of this name.
pub async fn other_production_is_kept(conn: &impl ConnectionTrait, name: &str) -> Result<bool, StoreError> {
    let mut sql = Sql::new(format!("SELECT 1 WHERE {OTHER_PRODUCTION}"));
    Ok(sql.bind(name).push(")").one(conn).await?.is_some())
}

/// Waits for every start that is under way and holds up the others, so that none of them goes by a freeze window or a waiver that
/// is being changed; holds up registrations too, since either may count in environments that are not there yet.
///
/// The table as a whole, and not its rows: whoever edits an environment locks its row first and the table's rows for
/// writing then, so that taking both here would meet them crosswise.
pub async fn lock_table(conn: &impl ConnectionTrait) -> Result<(), StoreError> {
    if conn.get_database_backend() == DatabaseBackend::Postgres {
        Sql::new("LOCK TABLE environment IN EXCLUSIVE MODE").run(conn).await?;
    }
    Ok(())
}

/// Those of these names that environments on record have.
pub async fn known(conn: &impl ConnectionTrait, names: &[Name]) -> Result<BTreeSet<String>, StoreError> {
    query::known(conn, Entity::find(), Column::Name, names).await
}

/// Finds an environment that the narrowing allows.
pub async fn find(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    name: &str,
) -> Result<Option<Environment>, StoreError> {
    let query = Entity::find().filter(Column::Name.eq(name)).within_environments(within);
    Ok(query.into_model().one(conn).await?)
}

/// Locks an environment against every change and every start, and tells the moment.
pub async fn lock(
    conn: &impl ConnectionTrait,
    name: &str,
) -> Result<Option<(Environment, DateTime<Utc>)>, StoreError> {
    let rows = Entity::find().filter(Column::Name.eq(name)).locked(conn, "FOR UPDATE").await?;
    rows.first().map(|row| Ok((Environment::from_query_result(row, "")?, now_of(row)?))).transpose()
}

/// As [`lock`], for those of several environments that are there. In the order of ids, as everybody who locks several.
pub async fn lock_all(
    conn: &impl ConnectionTrait,
    names: &[&str],
) -> Result<(Vec<Environment>, DateTime<Utc>), StoreError> {
    let wanted = Entity::find().filter(Column::Name.is_in(names.iter().copied()));
    let found = wanted.order_by_asc(Column::Id).lock_exclusive().into_model().all(conn).await?;
    Ok((found, now(conn).await?))
}

/// As [`lock`], and locks the environments whose policy may name this one, too: what it is decides what starts there.
pub async fn lock_with_dependents(
    conn: &impl ConnectionTrait,
    name: &str,
) -> Result<Option<(Environment, DateTime<Utc>)>, StoreError> {
    // Names hold neither quotes nor wildcards, so that this finds the whole name.
    let naming = Column::Policy.like(format!("%\"{name}\"%"));
    let concerned = Entity::find().filter(Condition::any().add(Column::Name.eq(name)).add(naming));
    let locked = concerned.clone().order_by_asc(Column::Id).locked(conn, "FOR UPDATE").await?;
    // A policy that came to name this one while the locks were waited for was not among what was looked for then. And the
    // moment is read here: a row that was waited for tells nothing when its policy names this one no more.
    let there = concerned.select_only().expr(Expr::cust("COUNT(*)")).expr(Expr::cust(clock(conn)));
    let there: Option<(i64, Option<DateTime<Utc>>)> = there.into_tuple().one(conn).await?;
    let (there, now) = there.ok_or(StoreError::Corrupt("count"))?;
    if usize::try_from(there).ok() != Some(locked.len()) {
        return Err(StoreError::Busy(DbErr::Custom("a policy has just come to name it".to_owned())));
    }
    let mut found = None;
    for row in locked {
        let environment = Environment::from_query_result(&row, "")?;
        if environment.name.as_str() == name {
            found = Some((environment, moment(now)));
        }
    }
    Ok(found)
}

/// Lists the environments that the narrowing allows, by name.
pub async fn list(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    is_archived: bool,
    page: &PageRequest<String>,
) -> Result<Vec<Environment>, StoreError> {
    let query = Entity::find().filter(archived(Column::ArchivedAt, is_archived));
    Ok(query.within_environments(within).by_name(Column::Name, page).into_model().all(conn).await?)
}

/// The environments in use that the narrowing allows, in the order of promotion.
pub async fn in_use(conn: &impl ConnectionTrait, within: &Narrowing) -> Result<Vec<Environment>, StoreError> {
    let used = Entity::find().filter(Column::ArchivedAt.is_null()).within_environments(within);
    Ok(used.order_by_asc(Column::Rank).order_by_asc(Column::Name).into_model().all(conn).await?)
}

/// The names of environments that the narrowing allows, in the order of their rank, those in use before those in the archive.
pub async fn names(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    limit: u64,
) -> Result<Vec<String>, StoreError> {
    let used_first =
        Entity::find().within_environments(within).order_by_asc(Column::ArchivedAt.is_not_null());
    let names = used_first.order_by_asc(Column::Rank).order_by_asc(Column::Name).limit(limit);
    Ok(names.select_only().column(Column::Name).into_tuple().all(conn).await?)
}

/// Whether any deployment into the environment is under way.
pub async fn is_busy(conn: &impl ConnectionTrait, id: Uuid) -> Result<bool, StoreError> {
    let running = target::Column::RunningDeploymentId.is_not_null();
    let here = target::Column::EnvironmentId.eq(id);
    Ok(target::Entity::find().filter(running).filter(here).exists(conn).await?)
}
