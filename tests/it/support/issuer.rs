//! An issuer of ID tokens: a real HTTP server that publishes its keys, and signs whatever a test wants signed.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{self, EcdsaKeyPair, KeyPair as _, RsaKeyPair, RsaPublicKeyComponents},
};
use rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use waybill::config::{Config, issuer::IssuerConfig};

/// Keys of tests, which open nothing.
const RSA: [&[u8]; 2] =
    [include_bytes!("../../data/issuer-rsa-1.der"), include_bytes!("../../data/issuer-rsa-2.der")];

/// What an issuer shows that answers over TLS on this machine, and the private authority that vouches for it: made with
/// `openssl`, for a hundred years.
const TLS: [&[u8]; 2] =
    [include_bytes!("../../data/issuer-tls.der"), include_bytes!("../../data/issuer-tls-key.der")];
pub const CA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/issuer-ca.pem");
/// Another authority.
pub const OTHER_CA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/issuer-other-ca.pem");

/// Whom its tokens are meant for.
pub const AUDIENCE: &str = "https://waybill.example.com";

/// How it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As it should.
    Good,
    /// Not at all.
    Down,
    /// After a minute.
    Slow,
    /// With a redirect to itself, as it should answer, from another path.
    Redirecting,
    /// With keys that do not end.
    Endless,
    /// With a page.
    Page,
    /// With the document of another.
    Foreign,
}

/// A key that signs.
pub enum Key {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
}

impl Key {
    /// One of the RSA keys.
    pub fn rsa(which: usize) -> Self {
        Self::Rsa(Box::new(RsaKeyPair::from_pkcs8(RSA[which]).unwrap()))
    }

    /// A new key on P-256.
    pub fn ec() -> Self {
        let random = SystemRandom::new();
        let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::Ec(Box::new(EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap()))
    }

    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
        }
    }

    /// As it is published.
    pub fn published(&self, kid: &str) -> Value {
        match self {
            Self::Rsa(pair) => {
                let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
                json!({ "kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": part(&n), "e": part(&e) })
            }
            Self::Ec(pair) => {
                let point = pair.public_key().as_ref();
                let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
                json!({ "kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256",
                    "x": part(&point[1..33]), "y": part(&point[33..]) })
            }
        }
    }

    /// The signature of a message.
    pub fn signature(&self, message: &str) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
                signature
            }
            Self::Ec(pair) => pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
        }
    }
}

/// A token of this header and these claims, with what `sign` makes of them.
pub fn compact(header: &Value, claims: &Value, sign: impl FnOnce(&str) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(&message));
    format!("{message}.{signature}")
}

struct State {
    mode: Mode,
    key: Arc<Key>,
    kid: String,
}

/// The issuer; it ends when this is dropped.
pub struct Issuer {
    pub name: &'static str,
    pub url: String,
    state: Arc<Mutex<State>>,
    asked: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Issuer {
    /// An issuer of this name with this key.
    pub async fn start(name: &'static str, key: Key) -> Self {
        Self::serve(name, key, None).await
    }

    /// The same over TLS: [`CA`] vouches for it.
    pub async fn start_with_tls(name: &'static str, key: Key) -> Self {
        Self::serve(name, key, Some(acceptor())).await
    }

    #[expect(clippy::disallowed_methods, reason = "the server ends with the test that holds it")]
    async fn serve(name: &'static str, key: Key, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let state = State { mode: Mode::Good, key: Arc::new(key), kid: "first".to_owned() };
        let (state, asked) = (Arc::new(Mutex::new(state)), Arc::new(AtomicUsize::new(0)));
        let (shared, counter, base) = (Arc::clone(&state), Arc::clone(&asked), url.clone());
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (shared, counter, base) = (Arc::clone(&shared), Arc::clone(&counter), base.clone());
                let tls = tls.clone();
                tokio::spawn(async move {
                    let Some(tls) = tls else { return answer(stream, &shared, &counter, &base).await };
                    // Whoever does not trust it hangs up.
                    if let Ok(stream) = tls.accept(stream).await {
                        answer(stream, &shared, &counter, &base).await;
                    }
                });
            }
        });
        Self { name, url, state, asked, server }
    }

    /// From now on it answers so.
    pub fn be(&self, mode: Mode) {
        self.state.lock().unwrap().mode = mode;
    }

    /// From now on it signs with another key, and publishes only that.
    pub fn rotate(&self, key: Key, kid: &str) {
        let mut state = self.state.lock().unwrap();
        state.key = Arc::new(key);
        kid.clone_into(&mut state.kid);
    }

    /// How many requests it has had.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Its key.
    pub fn key(&self) -> Arc<Key> {
        Arc::clone(&self.state.lock().unwrap().key)
    }

    /// Has a server know it.
    pub fn configure(&self, config: &mut Config) {
        config.auth.issuer.push(IssuerConfig {
            name: self.name.to_owned(),
            url: self.url.clone(),
            audience: Some(AUDIENCE.to_owned()),
            ..IssuerConfig::default()
        });
    }

    /// The header that its tokens have.
    pub fn header(&self) -> Value {
        let state = self.state.lock().unwrap();
        json!({ "alg": state.key.algorithm(), "typ": "JWT", "kid": state.kid })
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        let key = self.key();
        compact(&self.header(), claims, |message| key.signature(message))
    }

    /// The claims of a job of GitLab's (<https://docs.gitlab.com/ci/secrets/id_token_authentication/>), with others in their
    /// place; null takes one away.
    pub fn gitlab(&self, change: &Value) -> Value {
        let now = waybill::clock::now().timestamp();
        let claims = json!({
            "iss": self.url, "aud": AUDIENCE, "sub": "project_path:acme/shop:ref_type:branch:ref:main",
            "exp": now + 3600, "nbf": now - 5, "iat": now, "jti": waybill::clock::new_id().to_string(),
            "namespace_id": "72", "namespace_path": "acme", "project_id": "4711", "project_path": "acme/shop",
            "user_id": "42", "user_login": "ada", "user_email": "ada@example.com", "user_access_level": "maintainer",
            "pipeline_id": "574", "pipeline_source": "push", "job_id": "302", "ref": "main", "ref_type": "branch",
            "ref_path": "refs/heads/main", "ref_protected": "true", "runner_id": 1,
            "runner_environment": "gitlab-hosted", "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
            "project_visibility": "private", "ci_config_ref_uri": "gitlab.example.com/acme/shop//.gitlab-ci.yml@refs/heads/main",
        });
        changed(claims, change)
    }

    /// The claims of a workflow of GitHub's
    /// (<https://docs.github.com/actions/reference/security/oidc>), with others in their place.
    pub fn github(&self, change: &Value) -> Value {
        let now = waybill::clock::now().timestamp();
        let claims = json!({
            "iss": self.url, "aud": AUDIENCE, "sub": "repo:acme/shop:environment:production",
            "exp": now + 300, "nbf": now - 300, "iat": now, "jti": waybill::clock::new_id().to_string(),
            "environment": "production", "ref": "refs/heads/main", "ref_type": "branch", "ref_protected": "true",
            "sha": "1234567890123456789012345678901234567890", "repository": "acme/shop", "repository_id": "74",
            "repository_owner": "acme", "repository_owner_id": "65", "repository_visibility": "private",
            "actor": "ada", "actor_id": "12", "run_id": "1", "run_number": "10", "run_attempt": "2",
            "runner_environment": "github-hosted", "event_name": "push", "workflow": "deploy",
            "job_workflow_ref": "acme/shop/.github/workflows/deploy.yml@refs/heads/main", "enterprise": "acme",
        });
        changed(claims, change)
    }
}

fn changed(mut claims: Value, change: &Value) -> Value {
    for (name, value) in change.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn acceptor() -> TlsAcceptor {
    rustls::crypto::ring::default_provider().install_default().ok();
    let [certificate, key] = TLS;
    let config = ServerConfig::builder().with_no_client_auth();
    let config =
        config.with_single_cert(vec![certificate.into()], PrivatePkcs8KeyDer::from(key).into()).unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// A connection, in the clear or not.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

async fn answer(mut stream: impl Stream, state: &Mutex<State>, asked: &AtomicUsize, base: &str) {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut part = [0; 1024];
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => return,
            Ok(count) => request.extend_from_slice(&part[..count]),
        }
    }
    asked.fetch_add(1, Ordering::Relaxed);
    let path = String::from_utf8_lossy(&request).split(' ').nth(1).unwrap().to_owned();
    let (mode, keys) = {
        let state = state.lock().unwrap();
        (state.mode.clone(), json!({ "keys": [state.key.published(&state.kid)] }))
    };
    let own = json!({ "issuer": base, "jwks_uri": format!("{base}/keys"), "token_endpoint": format!("{base}/token") });
    let json = "application/json";
    let (status, kind, body) = match (mode, path.as_str()) {
        (Mode::Down, _) => return,
        (Mode::Slow, _) => {
            tokio::time::sleep(Duration::from_mins(1)).await;
            return;
        }
        (Mode::Redirecting, path) if !path.starts_with("/moved") => {
            let location = format!("302 Found\r\nlocation: {base}/moved{path}");
            (location, json, String::new())
        }
        (Mode::Page, _) => ("200 OK".to_owned(), "text/html", keys.to_string()),
        (Mode::Foreign, "/.well-known/openid-configuration") => {
            let foreign = json!({ "issuer": "https://evil.example.com", "jwks_uri": format!("{base}/keys") });
            ("200 OK".to_owned(), json, foreign.to_string())
        }
        (Mode::Endless, "/keys") => return endless(stream).await,
        (_, path) if path.ends_with("/.well-known/openid-configuration") => {
            ("200 OK".to_owned(), json, own.to_string())
        }
        (_, path) if path.ends_with("/keys") => ("200 OK".to_owned(), json, keys.to_string()),
        _ => ("404 Not Found".to_owned(), json, "{}".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.ok();
}

/// A gibibyte of keys, as long as anybody reads it.
async fn endless(mut stream: impl Stream) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"keys\":[\"";
    if stream.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..1024 {
        if stream.write_all(&chunk).await.is_err() {
            return;
        }
    }
}
