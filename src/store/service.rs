//! Services.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait as _, ConnectionTrait, EntityTrait, FromQueryResult as _, IntoActiveModel as _,
    QueryResult, Value,
};
use uuid::Uuid;

use crate::{
    domain::{
        page::PageRequest,
        scope::Narrowing,
        service::{Labels, Service, ServiceDescription},
        text::Name,
    },
    store::{
        entity::service::{Entity, Model},
        error::StoreError,
        sql::{Sql, columns, locking, now_of},
    },
};

/// Labels as they are stored.
pub(super) fn labels_text(labels: &Labels) -> String {
    serde_json::to_string(labels).unwrap_or_default()
}

/// Labels as they were stored.
pub(super) fn labels_of(text: &str) -> Result<Labels, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt("set of labels"))
}

pub(super) fn from_row(row: &QueryResult) -> Result<Service, StoreError> {
    let model = Model::from_query_result(row, "")?;
    Ok(Service {
        id: model.id,
        name: Name::trusted(model.name),
        description: ServiceDescription {
            display_name: model.display_name,
            description: model.description,
            repository_url: model.repository_url,
            owner: model.owner,
            labels: labels_of(&model.labels)?,
        },
        revision: model.revision,
        created_at: model.created_at,
        updated_at: model.updated_at,
        archived_at: model.archived_at,
    })
}

fn to_model(service: &Service) -> Model {
    let description = service.description.clone();
    Model {
        id: service.id,
        name: service.name.to_string(),
        display_name: description.display_name,
        description: description.description,
        repository_url: description.repository_url,
        owner: description.owner,
        labels: labels_text(&description.labels),
        revision: service.revision,
        created_at: service.created_at,
        updated_at: service.updated_at,
        archived_at: service.archived_at,
    }
}

/// Inserts a service; fails with [`StoreError::Unique`] when its name is taken.
pub async fn insert(conn: &impl ConnectionTrait, service: &Service) -> Result<(), StoreError> {
    Entity::insert(to_model(service).into_active_model()).exec_without_returning(conn).await?;
    Ok(())
}

/// Writes what may change of a service.
pub async fn update(conn: &impl ConnectionTrait, service: &Service) -> Result<(), StoreError> {
    to_model(service).into_active_model().reset_all().update(conn).await?;
    Ok(())
}

/// Finds a service that the narrowing allows.
pub async fn find(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    name: &str,
) -> Result<Option<Service>, StoreError> {
    let mut sql = Sql::new(format!("SELECT {} FROM service s WHERE s.name = ", columns::<Entity>("s", "")));
    sql.bind(name).and_within(within, Some("s.name"), None);
    sql.one(conn).await?.as_ref().map(from_row).transpose()
}

/// Locks a service against every change, and tells the moment.
pub async fn lock(
    conn: &impl ConnectionTrait,
    name: &str,
) -> Result<Option<(Service, DateTime<Utc>)>, StoreError> {
    let query = format!("SELECT {} FROM service s WHERE s.name = $1", columns::<Entity>("s", ""));
    let mut sql = Sql::new(String::new());
    sql.bind(name);
    let sql = sql.with_text(locking(conn, &query, "FOR UPDATE"));
    sql.one(conn).await?.map(|row| Ok((from_row(&row)?, now_of(&row)?))).transpose()
}

/// Finds a service that the narrowing allows, and keeps it from being changed.
pub async fn share(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    name: &str,
) -> Result<Option<Service>, StoreError> {
    let mut sql = Sql::new(format!("SELECT {} FROM service s WHERE s.name = ", columns::<Entity>("s", "")));
    sql.bind(name).and_within(within, Some("s.name"), None);
    let sql = sql.with_text(locking(conn, sql.text(), "FOR SHARE"));
    sql.one(conn).await?.as_ref().map(from_row).transpose()
}

/// Lists the services that the narrowing allows, by name.
pub async fn list(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    archived: bool,
    page: &PageRequest<String>,
) -> Result<Vec<Service>, StoreError> {
    let mut sql = Sql::new(format!("SELECT {} FROM service s WHERE ", columns::<Entity>("s", "")));
    sql.push(if archived { "s.archived_at IS NOT NULL" } else { "s.archived_at IS NULL" });
    sql.and_within(within, Some("s.name"), None).by_name("s.name", page.after.as_ref(), page.limit);
    sql.all(conn).await?.iter().map(from_row).collect()
}

/// Whether any deployment of the service is under way.
pub async fn is_busy(conn: &impl ConnectionTrait, id: Uuid) -> Result<bool, StoreError> {
    let mut sql = Sql::new("SELECT 1 FROM target WHERE running_deployment_id IS NOT NULL AND service_id = ");
    Ok(sql.bind(Value::from(id)).one(conn).await?.is_some())
}
