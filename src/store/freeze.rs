//! Freeze windows.

use sea_orm::ActiveModelTrait as _;
use uuid::Uuid;

use crate::{
    clock,
    domain::{
        actor::Actor,
        environment::Environment,
        freeze::{Covers, Definition, FreezeWindow, Timing, Window},
        page::{PageRequest, TimeKey},
        scope::Narrowing,
    },
    store::{
        entity::{
            column::Json,
            environment,
            freeze_window::{Column, Entity, Model},
            service,
        },
        prelude::*,
        query::{naming, naming_any},
    },
};

/// Confines freeze windows to those that count for one service, in one environment, or both.
#[derive(Clone, Copy, Debug, Default)]
pub struct Only<'a> {
    pub service: Option<&'a str>,
    pub environment: Option<&'a str>,
}

impl FromQueryResult for FreezeWindow {
    fn from_query_result(row: &QueryResult, prefix: &str) -> Result<Self, DbErr> {
        let model = Model::from_query_result(row, prefix)?;
        let covers = match (model.environments, model.tiers) {
            (Some(Json(names)), None) => Covers::Environments(names),
            (None, Some(Json(tiers))) => Covers::Tiers(tiers),
            (Some(_), Some(_)) | (None, None) => return Err(corrupt("cover of a freeze window")),
        };
        let once = model.starts_at.zip(model.ends_at);
        let recurring = model.start_cron.zip(model.end_cron).zip(model.timezone);
        let timing = match (once, recurring) {
            (Some((starts_at, ends_at)), None) => Timing::Once { starts_at, ends_at },
            (None, Some(((start_cron, end_cron), timezone))) => {
                Timing::Recurring { start_cron, end_cron, timezone }
            }
            (Some(_), Some(_)) | (None, None) => return Err(corrupt("timing of a freeze window")),
        };
        Ok(Self {
            id: model.id,
            definition: Definition {
                name: model.name,
                reason: model.reason,
                covers,
                services: model.services.map(|Json(names)| names),
                timing,
            },
            revision: model.revision,
            actor: Actor { token: model.actor_token, subject: model.actor_subject },
            created_at: model.created_at,
            updated_at: model.updated_at,
        })
    }
}

fn to_model(freeze: &FreezeWindow) -> Model {
    let Definition { name, reason, covers, services, timing } = freeze.definition.clone();
    let (environments, tiers) = match covers {
        Covers::Environments(names) => (Some(Json(names)), None),
        Covers::Tiers(tiers) => (None, Some(Json(tiers))),
    };
    let model = Model {
        id: freeze.id,
        name,
        reason,
        environments,
        tiers,
        services: services.map(Json),
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
    Entity::delete_by_id(id).exec(conn).await?;
    tell(conn).await
}

/// Makes it known to every environment that freeze windows have changed.
async fn tell(conn: &impl ConnectionTrait) -> Result<(), StoreError> {
    let changed = Expr::value(clock::new_id());
    environment::Entity::update_many().col_expr(environment::Column::Freezes, changed).exec(conn).await?;
    Ok(())
}

/// How many windows there are.
pub async fn count(conn: &impl ConnectionTrait) -> Result<i64, StoreError> {
    Ok(i64::try_from(Entity::find().count(conn).await?).unwrap_or(i64::MAX))
}

/// The windows that the narrowing allows: of those that count in tiers or name an environment that lies within, those that
/// count for all services or name one that lies within.
fn select(within: &Narrowing) -> Select<Entity> {
    Entity::find()
        .apply_if(within.environments.as_ref(), |query, names| {
            query.filter(naming_any(Column::Environments, names, Column::Tiers.is_not_null()))
        })
        .apply_if(within.services.as_ref(), |query, names| {
            query.filter(naming_any(Column::Services, names, Column::Services.is_null()))
        })
}

fn oldest_first(windows: Select<Entity>) -> Select<Entity> {
    windows.order_by_asc(Column::CreatedAt).order_by_asc(Column::Id)
}

/// Finds a window that the narrowing allows.
pub async fn find(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    id: Uuid,
) -> Result<Option<FreezeWindow>, StoreError> {
    Ok(select(within).filter(Column::Id.eq(id)).into_model().one(conn).await?)
}

/// The environment that a window counts in, as the database finds it in the window's sets.
const COUNTS_THERE: &str = r#"freeze_window.environments LIKE '%"' || environment.name || '"%'
    OR freeze_window.tiers LIKE '%"' || environment.tier || '"%'"#;

/// Lists the windows that the narrowing allows, newest first; with `only`, those that count for that service and in that
/// environment.
pub async fn list(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    only: Only<'_>,
    page: &PageRequest<TimeKey>,
) -> Result<Vec<FreezeWindow>, StoreError> {
    let query = select(within).apply_if(only.service, |query, name| {
        let there = service::Entity::find().filter(service::Column::Name.eq(name)).within_services(within);
        let counts = Condition::any().add(Column::Services.is_null()).add(naming(Column::Services, name));
        query.filter(counts).filter(Expr::exists(there.into_query()))
    });
    let query = query.apply_if(only.environment, |query, name| {
        let there = environment::Entity::find().filter(environment::Column::Name.eq(name));
        // One that lies outside is as one that is not there.
        let there = there.within_environments(within).filter(Expr::cust(format!("({COUNTS_THERE})")));
        query.filter(Expr::exists(there.into_query()))
    });
    Ok(query.newest_first(Column::CreatedAt, Column::Id, page).into_model().all(conn).await?)
}

/// The windows that concern an environment, oldest first.
pub async fn concerning(
    conn: &impl ConnectionTrait,
    environment: &Environment,
) -> Result<Vec<Window>, StoreError> {
    let concerned = Condition::any()
        .add(naming(Column::Environments, environment.name.as_str()))
        .add(naming(Column::Tiers, environment.settings.tier.as_str()));
    let found: Vec<FreezeWindow> =
        oldest_first(Entity::find().filter(concerned)).into_model().all(conn).await?;
    Ok(found.iter().map(FreezeWindow::window).collect())
}

/// All windows that the narrowing allows, oldest first.
pub async fn all(conn: &impl ConnectionTrait, within: &Narrowing) -> Result<Vec<FreezeWindow>, StoreError> {
    Ok(oldest_first(select(within)).into_model().all(conn).await?)
}
