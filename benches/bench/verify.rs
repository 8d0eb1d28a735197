//! What it costs to verify an ID token whose issuer's keys are known: both algorithms, without a network or a database.

use std::time::{Duration, Instant};

use serde_json::json;
use waybill::{clock, config::Config, issuer::Issuers};

use crate::{
    measure::{Figures, say},
    support::issuer::{AUDIENCE, Issuer, Key},
};

/// Prints a line for each algorithm.
pub async fn measure(time: Duration) -> anyhow::Result<()> {
    for (algorithm, key) in [("RS256", Key::rsa(0)), ("ES256", Key::ec())] {
        let figures = verify(key, time).await?;
        say(format_args!(
            "ID token, {algorithm}: {:.0}/s, p50 {:.3} ms, p99 {:.3} ms",
            figures.per_second(),
            figures.ms(500)?,
            figures.ms(990)?
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
    Ok(Figures::of(took, begin.elapsed()))
}
