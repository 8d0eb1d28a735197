//! Sessions: credentials of people who signed in. What all credentials have in common is in [`super::token`].

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    domain::{credential::Credential, page::PageRequest},
    store::{
        entity::token::{ActiveModel, Column, Entity},
        prelude::*,
    },
};

/// Those that are still good.
fn living(now: DateTime<Utc>) -> Select<Entity> {
    super::token::of_kind(super::token::SESSION)
        .filter(Column::RevokedAt.is_null())
        .filter(Column::IdleUntil.gt(now))
        .filter(Column::ExpiresAt.gt(now))
}

/// Lists those that are still good by their ids, oldest first: of one subject, or of all.
pub async fn list(
    conn: &impl ConnectionTrait,
    subject: Option<&str>,
    now: DateTime<Utc>,
    page: &PageRequest<Uuid>,
) -> Result<Vec<Credential>, StoreError> {
    let query = living(now)
        .apply_if(subject, |query, subject| query.filter(Column::Subject.eq(subject)))
        .apply_if(page.after, |query, after| query.filter(Column::Id.gt(after)));
    Ok(query.order_by_asc(Column::Id).limit(page.limit + 1).into_model().all(conn).await?)
}

/// Finds one that is still good.
pub async fn find(
    conn: &impl ConnectionTrait,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<Option<Credential>, StoreError> {
    Ok(living(now).filter(Column::Id.eq(id)).into_model().one(conn).await?)
}

/// Puts off the end of one that is in use; never of one that was ended, and never to an earlier moment.
pub async fn put_off(
    conn: &impl ConnectionTrait,
    id: Uuid,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let later = ActiveModel { idle_until: Set(Some(until)), ..ActiveModel::default() };
    let session = Entity::update_many().filter(Column::Id.eq(id)).filter(Column::RevokedAt.is_null());
    let session = session.filter(Column::IdleUntil.gt(now)).filter(Column::IdleUntil.lt(until));
    session.set(later).exec(conn).await?;
    Ok(())
}

/// Locks the token that a session is to stand on, so that it is not revoked meanwhile; it is gone where it was.
pub async fn lock_token(
    conn: &impl ConnectionTrait,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<Option<Credential>, StoreError> {
    let unending = Condition::any().add(Column::ExpiresAt.is_null()).add(Column::ExpiresAt.gt(now));
    let token = super::token::tokens().filter(Column::Id.eq(id)).filter(Column::RevokedAt.is_null());
    let token = token.filter(unending).lock_shared();
    Ok(token.into_model().one(conn).await?)
}
