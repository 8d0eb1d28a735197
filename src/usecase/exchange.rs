//! The exchange of a pipeline's ID token for a credential.

use chrono::{DateTime, TimeDelta, Utc};
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
        identity::{
            Identity, Pipeline,
            claims::{Claims, Invalid, LEEWAY},
            subject,
            trust::{Outside, TRUST, TRUSTS_MAX, Trust, choose},
        },
    },
    issuer::Issuer,
    store::{
        error::StoreError,
        token::{self, Proof},
        trust,
    },
    usecase::{
        app::App,
        error::Error,
        tokens, trusts,
        work::{self, Doer, Work},
    },
};

/// How often one ID token is exchanged: the steps of a job each do it anew.
const USES_MAX: i64 = 20;
/// A credential is good for as long as the ID token, but at least and at most so long.
const LIFE_MIN: TimeDelta = TimeDelta::minutes(5);
const LIFE_MAX: TimeDelta = TimeDelta::hours(1);
/// What an ID token says of the commit that its job runs for.
const COMMIT: &str = "sha";

/// What an ID token was exchanged for.
#[derive(Clone, Debug)]
pub struct Exchanged {
    pub credential: Credential,
    /// What its holder sends.
    pub secret: SecretString,
    /// The name of the trust that let it in.
    pub trust: String,
}

/// An ID token that is its issuer's, meant for this server, and good now.
#[derive(Debug)]
pub struct Shown<'a> {
    issuer: &'a Issuer,
    claims: Claims,
    hash: Vec<u8>,
}

impl Shown<'_> {
    /// Tells whom it is about from others: how often they come is counted by it.
    pub fn whose(&self) -> Uuid {
        let subject = format!("{}\n{}", self.issuer.config.name, self.claims.subject());
        Uuid::from_slice(Sha256::digest(subject).get(..16).unwrap_or_default()).unwrap_or_default()
    }
}

/// Verifies an ID token. What is not an issuer's own never costs the database anything.
pub async fn verify<'a>(app: &'a App, id_token: &str) -> Result<Shown<'a>, Error> {
    let issuer = app.issuers.of_token(id_token).map_err(Error::Identity)?;
    let claims = issuer.verify(id_token, &issuer.audience, clock::now()).await?;
    let hash = fingerprint(issuer, &claims, id_token);
    Ok(Shown { issuer, claims, hash })
}

/// Exchanges a pipeline's ID token for a credential with the rights of the trust that lets it in.
pub async fn exchange(app: &App, shown: &Shown<'_>, request_id: &str) -> Result<Exchanged, Error> {
    let doer = Doer { request_id: Some(request_id.to_owned()), ..Doer::server() };
    work::write(&app.db, &doer, |work| async move { exchange_in(app, work, shown).await }).await
}

/// What tells an ID token from others: its `jti`, or else all of it.
fn fingerprint(issuer: &Issuer, claims: &Claims, id_token: &str) -> Vec<u8> {
    let name = &issuer.config.name;
    let told = match claims.text("jti") {
        Some(jti) => format!("{name}\njti\n{jti}"),
        None => format!("{name}\ntoken\n{id_token}"),
    };
    Sha256::digest(told).to_vec()
}

async fn exchange_in(
    app: &App,
    mut work: Work,
    Shown { issuer, claims, hash }: &Shown<'_>,
) -> Result<Exchanged, Error> {
    let name = &issuer.config.name;
    let all = trust::of_issuer(work.conn(), name, TRUSTS_MAX).await?;
    let chosen = choose(&all, claims).map_err(|outside| match outside {
        Outside::Unmatched(_) => Error::Untrusted(trusts::in_words(&outside, name)),
        Outside::Several(_) => Error::Ambiguous(trusts::in_words(&outside, name)),
    })?;
    // Whoever deletes or edits it comes before this or after it.
    if !trust::hold(work.conn(), chosen).await? {
        return Err(Error::Raced);
    }
    let uses = token::uses(work.conn(), hash).await?;
    if uses >= USES_MAX {
        let expected = format!("that of an ID token that was exchanged fewer than {USES_MAX} times");
        return Err(Error::Identity(Invalid::new("jti", expected, "exchanged as often already")));
    }
    let now = work.now().await?;
    let credential = credential(app, issuer, claims, chosen, now);
    let secret = tokens::make_up(credential.principal.token_id)?;
    let proof = Proof { hash: hash.clone(), number: uses + 1, expires_at: claims.expires_at() + LEEWAY };
    let inserted =
        token::insert(work.conn(), &credential, &tokens::hash(secret.expose_secret()), Some(&proof)).await;
    // Another request has exchanged it at the same moment: then it is counted anew.
    inserted
        .map_err(|error| if matches!(error, StoreError::Unique(_)) { Error::Raced } else { error.into() })?;
    let Principal { actor, token_id, scopes, groups, narrowing, .. } = &credential.principal;
    let pipeline = credential.principal.pipeline();
    let data = json!({
        "id": chosen.id, "trust": chosen.definition.name, "credential": token_id, "subject": actor.subject,
        "initiator": pipeline.map(|pipeline| &pipeline.initiator), "commit": pipeline.map(|pipeline| &pipeline.commit),
        "scopes": scopes, "groups": groups, "services": narrowing.services, "environments": narrowing.environments,
        "expires_at": credential.expires_at, "lingers_until": pipeline.map(|pipeline| pipeline.lingers_until),
    });
    work.tell_as(actor.clone(), EventKind::TrustExchanged, data);
    let trust = chosen.definition.name.clone();
    work.commit(now, Exchanged { credential, secret, trust }).await
}

/// Whom an issuer proves to have started the pipeline.
fn claims_initiator(issuer: &Issuer, claims: &Claims) -> Option<String> {
    let who = claims.text(issuer.config.person_claim()?)?;
    (!who.trim().is_empty()).then(|| subject(&issuer.config.name, &who, sha256))
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

fn credential(app: &App, issuer: &Issuer, claims: &Claims, trust: &Trust, now: DateTime<Utc>) -> Credential {
    let life = (claims.expires_at() - now).clamp(LIFE_MIN, LIFE_MAX);
    let lingers = TimeDelta::from_std(app.config.ledger.max_lease).unwrap_or(LIFE_MAX).max(life);
    let definition = &trust.definition;
    let is_commit =
        |sha: &String| matches!(sha.len(), 40 | 64) && sha.bytes().all(|byte| byte.is_ascii_hexdigit());
    Credential {
        principal: Principal {
            token_id: clock::new_id(),
            identity: Identity::Pipeline(Pipeline {
                trust: trust.id,
                issuer: issuer.config.name.clone(),
                commit: claims.text(COMMIT).filter(is_commit).map(|sha| sha.to_ascii_lowercase()),
                initiator: claims_initiator(issuer, claims),
                lingers_until: now + lingers,
                is_lingering: false,
            }),
            actor: Actor {
                token: format!("{TRUST}{}", definition.name),
                subject: subject(&issuer.config.name, claims.subject(), sha256),
            },
            scopes: definition.scopes.clone(),
            groups: definition.groups.clone(),
            narrowing: definition.places_of(claims),
        },
        created_at: now,
        expires_at: Some(now + life),
        revoked_at: None,
    }
}
