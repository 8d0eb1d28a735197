//! Events: written with their change, sealed into the chain by the relay, read in order.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, EntityTrait as _, FromQueryResult as _, IntoActiveModel as _, QueryResult};
use uuid::Uuid;

use crate::{
    domain::{
        actor::Actor,
        chain::Link,
        event::{Event, Filter, NewEvent, Seal},
        scope::Narrowing,
    },
    store::{
        entity::event::{Entity, Model},
        error::StoreError,
        sql::{Sql, columns},
    },
};

fn from_row(row: &QueryResult) -> Result<Event, StoreError> {
    let model = Model::from_query_result(row, "")?;
    let there = [model.seq.is_some(), model.prev_hash.is_some(), model.hash.is_some()];
    if there.contains(&true) && there.contains(&false) {
        return Err(StoreError::Corrupt("seal"));
    }
    Ok(from_model(model))
}

/// The event of a row; its seal is there only where all of it is.
pub(super) fn from_model(model: Model) -> Event {
    let seal = model.seq.zip(model.prev_hash).zip(model.hash);
    Event {
        id: model.id,
        seal: seal.map(|((seq, prev_hash), hash)| Seal { seq, prev_hash, hash }),
        at: model.occurred_at,
        kind: model.kind,
        actor: Actor { token: model.actor_token, subject: model.actor_subject },
        service: model.service,
        environment: model.environment,
        version: model.version,
        deployment_id: model.deployment_id,
        request_id: model.request_id,
        data: model.data,
    }
}

/// Writes the events of one change.
pub async fn insert(
    conn: &impl ConnectionTrait,
    events: Vec<NewEvent>,
    at: DateTime<Utc>,
    request_id: Option<&str>,
) -> Result<(), StoreError> {
    let model = |event: NewEvent| Model {
        id: crate::clock::new_id(),
        seq: None,
        occurred_at: at,
        kind: event.kind.as_str().to_owned(),
        actor_token: event.actor.token,
        actor_subject: event.actor.subject,
        service: event.service,
        environment: event.environment,
        version: event.version,
        deployment_id: event.deployment_id,
        request_id: request_id.map(ToOwned::to_owned),
        data: event.data.to_string(),
        prev_hash: None,
        hash: None,
    };
    let models = events.into_iter().map(|event| model(event).into_active_model());
    Entity::insert_many(models).exec_without_returning(conn).await?;
    Ok(())
}

/// Lists sealed events that the narrowing allows, in order, after a number.
pub async fn list(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    filter: &Filter,
    after: i64,
    limit: u64,
) -> Result<Vec<Event>, StoreError> {
    let mut sql = Sql::new(format!("SELECT {} FROM event v WHERE v.seq > ", columns::<Entity>("v", "")));
    sql.bind(after)
        .and_equals("v.kind", filter.kind.as_deref())
        .and_equals("v.service", filter.service.as_deref())
        .and_equals("v.environment", filter.environment.as_deref());
    if filter.without_tokens {
        sql.push(" AND v.kind NOT LIKE 'token.%'");
    }
    if within.environments.is_some() {
        // Such a window names several environments, or tiers: more than the narrowing may allow.
        sql.push(" AND NOT (v.environment IS NULL AND v.kind LIKE 'freeze.%')");
    }
    let service = "COALESCE(v.service, '')";
    let environment = "COALESCE(v.environment, '')";
    within_or_about_neither(&mut sql, within, service, environment);
    sql.push(" ORDER BY v.seq LIMIT ").bind(i64::try_from(limit).unwrap_or(i64::MAX));
    sql.all(conn).await?.iter().map(from_row).collect()
}

/// The numbers of sealed events after a number, in order, each with the service it names.
pub async fn services_after(
    conn: &impl ConnectionTrait,
    after: i64,
    limit: u64,
) -> Result<Vec<(i64, Option<String>)>, StoreError> {
    let mut sql = Sql::new("SELECT seq, service FROM event WHERE seq > ");
    sql.bind(after).push(" ORDER BY seq LIMIT ").bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let read = |row: &QueryResult| Ok((row.try_get("", "seq")?, row.try_get("", "service")?));
    sql.all(conn).await?.iter().map(read).collect()
}

/// An event about a service alone is seen by whoever may see the service, and so for environments.
fn within_or_about_neither(sql: &mut Sql, within: &Narrowing, service: &str, environment: &str) {
    let mut allowed = within.clone();
    if let Some(services) = &mut allowed.services {
        services.insert(String::new());
    }
    if let Some(environments) = &mut allowed.environments {
        environments.insert(String::new());
    }
    sql.and_within(&allowed, Some(service), Some(environment));
}

/// The events about a deployment, sealed or not, in order.
pub async fn of_deployment(
    conn: &impl ConnectionTrait,
    id: Uuid,
    limit: i64,
) -> Result<Vec<Event>, StoreError> {
    let mut sql =
        Sql::new(format!("SELECT {} FROM event v WHERE v.deployment_id = ", columns::<Entity>("v", "")));
    sql.bind(id).push(" ORDER BY v.occurred_at, v.id LIMIT ").bind(limit);
    sql.all(conn).await?.iter().map(from_row).collect()
}

/// The head of the chain, and when it was last moved.
pub async fn head(conn: &impl ConnectionTrait) -> Result<(Link, Option<DateTime<Utc>>), StoreError> {
    read_head(conn, "").await
}

/// As [`head`], and holds it: only one relay at a time goes on.
pub async fn lock_head(conn: &impl ConnectionTrait) -> Result<Link, StoreError> {
    let postgres = conn.get_database_backend() == sea_orm::DatabaseBackend::Postgres;
    Ok(read_head(conn, if postgres { " FOR UPDATE" } else { "" }).await?.0)
}

async fn read_head(
    conn: &impl ConnectionTrait,
    lock: &str,
) -> Result<(Link, Option<DateTime<Utc>>), StoreError> {
    let sql = Sql::new(format!("SELECT seq, hash, sealed_at FROM chain_head WHERE id = 1{lock}"));
    let row = sql.one(conn).await?.ok_or(StoreError::Corrupt("chain head"))?;
    let link = Link { seq: row.try_get("", "seq")?, hash: row.try_get("", "hash")? };
    Ok((link, row.try_get("", "sealed_at")?))
}

/// Moves the head of the chain.
pub async fn move_head(
    conn: &impl ConnectionTrait,
    link: &Link,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut sql = Sql::new("UPDATE chain_head SET seq = ");
    sql.bind(link.seq).push(", hash = ").bind(link.hash.as_str()).push(", sealed_at = ").bind(now);
    sql.push(" WHERE id = 1").run(conn).await?;
    Ok(())
}

/// Writes the head of the chain as it is.
pub async fn touch_head(conn: &impl ConnectionTrait) -> Result<(), StoreError> {
    Sql::new("UPDATE chain_head SET seq = seq WHERE id = 1").run(conn).await?;
    Ok(())
}

/// Events that wait for their seal, oldest first.
pub async fn unsealed(conn: &impl ConnectionTrait, limit: i64) -> Result<Vec<Event>, StoreError> {
    let mut sql = Sql::new(format!("SELECT {} FROM event v WHERE v.seq IS NULL", columns::<Entity>("v", "")));
    sql.push(" ORDER BY v.occurred_at, v.id LIMIT ").bind(limit);
    sql.all(conn).await?.iter().map(from_row).collect()
}

/// How many events wait for their seal, counted no further than `limit`.
pub async fn backlog(conn: &impl ConnectionTrait, limit: i64) -> Result<i64, StoreError> {
    let mut sql = Sql::new("SELECT COUNT(*) AS waiting FROM (SELECT 1 FROM event WHERE seq IS NULL LIMIT ");
    let row = sql.bind(limit).push(") AS unsealed").one(conn).await?;
    row.map_or(Ok(0), |row| Ok(row.try_get("", "waiting")?))
}

/// When the event that has waited longest for its seal happened.
pub async fn oldest_unsealed(conn: &impl ConnectionTrait) -> Result<Option<DateTime<Utc>>, StoreError> {
    let sql = Sql::new("SELECT occurred_at FROM event WHERE seq IS NULL ORDER BY occurred_at, id LIMIT 1");
    sql.one(conn).await?.map(|row| Ok(row.try_get("", "occurred_at")?)).transpose()
}

/// Seals events, all of them in one statement.
pub async fn seal(conn: &impl ConnectionTrait, seals: &[(Uuid, Seal)]) -> Result<(), StoreError> {
    let mut sql = Sql::new("WITH sealed (id, seq, prev_hash, hash) AS (VALUES ");
    for (index, (id, seal)) in seals.iter().enumerate() {
        sql.push(if index == 0 { "(" } else { ", (" }).bind(*id).push(", ").bind(seal.seq).push(", ");
        sql.bind(seal.prev_hash.as_str()).push(", ").bind(seal.hash.as_str()).push(")");
    }
    sql.push(
        ") UPDATE event SET seq = sealed.seq, prev_hash = sealed.prev_hash, hash = sealed.hash \
         FROM sealed WHERE event.id = sealed.id",
    );
    sql.run(conn).await?;
    Ok(())
}
