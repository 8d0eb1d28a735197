//! Rows that cannot be read. SQLite keeps what it is given, also a text in a column of numbers; such a row must neither
//! pass for one that is not there nor keep the others from being read.

use sea_orm::{
    Condition, ExprTrait as _, Order, QueryResult, Value,
    sea_query::{Expr, IntoColumnRef, SelectStatement},
};
use uuid::Uuid;

use crate::store::error::StoreError;

/// A row that cannot be read.
#[derive(Clone, Debug)]
pub struct Unread {
    /// Its identity, where that can be read.
    pub id: Option<Uuid>,
    /// The same as people are shown it, whatever it is.
    pub shown: String,
    /// What of it cannot be read.
    pub what: String,
}

/// Tells a row that was read, or one that cannot be, from a failure of the database.
pub(super) fn told_apart<T>(
    row: &QueryResult,
    read: Result<T, StoreError>,
) -> Result<Result<T, Unread>, StoreError> {
    let error = match read {
        Ok(read) => return Ok(Ok(read)),
        Err(error) => error,
    };
    let what = error.unreadable().ok_or(error)?;
    Ok(Err(Unread { id: id(row), shown: shown(row, "id"), what }))
}

/// What a column holds that should be an id or a name, whatever it is.
pub(super) fn shown(row: &QueryResult, column: &str) -> String {
    // The text comes first: one of 16 bytes passes for an id.
    let text = row.try_get::<String>("", column);
    let id = text.or_else(|_| row.try_get::<Uuid>("", column).map(|id| id.to_string()));
    let bytes = id.or_else(|_| row.try_get::<Vec<u8>>("", column).map(hex::encode));
    bytes.unwrap_or_else(|_| "?".to_owned())
}

/// The id by which a row has its place among the others; a text that passes for one has another place.
pub(super) fn id(row: &QueryResult) -> Option<Uuid> {
    let is_text = row.try_get::<String>("", "id").is_ok();
    row.try_get("", "id").ok().filter(|_| !is_text)
}

/// How far rows were read in the order of a key: after the last one that can be read, and how many beyond it.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<K> {
    after: Option<K>,
    beyond: u64,
}

impl<K> Default for Cursor<K> {
    fn default() -> Self {
        Self { after: None, beyond: 0 }
    }
}

impl<K: Copy + Into<Value>> Cursor<K> {
    /// Confines a query to the rows that come next, at most `limit` of them.
    pub(super) fn seek<'a>(
        &self,
        query: &'a mut SelectStatement,
        key: impl IntoColumnRef,
        limit: i64,
    ) -> &'a mut SelectStatement {
        let key = key.into_column_ref();
        let after = self.after.map(|after| Expr::col(key.clone()).gt(after.into()));
        query.cond_where(Condition::all().add_option(after)).order_by(key, Order::Asc);
        query.limit(limit.unsigned_abs()).offset(self.beyond)
    }

    /// Goes past rows that were read, given the key of each where that can be read.
    pub(super) fn pass(&mut self, keys: impl IntoIterator<Item = Option<K>>) {
        for key in keys {
            *self = match key {
                Some(_) => Self { after: key, beyond: 0 },
                None => Self { beyond: self.beyond + 1, ..*self },
            };
        }
    }
}
