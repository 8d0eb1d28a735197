//! Tokens: making, revoking and recognising them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    clock,
    domain::{
        actor::{Actor, Principal},
        credential::Credential,
        event::EventKind,
        idempotency::{Kept, Key},
        identity::{Identity, Session, SignIn, poses_as},
        page::{Page, PageRequest, page},
        scope::Narrowing,
        vocabulary::Scope,
    },
    store::{
        db::{self, Db},
        error::StoreError,
        idempotency,
        moved::Mark,
        token::{self, Recognised},
    },
    usecase::{
        context::Ctx,
        error::Error,
        seen,
        work::{self, Doer, Render, Work},
    },
};

const UNKNOWN: &str = "the token is not known; `waybill token create` makes one";

/// The longest secret that is looked at.
const SECRET_MAX: usize = 512;

/// Who sent a request.
#[derive(Clone, Debug)]
pub struct Known {
    /// Whom its credential stands for.
    pub principal: Principal,
    /// What the request's idempotency key has led to before.
    pub kept: Option<Kept>,
    /// Where the ledger was, if that was asked for.
    pub mark: Option<Mark>,
    /// When that was.
    pub now: DateTime<Utc>,
}

/// A token that is asked for.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Whom it stands for, and what it may do. Its id is made when it is.
    pub principal: Principal,
    /// When it stops working.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A token just made, with the secret that is shown this once.
#[derive(Clone, Debug)]
pub struct Made {
    pub token: Credential,
    /// What its holder sends.
    pub secret: SecretString,
}

/// What is kept of a secret.
pub(super) fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// Recognises a secret, and finds what the request's idempotency key has led to before; and where the ledger is, for a
/// request that is `marked`.
pub async fn authenticate(db: &Db, secret: &str, key: Option<&str>, marked: bool) -> Result<Known, Error> {
    if secret.len() > SECRET_MAX {
        return Err(Error::Unauthenticated(UNKNOWN));
    }
    let found = token::authenticate(db.read(), &hash(secret), key, marked).await?;
    let Recognised { credential, kept, mark, now } = found.ok_or(Error::Unauthenticated(UNKNOWN))?;
    let principal = credential.at(now).map_err(Error::Unauthenticated)?;
    Ok(Known { principal, kept, mark, now })
}

/// Fails when what a request came with is no longer good, because the request has gone on for a while.
pub async fn still_good(ctx: &Ctx) -> Result<(), Error> {
    let conn = ctx.app.db.read();
    let found = token::find_any(conn, ctx.principal.token_id).await?;
    let credential = found.ok_or(Error::Unauthenticated(UNKNOWN))?;
    let principal = credential.at(db::now(conn).await?).map_err(Error::Unauthenticated)?;
    if principal.is_lingering() {
        return Err(Error::Unauthenticated("the pipeline's credential has expired"));
    }
    Ok(())
}

/// Why a token is not for somebody whom an issuer would vouch for.
pub fn posing(issuer: &str) -> String {
    format!("must not begin with `{issuer}:`, as those are called that the issuer {issuer} vouches for")
}

/// Makes a token within the rights of the one that asks. What `render` makes of it is kept, so it leaves out the secret.
pub async fn create(ctx: &Ctx, new: &NewToken, render: Render<'_, Made>) -> Result<Made, Error> {
    ctx.require(Scope::Admin)?;
    let maker = &ctx.principal;
    if let Some(issuer) = poses_as(&new.principal.actor.subject, ctx.app.issuers.names()) {
        return Err(Error::invalid("/subject", "reserved", posing(issuer)));
    }
    if !maker.narrowing.covers(&new.principal.narrowing) {
        return Err(Error::Forbidden(
            "a narrowed token makes only tokens that are narrowed as far".to_owned(),
        ));
    }
    let limit = maker_expires_at(ctx).await?;
    if limit.is_some_and(|limit| new.expires_at.is_none_or(|end| end > limit)) {
        return Err(Error::Forbidden("a token that expires makes none that lives longer".to_owned()));
    }
    ctx.write(|mut work| async move {
        let now = work.now().await?;
        let made = insert(&mut work, new, None, now).await?;
        work.answer(now, &made, render).await?;
        Ok(made)
    })
    .await
}

async fn maker_expires_at(ctx: &Ctx) -> Result<Option<DateTime<Utc>>, Error> {
    // A session ends long before what its person may do.
    let id = match &ctx.principal.identity {
        Identity::Session(Session { sign_in: SignIn::Issuer(_), .. }) => return Ok(None),
        Identity::Session(Session { sign_in: SignIn::Token(token), .. }) => *token,
        Identity::Token | Identity::Pipeline(_) => ctx.principal.token_id,
    };
    let maker = token::find_any(ctx.app.db.read(), id).await?;
    Ok(maker.and_then(|maker| maker.expires_at))
}

/// Makes a token for whoever runs the server, who has every right.
pub async fn create_by_server(db: &Db, new: &NewToken) -> Result<Made, Error> {
    work::write(db, &Doer::server(), |mut work| async move {
        let now = work.now().await?;
        let made = insert(&mut work, new, None, now).await?;
        work.commit(now, made).await
    })
    .await
}

/// Makes sure that somebody can enter a new ledger: where no token was ever made, `secret` becomes the admin's.
pub async fn bootstrap(db: &Db, secret: Option<&SecretString>) -> Result<Bootstrap, Error> {
    work::write(db, &Doer::server(), |mut work| async move {
        let now = work.now().await?;
        // In this order: another replica's first token may land between the two questions, and is then an admin's.
        if token::any(work.conn()).await? {
            let admin = token::any_admin(work.conn(), now).await?;
            return Ok(if admin { Bootstrap::Present } else { Bootstrap::Lost });
        }
        let Some(secret) = secret else { return Ok(Bootstrap::Missing) };
        let principal = Principal {
            token_id: Uuid::nil(),
            identity: Identity::Token,
            actor: Actor { token: "admin".to_owned(), subject: "admin".to_owned() },
            scopes: [Scope::Admin].into(),
            groups: [].into(),
            narrowing: Narrowing::default(),
        };
        let new = NewToken { principal, expires_at: None };
        let inserted = insert(&mut work, &new, Some(secret.clone()), now).await;
        // Replicas that start together all find an empty ledger; one of them is the first.
        inserted.map_err(|error| if matches!(error, Error::Conflict(_)) { Error::Raced } else { error })?;
        work.commit(now, Bootstrap::Given).await
    })
    .await
}

/// What [`bootstrap`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bootstrap {
    /// An admin was known already.
    Present,
    /// The given secret is the admin's now.
    Given,
    /// Tokens were made, but none that is good now may make others.
    Lost,
    /// No token was ever made, and no secret was given.
    Missing,
}

async fn insert(
    work: &mut Work,
    new: &NewToken,
    secret: Option<SecretString>,
    now: DateTime<Utc>,
) -> Result<Made, Error> {
    let id = clock::new_id();
    let secret = match secret {
        Some(secret) => secret,
        None => make_up(id)?,
    };
    let principal = Principal { token_id: id, ..new.principal.clone() };
    let token = Credential { principal, created_at: now, expires_at: new.expires_at, revoked_at: None };
    let name = &token.principal.actor.token;
    token::insert(work.conn(), &token, &hash(secret.expose_secret()), None).await.map_err(|error| {
        if !matches!(error, StoreError::Unique(_)) {
            return error.into();
        }
        Error::Conflict(format!(
            "a token named {name} (or with this secret) is in use; revoke it or take another name"
        ))
    })?;
    let data = json!({
        "id": id,
        "name": name,
        "subject": token.principal.actor.subject,
        "scopes": token.principal.scopes,
        "groups": token.principal.groups,
        "services": token.principal.narrowing.services,
        "environments": token.principal.narrowing.environments,
        "expires_at": token.expires_at,
    });
    work.tell(EventKind::TokenCreated, data);
    Ok(Made { token, secret })
}

/// A new secret, which nobody can guess.
pub fn make_up(id: Uuid) -> Result<SecretString, Error> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        tracing::error!(%error, "the system gave no randomness");
        StoreError::Corrupt("source of randomness")
    })?;
    Ok(format!("wb_{}_{}", id.simple(), URL_SAFE_NO_PAD.encode(bytes)).into())
}

/// Lists tokens, oldest first, without their secrets.
pub async fn list(ctx: &Ctx, request: &PageRequest<Uuid>) -> Result<Page<Credential>, Error> {
    ctx.require(Scope::Admin)?;
    let read = async |rest| token::list(ctx.app.db.read(), &rest).await;
    let id = |token: &Credential| token.principal.token_id;
    let may_see = |token: &Credential| ctx.within().covers(&token.principal.narrowing);
    Ok(page(seen::next(request, read, id, may_see).await?, request.limit, id))
}

/// Lists tokens for whoever runs the server.
pub async fn list_by_server(db: &Db, request: &PageRequest<Uuid>) -> Result<Page<Credential>, Error> {
    let rows = token::list(db.read(), request).await?;
    Ok(page(rows, request.limit, |token| token.principal.token_id))
}

/// Revokes a token, from the next request on. Revoking it again changes nothing.
pub async fn revoke(ctx: &Ctx, id: Uuid) -> Result<(), Error> {
    ctx.require(Scope::Admin)?;
    let found = token::find(ctx.app.db.read(), id).await?;
    if !found.is_some_and(|token| ctx.within().covers(&token.principal.narrowing)) {
        return Err(Error::not_found("token", &id));
    }
    ctx.write(|work| revoke_in(work, id)).await
}

/// Revokes a token for whoever runs the server.
pub async fn revoke_by_server(db: &Db, id: Uuid) -> Result<(), Error> {
    work::write(db, &Doer::server(), |work| revoke_in(work, id)).await
}

async fn revoke_in(mut work: Work, id: Uuid) -> Result<(), Error> {
    let now = work.now().await?;
    let token = token::find(work.conn(), id).await?.ok_or_else(|| Error::not_found("token", &id))?;
    if token::revoke(work.conn(), id, now).await? {
        work.tell(EventKind::TokenRevoked, json!({ "id": id, "name": token.principal.actor.token }));
    }
    work.commit(now, ()).await
}

/// What an idempotency key has led to.
pub async fn kept(db: &Db, key: &Key) -> Result<Option<Kept>, Error> {
    Ok(idempotency::find(db.read(), key).await?)
}
