//! A freeze window may count for some services only.

use sea_orm_migration::prelude::*;

use crate::schema::json_null;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let services = &mut json_null("services");
        manager.alter_table(Table::alter().table("freeze_window").add_column(services).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("freeze_window").drop_column("services").to_owned()).await
    }
}
