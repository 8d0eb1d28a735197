//! Credentials: tokens, those of pipelines and sessions, looked up by the hash of their secret, which is all that is kept
//! of it.

use chrono::{DateTime, Utc};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::{
    domain::{
        actor::{Actor, Principal},
        credential::Credential,
        idempotency::Kept,
        identity::{Identity, Pipeline, Session, SignIn},
        page::PageRequest,
        scope::Narrowing,
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
        query::delete_some,
        sql::{Sql, clock, columns, now_of},
    },
};

/// The kinds of credentials.
const TOKEN: &str = "token";
pub(super) const PIPELINE: &str = "pipeline";
pub(super) const SESSION: &str = "session";

impl TryFrom<Model> for Credential {
    type Error = DbErr;

    fn try_from(model: Model) -> Result<Self, DbErr> {
        let identity = identity(&model).ok_or_else(|| corrupt("kind of a credential"))?;
        Ok(Self {
            principal: Principal {
                token_id: model.id,
                identity,
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
        })
    }
}

/// What the columns say that only its kind has; none where they do not go together.
fn identity(model: &Model) -> Option<Identity> {
    Some(match model.kind.as_str() {
        TOKEN => Identity::Token,
        PIPELINE => Identity::Pipeline(Pipeline {
            trust: model.parent_id?,
            issuer: model.issuer.clone()?,
            commit: model.commit_sha.clone(),
            initiator: model.initiator.clone(),
            lingers_until: model.lingers_until?,
            is_lingering: false,
        }),
        SESSION => Identity::Session(Session {
            shown_name: model.shown_name.clone(),
            sign_in: match (model.issuer.clone(), model.parent_id) {
                (Some(name), None) => SignIn::Issuer(name),
                (None, Some(token)) => SignIn::Token(token),
                (Some(_), Some(_)) | (None, None) => return None,
            },
            idle_until: model.idle_until?,
            place: model.place.clone(),
        }),
        _ => return None,
    })
}

impl FromQueryResult for Credential {
    fn from_query_result(row: &QueryResult, prefix: &str) -> Result<Self, DbErr> {
        Model::from_query_result(row, prefix)?.try_into()
    }
}

/// An ID token that was exchanged, as it is kept: so that nobody exchanges it too often.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The SHA-256 of what tells it from others.
    pub hash: Vec<u8>,
    /// The how-maniest exchange of it this is, from 1.
    pub number: i64,
    /// Until when it may be shown again.
    pub expires_at: DateTime<Utc>,
}

/// Inserts a credential; fails with [`StoreError::Unique`] when another has its secret, when a living token has a token's
/// name, or when the ID token was exchanged for the same time by another request.
pub async fn insert(
    conn: &impl ConnectionTrait,
    credential: &Credential,
    secret_hash: &[u8],
    proof: Option<&Proof>,
) -> Result<(), StoreError> {
    let model = model(credential.clone(), secret_hash, proof.cloned());
    Entity::insert(model.into_active_model()).exec_without_returning(conn).await?;
    Ok(())
}

fn model(credential: Credential, secret_hash: &[u8], proof: Option<Proof>) -> Model {
    let Principal { token_id, identity, actor, scopes, groups, narrowing } = credential.principal;
    let (proof_hash, proof_use, proof_expires_at) = match proof {
        Some(proof) => (Some(proof.hash), Some(proof.number), Some(proof.expires_at)),
        None => (None, None, None),
    };
    let plain = Model {
        id: token_id,
        kind: TOKEN.to_owned(),
        name: actor.token,
        subject: actor.subject,
        shown_name: None,
        scopes: Json(scopes),
        groups: Json(groups),
        services: narrowing.services.map(Json),
        environments: narrowing.environments.map(Json),
        secret_hash: secret_hash.to_vec(),
        issuer: None,
        parent_id: None,
        lingers_until: None,
        proof_hash,
        proof_use,
        proof_expires_at,
        commit_sha: None,
        initiator: None,
        idle_until: None,
        place: None,
        created_at: credential.created_at,
        expires_at: credential.expires_at,
        revoked_at: credential.revoked_at,
    };
    match identity {
        Identity::Token => plain,
        Identity::Pipeline(pipeline) => Model {
            kind: PIPELINE.to_owned(),
            issuer: Some(pipeline.issuer),
            parent_id: Some(pipeline.trust),
            lingers_until: Some(pipeline.lingers_until),
            commit_sha: pipeline.commit,
            initiator: pipeline.initiator,
            ..plain
        },
        Identity::Session(session) => {
            let (issuer, parent_id) = match session.sign_in {
                SignIn::Token(token) => (None, Some(token)),
                SignIn::Issuer(name) => (Some(name), None),
            };
            Model {
                kind: SESSION.to_owned(),
                shown_name: session.shown_name,
                issuer,
                parent_id,
                idle_until: Some(session.idle_until),
                place: session.place,
                ..plain
            }
        }
    }
}

/// A credential that was recognised by its secret.
#[derive(Clone, Debug)]
pub struct Recognised {
    pub credential: Credential,
    /// What the request's idempotency key has led to before.
    pub kept: Option<Kept>,
    /// Where the ledger was, if that was asked for.
    pub mark: Option<Mark>,
    pub now: DateTime<Utc>,
}

/// Finds the credential with this hash, and what its idempotency key has led to before. Tells too where the ledger is, where
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
    Ok(Some(Recognised { credential: model.try_into()?, kept, mark, now: now_of(&row)? }))
}

/// Tokens alone.
pub(super) fn tokens() -> Select<Entity> {
    of_kind(TOKEN)
}

/// Credentials of this kind alone.
pub(super) fn of_kind(kind: &str) -> Select<Entity> {
    Entity::find().filter(Column::Kind.eq(kind))
}

/// Whether any token was ever made.
pub async fn any(conn: &impl ConnectionTrait) -> Result<bool, StoreError> {
    Ok(tokens().exists(conn).await?)
}

/// Whether a token that holds `admin` is still good.
pub async fn any_admin(conn: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let good = Condition::any().add(Column::ExpiresAt.is_null()).add(Column::ExpiresAt.gt(now));
    let admin = tokens()
        .filter(Column::RevokedAt.is_null())
        .filter(Column::Scopes.contains("\"admin\""))
        .filter(Column::Services.is_null())
        .filter(Column::Environments.is_null())
        .filter(good);
    Ok(admin.exists(conn).await?)
}

/// Lists tokens by their ids, oldest first.
pub async fn list(
    conn: &impl ConnectionTrait,
    page: &PageRequest<Uuid>,
) -> Result<Vec<Credential>, StoreError> {
    let query = tokens().apply_if(page.after, |query, after| query.filter(Column::Id.gt(after)));
    Ok(query.order_by_asc(Column::Id).limit(page.limit + 1).into_model().all(conn).await?)
}

/// Finds a token.
pub async fn find(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<Credential>, StoreError> {
    Ok(tokens().filter(Column::Id.eq(id)).into_model().one(conn).await?)
}

/// Finds a credential of any kind.
pub async fn find_any(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<Credential>, StoreError> {
    Ok(Entity::find_by_id(id).into_model().one(conn).await?)
}

/// How often an ID token was exchanged.
pub async fn uses(conn: &impl ConnectionTrait, proof_hash: &[u8]) -> Result<i64, StoreError> {
    let last = Entity::find().select_only().column_as(Column::ProofUse.max(), "uses");
    let last = last.filter(Column::ProofHash.eq(proof_hash.to_vec()));
    let uses: Option<Option<i64>> = last.into_tuple().one(conn).await?;
    Ok(uses.flatten().unwrap_or(0))
}

/// Revokes a credential, and what stands and falls with it: the sessions of a token. Tells whether it was still good.
pub async fn revoke(conn: &impl ConnectionTrait, id: Uuid, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let good = Entity::update_many().filter(Column::RevokedAt.is_null()).filter(Column::Id.eq(id));
    let revoked = good.set(revoked(now)).exec(conn).await?.rows_affected == 1;
    revoke_of(conn, id, now).await?;
    Ok(revoked)
}

/// Revokes what was given by a trust, or what stands and falls with a token. Tells how many were still good.
pub async fn revoke_of(
    conn: &impl ConnectionTrait,
    parent: Uuid,
    now: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let good = Entity::update_many().filter(Column::RevokedAt.is_null()).filter(Column::ParentId.eq(parent));
    Ok(good.set(revoked(now)).exec(conn).await?.rows_affected)
}

fn revoked(now: DateTime<Utc>) -> ActiveModel {
    ActiveModel { revoked_at: Set(Some(now)), ..ActiveModel::default() }
}

/// Forgets credentials of pipelines and sessions that nobody can use any more. What an ID token was exchanged for is kept as
/// long as that may be shown again, because it is counted.
pub async fn purge(conn: &impl ConnectionTrait, now: DateTime<Utc>, limit: i64) -> Result<u64, StoreError> {
    let past = |column: Column| column.lte(now);
    let unused = Condition::any().add(Column::RevokedAt.is_not_null()).add(past(Column::LingersUntil));
    let pipelines =
        Condition::all().add(Column::Kind.eq(PIPELINE)).add(past(Column::ProofExpiresAt)).add(unused);
    let ended = Condition::any()
        .add(Column::RevokedAt.is_not_null())
        .add(past(Column::ExpiresAt))
        .add(past(Column::IdleUntil));
    let sessions = Condition::all().add(Column::Kind.eq(SESSION)).add(ended);
    let old = Entity::find().filter(Condition::any().add(pipelines).add(sessions));
    delete_some(conn, old, Column::Id, limit).await
}
