//! A release may have an image and no commit, as the software of others has. SQLite changes what a column demands only by
//! another one that takes its place.
//!
//! It takes a constraint away at once, and not a release later, because no version that reads it has been released.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DatabaseBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let postgres = ["ALTER TABLE release ALTER COLUMN commit_sha DROP NOT NULL"];
        let sqlite = [
            "ALTER TABLE release ADD COLUMN commit_now varchar(64) NULL",
            "UPDATE release SET commit_now = commit_sha",
            "ALTER TABLE release DROP COLUMN commit_sha",
            "ALTER TABLE release RENAME COLUMN commit_now TO commit_sha",
        ];
        run(manager, &postgres, &sqlite).await
    }

    /// Fails where there are releases without a commit: nobody knows what to say there.
    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let postgres = ["ALTER TABLE release ALTER COLUMN commit_sha SET NOT NULL"];
        let sqlite = [
            "ALTER TABLE release ADD COLUMN commit_now varchar(64) NOT NULL DEFAULT ''",
            "UPDATE release SET commit_now = commit_sha",
            "ALTER TABLE release DROP COLUMN commit_sha",
            "ALTER TABLE release RENAME COLUMN commit_now TO commit_sha",
        ];
        run(manager, &postgres, &sqlite).await
    }
}

async fn run(manager: &SchemaManager<'_>, postgres: &[&str], sqlite: &[&str]) -> Result<(), DbErr> {
    let is_postgres = manager.get_database_backend() == DatabaseBackend::Postgres;
    for statement in if is_postgres { postgres } else { sqlite } {
        manager.get_connection().execute_unprepared(statement).await?;
    }
    Ok(())
}
