//! What queries of several tables have in common: narrowing, keyset pages, and locks after which the clock is read.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, ExprTrait as _, FromQueryResult, JoinType,
    QueryFilter as _, QueryOrder as _, QueryResult, QuerySelect as _, QueryTrait as _, RelationTrait, Select,
    Statement, Value, Values, sea_query::Expr,
};

use crate::{
    domain::{
        page::{PageRequest, TimeKey},
        scope::Narrowing,
        text::Name,
    },
    store::{
        entity::{environment, service},
        error::StoreError,
        sql::locking,
    },
};

/// Those of these names that rows bear.
pub(super) async fn known<E: EntityTrait>(
    conn: &impl ConnectionTrait,
    rows: Select<E>,
    name: impl ColumnTrait,
    names: &[Name],
) -> Result<BTreeSet<String>, StoreError> {
    if names.is_empty() {
        return Ok(BTreeSet::new());
    }
    let query = rows.select_only().column(name).filter(name.is_in(names.iter().cloned()));
    Ok(query.into_tuple().all(conn).await?.into_iter().collect())
}

/// Deletes so many of these rows at most, and tells how many it was.
pub(super) async fn delete_some<E: EntityTrait>(
    conn: &impl ConnectionTrait,
    rows: Select<E>,
    id: impl ColumnTrait,
    limit: i64,
) -> Result<u64, StoreError> {
    let some = rows.select_only().column(id).limit(limit.unsigned_abs());
    let some = E::delete_many().filter(id.in_subquery(some.into_query()));
    Ok(some.exec(conn).await?.rows_affected)
}

/// Finds a word in a column that holds a set of them: names have neither quotes nor wildcards, so that this is the whole name.
pub(super) fn naming(set: impl ColumnTrait, word: &str) -> Expr {
    set.contains(format!("\"{word}\""))
}

/// Finds any of the words in a column that holds a set of them, or `all`, which stands for every word.
pub(super) fn naming_any(set: impl ColumnTrait, words: &BTreeSet<String>, all: Expr) -> Condition {
    words.iter().fold(Condition::any().add(all), |any, word| any.add(naming(set, word)))
}

/// What the store's queries are extended by.
pub(super) trait Query<E: EntityTrait>: Sized {
    /// Joins the row that a relation leads to.
    fn with(self, relation: impl RelationTrait) -> Self;

    /// Confines the rows to one value of a column, when there is one.
    fn only(self, column: impl ColumnTrait, value: Option<impl Into<Value>>) -> Self;

    /// Confines the rows to those whose column holds the id of the row with this name, when there is one. A database that
    /// knows the id before it reads goes through the index of the history; a name that is joined comes too late for that.
    fn only_of<R: EntityTrait>(
        self,
        column: E::Column,
        id: R::Column,
        name: R::Column,
        is: Option<&str>,
    ) -> Self;

    /// Confines the rows, which have a service, to what the narrowing allows.
    fn within_services(self, narrowing: &Narrowing) -> Self;

    /// Confines the rows, which have an environment, to what the narrowing allows.
    fn within_environments(self, narrowing: &Narrowing) -> Self;

    /// Keyset order and limit, newest first: the rows after the page's key, one more than its limit.
    fn newest_first(self, at: E::Column, id: E::Column, page: &PageRequest<TimeKey>) -> Self;

    /// Keyset order and limit by name: the rows after the page's, one more than its limit.
    fn by_name(self, name: E::Column, page: &PageRequest<String>) -> Self;

    /// The rows of a page of a history, up to the query's limit.
    ///
    /// That is told in the text. PostgreSQL guesses one that it is not told at a tenth of the rows, finds a plan for that
    /// worse than any for the values at hand, and so plans the statement anew each time it is run.
    async fn limited<M: FromQueryResult>(self, conn: &impl ConnectionTrait) -> Result<Vec<M>, StoreError>;

    /// The rows as they are.
    async fn rows(self, conn: &impl ConnectionTrait) -> Result<Vec<QueryResult>, StoreError>;

    /// Locks the rows and reads them with the clock, as [`locking`] says.
    async fn locked(self, conn: &impl ConnectionTrait, locks: &str) -> Result<Vec<QueryResult>, StoreError>;
}

impl<E: EntityTrait> Query<E> for Select<E> {
    fn with(self, relation: impl RelationTrait) -> Self {
        self.join(JoinType::InnerJoin, relation.def())
    }

    fn only(self, column: impl ColumnTrait, value: Option<impl Into<Value>>) -> Self {
        self.apply_if(value, |query, value| query.filter(column.eq(value)))
    }

    fn only_of<R: EntityTrait>(
        self,
        column: E::Column,
        id: R::Column,
        name: R::Column,
        is: Option<&str>,
    ) -> Self {
        self.apply_if(is, |query, is| {
            let row = R::find().select_only().column(id).filter(name.eq(is)).into_query();
            query.filter(column.into_expr().eq(Expr::SubQuery(None, Box::new(row.into()))))
        })
    }

    fn within_services(self, narrowing: &Narrowing) -> Self {
        self.apply_if(narrowing.services.as_ref(), |query, names| {
            query.filter(service::Column::Name.is_in(names))
        })
    }

    fn within_environments(self, narrowing: &Narrowing) -> Self {
        self.apply_if(narrowing.environments.as_ref(), |query, names| {
            query.filter(environment::Column::Name.is_in(names))
        })
    }

    fn newest_first(self, at: E::Column, id: E::Column, page: &PageRequest<TimeKey>) -> Self {
        self.apply_if(page.after.as_ref(), |query, key| query.filter(before((at, id), key.at, key.id)))
            .order_by_desc(at)
            .order_by_desc(id)
            .limit(page.limit + 1)
    }

    fn by_name(self, name: E::Column, page: &PageRequest<String>) -> Self {
        self.apply_if(page.after.as_ref(), |query, after| query.filter(name.gt(after)))
            .order_by_asc(name)
            .limit(page.limit + 1)
    }

    async fn limited<M: FromQueryResult>(self, conn: &impl ConnectionTrait) -> Result<Vec<M>, StoreError> {
        let statement = with_limit_in_text(self.build(conn.get_database_backend()));
        Ok(M::find_by_statement(statement).all(conn).await?)
    }

    async fn rows(self, conn: &impl ConnectionTrait) -> Result<Vec<QueryResult>, StoreError> {
        Ok(conn.query_all(self.as_query()).await?)
    }

    async fn locked(self, conn: &impl ConnectionTrait, locks: &str) -> Result<Vec<QueryResult>, StoreError> {
        let mut statement = self.build(conn.get_database_backend());
        statement.sql = locking(conn, &statement.sql, locks);
        Ok(conn.query_all_raw(statement).await?)
    }
}

/// Moves the limit, the last value there is, into the text of a statement for PostgreSQL.
fn with_limit_in_text(mut statement: Statement) -> Statement {
    if let Some(Values(values)) = &mut statement.values
        && let Some(Value::BigUnsigned(Some(limit))) = values.last()
        && let Some(text) = statement.sql.strip_suffix(&format!("LIMIT ${}", values.len()))
    {
        statement.sql = format!("{text}LIMIT {limit}");
        values.pop();
    }
    statement
}

/// The rows before a key that is a moment and what tells rows of the same moment apart.
pub(super) fn before<C: ColumnTrait>(
    (at, id): (C, C),
    moment: DateTime<Utc>,
    of_moment: impl Into<Value>,
) -> Expr {
    let key = [Expr::value(moment), Expr::value(of_moment)];
    Expr::tuple([at.into_expr(), id.into_expr()]).lt(Expr::tuple(key))
}

/// A column that holds this word. The word is part of the text: a partial index serves no other statement.
pub(super) fn is(column: impl ColumnTrait, word: &'static str) -> Expr {
    column.into_expr().eq(Expr::Constant(word.into()))
}

/// The rows that are archived, or those that are not.
pub(super) fn archived(at: impl ColumnTrait, is: bool) -> Expr {
    if is { at.is_not_null() } else { at.is_null() }
}
