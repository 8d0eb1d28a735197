//! The audit log with the head of its hash chain, and the answers kept for idempotency keys.

use sea_orm_migration::prelude::*;

use crate::schema::{id, int, int_null, json, table, text, text_null, time, time_null, uuid, uuid_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const INDEXES: [&str; 5] = [
    "CREATE UNIQUE INDEX event_seq_key ON event (seq)",
    "CREATE INDEX event_unsealed_idx ON event (occurred_at, id) WHERE seq IS NULL",
    "CREATE INDEX event_deployment_idx ON event (deployment_id, occurred_at) WHERE deployment_id IS NOT NULL",
    "CREATE INDEX event_service_idx ON event (service, seq)",
    "CREATE INDEX idempotency_key_age_idx ON idempotency_key (created_at)",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in [event(), chain_head(), idempotency_key()] {
            manager.create_table(statement).await?;
        }
        for index in INDEXES {
            manager.get_connection().execute_unprepared(index).await?;
        }
        manager
            .execute(
                Query::insert()
                    .into_table("chain_head")
                    .columns(["id", "seq", "hash"])
                    .values_panic([1.into(), 0.into(), "0".repeat(64).into()])
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for name in ["idempotency_key", "chain_head", "event"] {
            manager.drop_table(Table::drop().table(name).to_owned()).await?;
        }
        Ok(())
    }
}

fn event() -> TableCreateStatement {
    table(
        "event",
        [
            id(),
            int_null("seq"),
            time("occurred_at"),
            text("kind", 64),
            text("actor_token", 200),
            text("actor_subject", 200),
            text_null("service", 63),
            text_null("environment", 63),
            text_null("version", 128),
            uuid_null("deployment_id"),
            text_null("request_id", 64),
            json("data"),
            text_null("prev_hash", 64),
            text_null("hash", 64),
        ],
    )
    .check(Expr::cust("(seq IS NULL) = (hash IS NULL)"))
    .take()
}

fn chain_head() -> TableCreateStatement {
    let only_row = Expr::col("id").eq(1);
    table(
        "chain_head",
        [
            ColumnDef::new("id").integer().not_null().primary_key().check(only_row).take(),
            int("seq"),
            text("hash", 64),
            time_null("sealed_at"),
        ],
    )
}

fn idempotency_key() -> TableCreateStatement {
    table(
        "idempotency_key",
        [
            uuid("token_id"),
            text("key", 255),
            text("fingerprint", 64),
            int("status"),
            text_null("location", 1000),
            text_null("etag", 32),
            json("body"),
            time("created_at"),
        ],
    )
    .primary_key(Index::create().name("idempotency_key_pkey").col("token_id").col("key"))
    .take()
}
