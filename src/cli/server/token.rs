//! `waybill token`: tokens, made right in the database by whoever runs the server.

use std::{collections::BTreeSet, process::ExitCode};

use clap::{Args, Subcommand};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::{ConfigArgs, say};
use crate::{
    api::{
        tokens::CreateToken,
        types::{Many, Time},
    },
    cli::words::{flag, one_of},
    domain::{
        credential::Credential,
        identity::poses_as,
        nearest::nearest,
        page::{LIMIT_MAX, PageRequest},
        vocabulary::Scope,
    },
    store::db::Db,
    usecase::tokens,
};

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print its secret, which is shown this once.
    Create(CreateArgs),
    /// List tokens, oldest first, without their secrets.
    List(ConfigArgs),
    /// Revoke a token; it stops working with the next request.
    Revoke {
        /// Its id or its name.
        #[arg(value_name = "TOKEN")]
        which: String,
        /// Where the database is.
        #[command(flatten)]
        config: ConfigArgs,
    },
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Its name: a DNS-1123 label.
    #[arg(long)]
    name: String,
    /// The person or pipeline that holds it; the name when absent.
    #[arg(long)]
    subject: Option<String>,
    /// What it may do, separated by commas.
    #[arg(long = "scope", required = true, value_delimiter = ',', value_parser = one_of(Scope::ALL))]
    scopes: Vec<Scope>,
    /// The groups it approves for, separated by commas.
    #[arg(long = "group", value_delimiter = ',')]
    groups: Vec<String>,
    /// The services it is narrowed to, separated by commas.
    #[arg(long = "service", value_delimiter = ',')]
    services: Vec<String>,
    /// The environments it is narrowed to, separated by commas.
    #[arg(long = "environment", value_delimiter = ',')]
    environments: Vec<String>,
    /// When it stops working, as RFC 3339 has it.
    #[arg(long)]
    expires_at: Option<chrono::DateTime<chrono::Utc>>,
    #[command(flatten)]
    config: ConfigArgs,
}

pub async fn run(command: TokenCommand) -> anyhow::Result<ExitCode> {
    match command {
        TokenCommand::Create(args) => create(args).await,
        TokenCommand::List(config) => {
            let tokens = all(&config.open().await?).await?;
            tokens.iter().try_for_each(|token| say(&line(token)).map(drop))?;
            Ok(ExitCode::SUCCESS)
        }
        TokenCommand::Revoke { which, config } => {
            let db = config.open().await?;
            let id = match which.parse() {
                Ok(id) => id,
                Err(_name) => id_of(&db, &which).await?,
            };
            tokens::revoke_by_server(&db, id).await?;
            say(&format!("Token {which} is revoked."))
        }
    }
}

async fn all(db: &Db) -> anyhow::Result<Vec<Credential>> {
    let mut request = PageRequest { limit: LIMIT_MAX, after: None };
    let mut all = Vec::new();
    loop {
        let page = tokens::list_by_server(db, &request).await?;
        all.extend(page.items);
        request.after = all.last().map(|token| token.principal.token_id);
        if page.next.is_none() {
            return Ok(all);
        }
    }
}

/// The id of the token of this name that is not revoked: there is one at most.
async fn id_of(db: &Db, name: &str) -> anyhow::Result<Uuid> {
    let working: Vec<_> = all(db).await?.into_iter().filter(|token| token.revoked_at.is_none()).collect();
    if let Some(token) = working.iter().find(|token| token.principal.actor.token == name) {
        return Ok(token.principal.token_id);
    }
    let meant = nearest(name, working.iter().map(|token| token.principal.actor.token.as_str()));
    let offer = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
    anyhow::bail!("there is no token {name} that works{offer}")
}

async fn create(args: CreateArgs) -> anyhow::Result<ExitCode> {
    let many = |names: Vec<String>| Many(names.into_iter().map(Into::into).collect());
    let some = |names: Vec<String>| (!names.is_empty()).then(|| many(names));
    let asked = CreateToken {
        name: args.name.into(),
        subject: args.subject.map(Into::into),
        scopes: Many(args.scopes),
        groups: Many(args.groups.into_iter().map(Into::into).collect()),
        services: some(args.services),
        environments: some(args.environments),
        expires_at: args.expires_at.map(Time),
    };
    let new = asked.parse().map_err(|faults| {
        let lines: Vec<_> = faults
            .into_vec()
            .into_iter()
            .map(|fault| format!("{}: {}", flag(&fault.pointer), fault.detail))
            .collect();
        anyhow::anyhow!(lines.join("\n"))
    })?;
    let (config, db) = args.config.open_with_config().await?;
    let issuers = config.auth.issuer.iter().map(|issuer| issuer.name.as_str());
    if let Some(issuer) = poses_as(&new.principal.actor.subject, issuers) {
        anyhow::bail!("--subject: {}", tokens::posing(issuer));
    }
    say(tokens::create_by_server(&db, &new).await?.secret.expose_secret())
}

fn line(token: &Credential) -> String {
    let principal = &token.principal;
    let scopes: Vec<_> = principal.scopes.iter().map(|scope| scope.as_str()).collect();
    let names = |what: &str, names: &Option<BTreeSet<String>>| {
        names.as_ref().map_or_else(String::new, |names| {
            format!("  {what}={}", names.iter().cloned().collect::<Vec<_>>().join(","))
        })
    };
    format!(
        "{}  {}  {}  {}{}{}{}",
        principal.token_id,
        principal.actor.token,
        principal.actor.subject,
        scopes.join(","),
        names("services", &principal.narrowing.services),
        names("environments", &principal.narrowing.environments),
        token.revoked_at.map_or_else(String::new, |at| format!("  revoked {}", Time::text(at)))
    )
}
