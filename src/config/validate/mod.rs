//! What makes a tree valid beyond the types of its fields. Every fault is found, not just the first.

mod issuer;
mod people;

pub(crate) use issuer::is_local;

use std::{borrow::Cow, net::SocketAddr, time::Duration};

use secrecy::ExposeSecret;
use tracing_subscriber::EnvFilter;
use url::Url;

use super::{Config, database_url::Backend};

/// Keeps sums of a time and a duration far from overflow.
const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);
/// Enough for any single object that the API takes.
const SMALLEST_BODY_LIMIT_BYTES: u64 = 4096;

/// A value of the right type that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unusable {
    /// The key to change.
    pub(super) key: Cow<'static, str>,
    /// What is wrong, and what to write instead.
    pub(super) problem: String,
}

/// Every fault of the tree.
pub(super) fn validate(config: &Config) -> Vec<Unusable> {
    let mut faults = Vec::new();
    let mut fault = |key: &'static str, problem: String| faults.push(Unusable { key: key.into(), problem });

    for (key, duration, zero_allowed) in durations(config) {
        if duration.is_zero() && !zero_allowed {
            fault(key, "must be longer than zero".to_owned());
        }
        if duration > LONGEST {
            fault(key, "must be at most 10 years".to_owned());
        }
    }
    for (key, number) in counts(config) {
        if number == 0 {
            fault(key, "must be at least 1".to_owned());
        }
    }
    if config.server.body_limit_bytes < SMALLEST_BODY_LIMIT_BYTES {
        fault("server.body_limit_bytes", format!("must be at least {SMALLEST_BODY_LIMIT_BYTES} (bytes)"));
    }
    if config.limits.scan_bytes < SMALLEST_BODY_LIMIT_BYTES {
        fault("limits.scan_bytes", format!("must be at least {SMALLEST_BODY_LIMIT_BYTES} (bytes)"));
    }
    if let Some(problem) = config.server.public_url.as_ref().and_then(public_url_problem) {
        fault("server.public_url", problem);
    }
    if let Some(metrics) = config.metrics.listen
        && collide(metrics, config.server.listen)
    {
        let problem = format!("collides with server.listen ({}): give it another port", config.server.listen);
        fault("metrics.listen", problem);
    }
    if config.ledger.lease > config.ledger.max_lease {
        let longest = humantime::format_duration(config.ledger.max_lease);
        fault("ledger.lease", format!("must be at most ledger.max_lease ({longest})"));
    }
    if config.database.password.is_some() {
        if config.database.url.backend() == Backend::Sqlite {
            fault("database.password", "is for PostgreSQL: database.url is a SQLite file".to_owned());
        } else if config.database.url.has_password() {
            fault("database.password", "is set, and database.url has a password too: remove one".to_owned());
        }
    }
    if let Some(problem) =
        config.auth.bootstrap_token.as_ref().and_then(|token| token_problem(token.expose_secret()))
    {
        fault("auth.bootstrap_token", problem);
    }
    if let Err(error) = EnvFilter::try_new(&config.log.filter) {
        fault("log.filter", format!("is not a log filter ({error}): write it like `info,waybill=debug`"));
    }
    faults.extend(issuer::faults(config));
    faults.extend(people::faults(config));
    faults
}

/// Every duration of the tree, and whether it may be zero.
fn durations(config: &Config) -> [(&'static str, Duration, bool); 15] {
    let Config { server, database, ledger, workers, .. } = config;
    [
        ("server.request_timeout", server.request_timeout, false),
        ("server.header_timeout", server.header_timeout, false),
        ("server.write_timeout", server.write_timeout, false),
        ("server.drain_delay", server.drain_delay, true),
        ("server.drain_timeout", server.drain_timeout, true),
        ("database.acquire_timeout", database.acquire_timeout, false),
        ("database.statement_timeout", database.statement_timeout, false),
        ("ledger.lease", ledger.lease, false),
        ("ledger.max_lease", ledger.max_lease, false),
        ("workers.lease_interval", workers.lease_interval, false),
        ("workers.relay_interval", workers.relay_interval, false),
        ("workers.purge_interval", workers.purge_interval, false),
        ("workers.idempotency_retention", workers.idempotency_retention, false),
        ("workers.denial_retention", workers.denial_retention, false),
        ("workers.head_log_interval", workers.head_log_interval, false),
    ]
}

/// Every number that must not be zero.
fn counts(config: &Config) -> [(&'static str, u32); 7] {
    [
        ("server.max_connections", config.server.max_connections),
        ("database.max_connections", config.database.max_connections),
        ("ledger.rollback_depth", config.ledger.rollback_depth),
        ("limits.requests_per_second", config.limits.requests_per_second),
        ("limits.burst", config.limits.burst),
        ("limits.waits", config.limits.waits),
        ("limits.streams", config.limits.streams),
    ]
}

fn public_url_problem(url: &Url) -> Option<String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Some(format!("must begin with http:// or https://, not {}:", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("must not hold a user name or a password: everyone is shown it".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Some("must end with its path: remove what follows `?` or `#`".to_owned());
    }
    None
}

/// Two listeners cannot share a port, unless each has an address of its own or takes a free port.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}

fn token_problem(token: &str) -> Option<String> {
    if !(32..=512).contains(&token.chars().count()) {
        return Some(
            "must have 32 to 512 characters: make one with `openssl rand -base64 33`, for example".to_owned(),
        );
    }
    if !token.chars().all(|character| character.is_ascii_graphic()) {
        return Some("must be ASCII without spaces, because clients send it in a header".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys that are at fault after `change`.
    fn faults(change: impl FnOnce(&mut Config)) -> Vec<Cow<'static, str>> {
        let mut config = Config::default();
        change(&mut config);
        validate(&config).into_iter().map(|fault| fault.key).collect()
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(validate(&Config::default()), []);
    }

    #[test]
    fn every_fault_is_found_at_once() {
        let found = faults(|config| {
            config.server.request_timeout = Duration::ZERO;
            config.server.body_limit_bytes = 10;
            config.limits.scan_bytes = 10;
            config.database.max_connections = 0;
            config.log.filter = "waybill=loudly".to_owned();
        });
        let expected = [
            "server.request_timeout",
            "database.max_connections",
            "server.body_limit_bytes",
            "limits.scan_bytes",
            "log.filter",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_drain_may_take_no_time_at_all() {
        assert!(faults(|config| config.server.drain_timeout = Duration::ZERO).is_empty());
    }

    #[test]
    fn a_duration_has_an_upper_limit() {
        assert_eq!(
            faults(|config| config.workers.denial_retention = Duration::MAX),
            ["workers.denial_retention"]
        );
    }

    #[test]
    fn a_lease_is_no_longer_than_the_longest() {
        assert_eq!(faults(|config| config.ledger.lease = Duration::from_hours(200)), ["ledger.lease"]);
        assert!(faults(|config| config.ledger.lease = config.ledger.max_lease).is_empty());
    }

    #[test]
    fn a_public_url_is_one_to_append_a_path_to() {
        let set = |text: &str| {
            let url = text.parse().unwrap();
            faults(|config| config.server.public_url = Some(url))
        };
        for text in ["http://waybill.test", "https://waybill.test/", "https://ops.test/waybill/"] {
            assert!(set(text).is_empty(), "{text}");
        }
        for text in
            ["ftp://waybill.test", "https://u:p@waybill.test", "https://waybill.test/?a", "https://w.test/#a"]
        {
            assert_eq!(set(text), ["server.public_url"], "{text}");
        }
    }

    #[test]
    fn two_listeners_do_not_share_a_port() {
        let set = |text: &str| {
            let listen = text.parse().unwrap();
            faults(|config| config.metrics.listen = Some(listen))
        };
        assert_eq!(set("127.0.0.1:3000"), ["metrics.listen"]);
        assert_eq!(set("0.0.0.0:3000"), ["metrics.listen"]);
        assert!(set("127.0.0.2:3000").is_empty());
        assert!(set("127.0.0.1:9090").is_empty());
    }

    #[test]
    fn a_password_is_set_once_and_for_postgresql() {
        let set = |url: &str| {
            let url = url.parse().unwrap();
            faults(|config| {
                config.database.url = url;
                config.database.password = Some("secret".to_owned().into());
            })
        };
        assert!(set("postgres://waybill@db/waybill?sslmode=require").is_empty());
        for url in ["sqlite://waybill.db", "postgres://u:p@db/waybill", "postgres://db/waybill?password=p"] {
            assert_eq!(set(url), ["database.password"], "{url}");
        }
    }

    #[test]
    fn a_bootstrap_token_is_long_and_fits_into_a_header() {
        let set = |token: &str| {
            let token = token.to_owned();
            faults(|config| config.auth.bootstrap_token = Some(token.into()))
        };
        assert!(set(&"x".repeat(32)).is_empty());
        assert!(set(&"x".repeat(512)).is_empty());
        for token in ["", &"x".repeat(31), &"x".repeat(513), &"x y".repeat(20), &"é".repeat(40)] {
            assert_eq!(set(token), ["auth.bootstrap_token"], "{token}");
        }
    }
}
