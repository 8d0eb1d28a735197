//! `waybill events`: the audit log, as people read it, as it goes on, and as a file that anybody can verify.

use std::{io, time::Duration};

use serde::Deserialize as _;
use serde_json::Value;

use super::{
    call::Call,
    error::Error,
    moment,
    session::{Page, PageArgs, Session},
    view::Event,
};
use crate::{
    cli::{
        exit::Exit,
        output::{self, Format, plain, print},
    },
    domain::vocabulary::Order,
};

#[derive(Debug, clap::Subcommand)]
pub enum EventsCommand {
    /// List the last events, and those to come if told to.
    #[command(after_help = EXAMPLES)]
    List(ListArgs),
    /// Print the whole log, one event a line, for `waybill audit verify --log` or any other verifier.
    ///
    /// Of events that the token may not see, the seal alone is printed: the chain can be followed past them.
    #[command(after_help = EXAMPLES)]
    Export {
        /// Only what comes after the event with this number: goes on with a file whose last event it is.
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        after: i64,
    },
}

const EXAMPLES: &str = "\
Examples:
  waybill events list --service shop --environment prod
  waybill events list --kind deployment.failed --limit 10
  waybill events list --follow
  waybill events export > log.ndjson
  waybill events export --after $(tail -n 1 log.ndjson | jq .seq) >> log.ndjson
  waybill audit verify --log log.ndjson";

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// About this service only.
    #[arg(long)]
    service: Option<String>,
    /// About this environment only.
    #[arg(long)]
    environment: Option<String>,
    /// Of this kind only, such as `deployment.failed`.
    #[arg(long)]
    kind: Option<String>,
    /// Go on with what happens from now on, until interrupted; JSON comes one event a line.
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    page: PageArgs,
}

/// How often the log is asked for more.
const INTERVAL: Duration = Duration::from_secs(1);
/// The most that one page holds.
const PAGE: u32 = 200;
/// Where the log begins.
const START: i64 = 0;

pub(super) async fn run(session: &Session, command: EventsCommand) -> Result<Exit, Error> {
    match command {
        EventsCommand::List(args) => list(session, &args).await,
        EventsCommand::Export { after } => {
            let mut log = Log::new(session, after);
            while let Some(lines) = log.next().await? {
                lines.iter().try_for_each(output::print_line)?;
            }
            Ok(Exit::DONE)
        }
    }
}

async fn list(session: &Session, args: &ListArgs) -> Result<Exit, Error> {
    let call = Call::get(&["events"])
        .query("service", args.service.as_ref())
        .query("environment", args.environment.as_ref())
        .query("kind", args.kind.as_ref());
    // Asked before the list, so that nothing falls between the two.
    let head = if args.follow { head(session).await? } else { START };
    let newest_first = call.clone().query("order", Some(Order::NewestFirst));
    let mut last = session.pages(&newest_first, args.page.limit).await?;
    last.items.reverse();
    last.next_cursor = None;
    if args.follow {
        tell(session, &last)?;
        return follow(session, &call, last.items.last().map_or(head, seq)).await;
    }
    match session.format {
        Format::Json => output::print_json(&last)?,
        Format::Table => {
            output::list("No events.", ["SEQ", "AT (UTC)", "EVENT", "ABOUT", "BY"], &rows(&last)?)?;
        }
    }
    Ok(Exit::DONE)
}

async fn after_seq(session: &Session, call: &Call, seq: i64) -> Result<Page, Error> {
    session.page(&call.clone().query("after_seq", Some(seq)), PAGE, None).await
}

async fn head(session: &Session) -> Result<i64, Error> {
    Ok(seq(&session.client.send(&Call::get(&["events", "head"])).await?))
}

fn seq(event: &Value) -> i64 {
    event.get("seq").and_then(Value::as_i64).unwrap_or_default()
}

/// Prints what happens after an event, as it happens.
async fn follow(session: &Session, call: &Call, mut after: i64) -> Result<Exit, Error> {
    loop {
        let page = after_seq(session, call, after).await?;
        tell(session, &page)?;
        after = page.items.last().map_or(after, seq);
        if page.next_cursor.is_none() {
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

/// Prints each event on a line.
fn tell(session: &Session, page: &Page) -> io::Result<()> {
    match session.format {
        Format::Json => page.items.iter().try_for_each(output::print_line),
        Format::Table => rows(page)?
            .into_iter()
            .try_for_each(|row| print(row.map(|cell| plain(&cell).into_owned()).join("  "))),
    }
}

fn rows(page: &Page) -> serde_json::Result<Vec<[String; 5]>> {
    let read = |event: &Value| {
        let mut event = Event::deserialize(event)?;
        event.actor.name = page.names.get(&event.actor.subject).cloned();
        Ok(row(&event))
    };
    page.items.iter().map(read).collect()
}

fn row(event: &Event) -> [String; 5] {
    let about = [&event.service, &event.environment, &event.version];
    let about: Vec<_> = about.into_iter().flatten().map(String::as_str).collect();
    [
        event.seq.to_string(),
        moment::second(event.at),
        event.kind.clone(),
        about.join(" "),
        event.actor.shown(),
    ]
}

/// The whole log, a step at a time: each event that the token may see, and the seal of every other.
pub struct Log<'a> {
    session: &'a Session,
    after: i64,
}

impl<'a> Log<'a> {
    /// The log after a number.
    pub fn new(session: &'a Session, after: i64) -> Self {
        Self { session, after }
    }

    /// The next lines; none at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<Value>>, Error> {
        let seals = after_seq(self.session, &Call::get(&["events", "seals"]), self.after).await?.items;
        let Some(end) = seals.last().map(seq) else { return Ok(None) };
        // As many events are as many numbers at least, so that all up to the last seal are among them.
        let events = after_seq(self.session, &Call::get(&["events"]), self.after).await?.items;
        let mut events = events.into_iter().peekable();
        let lines = seals.into_iter().map(|seal| {
            let number = seq(&seal);
            events.next_if(|event| seq(event) == number).unwrap_or(seal)
        });
        let lines = lines.collect();
        self.after = end;
        Ok(Some(lines))
    }
}
