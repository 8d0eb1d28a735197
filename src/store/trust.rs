//! Trusts: which pipelines of an issuer may do what.

use sea_orm::ActiveModelTrait as _;
use uuid::Uuid;

use crate::{
    domain::{
        actor::Actor,
        identity::trust::{Definition, Trust},
        page::PageRequest,
        scope::Narrowing,
    },
    store::{
        entity::{
            column::Json,
            trust::{Column, Entity, Model},
        },
        prelude::*,
        sql::Sql,
    },
};

impl From<Model> for Trust {
    fn from(model: Model) -> Self {
        Self {
            id: model.id,
            definition: Definition {
                name: model.name,
                issuer: model.issuer,
                claims: model.claims.0,
                environment_map: model.environment_map.map(|Json(map)| map),
                scopes: model.scopes.0,
                groups: model.groups.0,
                places: Narrowing {
                    services: model.services.map(|Json(names)| names),
                    environments: model.environments.map(|Json(names)| names),
                },
            },
            revision: model.revision,
            actor: Actor { token: model.actor_token, subject: model.actor_subject },
            created_at: model.created_at,
            updated_at: model.updated_at,
        }
    }
}

impl FromQueryResult for Trust {
    fn from_query_result(row: &QueryResult, prefix: &str) -> Result<Self, DbErr> {
        Model::from_query_result(row, prefix).map(Self::from)
    }
}

fn to_model(trust: &Trust) -> Model {
    let Definition { name, issuer, claims, environment_map, scopes, groups, places } =
        trust.definition.clone();
    Model {
        id: trust.id,
        name,
        issuer,
        claims: Json(claims),
        environment_map: environment_map.map(Json),
        scopes: Json(scopes),
        groups: Json(groups),
        services: places.services.map(Json),
        environments: places.environments.map(Json),
        revision: trust.revision,
        actor_token: trust.actor.token.clone(),
        actor_subject: trust.actor.subject.clone(),
        created_at: trust.created_at,
        updated_at: trust.updated_at,
    }
}

/// Inserts a trust; fails with [`StoreError::Unique`] when another has its name.
pub async fn insert(conn: &impl ConnectionTrait, trust: &Trust) -> Result<(), StoreError> {
    Entity::insert(to_model(trust).into_active_model()).exec_without_returning(conn).await?;
    Ok(())
}

/// Writes what may change of a trust; fails as [`insert`] does.
pub async fn update(conn: &impl ConnectionTrait, trust: &Trust) -> Result<(), StoreError> {
    to_model(trust).into_active_model().reset_all().update(conn).await?;
    Ok(())
}

/// Takes a trust away.
pub async fn delete(conn: &impl ConnectionTrait, id: Uuid) -> Result<(), StoreError> {
    Entity::delete_by_id(id).exec(conn).await?;
    Ok(())
}

/// Finds a trust by its name.
pub async fn find(conn: &impl ConnectionTrait, name: &str) -> Result<Option<Trust>, StoreError> {
    Ok(Entity::find().filter(Column::Name.eq(name)).into_model().one(conn).await?)
}

/// Finds a trust by its name, and locks it: until this is over nobody edits it, nor exchanges an ID token by it.
pub async fn lock(conn: &impl ConnectionTrait, name: &str) -> Result<Option<Trust>, StoreError> {
    Ok(Entity::find().filter(Column::Name.eq(name)).lock_exclusive().into_model().one(conn).await?)
}

/// Holds a trust as it is, so that nobody edits or deletes it before this is over. False where it is another by now.
pub async fn hold(conn: &impl ConnectionTrait, trust: &Trust) -> Result<bool, StoreError> {
    let query = Entity::find_by_id(trust.id).filter(Column::Revision.eq(trust.revision));
    Ok(query.lock_shared().one(conn).await?.is_some())
}

/// Makes everybody else wait who makes, edits or deletes a trust, until this is over. On SQLite there is one writer at a time.
///
/// Who holds a trust as it is goes on: credentials are given meanwhile.
pub async fn lock_table(conn: &impl ConnectionTrait) -> Result<(), StoreError> {
    if conn.get_database_backend() == DatabaseBackend::Postgres {
        Sql::new("LOCK TABLE trust IN SHARE ROW EXCLUSIVE MODE").run(conn).await?;
    }
    Ok(())
}

/// How many trusts an issuer has.
pub async fn count(conn: &impl ConnectionTrait, issuer: &str) -> Result<i64, StoreError> {
    let count = Entity::find().filter(Column::Issuer.eq(issuer)).count(conn).await?;
    Ok(i64::try_from(count).unwrap_or(i64::MAX))
}

/// All trusts of an issuer.
pub async fn of_issuer(
    conn: &impl ConnectionTrait,
    issuer: &str,
    limit: i64,
) -> Result<Vec<Trust>, StoreError> {
    let query = Entity::find().filter(Column::Issuer.eq(issuer)).order_by_asc(Column::Id);
    Ok(query.limit(limit.unsigned_abs()).into_model().all(conn).await?)
}

/// Lists trusts by their ids, oldest first.
pub async fn list(conn: &impl ConnectionTrait, page: &PageRequest<Uuid>) -> Result<Vec<Trust>, StoreError> {
    let query = Entity::find().apply_if(page.after, |query, after| query.filter(Column::Id.gt(after)));
    Ok(query.order_by_asc(Column::Id).limit(page.limit + 1).into_model().all(conn).await?)
}
