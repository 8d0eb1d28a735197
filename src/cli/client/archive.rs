//! Archiving and reviving services and environments: what runs there is told before, because it runs on and shows no more.

use std::io;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    call::Call,
    error::Error,
    session::Session,
    view::{Occupant, Target},
};
use crate::{
    cli::{
        exit::Exit,
        output::{self, age, plain, print, say},
    },
    clock,
};

pub const EXAMPLES: &str = "\
Nothing is deleted: the history stays, and the name is not given to another. What runs there goes on, and is shown no more;
where it is to stop, `waybill remove` takes it out first. Refused while anything is being deployed there.";

#[derive(Debug, clap::Args)]
pub struct ArchiveArgs {
    /// Which one.
    name: String,
    /// Do not ask for confirmation. Without a terminal nobody is asked anyway.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
pub struct ReviveArgs {
    /// Which one.
    name: String,
}

/// What is archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Service,
    Environment,
}

impl What {
    fn word(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Environment => "environment",
        }
    }

    fn collection(self) -> &'static str {
        match self {
            Self::Service => "services",
            Self::Environment => "environments",
        }
    }

    /// What runs of the service, or in the environment.
    fn running(self, matrix: Matrix, name: &str) -> Vec<(String, Target)> {
        let targets = matrix.services.into_iter().flat_map(|service| {
            service.targets.into_iter().map(move |target| (service.name.clone(), target))
        });
        let is_meant = |(service, target): &(String, Target)| match self {
            Self::Service => service == name,
            Self::Environment => target.environment == name,
        };
        targets.filter(is_meant).filter(|(_, target)| target.current.is_some()).collect()
    }
}

#[derive(Debug, Deserialize)]
struct Matrix {
    services: Vec<Service>,
}

#[derive(Debug, Deserialize)]
struct Service {
    name: String,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Archived {
    name: String,
}

pub async fn archive(session: &Session, what: What, args: &ArchiveArgs) -> Result<Exit, Error> {
    let (word, name) = (what.word(), plain(&args.name));
    let path = [what.collection(), &args.name];
    // Before the question: a name that is wrong is worth none.
    session.client.send(&Call::get(&path)).await?;
    let matrix = Call::get(&["matrix"]).query(what.word(), Some(&args.name));
    let matrix = Matrix::deserialize(&session.client.send(&matrix).await?)?;
    let running = what.running(matrix, &args.name);
    tell(&running);
    if !output::confirmed(args.yes, format_args!("Archive {word} {name}? [y/N]"))? {
        return Err(Error::Failed("nothing was done".into()));
    }
    let words = |archived: Archived| {
        let name = plain(&archived.name);
        print(format_args!("{word} {name} is archived; `waybill {word} revive {name}` brings it back"))
    };
    session.tell(&Call::delete(&path), words).await
}

/// Tells what runs on.
fn tell(running: &[(String, Target)]) {
    let now = clock::now();
    for (service, target) in running {
        let environment = plain(&target.environment);
        if let Some(Occupant { version, since, .. }) = &target.current {
            let (service, version) = (plain(service), plain(version));
            say(format_args!("{service} {version} runs in {environment}, for {}", age(now - *since)));
        }
    }
    if running.is_empty() {
        say("nothing is known to run there");
    }
}

pub async fn revive(session: &Session, what: What, args: &ReviveArgs) -> Result<Exit, Error> {
    let call = Call::patch(&[what.collection(), &args.name], &json!({ "archived": false }))?;
    let words = |revived: Value| -> io::Result<()> {
        let name = revived.get("name").and_then(Value::as_str).unwrap_or(&args.name).to_owned();
        print(format_args!("{} {} is there again", what.word(), plain(&name)))
    };
    session.tell(&call, words).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_there_is_found() {
        let occupant = json!({"version": "1", "since": "2026-03-04T12:00:00Z"});
        let matrix = json!({"services": [
            {"name": "shop", "targets": [{"environment": "dev", "current": occupant}, {"environment": "prod", "current": null}]},
            {"name": "pay", "targets": [{"environment": "prod", "current": occupant}]},
        ]});
        let found = |what: What, name: &str| {
            let matrix =
                Matrix::deserialize(&matrix).map(|matrix| what.running(matrix, name)).unwrap_or_default();
            matrix
                .into_iter()
                .map(|(service, target)| format!("{service}/{}", target.environment))
                .collect::<Vec<_>>()
        };
        assert_eq!(found(What::Service, "shop"), ["shop/dev"]);
        assert_eq!(found(What::Environment, "prod"), ["pay/prod"]);
        assert!(found(What::Environment, "qa").is_empty());
    }
}
