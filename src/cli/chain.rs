//! The audit log outside the database: events as the API shows them, one a line, and the seals of those that are not shown.

use std::io::BufRead;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::domain::{
    actor::Actor,
    audit::{Finding, Findings},
    chain::{Link, Walk},
    event::{Event, Seal},
};

#[derive(Deserialize)]
struct Sealed {
    seq: i64,
    prev_hash: String,
    hash: String,
}

/// What a line holds beside the seal, where the token may see it.
#[derive(Deserialize)]
struct Content {
    id: Uuid,
    at: DateTime<Utc>,
    kind: String,
    actor: Actor,
    service: Option<String>,
    environment: Option<String>,
    version: Option<String>,
    deployment_id: Option<Uuid>,
    request_id: Option<String>,
    data: Value,
}

/// A walk along such a log.
pub struct Reading {
    walk: Walk,
    findings: Findings,
    /// How many events were not shown.
    hidden: u64,
}

/// What such a log came to.
pub struct Read {
    /// Where it ends.
    pub link: Link,
    /// How many of its events were not shown, so that only their places could be checked.
    pub hidden: u64,
    /// What is not as it must be.
    pub findings: Findings,
}

impl Reading {
    /// From its beginning; the anchors are heads that were kept elsewhere.
    pub fn new(anchors: impl IntoIterator<Item = Link>) -> Self {
        Self { walk: Walk::new(anchors), findings: Findings::default(), hidden: 0 }
    }

    /// Takes the next line.
    pub fn take(&mut self, line: Value) -> serde_json::Result<()> {
        let is_seal = line.as_object().is_some_and(|members| members.len() == 3);
        let content = if is_seal { None } else { Some(Content::deserialize(&line)?) };
        let Sealed { seq, prev_hash, hash } = serde_json::from_value(line)?;
        let seal = Seal { seq, prev_hash, hash };
        if let Some(content) = content {
            self.walk.step(&content.event(), seq, Some(&seal));
        } else {
            self.hidden += 1;
            self.walk.hidden(&seal);
        }
        self.findings.extend(self.walk.broken());
        Ok(())
    }

    /// Takes every line of a log.
    pub fn read(&mut self, log: impl BufRead) -> anyhow::Result<()> {
        let mut lines = 0_u64;
        for line in log.lines() {
            let line = line.context("the log cannot be read")?;
            let line = line.trim_start_matches('\u{feff}').trim();
            if line.is_empty() {
                continue;
            }
            lines += 1;
            if serde_json::from_str(line).and_then(|line| self.take(line)).is_err() {
                let wrong = "is no event as `waybill events export` prints them";
                self.findings.add(Finding::about(format!("line {lines}"), wrong));
            }
        }
        anyhow::ensure!(lines > 0, "the log is empty: `waybill events export` prints at least one event");
        Ok(())
    }

    /// Ends where the head must be, if that is known.
    pub fn end(mut self, head: Option<&Link>) -> Read {
        let (link, broken) = self.walk.end(head);
        self.findings.extend(broken);
        Read { link, hidden: self.hidden, findings: self.findings }
    }
}

impl Content {
    fn event(self) -> Event {
        Event {
            id: self.id,
            seal: None,
            at: self.at,
            kind: self.kind,
            actor: self.actor,
            service: self.service,
            environment: self.environment,
            version: self.version,
            deployment_id: self.deployment_id,
            request_id: self.request_id,
            data: self.data.to_string(),
        }
    }
}
