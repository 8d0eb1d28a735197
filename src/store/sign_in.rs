//! The codes by which command lines are let in. Of a code only the hash is kept.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::store::{
    entity::sign_in_code::{ActiveModel, Column, Entity, Model},
    prelude::*,
    query::delete_some,
};

/// A command line that asks to be let in.
pub type Asked = Model;

/// Keeps who asks; fails with [`StoreError::Unique`] where a code is in use.
pub async fn insert(conn: &impl ConnectionTrait, asked: Asked) -> Result<(), StoreError> {
    Entity::insert(asked.into_active_model()).exec_without_returning(conn).await?;
    Ok(())
}

/// How many ask, from this network or from anywhere.
pub async fn count(
    conn: &impl ConnectionTrait,
    network: Option<&str>,
    now: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let asked = Entity::find().filter(Column::ExpiresAt.gt(now));
    Ok(asked.only(Column::Network, network).count(conn).await?)
}

/// Who asks with this code for people.
pub async fn by_user_code(
    conn: &impl ConnectionTrait,
    code: &str,
    now: DateTime<Utc>,
) -> Result<Option<Asked>, StoreError> {
    let asked = Entity::find().filter(Column::UserCode.eq(code)).filter(Column::ExpiresAt.gt(now));
    Ok(asked.filter(Column::SessionId.is_null()).one(conn).await?)
}

/// Lets in who asks with this code for people, once. Tells whether somebody did.
pub async fn approve(
    conn: &impl ConnectionTrait,
    code: &str,
    session: Uuid,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let approved = ActiveModel { session_id: Set(Some(session)), ..ActiveModel::default() };
    let asked = Entity::update_many().filter(Column::UserCode.eq(code)).filter(Column::ExpiresAt.gt(now));
    let asked = asked.filter(Column::SessionId.is_null());
    Ok(asked.set(approved).exec(conn).await?.rows_affected == 1)
}

/// Who asks with the code that has this hash.
pub async fn by_code(
    conn: &impl ConnectionTrait,
    code_hash: &[u8],
    now: DateTime<Utc>,
) -> Result<Option<Asked>, StoreError> {
    let asked = Entity::find().filter(Column::CodeHash.eq(code_hash.to_vec()));
    Ok(asked.filter(Column::ExpiresAt.gt(now)).one(conn).await?)
}

/// Uses a code up. Tells whether it was there: of several that use it, one does.
pub async fn remove(conn: &impl ConnectionTrait, id: Uuid) -> Result<bool, StoreError> {
    Ok(Entity::delete_by_id(id).exec(conn).await?.rows_affected == 1)
}

/// Forgets codes that are no longer good.
pub async fn purge(conn: &impl ConnectionTrait, now: DateTime<Utc>, limit: i64) -> Result<u64, StoreError> {
    delete_some(conn, Entity::find().filter(Column::ExpiresAt.lte(now)), Column::Id, limit).await
}
