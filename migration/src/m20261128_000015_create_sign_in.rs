//! How people are let in: the codes by which a command line is given a session, and the names that people go by.

use sea_orm_migration::prelude::*;

use crate::schema::{id, table, text, text_null, time, uuid_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// A code that lets a command line in once; it is deleted with its use.
fn sign_in_code() -> TableCreateStatement {
    table(
        "sign_in_code",
        [
            id(),
            // The SHA-256 of the code.
            ColumnDef::new("code_hash").binary().not_null().take(),
            // What a person types; none where a browser hands the code over.
            text_null("user_code", 16),
            // What the command line proves itself by.
            text("challenge", 64),
            // Where it runs, as it says.
            text("client", 200),
            // The session of whoever lets it in; none until somebody does.
            uuid_null("session_id"),
            time("created_at"),
            time("expires_at"),
        ],
    )
}

/// The name that a subject was last seen with.
fn person() -> TableCreateStatement {
    table("person", [text("subject", 200).primary_key().take(), text("name", 200), time("seen_at")])
}

const INDEXES: [&str; 3] = [
    "CREATE UNIQUE INDEX sign_in_code_hash_key ON sign_in_code (code_hash)",
    "CREATE UNIQUE INDEX sign_in_code_user_code_key ON sign_in_code (user_code)",
    "CREATE INDEX sign_in_code_expires_at_idx ON sign_in_code (expires_at)",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(sign_in_code()).await?;
        manager.create_table(person()).await?;
        for statement in INDEXES {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["person", "sign_in_code"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
