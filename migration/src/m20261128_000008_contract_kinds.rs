//! A deployment may be a removal. The column says which kinds there are, and SQLite changes what a column demands only by
//! another one that takes its place.
//!
//! It takes a constraint away at once, and not a release later, because no version that reads it has been released.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const BEFORE: &str = "'deploy', 'rollback', 'hotfix', 'redeploy'";
const AFTER: &str = "'deploy', 'rollback', 'hotfix', 'redeploy', 'remove'";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        admit(manager, AFTER).await
    }

    /// Fails where there are removals: they cannot be told in any other way.
    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        admit(manager, BEFORE).await
    }
}

async fn admit(manager: &SchemaManager<'_>, kinds: &str) -> Result<(), DbErr> {
    let run = manager.get_connection();
    if manager.get_database_backend() == sea_orm::DatabaseBackend::Postgres {
        let changed = format!(
            "ALTER TABLE deployment DROP CONSTRAINT deployment_kind_check, \
             ADD CONSTRAINT deployment_kind_check CHECK (kind IN ({kinds}))"
        );
        return run.execute_unprepared(&changed).await.map(|_| ());
    }
    for statement in [
        &format!(
            "ALTER TABLE deployment ADD COLUMN kind_now varchar(16) NOT NULL DEFAULT 'deploy' CHECK (kind_now IN ({kinds}))"
        ),
        "UPDATE deployment SET kind_now = kind",
        "ALTER TABLE deployment DROP COLUMN kind",
        "ALTER TABLE deployment RENAME COLUMN kind_now TO kind",
    ] {
        run.execute_unprepared(statement).await?;
    }
    Ok(())
}
