//! Who asks: beside tokens, the credentials of pipelines and the sessions of people, all in one table, so that recognising
//! any of them is one statement; and the trusts that say which pipelines may do what.
//!
//! The index of names is narrowed to tokens at once, and not a release later: it only stops to refuse what the release
//! before never writes.

use sea_orm_migration::prelude::*;

use crate::schema::{id, int, int_null, json, json_null, table, text, text_null, time, time_null, uuid_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const KIND: &str = "ALTER TABLE token ADD COLUMN kind varchar(16) NOT NULL DEFAULT 'token' \
    CONSTRAINT token_kind_check CHECK (kind IN ('token', 'pipeline', 'session'))";

const NAMES_OF_TOKENS: [&str; 2] = [
    "DROP INDEX token_name_key",
    "CREATE UNIQUE INDEX token_name_key ON token (name) WHERE revoked_at IS NULL AND kind = 'token'",
];

const NAMES_OF_ALL: [&str; 2] = [
    "DROP INDEX token_name_key",
    "CREATE UNIQUE INDEX token_name_key ON token (name) WHERE revoked_at IS NULL",
];

const INDEXES: [&str; 3] = [
    // How often an ID token was exchanged.
    "CREATE UNIQUE INDEX token_proof_key ON token (proof_hash, proof_use)",
    // What ends with a trust, or with the token that a person signed in with.
    "CREATE INDEX token_parent_idx ON token (parent_id) WHERE parent_id IS NOT NULL",
    // What is purged, and whose sessions there are.
    "CREATE INDEX token_kind_idx ON token (kind, subject) WHERE kind <> 'token'",
];

/// What pipelines and sessions have beyond what a token has.
fn columns() -> [ColumnDef; 11] {
    [
        // The name that the issuer gave for a person, as people are shown it.
        text_null("shown_name", 200),
        // The issuer that vouched for it.
        text_null("issuer", 63),
        // The trust that it was given by, or the token that a person signed in with.
        uuid_null("parent_id"),
        // Until when a pipeline's may still heartbeat, finish and read what it started.
        time_null("lingers_until"),
        // The ID token that it was given for, the how-maniest exchange of it this was, and until when it may be shown again.
        ColumnDef::new("proof_hash").binary().null().take(),
        int_null("proof_use"),
        time_null("proof_expires_at"),
        // The commit that an ID token vouches for: no other is registered by it.
        text_null("commit_sha", 64),
        // Who is proved to have started the pipeline.
        text_null("initiator", 200),
        // Until when a session may be idle.
        time_null("idle_until"),
        // Where a session was begun, for whoever looks through theirs.
        text_null("place", 250),
    ]
}

fn trust() -> TableCreateStatement {
    table(
        "trust",
        [
            id(),
            text("name", 63),
            text("issuer", 63),
            json("claims"),
            json_null("environment_map"),
            json("scopes"),
            json("groups"),
            json_null("services"),
            json_null("environments"),
            int("revision"),
            text("actor_token", 200),
            text("actor_subject", 200),
            time("created_at"),
            time("updated_at"),
        ],
    )
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let run = manager.get_connection();
        run.execute_unprepared(KIND).await?;
        // One by one, as SQLite wants it.
        for mut column in columns() {
            manager.alter_table(Table::alter().table("token").add_column(&mut column).to_owned()).await?;
        }
        let credential = &mut uuid_null("credential_id");
        manager.alter_table(Table::alter().table("deployment").add_column(credential).to_owned()).await?;
        manager.create_table(trust()).await?;
        let names = Index::create().name("trust_name_key").table("trust").unique().col("name").to_owned();
        manager.create_index(names).await?;
        for statement in NAMES_OF_TOKENS.into_iter().chain(INDEXES) {
            run.execute_unprepared(statement).await?;
        }
        Ok(())
    }

    /// Forgets whoever is no token: the binary of before would take their credentials for tokens.
    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let run = manager.get_connection();
        for statement in [
            "DELETE FROM token WHERE kind <> 'token'",
            "DROP INDEX token_kind_idx",
            "DROP INDEX token_parent_idx",
            "DROP INDEX token_proof_key",
        ] {
            run.execute_unprepared(statement).await?;
        }
        for statement in NAMES_OF_ALL {
            run.execute_unprepared(statement).await?;
        }
        manager.drop_table(Table::drop().table("trust").to_owned()).await?;
        for column in columns() {
            let name = column.get_column_name();
            manager.alter_table(Table::alter().table("token").drop_column(name).to_owned()).await?;
        }
        run.execute_unprepared("ALTER TABLE token DROP COLUMN kind").await?;
        manager.alter_table(Table::alter().table("deployment").drop_column("credential_id").to_owned()).await
    }
}
