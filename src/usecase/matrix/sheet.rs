//! Sheets: the parts of a matrix as they are answered, each with a tag that tells what it shows.

use std::{
    collections::HashMap,
    io, iter,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};

use super::Shown;
use crate::{
    domain::{
        matrix::{Column, Filter, Part, Row, State},
        page,
        scope::Narrowing,
    },
    pieces::{Packed, Pieces},
    store::error::StoreError,
    usecase::error::Error,
};

/// How old the moment may be that a sheet names. Nothing has changed since, but ages are counted from it.
const AGE_MAX: TimeDelta = TimeDelta::seconds(1);

/// How many bytes of sheets are kept.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// What an entry takes besides its body and the names in its key.
const ENTRY_BYTES: usize = 1024;

/// Which part of a matrix is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ask {
    pub filter: Filter,
    /// The most services; all where there is none.
    pub limit: Option<usize>,
    /// The last service that was shown already.
    pub after: Option<String>,
}

impl Ask {
    /// Whether a service comes after those that were shown.
    pub fn is_after(&self, name: &str) -> bool {
        self.after.as_deref().is_none_or(|after| name > after)
    }
}

/// A part of a matrix.
#[derive(Clone, Debug)]
pub struct Sheet {
    /// What tells what it shows, whatever replica made it.
    pub tag: String,
    /// Where the next one goes on.
    pub next: Option<String>,
    /// Whether it has no row or no column.
    pub is_empty: bool,
    /// How all is that its reader may see, whatever part of it this is; of the past, what was read for it.
    pub state: State,
    /// What is answered; nothing for whoever has it.
    pub written: Option<Written>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Written {
    /// The moment that it names.
    at: DateTime<Utc>,
    pub body: Pieces,
    /// The same, compressed.
    pub packed: Packed,
}

/// Writes a sheet, with its moment and where the next one goes on.
pub type SheetWriter = fn(&Part<'_, Shown>, DateTime<Utc>, Option<&str>) -> io::Result<Pieces>;

impl Sheet {
    fn blank(part: &Part<'_, Shown>, next: Option<String>, state: State) -> Self {
        let is_empty = part.rows.is_empty() || part.columns.is_empty();
        Self { tag: tag(part, next.as_deref()), next, is_empty, state, written: None }
    }

    fn write(&mut self, part: &Part<'_, Shown>, at: DateTime<Utc>, write: SheetWriter) -> Result<(), Error> {
        let body =
            write(part, at, self.next.as_deref()).map_err(|_unwritable| StoreError::Corrupt("matrix"))?;
        self.written = Some(Written { at, body, packed: Packed::default() });
        Ok(())
    }
}

/// What tells what a part shows. Of what its reader may not see, it knows nothing.
fn tag(part: &Part<'_, Shown>, next: Option<&str>) -> String {
    let mut hash = Sha256::new();
    hash.update(env!("CARGO_PKG_VERSION"));
    for Column { name, tier, rank, unconfirmed, locked_down, .. } in &part.columns {
        hash.update(format!("{name} {} {rank} {unconfirmed} {locked_down}\n", tier.as_str()));
    }
    for row in &part.rows {
        hash.update([row.service.name.as_bytes(), b"\n"].concat());
        for target in part.targets(row) {
            hash.update(target.shown.map_or([0; 16], |shown| shown.digest));
            hash.update(target.behind.unwrap_or(-1).to_be_bytes());
        }
    }
    hash.update(next.unwrap_or_default());
    hex::encode(hash.finalize().split_at(16).0)
}

/// A sheet that is not kept.
#[expect(clippy::too_many_arguments, reason = "it is all that a sheet is made of")]
pub(super) fn of(
    columns: &[Column],
    rows: &[Arc<Row<Shown>>],
    within: &Narrowing,
    ask: &Ask,
    next: Option<String>,
    at: DateTime<Utc>,
    write: SheetWriter,
    has: &dyn Fn(&str) -> bool,
) -> Result<Sheet, Error> {
    let part = Part::of(columns, rows.iter().map(Arc::as_ref), within, &ask.filter, ask.limit);
    let state = State::of(columns, rows.iter().map(Arc::as_ref), within);
    let last = next.or_else(|| part.next().map(str::to_owned));
    let mut sheet = Sheet::blank(&part, last.map(|last| page::encode(&last)), state);
    if !has(&sheet.tag) {
        sheet.write(&part, at, write)?;
    }
    Ok(sheet)
}

/// Who asks for which part.
pub type Key = (Narrowing, Ask);

/// The sheets of one state of the ledger, as far as they were asked for.
#[derive(Debug, Default)]
pub struct Sheets(Mutex<HashMap<Key, Sheet>>);

impl Sheets {
    /// A sheet; without its body for whoever `has` what bears its tag. It is written by one request at a time, so that many
    /// that ask for the same share it.
    pub fn get(
        &self,
        key: Key,
        (columns, rows): (&[Column], &[Arc<Row<Shown>>]),
        now: DateTime<Utc>,
        write: SheetWriter,
        has: &dyn Fn(&str) -> bool,
    ) -> Result<Sheet, Error> {
        let mut sheets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh =
            |sheet: &Sheet| sheet.written.as_ref().is_some_and(|written| (now - written.at).abs() < AGE_MAX);
        if let Some(sheet) = sheets.get(&key) {
            if has(&sheet.tag) {
                return Ok(Sheet { written: None, ..sheet.clone() });
            }
            if is_fresh(sheet) {
                return Ok(sheet.clone());
            }
        }
        let (within, ask) = &key;
        let from =
            ask.after.as_deref().map_or(0, |after| rows.partition_point(|row| *row.service.name <= *after));
        let behind = rows.iter().skip(from).map(Arc::as_ref);
        let part = Part::of(columns, behind, within, &ask.filter, ask.limit);
        let next = part.next().map(|last| page::encode(&last));
        let mut sheet = match sheets.remove(&key) {
            Some(known) => Sheet { written: None, ..known },
            None => Sheet::blank(&part, next, State::of(columns, rows.iter().map(Arc::as_ref), within)),
        };
        if !has(&sheet.tag) {
            sheet.write(&part, now, write)?;
        }
        keep(&mut sheets, key, sheet.clone());
        Ok(sheet)
    }
}

/// How long the names are that tell who asks for what; whoever asks chooses some of them.
fn names((within, ask): &Key) -> usize {
    let Ask { filter, after, .. } = ask;
    let Filter { service, part, environment, owner, label, .. } = filter;
    let asked = [service, part, environment, owner, after].into_iter().flatten();
    let label = label.iter().flat_map(|label| iter::once(&label.name).chain(&label.value));
    let within = [&within.services, &within.environments].into_iter().flatten().flatten();
    asked.chain(label).chain(within).map(String::len).sum()
}

/// Keeps a sheet, and forgets all others where they take too much: what is asked for again is soon back.
fn keep(sheets: &mut HashMap<Key, Sheet>, key: Key, sheet: Sheet) {
    let bytes = |(key, sheet): (&Key, &Sheet)| {
        let written = sheet.written.as_ref().map_or(0, |written| written.body.len() + written.packed.bytes());
        written + names(key) + ENTRY_BYTES
    };
    let mine = bytes((&key, &sheet));
    if sheets.iter().map(bytes).sum::<usize>() + mine > BYTES_MAX {
        sheets.clear();
    }
    if mine <= BYTES_MAX {
        sheets.insert(key, sheet);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;

    use super::*;

    #[tokio::test]
    async fn what_was_packed_counts_as_what_is_kept() {
        let sheet = || Sheet {
            tag: String::new(),
            next: None,
            is_empty: false,
            state: State::of(&[], iter::empty::<&Row<Shown>>(), &Narrowing::default()),
            written: Some(Written {
                at: DateTime::UNIX_EPOCH,
                body: Pieces::default(),
                packed: Packed::default(),
            }),
        };
        let key = |limit| (Narrowing::default(), Ask { limit: Some(limit), ..Ask::default() });
        let mut kept = HashMap::new();
        for number in 0..3 {
            let sheet = sheet();
            let packed = sheet.written.as_ref().map(|written| written.packed.clone()).unwrap();
            keep(&mut kept, key(number), sheet);
            let form = Bytes::from(vec![0; BYTES_MAX / 2]);
            packed.get(0, || async { Ok::<_, Infallible>(form) }).await.unwrap();
        }
        assert_eq!(
            kept.keys().cloned().collect::<Vec<_>>(),
            [key(2)],
            "two forms leave no room for a third sheet"
        );
    }
}
