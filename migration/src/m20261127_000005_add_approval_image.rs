//! An approval is for the image that the release had when it was given; none before it had one.

use sea_orm_migration::prelude::*;

use crate::schema::text_null;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Until now no image was added to a release that somebody had approved: it is the one that they saw.
const FILL: &str =
    "UPDATE approval SET image = (SELECT r.image FROM release r WHERE r.id = approval.release_id)";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let image = &mut text_null("image", 400);
        manager.alter_table(Table::alter().table("approval").add_column(image).to_owned()).await?;
        manager.get_connection().execute_unprepared(FILL).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("approval").drop_column("image").to_owned()).await
    }
}
