//! The platforms of a release's image, each with the digest of its own manifest.

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
        let platforms = &mut json_null("platforms");
        manager.alter_table(Table::alter().table("release").add_column(platforms).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("release").drop_column("platforms").to_owned()).await
    }
}
