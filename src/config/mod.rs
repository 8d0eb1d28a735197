//! The configuration: one typed tree with its defaults.
//!
//! [`load::load`] builds it from its layers and reports everything that is wrong with them. Nothing outside this
//! module reads the environment, and the parts of the program are given their section only.

#![warn(missing_docs)]

pub mod commit;
pub mod database_url;
mod duration;
pub mod fault;
pub mod issuer;
mod layer;
mod list;
pub mod load;
pub mod local;
pub mod people;
pub mod signed_in;
pub mod sources;
mod validate;

pub(crate) use validate::is_local;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use secrecy::SecretString;
use serde::{Deserialize, Serialize, Serializer};
use url::Url;

use self::{
    database_url::{Backend, DatabaseUrl, MASK},
    issuer::IssuerConfig,
    people::{OidcConfig, RoleConfig},
};

/// The whole configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The HTTP server.
    pub server: ServerConfig,
    /// Where the Prometheus metrics are served.
    pub metrics: MetricsConfig,
    /// The database and the pool of connections to it.
    pub database: DatabaseConfig,
    /// Who may use a fresh installation, and whose word is taken for who somebody is.
    pub auth: AuthConfig,
    /// The rules of the ledger that are not an environment's policy.
    pub ledger: LedgerConfig,
    /// What may be asked for.
    pub limits: LimitsConfig,
    /// How often the background work runs, and how long it keeps things.
    pub workers: WorkersConfig,
    /// What is logged, and how it looks.
    pub log: LogConfig,
}

/// `[server]`: the HTTP server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// The address and port to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The URL under which people and pipelines reach the server; without it, `http://` and the listen address.
    pub public_url: Option<Url>,
    /// How long one request may take before it is answered with 503.
    #[serde(with = "duration")]
    pub request_timeout: Duration,
    /// How long a client may take to send the head of a request, which is also how long a connection may idle: longer than
    /// a proxy in front keeps its idle connections, so that it is the proxy that closes them.
    #[serde(with = "duration")]
    pub header_timeout: Duration,
    /// How long a client may leave an answer unread before its connection ends.
    #[serde(with = "duration")]
    pub write_timeout: Duration,
    /// The largest request body, in bytes.
    pub body_limit_bytes: u64,
    /// How many connections are served at once; more wait in the listen queue.
    pub max_connections: u32,
    /// How long the server reports that it is not ready before it stops to accept connections.
    #[serde(with = "duration")]
    pub drain_delay: Duration,
    /// How long open requests may take to finish once the server no longer accepts connections.
    #[serde(with = "duration")]
    pub drain_timeout: Duration,
}

/// `[metrics]`: where the Prometheus metrics are served.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// An address and port of its own for `/metrics`; without it, the server's.
    pub listen: Option<SocketAddr>,
    /// Whether the metrics also tell which version went where last, when, and by whom. They need no token, so this is
    /// for a port that only the monitoring reaches.
    pub deployments: bool,
}

/// `[database]`: the database and the pool of connections to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseConfig {
    /// Where the database is: `sqlite://path` or `postgres://user:password@host/name`.
    pub url: DatabaseUrl,
    /// The password for a PostgreSQL URL that has none, so that only the password need be secret.
    #[serde(serialize_with = "mask_secret")]
    pub password: Option<SecretString>,
    /// How many connections one process holds at most.
    pub max_connections: u32,
    /// How long a request waits for a free connection.
    #[serde(with = "duration")]
    pub acquire_timeout: Duration,
    /// How long one statement may run.
    #[serde(with = "duration")]
    pub statement_timeout: Duration,
}

/// `[auth]`: who may use a fresh installation, and whose word is taken for who somebody is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// Becomes the admin token when no token exists yet; 32 to 512 characters.
    #[serde(serialize_with = "mask_secret")]
    pub bootstrap_token: Option<SecretString>,
    /// Those whose ID tokens are taken.
    #[serde(with = "list")]
    pub issuer: Vec<IssuerConfig>,
    /// Where people sign in.
    pub oidc: OidcConfig,
    /// What the groups may do that people come with.
    #[serde(with = "list")]
    pub role: Vec<RoleConfig>,
}

/// `[ledger]`: the rules of the ledger that are not an environment's policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerConfig {
    /// Whether a start registers the service, the environment and the release that it names.
    pub auto_register: bool,
    /// How long a running deployment may stay silent when its start asks for nothing else.
    #[serde(with = "duration")]
    pub lease: Duration,
    /// The longest lease a start may ask for.
    #[serde(with = "duration")]
    pub max_lease: Duration,
    /// How many of the last good releases of a target a verified rollback may return to.
    pub rollback_depth: u32,
}

/// `[limits]`: what may be asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// How many requests per second a token may make in the long run.
    pub requests_per_second: u32,
    /// How many requests a token may make at once.
    pub burst: u32,
    /// How many labels one object may have.
    pub labels: u32,
    /// How many requests may wait for the gate at once, on one server and whoever sent them.
    pub waits: u32,
    /// How many connections may follow the audit log at once, on one server and whoever opened them.
    pub streams: u32,
    /// The largest report of a scanner, in bytes.
    pub scan_bytes: u64,
}

/// `[workers]`: how often the background work runs, and how long it keeps things.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkersConfig {
    /// How often overdue leases are looked for.
    #[serde(with = "duration")]
    pub lease_interval: Duration,
    /// How often the relay looks for unsealed events when no commit has nudged it.
    #[serde(with = "duration")]
    pub relay_interval: Duration,
    /// How often what is too old is deleted.
    #[serde(with = "duration")]
    pub purge_interval: Duration,
    /// How long an idempotency key is remembered.
    #[serde(with = "duration")]
    pub idempotency_retention: Duration,
    /// How long a denied decision is kept.
    #[serde(with = "duration")]
    pub denial_retention: Duration,
    /// How often the head of the audit chain is logged.
    #[serde(with = "duration")]
    pub head_log_interval: Duration,
}

/// `[log]`: what is logged, and how it looks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// The filter directives of `tracing`, such as `info,waybill=debug`.
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `Pretty` on a terminal, `Json` otherwise.
    #[default]
    Auto,
    /// For people.
    Pretty,
    /// One JSON object per line, for machines.
    Json,
}

impl ServerConfig {
    /// What links and problem types begin with; never ends with a slash.
    pub fn base_url(&self) -> String {
        match &self.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("http://{}", self.listen),
        }
    }

    /// Where programs on this machine reach the server.
    pub fn local_address(&self) -> SocketAddr {
        let ip = match self.listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            IpAddr::V4(_) | IpAddr::V6(_) => self.listen.ip(),
        };
        SocketAddr::new(ip, self.listen.port())
    }
}

impl DatabaseConfig {
    /// The URL to connect with: it holds the password, wherever that was set.
    pub fn connection_url(&self) -> String {
        match &self.password {
            Some(password) if self.url.backend() == Backend::Postgres => self.url.with_password(password),
            Some(_) | None => self.url.expose().to_owned(),
        }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            public_url: None,
            request_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            body_limit_bytes: 1024 * 1024,
            max_connections: 1024,
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(20),
        }
    }
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            url: DatabaseUrl::default(),
            password: None,
            max_connections: 10,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
        }
    }
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self {
            auto_register: true,
            lease: Duration::from_hours(1),
            max_lease: Duration::from_hours(7 * 24),
            rollback_depth: 5,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            requests_per_second: 50,
            burst: 200,
            labels: 32,
            scan_bytes: 16 * 1024 * 1024,
            waits: 256,
            streams: 512,
        }
    }
}

impl Default for WorkersConfig {
    fn default() -> Self {
        Self {
            lease_interval: Duration::from_secs(5),
            relay_interval: Duration::from_secs(1),
            purge_interval: Duration::from_hours(1),
            idempotency_retention: Duration::from_hours(24),
            denial_retention: Duration::from_hours(30 * 24),
            head_log_interval: Duration::from_hours(1),
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        // The migrations are told of by us, in one line; PostgreSQL's notices are about its own housekeeping.
        let filter = "info,sea_orm_migration=warn,sqlx::postgres::notice=warn".to_owned();
        Self { filter, format: LogFormat::Auto }
    }
}

#[expect(clippy::ref_option, reason = "the signature that serde's serialize_with asks for")]
fn mask_secret<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(|_| MASK).serialize(serializer)
}
