//! Releases have an order of their own, by their commits: until now it was that of registration. And their images may be in
//! several places. The columns of the order may be empty as far as the schema can tell; the server always fills them.

use sea_orm_migration::prelude::*;

use crate::schema::{int_null, json_null, time_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const MOMENT: &str = "UPDATE release SET ordered_at = CASE WHEN committed_at < created_at THEN committed_at ELSE created_at END";

const PLACE: &str = "UPDATE release SET place = o.place FROM (SELECT id, ROW_NUMBER() OVER \
     (PARTITION BY service_id ORDER BY ordered_at, number) AS place FROM release) AS o WHERE o.id = release.id";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in [&mut time_null("ordered_at"), &mut int_null("place"), &mut json_null("locations")] {
            manager.alter_table(Table::alter().table("release").add_column(column).to_owned()).await?;
        }
        let order = Index::create()
            .name("release_order")
            .table("release")
            .col("service_id")
            .col("ordered_at")
            .col("number")
            .to_owned();
        manager.create_index(order).await?;
        for fill in [MOMENT, PLACE] {
            manager.get_connection().execute_unprepared(fill).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_index(Index::drop().name("release_order").table("release").to_owned()).await?;
        for column in ["ordered_at", "place", "locations"] {
            manager.alter_table(Table::alter().table("release").drop_column(column).to_owned()).await?;
        }
        Ok(())
    }
}
