//! Clients that send one request after the other, and how long the answers took.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// How many of the seed's deployments are under way at once.
const SEEDERS: usize = 8;

/// One way to one server; cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Arc<str>,
    token: Arc<str>,
}

impl Client {
    pub fn new(url: &str, token: &str) -> anyhow::Result<Self> {
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
        Ok(Self { http, base: url.trim_end_matches('/').into(), token: token.into() })
    }

    /// The same server, with another token.
    pub fn bearing(&self, token: &str) -> Self {
        Self { token: token.into(), ..self.clone() }
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(Method::PUT, path, Some(body)).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let answer = self.request(method, &format!("/api/v1{path}"), body).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{path}: {status} {text}");
        Ok(serde_json::from_str(&text)?)
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        body.into_iter().fold(request, RequestBuilder::json)
    }

    /// Asks, and looks at nothing of what the answer says.
    pub async fn read(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<()> {
        let answer = self.request(method, path, body).send().await?;
        ensure!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.bytes().await?;
        Ok(())
    }

    /// Starts and finishes a deployment of a new release.
    pub async fn deploy(&self, service: &str, environment: &str, version: usize) -> anyhow::Result<()> {
        let started = self
            .post(
                "/deployments",
                &json!({
                    "service": service,
                    "environment": environment,
                    "version": format!("1.0.{version}"),
                    "release": {"commit_sha": format!("{version:040x}")},
                }),
            )
            .await?;
        let id = started.pointer("/deployment/id").and_then(Value::as_str).context("an id")?;
        self.post(&format!("/deployments/{id}/finish"), &json!({"status": "succeeded"})).await?;
        Ok(())
    }
}

/// Deploys a release of every service to every environment.
pub async fn seed(client: Client, services: usize, environments: usize) -> anyhow::Result<()> {
    // The names are registered one by one first, so that the seeders do not wait for each other.
    for environment in 1..=environments {
        let body = json!({"name": format!("environment-{environment}"), "rank": environment});
        client.post("/environments", &body).await?;
    }
    let seeders = (0..SEEDERS).map(|seeder| {
        let client = client.clone();
        async move {
            for service in (1..=services).skip(seeder).step_by(SEEDERS) {
                for environment in 1..=environments {
                    client
                        .deploy(&format!("service-{service}"), &format!("environment-{environment}"), 0)
                        .await?;
                }
            }
            anyhow::Ok(())
        }
    });
    try_join_all(seeders).await.map(drop)
}

/// Reads a path.
pub async fn read(client: Client, path: &str, clients: usize, time: Duration) -> anyhow::Result<()> {
    run(clients, time, async |_| client.read(Method::GET, path, None).await).await
}

/// Starts and finishes deployments. A service belongs to one client only, as it does to one team, so that none is
/// refused.
pub async fn write(
    client: Client,
    services: usize,
    environments: usize,
    clients: usize,
    time: Duration,
) -> anyhow::Result<()> {
    let versions = AtomicUsize::new(1);
    let versions = &versions;
    run(clients, time, async |own: usize| {
        let version = versions.fetch_add(1, Ordering::Relaxed);
        let service = own + version % (services / clients) * clients + 1;
        let environment = version % environments + 1;
        client.deploy(&format!("service-{service}"), &format!("environment-{environment}"), version).await
    })
    .await
}

/// Lets every client work until the time is over, and prints what came of it as JSON.
pub async fn run(
    clients: usize,
    time: Duration,
    work: impl AsyncFn(usize) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let begin = Instant::now();
    let work = &work;
    let each = (0..clients).map(|own| async move {
        let mut took = Vec::new();
        while begin.elapsed() < time {
            let start = Instant::now();
            work(own).await?;
            took.push(start.elapsed());
        }
        anyhow::Ok(took)
    });
    let took: Vec<Duration> = try_join_all(each).await?.into_iter().flatten().collect();
    print(took, begin.elapsed())
}

/// Prints throughput and latencies as one line of JSON.
pub fn print(mut took: Vec<Duration>, time: Duration) -> anyhow::Result<()> {
    took.sort_unstable();
    let at = |per_mille: usize| {
        let place = (took.len() * per_mille / 1000).min(took.len().saturating_sub(1));
        took.get(place).map_or(0.0, |took| took.as_secs_f64() * 1000.0)
    };
    let count = u32::try_from(took.len())?;
    let line = json!({
        "per_second": (f64::from(count) / time.as_secs_f64()).round(),
        "p50_ms": (at(500) * 100.0).round() / 100.0,
        "p99_ms": (at(990) * 100.0).round() / 100.0,
    });
    writeln!(anstream::stdout(), "{line}")?;
    Ok(())
}
