//! Checking the audit log and the ledger that it tells of, on one state of the database.

mod deep;

use chrono::{DateTime, SecondsFormat, Utc};
use sea_orm::ConnectionTrait;

use crate::{
    domain::{
        audit::{Finding, Findings},
        chain::{Broken, Link, Walk, at_work, sealed_before},
        json,
        policy::Policy,
    },
    store::{
        audit::{self, KEPT, KeptRow, Logged, Only, Place, unread::Cursor},
        db::{Db, now},
        error::StoreError,
        event,
    },
};

/// How many events, or rows, one step reads.
const STEP: i64 = 500;

/// Why a log could not be found whole.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The log is not what it should be.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is to be checked.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Heads of the chain that were kept elsewhere.
    pub anchors: Vec<Link>,
    /// Whether the ledger's rows are compared with what the events say.
    pub deep: bool,
}

/// What a check came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The last event of the chain.
    pub link: Link,
    /// How many events wait for their seal.
    pub waiting: u64,
    /// When the one happened that has waited longest.
    pub waiting_since: Option<DateTime<Utc>>,
    /// How many events whoever checks may not see: their places in the chain were checked, and no more.
    pub hidden: u64,
    /// How many rows were compared with their events; none when that was not asked for.
    pub compared: Option<u64>,
    /// What is not as it must be.
    pub findings: Findings,
}

/// Checks the chain, what waits to be sealed, and the stored JSON; where it is asked for, the ledger's rows, too.
pub async fn verify(db: &Db, asked: &Asked) -> Result<Report, StoreError> {
    let snapshot = db.snapshot().await?;
    verify_on(snapshot.conn(), asked).await
}

/// As [`verify`], on a connection that sees one state of the ledger.
pub async fn verify_on(conn: &impl ConnectionTrait, asked: &Asked) -> Result<Report, StoreError> {
    let mut report = Report::default();
    let (head, last_sealed) = head(conn, &mut report.findings).await?;
    let last_request = check_log(conn, asked, head.as_ref(), &mut report).await?;
    check_waiting(conn, sealed_before(last_sealed, last_request), &mut report).await?;
    check_kept(conn, &mut report.findings).await?;
    if asked.deep {
        report.compared = Some(deep::compare(conn, &mut report.findings).await?);
    }
    Ok(report)
}

/// The head of the chain and when it was last moved, where they can be read.
async fn head(
    conn: &impl ConnectionTrait,
    findings: &mut Findings,
) -> Result<(Option<Link>, Option<DateTime<Utc>>), StoreError> {
    match event::head(conn).await {
        Ok((link, moved_at)) => Ok((Some(link), moved_at)),
        Err(error) => {
            let what = error.unreadable().ok_or(error)?;
            let wrong = format!("the row that names the chain's head holds an unreadable {what}");
            findings.add(Finding { row: None, wrong });
            Ok((None, None))
        }
    }
}

/// Follows the chain from its beginning to its head and fails at the first event that does not fit, or when it does not
/// hold the `anchor`.
pub async fn follow_chain(conn: &impl ConnectionTrait, anchor: Option<&Link>) -> Result<Link, VerifyError> {
    let (head, _) = event::head(conn).await?;
    let mut walk = Walk::new(anchor.cloned());
    let mut place = Place::default();
    while let Place::Numbered(_) = place {
        for logged in audit::read_on(conn, &mut place, &Only::default(), STEP).await? {
            step(&mut walk, &logged);
            if let Some(broken) = walk.broken().into_iter().next() {
                return Err(broken.into());
            }
        }
    }
    let (link, broken) = walk.end(Some(&head));
    broken.into_iter().next().map_or(Ok(link), |broken| Err(broken.into()))
}

/// Goes on along the chain; what waits for its number is not in it yet.
fn step(walk: &mut Walk, Logged { event, seq }: &Logged) {
    match (event, seq) {
        (Ok(event), Some(seq)) => walk.step(event, *seq, event.seal.as_ref()),
        (Ok(_), None) => {}
        (Err(unread), seq) => walk.unread(*seq, &unread.shown, &unread.what),
    }
}

/// Reads the whole log once: the chain, and whether each event is JSON that reads the same to everybody. Tells when a
/// request last left an event that still waits for its seal.
async fn check_log(
    conn: &impl ConnectionTrait,
    asked: &Asked,
    head: Option<&Link>,
    report: &mut Report,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let now = now(conn).await?;
    let mut last_request = None;
    let mut walk = Walk::new(asked.anchors.iter().cloned());
    let mut place = Place::default();
    loop {
        let read = audit::read_on(conn, &mut place, &Only::default(), STEP).await?;
        if read.is_empty() {
            break;
        }
        if asked.deep {
            deep::check_rows_of(conn, &read, &mut report.findings).await?;
        }
        for logged in &read {
            step(&mut walk, logged);
            report.findings.extend(walk.broken());
            let Logged { event: Ok(event), seq } = logged else { continue };
            if seq.is_none() {
                report.waiting += 1;
                report.waiting_since.get_or_insert(event.at);
                last_request = last_request.max(at_work(event, now));
            }
            if let Err(error) = json::check(&event.data) {
                report
                    .findings
                    .add(Finding::about(name_of(event.id, *seq), format!("its data is not sound: {error}")));
            }
        }
    }
    let (link, broken) = walk.end(head);
    report.link = link;
    report.findings.extend(broken);
    Ok(last_request)
}

fn name_of(id: uuid::Uuid, seq: Option<i64>) -> String {
    seq.map_or_else(|| format!("event {id}, which has no number yet"), |seq| format!("event {seq}"))
}

/// Finds events that the relay has left behind: those before the moment still wait.
async fn check_waiting(
    conn: &impl ConnectionTrait,
    before: Option<DateTime<Utc>>,
    report: &mut Report,
) -> Result<(), StoreError> {
    let Some((oldest, before)) = report.waiting_since.zip(before) else { return Ok(()) };
    let late = audit::waiting_since(conn, before).await?;
    if late > 0 {
        let oldest = oldest.to_rfc3339_opts(SecondsFormat::Micros, true);
        let wrong = format!(
            "{late} {} not sealed, the oldest of {oldest}, although a server was at work more than a minute later",
            if late == 1 { "event was" } else { "events were" }
        );
        report.findings.add(Finding { row: None, wrong });
    }
    Ok(())
}

/// Reads all stored JSON: it must be JSON, have every key once, and where it is a policy, be one. And finds the
/// environments in which nothing starts because half of a policy or of a lockdown is there.
async fn check_kept(conn: &impl ConnectionTrait, findings: &mut Findings) -> Result<(), StoreError> {
    for kept in KEPT {
        let mut place = Cursor::default();
        loop {
            let rows = audit::kept(conn, kept, &mut place, STEP).await?;
            if rows.is_empty() {
                break;
            }
            for row in &rows {
                check_row(kept.table, row, findings);
            }
        }
    }
    for (name, what) in audit::halves(conn).await? {
        findings
            .add(Finding::about(format!("environment {name}"), format!("only half of its {what} is there")));
    }
    Ok(())
}

fn check_row(table: &str, row: &KeptRow, findings: &mut Findings) {
    let mut unsound = |column: &str, why: String| {
        let row = format!("{} {}", table.replace('_', " "), row.name);
        findings.add(Finding::about(row, format!("its {column} cannot be relied on: {why}")));
    };
    for (column, text) in &row.texts {
        let sound = json::check(text).and_then(|()| match *column {
            "policy" => serde_json::from_str::<Policy>(text).map(drop),
            _ => Ok(()),
        });
        if let Err(error) = sound {
            unsound(column, error.to_string());
        }
    }
    for column in &row.unread {
        unsound(column, "it is no text".to_owned());
    }
}
