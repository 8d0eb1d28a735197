//! Comparing the ledger's rows with what their events say: page by page, so that it takes no more memory for a long
//! history than for a short one.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::ConnectionTrait;
use serde_json::Value;

use super::STEP;
use crate::{
    domain::audit::{
        Finding, Findings, LISTED_MAX,
        rebuild::Told,
        rows::{Key, Row},
    },
    store::{
        audit::{
            self, Logged, Only, Place, history,
            rows::{self, Table},
            unread::{Cursor, Unread},
        },
        error::StoreError,
    },
};

/// How many rows of a table are compared at once. Their events are read together.
const ROWS: i64 = 200;

/// The same of what passes: there are few at a time, and all that were ever there have left events.
const PASSING_ROWS: i64 = 5_000;

/// Compares every row that events tell of with them, and the rows with each other. Tells how many there were.
pub async fn compare(conn: &impl ConnectionTrait, findings: &mut Findings) -> Result<u64, StoreError> {
    let mut compared = 0;
    let lasting = Table::LASTING.map(|table| (table, ROWS)).into_iter();
    for (table, limit) in lasting.chain(Table::PASSING.map(|table| (table, PASSING_ROWS))) {
        let mut place = Cursor::default();
        loop {
            let page = rows::page(conn, table, &mut place, limit).await?;
            if page.is_empty() {
                break;
            }
            compared += u64::try_from(page.len()).unwrap_or(u64::MAX);
            let mut read = Vec::new();
            for row in page {
                match row {
                    Ok(row) => read.push(row),
                    Err(unread) => findings.add(unreadable(table, &unread)),
                }
            }
            compare_page(conn, table, &read, findings).await?;
        }
    }
    for table in Table::EDITED {
        compared += compare_edited(conn, table, findings).await?;
    }
    let limit = i64::try_from(LISTED_MAX).unwrap_or(i64::MAX);
    for contradicted in history::contradicted(conn, limit).await? {
        findings.add(Finding::about(contradicted.row, contradicted.wrong));
    }
    Ok(compared)
}

fn unreadable(table: Table, Unread { shown, what, .. }: &Unread) -> Finding {
    Finding::about(format!("{} {shown}", table.row()), format!("it holds an unreadable {what}"))
}

async fn compare_page(
    conn: &impl ConnectionTrait,
    table: Table,
    page: &[Row],
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let keys: BTreeSet<Key> = page.iter().map(|row| row.key.clone()).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let told = told(conn, &table.events(&keys), |key| keys.contains(key)).await?;
    let nothing = Told::default();
    for row in page {
        findings.extend(told.get(&row.key).unwrap_or(&nothing).compare(row));
    }
    Ok(())
}

/// What the events say of the rows that are `wanted`.
async fn told(
    conn: &impl ConnectionTrait,
    only: &Only,
    wanted: impl Fn(&Key) -> bool,
) -> Result<BTreeMap<Key, Told>, StoreError> {
    let mut told: BTreeMap<Key, Told> = BTreeMap::new();
    let mut place = Place::default();
    loop {
        let read = audit::read_on(conn, &mut place, only, STEP).await?;
        if read.is_empty() {
            return Ok(told);
        }
        // What cannot be read tells nothing; that it cannot is found where the log is read.
        for event in read.iter().filter_map(|logged| logged.event.as_ref().ok()) {
            let data = data_of(&event.data);
            let Some(key) = Key::of(event, &data).filter(|key| wanted(key)) else { continue };
            let row = told.entry(key.clone()).or_default();
            row.apply(event, &data);
            if row.is_gone() {
                told.remove(&key);
            }
        }
    }
}

/// What is no JSON carries nothing; that it is none is found where the log is read.
fn data_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

/// Compares all rows of a table at once, so that one that is missing is found although rows of it are deleted.
async fn compare_edited(
    conn: &impl ConnectionTrait,
    table: Table,
    findings: &mut Findings,
) -> Result<u64, StoreError> {
    let mut told = told(conn, &table.events(&BTreeSet::new()), |_| true).await?;
    let mut compared = 0;
    let mut place = Cursor::default();
    loop {
        let page = rows::page(conn, table, &mut place, ROWS).await?;
        if page.is_empty() {
            break;
        }
        for row in page {
            compared += 1;
            match row {
                Ok(row) => findings.extend(told.remove(&row.key).unwrap_or_default().compare(&row)),
                Err(unread) => {
                    told.retain(|key, _| key.id().is_none_or(|id| Some(id) != unread.id));
                    findings.add(unreadable(table, &unread));
                }
            }
        }
    }
    findings.extend(told.into_keys().map(|key| missing(&key)));
    Ok(compared)
}

fn missing(key: &Key) -> Finding {
    Finding::about(key.to_string(), "events tell of it, but it is not on record")
}

/// Finds the rows that these events tell of and that are not there.
pub async fn check_rows_of(
    conn: &impl ConnectionTrait,
    read: &[Logged],
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let events = read.iter().filter_map(|logged| logged.event.as_ref().ok());
    let keys = events.filter_map(|event| Key::of(event, &data_of(&event.data)));
    let keys: BTreeSet<Key> = keys.filter(Key::is_lasting).collect();
    let present = rows::present(conn, &keys).await?;
    findings.extend(keys.difference(&present).map(missing));
    Ok(())
}
