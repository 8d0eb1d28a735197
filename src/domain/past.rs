//! What the log tells of an environment's past: the policy that was in force at a moment, and the lockdown that there was.
//! Its events come newest first, and all of them up to the moment, or none of it is told.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::domain::{
    environment::Lockdown,
    event::{Event, EventKind},
    policy::InForce,
};

/// What an event says.
fn data(event: &Event) -> Value {
    serde_json::from_str(&event.data).unwrap_or_default()
}

/// The policy that was in force, by the events of its changes; none where one of them is not understood.
pub fn policy(changes: &[Event], at: DateTime<Utc>) -> Option<InForce> {
    let Some(last) = changes.iter().find(|event| event.at <= at) else { return Some(InForce::default()) };
    let mut data = data(last);
    let version = data.get("version")?.as_i64()?;
    let policy = serde_json::from_value(data.get_mut("after")?.take()).ok()?;
    Some(InForce { version, policy })
}

/// The lockdown that there was, by the events of those that were placed and lifted.
pub fn lockdown(events: &[Event], at: DateTime<Utc>) -> Option<Lockdown> {
    let before = events.iter().filter(|event| event.at <= at);
    // Another reason for the same lockdown does not begin it anew.
    let mut placed = before.take_while(|event| event.kind == EventKind::LockdownPlaced.as_str());
    let last = placed.next()?;
    let reason = data(last).get("reason").and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(Lockdown { reason, actor: last.actor.clone(), since: placed.last().unwrap_or(last).at })
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::domain::{actor::Actor, policy::Policy};

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn event(minute: i64, kind: EventKind, data: &Value) -> Event {
        Event {
            id: Uuid::nil(),
            seal: None,
            at: at(minute),
            kind: kind.as_str().to_owned(),
            actor: Actor { token: "ci".to_owned(), subject: format!("at {minute}") },
            service: None,
            environment: Some("prod".to_owned()),
            version: None,
            deployment_id: None,
            request_id: None,
            data: data.to_string(),
        }
    }

    #[test]
    fn the_policy_of_a_moment_is_what_was_set_last_before_it() {
        let set = |minute, version, required| {
            let mut policy = Policy::default();
            policy.approval.required = required;
            event(minute, EventKind::PolicyUpdated, &json!({ "version": version, "after": policy }))
        };
        let changes = [set(20, 2, 5), set(10, 1, 3)];
        let then =
            |minute| policy(&changes, at(minute)).map(|was| (was.version, was.policy.approval.required));
        let without = Policy::default().approval.required;
        assert_eq!([9, 10, 19, 20].map(then), [Some((0, without)), Some((1, 3)), Some((1, 3)), Some((2, 5))]);
        let strange =
            [event(1, EventKind::PolicyUpdated, &json!({ "version": 1, "after": { "approval": 7 } }))];
        assert_eq!(policy(&strange, at(2)), None);
    }

    #[test]
    fn a_lockdown_lasts_from_its_first_reason_to_its_lifting() {
        use EventKind::{LockdownLifted as Lifted, LockdownPlaced as Placed};
        let placed = |minute, reason: &str| event(minute, Placed, &json!({ "reason": reason }));
        let events =
            [placed(9, "again"), event(7, Lifted, &json!({})), placed(5, "worse"), placed(3, "an incident")];
        let then =
            |minute| lockdown(&events, at(minute)).map(|was| (was.reason, was.actor.subject, was.since));
        let said = |reason: &str, by: i64, since| Some((reason.to_owned(), format!("at {by}"), at(since)));
        assert_eq!(
            [2, 3, 6, 7, 8, 9].map(then),
            [None, said("an incident", 3, 3), said("worse", 5, 3), None, None, said("again", 9, 9)]
        );
    }
}
