//! Waivers: vulnerabilities that are not to stand in the way for a while.

use sea_orm_migration::prelude::*;

use crate::schema::{id, json_null, table, text, time, time_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The gate looks for those that hold.
const HOLDING: &str = "CREATE INDEX waiver_holding_idx ON waiver (expires_at) WHERE withdrawn_at IS NULL";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let waiver = table(
            "waiver",
            [
                id(),
                text("vulnerability", 128),
                text("reason", 2000),
                json_null("services"),
                json_null("environments"),
                time("expires_at"),
                text("actor_token", 200),
                text("actor_subject", 200),
                time("created_at"),
                time_null("withdrawn_at"),
            ],
        );
        manager.create_table(waiver).await?;
        manager.get_connection().execute_unprepared(HOLDING).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("waiver").to_owned()).await
    }
}
