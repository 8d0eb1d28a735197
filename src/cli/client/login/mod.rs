//! `waybill login`, `logout` and `sessions`: signing in on the server's own page, and keeping the session that it gives.

mod browser;

use std::{path::PathBuf, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    access::Proof,
    call::Call,
    credentials::ConnectionArgs,
    error::{Error, NoAnswer},
    http::Client,
    session::{PageArgs, Session},
};
use crate::{
    cli::{
        exit::Exit,
        output::{Format, print, say},
    },
    clock,
    config::signed_in::{self, SignedIn, SignedInFile},
    domain::sign_in::code,
};

pub const EXAMPLES: &str = "\
Examples:
  waybill login --url https://waybill.example.com    sign in with the browser on this machine
  waybill login --device                             where there is none: a code to type on another
  waybill whoami
  waybill logout

The session is kept for you alone in $XDG_STATE_HOME/waybill/sessions.json (by default below ~/.local/state), and lasts up to
twelve hours. WAYBILL_TOKEN goes before it.";

#[derive(Debug, clap::Args)]
pub struct LoginArgs {
    /// Show a code to type on the server's page, in a browser anywhere.
    #[arg(long)]
    device: bool,
    /// Print the address of the page and leave it to you to open it.
    #[arg(long, conflicts_with = "device")]
    no_browser: bool,
}

#[derive(Debug, clap::Subcommand)]
pub enum SessionsCommand {
    /// List your sessions; an admin's are everybody's.
    List(PageArgs),
    /// End a session: in a browser, or at a command line.
    End {
        /// Its id, as `waybill sessions list` shows it.
        id: Uuid,
    },
}

#[derive(Debug, Deserialize)]
struct Row {
    id: Uuid,
    subject: String,
    name: Option<String>,
    place: Option<String>,
    idle_until: String,
    current: bool,
}

/// A session that the server gave.
#[derive(Deserialize)]
struct Given {
    token: SecretString,
    session: GivenSession,
}

#[derive(Deserialize)]
struct GivenSession {
    id: Uuid,
    subject: String,
    name: Option<String>,
    expires_at: DateTime<Utc>,
}

/// What a command line shows that waits for a person.
#[derive(Deserialize)]
struct Asked {
    code: SecretString,
    user_code: String,
    verification_uri: String,
    expires_at: DateTime<Utc>,
    interval_seconds: u64,
}

/// Signs in.
pub async fn login(args: &LoginArgs, connection: &ConnectionArgs, format: Format) -> Result<Exit, Error> {
    let url = connection.server()?;
    let client = Client::of(&url, Proof::Nothing)?;
    let verifier = random()?;
    let given = if args.device {
        by_code(&client, &verifier).await?
    } else {
        by_browser(&client, &url, &verifier, !args.no_browser).await?
    };
    let GivenSession { id, subject, name, expires_at } = given.session;
    let path = kept_in()?;
    let write = || {
        let mut file = SignedInFile::read(&path).unwrap_or_default();
        file.enter(SignedIn { url: url.clone(), id, token: given.token.clone(), expires_at }, clock::now());
        file.write(&path)
    };
    write().map_err(|error| Error::Failed(format!("cannot write {}: {error}", path.display())))?;
    match format {
        Format::Json => {
            let told = json!({ "id": id, "subject": subject, "name": name, "expires_at": expires_at });
            crate::cli::output::print_json(&told)?;
        }
        Format::Table => {
            let who = name.map_or_else(|| subject.clone(), |name| format!("{name} ({subject})"));
            print(format_args!(
                "signed in at {url} as {who} until {}",
                expires_at.format("%Y-%m-%d %H:%M UTC")
            ))?;
        }
    }
    Ok(Exit::DONE)
}

/// By the browser on this machine, which hands over a code.
async fn by_browser(client: &Client, url: &Url, verifier: &str, opens: bool) -> Result<Given, Error> {
    let waiting = browser::Waiting::listen().await?;
    let mut page = url.clone();
    if let Ok(mut segments) = page.path_segments_mut() {
        segments.pop_if_empty().extend(["login", "cli"]);
    }
    page.query_pairs_mut()
        .append_pair("port", &waiting.port.to_string())
        .append_pair("state", &waiting.state)
        .append_pair("challenge", &code::challenge(verifier));
    say(format_args!("Open this address in a browser on this machine, unless it opens by itself:\n  {page}"));
    if opens {
        browser::open(&page);
    }
    let limit = code::GOOD_FOR.to_std().unwrap_or(Duration::from_mins(10));
    let code = tokio::time::timeout(limit, waiting.code()).await.map_err(|_late| too_late())??;
    match redeem(client, code.expose_secret(), verifier).await? {
        Some(given) => Ok(given),
        None => Err(Error::Failed("the server gave a code that nobody has let in".into())),
    }
}

/// By a code that somebody types on the server's page.
async fn by_code(client: &Client, verifier: &str) -> Result<Given, Error> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let body = json!({ "challenge": code::challenge(verifier), "client": host });
    let asked: Asked = serde_json::from_value(client.send(&Call::post(&["auth", "device"], &body)?).await?)?;
    let Asked { user_code, verification_uri, .. } = &asked;
    say(format_args!("Open {verification_uri} in any browser, and type the code {user_code}"));
    while clock::now() < asked.expires_at {
        tokio::time::sleep(Duration::from_secs(asked.interval_seconds.max(1))).await;
        if let Some(given) = redeem(client, asked.code.expose_secret(), verifier).await? {
            return Ok(given);
        }
    }
    Err(too_late())
}

fn too_late() -> Error {
    Error::Failed("nobody let this command line in within ten minutes; run `waybill login` again".into())
}

/// Changes a code for a session; none while nobody has let this command line in.
async fn redeem(client: &Client, code: &str, verifier: &str) -> Result<Option<Given>, Error> {
    let answer =
        client.send(&Call::post(&["auth", "code"], &json!({ "code": code, "verifier": verifier }))?).await?;
    if answer == Value::Null { Ok(None) } else { Ok(Some(serde_json::from_value(answer)?)) }
}

/// Signs out: ends the session at the server, and forgets it here.
pub async fn logout(connection: &ConnectionArgs) -> Result<Exit, Error> {
    let (url, path) = (connection.server()?, kept_in()?);
    let read = || SignedInFile::read(&path);
    let mut file =
        read().map_err(|error| Error::Usage(format!("cannot read {}: {error}", path.display())))?;
    let Some(kept) = file.at(&url) else {
        print(format_args!("nobody has signed in at {url} here"))?;
        return Ok(Exit::DONE);
    };
    let client = Client::of(&url, Proof::Token(kept.token.clone()))?;
    let ended = client.send(&Call::delete(&["sessions", &kept.id.to_string()])).await;
    // What is no longer good needs no end; of a server that is away, the session is kept, so that it can be ended later.
    match ended {
        Ok(_) => {}
        Err(NoAnswer::Problem { problem, .. }) if matches!(problem.status, 401 | 404) => {}
        Err(error) => return Err(error.into()),
    }
    file.leave(&url);
    file.write(&path).map_err(|error| Error::Failed(format!("cannot write {}: {error}", path.display())))?;
    print(format_args!("signed out at {url}"))?;
    Ok(Exit::DONE)
}

/// Lists sessions, and ends them.
pub(super) async fn sessions(session: &Session, command: SessionsCommand) -> Result<Exit, Error> {
    match command {
        SessionsCommand::List(page) => {
            let header = ["ID", "WHO", "WHERE", "IDLE UNTIL"];
            let call = Call::get(&["sessions"]);
            session
                .list(&call, page.limit, "there are no sessions", header, |rows: Vec<Row>| {
                    rows.into_iter().map(cells).collect()
                })
                .await
        }
        SessionsCommand::End { id } => {
            let call = Call::delete(&["sessions", &id.to_string()]);
            session.tell(&call, |_: Value| print(format_args!("ended {id}"))).await
        }
    }
}

fn cells(row: Row) -> [String; 4] {
    let Row { id, subject, name, place, idle_until, current } = row;
    let who = name.map_or_else(|| subject.clone(), |name| format!("{name} ({subject})"));
    let this = if current { " (this one)" } else { "" };
    [id.to_string(), who, format!("{}{this}", place.unwrap_or_default()), idle_until]
}

fn kept_in() -> Result<PathBuf, Error> {
    signed_in::path().ok_or_else(|| {
        Error::Usage("there is no home folder to keep a session in: set XDG_STATE_HOME".into())
    })
}

/// 256 random bits.
fn random() -> Result<String, Error> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::Failed(format!("the system gave no randomness: {error}")))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
