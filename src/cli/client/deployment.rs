//! `waybill deployment show`: one deployment with its timeline.

use std::io;

use serde::Deserialize as _;
use serde_json::Value;

use super::{call::Call, card::print_card, error::Error, moment, session::Session, view::Event};
use crate::cli::{
    exit::Exit,
    output::{self, print},
};

#[derive(Debug, clap::Subcommand)]
pub enum DeploymentCommand {
    /// Show one deployment: what, by whom and why, and everything that happened to it.
    #[command(after_help = EXAMPLES)]
    Show {
        /// Its id, as `waybill deploy` prints it and `waybill history --output json` lists it.
        id: String,
    },
}

const EXAMPLES: &str = "\
Example:
  waybill deployment show 01997e1c-5b0a-7cc3-9d4e-2f1b6a7c8d90";

const MEMBERS: [(&str, &str); 24] = [
    ("service", "/service"),
    ("environment", "/environment"),
    ("version", "/version"),
    ("commit", "/commit_sha"),
    ("image", "/image"),
    ("kind", "/kind"),
    ("status", "/status"),
    ("message", "/message"),
    ("phase", "/phase"),
    ("reason", "/reason"),
    ("set off by", "/initiated_by"),
    ("started by", "/actor"),
    ("with token", "/actor/token"),
    ("pipeline", "/pipeline_url"),
    ("override", "/override/reason"),
    ("decision", "/decision_id"),
    ("remediates", "/remediates"),
    ("recorded", "/recorded"),
    ("past the gate", "/ungated"),
    ("started", "/started_at"),
    ("finished", "/finished_at"),
    ("late result", "/late_status"),
    ("superseded by", "/superseded_by"),
    ("reverted by", "/reverted_by"),
];

pub(super) async fn run(session: &Session, command: DeploymentCommand) -> Result<Exit, Error> {
    let DeploymentCommand::Show { id } = command;
    session.tell(&Call::get(&["deployments", &id]), |deployment| told(&id, &deployment)).await
}

fn told(id: &str, deployment: &Value) -> io::Result<()> {
    print_card(&format!("deployment {id}"), deployment, &MEMBERS)?;
    let timeline = deployment.pointer("/timeline").map(Vec::<Event>::deserialize).transpose()?;
    let rows: Vec<_> = timeline.unwrap_or_default().into_iter().map(row).collect();
    print("")?;
    output::list("No events.", ["AT (UTC)", "EVENT", "BY"], &rows)
}

fn row(event: Event) -> [String; 3] {
    [moment::second(event.at), event.kind, event.actor.shown()]
}
