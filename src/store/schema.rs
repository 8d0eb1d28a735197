//! The schema's version: bringing the database up to it, and telling whether it is.

use migration::{Migrator, MigratorTrait as _};
use sea_orm::{ConnectionTrait, DatabaseBackend, DatabaseConnection};

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
    /// Whether a copy into the database was begun and is not finished: what is there is not a ledger yet.
    pub half_copied: bool,
}

/// Reads how the schema stands, and changes nothing.
pub async fn status(db: &Db) -> Result<SchemaStatus, StoreError> {
    status_on(db.read()).await
}

/// As [`status`], on a connection.
pub async fn status_on(conn: &impl ConnectionTrait) -> Result<SchemaStatus, StoreError> {
    let exists = if conn.get_database_backend() == DatabaseBackend::Postgres {
        "SELECT to_regclass('seaql_migrations') IS NOT NULL AS migrated, \
         to_regclass('unfinished_copy') IS NOT NULL AS half_copied"
    } else {
        "SELECT COUNT(*) > 0 AS migrated, FALSE AS half_copied FROM sqlite_master WHERE name = 'seaql_migrations'"
    };
    let exists = Sql::new(exists).one(conn).await?.ok_or(StoreError::Corrupt("catalogue"))?;
    let mut applied: Vec<String> = Vec::new();
    if exists.try_get("", "migrated")? {
        for row in Sql::new("SELECT version FROM seaql_migrations ORDER BY version").all(conn).await? {
            applied.push(row.try_get("", "version")?);
        }
    }
    let known: Vec<String> =
        Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect();
    let pending = known.iter().filter(|name| !applied.contains(name)).cloned().collect();
    let ahead = applied.iter().filter(|name| !known.contains(name)).cloned().collect();
    let half_copied = exists.try_get("", "half_copied")?;
    Ok(SchemaStatus { applied, pending, ahead, half_copied })
}

/// Applies what is pending, and tells its names. Content when a newer binary has been here.
pub async fn up(db: &Db) -> Result<Vec<String>, StoreError> {
    locked(db, async |conn| {
        let before = status(db).await?;
        if before.half_copied {
            return Err(StoreError::HalfCopied);
        }
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
        if status(db).await?.half_copied {
            return Err(StoreError::HalfCopied);
        }
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
