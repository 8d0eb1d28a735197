//! A target with a great deal behind its gate, and questions to that gate.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::Method;
use serde_json::{Value, json};

use waybill::clock;

use crate::{
    load::{CLIENTS, Client},
    measure::{Figures, run},
};

const WINDOWS: usize = 50;
const APPROVALS: usize = 20;
const SCANS: usize = 10;

/// The release that is asked about: one of the seed's, and current in an environment of the seed's.
pub const SERVICE: &str = "service-1";
const VERSION: &str = "1.0.0";
const SOURCE: &str = "environment-1";
/// Where it is to go; no other measurement does anything there.
pub const ENVIRONMENT: &str = "gated";

/// Deploys it there, sets a policy with every rule on, and puts windows, approvals and scans behind it. Half of the
/// windows recur; none holds now, so that none is left out of account.
pub async fn seed(client: &Client) -> anyhow::Result<()> {
    client.post("/environments", &json!({ "name": ENVIRONMENT, "rank": 10 })).await?;
    client.deploy(SERVICE, ENVIRONMENT, 0).await?;
    let policy = json!({
        "freeze": {},
        "promotion": { "from": [SOURCE], "soak_seconds": 1 },
        "approval": { "required": APPROVALS, "groups": [] },
        "vulnerabilities": { "max": { "critical": 0, "high": 0 }, "require_scan": true, "max_scan_age_seconds": 86400 },
        "image": { "require_digest": true },
        "outdated": {},
    });
    client.put(&format!("/environments/{ENVIRONMENT}/policy"), &policy).await?;
    let now = clock::now();
    for number in 0..WINDOWS {
        let starts_at = now + chrono::TimeDelta::days(i64::try_from(number)? + 1);
        let window = if number % 2 == 0 {
            json!({
                "name": format!("window {number}"), "reason": "bench", "environments": [ENVIRONMENT],
                "start_cron": format!("{number} 0 25 12 *"), "end_cron": "0 6 26 12 *", "timezone": "Europe/Berlin",
            })
        } else {
            json!({
                "name": format!("window {number}"), "reason": "bench", "environments": [ENVIRONMENT],
                "starts_at": starts_at, "ends_at": starts_at + chrono::TimeDelta::days(1),
            })
        };
        client.post("/freeze-windows", &window).await?;
    }
    let release = format!("/services/{SERVICE}/releases/{VERSION}");
    for number in 0..APPROVALS {
        let name = format!("approver-{number}");
        let token = json!({ "name": name, "subject": name, "scopes": ["approve"] });
        let made = client.post("/tokens", &token).await?;
        let secret = made.get("token").and_then(Value::as_str).context("a token")?;
        let approval = json!({ "environment": ENVIRONMENT, "decision": "approved" });
        client.bearing(secret).post(&format!("{release}/approvals"), &approval).await?;
    }
    for number in 0..SCANS {
        let scan = json!({
            "scanner": format!("scanner-{number}"),
            "scanned_at": now,
            "counts": { "critical": 0, "high": 0, "medium": 5, "low": 9, "unknown": 0 },
        });
        client.post(&format!("{release}/scans"), &scan).await?;
    }
    Ok(())
}

/// Asks the gate again and again.
pub async fn check(client: &Client, time: Duration) -> anyhow::Result<Figures> {
    let question = json!({ "service": SERVICE, "environment": ENVIRONMENT, "version": VERSION });
    run(CLIENTS, time, async |_| client.read(Method::POST, "/gate/check", Some(&question)).await.map(drop))
        .await
}

/// The path of the deployment that is current in a target.
pub async fn deployment(client: &Client, service: &str, environment: &str) -> anyhow::Result<String> {
    let target = client.get(&format!("/services/{service}/environments/{environment}")).await?;
    let id = target.pointer("/current/deployment_id").and_then(Value::as_str).context("a deployment")?;
    Ok(format!("/deployments/{id}"))
}
