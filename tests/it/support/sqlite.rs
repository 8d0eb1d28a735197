//! SQLite files for tests: migrated once per run, then copied. Real files, because only they show how locks behave.

use std::path::Path;

use migration::Migrator;
use sea_orm::{ConnectionTrait, Database};
use sea_orm_migration::MigratorTrait;
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// The name of each database's file, in a directory of its own.
pub const FILE: &str = "waybill.db";

/// The bytes of a migrated file. They are kept in memory, because nobody would delete a file at the end of the run.
static TEMPLATE: OnceCell<Vec<u8>> = OnceCell::const_new();

/// The URL of a fresh database, and the directory that holds it.
pub async fn create() -> (String, TempDir) {
    let template = TEMPLATE.get_or_init(template).await;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join(FILE);
    tokio::fs::write(&file, template).await.unwrap();
    (format!("sqlite://{}", file.display()), directory)
}

async fn template() -> Vec<u8> {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("template.db");
    migrate(&file).await;
    tokio::fs::read(&file).await.unwrap()
}

/// Closing the last connection moves everything from the write-ahead log into the file.
async fn migrate(file: &Path) {
    let db = Database::connect(format!("sqlite://{}?mode=rwc", file.display())).await.unwrap();
    db.execute_unprepared("PRAGMA journal_mode = WAL").await.unwrap();
    Migrator::up(&db, None).await.unwrap();
    db.close().await.unwrap();
}
