//! What it costs to verify an ID token whose issuer's keys are known: both algorithms, without a network or a database.

use std::time::{Duration, Instant};

use rustix::process::getpid;
use serde_json::json;
use waybill::{clock, config::Config, issuer::Issuers};

use crate::{
    load::{Figures, say},
    support::issuer::{AUDIENCE, Issuer, Key},
    used::Used,
};

/// Prints a line for each algorithm.
pub async fn drive(time: Duration) -> anyhow::Result<()> {
    for (algorithm, key) in [("RS256", Key::rsa(0)), ("ES256", Key::ec())] {
        let (figures, used) = Used::by(getpid(), verify(key, time)).await?;
        let name = format!("ID token, {algorithm}");
        say(format_args!(
            "{name:<28} {:>7.0}/s {:>7.3} {:>7.3} {:>7.3}",
            figures.per_second, figures.p50_ms, figures.p99_ms, used.cpu_ms
        ))?;
    }
    Ok(())
}

async fn verify(key: Key, time: Duration) -> anyhow::Result<Figures> {
    let issuer = Issuer::start("gitlab", key).await;
    let mut config = Config::default();
    issuer.configure(&mut config);
    let issuers = Issuers::new(&config);
    let id_token = issuer.sign(&issuer.gitlab(&json!({})));
    // The first asks for the keys.
    issuers.verify("gitlab", &id_token, AUDIENCE, clock::now()).await?;
    let (begin, mut took) = (Instant::now(), Vec::new());
    while begin.elapsed() < time {
        let start = Instant::now();
        issuers.verify("gitlab", &id_token, AUDIENCE, clock::now()).await?;
        took.push(start.elapsed());
    }
    Figures::of(took, begin.elapsed())
}
