//! `waybill gate`: may this release go there now, and if not, every reason. Waits for it to open if told to.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize as _, Serialize};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use super::{
    call::Call,
    error::Error,
    http::Client,
    release::{Prefix, Source},
    session::Session,
    verdict,
    view::{Check, Decision, Override, say_page},
};
use crate::{
    cli::{
        exit::Exit,
        output::{self, Format, print, say},
        words::one_of,
    },
    domain::vocabulary::Kind,
};

/// How long one request waits at the server: less than proxies let a connection be silent.
const POLL: Duration = Duration::from_secs(50);
/// How much longer than that the answer may take.
const GRACE: Duration = Duration::from_secs(15);
/// How long to go on trying while the server is away.
const PATIENCE: Duration = Duration::from_mins(2);
/// How much time lies at least between two requests that were told the same.
const LEAST: Duration = Duration::from_secs(1);

pub const EXAMPLES: &str = "\
Examples:
  waybill gate --service shop --environment prod --version 1.4.2
  waybill gate --service shop --environment prod --version 1.4.2 --wait 2h
  waybill gate --service shop --environment prod --version 1.4.2 --for gitlab:acme/shop
  waybill gate --service shop --environment prod --version 1.4.1 --kind rollback --preempt
  waybill gate --service shop --environment prod --version 1.4.2 --output json

Exit codes: 0 the gate is open, 5 it is not.";

#[derive(Debug, clap::Args)]
pub struct GateArgs {
    /// The service.
    #[arg(long)]
    service: String,
    /// The environment to deploy to.
    #[arg(long)]
    environment: String,
    /// The release's version; a removal may leave it out.
    #[arg(long, required_unless_present = "kind")]
    version: Option<String>,
    #[command(flatten)]
    prefix: Prefix,
    /// What kind of deployment it would be; without it, the server tells deploy and redeploy apart.
    #[arg(long, value_parser = one_of(Kind::ALL))]
    kind: Option<Kind>,
    /// Whether it would cancel what is running; only a rollback may.
    #[arg(long)]
    preempt: bool,
    /// The subject that would deploy it, whose own approval does not count; when not given, it is asked for nobody in
    /// particular.
    #[arg(long = "for", value_name = "SUBJECT")]
    deployer: Option<String>,
    /// How long to wait for the gate to open, like 2h.
    #[arg(long, value_name = "DURATION", default_value = "0s", hide_default_value = true, value_parser = humantime::parse_duration)]
    wait: Duration,
    #[command(flatten)]
    source: Source,
}

/// What the gate is asked.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Question {
    pub service: String,
    pub environment: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Whether it would cancel what is running.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub preempt: bool,
    /// On whose behalf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiated_by: Option<String>,
    /// Who would deploy it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployer: Option<String>,
    /// Whether that is whoever asks.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub for_caller: bool,
    /// Why the rules would be lifted: all but concurrency.
    #[serde(rename = "override", skip_serializing_if = "Option::is_none")]
    pub override_: Option<Override>,
}

/// What the gate answers, as it came and understood.
#[derive(Debug, Clone)]
pub struct Judgement {
    pub raw: Value,
    pub decision: Decision,
}

impl Judgement {
    /// For a rollback: what became current after this moment is what it would revert.
    pub fn reverts_since(&self) -> Option<DateTime<Utc>> {
        self.raw.get("reverts_since").and_then(|at| DateTime::deserialize(at).ok())
    }
}

impl Question {
    /// Asks once.
    pub async fn ask(&self, client: &Client) -> Result<Judgement, Error> {
        let raw = client.send(&Call::post(&["gate", "check"], self)?).await?;
        Ok(Judgement { decision: Decision::deserialize(&raw)?, raw })
    }

    /// Waits until the gate, without any override, allows it, until something else than `seen` stands in the way, or until `left` is over.
    pub async fn watch(
        &self,
        client: &Client,
        seen: Option<&str>,
        left: Duration,
    ) -> Result<Judgement, Error> {
        let deadline = Instant::now() + left;
        loop {
            let begun = Instant::now();
            let raw = client.send(&self.long_poll(seen, deadline - begun)).await?;
            let decision = Decision::deserialize(&raw)?;
            let news = decision.allowed || decision.state.as_deref() != seen;
            if news || Instant::now() >= deadline {
                return Ok(Judgement { raw, decision });
            }
            // A server that is about to stop answers at once.
            sleep_until(begun + LEAST).await;
        }
    }

    fn long_poll(&self, seen: Option<&str>, left: Duration) -> Call {
        let seconds = left.min(POLL).as_secs().max(1);
        Call::get(&["gate", "wait"])
            .query("service", Some(&self.service))
            .query("environment", Some(&self.environment))
            .query("version", self.version.as_ref())
            .query("kind", self.kind)
            .query("preempt", self.preempt.then_some(true))
            .query("initiated_by", self.initiated_by.as_ref())
            .query("deployer", self.deployer.as_ref())
            .query("for_caller", self.for_caller.then_some(true))
            .query("timeout", Some(seconds))
            .query("seen", seen)
            .patience(PATIENCE)
            .attempt(Duration::from_secs(seconds) + GRACE)
    }
}

/// Says what is waited for, when that is something else than it last was.
#[derive(Debug, Default)]
pub struct Announcer {
    said: Option<String>,
}

impl Announcer {
    /// Says what stands in the way now.
    pub fn say(&mut self, decision: &Decision, left: Duration) {
        let denials = verdict::denials(decision);
        // A server that does not know what is the same tells it by its words, but for the times in them.
        let state = decision.state.clone().unwrap_or_else(|| reasons(decision));
        if self.said.as_ref() != Some(&state) {
            let left = humantime::format_duration(Duration::from_secs(left.as_secs().max(1)));
            say(format_args!("waiting for the gate, for up to {left} more:"));
            denials.iter().for_each(say);
            say_page(decision.web_url.as_deref());
            self.said = Some(state);
        }
    }
}

/// What keeps the gate shut, without what changes from one look to the next.
fn reasons(decision: &Decision) -> String {
    let reason = |check: &Check| {
        let code = check.code.as_deref().unwrap_or_default();
        format!("{} {code} {:?}", check.rule, check.details.get("deployment_id"))
    };
    decision.denials().map(reason).collect::<Vec<_>>().join(", ")
}

pub(super) async fn run(session: &Session, args: GateArgs) -> Result<Exit, Error> {
    session.client.access.refuse_wait(args.wait, crate::clock::now())?;
    let deadline = Instant::now() + args.wait;
    let question = Question {
        service: args.service,
        environment: args.environment,
        version: args.version.map(|version| args.prefix.take_off(version)),
        kind: args.kind,
        preempt: args.preempt,
        initiated_by: args.source.initiated_by(),
        deployer: args.deployer,
        for_caller: false,
        override_: None,
    };
    let mut announcer = Announcer::default();
    let mut answer = question.ask(&session.client).await?;
    while !answer.decision.allowed {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        announcer.say(&answer.decision, left);
        answer = question.watch(&session.client, answer.decision.state.as_deref(), left).await?;
    }
    show(session, &answer)
}

/// Prints an answer; the exit code says whether the gate is open.
pub fn show(session: &Session, Judgement { raw, decision }: &Judgement) -> Result<Exit, Error> {
    match session.format {
        Format::Json => output::print_json(raw)?,
        Format::Table => {
            verdict::lines(decision).iter().try_for_each(print)?;
            say_page(decision.web_url.as_deref());
        }
    }
    Ok(if decision.allowed { Exit::DONE } else { Exit::REFUSED })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decision(code: &str, deployment: &str) -> Decision {
        let value = json!({"checks": [{"rule": "concurrency", "mode": "enforce", "outcome": "fail", "code": code,
            "message": "since a while", "details": {"deployment_id": deployment}}]});
        Decision::deserialize(value).unwrap_or_default()
    }

    #[test]
    fn reasons_change_with_what_is_in_the_way_but_not_with_its_words() {
        let (one, mut same) = (decision("some-code", "a"), decision("some-code", "a"));
        same.checks.iter_mut().for_each(|check| check.message = Some("since a longer while".into()));
        assert_eq!(reasons(&one), reasons(&same));
        assert_ne!(reasons(&one), reasons(&decision("some-code", "b")));
    }

    #[test]
    fn one_request_waits_no_longer_than_is_left() {
        let question = Question { service: "shop".into(), preempt: true, ..Question::default() };
        let text = |left| format!("{:?}", question.long_poll(Some("s1"), left));
        let short = text(Duration::from_millis(7_900));
        assert!(short.contains(r#"("timeout", "7")"#) && short.contains(r#"("seen", "s1")"#), "{short}");
        assert!(short.contains(r#"("preempt", "true")"#) && !short.contains("kind"), "{short}");
        assert!(text(Duration::from_hours(2)).contains(r#"("timeout", "50")"#));
        assert!(text(Duration::ZERO).contains(r#"("timeout", "1")"#));
    }
}
