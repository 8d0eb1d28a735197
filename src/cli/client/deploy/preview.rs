//! `waybill deploy --dry-run`: what the gate would say to a start. A release that is not on record yet cannot be asked
//! about; then what is in the target has to do.

use serde::Deserialize as _;
use serde_json::Value;

use super::Intent;
use crate::cli::client::{
    Session,
    error::Error,
    exit::Exit,
    gate,
    http::Call,
    output::{self, Format, plain, print},
    view::{Occupant, Target},
};

/// Reads a target: as it came, and understood.
pub async fn target(session: &Session, service: &str, environment: &str) -> Result<(Value, Target), Error> {
    let answer = session.client.send(&Call::get(&["services", service, "environments", environment])).await?;
    let target = Target::deserialize(&answer)?;
    Ok((answer, target))
}

/// Shows what the gate would say.
pub async fn run(session: &Session, intent: &Intent, override_reason: Option<&str>) -> Result<Exit, Error> {
    match intent.question(false, override_reason).ask(&session.client).await {
        Ok(answer) => gate::show(session, &answer),
        Err(Error::Client(error)) if error.is_not_found() => run_without_gate(session, intent).await,
        Err(error) => Err(error),
    }
}

/// Shows the target, and refuses if something is running there.
async fn run_without_gate(session: &Session, intent: &Intent) -> Result<Exit, Error> {
    let (answer, target) = match target(session, &intent.service, &intent.environment).await {
        Err(Error::Client(error)) if error.is_not_found() => (Value::Null, None),
        found => found.map(|(answer, target)| (answer, Some(target)))?,
    };
    if session.format == Format::Json {
        output::print_json(&answer)?;
    } else {
        for line in lines(intent, target.as_ref()) {
            print(line)?;
        }
    }
    let busy = target.is_some_and(|target| target.running.is_some());
    Ok(if busy { Exit::REFUSED } else { Exit::DONE })
}

fn lines(intent: &Intent, target: Option<&Target>) -> Vec<String> {
    let Intent { service, environment, version, .. } = intent;
    let Some(target) = target else {
        return vec![format!("{service} in {environment} is not known yet; a start registers it")];
    };
    let since = |occupant: &Occupant| {
        let at = occupant.since.format("%Y-%m-%d %H:%M:%S");
        format!("{} since {at} UTC, by {}", plain(&occupant.version), plain(occupant.actor.name()))
    };
    let current = target.current.as_ref().map_or_else(|| "nothing yet".into(), since);
    let verdict = match &target.running {
        Some(running) => format!("a start of {version} would be refused now: {} is running", since(running)),
        None => format!("nothing is running; a start of {version} would not meet another deployment"),
    };
    let rest = format!("{version} is not on record yet: the gate's other rules are judged when it starts");
    vec![format!("{service} in {environment}: {current}"), verdict, rest]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_in_the_way() {
        let intent = Intent {
            service: "shop".into(),
            environment: "prod".into(),
            version: "2".into(),
            ..Intent::default()
        };
        let occupant = |version| {
            serde_json::json!({"deployment_id": "d", "version": version, "since": "2026-03-04T12:00:00Z",
            "actor": {"token": "ci", "subject": "mira"}})
        };
        let target =
            serde_json::json!({"current": occupant("1"), "running": occupant("3"), "rollback_to": null});
        let lines_with = |target: Option<&Target>| lines(&intent, target).join("\n");
        let text = lines_with(Target::deserialize(&target).ok().as_ref());
        assert!(text.contains("shop in prod: 1 since 2026-03-04 12:00:00 UTC, by mira"), "{text}");
        assert!(text.contains("would be refused now: 3 since"), "{text}");
        assert!(lines_with(None).contains("not known yet"));
    }
}
