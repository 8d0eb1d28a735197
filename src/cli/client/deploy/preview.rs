//! `waybill deploy --dry-run`: what the gate would say to a start. A release that is not on record yet cannot be asked
//! about; then what is in the target has to do.

use serde::Deserialize as _;
use serde_json::{Value, json};

use super::body::{Intent, Start};
use crate::{
    cli::{
        client::{
            call::Call,
            error::Error,
            gate, moment,
            session::Session,
            view::{Occupant, Target},
        },
        exit::Exit,
        output::{self, Format, plain, print},
    },
    domain::vocabulary::Kind,
};

/// Reads a target: as it came, and understood.
pub async fn target(session: &Session, service: &str, environment: &str) -> Result<(Value, Target), Error> {
    let answer = session.client.send(&Call::get(&["services", service, "environments", environment])).await?;
    let target = Target::deserialize(&answer)?;
    Ok((answer, target))
}

/// Shows what the gate would say.
pub async fn run(session: &Session, start: &Start) -> Result<Exit, Error> {
    match (start.question().ask(&session.client).await, &start.intent.version) {
        (Ok(judgement), _) => gate::show(session, &judgement),
        // What is not on record is not removed.
        (Err(Error::Client(error)), Some(version))
            if error.is_not_found() && start.intent.kind.is_none_or(Kind::ships) =>
        {
            run_without_gate(session, &start.intent, version).await
        }
        (Err(error), _) => Err(error),
    }
}

/// Shows the target, and refuses if something is running there or nothing may start.
async fn run_without_gate(session: &Session, intent: &Intent, version: &str) -> Result<Exit, Error> {
    let found = target(session, &intent.service, &intent.environment).await;
    let (answer, target) = known(found)?.unzip();
    let environment = session.client.send(&Call::get(&["environments", &intent.environment])).await;
    let environment = known(environment.map_err(Error::Client))?;
    let lockdown = environment.and_then(|mut environment| environment.get_mut("lockdown").map(Value::take));
    let reason = lockdown.as_ref().and_then(|lockdown| lockdown.get("reason")).and_then(Value::as_str);
    let busy = target.as_ref().is_some_and(|target| target.running.is_some());
    let allowed = !busy && reason.is_none();
    if session.format == Format::Json {
        let shown = json!({"recorded": false, "allowed": allowed, "lockdown": lockdown, "target": answer});
        output::print_json(&shown)?;
    } else {
        lines(intent, version, target.as_ref(), reason).iter().try_for_each(print)?;
    }
    Ok(if allowed { Exit::DONE } else { Exit::REFUSED })
}

/// Nothing, where there is no such thing.
fn known<T>(found: Result<T, Error>) -> Result<Option<T>, Error> {
    match found {
        Err(Error::Client(error)) if error.is_not_found() => Ok(None),
        found => found.map(Some),
    }
}

fn lines(intent: &Intent, version: &str, target: Option<&Target>, lockdown: Option<&str>) -> Vec<String> {
    let Intent { service, environment, .. } = intent;
    let mut lines = Vec::new();
    lines.extend(lockdown.map(|reason| {
        format!("a start of {version} would be refused now: {environment} is locked down: {}", plain(reason))
    }));
    let Some(target) = target else {
        lines.push(format!("{service} in {environment} is not known yet; a start registers it"));
        return lines;
    };
    let since = |occupant: &Occupant| {
        let at = moment::second(occupant.since);
        format!("{} since {at} UTC, by {}", plain(&occupant.version), plain(&occupant.actor.shown()))
    };
    let current = target.current.as_ref().map_or_else(|| "nothing yet".into(), since);
    lines.insert(0, format!("{service} in {environment}: {current}"));
    lines.push(match &target.running {
        Some(running) => format!("a start of {version} would be refused now: {} is running", since(running)),
        None => format!("nothing is running; a start of {version} would not meet another deployment"),
    });
    lines.push(format!(
        "{version} is not on record yet: the gate's other rules are judged when it starts; `waybill release record` \
         puts it on record, so that they can be asked about now"
    ));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_in_the_way() {
        let intent = Intent {
            service: "shop".into(),
            environment: "prod".into(),
            version: Some("2".into()),
            ..Intent::default()
        };
        let occupant = |version| {
            serde_json::json!({"deployment_id": "d", "version": version, "since": "2026-03-04T12:00:00Z",
            "actor": {"token": "ci", "subject": "mira"}})
        };
        let target =
            serde_json::json!({"current": occupant("1"), "running": occupant("3"), "rollback_to": null});
        let lines_with =
            |target: Option<&Target>| lines(&intent, "2", target, Some("incident 42")).join("\n");
        let text = lines_with(Target::deserialize(&target).ok().as_ref());
        assert!(text.contains("shop in prod: 1 since 2026-03-04 12:00:00 UTC, by mira"), "{text}");
        assert!(text.contains("would be refused now: 3 since"), "{text}");
        assert!(text.contains("prod is locked down: incident 42"), "{text}");
        assert!(lines_with(None).contains("not known yet"));
    }
}
