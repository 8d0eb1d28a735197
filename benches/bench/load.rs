//! Clients that send one request after the other, and how long the answers took.

use std::{
    fmt,
    io::Write as _,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::process::ServerProcess;

/// How many of the seed's deployments are under way at once.
const SEEDERS: usize = 8;
/// How many send requests while something is measured.
pub const CLIENTS: usize = 16;
/// The seed makes a target of each service in each environment.
pub const SERVICES: usize = 200;
pub const ENVIRONMENTS: usize = 5;

/// One way to one server.
pub struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    /// With the admin's token.
    pub fn of(server: &ServerProcess) -> Self {
        Self { http: server.client(), base: server.url.clone() }
    }

    /// The same server, with another token.
    pub fn bearing(&self, token: &str) -> Self {
        Self { http: ServerProcess::client_of(token), base: self.base.clone() }
    }

    /// Another server, with the same token.
    pub fn at(&self, url: &str) -> Self {
        Self { http: self.http.clone(), base: url.to_owned() }
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
        let request = self.http.request(method, format!("{}{path}", self.base));
        body.into_iter().fold(request, RequestBuilder::json)
    }

    /// Asks, and looks at nothing of what the answer says.
    pub async fn read(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Bytes> {
        let answer = self.request(method, path, body).send().await?;
        ensure!(answer.status().is_success(), "{path}: {}", answer.status());
        Ok(answer.bytes().await?)
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
pub async fn seed(client: &Client) -> anyhow::Result<()> {
    // The names are registered one by one first, so that the seeders do not wait for each other.
    for environment in 1..=ENVIRONMENTS {
        let body = json!({"name": format!("environment-{environment}"), "rank": environment});
        client.post("/environments", &body).await?;
    }
    let seeders = (0..SEEDERS).map(|seeder| async move {
        for service in (1..=SERVICES).skip(seeder).step_by(SEEDERS) {
            for environment in 1..=ENVIRONMENTS {
                client
                    .deploy(&format!("service-{service}"), &format!("environment-{environment}"), 0)
                    .await?;
            }
        }
        anyhow::Ok(())
    });
    try_join_all(seeders).await.map(drop)
}

/// Reads a path.
pub async fn read(client: &Client, path: &str, time: Duration) -> anyhow::Result<Figures> {
    run(time, async |_| client.read(Method::GET, path, None).await.map(drop)).await
}

/// Starts and finishes deployments. A service belongs to one client only, as it does to one team, so that none is
/// refused.
pub async fn write(client: &Client, time: Duration) -> anyhow::Result<Figures> {
    let versions = AtomicUsize::new(1);
    let versions = &versions;
    run(time, async |own: usize| {
        let version = versions.fetch_add(1, Ordering::Relaxed);
        let service = own + version % (SERVICES / CLIENTS) * CLIENTS + 1;
        let environment = version % ENVIRONMENTS + 1;
        client.deploy(&format!("service-{service}"), &format!("environment-{environment}"), version).await
    })
    .await
}

/// Lets every client work until the time is over.
pub async fn run(time: Duration, work: impl AsyncFn(usize) -> anyhow::Result<()>) -> anyhow::Result<Figures> {
    let begin = Instant::now();
    let work = &work;
    let each = (0..CLIENTS).map(|own| async move {
        let mut took = Vec::new();
        while begin.elapsed() < time {
            let start = Instant::now();
            work(own).await?;
            took.push(start.elapsed());
        }
        anyhow::Ok(took)
    });
    let took = try_join_all(each).await?.into_iter().flatten().collect();
    Figures::of(took, begin.elapsed())
}

/// Throughput and latencies.
pub struct Figures {
    pub count: f64,
    pub per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

impl Figures {
    /// Of operations that took so long each, and all of them together.
    pub fn of(mut took: Vec<Duration>, time: Duration) -> anyhow::Result<Self> {
        took.sort_unstable();
        let at = |per_mille: usize| {
            let place = took.len() * per_mille / 1000;
            took.get(place).context("nothing was done in the time").map(|took| took.as_secs_f64() * 1000.0)
        };
        let count = u32::try_from(took.len())?.into();
        Ok(Self { count, per_second: count / time.as_secs_f64(), p50_ms: at(500)?, p99_ms: at(990)? })
    }
}

/// Prints a line.
pub fn say(line: fmt::Arguments<'_>) -> anyhow::Result<()> {
    Ok(writeln!(anstream::stdout(), "{line}")?)
}
