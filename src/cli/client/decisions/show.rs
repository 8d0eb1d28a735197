//! `waybill decisions show`: one decision, with the facts it was decided by in words.

use std::io;

use chrono::{DateTime, Utc};
use serde::Deserialize as _;

use super::Stored;
use crate::{
    cli::{
        client::{call::Call, error::Error, moment, session::Session, verdict},
        exit::Exit,
        output::{plain, print},
    },
    domain::gate::{Inputs, words::in_words},
};

pub(super) async fn run(session: &Session, id: &str) -> Result<Exit, Error> {
    session.tell(&Call::get(&["decisions", id]), |stored| told(&stored)).await
}

fn told(stored: &Stored) -> io::Result<()> {
    head(stored).iter().try_for_each(print)?;
    verdict::lines(&stored.decision).iter().try_for_each(print)?;
    let off = stored.decision.checks.iter().filter(|check| check.mode == "off");
    let off: Vec<_> = off.map(|check| plain(&check.rule)).collect();
    if !off.is_empty() {
        print(format_args!("  off: {}", off.join(", ")))?;
    }
    print("decided by:")?;
    let facts = match Inputs::deserialize(&stored.inputs) {
        Ok(inputs) => in_words(&inputs.facts, stored.at()).into_iter().map(|fact| fact.words).collect(),
        Err(_withheld) if stored.inputs.is_null() => {
            vec!["facts that this token may not see, or that an earlier version kept otherwise".to_owned()]
        }
        Err(_of_another_shape) => vec!["facts that this version cannot read".to_owned()],
    };
    facts.iter().try_for_each(|fact| print(format_args!("  {}", plain(fact))))
}

fn head(stored: &Stored) -> Vec<String> {
    let Stored { service, environment, version, kind, actor, .. } = stored;
    let (token, who) = (plain(&actor.token), actor.shown());
    let mut lines = vec![
        format!("decision {}: {}", plain(stored.id()), stored.verdict()),
        format!(
            "{} {} to {} ({}), asked by {} with token {token}",
            plain(service),
            plain(version),
            plain(environment),
            plain(kind),
            plain(&who)
        ),
    ];
    lines.push(if stored.count > 1 {
        format!("first at {}, last at {}", time(stored.first_evaluated_at), time(stored.at()))
    } else {
        format!("at {}", time(stored.at()))
    });
    lines.push(match stored.decision.policy_version {
        Some(0) | None => "without a policy of the environment".to_owned(),
        Some(number) => format!("by version {number} of the environment's policy"),
    });
    if let Some(override_) = &stored.decision.override_ {
        lines.push(format!("under an override: {}", plain(&override_.reason)));
    }
    lines.extend(stored.deployment_id.as_ref().map(|id| format!("started deployment {}", plain(id))));
    lines
}

fn time(at: DateTime<Utc>) -> String {
    format!("{} UTC", moment::second(at))
}
