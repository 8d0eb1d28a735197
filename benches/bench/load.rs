//! Clients of a server, and what they send.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures_util::{StreamExt as _, future::try_join_all, stream::FuturesUnordered};
use reqwest::{
    Method, RequestBuilder, StatusCode,
    header::{ETAG, IF_NONE_MATCH},
};
use serde_json::{Value, json};

use crate::{
    measure::{self, Figures},
    support::process::ServerProcess,
};

/// How many of the seed's deployments are under way at once.
const SEEDERS: usize = 8;
/// How many send requests while something is measured.
pub const CLIENTS: usize = 16;
/// What is measured is a target of each service in each environment.
pub const SERVICES: usize = 200;
pub const ENVIRONMENTS: usize = 5;
/// How many deployments a second [`beside_writes`] begins.
const WRITES: u64 = 100;

/// The version of the next release.
static VERSION: AtomicUsize = AtomicUsize::new(0);

/// One way to one server.
#[derive(Clone)]
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
        Ok(serde_json::from_slice(&self.read(method, path, body).await?)?)
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> RequestBuilder {
        let request = self.http.request(method, format!("{}/api/v1{path}", self.base));
        body.into_iter().fold(request, RequestBuilder::json)
    }

    /// Asks, and looks at nothing of what the answer says unless it is a refusal.
    pub async fn read(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Bytes> {
        let answer = self.request(method, path, body).send().await?;
        let (status, bytes) = (answer.status(), answer.bytes().await?);
        ensure!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&bytes));
        Ok(bytes)
    }

    /// The tag of what a path shows.
    pub async fn tag(&self, path: &str) -> anyhow::Result<String> {
        let answer = self.request(Method::GET, path, None).send().await?;
        Ok(answer.headers().get(ETAG).context("no ETag")?.to_str()?.to_owned())
    }

    /// Asks for what bears this tag already.
    pub async fn read_known(&self, path: &str, tag: &str) -> anyhow::Result<()> {
        let answer = self.request(Method::GET, path, None).header(IF_NONE_MATCH, tag).send().await?;
        ensure!(answer.status() == StatusCode::NOT_MODIFIED, "{path}: {}", answer.status());
        Ok(())
    }

    /// Starts a deployment of a release, which is registered with it, and gives its id.
    pub async fn start(&self, service: &str, environment: &str, version: usize) -> anyhow::Result<String> {
        let body = json!({
            "service": service,
            "environment": environment,
            "version": version_name(version),
            "release": {"commit_sha": commit(version)},
        });
        let started = self.post("/deployments", &body).await?;
        Ok(started.pointer("/deployment/id").and_then(Value::as_str).context("an id")?.to_owned())
    }

    pub async fn finish(&self, id: &str) -> anyhow::Result<()> {
        let body = json!({"status": "succeeded"});
        self.post(&format!("/deployments/{id}/finish"), &body).await.map(drop)
    }

    /// Starts and finishes a deployment.
    pub async fn deploy(&self, service: &str, environment: &str, version: usize) -> anyhow::Result<()> {
        let id = self.start(service, environment, version).await?;
        self.finish(&id).await
    }

    /// Starts and finishes a deployment of a new release. A service belongs to one client only, as it does to one team, so
    /// that none is refused.
    pub async fn deploy_next(&self, own: usize) -> anyhow::Result<()> {
        let version = next_version();
        let service = own + version % (SERVICES / CLIENTS) * CLIENTS + 1;
        let environment = version % ENVIRONMENTS + 1;
        self.deploy(&service_name(service), &environment_name(environment), version).await
    }
}

/// A version that no release has.
pub fn next_version() -> usize {
    VERSION.fetch_add(1, Ordering::Relaxed) + 1_000_000
}

/// The version of a release by its number, and its commit, which is not all zeros.
pub fn version_name(number: usize) -> String {
    format!("1.0.{number}")
}

pub fn commit(number: usize) -> String {
    format!("{:040x}", number + 1)
}

pub fn service_name(number: usize) -> String {
    format!("service-{number}")
}

pub fn environment_name(number: usize) -> String {
    format!("environment-{number}")
}

/// Deploys releases of every service to every environment, one after the other.
pub async fn seed(
    client: &Client,
    services: usize,
    environments: usize,
    releases: usize,
) -> anyhow::Result<()> {
    // The names are registered one by one first, so that the seeders do not wait for each other.
    for environment in 1..=environments {
        let body = json!({"name": environment_name(environment), "rank": environment});
        client.post("/environments", &body).await?;
    }
    let seeders = (0..SEEDERS).map(|seeder| async move {
        for service in (1..=services).skip(seeder).step_by(SEEDERS) {
            for release in 0..releases {
                for environment in 1..=environments {
                    client.deploy(&service_name(service), &environment_name(environment), release).await?;
                }
            }
        }
        anyhow::Ok(())
    });
    try_join_all(seeders).await.map(drop)
}

/// Reads a path.
pub async fn read(client: &Client, path: &str, time: Duration) -> anyhow::Result<Figures> {
    measure::run(CLIENTS, time, async |_| client.read(Method::GET, path, None).await.map(drop)).await
}

/// Does something while deployments are started and finished, [`WRITES`] of them a second or as many as the server can take;
/// gives how many it were.
pub async fn beside_writes<T>(
    client: &Client,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<(T, f64)> {
    let mut work = std::pin::pin!(work);
    let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / WRITES));
    let mut running = FuturesUnordered::new();
    let (begin, mut done) = (Instant::now(), 0_u32);
    let mut free: Vec<usize> = (0..CLIENTS).collect();
    let out = loop {
        tokio::select! {
            out = &mut work => break out?,
            _ = ticks.tick(), if !free.is_empty() => {
                running.extend(free.pop().map(|own| async move { client.deploy_next(own).await.map(|()| own) }));
            }
            Some(own) = running.next() => {
                free.push(own?);
                done += 1;
            }
        }
    };
    let per_second = f64::from(done) / begin.elapsed().as_secs_f64();
    while let Some(own) = running.next().await {
        own?;
    }
    Ok((out, per_second))
}
