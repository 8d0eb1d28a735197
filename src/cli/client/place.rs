//! One service or one environment: what is on record about it, and what runs of it or in it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{call::Call, card::print_card, error::Error, session::Session, view::Target};
use crate::{
    cli::{
        exit::Exit,
        output::{self, age, print},
    },
    clock,
};

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Service,
    Environment,
}

/// A target, with the names of both.
#[derive(Debug, Deserialize)]
pub struct Placed {
    pub service: String,
    #[serde(flatten)]
    pub target: Target,
}

impl What {
    pub fn word(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Environment => "environment",
        }
    }

    /// Where the one of this name is in the API.
    pub fn path(self, name: &str) -> [&str; 2] {
        match self {
            Self::Service => ["services", name],
            Self::Environment => ["environments", name],
        }
    }
}

/// What runs of it or in it, or is on its way; as it came, with the name of the service.
pub async fn targets(session: &Session, what: What, name: &str) -> Result<Vec<Value>, Error> {
    let matrix = Call::get(&["matrix"]).query(what.word(), Some(name));
    let matrix = session.client.send(&matrix).await?;
    Ok(of(matrix, what, name))
}

fn of(mut matrix: Value, what: What, name: &str) -> Vec<Value> {
    let mut found = Vec::new();
    for service in matrix.get_mut("services").and_then(Value::as_array_mut).into_iter().flatten() {
        let its_name = service.get_mut("name").map(Value::take).unwrap_or_default();
        for mut target in
            service.get_mut("targets").and_then(Value::as_array_mut).into_iter().flat_map(std::mem::take)
        {
            let holds = |member| target.get(member).is_some_and(|occupant| !occupant.is_null());
            let holds_some = holds("current") || holds("running");
            if let Some(members) = target.as_object_mut() {
                members.insert("service".to_owned(), its_name.clone());
            }
            if holds_some && target.get(what.word()).is_some_and(|own| own == name) {
                found.push(target);
            }
        }
    }
    found
}

/// Shows what is on record about it in these lines, and its targets in a table.
pub async fn show(session: &Session, what: What, name: &str, lines: &[(&str, &str)]) -> Result<Exit, Error> {
    let mut thing = session.client.send(&Call::get(&what.path(name))).await?;
    let targets = targets(session, what, name).await?;
    if let Some(members) = thing.as_object_mut() {
        members.insert("targets".to_owned(), json!(targets));
    }
    let words = |thing: Value| {
        print_card(&format!("{} {name}", what.word()), &thing, lines)?;
        print("")?;
        let rows = targets.iter().map(Placed::deserialize).collect::<Result<Vec<_>, _>>()?;
        let rows: Vec<_> = rows.into_iter().map(|placed| placed.row(what)).collect();
        let other = match what {
            What::Service => "ENVIRONMENT",
            What::Environment => "SERVICE",
        };
        output::list("Nothing runs.", [other, "VERSION", "SINCE", "BEHIND", "ON ITS WAY", "BY"], &rows)?;
        Ok::<_, Error>(())
    };
    session.show(&thing, words)
}

impl Placed {
    fn row(self, what: What) -> [String; 6] {
        let Self { service, target: Target { environment, current, running, behind, .. } } = self;
        let other = match what {
            What::Service => environment,
            What::Environment => service,
        };
        let since = current.as_ref().map(|current| age(clock::now() - current.since));
        let by = current.as_ref().map(|current| current.actor.shown());
        let coming = running.map(|running| {
            if running.removal { format!("removal of {}", running.version) } else { running.version }
        });
        let behind = behind.filter(|behind| *behind > 0).map(|behind| behind.to_string());
        let version = current.map(|current| current.version);
        [Some(other), version, since, behind, coming, by].map(Option::unwrap_or_default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_there_is_found() {
        let occupant = json!({"version": "1", "since": "2026-03-04T12:00:00Z"});
        let matrix = json!({"services": [
            {"name": "shop", "targets": [{"environment": "dev", "current": occupant}, {"environment": "prod", "current": null}]},
            {"name": "pay", "targets": [{"environment": "prod", "current": null, "running": occupant}]},
        ]});
        let found = |what: What, name: &str| {
            let placed = of(matrix.clone(), what, name);
            let placed = placed.iter().map(|placed| Placed::deserialize(placed).unwrap());
            placed
                .map(|placed| format!("{}/{}", placed.service, placed.target.environment))
                .collect::<Vec<_>>()
        };
        assert_eq!(found(What::Service, "shop"), ["shop/dev"]);
        assert_eq!(found(What::Environment, "prod"), ["pay/prod"]);
        assert!(found(What::Environment, "qa").is_empty());
    }
}
