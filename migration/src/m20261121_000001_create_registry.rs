//! What is registered: services, environments, releases, and the tokens that may do so.

use sea_orm_migration::prelude::*;

use crate::schema::{
    flag, id, int, json, json_null, reference, table, text, text_null, time, time_null, uuid,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in [service(), environment(), release(), token()] {
            manager.create_table(statement).await?;
        }
        let unique = |name: &str, table: &'static str, columns: &[&'static str]| {
            let mut index = Index::create().name(name).table(table).unique().to_owned();
            for column in columns {
                index.col(*column);
            }
            index
        };
        for index in [
            unique("service_name_key", "service", &["name"]),
            unique("environment_name_key", "environment", &["name"]),
            unique("release_version_key", "release", &["service_id", "version"]),
            unique("release_number_key", "release", &["service_id", "number"]),
            unique("token_hash_key", "token", &["secret_hash"]),
        ] {
            manager.create_index(index).await?;
        }
        // A name is free again only for tokens: a revoked one is replaced under the name its pipelines know.
        manager
            .get_connection()
            .execute_unprepared("CREATE UNIQUE INDEX token_name_key ON token (name) WHERE revoked_at IS NULL")
            .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for name in ["token", "release", "environment", "service"] {
            manager.drop_table(Table::drop().table(name).to_owned()).await?;
        }
        Ok(())
    }
}

fn service() -> TableCreateStatement {
    table(
        "service",
        [
            id(),
            text("name", 63),
            text_null("display_name", 200),
            text_null("description", 4000),
            text_null("repository_url", 2000),
            text_null("owner", 200),
            json("labels"),
            int("revision"),
            time("created_at"),
            time("updated_at"),
            time_null("archived_at"),
        ],
    )
}

fn environment() -> TableCreateStatement {
    table(
        "environment",
        [
            id(),
            text("name", 63),
            text("tier", 16)
                .check(Expr::col("tier").is_in(["production", "staging", "testing", "development", "other"]))
                .take(),
            int("rank"),
            text_null("url", 2000),
            flag("unconfirmed"),
            int("revision"),
            time("created_at"),
            time("updated_at"),
            time_null("archived_at"),
        ],
    )
}

fn release() -> TableCreateStatement {
    table(
        "release",
        [
            id(),
            uuid("service_id"),
            text("version", 128),
            int("number"),
            text("commit_sha", 64),
            text_null("image", 400),
            text("artefact", 128),
            text_null("ref", 255),
            time_null("committed_at"),
            json("changes"),
            text_null("pipeline_url", 2000),
            text_null("initiated_by", 200),
            json("labels"),
            text("actor_token", 200),
            text("actor_subject", 200),
            time("created_at"),
        ],
    )
    .foreign_key(&mut reference("release", "service_id", "service"))
    .take()
}

fn token() -> TableCreateStatement {
    table(
        "token",
        [
            id(),
            text("name", 63),
            text("subject", 200),
            json("scopes"),
            json("groups"),
            json_null("services"),
            json_null("environments"),
            ColumnDef::new("secret_hash").binary_len(32).not_null().take(),
            time("created_at"),
            time_null("expires_at"),
            time_null("revoked_at"),
        ],
    )
}
