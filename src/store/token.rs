//! Tokens: looked up by the hash of their secret, which is all that is kept of it.

use chrono::{DateTime, Utc};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::{
    domain::{
        actor::{Actor, Principal},
        idempotency::Kept,
        page::PageRequest,
        scope::Narrowing,
        token::Token,
    },
    store::{
        entity::{
            column::Json,
            idempotency_key,
            token::{ActiveModel, Column, Entity, Model},
        },
        idempotency,
        moved::Mark,
        prelude::*,
        sql::{Sql, clock, columns, now_of},
    },
};

impl From<Model> for Token {
    fn from(model: Model) -> Self {
        Self {
            principal: Principal {
                token_id: model.id,
                actor: Actor { token: model.name, subject: model.subject },
                scopes: model.scopes.0,
                groups: model.groups.0,
                narrowing: Narrowing {
                    services: model.services.map(|Json(names)| names),
                    environments: model.environments.map(|Json(names)| names),
                },
            },
            created_at: model.created_at,
            expires_at: model.expires_at,
            revoked_at: model.revoked_at,
        }
    }
}

impl FromQueryResult for Token {
    fn from_query_result(row: &QueryResult, prefix: &str) -> Result<Self, DbErr> {
        Model::from_query_result(row, prefix).map(Self::from)
    }
}

/// Inserts a token; fails with [`StoreError::Unique`] when a living one has its name or its secret.
pub async fn insert(
    conn: &impl ConnectionTrait,
    token: &Token,
    secret_hash: &[u8],
) -> Result<(), StoreError> {
    let Principal { token_id, actor, scopes, groups, narrowing } = token.principal.clone();
    let model = Model {
        id: token_id,
        name: actor.token,
        subject: actor.subject,
        scopes: Json(scopes),
        groups: Json(groups),
        services: narrowing.services.map(Json),
        environments: narrowing.environments.map(Json),
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
    pub token: Token,
    /// What the request's idempotency key has led to before.
    pub kept: Option<Kept>,
    /// Where the ledger was, if that was asked for.
    pub mark: Option<Mark>,
    pub now: DateTime<Utc>,
}

/// Finds the token with this hash, and what its idempotency key has led to before. Tells too where the ledger is, where
/// that decides whether anything else must be read.
pub async fn authenticate(
    conn: &impl ConnectionTrait,
    secret_hash: &[u8],
    key: Option<&str>,
    marked: bool,
) -> Result<Option<Recognised>, StoreError> {
    // By hand: the clock is read in the same statement, and few columns of this join may be missing.
    let mut sql = Sql::new(format!(
        "SELECT {}, {}, {} AS now",
        columns::<Entity>("t", "t_"),
        columns::<idempotency_key::Entity>("k", "k_"),
        clock(conn)
    ));
    if marked {
        sql.push(", ").push(&Mark::columns());
    }
    sql.push(" FROM token t LEFT JOIN idempotency_key k ON k.token_id = t.id AND k.key = ");
    sql.bind(key.map(ToOwned::to_owned)).push(" WHERE t.secret_hash = ").bind(secret_hash.to_vec());
    let Some(row) = sql.one(conn).await? else { return Ok(None) };
    let model = Model::from_query_result(&row, "t_")?;
    if !bool::from(model.secret_hash.ct_eq(secret_hash)) {
        return Ok(None);
    }
    let kept = row.try_get::<Option<Uuid>>("", "k_token_id")?.is_some();
    let kept = kept.then(|| idempotency_key::Model::from_query_result(&row, "k_")).transpose()?;
    let kept = kept.map(idempotency::from_model).transpose()?;
    let mark = marked.then(|| Mark::of(&row)).transpose()?;
    Ok(Some(Recognised { token: model.into(), kept, mark, now: now_of(&row)? }))
}

/// Whether any token was ever made.
pub async fn any(conn: &impl ConnectionTrait) -> Result<bool, StoreError> {
    Ok(Entity::find().exists(conn).await?)
}

/// Whether a token that holds `admin` is still good.
pub async fn any_admin(conn: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let good = Condition::any().add(Column::ExpiresAt.is_null()).add(Column::ExpiresAt.gt(now));
    let admin = Entity::find()
        .filter(Column::RevokedAt.is_null())
        .filter(Column::Scopes.contains("\"admin\""))
        .filter(Column::Services.is_null())
        .filter(Column::Environments.is_null())
        .filter(good);
    Ok(admin.exists(conn).await?)
}

/// Lists tokens by their ids, oldest first.
pub async fn list(conn: &impl ConnectionTrait, page: &PageRequest<Uuid>) -> Result<Vec<Token>, StoreError> {
    let query = Entity::find().apply_if(page.after, |query, after| query.filter(Column::Id.gt(after)));
    Ok(query.order_by_asc(Column::Id).limit(page.limit + 1).into_model().all(conn).await?)
}

/// Finds a token.
pub async fn find(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<Token>, StoreError> {
    Ok(Entity::find_by_id(id).into_model().one(conn).await?)
}

/// Revokes a token; tells whether it was still good.
pub async fn revoke(conn: &impl ConnectionTrait, id: Uuid, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let revoked = ActiveModel { revoked_at: Set(Some(now)), ..ActiveModel::default() };
    let good = Entity::update_many().filter(Column::RevokedAt.is_null()).filter(Column::Id.eq(id));
    Ok(good.set(revoked).exec(conn).await?.rows_affected == 1)
}
