//! Tokens: looked up by the hash of their secret, which is all that is kept of it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, EntityTrait as _, FromQueryResult as _, IntoActiveModel as _, QueryResult};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::{
    domain::{
        actor::{Actor, Principal},
        idempotency::Kept,
        page::PageRequest,
        scope::Narrowing,
        token::Token,
        vocabulary::Scope,
    },
    store::{
        entity::token::{Entity, Model},
        error::StoreError,
        idempotency,
        sql::{Sql, clock, columns, now_of},
    },
};

fn set<T: serde::de::DeserializeOwned + Ord>(text: &str) -> Result<BTreeSet<T>, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt("set of a token"))
}

fn text<T: serde::Serialize>(set: &BTreeSet<T>) -> String {
    serde_json::to_string(set).unwrap_or_default()
}

fn from_model(model: Model) -> Result<Token, StoreError> {
    Ok(Token {
        principal: Principal {
            token_id: model.id,
            actor: Actor { token: model.name, subject: model.subject },
            scopes: set::<Scope>(&model.scopes)?,
            groups: set(&model.groups)?,
            narrowing: Narrowing {
                services: model.services.as_deref().map(set).transpose()?,
                environments: model.environments.as_deref().map(set).transpose()?,
            },
        },
        created_at: model.created_at,
        expires_at: model.expires_at,
        revoked_at: model.revoked_at,
    })
}

/// Inserts a token; fails with [`StoreError::Unique`] when a living one has its name or its secret.
pub async fn insert(
    conn: &impl ConnectionTrait,
    token: &Token,
    secret_hash: &[u8],
) -> Result<(), StoreError> {
    let principal = &token.principal;
    let model = Model {
        id: principal.token_id,
        name: principal.actor.token.clone(),
        subject: principal.actor.subject.clone(),
        scopes: text(&principal.scopes),
        groups: text(&principal.groups),
        services: principal.narrowing.services.as_ref().map(text),
        environments: principal.narrowing.environments.as_ref().map(text),
        secret_hash: secret_hash.to_vec(),
        created_at: token.created_at,
        expires_at: token.expires_at,
        revoked_at: token.revoked_at,
    };
    Entity::insert(model.into_active_model()).exec_without_returning(conn).await?;
    Ok(())
}

/// A token that was recognised by its secret.
#[derive(Clone, Debug)]
pub struct Recognised {
    /// The token.
    pub token: Token,
    /// What the request's idempotency key has led to before.
    pub kept: Option<Kept>,
    /// The moment.
    pub now: DateTime<Utc>,
}

/// Finds the token with this hash, and what its idempotency key has led to before.
pub async fn authenticate(
    conn: &impl ConnectionTrait,
    secret_hash: &[u8],
    key: Option<&str>,
) -> Result<Option<Recognised>, StoreError> {
    let mut sql = Sql::new(format!(
        "SELECT {}, {} AS now, k.fingerprint, k.status, k.location, k.etag, k.body FROM token t \
         LEFT JOIN idempotency_key k ON k.token_id = t.id AND k.key = ",
        columns::<Entity>("t", "t_"),
        clock(conn)
    ));
    sql.bind(key.map(ToOwned::to_owned)).push(" WHERE t.secret_hash = ").bind(secret_hash.to_vec());
    let Some(row) = sql.one(conn).await? else { return Ok(None) };
    let model = Model::from_query_result(&row, "t_")?;
    if !bool::from(model.secret_hash.ct_eq(secret_hash)) {
        return Ok(None);
    }
    Ok(Some(Recognised { token: from_model(model)?, kept: idempotency::from_row(&row)?, now: now_of(&row)? }))
}

/// Whether any token was ever made.
pub async fn any(conn: &impl ConnectionTrait) -> Result<bool, StoreError> {
    Ok(Sql::new("SELECT 1 FROM token LIMIT 1").one(conn).await?.is_some())
}

/// Whether a token that holds `admin` is still good.
pub async fn any_admin(conn: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let mut sql = Sql::new(
        "SELECT 1 FROM token WHERE revoked_at IS NULL AND scopes LIKE '%\"admin\"%' AND services IS NULL \
         AND environments IS NULL AND (expires_at IS NULL OR expires_at > ",
    );
    Ok(sql.bind(now).push(") LIMIT 1").one(conn).await?.is_some())
}

/// Lists tokens by their ids, oldest first.
pub async fn list(conn: &impl ConnectionTrait, page: &PageRequest<Uuid>) -> Result<Vec<Token>, StoreError> {
    let mut sql = Sql::new(format!("SELECT {} FROM token t WHERE 1 = 1", columns::<Entity>("t", "")));
    if let Some(after) = page.after {
        sql.push(" AND t.id > ").bind(after);
    }
    sql.push(" ORDER BY t.id LIMIT ").bind(i64::try_from(page.limit + 1).unwrap_or(i64::MAX));
    sql.all(conn).await?.iter().map(read).collect()
}

/// Finds a token.
pub async fn find(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<Token>, StoreError> {
    let mut sql = Sql::new(format!("SELECT {} FROM token t WHERE t.id = ", columns::<Entity>("t", "")));
    sql.bind(id).one(conn).await?.as_ref().map(read).transpose()
}

pub(super) fn read(row: &QueryResult) -> Result<Token, StoreError> {
    from_model(Model::from_query_result(row, "")?)
}

/// Revokes a token; tells whether it was still good.
pub async fn revoke(conn: &impl ConnectionTrait, id: Uuid, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let mut sql = Sql::new("UPDATE token SET revoked_at = ");
    Ok(sql.bind(now).push(" WHERE revoked_at IS NULL AND id = ").bind(id).run(conn).await? == 1)
}
