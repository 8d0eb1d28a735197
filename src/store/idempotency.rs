//! Idempotency keys: the answer to a request, kept in the transaction of its effect.

use chrono::{DateTime, Utc};
use sea_orm::ExprTrait as _;

use crate::{
    domain::idempotency::{Answer, Kept, Key},
    store::{
        entity::idempotency_key::{Column, Entity, Model},
        prelude::*,
    },
};

pub(super) fn from_model(model: Model) -> Result<Kept, StoreError> {
    let Model { fingerprint, status, location, etag, body, .. } = model;
    let status = u16::try_from(status).map_err(|_| StoreError::Corrupt("status"))?;
    Ok(Kept { fingerprint, answer: Answer { status, location, etag, body } })
}

/// Finds what a key has led to before.
pub async fn find(conn: &impl ConnectionTrait, key: &Key) -> Result<Option<Kept>, StoreError> {
    let kept = Entity::find_by_id((key.token_id, key.key.clone())).one(conn).await?;
    kept.map(from_model).transpose()
}

/// Keeps an answer; fails with [`StoreError::Unique`] when a twin of the request was quicker.
pub async fn insert(
    conn: &impl ConnectionTrait,
    key: &Key,
    answer: &Answer,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let Answer { status, location, etag, body } = answer.clone();
    let model = Model {
        token_id: key.token_id,
        key: key.key.clone(),
        fingerprint: key.fingerprint.clone(),
        status: i64::from(status),
        location,
        etag,
        body,
        created_at: now,
    };
    Entity::insert(model.into_active_model()).exec_without_returning(conn).await?;
    Ok(())
}

/// Forgets answers that were given before the moment.
pub async fn purge(
    conn: &impl ConnectionTrait,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<u64, StoreError> {
    let old = Entity::find().select_only().columns([Column::TokenId, Column::Key]);
    let old = old.filter(Column::CreatedAt.lt(before)).limit(limit.unsigned_abs());
    let keys = Expr::tuple([Column::TokenId.into_expr(), Column::Key.into_expr()]);
    Ok(Entity::delete_many().filter(keys.in_subquery(old.into_query())).exec(conn).await?.rows_affected)
}
