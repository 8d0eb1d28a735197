//! Services.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sea_orm::ActiveModelTrait as _;
use uuid::Uuid;

use crate::{
    domain::{
        page::PageRequest,
        scope::Narrowing,
        service::{Service, ServiceDescription},
        text::Name,
    },
    store::{
        entity::{
            column::Json,
            service::{Column, Entity, Model},
            target,
        },
        prelude::*,
        query::{self, archived},
        sql::now_of,
    },
};

impl FromQueryResult for Service {
    fn from_query_result(row: &QueryResult, prefix: &str) -> Result<Self, DbErr> {
        let model = Model::from_query_result(row, prefix)?;
        Ok(Self {
            id: model.id,
            name: model.name,
            description: ServiceDescription {
                display_name: model.display_name,
                description: model.description,
                repository_url: model.repository_url,
                owner: model.owner,
                labels: model.labels.0,
            },
            revision: model.revision,
            created_at: model.created_at,
            updated_at: model.updated_at,
            archived_at: model.archived_at,
        })
    }
}

fn to_model(service: &Service) -> Model {
    let description = service.description.clone();
    Model {
        id: service.id,
        name: service.name.clone(),
        display_name: description.display_name,
        description: description.description,
        repository_url: description.repository_url,
        owner: description.owner,
        labels: Json(description.labels),
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

/// Those of these names that services on record have.
pub async fn known(conn: &impl ConnectionTrait, names: &[Name]) -> Result<BTreeSet<String>, StoreError> {
    query::known(conn, Entity::find(), Column::Name, names).await
}

/// Finds a service that the narrowing allows.
pub async fn find(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    name: &str,
) -> Result<Option<Service>, StoreError> {
    let query = Entity::find().filter(Column::Name.eq(name)).within_services(within);
    Ok(query.into_model().one(conn).await?)
}

/// Locks a service against every change, and tells the moment.
pub async fn lock(
    conn: &impl ConnectionTrait,
    name: &str,
) -> Result<Option<(Service, DateTime<Utc>)>, StoreError> {
    let rows = Entity::find().filter(Column::Name.eq(name)).locked(conn, "FOR UPDATE").await?;
    rows.first().map(|row| Ok((Service::from_query_result(row, "")?, now_of(row)?))).transpose()
}

/// Finds a service that the narrowing allows, and keeps it from being changed.
pub async fn share(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    name: &str,
) -> Result<Option<Service>, StoreError> {
    let query = Entity::find().filter(Column::Name.eq(name)).within_services(within).lock_shared();
    Ok(query.into_model().one(conn).await?)
}

/// Lists the services that the narrowing allows, by name.
pub async fn list(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    is_archived: bool,
    page: &PageRequest<String>,
) -> Result<Vec<Service>, StoreError> {
    let query = Entity::find().filter(archived(Column::ArchivedAt, is_archived));
    Ok(query.within_services(within).by_name(Column::Name, page).into_model().all(conn).await?)
}

/// The names of services that the narrowing allows.
pub async fn names(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    limit: u64,
) -> Result<Vec<String>, StoreError> {
    let names = Entity::find().select_only().column(Column::Name).within_services(within);
    Ok(names.order_by_asc(Column::Name).limit(limit).into_tuple().all(conn).await?)
}

/// Whether any deployment of the service is under way.
pub async fn is_busy(conn: &impl ConnectionTrait, id: Uuid) -> Result<bool, StoreError> {
    let running = target::Column::RunningDeploymentId.is_not_null();
    Ok(target::Entity::find().filter(running).filter(target::Column::ServiceId.eq(id)).exists(conn).await?)
}
