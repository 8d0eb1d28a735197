//! A transaction that proves how it ends. A driver may believe a transaction to be open that the database has taken back
//! by itself: then later statements take effect one by one, and a commit changes nothing though nothing fails. So nothing
//! is done, and nothing committed, after a statement that did not end well.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{
    file::{LedgerFile, Permit},
    health::Writes,
};
use crate::store::error::StoreError;
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, Statement,
    prelude::async_trait,
};
use tokio_util::task::TaskTracker;

/// A transaction that may write. Dropped without [`Tx::commit`], it changes nothing.
#[derive(Debug)]
pub struct Tx {
    conn: TxConn,
    /// SQLite's file, and the right to write to it until this has ended.
    file: Option<(Arc<LedgerFile>, Permit)>,
    tasks: TaskTracker,
}

impl Tx {
    /// What has just begun; `writes` learns how it goes, and `tasks` see to its end.
    pub(super) fn new(
        inner: DatabaseTransaction,
        file: Option<(Arc<LedgerFile>, Permit)>,
        writes: Arc<Writes>,
        tasks: TaskTracker,
    ) -> Self {
        Self { conn: TxConn { inner, sound: AtomicBool::new(true), writes }, file, tasks }
    }

    /// What the statements of this transaction run on.
    pub fn conn(&self) -> &TxConn {
        &self.conn
    }

    /// Makes the changes last, and tells the relay that there may be events. Fails when a statement of the transaction
    /// has failed: PostgreSQL answers such a commit with a rollback that looks like success, and SQLite may have ended the
    /// transaction at that statement. Fails also when SQLite's file is no longer where others look for it. Goes on to its
    /// end when the caller is dropped, so that the file is never left in between for the next transaction.
    pub async fn commit<T>(self, value: T) -> Result<T, StoreError> {
        self.conn.enter()?;
        let Self { conn: TxConn { inner, writes, .. }, file, tasks } = self;
        let end = tasks.spawn(Box::pin(async move {
            let ended = end(inner, file.as_ref()).await;
            match &ended {
                Ok(()) => writes.succeeded(),
                Err(error) => writes.failed(error),
            }
            ended
        }));
        end.await.map_err(|error| DbErr::Custom(format!("a commit ended early: {error}")))?.map(|()| value)
    }
}

async fn end(inner: DatabaseTransaction, file: Option<&(Arc<LedgerFile>, Permit)>) -> Result<(), StoreError> {
    match (inner.commit().await.map_err(StoreError::from), file) {
        (Ok(()), Some((file, permit))) => file.settle(permit).map_err(StoreError::Unwritable),
        (Err(StoreError::Unavailable(error)), None) => Err(StoreError::InDoubt(error)),
        (ended, _) => ended,
    }
}

/// The statements of one transaction, one at a time.
#[derive(Debug)]
pub struct TxConn {
    inner: DatabaseTransaction,
    /// Whether every statement so far ended well; false also while one is under way, so that one whose future is
    /// dropped counts as failed.
    sound: AtomicBool,
    writes: Arc<Writes>,
}

impl TxConn {
    fn enter(&self) -> Result<(), DbErr> {
        if self.sound.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        Err(DbErr::Custom("the transaction goes on after a statement that did not end well".to_owned()))
    }

    fn leave<T>(&self, outcome: Result<T, DbErr>) -> Result<T, DbErr> {
        match &outcome {
            Ok(_) => self.sound.store(true, Ordering::Relaxed),
            Err(error) => self.writes.refused(error),
        }
        outcome
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for TxConn {
    fn get_database_backend(&self) -> DbBackend {
        self.inner.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.enter()?;
        self.leave(self.inner.execute_raw(statement).await)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.enter()?;
        self.leave(self.inner.execute_unprepared(sql).await)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.enter()?;
        self.leave(self.inner.query_one_raw(statement).await)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.enter()?;
        self.leave(self.inner.query_all_raw(statement).await)
    }
}
