//! Environments.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait as _, ConnectionTrait, DatabaseBackend, DbErr, EntityTrait as _, FromQueryResult as _,
    IntoActiveModel as _, QueryResult, Value,
};
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
        entity::environment::{Entity, Model},
        error::StoreError,
        sql::{Sql, clock, columns, locking, now_of},
    },
};

pub(super) fn from_row(row: &QueryResult, prefix: &str) -> Result<Environment, StoreError> {
    let model = Model::from_query_result(row, prefix)?;
    Ok(Environment {
        id: model.id,
        name: Name::trusted(model.name),
        settings: EnvironmentSettings {
            tier: model.tier.parse().map_err(|_| StoreError::Corrupt("tier"))?,
            rank: model.rank,
            url: model.url,
        },
        unconfirmed: model.unconfirmed,
        policy: in_force(model.policy.as_deref(), model.policy_version)?,
        lockdown: match (
            model.lockdown_reason,
            model.lockdown_token,
            model.lockdown_subject,
            model.lockdown_since,
        ) {
            (None, None, None, None) => None,
            (Some(reason), Some(token), Some(subject), Some(since)) => {
                Some(Lockdown { reason, actor: Actor { token, subject }, since })
            }
            // Half a lockdown must not count as none.
            _ => return Err(StoreError::Corrupt("lockdown")),
        },
        freezes: model.freezes,
        revision: model.revision,
        created_at: model.created_at,
        updated_at: model.updated_at,
        archived_at: model.archived_at,
    })
}

fn in_force(policy: Option<&str>, version: Option<i64>) -> Result<InForce, StoreError> {
    let (policy, version) = match (policy, version) {
        (None, None) => return Ok(InForce::default()),
        (Some(policy), Some(version)) => (policy, version),
        // Half a policy must not count as none.
        (Some(_), None) | (None, Some(_)) => return Err(StoreError::Corrupt("policy")),
    };
    let policy = serde_json::from_str(policy).map_err(|_| StoreError::Corrupt("policy"))?;
    Ok(InForce { version, policy })
}

fn to_model(environment: &Environment) -> Model {
    let InForce { version, policy } = &environment.policy;
    let lockdown = environment.lockdown.clone();
    Model {
        id: environment.id,
        name: environment.name.to_string(),
        tier: environment.settings.tier.to_string(),
        rank: environment.settings.rank,
        url: environment.settings.url.clone(),
        unconfirmed: environment.unconfirmed,
        policy: (*version > 0).then(|| serde_json::to_string(policy).unwrap_or_default()),
        policy_version: (*version > 0).then_some(*version),
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

/// Whether somebody keeps an environment of tier production other than the one with the id that the text before it gives.
pub(super) const OTHER_PRODUCTION: &str = "EXISTS (SELECT 1 FROM environment k WHERE k.tier = 'production' \
     AND k.archived_at IS NULL AND (NOT k.unconfirmed OR k.policy_version IS NOT NULL OR k.lockdown_since IS NOT NULL) \
     AND k.name <> ";

/// Whether somebody keeps an environment of tier production other than the one of this name.
pub async fn other_production_is_kept(conn: &impl ConnectionTrait, name: &str) -> Result<bool, StoreError> {
    let mut sql = Sql::new(format!("SELECT 1 WHERE {OTHER_PRODUCTION}"));
    Ok(sql.bind(name).push(")").one(conn).await?.is_some())
}

/// Finds an environment that the narrowing allows.
pub async fn find(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    name: &str,
) -> Result<Option<Environment>, StoreError> {
    let mut sql =
        Sql::new(format!("SELECT {} FROM environment e WHERE e.name = ", columns::<Entity>("e", "")));
    sql.bind(name).and_within(within, None, Some("e.name"));
    sql.one(conn).await?.map(|row| from_row(&row, "")).transpose()
}

/// Locks an environment against every change and every start, and tells the moment.
pub async fn lock(
    conn: &impl ConnectionTrait,
    name: &str,
) -> Result<Option<(Environment, DateTime<Utc>)>, StoreError> {
    let query = format!("SELECT {} FROM environment e WHERE e.name = $1", columns::<Entity>("e", ""));
    let mut sql = Sql::new(String::new());
    sql.bind(name);
    let sql = sql.with_text(locking(conn, &query, "FOR UPDATE"));
    sql.one(conn).await?.map(|row| Ok((from_row(&row, "")?, now_of(&row)?))).transpose()
}

/// As [`lock`], for those of several environments that are there. In the order of ids, as everybody who locks several.
pub async fn lock_all(
    conn: &impl ConnectionTrait,
    names: &[&str],
) -> Result<(Vec<Environment>, DateTime<Utc>), StoreError> {
    let mut sql =
        Sql::new(format!("SELECT {} FROM environment e WHERE e.name IN (NULL", columns::<Entity>("e", "")));
    for name in names {
        sql.push(", ").bind(*name);
    }
    sql.push(") ORDER BY e.id");
    if conn.get_database_backend() == DatabaseBackend::Postgres {
        sql.push(" FOR UPDATE");
    }
    let rows = sql.all(conn).await?;
    let found = rows.iter().map(|row| from_row(row, "")).collect::<Result<_, _>>()?;
    Ok((found, now(conn).await?))
}

/// As [`lock`], and locks the environments whose policy may name this one, too: what it is decides what starts there.
pub async fn lock_with_dependents(
    conn: &impl ConnectionTrait,
    name: &str,
) -> Result<Option<(Environment, DateTime<Utc>)>, StoreError> {
    let query = format!(
        "SELECT {} FROM environment e WHERE e.name = $1 OR e.policy LIKE $2 ORDER BY e.id",
        columns::<Entity>("e", "")
    );
    let mut sql = Sql::new(String::new());
    // Names hold neither quotes nor wildcards, so that this finds the whole name.
    sql.bind(name).bind(format!("%\"{name}\"%"));
    let sql = sql.with_text(locking(conn, &query, "FOR UPDATE"));
    let locked = sql.all(conn).await?;
    // A policy that came to name this one while the locks were waited for was not among what was looked for then. And the
    // moment is read here: a row that was waited for tells nothing when its policy names this one no more.
    let mut sql =
        Sql::new(format!("SELECT COUNT(*) AS n, {} AS now FROM environment WHERE name = ", clock(conn)));
    sql.bind(name).push(" OR policy LIKE ").bind(format!("%\"{name}\"%"));
    let there = sql.one(conn).await?.ok_or(StoreError::Corrupt("count"))?;
    if usize::try_from(there.try_get::<i64>("", "n")?).ok() != Some(locked.len()) {
        return Err(StoreError::Busy(DbErr::Custom("a policy has just come to name it".to_owned())));
    }
    let mut found = None;
    for row in locked {
        let environment = from_row(&row, "")?;
        if environment.name.as_str() == name {
            found = Some((environment, now_of(&there)?));
        }
    }
    Ok(found)
}

/// Lists the environments that the narrowing allows, by name.
pub async fn list(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    archived: bool,
    page: &PageRequest<String>,
) -> Result<Vec<Environment>, StoreError> {
    let mut sql = Sql::new(format!("SELECT {} FROM environment e WHERE ", columns::<Entity>("e", "")));
    sql.push(if archived { "e.archived_at IS NOT NULL" } else { "e.archived_at IS NULL" });
    sql.and_within(within, None, Some("e.name")).by_name("e.name", page.after.as_ref(), page.limit);
    sql.all(conn).await?.iter().map(|row| from_row(row, "")).collect()
}

/// The names of environments in use, in the order of their rank.
pub async fn names(conn: &impl ConnectionTrait, limit: i64) -> Result<Vec<String>, StoreError> {
    let mut sql =
        Sql::new("SELECT name FROM environment WHERE archived_at IS NULL ORDER BY rank, name LIMIT ");
    sql.bind(limit).all(conn).await?.iter().map(|row| Ok(row.try_get("", "name")?)).collect()
}

/// Whether any deployment into the environment is under way.
pub async fn is_busy(conn: &impl ConnectionTrait, id: Uuid) -> Result<bool, StoreError> {
    let mut sql =
        Sql::new("SELECT 1 FROM target WHERE running_deployment_id IS NOT NULL AND environment_id = ");
    Ok(sql.bind(Value::from(id)).one(conn).await?.is_some())
}
