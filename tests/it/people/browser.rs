//! Signing in with a real Chromium at a real OpenID provider, over TLS, with the real binary: `tests/people/browser.mjs`.

use std::{net::TcpListener, process::Command};

use tempfile::TempDir;

use crate::support::{
    db::TestDb,
    process::ServerProcess,
    provider::{CLIENT_SECRET, PACKAGES, Provider, chromium},
};

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// A certificate for every host of the test, which nobody else trusts.
fn certificate(folder: &TempDir) -> (String, String) {
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (cert, key) = (at("cert.pem"), at("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args([
            "-subj",
            "/CN=waybill.test",
            "-addext",
            "subjectAltName=DNS:waybill.test,DNS:*.waybill.test,DNS:evil.test",
        ])
        .args(["-keyout", &key, "-out", &cert])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (cert, key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_signs_in_with_a_real_browser_and_nobody_elses_page_uses_that() {
    let (db, folder) = (TestDb::sqlite().await, TempDir::new().unwrap());
    let port = free_port();
    let site = format!("https://waybill.test:{port}");
    let provider = Provider::start(&site, 0);
    let server = ServerProcess::start_with(
        &db,
        &[
            ("WAYBILL__LOG__FILTER", "debug"),
            ("WAYBILL__SERVER__PUBLIC_URL", &site),
            ("WAYBILL__AUTH__ISSUER__0__NAME", "idp"),
            ("WAYBILL__AUTH__ISSUER__0__URL", &provider.url),
            ("WAYBILL__AUTH__OIDC__ISSUER", "idp"),
            ("WAYBILL__AUTH__OIDC__CLIENT_ID", "waybill"),
            ("WAYBILL__AUTH__OIDC__CLIENT_SECRET", CLIENT_SECRET),
            ("WAYBILL__AUTH__OIDC__SCOPES", "openid, profile, groups"),
            ("WAYBILL__AUTH__ROLE__0__GROUP", "staff"),
            ("WAYBILL__AUTH__ROLE__0__SCOPES", "read"),
            ("WAYBILL__AUTH__ROLE__1__GROUP", "release-managers"),
            ("WAYBILL__AUTH__ROLE__1__SCOPES", "read, approve"),
        ],
    )
    .await;
    let (cert, key) = certificate(&folder);
    let mut script = Command::new("node");
    script
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/people/browser.mjs"))
        .envs([("MODULES", PACKAGES.as_str()), ("CHROMIUM", &chromium()), ("SERVER", &server.url)])
        .envs([("CERT", &cert), ("KEY", &key)])
        .envs([("PORT", port.to_string()), ("EVIL_PORT", free_port().to_string())])
        .env("HOME", folder.path());
    let output = tokio::task::spawn_blocking(move || script.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.trim(), "ok");
    nothing_secret_is_told(&server).await;
}

/// Whatever the server says of all that, at its most talkative, holds no session, no code and no secret of the client's.
async fn nothing_secret_is_told(server: &ServerProcess) {
    let client = server.client();
    let read = async |path: &str| client.get(server.at(path)).send().await.unwrap().text().await.unwrap();
    let (events, metrics, log) =
        (read("/api/v1/events?limit=200").await, read("/metrics").await, server.stderr());
    assert!(
        events.contains("session.created")
            && metrics.contains("page_login_callback")
            && log.contains("/login/callback")
    );
    let secret =
        regex::Regex::new("wb_[0-9a-f]{32}_|[?&]code=|[?&]state=|code_verifier|waybill(-flow)?=").unwrap();
    for told in [events, metrics, log] {
        let found = secret.find(&told).map(|found| &told[found.start()..(found.end() + 40).min(told.len())]);
        assert_eq!(found, None);
        assert!(!told.contains(CLIENT_SECRET) && !told.contains(&server.token));
    }
}
