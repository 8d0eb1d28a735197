//! Events: written with their change, sealed into the chain by the relay, read in order.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sea_orm::ExprTrait as _;
use uuid::Uuid;

use crate::{
    domain::{
        actor::Actor,
        chain::Link,
        event::{Event, Filter, NewEvent, Seal, Stretch},
        scope::Narrowing,
        vocabulary::Order,
    },
    store::{
        entity::{
            chain_head,
            event::{Column, Entity, Model},
        },
        prelude::*,
        sql::Sql,
    },
};

/// The one row of the chain's head.
const HEAD: i32 = 1;

/// What tells of credentials, and of what they come from.
const OF_CREDENTIALS: [&str; 3] = ["token.%", "trust.%", "session.%"];

impl FromQueryResult for Event {
    fn from_query_result(row: &QueryResult, prefix: &str) -> Result<Self, DbErr> {
        let model = Model::from_query_result(row, prefix)?;
        let there = [model.seq.is_some(), model.prev_hash.is_some(), model.hash.is_some()];
        if there.contains(&true) && there.contains(&false) {
            return Err(corrupt("seal"));
        }
        Ok(from_model(model))
    }
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

/// Lists sealed events that the narrowing allows, in the order of the log or against it.
pub async fn list(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    filter: &Filter,
    Stretch { order, from, limit }: Stretch,
) -> Result<Vec<Event>, StoreError> {
    let (sealed, direction) = match order {
        Order::OldestFirst => (Column::Seq.gt(from.unwrap_or(0)), sea_orm::Order::Asc),
        Order::NewestFirst => (Column::Seq.lt(from.unwrap_or(i64::MAX)), sea_orm::Order::Desc),
    };
    let query = Entity::find()
        .filter(sealed)
        .only(Column::Kind, filter.kind.as_deref())
        .only(Column::Service, filter.service.as_deref())
        .only(Column::Environment, filter.environment.as_deref())
        .apply_if(filter.without_tokens.then_some(OF_CREDENTIALS), |query, kinds| {
            kinds.into_iter().fold(query, |query, kind| query.filter(Column::Kind.not_like(kind)))
        })
        // What concerns several services or environments names them: more than the narrowing may allow.
        .apply_if(within.services.as_ref(), |query, names| {
            let some = Column::Kind.like("freeze.%").and(Column::Data.contains("\"services\":["));
            let several = Column::Service.is_null().and(some.or(Column::Kind.like("waiver.%")));
            query.filter(several.not()).filter(among(Column::Service, names))
        })
        .apply_if(within.environments.as_ref(), |query, names| {
            let kinds = Column::Kind.like("freeze.%").or(Column::Kind.like("waiver.%"));
            let several = Column::Environment.is_null().and(kinds);
            query.filter(several.not()).filter(among(Column::Environment, names))
        });
    query.order_by(Column::Seq, direction).limit(limit).limited(conn).await
}

/// An event about a service alone is seen by whoever may see the service, and so for environments.
/// No index serves this, so that the log is read in its order, up to the limit.
fn among(column: Column, names: &BTreeSet<String>) -> Expr {
    column.if_null("").is_in(names.iter().map(String::as_str).chain([""]))
}

/// The seals of events after a number, in order.
pub async fn seals(conn: &impl ConnectionTrait, after: i64, limit: u64) -> Result<Vec<Seal>, StoreError> {
    let query = Entity::find().select_only().columns([Column::Seq, Column::PrevHash, Column::Hash]);
    let query = query.filter(Column::Seq.gt(after)).order_by_asc(Column::Seq).limit(limit);
    let rows: Vec<(i64, String, String)> = query.into_tuple().all(conn).await?;
    Ok(rows.into_iter().map(|(seq, prev_hash, hash)| Seal { seq, prev_hash, hash }).collect())
}

/// The numbers of sealed events after a number, in order, each with the service it names.
pub async fn services_after(
    conn: &impl ConnectionTrait,
    after: i64,
    limit: u64,
) -> Result<Vec<(i64, Option<String>)>, StoreError> {
    let query = Entity::find().select_only().columns([Column::Seq, Column::Service]);
    let query = query.filter(Column::Seq.gt(after)).order_by_asc(Column::Seq).limit(limit);
    Ok(query.into_tuple().all(conn).await?)
}

/// The events about a deployment, sealed or not, in order.
pub async fn of_deployment(
    conn: &impl ConnectionTrait,
    id: Uuid,
    limit: i64,
) -> Result<Vec<Event>, StoreError> {
    let query = in_time(Entity::find().filter(Column::DeploymentId.eq(id)));
    Ok(query.limit(limit.unsigned_abs()).into_model().all(conn).await?)
}

fn in_time(events: Select<Entity>) -> Select<Entity> {
    events.order_by_asc(Column::OccurredAt).order_by_asc(Column::Id)
}

/// The head of the chain, and when it was last moved.
pub async fn head(conn: &impl ConnectionTrait) -> Result<(Link, Option<DateTime<Utc>>), StoreError> {
    read_head(conn, chain_head::Entity::find_by_id(HEAD)).await
}

/// As [`head`], and holds it: only one relay at a time goes on.
pub async fn lock_head(conn: &impl ConnectionTrait) -> Result<Link, StoreError> {
    Ok(read_head(conn, chain_head::Entity::find_by_id(HEAD).lock_exclusive()).await?.0)
}

async fn read_head(
    conn: &impl ConnectionTrait,
    query: Select<chain_head::Entity>,
) -> Result<(Link, Option<DateTime<Utc>>), StoreError> {
    let chain_head::Model { seq, hash, sealed_at, .. } =
        query.one(conn).await?.ok_or(StoreError::Corrupt("chain head"))?;
    Ok((Link { seq, hash }, sealed_at))
}

/// Moves the head of the chain.
pub async fn move_head(
    conn: &impl ConnectionTrait,
    link: &Link,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let head = chain_head::ActiveModel {
        id: Unchanged(HEAD),
        seq: Set(link.seq),
        hash: Set(link.hash.clone()),
        sealed_at: Set(Some(now)),
    };
    chain_head::Entity::update(head).exec_without_returning(conn).await?;
    Ok(())
}

/// Writes the head of the chain as it is.
pub async fn touch_head(conn: &impl ConnectionTrait) -> Result<(), StoreError> {
    use chain_head::Column::Seq;
    chain_head::Entity::update_many().col_expr(Seq, Expr::col(Seq)).exec(conn).await?;
    Ok(())
}

fn waiting() -> Select<Entity> {
    Entity::find().filter(Column::Seq.is_null())
}

/// Events that wait for their seal, oldest first.
pub async fn unsealed(conn: &impl ConnectionTrait, limit: i64) -> Result<Vec<Event>, StoreError> {
    Ok(in_time(waiting()).limit(limit.unsigned_abs()).into_model().all(conn).await?)
}

/// How many events wait for their seal, counted no further than `limit`.
pub async fn backlog(conn: &impl ConnectionTrait, limit: i64) -> Result<i64, StoreError> {
    let some = waiting().select_only().column(Column::Id).limit(limit.unsigned_abs());
    Ok(i64::try_from(some.count(conn).await?).unwrap_or(i64::MAX))
}

/// When the event that has waited longest for its seal happened.
pub async fn oldest_unsealed(conn: &impl ConnectionTrait) -> Result<Option<DateTime<Utc>>, StoreError> {
    let oldest = in_time(waiting()).select_only().column(Column::OccurredAt);
    Ok(oldest.into_tuple().one(conn).await?)
}

/// Seals events, all of them in one statement: by hand, because each gets values of its own.
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
