//! Letting a command line in: it asks for a code that a person types into a page (`--device`), or is handed one by the
//! browser on its own machine. Either is changed once, and with the proof of who asked, into a session like that of the
//! person who let it in.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    clock,
    domain::{
        fault::Faults,
        identity::Identity,
        sign_in::code::{self, UserCode},
        text::{self, SHORT_TEXT_MAX},
    },
    store::{
        db::{self, Tx},
        error::StoreError,
        session, sign_in as store,
    },
    usecase::{
        app::App,
        context::Ctx,
        error::Error,
        sessions::{self, Begun, From},
        work::{self, Doer, Work},
    },
};

pub use crate::store::sign_in::Asked;

/// So many may ask at once: anybody can.
const ASKED_MAX: u64 = 1000;

/// So many of them from one network, so that others find room.
const ASKED_FROM_ONE_MAX: u64 = ASKED_MAX / 4;

const UNKNOWN: &str =
    "the code is not known, was used already, or its ten minutes are over; run `waybill login` again";

/// What a command line asks with.
#[derive(Clone, Debug)]
pub struct Asking {
    /// What it will prove itself by.
    pub challenge: String,
    /// Where it runs, for the person who is asked.
    pub client: String,
}

/// What a command line is told that waits for a person.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// What it asks with.
    pub code: String,
    /// What it shows.
    pub user_code: UserCode,
    /// When both are over.
    pub expires_at: DateTime<Utc>,
}

impl Asking {
    /// What is asked, once every field of it is right.
    pub fn parse(challenge: &str, client: &str) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        if !code::is_challenge(challenge) {
            let detail = "must be the SHA-256 of the verifier in base64url, without padding (RFC 7636 §4.2)";
            faults.add("/challenge", "invalid-challenge", detail);
        }
        faults.take("/client", text::telling(client, SHORT_TEXT_MAX));
        let asking = Self { challenge: challenge.to_owned(), client: client.to_owned() };
        faults.finish(Some(asking))
    }
}

/// Notes that a command line waits for a person, and from which network it asks.
pub async fn ask(app: &App, asking: &Asking, network: &str) -> Result<Waiting, Error> {
    let conn = app.db.read();
    let now = db::now(conn).await?;
    if store::count(conn, Some(network), now).await? >= ASKED_FROM_ONE_MAX {
        return Err(Error::Greedy(
            "too many command lines ask to be let in from this address; try again in a few minutes",
        ));
    }
    if store::count(conn, None, now).await? >= ASKED_MAX {
        return Err(Error::Crowded("too many command lines ask to be let in; try again in a few minutes"));
    }
    let (code, user_code) = (random()?, UserCode::of(random_number()?));
    let expires_at = app
        .db
        .write(|tx: Tx| {
            let (code, user_code) = (code.clone(), user_code.clone());
            async move {
                let now = db::now(tx.conn()).await?;
                let asked = asked(asking, &code, Some(&user_code), None, now);
                let asked = Asked { network: Some(network.to_owned()), ..asked };
                let expires_at = asked.expires_at;
                store::insert(tx.conn(), asked).await.map_err(Error::raced)?;
                Ok::<_, Error>(tx.commit(expires_at).await?)
            }
        })
        .await?;
    Ok(Waiting { code, user_code, expires_at })
}

/// Who asks with this code for people.
pub async fn asking(app: &App, code: &UserCode) -> Result<Asked, Error> {
    let conn = app.db.read();
    let found = store::by_user_code(conn, code.as_str(), db::now(conn).await?).await?;
    found.ok_or_else(|| unknown(code))
}

fn unknown(code: &UserCode) -> Error {
    let remedy = "It was used already, or its ten minutes are over: run `waybill login --device` again.";
    Error::missing("command line that shows", code.as_str(), remedy)
}

/// Lets in who asks with this code for people, as whoever says so.
pub async fn let_in(ctx: &Ctx, code: &UserCode) -> Result<(), Error> {
    let session = own_session(ctx)?;
    let found = ctx.app.db.write(|tx: Tx| async move {
        let now = db::now(tx.conn()).await?;
        let found = store::approve(tx.conn(), code.as_str(), session, now).await?;
        Ok::<_, Error>(tx.commit(found).await?)
    });
    if found.await? { Ok(()) } else { Err(unknown(code)) }
}

/// Makes the code that a browser hands to the command line on its machine, as whoever says so.
pub async fn hand_over(ctx: &Ctx, asking: &Asking) -> Result<String, Error> {
    let session = own_session(ctx)?;
    let code = random()?;
    ctx.app
        .db
        .write(|tx: Tx| {
            let code = code.clone();
            async move {
                let now = db::now(tx.conn()).await?;
                store::insert(tx.conn(), asked(asking, &code, None, Some(session), now)).await?;
                Ok::<_, Error>(tx.commit(()).await?)
            }
        })
        .await?;
    Ok(code)
}

/// Changes a code into a session. None while nobody has let the command line in.
pub async fn redeem(app: &App, code: &str, verifier: &str, request_id: &str) -> Result<Option<Begun>, Error> {
    let conn = app.db.read();
    let asked = store::by_code(conn, &hash(code), db::now(conn).await?).await?;
    let asked = asked.ok_or(Error::Unauthenticated(UNKNOWN))?;
    if !code::proves(&asked.challenge, verifier) {
        return Err(Error::Unauthenticated("the verifier is not the one that the code was asked for with"));
    }
    let Some(session_id) = asked.session_id else { return Ok(None) };
    let other = session::find(conn, session_id, db::now(conn).await?).await?;
    let other =
        other.ok_or(Error::Unauthenticated("whoever let this command line in has signed out since"))?;
    let actor = other.principal.actor.clone();
    let doer = Doer { actor, request_id: Some(request_id.to_owned()), key: None };
    let from = &From { place: Some(format!("waybill on {}", asked.client)), ..From::default() };
    let begun = work::write(&app.db, &doer, |work| redeem_in(work, asked.id, session_id, from)).await?;
    Ok(Some(begun))
}

async fn redeem_in(mut work: Work, asked: Uuid, session_id: Uuid, from: &From) -> Result<Begun, Error> {
    let now = work.now().await?;
    if !store::remove(work.conn(), asked).await? {
        return Err(Error::Unauthenticated(UNKNOWN));
    }
    let other = session::find(work.conn(), session_id, now).await?.ok_or(Error::Unauthenticated(UNKNOWN))?;
    let begun = sessions::begin_beside(&mut work, other, from, now).await?;
    work.commit(now, begun).await
}

/// The session of whoever lets a command line in. A token lets nobody in: whoever holds it can hand it on.
fn own_session(ctx: &Ctx) -> Result<Uuid, Error> {
    match ctx.principal.identity {
        Identity::Session(_) => Ok(ctx.principal.token_id),
        Identity::Token | Identity::Pipeline(_) => {
            Err(Error::Forbidden("only somebody who has signed in lets a command line in".to_owned()))
        }
    }
}

fn asked(
    asking: &Asking,
    code: &str,
    user_code: Option<&UserCode>,
    session_id: Option<Uuid>,
    now: DateTime<Utc>,
) -> Asked {
    Asked {
        id: clock::new_id(),
        code_hash: hash(code),
        user_code: user_code.map(|code| code.as_str().to_owned()),
        challenge: asking.challenge.clone(),
        client: asking.client.clone(),
        session_id,
        created_at: now,
        expires_at: code::expires_at(now),
        network: None,
    }
}

fn hash(code: &str) -> Vec<u8> {
    Sha256::digest(code).to_vec()
}

fn random() -> Result<String, Error> {
    Ok(URL_SAFE_NO_PAD.encode(bytes::<32>()?))
}

fn random_number() -> Result<u64, Error> {
    Ok(u64::from_le_bytes(bytes::<8>()?))
}

/// Random bytes of the system.
pub(super) fn bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        tracing::error!(%error, "the system gave no randomness");
        StoreError::Corrupt("source of randomness")
    })?;
    Ok(bytes)
}
