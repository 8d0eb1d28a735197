//! Idempotency keys: the answer to a request, kept in the transaction of its effect.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, QueryResult};

use crate::{
    domain::idempotency::{Answer, Kept, Key},
    store::{error::StoreError, sql::Sql},
};

pub(super) fn from_row(row: &QueryResult) -> Result<Option<Kept>, StoreError> {
    let Some(fingerprint) = row.try_get("", "fingerprint")? else { return Ok(None) };
    let status: i64 = row.try_get("", "status")?;
    Ok(Some(Kept {
        fingerprint,
        answer: Answer {
            status: u16::try_from(status).map_err(|_| StoreError::Corrupt("status"))?,
            location: row.try_get("", "location")?,
            etag: row.try_get("", "etag")?,
            body: row.try_get("", "body")?,
        },
    }))
}

/// Finds what a key has led to before.
pub async fn find(conn: &impl ConnectionTrait, key: &Key) -> Result<Option<Kept>, StoreError> {
    let mut sql =
        Sql::new("SELECT fingerprint, status, location, etag, body FROM idempotency_key WHERE token_id = ");
    sql.bind(key.token_id).push(" AND key = ").bind(key.key.as_str());
    sql.one(conn).await?.map_or(Ok(None), |row| from_row(&row))
}

/// Keeps an answer; fails with [`StoreError::Unique`] when a twin of the request was quicker.
pub async fn insert(
    conn: &impl ConnectionTrait,
    key: &Key,
    answer: &Answer,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut sql = Sql::new(
        "INSERT INTO idempotency_key (token_id, key, fingerprint, status, location, etag, body, created_at) VALUES (",
    );
    sql.bind(key.token_id).push(", ").bind(key.key.as_str()).push(", ").bind(key.fingerprint.as_str());
    sql.push(", ").bind(i64::from(answer.status)).push(", ").bind(answer.location.clone());
    sql.push(", ").bind(answer.etag.clone()).push(", ").bind(answer.body.as_str()).push(", ").bind(now);
    sql.push(")").run(conn).await?;
    Ok(())
}

/// Forgets answers that were given before the moment.
pub async fn purge(
    conn: &impl ConnectionTrait,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<u64, StoreError> {
    let mut sql = Sql::new(
        "DELETE FROM idempotency_key WHERE (token_id, key) IN \
         (SELECT token_id, key FROM idempotency_key WHERE created_at < ",
    );
    sql.bind(before).push(" LIMIT ").bind(limit).push(")").run(conn).await
}
