//! Those whose word is taken for who somebody is: their keys, and whether an ID token is theirs.
//!
//! The only hosts that the server calls. Nothing is asked of them before somebody shows a token of theirs, and what they
//! answer is bounded in time and size.

mod client;
mod jwk;
mod jws;
mod keys;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use url::Url;

use self::{
    client::Client,
    jwk::KeySet,
    jws::Signed,
    keys::{Asked, Found, Memory},
};
use crate::{
    config::{Config, issuer::IssuerConfig},
    domain::identity::claims::{Claims, Expected, Invalid},
};

pub use self::client::{Answer, Form, TIME_LIMIT};

/// The longest ID token that is looked at, in bytes.
pub const TOKEN_MAX: usize = 16 * 1024;

/// Why an ID token is not taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refused {
    /// It is not as it must be.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Its issuer does not say which keys it has.
    #[error("issuer {issuer} cannot be asked: {cause}")]
    Unreachable {
        /// Which, by its name.
        issuer: String,
        /// Why.
        cause: String,
    },
}

/// What an issuer says of itself (OpenID Connect Discovery 1.0 §3).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Discovery {
    /// Who says so; what it was asked as.
    pub issuer: String,
    /// Where its keys are.
    pub jwks_uri: Url,
    /// Where people sign in.
    #[serde(default)]
    pub authorization_endpoint: Option<Url>,
    /// Where codes are exchanged for tokens.
    #[serde(default)]
    pub token_endpoint: Option<Url>,
    /// How clients show there who they are; without it, by `client_secret_basic`.
    #[serde(default)]
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// Where devices without a browser begin (RFC 8628).
    #[serde(default)]
    pub device_authorization_endpoint: Option<Url>,
    /// Where sessions at the issuer are ended.
    #[serde(default)]
    pub end_session_endpoint: Option<Url>,
}

impl Discovery {
    /// Whether clients may show who they are in the head of their request, rather than in its body.
    pub fn takes_basic(&self) -> bool {
        let methods = self.token_endpoint_auth_methods_supported.as_ref();
        methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"))
    }
}

/// The issuers of the configuration; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Issuers(Arc<BTreeMap<String, Issuer>>);

/// One issuer, and what is remembered of it.
#[derive(Debug)]
pub struct Issuer {
    /// What the configuration says of it.
    pub config: IssuerConfig,
    /// Whom its tokens must be meant for.
    pub audience: String,
    client: Client,
    memory: std::sync::Mutex<Memory>,
    /// Held while it is asked, so that only one request asks.
    asking: Mutex<()>,
    /// What tells how old that is which is remembered.
    ticks: Ticks,
}

/// A clock that only goes forward.
pub type Ticks = fn() -> Instant;

impl Issuers {
    /// Those of the configuration. Nobody is asked anything yet.
    pub fn new(config: &Config) -> Self {
        Self::by_clock(config, Instant::now)
    }

    /// The same, by another clock.
    pub fn by_clock(config: &Config, ticks: Ticks) -> Self {
        let known = config.auth.issuer.iter().map(|issuer| {
            let audience = issuer.audience.clone().unwrap_or_else(|| config.server.base_url());
            let issuer = Issuer {
                client: Client::new(issuer.clone()),
                config: issuer.clone(),
                audience,
                memory: std::sync::Mutex::default(),
                asking: Mutex::default(),
                ticks,
            };
            (issuer.config.name.clone(), issuer)
        });
        Self(Arc::new(known.collect()))
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The one of this name.
    pub fn named(&self, name: &str) -> Option<&Issuer> {
        self.0.get(name)
    }

    /// The one that an ID token says it is from. Nothing of that is proved before [`Issuer::verify`].
    pub fn of_token(&self, token: &str) -> Result<&Issuer, Invalid> {
        let claims = jws::parse(token)?.claims;
        let given = claims.get("iss");
        let found = self.0.values().find(|issuer| given.is_some_and(|iss| *iss == issuer.config.url));
        found.ok_or_else(|| {
            let known: Vec<_> = self.0.values().map(|issuer| issuer.config.url.as_str()).collect();
            let expected = match known.as_slice() {
                [] => "that of an issuer in `[[auth.issuer]]` of the server's configuration, which has none"
                    .to_owned(),
                known => format!("one of {}, to the letter", known.join(", ")),
            };
            Invalid::new("iss", expected, crate::domain::identity::claims::shown(given))
        })
    }

    /// Takes an ID token if the issuer of this name made it, for this audience, and it is good now.
    pub async fn verify(
        &self,
        issuer: &str,
        token: &str,
        audience: &str,
        now: DateTime<Utc>,
    ) -> Result<Claims, Refused> {
        self.known(issuer)?.verify(token, audience, now).await
    }

    /// What the issuer of this name says of itself.
    pub async fn discovery(&self, issuer: &str) -> Result<Arc<Discovery>, Refused> {
        self.known(issuer)?.discovery().await
    }

    /// Posts a form to one of the issuer's own endpoints, such as that for tokens, and gives its answer, whatever that is.
    pub async fn post(&self, issuer: &str, endpoint: &Url, form: Form<'_>) -> Result<Answer, Refused> {
        let issuer = self.known(issuer)?;
        issuer.client.post(endpoint, form).await.map_err(|cause| issuer.unreachable(cause))
    }

    fn known(&self, issuer: &str) -> Result<&Issuer, Refused> {
        let missing = || Refused::Unreachable {
            issuer: issuer.to_owned(),
            cause: "the server's configuration has no such issuer any more".to_owned(),
        };
        self.named(issuer).ok_or_else(missing)
    }
}

impl Issuer {
    /// Takes an ID token if this issuer made it, for this audience, and it is good now.
    pub async fn verify(&self, token: &str, audience: &str, now: DateTime<Utc>) -> Result<Claims, Refused> {
        let signed = jws::parse(token)?;
        // First, because it costs nothing: only what would be good is worth asking for a key.
        let expected = Expected { issuer: &self.config.url, audience, now };
        let claims = Claims::check(signed.claims.clone(), expected)?;
        let keys = self.keys(&signed).await?;
        keys.verify(&signed)?;
        Ok(claims)
    }

    /// What it says of itself.
    pub async fn discovery(&self) -> Result<Arc<Discovery>, Refused> {
        Ok(self.found(|keys| !keys.is_empty()).await?.discovery)
    }

    async fn keys(&self, signed: &Signed<'_>) -> Result<Arc<KeySet>, Refused> {
        Ok(self.found(|keys| keys.may_verify(signed)).await?.keys)
    }

    /// What is known of it, asked anew where that is too old or does not have what is looked for.
    async fn found(&self, has: impl Fn(&KeySet) -> bool) -> Result<Found, Refused> {
        if let Some(found) = self.recall(&has)? {
            return Ok(found);
        }
        let _asking = self.asking.lock().await;
        // Whoever asked meanwhile may have found it, or that there is no answer.
        if let Some(found) = self.recall(&has)? {
            return Ok(found);
        }
        let asked = tokio::time::timeout(TIME_LIMIT, self.ask()).await;
        let asked = asked.unwrap_or_else(|_late| Err(client::late()));
        if let Err(cause) = &asked {
            tracing::warn!(
                issuer = self.config.name,
                cause,
                "an issuer of ID tokens cannot be asked for its keys"
            );
        }
        self.remember(asked);
        match self.recall(&has)? {
            Some(found) => Ok(found),
            // The keys were published just now, without the one that is looked for.
            None => Err(self.no_key()),
        }
    }

    fn no_key(&self) -> Refused {
        Invalid::new(
            "header's kid",
            format!("one of the keys that {} publishes for this algorithm", self.config.url),
            "none of them".to_owned(),
        )
        .into()
    }

    fn recall(&self, has: &impl Fn(&KeySet) -> bool) -> Result<Option<Found>, Refused> {
        let memory = self.memory.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match memory.recall(has, (self.ticks)()) {
            Asked::Known(found) => Ok(Some(found)),
            Asked::Again => Ok(None),
            Asked::NoKey => Err(self.no_key()),
            Asked::Down(cause) => Err(self.unreachable(cause)),
        }
    }

    fn remember(&self, asked: Result<Found, String>) {
        let mut memory = self.memory.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        memory.take(asked, (self.ticks)());
    }

    /// Asks for what it says of itself, and for its keys.
    async fn ask(&self) -> Result<Found, String> {
        let discovery: Discovery = self.client.discover().await?;
        let keys: Map<String, Value> = self.client.keys(&discovery.jwks_uri).await?;
        let keys = KeySet::read(&keys)?;
        tracing::info!(
            issuer = self.config.name,
            keys = keys.len(),
            "asked an issuer of ID tokens for its keys"
        );
        Ok(Found { discovery: Arc::new(discovery), keys: Arc::new(keys) })
    }

    fn unreachable(&self, cause: String) -> Refused {
        Refused::Unreachable { issuer: self.config.name.clone(), cause }
    }
}
