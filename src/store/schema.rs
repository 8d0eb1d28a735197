//! The schema's version: bringing the database up to it, and telling whether it is.

use migration::{Migrator, MigratorTrait as _};
use sea_orm::DatabaseConnection;

use crate::store::{db::Db, error::StoreError, sql::Sql};

/// The advisory lock that migrations take, so that eight replicas may start at once.
const LOCK: i64 = 0x0077_6179_6269_6c6c;

/// How the database's schema stands to this binary's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaStatus {
    /// Migrations that are applied, oldest first.
    pub applied: Vec<String>,
    /// Migrations of this binary that are not.
    pub pending: Vec<String>,
    /// Migrations that are applied and unknown here: a newer binary's, which this one can live with.
    pub ahead: Vec<String>,
}

/// Reads how the schema stands, and changes nothing.
pub async fn status(db: &Db) -> Result<SchemaStatus, StoreError> {
    let exists = if db.is_postgres() {
        "SELECT 1 WHERE to_regclass('seaql_migrations') IS NOT NULL"
    } else {
        "SELECT 1 FROM sqlite_master WHERE name = 'seaql_migrations'"
    };
    let mut applied: Vec<String> = Vec::new();
    if Sql::new(exists).one(db.read()).await?.is_some() {
        for row in Sql::new("SELECT version FROM seaql_migrations ORDER BY version").all(db.read()).await? {
            applied.push(row.try_get("", "version")?);
        }
    }
    let known: Vec<String> =
        Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect();
    let pending = known.iter().filter(|name| !applied.contains(name)).cloned().collect();
    let ahead = applied.iter().filter(|name| !known.contains(name)).cloned().collect();
    Ok(SchemaStatus { applied, pending, ahead })
}

/// Applies what is pending, and tells its names. Content when a newer binary has been here.
pub async fn up(db: &Db) -> Result<Vec<String>, StoreError> {
    locked(db, async |conn| {
        let before = status(db).await?;
        if !before.pending.is_empty() && before.ahead.is_empty() {
            Migrator::up(conn, None).await?;
        } else if !before.pending.is_empty() {
            return Err(StoreError::Corrupt(
                "migration history: a newer binary's migrations are applied without ours",
            ));
        }
        Ok(before.pending)
    })
    .await
}

/// Takes back the last `steps` migrations, and tells how many are left.
pub async fn down(db: &Db, steps: u32) -> Result<usize, StoreError> {
    locked(db, async |conn| {
        Migrator::down(conn, Some(steps)).await?;
        Ok(status(db).await?.applied.len())
    })
    .await
}

/// Runs `work` while no other process migrates. The lock belongs to a session, which holds it on a connection of its own
/// until the work is done on others.
async fn locked<T>(
    db: &Db,
    work: impl AsyncFn(&DatabaseConnection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    if !db.is_postgres() {
        return work(db.schema()).await;
    }
    let mut guard = db.schema().get_postgres_connection_pool().acquire().await.map_err(acquire_error)?;
    let session = &mut *guard;
    sea_orm::sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(LOCK)
        .execute(&mut *session)
        .await
        .map_err(query_error)?;
    let outcome = work(db.schema()).await;
    let unlocked =
        sea_orm::sqlx::query("SELECT pg_advisory_unlock($1)").bind(LOCK).execute(&mut *session).await;
    if let Err(error) = unlocked {
        tracing::warn!(%error, "the migration lock is given back when its session ends");
    }
    outcome
}

fn acquire_error(error: sea_orm::sqlx::Error) -> StoreError {
    StoreError::Unavailable(sea_orm::DbErr::Conn(sea_orm::RuntimeErr::SqlxError(std::sync::Arc::new(error))))
}

fn query_error(error: sea_orm::sqlx::Error) -> StoreError {
    sea_orm::DbErr::Query(sea_orm::RuntimeErr::SqlxError(std::sync::Arc::new(error))).into()
}
