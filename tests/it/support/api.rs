//! The whole API in this process, on a database of its own: everything but the socket.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

use poem::{
    Endpoint, Request, RequestParts, Response,
    endpoint::BoxEndpoint,
    http::{self, HeaderMap, Method, header, uri::Scheme},
    web::{LocalAddr, RemoteAddr},
};
use sea_orm::{ConnectOptions, Database, DatabaseConnection};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use uuid::Uuid;
use waybill::{
    config::Config,
    domain::{
        actor::{Actor, Principal},
        identity::Identity,
        scope::Narrowing,
        vocabulary::Scope,
    },
    http::spec::Spec,
    metrics::Metrics,
    serve,
    shutdown::Shutdown,
    store::db::Db,
    usecase::{
        app::App,
        tokens::{self, NewToken},
    },
    worker,
};

use super::{db::TestDb, secrets};

/// A caller: the API with a token. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    /// What the server runs on.
    pub app: App,
    /// How the server comes to its end.
    pub shutdown: Shutdown,
    endpoint: Arc<BoxEndpoint<'static, Response>>,
    token: Option<String>,
    peer: RemoteAddr,
    url: String,
    _watched: Arc<Watched>,
}

/// Looks at the metrics when nobody asks the server any more.
struct Watched(Arc<Metrics>);

impl Drop for Watched {
    fn drop(&mut self) {
        secrets::look_at("the metrics", self.0.render().unwrap().as_bytes());
        secrets::assert_none();
    }
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Api {
    /// As an admin.
    pub async fn new(db: &TestDb) -> Self {
        Self::with(db, |_| {}).await
    }

    /// As an admin of a server that is set up otherwise.
    pub async fn with(db: &TestDb, set_up: impl FnOnce(&mut Config)) -> Self {
        Self::without_token(db, set_up).await.token(&[Scope::Admin], None, None).await
    }

    /// As somebody without a token, in whose database nobody has made one.
    pub async fn without_token(db: &TestDb, set_up: impl FnOnce(&mut Config)) -> Self {
        secrets::watch_log();
        let mut config = Config::default();
        config.database.url = db.url.parse().unwrap();
        config.limits.requests_per_second = 1_000_000;
        config.limits.burst = 1_000_000;
        set_up(&mut config);
        let connected = Db::connect(&config.database).await.unwrap();
        let app = App::new(config, connected, Metrics::new("0.0.0", "test").unwrap());
        let shutdown = Shutdown::new();
        let shell = serve::shell(&app, &shutdown);
        let endpoint = Arc::new(serve::endpoint(&app, &shell).unwrap());
        let watched = Arc::new(Watched(Arc::clone(&app.metrics)));
        Self {
            app,
            shutdown,
            endpoint,
            token: None,
            peer: RemoteAddr::default(),
            url: db.url.clone(),
            _watched: watched,
        }
    }

    /// The same, with the server's work in the background, as long as the test runs.
    pub fn with_workers(self) -> Self {
        worker::start(&self.app, &self.shutdown);
        self
    }

    /// The secret that this caller sends.
    pub fn secret(&self) -> &str {
        self.token.as_deref().expect("this caller has a token")
    }

    /// As a new token with these scopes, narrowed to these services and environments.
    pub async fn token(
        &self,
        scopes: &[Scope],
        services: Option<&[&str]>,
        environments: Option<&[&str]>,
    ) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let name = format!("token-{}", COUNTER.fetch_add(1, Ordering::Relaxed));
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let principal = Principal {
            token_id: Uuid::nil(),
            identity: Identity::Token,
            actor: Actor { token: name.clone(), subject: format!("subject of {name}") },
            scopes: scopes.iter().copied().collect(),
            groups: BTreeSet::new(),
            narrowing: Narrowing { services: services.map(names), environments: environments.map(names) },
        };
        let new = NewToken { principal, expires_at: None };
        let made = tokens::create_by_server(&self.app.db, &new).await.unwrap();
        self.bearing(made.secret.expose_secret())
    }

    /// As a new token of this subject, with these scopes and groups.
    pub async fn person(&self, subject: &str, scopes: &[Scope], groups: &[&str]) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let name = format!("{subject}-{}", COUNTER.fetch_add(1, Ordering::Relaxed));
        let principal = Principal {
            token_id: Uuid::nil(),
            identity: Identity::Token,
            actor: Actor { token: name, subject: subject.to_owned() },
            scopes: scopes.iter().copied().collect(),
            groups: groups.iter().map(ToString::to_string).collect(),
            narrowing: Narrowing::default(),
        };
        let new = NewToken { principal, expires_at: None };
        let made = tokens::create_by_server(&self.app.db, &new).await.unwrap();
        self.bearing(made.secret.expose_secret())
    }

    /// As whoever holds this secret.
    pub fn bearing(&self, secret: &str) -> Self {
        Self { token: Some(secret.to_owned()), ..self.clone() }
    }

    /// As somebody without a token.
    pub fn anonymous(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    /// As from another machine.
    pub fn at(&self, address: &str) -> Self {
        let address: SocketAddr = address.parse().unwrap();
        Self { peer: RemoteAddr(address.into()), ..self.clone() }
    }

    /// A connection for looking behind the API.
    pub async fn sql(&self) -> DatabaseConnection {
        let mut options = ConnectOptions::new(self.url.as_str());
        options.max_connections(1).sqlx_logging(false);
        Database::connect(options).await.unwrap()
    }

    /// Sends a request as it is; `path` is below `/api/v1`, unless it begins with `//`, which is the root.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Answer {
        let uri = path.strip_prefix('/').filter(|rest| rest.starts_with('/'));
        let uri = uri.map_or_else(|| format!("/api/v1{path}"), ToOwned::to_owned);
        let mut request =
            http::Request::builder().method(&method).uri(&uri).header(header::HOST, "waybill.test");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        // As from a socket: only so does the framework know the path before any routing.
        let parts: RequestParts = (parts, LocalAddr::default(), self.peer.clone(), Scheme::HTTP).into();
        let request = Request::from_parts(parts, body.unwrap_or_default().into());
        let response = self.endpoint.get_response(request).await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        assert_documented(&method, &uri, status);
        let text = response.into_body().into_string().await.unwrap();
        if status >= 400 {
            secrets::look_at("an error", text.as_bytes());
        }
        Answer { status, headers, text }
    }

    /// Sends JSON, with more headers.
    pub async fn send_json(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let mut all = vec![("content-type", "application/json")];
        all.extend(headers);
        self.send(method, path, &all, Some(body.to_string().into_bytes())).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send_json(Method::POST, path, &[], &body).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send_json(Method::PATCH, path, &[], &body).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send_json(Method::PUT, path, &[], &body).await
    }

    /// Posts with an idempotency key.
    pub async fn post_once(&self, key: &str, path: &str, body: Value) -> Answer {
        self.send_json(Method::POST, path, &[("idempotency-key", key)], &body).await
    }

    /// Asks to start a deployment.
    pub async fn start(&self, target: &str, version: &str) -> Answer {
        self.post("/deployments", start_body(target, version)).await
    }

    /// Starts a deployment and gives its id.
    pub async fn started(&self, target: &str, version: &str) -> String {
        id_of(&self.start(target, version).await.ok(201)["deployment"])
    }

    /// Finishes a deployment and gives it.
    pub async fn finished(&self, id: &str, status: &str) -> Value {
        self.post(&format!("/deployments/{id}/finish"), json!({ "status": status })).await.ok(200)
    }

    /// Starts a deployment, lets it succeed and gives it.
    pub async fn deployed(&self, target: &str, version: &str) -> Value {
        let id = self.started(target, version).await;
        self.finished(&id, "succeeded").await
    }

    /// One deployment.
    pub async fn deployment(&self, id: &str) -> Value {
        self.get(&format!("/deployments/{id}")).await.ok(200)
    }

    /// The state of a target, such as `shop/prod`.
    pub async fn target(&self, target: &str) -> Value {
        let (service, environment) = target.split_once('/').unwrap();
        self.get(&format!("/services/{service}/environments/{environment}")).await.ok(200)
    }
}

impl Answer {
    /// The body, of an answer with this status.
    #[track_caller]
    pub fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// The body, of a problem of this kind.
    #[track_caller]
    pub fn problem(&self, status: u16, slug: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text);
        let body = self.json();
        assert!(body["type"].as_str().unwrap().ends_with(&format!("/problems/{slug}")), "{body}");
        assert_eq!(body["status"], status, "{body}");
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"), "{body}");
        body
    }

    /// Fails unless this is a page.
    #[track_caller]
    pub fn ok_page(&self) {
        assert_eq!(self.status, 200, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("text/html; charset=utf-8"));
    }

    /// Fails unless this is a refusal that a client can read, whatever was sent.
    #[track_caller]
    pub fn assert_refused(&self, what: &str) {
        assert!((400..500).contains(&self.status), "{what}: {} {}", self.status, self.text);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{what}: {}", self.text);
        assert!(self.json()["type"].as_str().unwrap().contains("/problems/"), "{what}");
        assert!(!self.text.contains("panicked") && !self.text.contains("sqlx"), "{what}: {}", self.text);
    }

    /// The pointers and codes of a problem with `errors`.
    #[track_caller]
    pub fn faults(&self) -> Vec<(String, String)> {
        let body = self.problem(422, "invalid-input");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let faults = body["errors"].as_array().unwrap().iter();
        faults.map(|fault| (text(&fault["pointer"]), text(&fault["code"]))).collect()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Fails where the document does not say that the operation answers so.
fn assert_documented(method: &Method, uri: &str, status: u16) {
    static DOCUMENT: LazyLock<(Spec, BTreeSet<String>)> = LazyLock::new(|| {
        let text = waybill::api::document();
        let document: Value = serde_json::from_str(&text).unwrap();
        let mut answers = BTreeSet::new();
        for item in document["paths"].as_object().unwrap().values() {
            for operation in item.as_object().unwrap().values() {
                let id = operation["operationId"].as_str().unwrap();
                answers
                    .extend(operation["responses"].as_object().unwrap().keys().map(|s| format!("{id} {s}")));
            }
        }
        (Spec::parse("/api/v1", text.as_bytes()).unwrap(), answers)
    });
    let (spec, answers) = &*DOCUMENT;
    let path = uri.split('?').next().unwrap_or_default();
    if let Some(operation) = spec.find(path).and_then(|entry| entry.operation(method)) {
        let answer = format!("{} {status}", operation.id);
        assert!(answers.contains(&answer), "the document does not have the answer {answer}");
    }
}

/// What starts a version in a target such as `shop/prod`, with its release.
pub fn start_body(target: &str, version: &str) -> Value {
    let (service, environment) = target.split_once('/').unwrap();
    json!({ "service": service, "environment": environment, "version": version, "release": release(version) })
}

/// A release of its own for each version, without an image.
pub fn release(version: &str) -> Value {
    json!({ "commit_sha": commit(version) })
}

/// A commit of its own for each version.
pub fn commit(version: &str) -> String {
    version.bytes().fold("c0ffee0".to_owned(), |sha, byte| format!("{sha}{byte:02x}"))
}

/// An image, told by one hexadecimal digit.
pub fn image(digit: char) -> String {
    format!("registry.example.com/shop@sha256:{}", digit.to_string().repeat(64))
}

/// The `id` of what an answer shows.
#[track_caller]
pub fn id_of(value: &Value) -> String {
    value["id"].as_str().unwrap_or_else(|| panic!("no id: {value}")).to_owned()
}
