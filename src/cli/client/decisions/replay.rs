//! `waybill decisions replay`: evaluates decisions again, by what was kept with each, and reports every difference. What
//! is evaluated here is the very function that the gate decides by.

use chrono::{DateTime, Utc};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::Stored;
use crate::{
    cli::{
        client::{call::Call, error::Error, moment, session::Session, view::Check},
        exit::Exit,
        output::{self, Format, plain, print, warn},
    },
    domain::gate::{self, Inputs},
};

/// How many decisions are read at once, each with all it was decided by.
const PAGE: u32 = 100;

#[derive(Debug, Default)]
struct Tally {
    same: u64,
    differing: Vec<Value>,
    /// The token may not see what they were decided by, or an earlier version kept it in another shape.
    without_inputs: u64,
    unreadable: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Again {
    Compared(Vec<Difference>),
    WithoutInputs,
    Unreadable,
}

/// Something that is otherwise on record than it comes out now.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    what: String,
    stored: String,
    evaluated: String,
}

pub(super) async fn run(session: &Session, call: Call) -> Result<Exit, Error> {
    let call = call.query("inputs", Some(true));
    let mut tally = Tally::default();
    let mut cursor = None;
    loop {
        let page = session.page(&call, PAGE, cursor).await?;
        for item in page.items {
            tally.add(session.format, &Stored::deserialize(item)?)?;
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    tally.show(session.format)?;
    Ok(if tally.is_whole() { Exit::DONE } else { Exit::UNSOUND })
}

impl Tally {
    /// Whether every decision was evaluated again, and came out the same.
    fn is_whole(&self) -> bool {
        self.differing.is_empty() && self.unreadable.is_empty() && self.without_inputs == 0
    }

    fn add(&mut self, format: Format, stored: &Stored) -> Result<(), Error> {
        match again(stored) {
            Again::WithoutInputs => self.without_inputs += 1,
            Again::Unreadable => self.unreadable.push(stored.id().to_owned()),
            Again::Compared(differences) if differences.is_empty() => self.same += 1,
            Again::Compared(differences) => {
                if format == Format::Table {
                    let (service, version) = (plain(&stored.service), plain(&stored.version));
                    let (id, environment) = (plain(stored.id()), plain(&stored.environment));
                    print(format_args!("decision {id}: {service} {version} to {environment}"))?;
                    for Difference { what, stored, evaluated } in &differences {
                        let (what, stored) = (plain(what), plain(stored));
                        print(format_args!(
                            "  {what}: {stored} on record, {} evaluated again",
                            plain(evaluated)
                        ))?;
                    }
                }
                let differences: Vec<_> = differences
                    .iter()
                    .map(|found| json!({"what": found.what, "stored": found.stored, "evaluated": found.evaluated}))
                    .collect();
                self.differing.push(json!({"id": stored.id(), "differences": differences}));
            }
        }
        Ok(())
    }

    fn show(&self, format: Format) -> Result<(), Error> {
        let Self { same, differing, without_inputs, unreadable } = self;
        if format == Format::Json {
            output::print_json(
                &json!({"same": same, "differing": differing, "without_inputs": without_inputs,
                "unreadable": unreadable}),
            )?;
            return Ok(());
        }
        print(format_args!("{same} decisions come out the same, {} differ", differing.len()))?;
        if *without_inputs > 0 {
            print(format_args!(
                "{without_inputs} could not be evaluated again: this token may not see what they were decided by, or an \
                 earlier version kept it otherwise"
            ))?;
        }
        for id in unreadable {
            warn(format_args!("what decision {} was decided by cannot be read", plain(id)));
        }
        Ok(())
    }
}

fn again(stored: &Stored) -> Again {
    if stored.inputs.is_null() {
        return Again::WithoutInputs;
    }
    match Inputs::deserialize(&stored.inputs) {
        Ok(inputs) => Again::Compared(differences(stored, &inputs)),
        Err(_of_another_shape) => Again::Unreadable,
    }
}

fn differences(stored: &Stored, inputs: &Inputs) -> Vec<Difference> {
    let verdict = gate::evaluate(inputs, stored.at());
    let decision = &stored.decision;
    let mut found = Vec::new();
    let mut compare = |what: String, stored: String, evaluated: String| {
        if stored != evaluated {
            found.push(Difference { what, stored, evaluated });
        }
    };
    compare("allowed".into(), decision.allowed.to_string(), verdict.allowed.to_string());
    compare("retry_at".into(), time(decision.retry_at), time(verdict.retry_at));
    compare("override".into(), decision.override_.is_some().to_string(), inputs.lifted.to_string());
    compare("kind".into(), stored.kind.clone(), inputs.facts.kind.to_string());
    compare("version".into(), stored.version.clone(), inputs.facts.release.version.clone());
    for check in &verdict.checks {
        let kept = decision.checks.iter().find(|kept| kept.rule == check.rule.as_str());
        let (mode, outcome) = (check.mode.as_str(), check.outcome.as_str());
        let evaluated = words(mode, outcome, &check.code, check.retry_at);
        compare(check.rule.to_string(), kept.map_or_else(|| "nothing".into(), kept_words), evaluated);
    }
    compare("rules".into(), decision.checks.len().to_string(), verdict.checks.len().to_string());
    found
}

fn kept_words(check: &Check) -> String {
    words(&check.mode, &check.outcome, check.code.as_deref().unwrap_or_default(), check.retry_at)
}

fn words(mode: &str, outcome: &str, code: &str, retry_at: Option<DateTime<Utc>>) -> String {
    let until = retry_at.map(|at| format!(" until {}", moment::text(at))).unwrap_or_default();
    format!("{mode} {outcome} ({code}){until}")
}

fn time(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(|| "none".into(), moment::text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A decision of the gate about nothing in particular, as the server shows it.
    fn stored(change: impl FnOnce(&mut Value)) -> Again {
        let facts = json!({"kind": "deploy", "hotfix": false, "verified": false, "preempt": false,
            "release": {"version": "1", "number": 1, "image": null}, "current": {"version": "2", "number": 2},
            "running": null, "lockdown": null, "freezes": [], "sources": [], "approvals": [], "insiders": [],
            "reverted_at": null, "scans": [], "within_budget": null});
        let inputs = json!({"facts": facts, "policy": {}, "policy_version": 0, "lifted": false});
        let at = "2026-03-04T12:00:00.000000Z";
        let verdict = Inputs::deserialize(&inputs)
            .map(|inputs| gate::evaluate(&inputs, at.parse().unwrap_or_default()));
        let verdict = serde_json::to_value(verdict.ok()).unwrap_or_default();
        let mut value = json!({"id": "d1", "service": "shop", "environment": "prod", "version": "1", "kind": "deploy",
            "allowed": verdict.get("allowed"), "evaluated_at": at, "first_evaluated_at": at, "count": 1,
            "actor": {"token": "ci", "subject": "ci"}, "override": null, "retry_at": null,
            "checks": verdict.get("checks"), "inputs": inputs});
        change(&mut value);
        Stored::deserialize(&value).map_or(Again::Unreadable, |stored| again(&stored))
    }

    fn set(pointer: &str, to: Value) -> Vec<String> {
        let change = |value: &mut Value| {
            if let Some(member) = value.pointer_mut(pointer) {
                *member = to;
            }
        };
        match stored(change) {
            Again::Compared(found) => found.into_iter().map(|difference| difference.what).collect(),
            other @ (Again::WithoutInputs | Again::Unreadable) => vec![format!("{other:?}")],
        }
    }

    #[test]
    fn what_nobody_touched_comes_out_the_same() {
        assert_eq!(stored(|_| {}), Again::Compared(Vec::new()));
    }

    #[test]
    fn whatever_was_changed_is_found() {
        assert_eq!(set("/allowed", json!(false)), ["allowed"]);
        assert_eq!(set("/retry_at", json!("2026-03-04T12:30:00Z")), ["retry_at"]);
        assert_eq!(set("/checks/0/outcome", json!("fail")), ["concurrency"]);
        assert_eq!(set("/checks/7/mode", json!("enforce")), ["outdated"]);
        assert_eq!(set("/inputs/facts/current", Value::Null), ["outdated"]);
        assert_eq!(set("/inputs/lifted", json!(true)), ["override"]);
        assert_eq!(set("/override", json!({"reason": "the house burns"})), ["override"]);
        assert_eq!(set("/inputs/facts/release/version", json!("9")), ["version"]);
        assert_eq!(set("/inputs/facts/kind", json!("hotfix")), ["kind", "outdated"]);
        assert_eq!(set("/checks", json!([])).len(), 9);
    }

    #[test]
    fn what_cannot_be_evaluated_again_is_told_apart() {
        assert_eq!(set("/inputs", Value::Null), ["WithoutInputs"]);
        assert_eq!(set("/inputs/facts", json!({})), ["Unreadable"]);
    }
}
