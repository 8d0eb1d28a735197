//! `waybill whoami` and `waybill access`: who asks, and who may do what at all.

use std::io;

use serde::Deserialize;
use serde_json::Value;

use super::{
    call::Call,
    card::print_card,
    error::Error,
    session::{ALL, Session},
};
use crate::{cli::exit::Exit, domain::people::shown};

/// Shows who asks.
pub(super) async fn whoami(session: &Session) -> Result<Exit, Error> {
    session.tell(&Call::get(&["auth", "me"]), |me: Value| told(&me)).await
}

fn told(me: &Value) -> io::Result<()> {
    let text = |name: &str| me.get(name).and_then(Value::as_str);
    let subject = text("subject").unwrap_or_default();
    let heading = shown(text("name"), subject);
    let members = [
        ("by", "/token"),
        ("scopes", "/scopes"),
        ("groups", "/groups"),
        ("services", "/services"),
        ("environments", "/environments"),
        ("started by", "/initiator"),
        ("until", "/expires_at"),
    ];
    print_card(&heading, me, &members)
}

/// Lists who may do what.
pub(super) async fn access(session: &Session) -> Result<Exit, Error> {
    #[derive(Deserialize)]
    struct Access {
        kind: String,
        name: String,
        who: String,
        scopes: Vec<String>,
        groups: Vec<String>,
        services: Option<Vec<String>>,
        environments: Option<Vec<String>>,
    }
    let names = |names: Option<Vec<String>>| names.map_or_else(|| "all".to_owned(), |names| names.join(", "));
    let row = |access: Access| {
        let Access { kind, name, who, scopes, groups, services, environments } = access;
        // What somebody may do whom an issuer vouched for, the roles say, which come first.
        let by_roles = kind == "session" && scopes.is_empty();
        let scopes = if by_roles { "by its groups".to_owned() } else { scopes.join(", ") };
        [kind, name, who, scopes, groups.join(", "), names(services), names(environments)]
    };
    let rows = |all: Vec<_>| all.into_iter().map(row).collect();
    let header = ["KIND", "NAME", "WHO", "SCOPES", "GROUPS", "SERVICES", "ENVIRONMENTS"];
    session.list(&Call::get(&["access"]), ALL, "Nobody.", header, rows).await
}
