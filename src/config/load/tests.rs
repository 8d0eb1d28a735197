use std::{
    fs,
    path::{Path, PathBuf},
};

use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::*;
use crate::config::{LogFormat, fault::Fault, sources::Flag};

const TOKEN: &str = "0123456789012345678901234567890123456789";

/// Sources that depend on nothing outside the test.
fn sources(env: &[(&str, &str)]) -> Sources {
    Sources {
        file: None,
        default_file: PathBuf::from("/nonexistent/waybill.toml"),
        env: env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        flags: Vec::new(),
    }
}

fn write(directory: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

fn with_file(text: &str, env: &[(&str, &str)]) -> (TempDir, Sources) {
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "waybill.toml", text);
    (directory, Sources { file: Some(file), ..sources(env) })
}

fn faults(sources: &Sources) -> Vec<Fault> {
    load(sources).expect_err("this configuration has faults").0
}

fn keys(faults: &[Fault]) -> Vec<&str> {
    faults.iter().filter_map(|fault| fault.key.as_deref()).collect()
}

fn entry(loaded: &Loaded, key: &str) -> Entry {
    describe(loaded).into_iter().find(|entry| entry.key == key).unwrap()
}

#[test]
fn nothing_at_all_gives_the_defaults() {
    let loaded = load(&sources(&[])).unwrap();
    assert_eq!(loaded.config.server.listen.to_string(), "127.0.0.1:3000");
    assert_eq!(loaded.config.database.url.expose(), "sqlite://waybill.db");
    assert!(loaded.config.auth.bootstrap_token.is_none());
    assert!(describe(&loaded).iter().all(|entry| entry.origin == Origin::Default));
}

#[test]
fn each_layer_wins_over_the_one_below() {
    let file =
        "[log]\nfilter = 'file'\n[database]\nurl = 'sqlite://file.db'\n[server]\nlisten = '127.0.0.1:1'\n";
    let (_directory, mut sources) = with_file(file, &[]);
    assert_eq!(load(&sources).unwrap().config.log.filter, "file");

    sources.env =
        vec![("RUST_LOG".into(), "shared".into()), ("DATABASE_URL".into(), "postgres://db/a".into())];
    let config = load(&sources).unwrap().config;
    assert_eq!((config.log.filter.as_str(), config.database.url.expose()), ("shared", "postgres://db/a"));

    sources.env.insert(0, ("WAYBILL__LOG__FILTER".into(), "own".into()));
    sources.env.insert(0, ("WAYBILL__SERVER__LISTEN".into(), "127.0.0.1:2".into()));
    let config = load(&sources).unwrap().config;
    assert_eq!((config.log.filter.as_str(), config.server.listen.port()), ("own", 2));

    let flag = Flag { name: "--listen", key: "server.listen", value: "127.0.0.1:3".into() };
    sources.flags = vec![flag];
    let loaded = load(&sources).unwrap();
    assert_eq!(loaded.config.server.listen.port(), 3);
    assert_eq!(entry(&loaded, "server.listen").origin.to_string(), "--listen");
    assert_eq!(entry(&loaded, "log.filter").origin.to_string(), "WAYBILL__LOG__FILTER");
    assert_eq!(entry(&loaded, "database.url").origin.to_string(), "DATABASE_URL");
}

#[test]
fn every_type_of_value_can_come_from_the_environment() {
    let config = load(&sources(&[
        ("WAYBILL__SERVER__PUBLIC_URL", "https://waybill.test/ledger/"),
        ("WAYBILL__SERVER__BODY_LIMIT_BYTES", "65536"),
        ("WAYBILL__METRICS__LISTEN", "127.0.0.1:9090"),
        ("WAYBILL__AUTH__BOOTSTRAP_TOKEN", TOKEN),
        ("WAYBILL__LEDGER__AUTO_REGISTER", "false"),
        ("WAYBILL__LEDGER__LEASE", "90m"),
        ("WAYBILL__LOG__FORMAT", "json"),
    ]))
    .unwrap()
    .config;
    assert_eq!(config.server.base_url(), "https://waybill.test/ledger");
    assert_eq!(config.server.body_limit_bytes, 65536);
    assert_eq!(config.metrics.listen.unwrap().port(), 9090);
    assert_eq!(config.auth.bootstrap_token.unwrap().expose_secret(), TOKEN);
    assert!(!config.ledger.auto_register);
    assert_eq!(config.ledger.lease.as_secs(), 5400);
    assert_eq!(config.log.format, LogFormat::Json);
}

#[test]
fn a_variable_may_name_a_file_that_holds_the_value() {
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "token", &format!("{TOKEN}\n"));
    let path = file.to_str().unwrap();
    let loaded = load(&sources(&[("WAYBILL__AUTH__BOOTSTRAP_TOKEN_FILE", path)])).unwrap();
    assert_eq!(loaded.config.auth.bootstrap_token.as_ref().unwrap().expose_secret(), TOKEN);
    let entry = entry(&loaded, "auth.bootstrap_token");
    assert_eq!(entry.value.as_deref(), Some("********"));
    assert_eq!(entry.origin.to_string(), "WAYBILL__AUTH__BOOTSTRAP_TOKEN_FILE");

    let missing = faults(&sources(&[("WAYBILL__DATABASE__URL_FILE", "/nonexistent/url")]));
    assert!(missing[0].to_string().contains("/nonexistent/url cannot be read"), "{missing:?}");
    let both = [("WAYBILL__AUTH__BOOTSTRAP_TOKEN_FILE", path), ("WAYBILL__AUTH__BOOTSTRAP_TOKEN", TOKEN)];
    let both = faults(&sources(&both));
    assert_eq!(keys(&both), ["auth.bootstrap_token"]);
    assert!(both[0].problem.contains("unset one"), "{both:?}");
}

#[test]
fn the_variables_of_the_client_and_of_others_are_no_keys() {
    let env = [
        ("WAYBILL_URL", "http://127.0.0.1:3000"),
        ("WAYBILL_TOKEN", "wb_a_b"),
        ("WAYBILL_CONFIG", ""),
        ("WAYBILL_PORT", "tcp://10.0.0.1:3000"),
        ("RUST_LOG", ""),
        ("DATABASE_URL", ""),
        ("PATH", "/bin"),
    ];
    let loaded = load(&sources(&env)).unwrap();
    assert!(describe(&loaded).iter().all(|entry| entry.origin == Origin::Default));
}

#[test]
fn only_a_file_that_was_asked_for_must_exist() {
    let missing = Path::new("/nonexistent/other.toml");
    let by_flag = faults(&Sources { file: Some(missing.into()), ..sources(&[]) });
    let by_variable = faults(&sources(&[("WAYBILL_CONFIG", missing.to_str().unwrap())]));
    assert_eq!(by_flag, by_variable);
    assert!(by_flag[0].to_string().starts_with("/nonexistent/other.toml: cannot be read"), "{by_flag:?}");
}

#[test]
fn the_default_file_is_read_where_it_exists() {
    let directory = TempDir::new().unwrap();
    let default_file = write(&directory, "waybill.toml", "[limits]\nburst = 7\n");
    let loaded = load(&Sources { default_file: default_file.clone(), ..sources(&[]) }).unwrap();
    assert_eq!(loaded.config.limits.burst, 7);
    assert_eq!(entry(&loaded, "limits.burst").origin, Origin::File(default_file));
}

#[test]
fn a_file_that_is_no_toml_is_named_with_its_line_but_not_quoted() {
    let (_directory, sources) = with_file(
        "[auth]\nbootstrap_token = 'secret-without-end\n",
        &[("WAYBILL__SERVER__LISTEN", "nowhere")],
    );
    let found = faults(&sources);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].to_string().contains("waybill.toml: line 2 is not TOML"), "{found:?}");
    assert!(!found[0].to_string().contains("secret-without-end"), "{found:?}");
    assert_eq!(keys(&found), ["server.listen"]);
}

#[test]
fn every_fault_of_every_layer_is_reported_with_its_origin() {
    let file = "server = { listen = 'nowhere', port = 1 }\nlog = 3\n[servers]\nlisten = 'a'\n[ledger]\nlease = 5\n\
                [database]\nmax_connections = -1\n[limits.burst]\n";
    let env = [
        ("WAYBILL__WORKERS__PURGE_INTERVAL", "soon"),
        ("WAYBILL__LEDGER__AUTO_REGISTER", "perhaps"),
        ("WAYBILL__LEDGER__LEASES", "1h"),
        ("WAYBILL__LISTEN", "127.0.0.1:1"),
        ("WAYBILL__LEDGER__ROLLBACK_DEPTH", "0"),
        ("WAYBILL__DATABASE__URL", "mysql://u:hunter2@db/x"),
    ];
    let (_directory, mut sources) = with_file(file, &env);
    sources.flags = vec![Flag { name: "--format", key: "log.format", value: "xml".into() }];
    let found = faults(&sources);
    let mut found_keys = keys(&found);
    found_keys.sort_unstable();
    let expected = [
        "database.max_connections",
        "database.url",
        "ledger.auto_register",
        "ledger.lease",
        "ledger.leases",
        "ledger.rollback_depth",
        "limits.burst",
        "listen",
        "log",
        "log.format",
        "server.listen",
        "server.port",
        "servers",
        "workers.purge_interval",
    ];
    assert_eq!(found_keys, expected);
    let shown = Faults(found).to_string();
    assert!(!shown.contains("hunter2"), "{shown}");
    for line in [
        "server.port (/",
        "is no key; the keys of [server] are body_limit_bytes, drain_delay",
        "listen (WAYBILL__LISTEN): is no key; the sections are auth, database, ledger",
        "workers.purge_interval (WAYBILL__WORKERS__PURGE_INTERVAL): `soon` is not a duration",
        "write it like `1h`",
        "log.format (--format): unknown variant: found `xml`, expected `one of `auto`, `pretty`, `json``",
        "ledger.rollback_depth (WAYBILL__LEDGER__ROLLBACK_DEPTH): must be at least 1",
        "database.url (WAYBILL__DATABASE__URL): its scheme is neither sqlite nor postgres: write it like",
    ] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
}

#[test]
fn a_secret_of_the_wrong_type_is_not_repeated() {
    let (_directory, sources) =
        with_file("[auth]\nbootstrap_token = 5551234\n[database]\nurl = 5551234\n", &[]);
    let shown = Faults(faults(&sources)).to_string();
    assert!(!shown.contains("5551234"), "{shown}");
    assert!(shown.contains("auth.bootstrap_token") && shown.contains("must be a text in quotes"), "{shown}");
}

#[test]
fn every_key_is_described_with_its_secrets_masked() {
    let env = [("DATABASE_URL", "postgres://u:hunter2@db/w"), ("WAYBILL__AUTH__BOOTSTRAP_TOKEN", TOKEN)];
    let loaded = load(&sources(&env)).unwrap();
    let entries = describe(&loaded);
    assert_eq!(entry(&loaded, "database.url").value.as_deref(), Some("postgres://u:********@db/w"));
    assert_eq!(entry(&loaded, "ledger.max_lease").value.as_deref(), Some("7days"));
    assert_eq!(entry(&loaded, "server.public_url").value, None);
    let shown = format!("{entries:?}{loaded:?}");
    assert!(!shown.contains("hunter2") && !shown.contains(TOKEN), "{shown}");
}

#[test]
fn a_flag_may_name_a_file_where_the_password_of_a_database_is_set() {
    let mut sources = sources(&[("WAYBILL__DATABASE__PASSWORD", "hunter2")]);
    assert_eq!(keys(&faults(&sources)), ["database.password"]);
    let value = "sqlite://w.db".to_owned();
    sources.flags = vec![Flag { name: "--database-url", key: "database.url", value }];
    let loaded = load(&sources).unwrap();
    assert_eq!(loaded.config.database.connection_url(), "sqlite://w.db");
    assert_eq!(entry(&loaded, "database.password").origin.to_string(), "WAYBILL__DATABASE__PASSWORD");
}

#[cfg(unix)]
#[test]
fn a_value_that_is_not_utf_8_is_a_fault() {
    use std::os::unix::ffi::OsStringExt;

    let mut sources = sources(&[]);
    sources.env = vec![("WAYBILL__LOG__FILTER".into(), std::ffi::OsString::from_vec(vec![0xff]))];
    assert_eq!(keys(&faults(&sources)), ["log.filter"]);
}

const ISSUERS: &str = "[server]\npublic_url = 'https://waybill.test'\n\
    [[auth.issuer]]\nname = 'gitlab'\nurl = 'https://gitlab.test'\n\
    [[auth.issuer]]\nname = 'forge'\nurl = 'https://forge.test'\nimmutable_claims = ['repo', '/a/b']\n";

#[test]
fn sections_of_a_list_come_from_a_file_and_from_variables() {
    let env = [
        ("WAYBILL__AUTH__ISSUER__1__URL", "https://forge.example.com"),
        ("WAYBILL__AUTH__ISSUER__2__NAME", "ci"),
        ("WAYBILL__AUTH__ISSUER__2__URL", "https://ci.test"),
        ("WAYBILL__AUTH__ISSUER__2__KIND", "jenkins"),
        ("WAYBILL__AUTH__ISSUER__2__IMMUTABLE_CLAIMS", "sub, build"),
    ];
    let (_directory, sources) = with_file(ISSUERS, &env);
    let loaded = load(&sources).unwrap();
    let issuers = &loaded.config.auth.issuer;
    let names: Vec<_> = issuers.iter().map(|issuer| (issuer.name.as_str(), issuer.url.as_str())).collect();
    let expected = [
        ("gitlab", "https://gitlab.test"),
        ("forge", "https://forge.example.com"),
        ("ci", "https://ci.test"),
    ];
    assert_eq!(names, expected);
    assert_eq!(issuers[0].immutable_claims(), ["project_id", "namespace_id"]);
    assert_eq!(issuers[0].person_claim(), Some("user_id"));
    assert_eq!(issuers[1].immutable_claims(), ["repo", "/a/b"]);
    assert_eq!(issuers[2].immutable_claims(), ["sub", "build"]);
    let url = entry(&loaded, "auth.issuer.1.url");
    assert_eq!(url.origin.to_string(), "WAYBILL__AUTH__ISSUER__1__URL");
    assert_eq!(entry(&loaded, "auth.issuer.1.immutable_claims").value.as_deref(), Some("repo, /a/b"));
    assert!(describe(&loaded).iter().all(|entry| !entry.key.contains('*')));
}

#[test]
fn every_fault_of_a_list_is_reported_with_its_origin() {
    let file = "[[auth.issuer]]\nname = 'gitlab'\nurl = 5\nurls = 'x'\n[auth.issuers]\na = 1\n";
    let env = [
        ("WAYBILL__AUTH__ISSUER__0__KIND", "svn"),
        ("WAYBILL__AUTH__ISSUER__2__NAME", "late"),
        ("WAYBILL__AUTH__ISSUER__FIRST__NAME", "x"),
        ("WAYBILL__AUTH__ISSUER__01__NAME", "x"),
    ];
    let (_directory, sources) = with_file(file, &env);
    let found = faults(&sources);
    let mut found_keys = keys(&found);
    found_keys.sort_unstable();
    let expected = [
        "auth.issuer.0.audience",
        "auth.issuer.0.kind",
        "auth.issuer.0.url",
        "auth.issuer.0.urls",
        "auth.issuer.01.name",
        "auth.issuer.2",
        "auth.issuer.first.name",
        "auth.issuers",
    ];
    assert_eq!(found_keys, expected, "{found:?}");
    let shown = Faults(found).to_string();
    assert!(shown.contains("the keys of [auth.issuer.0] are audience, ca_file"), "{shown}");
    assert!(shown.contains("there is no auth.issuer.1"), "{shown}");
    let (_directory, sources) = with_file("[auth.issuer]\nname = 'gitlab'\n", &[]);
    assert!(faults(&sources)[0].problem.contains("[[auth.issuer]]"));
}
