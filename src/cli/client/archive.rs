//! Archiving and reviving services and environments: what runs there is told before, because it runs on and shows no more.

use std::io;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    call::Call,
    error::Error,
    place::{self, Placed, What},
    session::Session,
    view::Occupant,
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

#[derive(Debug, Deserialize)]
struct Archived {
    name: String,
}

pub async fn archive(session: &Session, what: What, args: &ArchiveArgs) -> Result<Exit, Error> {
    let (word, name) = (what.word(), plain(&args.name));
    let path = what.path(&args.name);
    // Before the question: a name that is wrong is worth none.
    session.client.send(&Call::get(&path)).await?;
    tell(&place::targets(session, what, &args.name).await?)?;
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
fn tell(targets: &[Value]) -> serde_json::Result<()> {
    let now = clock::now();
    let mut is_empty = true;
    for placed in targets {
        let Placed { service, target } = Placed::deserialize(placed)?;
        if let Some(Occupant { version, since, .. }) = &target.current {
            let (service, version, environment) =
                (plain(&service), plain(version), plain(&target.environment));
            say(format_args!("{service} {version} runs in {environment}, for {}", age(now - *since)));
            is_empty = false;
        }
    }
    if is_empty {
        say("nothing is known to run there");
    }
    Ok(())
}

pub async fn revive(session: &Session, what: What, args: &ReviveArgs) -> Result<Exit, Error> {
    let call = Call::patch(&what.path(&args.name), &json!({ "archived": false }))?;
    let words = |revived: Value| -> io::Result<()> {
        let name = revived.get("name").and_then(Value::as_str).unwrap_or(&args.name).to_owned();
        print(format_args!("{} {} is there again", what.word(), plain(&name)))
    };
    session.tell(&call, words).await
}
