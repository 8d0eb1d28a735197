//! `waybill trust`: which pipelines of an issuer may do what.

use std::{
    collections::BTreeMap,
    io::{self, Read as _},
    path::PathBuf,
};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    call::Call,
    card::{print_card, print_lines},
    error::Error,
    session::{ALL, Session},
};
use crate::{
    cli::{
        exit::Exit,
        input,
        output::{plain, print, say},
        words::one_of,
    },
    domain::vocabulary::Scope,
};

#[derive(Debug, clap::Subcommand)]
pub enum TrustCommand {
    /// Trust pipelines: what they may do, told by the claims of their ID tokens.
    #[command(after_help = EXAMPLES)]
    Create(CreateArgs),
    /// List trusts, oldest first.
    List,
    /// Show one trust.
    Show(WhichArgs),
    /// Explain, claim by claim, what the trusts make of an ID token, which is read from standard input.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Change a trust. What is not given stays.
    Update(UpdateArgs),
    /// Delete a trust. What pipelines were given by it stops working at once.
    Delete(WhichArgs),
}

/// More than any ID token has.
const READ_MAX: u64 = 64 * 1024;

const EXAMPLES: &str = "\
Examples:
  waybill trust create --name shop-prod --issuer gitlab --gitlab 4711 \\
    --scope read,deploy --service shop --environment prod
  waybill trust create --name shop --issuer github --github 74 --scope read,deploy --map production=prod
  waybill trust create --name jobs --issuer kubernetes --scope read,deploy \\
    --claim /kubernetes.io/serviceaccount/uid=0a1b2c3d-0000-4000-8000-000000000000

A value is to the letter; `*` stands for anything up to the next `/`. At least one claim is to the letter that the issuer never
gives to somebody else: of GitLab project_id or namespace_id, of GitHub repository_id or repository_owner_id.";

const CHECK_EXAMPLES: &str = "\
Examples:
  waybill trust check < token.jwt
  printf %s \"$WAYBILL_ID_TOKEN\" | waybill trust check";

/// Whom it means, and what they may do.
#[derive(Debug, clap::Args)]
pub struct SaysArgs {
    /// The id of a project in GitLab; its protected branches and tags alone, unless `--claim ref_protected=…` says otherwise.
    #[arg(long, value_name = "PROJECT_ID", conflicts_with = "github")]
    gitlab: Option<u64>,
    /// The id of a repository in GitHub; its protected branches and tags alone, unless `--claim ref_protected=…` says otherwise.
    #[arg(long, value_name = "REPOSITORY_ID")]
    github: Option<u64>,
    /// A claim, by its name or by a JSON pointer, and what it must be; repeat for more. `--claim ref_protected=` leaves that out.
    #[arg(long = "claim", value_name = "CLAIM=VALUE", value_parser = pair)]
    claims: Vec<(String, String)>,
    /// What the issuer calls an environment, and what it is called here; repeat for more. Pipelines act in the one that
    /// their ID token names, and in no other.
    #[arg(long = "map", value_name = "THEIRS=OURS", value_parser = pair)]
    map: Vec<(String, String)>,
    /// What they may do; repeat, or separate by commas, for more.
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',', value_parser = one_of(Scope::ALL))]
    scopes: Vec<Scope>,
    /// A group that they approve for; repeat for more.
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// A service that they are narrowed to; repeat for more.
    #[arg(long = "service", value_name = "SERVICE")]
    services: Vec<String>,
    /// An environment that they are narrowed to; repeat for more.
    #[arg(long = "environment", value_name = "ENVIRONMENT")]
    environments: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    /// Its name.
    #[arg(long)]
    name: String,
    /// The issuer, as the server's configuration calls it.
    #[arg(long)]
    issuer: String,
    #[command(flatten)]
    says: SaysArgs,
}

#[derive(Debug, clap::Args)]
pub struct UpdateArgs {
    /// Its name.
    name: String,
    #[command(flatten)]
    says: SaysArgs,
    /// Narrow it to no services any more.
    #[arg(long, conflicts_with = "services")]
    all_services: bool,
    /// Narrow it to no environments any more.
    #[arg(long, conflicts_with = "environments")]
    all_environments: bool,
    /// Map no environments any more.
    #[arg(long, conflicts_with = "map")]
    no_map: bool,
}

#[derive(Debug, clap::Args)]
pub struct WhichArgs {
    /// Its name.
    name: String,
}

#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// A file that holds the ID token; standard input when it is not given.
    #[arg(long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    file: PathBuf,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be written as NAME=VALUE")?;
    if name.is_empty() {
        Err("must be written as NAME=VALUE".to_owned())
    } else {
        Ok((name.to_owned(), value.to_owned()))
    }
}

impl SaysArgs {
    /// The claims, with those of a preset before those that were written out.
    fn claims(&self) -> BTreeMap<String, String> {
        let of_preset = |name: &str, id: Option<u64>| {
            id.map(|id| [(name.to_owned(), id.to_string()), ("ref_protected".to_owned(), "true".to_owned())])
        };
        let gitlab = of_preset("project_id", self.gitlab).into_iter().flatten();
        let github = of_preset("repository_id", self.github).into_iter().flatten();
        let mut claims: BTreeMap<_, _> = gitlab.chain(github).chain(self.claims.iter().cloned()).collect();
        // Said to be nothing, it is left out: a preset must be one that can be undone.
        claims.retain(|_, wanted| !wanted.is_empty());
        claims
    }

    /// What is said of a trust, each member that is.
    fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        let mut set = |name: &str, is_said: bool, value: Value| {
            if is_said {
                body.insert(name.to_owned(), value);
            }
        };
        let claims = self.claims();
        set("claims", !claims.is_empty(), json!(claims));
        set(
            "environment_map",
            !self.map.is_empty(),
            json!(self.map.iter().cloned().collect::<BTreeMap<_, _>>()),
        );
        set("scopes", !self.scopes.is_empty(), json!(self.scopes));
        set("groups", !self.groups.is_empty(), json!(self.groups));
        set("services", !self.services.is_empty(), json!(self.services));
        set("environments", !self.environments.is_empty(), json!(self.environments));
        body
    }
}

pub(super) async fn run(session: &Session, command: TrustCommand) -> Result<Exit, Error> {
    match command {
        TrustCommand::Create(args) => {
            let mut body = args.says.body();
            for name in ["claims", "scopes"] {
                body.entry(name).or_insert_with(|| if name == "claims" { json!({}) } else { json!([]) });
            }
            body.extend([("name".to_owned(), json!(args.name)), ("issuer".to_owned(), json!(args.issuer))]);
            session.tell(&Call::post(&["trusts"], &body)?, |trust: Value| told(&trust, "made: ")).await
        }
        TrustCommand::List => list(session).await,
        TrustCommand::Show(args) => {
            session.tell(&Call::get(&["trusts", &args.name]), |trust: Value| told(&trust, "")).await
        }
        TrustCommand::Check(args) => check(session, &args).await,
        TrustCommand::Update(args) => {
            let mut body = args.says.body();
            for (name, is_null) in [
                ("services", args.all_services),
                ("environments", args.all_environments),
                ("environment_map", args.no_map),
            ] {
                if is_null {
                    body.insert(name.to_owned(), Value::Null);
                }
            }
            let call = Call::patch(&["trusts", &args.name], &body)?;
            session.tell(&call, |trust: Value| told(&trust, "changed: ")).await
        }
        TrustCommand::Delete(args) => {
            session.client.send(&Call::delete(&["trusts", &args.name])).await?;
            say(format_args!("The trust {} is deleted.", plain(&args.name)));
            Ok(Exit::DONE)
        }
    }
}

async fn list(session: &Session) -> Result<Exit, Error> {
    #[derive(Deserialize)]
    struct Trust {
        name: String,
        issuer: String,
        claims: BTreeMap<String, String>,
        scopes: Vec<String>,
        services: Option<Vec<String>>,
        environments: Option<Vec<String>>,
    }
    let header = ["NAME", "ISSUER", "CLAIMS", "SCOPES", "SERVICES", "ENVIRONMENTS"];
    let names = |names: Option<Vec<String>>| names.map_or_else(|| "all".to_owned(), |names| names.join(", "));
    let row = |trust: Trust| {
        let claims = trust.claims.iter().map(|(claim, wanted)| format!("{claim}={wanted}"));
        let claims = claims.collect::<Vec<_>>().join(", ");
        [
            trust.name,
            trust.issuer,
            claims,
            trust.scopes.join(", "),
            names(trust.services),
            names(trust.environments),
        ]
    };
    let rows = |trusts: Vec<_>| trusts.into_iter().map(row).collect();
    session.list(&Call::get(&["trusts"]), ALL, "No trusts.", header, rows).await
}

fn told(trust: &Value, did: &str) -> io::Result<()> {
    let name = trust.get("name").and_then(Value::as_str).unwrap_or_default();
    let members = [
        ("issuer", "/issuer"),
        ("claims", "/claims"),
        ("environments by theirs", "/environment_map"),
        ("scopes", "/scopes"),
        ("groups", "/groups"),
        ("services", "/services"),
        ("environments", "/environments"),
        ("made by", "/actor"),
        ("changed at", "/updated_at"),
    ];
    print_card(&format!("{did}{name}"), trust, &members)
}

/// What the server makes of an ID token.
#[derive(Deserialize)]
struct Explanation {
    issuer: String,
    subject: String,
    trust: Option<String>,
    reason: Option<String>,
    trusts: Vec<TrustCheck>,
}

#[derive(Deserialize)]
struct TrustCheck {
    trust: String,
    claims: Vec<Claim>,
}

#[derive(Deserialize)]
struct Claim {
    #[serde(rename = "claim")]
    name: String,
    wanted: String,
    given: String,
    matches: bool,
}

async fn check(session: &Session, args: &CheckArgs) -> Result<Exit, Error> {
    let mut id_token = String::new();
    let read = input::open(&args.file).and_then(|file| file.take(READ_MAX).read_to_string(&mut id_token));
    read.map_err(|error| {
        Error::Usage(format!("cannot read the ID token from {}: {error}", args.file.display()))
    })?;
    let call = Call::post(&["trusts", "check"], &json!({ "id_token": id_token.trim() }))?;
    let answer = session.client.send(&call).await?;
    let is_trusted = answer.get("trust").is_some_and(|trust| !trust.is_null());
    session.show(&answer, explain)?;
    Ok(if is_trusted { Exit::DONE } else { Exit::UNSOUND })
}

fn explain(found: Explanation) -> io::Result<()> {
    let Explanation { issuer, subject, trust, reason, trusts } = found;
    print(plain(&format!("{issuer}: {subject}")))?;
    for TrustCheck { trust, claims } in trusts {
        let line = |claim: &Claim| {
            let mark = if claim.matches { "yes" } else { "NO " };
            (mark, format!("{} is {}, wanted {}", claim.name, claim.given, claim.wanted))
        };
        print_lines(&trust, &claims.iter().map(line).collect::<Vec<_>>())?;
    }
    let verdict = trust.map_or_else(
        || reason.unwrap_or_else(|| "no trust lets it in".to_owned()),
        |trust| format!("{trust} lets it in"),
    );
    print(plain(&verdict))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(preset: Option<u64>, claims: &[&str]) -> SaysArgs {
        SaysArgs {
            gitlab: preset,
            github: None,
            claims: claims.iter().map(|claim| pair(claim).unwrap()).collect(),
            map: vec![],
            scopes: vec![Scope::Deploy],
            groups: vec![],
            services: vec![],
            environments: vec![],
        }
    }

    #[test]
    fn a_preset_means_protected_refs_unless_told_otherwise() {
        let claims = |claims: &[&str]| json!(says(Some(4711), claims).claims());
        assert_eq!(claims(&[]), json!({ "project_id": "4711", "ref_protected": "true" }));
        assert_eq!(claims(&["ref_protected="]), json!({ "project_id": "4711" }));
        assert_eq!(
            claims(&["ref=v*"]),
            json!({ "project_id": "4711", "ref_protected": "true", "ref": "v*" })
        );
        assert_eq!(json!(says(None, &["a=b=c"]).claims()), json!({ "a": "b=c" }));
        assert!(pair("a").is_err() && pair("=a").is_err());
    }

    #[test]
    fn only_what_is_said_is_changed() {
        let body = Value::Object(says(None, &[]).body());
        assert_eq!(body, json!({ "scopes": ["deploy"] }));
    }
}
