//! Signing in at the issuer (OpenID Connect Core 1.0 §3.1): the code flow with PKCE. The browser keeps what belongs to it
//! (`domain::sign_in::flow`), so that any replica can go on where another has begun.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::ExposeSecret;
use sha2::{Digest as _, Sha256};
use url::{Url, form_urlencoded::byte_serialize};

use super::command_line::bytes;
use crate::{
    config::people::OidcConfig,
    domain::{
        identity::{
            self,
            claims::{Claims, Invalid, shown},
        },
        sign_in::{back::Back, flow::Flow, person},
    },
    issuer::{Discovery, Form, Refused},
    store::db,
    usecase::{
        app::App,
        error::Error,
        sessions::{self, Begun, From, Vouched},
    },
};

/// Why somebody is not signed in by an issuer.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Nobody signs in at an issuer here.
    #[error("this server has no issuer at which people sign in")]
    NotSet,
    /// The issuer cannot be asked.
    #[error("{0}")]
    Unreachable(String),
    /// Its ID token, or what it says beside the code, is not as it must be.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The issuer does not take the code, in its own words.
    #[error("the issuer did not take the code: {0}")]
    Code(String),
    /// The issuer lets nobody in, in its own words.
    #[error("the issuer says: {0}")]
    Denied(String),
    /// It took too long.
    #[error("this sign-in was begun more than ten minutes ago")]
    Over,
    /// The session could not be begun.
    #[error(transparent)]
    Session(#[from] Error),
}

impl std::convert::From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Invalid(invalid) => Self::Invalid(invalid),
            Refused::Unreachable { .. } => Self::Unreachable(refused.to_string()),
        }
    }
}

/// A browser that leaves for the issuer.
#[derive(Clone, Debug)]
pub struct Leaving {
    /// Where it goes.
    pub url: Url,
    /// What it keeps meanwhile.
    pub flow: Flow,
}

/// What a browser comes back with.
#[derive(Clone, Debug, Default)]
pub struct Returned {
    /// The code, if the issuer lets them in.
    pub code: Option<String>,
    /// Who says so (RFC 9207).
    pub iss: Option<String>,
    /// Why not, else.
    pub error: Option<String>,
    /// The same for people.
    pub error_description: Option<String>,
}

/// What is configured, whole.
struct Setup<'a> {
    oidc: &'a OidcConfig,
    issuer: &'a str,
    client_id: &'a str,
    redirect_uri: String,
}

impl<'a> Setup<'a> {
    fn of(app: &'a App) -> Result<Self, Refusal> {
        let oidc = &app.config.auth.oidc;
        let (Some(issuer), Some(client_id)) = (&oidc.issuer, &oidc.client_id) else {
            return Err(Refusal::NotSet);
        };
        let redirect_uri = format!("{}/login/callback", app.config.server.base_url());
        Ok(Self { oidc, issuer, client_id, redirect_uri })
    }
}

/// Begins to sign somebody in.
pub async fn leave(app: &App, back: Back) -> Result<Leaving, Refusal> {
    let setup = Setup::of(app)?;
    let discovery = app.issuers.discovery(setup.issuer).await?;
    let missing =
        || unreachable(setup.issuer, "it does not say where people sign in (authorization_endpoint)");
    let mut url = discovery.authorization_endpoint.clone().ok_or_else(missing)?;
    let now = db::now(app.db.read()).await.map_err(Error::from)?;
    let flow = Flow::begin(bytes()?, now, back);
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", setup.client_id)
        .append_pair("redirect_uri", &setup.redirect_uri)
        .append_pair("scope", &setup.oidc.scopes.join(" "))
        .append_pair("state", &flow.state())
        .append_pair("nonce", &flow.nonce())
        .append_pair("code_challenge", &flow.challenge())
        .append_pair("code_challenge_method", "S256");
    Ok(Leaving { url, flow })
}

/// Signs in whoever comes back from the issuer.
pub async fn arrive(app: &App, flow: &Flow, returned: &Returned, from: &From) -> Result<Begun, Refusal> {
    let setup = Setup::of(app)?;
    let now = db::now(app.db.read()).await.map_err(Error::from)?;
    if flow.is_over(now) {
        return Err(Refusal::Over);
    }
    let discovery = app.issuers.discovery(setup.issuer).await?;
    // Another issuer's answer, which was led here to have its code shown to ours (RFC 9207 §2.4).
    if returned.iss.as_ref().is_some_and(|iss| *iss != discovery.issuer) {
        let given = shown(returned.iss.clone().map(Into::into).as_ref());
        return Err(Invalid::new("iss beside the code", discovery.issuer.clone(), given).into());
    }
    let Some(code) = &returned.code else { return Err(Refusal::Denied(words(returned))) };
    let token = exchange(app, &setup, &discovery, code, &flow.verifier()).await?;
    let claims = app.issuers.verify(setup.issuer, &token, setup.client_id, now).await?;
    for_this(&claims, setup.client_id, &flow.nonce())?;
    let hash = |text: &str| hex::encode(Sha256::digest(text));
    let person = Vouched {
        issuer: setup.issuer.to_owned(),
        subject: identity::subject(setup.issuer, claims.subject(), hash),
        name: person::name(&claims, &setup.oidc.name_claim),
        groups: person::groups(claims.get(&setup.oidc.groups_claim)),
    };
    Ok(sessions::begin_vouched(app, person, from).await?)
}

/// Changes the code for an ID token.
async fn exchange(
    app: &App,
    setup: &Setup<'_>,
    discovery: &Discovery,
    code: &str,
    verifier: &str,
) -> Result<String, Refusal> {
    let missing = || unreachable(setup.issuer, "it does not say where codes are exchanged (token_endpoint)");
    let endpoint = discovery.token_endpoint.as_ref().ok_or_else(missing)?;
    let mut fields = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", &setup.redirect_uri),
        ("client_id", setup.client_id),
        ("code_verifier", verifier),
    ];
    let secret = setup.oidc.client_secret.as_ref().map(ExposeSecret::expose_secret);
    let basic = secret.filter(|_| discovery.takes_basic()).map(|secret| basic(setup.client_id, secret));
    if let Some(secret) = secret.filter(|_| basic.is_none()) {
        fields.push(("client_secret", secret));
    }
    let form = Form { fields: &fields, authorization: basic.as_deref() };
    let answer = app.issuers.post(setup.issuer, endpoint, form).await?;
    let text = |name: &str| answer.body.get(name).and_then(|value| value.as_str()).map(ToOwned::to_owned);
    if answer.status == 200 {
        let none =
            || unreachable(setup.issuer, "it gave no ID token for the code; is `openid` among its scopes?");
        return text("id_token").ok_or_else(none);
    }
    let returned = Returned {
        error: text("error"),
        error_description: text("error_description"),
        ..Returned::default()
    };
    Err(Refusal::Code(words(&returned)))
}

/// How a client shows its secret (RFC 6749 §2.3.1).
fn basic(client_id: &str, secret: &str) -> String {
    let part = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", part(client_id), part(secret))))
}

/// Fails unless the ID token was made for this client and for this very sign-in (OpenID Connect Core 1.0 §3.1.3.7).
fn for_this(claims: &Claims, client_id: &str, nonce: &str) -> Result<(), Invalid> {
    if claims.get("nonce").and_then(|nonce| nonce.as_str()) != Some(nonce) {
        // Neither is repeated: it is a secret of the browser that set out with it.
        return Err(Invalid::new("nonce", "the one that this sign-in set out with", "another"));
    }
    let several = claims.get("aud").and_then(|aud| aud.as_array()).is_some_and(|list| list.len() > 1);
    let azp = claims.get("azp");
    if azp.is_some_and(|azp| azp != client_id) || (several && azp.is_none()) {
        return Err(Invalid::new("azp", format!("{client_id:?}"), shown(azp)));
    }
    Ok(())
}

/// What an issuer says of a failure, bounded: it comes through the browser, where anybody could have written it.
fn words(returned: &Returned) -> String {
    let said = [&returned.error, &returned.error_description];
    let said: Vec<_> =
        said.into_iter().flatten().map(|text| text.chars().take(200).collect::<String>()).collect();
    if said.is_empty() { "nothing about why".to_owned() } else { said.join(": ") }
}

fn unreachable(issuer: &str, cause: &str) -> Refusal {
    Refused::Unreachable { issuer: issuer.to_owned(), cause: cause.to_owned() }.into()
}
