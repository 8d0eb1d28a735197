//! Replays the release history of a public project through dev, staging and prod, with its true times, and prints the
//! matrix that comes out. Doing it again changes nothing.

mod plan;

use std::{fs, io::Write as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Parser;
use reqwest::{Client, RequestBuilder, StatusCode, header};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use waybill::config::local::{self, LocalFile, LocalServer};

use crate::plan::{ENVIRONMENTS, History, Step, plan};

/// How often one request is sent again because the server asks for patience.
const ATTEMPTS: u32 = 20;

/// Replay a release history through dev, staging and prod, and print the matrix.
#[derive(Parser)]
struct Args {
    /// The history.
    #[arg(long, default_value = "tests/data/podinfo-releases.json")]
    data: PathBuf,
    /// The server; without it, the one that runs on this machine.
    #[arg(long, env = "WAYBILL_URL")]
    url: Option<String>,
    /// A token that may do everything; without it, the one of the server on this machine.
    #[arg(long, env = "WAYBILL_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Print the matrix of this moment; without it, of now.
    #[arg(long, value_name = "TIME")]
    as_of: Option<DateTime<Utc>>,
}

struct Api {
    client: Client,
    base: String,
    token: String,
}

impl Api {
    fn new(args: &Args) -> anyhow::Result<Self> {
        let local = || LocalFile::read(&local::path()?).ok()?.servers.into_iter().find(LocalServer::lives);
        let (url, token) = match (args.url.clone(), args.token.clone()) {
            (Some(url), Some(token)) => (url, token),
            (Some(_), None) => bail!("WAYBILL_TOKEN is not set"),
            (None, token) => {
                let server =
                    local().context("no server runs on this machine: set WAYBILL_URL and WAYBILL_TOKEN")?;
                (server.url, token.unwrap_or_else(|| server.token.expose_secret().to_owned()))
            }
        };
        // Whoever installed one before us has done what we want.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder().timeout(Duration::from_secs(30)).build()?;
        Ok(Self { client, base: format!("{}/api/v1", url.trim_end_matches('/')), token })
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        let request = self.client.post(format!("{}{path}", self.base)).json(body);
        self.send(request, path).await.map(drop)
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.send(self.client.get(format!("{}{path}", self.base)), path).await?;
        Ok(serde_json::from_str(&answer)?)
    }

    /// Sends a request, and waits as long as the server says when it is asked too quickly.
    async fn send(&self, request: RequestBuilder, path: &str) -> anyhow::Result<String> {
        let request = request.bearer_auth(&self.token);
        for _ in 0..ATTEMPTS {
            let again = request.try_clone().context("a request without a stream can be cloned")?;
            let answer = again.send().await?;
            let (status, wait) = (answer.status(), answer.headers().get(header::RETRY_AFTER).cloned());
            let text = answer.text().await?;
            if status.is_success() {
                return Ok(text);
            }
            if status != StatusCode::TOO_MANY_REQUESTS {
                bail!("{path} answered {status}: {text}");
            }
            let seconds = wait.and_then(|wait| wait.to_str().ok()?.parse().ok()).unwrap_or(1);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
        bail!("{path}: the server asks for patience without end")
    }
}

/// Registers what is not there yet.
async fn register(api: &Api, history: &History) -> anyhow::Result<()> {
    let known = api.get("/matrix").await?;
    let names = |list: &str| -> Vec<String> {
        let items = known.get(list).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(|item| Some(item.get("name")?.as_str()?.to_owned())).collect()
    };
    if !names("services").contains(&history.service) {
        let service = json!({"name": history.service, "repository_url": history.repository_url});
        api.post("/services", &service).await?;
    }
    let environments = names("environments");
    for environment in ENVIRONMENTS.iter().filter(|name| !environments.iter().any(|known| known == *name)) {
        api.post("/environments", &json!({"name": environment})).await?;
    }
    for release in &history.releases {
        let path = format!("/services/{}/releases", history.service);
        api.post(&path, &serde_json::to_value(release)?).await?;
    }
    Ok(())
}

async fn record(api: &Api, service: &str, step: &Step) -> anyhow::Result<()> {
    let body = json!({
        "service": service,
        "environment": step.environment,
        "version": step.version,
        "kind": step.kind,
        "status": if step.succeeds { "succeeded" } else { "failed" },
        "started_at": time(step.started_at),
        "finished_at": time(step.finished_at),
    });
    api.post("/deployments/record", &body).await
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn print(matrix: &Value) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    let text = |value: &Value, pointer: &str| {
        value.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned()
    };
    let list =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    writeln!(out, "What ran where at {}", text(matrix, "/as_of"))?;
    writeln!(out, "{:12} {:12} {:10} {:28} BEHIND", "SERVICE", "ENVIRONMENT", "VERSION", "SINCE")?;
    for service in list(matrix, "services") {
        for target in list(&service, "targets") {
            let behind = target.get("behind").and_then(Value::as_i64);
            writeln!(
                out,
                "{:12} {:12} {:10} {:28} {}",
                text(&service, "/name"),
                text(&target, "/environment"),
                text(&target, "/current/version"),
                text(&target, "/current/since"),
                behind.map_or_else(|| "-".to_owned(), |behind| behind.to_string())
            )?;
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let text =
        fs::read_to_string(&args.data).with_context(|| format!("cannot read {}", args.data.display()))?;
    let history: History = serde_json::from_str(&text)?;
    let steps = plan(&history);
    let api = Api::new(&args)?;
    register(&api, &history).await?;
    for step in &steps {
        record(&api, &history.service, step).await?;
    }
    writeln!(
        anstream::stderr(),
        "{} releases and {} deployments are on record",
        history.releases.len(),
        steps.len()
    )?;
    let query = args.as_of.map(|at| format!("?as_of={}", time(at))).unwrap_or_default();
    print(&api.get(&format!("/matrix{query}")).await?)
}
