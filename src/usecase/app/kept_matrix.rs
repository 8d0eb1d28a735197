//! The matrix as it was last read, for all who ask: as long as the ledger stays where it is, nobody reads it again, and
//! after a change only the services are read that it names.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;
use tokio::time::Instant;

use crate::{
    domain::{
        chain::Link,
        matrix::{Column, Row},
        scope::Narrowing,
    },
    store::{
        db::Db,
        matrix,
        moved::{self, Mark},
    },
    usecase::{
        context::Seen,
        error::Error,
        matrix::{Sheets, Shown, TargetWriter, read},
    },
};

/// How many bytes of targets are kept. A larger matrix is read anew by each who asks.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a target takes besides its text.
const CELL_BYTES: usize = 128;

/// Keeps what was read last.
#[derive(Debug, Default)]
pub struct KeptMatrix {
    last: Mutex<Option<Last>>,
    /// Held by whoever reads.
    turn: tokio::sync::Mutex<()>,
    /// How often somebody began to read.
    begun: AtomicU64,
}

#[derive(Debug)]
struct Last {
    known: Arc<Known>,
    used: Instant,
}

/// The whole matrix at one state of the ledger.
#[derive(Debug)]
pub struct Known {
    mark: Mark,
    head: Link,
    /// The services that events named whose seal was still to come, unless they were too many. Only what is sealed can be
    /// found again in a database that was set back.
    unsealed: Option<BTreeSet<String>>,
    /// The how-manieth reading this is.
    reading: u64,
    /// When it was read.
    at: DateTime<Utc>,
    /// The environments in use, in the order of promotion.
    pub columns: Vec<Column>,
    /// The services in use, by name.
    pub rows: Vec<Arc<Row<Shown>>>,
    /// What was answered from it.
    pub sheets: Sheets,
}

impl KeptMatrix {
    /// How often somebody has begun to read it.
    pub fn readings(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    /// The matrix with every change that was committed before the request came, and the moment that it shows. Nobody is
    /// given what somebody began to read before that, because it may lack what this request must show; but those who wait
    /// together share what the first of them reads.
    pub async fn current(
        &self,
        db: &Db,
        seen: Option<&Seen>,
        write: TargetWriter,
    ) -> Result<(Arc<Known>, DateTime<Utc>), Error> {
        if let Some(Seen { mark, at, .. }) = seen
            && let Some(known) = self.recall(|known| known.mark.is_still(mark))
        {
            return Ok((known, *at));
        }
        let before = seen.map_or_else(|| self.readings(), |seen| seen.readings);
        let _turn = self.turn.lock().await;
        if let Some(known) = self.recall(|known| known.reading > before) {
            return Ok((Arc::clone(&known), known.at));
        }
        let reading = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let known = Arc::new(look(db, self.recall(|_| true).as_deref(), reading, write).await?);
        let fits = bytes(&known.rows) <= BYTES_MAX;
        *self.last() = fits.then(|| Last { known: Arc::clone(&known), used: Instant::now() });
        Ok((Arc::clone(&known), known.at))
    }

    /// Gives the memory back when nobody has asked for so long.
    pub fn forget_unused(&self, age: Duration) {
        let mut last = self.last();
        if last.as_ref().is_some_and(|last| last.used.elapsed() >= age) {
            *last = None;
        }
    }

    fn recall(&self, is_good: impl Fn(&Known) -> bool) -> Option<Arc<Known>> {
        let mut last = self.last();
        let last = last.as_mut().filter(|last| is_good(&last.known))?;
        last.used = Instant::now();
        Some(Arc::clone(&last.known))
    }

    /// What it holds is right even after a panic elsewhere: it is only ever replaced as a whole.
    fn last(&self) -> MutexGuard<'_, Option<Last>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes(rows: &[Arc<Row<Shown>>]) -> usize {
    rows.iter().flat_map(|row| &row.cells).map(|cell| cell.shown.text.len() + CELL_BYTES).sum()
}

/// Reads the matrix in one snapshot; of what is known only what has moved.
async fn look(db: &Db, known: Option<&Known>, reading: u64, write: TargetWriter) -> Result<Known, Error> {
    let tx = db.still().await?;
    let conn = tx.conn();
    let before = known.map(|known| known.head.clone()).unwrap_or_default();
    let now = moved::look(conn, &before).await?;
    let known = known.filter(|_| now.goes_on);
    let columns = matrix::columns(conn, &Narrowing::default(), None).await?;
    let moved = moved::services(conn, known.map_or(now.head.seq, |known| known.head.seq)).await?;
    let rows = if let (Some(Known { rows, unsealed: Some(unsealed), .. }), Some(moved)) = (known, &moved) {
        renewed(conn, rows, &moved.since | unsealed, write).await?
    } else {
        let services = matrix::services(conn, &Narrowing::default(), None, None).await?;
        read(conn, services, None, write).await?
    };
    let unsealed = moved.map(|moved| moved.waiting);
    Ok(Known {
        mark: now.mark,
        head: now.head,
        unsealed,
        reading,
        at: now.at,
        columns,
        rows,
        sheets: Sheets::default(),
    })
}

/// The rows, those of these services read anew; without those that are no longer in use.
async fn renewed(
    conn: &impl ConnectionTrait,
    rows: &[Arc<Row<Shown>>],
    names: BTreeSet<String>,
    write: TargetWriter,
) -> Result<Vec<Arc<Row<Shown>>>, Error> {
    if names.is_empty() {
        return Ok(rows.to_vec());
    }
    let listed: Vec<_> = names.iter().map(String::as_str).collect();
    let services = matrix::services(conn, &Narrowing::default(), None, Some(&listed)).await?;
    let mut renewed = read(conn, services, None, write).await?;
    renewed.extend(rows.iter().filter(|row| !names.contains(&row.service.name)).cloned());
    renewed.sort_unstable_by(|one, other| one.service.name.cmp(&other.service.name));
    Ok(renewed)
}
