//! Freeze windows.

use std::collections::BTreeSet;

use sea_orm::{
    ActiveModelTrait as _, ConnectionTrait, DatabaseBackend, EntityTrait as _, FromQueryResult as _,
    IntoActiveModel as _, QueryResult,
};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    clock,
    domain::{
        actor::Actor,
        environment::Environment,
        freeze::{Covers, Definition, FreezeWindow, Timing, Window},
        page::{PageRequest, TimeKey},
        scope::Narrowing,
        text::Name,
    },
    store::{
        entity::freeze_window::{Entity, Model},
        error::StoreError,
        sql::{Sql, columns},
    },
};

fn set<T: DeserializeOwned + Ord>(text: &str) -> Result<BTreeSet<T>, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt("set of a freeze window"))
}

fn text<T: Serialize>(set: &BTreeSet<T>) -> String {
    serde_json::to_string(set).unwrap_or_default()
}

pub(super) fn from_row(row: &QueryResult) -> Result<FreezeWindow, StoreError> {
    let model = Model::from_query_result(row, "")?;
    let covers = match (&model.environments, &model.tiers) {
        (Some(names), None) => Covers::Environments(set(names)?),
        (None, Some(tiers)) => Covers::Tiers(set(tiers)?),
        (Some(_), Some(_)) | (None, None) => return Err(StoreError::Corrupt("cover of a freeze window")),
    };
    let once = model.starts_at.zip(model.ends_at);
    let recurring = model.start_cron.zip(model.end_cron).zip(model.timezone);
    let timing = match (once, recurring) {
        (Some((starts_at, ends_at)), None) => Timing::Once { starts_at, ends_at },
        (None, Some(((start_cron, end_cron), timezone))) => {
            Timing::Recurring { start_cron, end_cron, timezone }
        }
        (Some(_), Some(_)) | (None, None) => return Err(StoreError::Corrupt("timing of a freeze window")),
    };
    Ok(FreezeWindow {
        id: model.id,
        definition: Definition { name: model.name, reason: model.reason, covers, timing },
        revision: model.revision,
        actor: Actor { token: model.actor_token, subject: model.actor_subject },
        created_at: model.created_at,
        updated_at: model.updated_at,
    })
}

fn to_model(freeze: &FreezeWindow) -> Model {
    let Definition { name, reason, covers, timing } = freeze.definition.clone();
    let (environments, tiers) = match covers {
        Covers::Environments(names) => (Some(text(&names)), None),
        Covers::Tiers(tiers) => (None, Some(text(&tiers))),
    };
    let model = Model {
        id: freeze.id,
        name,
        reason,
        environments,
        tiers,
        starts_at: None,
        ends_at: None,
        start_cron: None,
        end_cron: None,
        timezone: None,
        revision: freeze.revision,
        actor_token: freeze.actor.token.clone(),
        actor_subject: freeze.actor.subject.clone(),
        created_at: freeze.created_at,
        updated_at: freeze.updated_at,
    };
    match timing {
        Timing::Once { starts_at, ends_at } => {
            Model { starts_at: Some(starts_at), ends_at: Some(ends_at), ..model }
        }
        Timing::Recurring { start_cron, end_cron, timezone } => Model {
            start_cron: Some(start_cron),
            end_cron: Some(end_cron),
            timezone: Some(timezone),
            ..model
        },
    }
}

/// Waits for every start that is under way and holds up the others, so that none of them goes by a window that is being
/// changed; holds up registrations too, since a window may count in every environment of a tier.
///
/// The table as a whole, and not its rows: whoever edits an environment locks its row first and the table's rows for
/// writing then, so that taking both here would meet them crosswise.
pub async fn lock(conn: &impl ConnectionTrait) -> Result<(), StoreError> {
    if conn.get_database_backend() == DatabaseBackend::Postgres {
        Sql::new("LOCK TABLE environment IN EXCLUSIVE MODE").run(conn).await?;
    }
    Ok(())
}

/// Inserts a window.
pub async fn insert(conn: &impl ConnectionTrait, freeze: &FreezeWindow) -> Result<(), StoreError> {
    Entity::insert(to_model(freeze).into_active_model()).exec_without_returning(conn).await?;
    tell(conn).await
}

/// Writes what may change of a window.
pub async fn update(conn: &impl ConnectionTrait, freeze: &FreezeWindow) -> Result<(), StoreError> {
    to_model(freeze).into_active_model().reset_all().update(conn).await?;
    tell(conn).await
}

/// Takes a window away.
pub async fn delete(conn: &impl ConnectionTrait, id: Uuid) -> Result<(), StoreError> {
    Sql::new("DELETE FROM freeze_window WHERE id = ").bind(id).run(conn).await?;
    tell(conn).await
}

/// Makes it known to every environment that freeze windows have changed.
async fn tell(conn: &impl ConnectionTrait) -> Result<(), StoreError> {
    Sql::new("UPDATE environment SET freezes = ").bind(clock::new_id()).run(conn).await?;
    Ok(())
}

/// How many windows there are.
pub async fn count(conn: &impl ConnectionTrait) -> Result<i64, StoreError> {
    let row = Sql::new("SELECT COUNT(*) AS n FROM freeze_window").one(conn).await?;
    row.map_or(Ok(0), |row| Ok(row.try_get("", "n")?))
}

/// Those of these environments that are on record.
pub async fn known(conn: &impl ConnectionTrait, names: &[Name]) -> Result<BTreeSet<String>, StoreError> {
    let mut sql = Sql::new("SELECT name FROM environment WHERE name IN (NULL");
    for name in names {
        sql.push(", ").bind(name.as_str());
    }
    sql.push(")").all(conn).await?.iter().map(|row| Ok(row.try_get("", "name")?)).collect()
}

/// Confines the rows to what the narrowing allows: windows that count in tiers, and those that name an environment that
/// lies within.
fn and_within(sql: &mut Sql, within: &Narrowing) {
    let Some(names) = &within.environments else { return };
    sql.push(" AND (f.tiers IS NOT NULL");
    for name in names {
        sql.push(" OR f.environments LIKE ").bind(quoted(name));
    }
    sql.push(")");
}

/// Finds a name in a set of them: names hold neither quotes nor wildcards, so that this is the whole name.
fn quoted(name: &str) -> String {
    format!("%\"{name}\"%")
}

fn select() -> Sql {
    Sql::new(format!("SELECT {} FROM freeze_window f WHERE 1 = 1", columns::<Entity>("f", "")))
}

/// Finds a window that the narrowing allows.
pub async fn find(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    id: Uuid,
) -> Result<Option<FreezeWindow>, StoreError> {
    let mut sql = select();
    and_within(sql.push(" AND f.id = ").bind(id), within);
    sql.one(conn).await?.map(|row| from_row(&row)).transpose()
}

/// Lists the windows that the narrowing allows, newest first; with `environment`, those that count there.
pub async fn list(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    environment: Option<&str>,
    page: &PageRequest<TimeKey>,
) -> Result<Vec<FreezeWindow>, StoreError> {
    let mut sql = select();
    if let Some(name) = environment {
        sql.push(" AND EXISTS (SELECT 1 FROM environment e WHERE e.name = ").bind(name);
        sql.push(
            " AND (f.environments LIKE '%\"' || e.name || '\"%' OR f.tiers LIKE '%\"' || e.tier || '\"%')",
        );
        // One that lies outside is as one that is not there.
        sql.and_within(within, None, Some("e.name")).push(")");
    }
    and_within(&mut sql, within);
    sql.newest_first(("f.created_at", "f.id"), page);
    sql.all(conn).await?.iter().map(from_row).collect()
}

/// The windows that concern an environment, oldest first.
pub async fn concerning(
    conn: &impl ConnectionTrait,
    environment: &Environment,
) -> Result<Vec<Window>, StoreError> {
    let mut sql = select();
    sql.push(" AND (f.environments LIKE ").bind(quoted(environment.name.as_str()));
    sql.push(" OR f.tiers LIKE ").bind(quoted(&environment.settings.tier.to_string()));
    let rows = sql.push(") ORDER BY f.created_at, f.id").all(conn).await?;
    rows.iter().map(|row| Ok(from_row(row)?.window())).collect()
}

/// All windows that the narrowing allows, oldest first.
pub async fn all(conn: &impl ConnectionTrait, within: &Narrowing) -> Result<Vec<FreezeWindow>, StoreError> {
    let mut sql = select();
    and_within(&mut sql, within);
    sql.push(" ORDER BY f.created_at, f.id").all(conn).await?.iter().map(from_row).collect()
}
