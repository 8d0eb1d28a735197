//! Sessions: beginning one for whoever signs in, using it, and ending it.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use uuid::Uuid;

use crate::{
    clock,
    domain::{
        actor::{Actor, Principal},
        credential::Credential,
        event::EventKind,
        identity::{Identity, Session, SignIn},
        page::{Page, PageRequest, page},
        role::{self, Rights, Role},
        scope::Narrowing,
        session::{self, Life},
        vocabulary::Scope,
    },
    store::{
        db::{self, Tx},
        person, session as store, token,
    },
    telemetry::chain,
    usecase::{
        app::App,
        context::Ctx,
        error::Error,
        tokens,
        work::{self, Doer, Work},
    },
};

/// What the ledger calls that by which a person was let in who signed in at an issuer.
const BY_ISSUER: &str = "session";

const NO_TOKEN: &str = "a session can be begun with a token of `waybill token create` alone";

/// A session just begun, with the secret that its browser or command line keeps.
#[derive(Clone, Debug)]
pub struct Begun {
    /// The session.
    pub session: Credential,
    /// What its holder sends.
    pub secret: SecretString,
}

/// Where a request to sign in came from.
#[derive(Clone, Debug, Default)]
pub struct From {
    /// The request's id; events name it.
    pub request_id: String,
    /// Where the session is begun, for people who look through theirs.
    pub place: Option<String>,
    /// The session that the new one takes the place of.
    pub replaces: Option<Uuid>,
}

/// A person for whom an issuer has vouched.
#[derive(Clone, Debug)]
pub struct Vouched {
    /// The issuer's name here.
    pub issuer: String,
    /// Whom the ledger names.
    pub subject: String,
    /// What people call them.
    pub name: Option<String>,
    /// The groups that came with them.
    pub groups: std::collections::BTreeSet<String>,
}

/// Begins a session for whoever holds a token. It can do what the token can, and ends with it.
pub async fn begin_with_token(app: &App, secret: &str, from: &From) -> Result<Begun, Error> {
    let known = tokens::authenticate(&app.db, secret, None, false).await?;
    if known.principal.identity != Identity::Token {
        return Err(Error::Unauthenticated(NO_TOKEN));
    }
    let token_id = known.principal.token_id;
    begin(app, from, known.principal, SignIn::Token(token_id)).await
}

/// Begins a session for a person for whom the issuer has vouched.
pub async fn begin_vouched(app: &App, person: Vouched, from: &From) -> Result<Begun, Error> {
    let sign_in = SignIn::Issuer(person.issuer);
    let principal = Principal {
        token_id: Uuid::nil(),
        identity: Identity::Session(Session {
            shown_name: person.name,
            sign_in: sign_in.clone(),
            idle_until: DateTime::UNIX_EPOCH,
            place: None,
        }),
        actor: Actor { token: BY_ISSUER.to_owned(), subject: person.subject },
        scopes: [].into(),
        groups: person.groups,
        narrowing: Narrowing::default(),
    };
    begin(app, from, principal, sign_in).await
}

async fn begin(app: &App, from: &From, principal: Principal, sign_in: SignIn) -> Result<Begun, Error> {
    let doer = Doer { actor: principal.actor.clone(), request_id: Some(from.request_id.clone()), key: None };
    work::write(&app.db, &doer, |mut work| {
        let (principal, sign_in) = (principal.clone(), sign_in.clone());
        async move {
            let now = work.now().await?;
            let begun = insert(&mut work, principal, sign_in, from, now).await?;
            if let Some(replaced) = from.replaces {
                end_in(&mut work, replaced, now).await?;
            }
            work.commit(now, begun).await
        }
    })
    .await
}

/// Begins a session that has the rights of another, as a command line's that a person lets in.
pub(super) async fn begin_beside(
    work: &mut Work,
    other: Credential,
    from: &From,
    now: DateTime<Utc>,
) -> Result<Begun, Error> {
    let Identity::Session(Session { sign_in, .. }) = &other.principal.identity else {
        return Err(Error::Unauthenticated(NO_TOKEN));
    };
    let sign_in = sign_in.clone();
    insert(work, other.principal, sign_in, from, now).await
}

async fn insert(
    work: &mut Work,
    principal: Principal,
    sign_in: SignIn,
    from: &From,
    now: DateTime<Utc>,
) -> Result<Begun, Error> {
    // What it stands on stays locked until it is there, so that it ends with a token that is revoked at the same moment.
    let limit = match sign_in {
        SignIn::Token(token) => {
            let token = store::lock_token(work.conn(), token, now).await?;
            token.ok_or(Error::Unauthenticated("the token is revoked; ask for another"))?.expires_at
        }
        SignIn::Issuer(_) => None,
    };
    let life = Life::begin(now, limit);
    let shown_name = principal.session().and_then(|session| session.shown_name.clone());
    if let Some(name) = &shown_name {
        person::seen(work.conn(), &principal.actor.subject, name, now).await?;
    }
    let id = clock::new_id();
    let secret = tokens::make_up(id)?;
    let identity = Session { shown_name, sign_in, idle_until: life.idle_until, place: from.place.clone() };
    let data = json!({
        "id": id,
        "subject": principal.actor.subject,
        "name": identity.shown_name,
        "issuer": identity.issuer(),
        "token": identity.token(),
        "scopes": principal.scopes,
        "groups": principal.groups,
        "services": principal.narrowing.services,
        "environments": principal.narrowing.environments,
        "place": identity.place,
        "expires_at": life.expires_at,
    });
    let principal = Principal { token_id: id, identity: Identity::Session(identity), ..principal };
    let session =
        Credential { principal, created_at: now, expires_at: Some(life.expires_at), revoked_at: None };
    token::insert(work.conn(), &session, &tokens::hash(secret.expose_secret()), None).await?;
    work.tell(EventKind::SessionCreated, data);
    Ok(Begun { session, secret })
}

/// Puts off the end of a session that is in use, and gives a person the rights that their roles have now for a request that
/// needs these scopes.
pub async fn in_use(app: &App, mut principal: Principal, needs: &[Scope], now: DateTime<Utc>) -> Principal {
    let Identity::Session(session) = &principal.identity else { return principal };
    if let Some(until) = session::put_off(session.idle_until, now) {
        let id = principal.token_id;
        let put_off = app.db.write(|tx: Tx| async move {
            store::put_off(tx.conn(), id, until, now).await?;
            Ok::<_, Error>(tx.commit(()).await?)
        });
        // The request is answered all the same: the session is good until its end as it was.
        if let Err(error) = put_off.await {
            tracing::warn!(error = chain(&error), "the end of a session could not be put off");
        }
    }
    if session.issuer().is_some() {
        let Rights { scopes, narrowing } = role::rights(&roles_of(app, session), &principal.groups, needs);
        (principal.scopes, principal.narrowing) = (scopes, narrowing);
    }
    principal
}

/// The roles that a person may have: none any more where people no longer sign in at their issuer.
fn roles_of(app: &App, session: &Session) -> Vec<Role> {
    let is_theirs = session.issuer() == app.config.auth.oidc.issuer.as_deref();
    if is_theirs { app.people.roles.clone() } else { Vec::new() }
}

/// The roles that a person has by their groups.
pub fn held_roles(app: &App, principal: &Principal) -> Vec<Role> {
    let Identity::Session(session) = &principal.identity else { return Vec::new() };
    role::held(&roles_of(app, session), &principal.groups).cloned().collect()
}

/// How far somebody reaches with a scope, if they have it.
pub fn reach(ctx: &Ctx, scope: Scope) -> Option<Narrowing> {
    let principal = &ctx.principal;
    match &principal.identity {
        Identity::Session(session) if session.issuer().is_some() => {
            let rights = role::rights(&roles_of(&ctx.app, session), &principal.groups, &[scope]);
            rights.scopes.contains(&scope).then_some(rights.narrowing)
        }
        Identity::Session(_) | Identity::Token | Identity::Pipeline(_) => {
            principal.holds(scope).then(|| principal.narrowing.clone())
        }
    }
}

/// Ends the session that a request came with.
pub async fn end_own(ctx: &Ctx) -> Result<(), Error> {
    if !matches!(ctx.principal.identity, Identity::Session(_)) {
        let detail = "this is a token and no session; `waybill token revoke` ends tokens";
        return Err(Error::Conflict(detail.to_owned()));
    }
    ctx.write(|work| end_one(work, ctx.principal.token_id)).await
}

/// Ends a session: one's own, or anybody's for an admin.
pub async fn end(ctx: &Ctx, id: Uuid) -> Result<(), Error> {
    let conn = ctx.app.db.read();
    let found = store::find(conn, id, db::now(conn).await?).await?;
    if !found.is_some_and(|session| may_see(ctx, &session)) {
        let remedy = "It may have ended; `waybill sessions` lists those that there are.";
        return Err(Error::missing("session", &id, remedy));
    }
    ctx.write(|work| end_one(work, id)).await
}

async fn end_one(mut work: Work, id: Uuid) -> Result<(), Error> {
    let now = work.now().await?;
    end_in(&mut work, id, now).await?;
    work.commit(now, ()).await
}

async fn end_in(work: &mut Work, id: Uuid, now: DateTime<Utc>) -> Result<(), Error> {
    let Some(session) = store::find(work.conn(), id, now).await? else { return Ok(()) };
    if token::revoke(work.conn(), id, now).await? {
        let data = json!({ "id": id, "subject": session.principal.actor.subject });
        work.tell(EventKind::SessionEnded, data);
    }
    Ok(())
}

/// Whether it is their own, or they may see everybody's.
fn may_see(ctx: &Ctx, session: &Credential) -> bool {
    session.principal.actor.subject == ctx.actor().subject || sees_all(ctx)
}

fn sees_all(ctx: &Ctx) -> bool {
    ctx.principal.holds(Scope::Admin) && ctx.within().is_none()
}

/// Lists the sessions that there are, oldest first: one's own, or everybody's for an admin.
pub async fn list(ctx: &Ctx, request: &PageRequest<Uuid>) -> Result<Page<Credential>, Error> {
    let own = (!sees_all(ctx)).then_some(ctx.actor().subject.as_str());
    listed(ctx, own, request).await
}

/// Lists one's own sessions, oldest first.
pub async fn list_own(ctx: &Ctx, request: &PageRequest<Uuid>) -> Result<Page<Credential>, Error> {
    listed(ctx, Some(&ctx.actor().subject), request).await
}

async fn listed(
    ctx: &Ctx,
    subject: Option<&str>,
    request: &PageRequest<Uuid>,
) -> Result<Page<Credential>, Error> {
    let conn = ctx.app.db.read();
    let rows = store::list(conn, subject, db::now(conn).await?, request).await?;
    Ok(page(rows, request.limit, |session| session.principal.token_id))
}
