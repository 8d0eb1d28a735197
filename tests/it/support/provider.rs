//! The OpenID provider of the tests: `tests/people/provider.mjs`, a certified one from npm, as a process of its own.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Lines},
    net::TcpListener,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::LazyLock,
};

use reqwest::{Client, redirect::Policy};
use serde_json::json;

/// The client's secret that `provider.mjs` knows.
pub const CLIENT_SECRET: &str = "the client secret of the tests";

/// Where the packages are that the tests run from npm; they are installed with the first question.
pub static PACKAGES: LazyLock<String> = LazyLock::new(|| {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/people-packages");
    let output = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
    assert!(
        output.status.success(),
        "scripts/people-packages has failed; scripts/test installs what it needs"
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
});

/// What Chromium is called by those who package it.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Where Chromium is.
pub fn chromium() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = NAMES.iter().flat_map(|name| path.split(':').map(move |folder| format!("{folder}/{name}")));
    let mut found = found.filter(|program| Path::new(program).exists());
    found.next().expect("Chromium is missing: scripts/test installs it")
}

/// A running provider; it is killed when this is dropped.
#[derive(Debug)]
pub struct Provider {
    /// Its issuer.
    pub url: String,
    child: Child,
    /// Open as long as it runs: it would end with its first word to nobody.
    _said: Lines<BufReader<ChildStdout>>,
}

impl Provider {
    /// One that leads back to `site`, and whose clock is off by so many seconds.
    pub fn start(site: &str, clock_seconds: i64) -> Self {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let people = json!({
            "ada": { "sub": "42", "name": "Ada Lovelace", "groups": ["staff", "release-managers"] },
            "bob": { "sub": "43", "name": "Bob", "groups": "staff" },
            "eve": { "sub": "44", "name": "Eve" },
        });
        let mut child = Command::new("node")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/people/provider.mjs"))
            .env("MODULES", &*PACKAGES)
            .env("PORT", port.to_string())
            .env("REDIRECT_URI", format!("{site}/login/callback"))
            .env("PEOPLE", people.to_string())
            .env("CLOCK", clock_seconds.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap() == "ready"), "the provider ended before it was ready");
        Self { url: format!("http://127.0.0.1:{port}"), child, _said: said }
    }

    /// Goes through its pages as somebody of this name, from where a server has sent them, and gives where it leads them back.
    pub async fn sign_in(&self, from: &str, name: &str) -> String {
        let client = Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
        let mut cookies = BTreeMap::new();
        let mut at = from.to_owned();
        for _ in 0..10 {
            if !at.starts_with(&self.url) {
                return at;
            }
            let is_question = at.contains("/interaction/");
            let request =
                if is_question { client.post(&at).body(format!("name={name}")) } else { client.get(&at) };
            let sent: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let answer = request.header("cookie", sent.join("; ")).send().await.unwrap();
            for set in answer.headers().get_all("set-cookie") {
                let pair = set.to_str().unwrap().split(';').next().unwrap();
                let (name, value) = pair.split_once('=').unwrap();
                cookies.insert(name.to_owned(), value.to_owned());
            }
            let location = answer.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
            let Some(location) = location else { panic!("{at}: {}", answer.text().await.unwrap()) };
            at = url::Url::parse(&at).unwrap().join(&location).unwrap().into();
        }
        panic!("the provider leads nowhere");
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
