//! What the gate reads: each environment's policy and lockdown, freeze windows, approvals and scans.

use sea_orm_migration::prelude::*;

use crate::schema::{
    flag, id, int, int_null, json, json_null, reference, table, text, text_null, time, time_null, uuid,
    uuid_null,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// What the gate's reads need, and the invariants that hold without any code: a subject has one voice about a release
/// in an environment.
const INDEXES: [&str; 8] = [
    "CREATE UNIQUE INDEX approval_voice_key ON approval (release_id, environment_id, actor_subject) \
     WHERE withdrawn_at IS NULL",
    "CREATE INDEX approval_release_idx ON approval (release_id, created_at, id)",
    "CREATE INDEX scan_artefact_idx ON scan (service_id, artefact, scanned_at, id)",
    "CREATE UNIQUE INDEX scan_latest_key ON scan (service_id, artefact, scanner) WHERE latest",
    "CREATE INDEX finding_vulnerability_idx ON finding (vulnerability)",
    "CREATE INDEX finding_alias_idx ON finding (alias) WHERE alias IS NOT NULL",
    "CREATE INDEX deployment_artefact_idx ON deployment (service_id, artefact, environment_id) \
     WHERE status = 'succeeded'",
    "CREATE INDEX decision_evaluated_idx ON decision (last_evaluated_at, id)",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for mut column in gate_columns() {
            // SQLite adds one column at a time.
            let alter = Table::alter().table("environment").add_column(&mut column).to_owned();
            manager.alter_table(alter).await?;
        }
        let added_by = &mut text_null("image_added_by", 200);
        manager.alter_table(Table::alter().table("release").add_column(added_by).to_owned()).await?;
        for statement in [freeze_window(), approval(), scan(), finding()] {
            manager.create_table(statement).await?;
        }
        for index in INDEXES {
            manager.get_connection().execute_unprepared(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for name in ["decision_evaluated_idx", "deployment_artefact_idx"] {
            manager.get_connection().execute_unprepared(&format!("DROP INDEX {name}")).await?;
        }
        for name in ["finding", "scan", "approval", "freeze_window"] {
            manager.drop_table(Table::drop().table(name).to_owned()).await?;
        }
        let alter = Table::alter().table("release").drop_column("image_added_by").to_owned();
        manager.alter_table(alter).await?;
        for column in gate_columns() {
            let alter = Table::alter().table("environment").drop_column(column.get_column_name()).to_owned();
            manager.alter_table(alter).await?;
        }
        Ok(())
    }
}

/// The row that a start locks holds what the gate reads of its environment.
fn gate_columns() -> [ColumnDef; 7] {
    [
        json_null("policy"),
        int_null("policy_version"),
        text_null("lockdown_reason", 2000),
        text_null("lockdown_token", 200),
        text_null("lockdown_subject", 200),
        time_null("lockdown_since"),
        uuid_null("freezes"),
    ]
}

fn freeze_window() -> TableCreateStatement {
    table(
        "freeze_window",
        [
            id(),
            text("name", 200),
            text("reason", 2000),
            json_null("environments"),
            json_null("tiers"),
            time_null("starts_at"),
            time_null("ends_at"),
            text_null("start_cron", 200),
            text_null("end_cron", 200),
            text_null("timezone", 64),
            int("revision"),
            text("actor_token", 200),
            text("actor_subject", 200),
            time("created_at"),
            time("updated_at"),
        ],
    )
    .check(Expr::cust("(environments IS NULL) <> (tiers IS NULL)"))
    .check(Expr::cust("(starts_at IS NULL) = (ends_at IS NULL)"))
    .check(Expr::cust("(start_cron IS NULL) = (end_cron IS NULL)"))
    .check(Expr::cust("(start_cron IS NULL) = (timezone IS NULL)"))
    .check(Expr::cust("(starts_at IS NULL) <> (start_cron IS NULL)"))
    .check(Expr::cust("ends_at > starts_at"))
    .take()
}

fn approval() -> TableCreateStatement {
    table(
        "approval",
        [
            id(),
            uuid("release_id"),
            uuid("environment_id"),
            text("decision", 16).check(Expr::col("decision").is_in(["approved", "rejected"])).take(),
            text_null("comment", 2000),
            json("groups"),
            text("actor_token", 200),
            text("actor_subject", 200),
            time("created_at"),
            time_null("withdrawn_at"),
        ],
    )
    .foreign_key(&mut reference("approval", "release_id", "release"))
    .foreign_key(&mut reference("approval", "environment_id", "environment"))
    .take()
}

/// `latest` marks the one report of each scanner about an artefact that counts.
fn scan() -> TableCreateStatement {
    table(
        "scan",
        [
            id(),
            uuid("service_id"),
            uuid("release_id"),
            text("artefact", 128),
            text("scanner", 100),
            text("format", 16).check(Expr::col("format").is_in(["trivy", "grype", "plain"])).take(),
            time("scanned_at"),
            int("critical"),
            int("high"),
            int("medium"),
            int("low"),
            int("unknown"),
            flag("latest"),
            text("actor_token", 200),
            text("actor_subject", 200),
            time("created_at"),
        ],
    )
    .foreign_key(&mut reference("scan", "service_id", "service"))
    .foreign_key(&mut reference("scan", "release_id", "release"))
    .take()
}

/// The vulnerabilities that a scan names, one for each package; kept while the scan is the latest. `alias` is another id
/// of the same: people ask by either.
fn finding() -> TableCreateStatement {
    table(
        "finding",
        [
            uuid("scan_id"),
            text("vulnerability", 128),
            text_null("alias", 128),
            text("package", 300),
            text("severity", 16)
                .check(Expr::col("severity").is_in(["critical", "high", "medium", "low", "unknown"]))
                .take(),
            text_null("installed_version", 300),
            text_null("fixed_version", 300),
        ],
    )
    .primary_key(Index::create().name("finding_pkey").col("scan_id").col("vulnerability").col("package"))
    .foreign_key(&mut reference("finding", "scan_id", "scan"))
    .take()
}
