//! From which network a command line asks to be let in, so that one cannot ask for all.

use sea_orm_migration::prelude::*;

use crate::schema::text_null;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let network = text_null("network", 64);
        manager.alter_table(Table::alter().table("sign_in_code").add_column(network).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("sign_in_code").drop_column("network").to_owned()).await
    }
}
