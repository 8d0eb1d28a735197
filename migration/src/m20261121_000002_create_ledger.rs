//! The ledger itself: targets, the deployments into them, and what the gate said to each.

use sea_orm_migration::prelude::*;

use crate::schema::{
    flag, id, int, int_null, json, reference, table, text, text_null, time, time_null, uuid, uuid_null,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// What queries need to stay independent of the history's length, and the invariant that holds without any code: at
/// most one running deployment for a target. (At most one is current because a target has one column for it.)
const INDEXES: [&str; 9] = [
    "CREATE UNIQUE INDEX deployment_running_key ON deployment (service_id, environment_id) WHERE status = 'running'",
    "CREATE INDEX deployment_lease_idx ON deployment (lease_expires_at) WHERE status = 'running'",
    "CREATE INDEX deployment_target_idx ON deployment (service_id, environment_id, started_at, id)",
    "CREATE UNIQUE INDEX deployment_stay_key ON deployment (service_id, environment_id, finished_at) \
     WHERE status = 'succeeded'",
    "CREATE INDEX deployment_live_idx ON deployment (service_id, environment_id, started_at, id) WHERE NOT recorded",
    "CREATE INDEX deployment_environment_idx ON deployment (environment_id, started_at, id)",
    "CREATE INDEX deployment_started_idx ON deployment (started_at, id)",
    "CREATE INDEX decision_target_idx ON decision (service_id, environment_id, evaluated_at)",
    "CREATE INDEX decision_denied_idx ON decision (last_evaluated_at) WHERE NOT allowed",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in [decision(), deployment(), target()] {
            manager.create_table(statement).await?;
        }
        for index in INDEXES {
            manager.get_connection().execute_unprepared(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for name in ["target", "deployment", "decision"] {
            manager.drop_table(Table::drop().table(name).to_owned()).await?;
        }
        Ok(())
    }
}

fn decision() -> TableCreateStatement {
    table(
        "decision",
        [
            id(),
            uuid("service_id"),
            uuid("environment_id"),
            uuid("release_id"),
            uuid_null("deployment_id"),
            text("kind", 16),
            text("actor_token", 200),
            text("actor_subject", 200),
            flag("allowed"),
            time("evaluated_at"),
            time("last_evaluated_at"),
            int("count"),
            json("checks"),
            json("inputs"),
            text_null("override_reason", 2000),
            time_null("retry_at"),
        ],
    )
    .foreign_key(&mut reference("decision", "service_id", "service"))
    .foreign_key(&mut reference("decision", "environment_id", "environment"))
    .foreign_key(&mut reference("decision", "release_id", "release"))
    .take()
}

fn deployment() -> TableCreateStatement {
    let statuses = ["running", "succeeded", "failed", "canceled", "expired"];
    let strategies = ["rolling", "blue-green", "canary", "recreate"];
    let kinds = ["deploy", "rollback", "hotfix", "redeploy"];
    table(
        "deployment",
        vec![
            id(),
            uuid("service_id"),
            uuid("environment_id"),
            uuid("release_id"),
            text("artefact", 128),
            text("status", 16).check(Expr::col("status").is_in(statuses)).take(),
            text("kind", 16).check(Expr::col("kind").is_in(kinds)).take(),
            text("strategy", 16).check(Expr::col("strategy").is_in(strategies)).take(),
            text_null("phase", 200),
            int_null("traffic_percent"),
            text_null("message", 4000),
            text_null("reason", 2000),
            text_null("override_reason", 2000),
            text_null("pipeline_url", 2000),
            text_null("initiated_by", 200),
            uuid_null("remediates"),
            uuid_null("decision_id"),
            text("actor_token", 200),
            text("actor_subject", 200),
            time("started_at"),
            time_null("finished_at"),
            time_null("expired_at"),
            time_null("heartbeat_at"),
            int("lease_seconds"),
            time_null("lease_expires_at"),
            time_null("stay_started_at"),
            time_null("superseded_at"),
            uuid_null("superseded_by"),
            time_null("reverts_since"),
            uuid_null("reverted_by"),
            text_null("late_status", 16),
            flag("recorded"),
            flag("ungated"),
            flag("credited"),
            flag("verified"),
            flag("preempted"),
        ],
    )
    .check(Expr::cust("(status = 'running') = (finished_at IS NULL)"))
    .check(Expr::cust("finished_at IS NULL OR finished_at >= started_at"))
    .check(Expr::cust("superseded_at IS NULL OR (status = 'succeeded' AND superseded_at > finished_at)"))
    .check(Expr::cust("(status = 'succeeded') = (stay_started_at IS NOT NULL)"))
    .foreign_key(&mut reference("deployment", "service_id", "service"))
    .foreign_key(&mut reference("deployment", "environment_id", "environment"))
    .foreign_key(&mut reference("deployment", "release_id", "release"))
    .foreign_key(&mut reference("deployment", "decision_id", "decision"))
    .foreign_key(&mut reference("deployment", "remediates", "deployment"))
    .take()
}

/// The row a start locks. It repeats who is current and who is running, so that the matrix reads as many rows as it
/// shows, whatever lies behind them.
fn target() -> TableCreateStatement {
    table(
        "target",
        [
            uuid("service_id"),
            uuid("environment_id"),
            uuid_null("current_deployment_id"),
            uuid_null("current_release_id"),
            text_null("current_artefact", 128),
            time_null("current_since"),
            time_null("current_finished_at"),
            text_null("current_token", 200),
            text_null("current_subject", 200),
            uuid_null("running_deployment_id"),
            uuid_null("running_release_id"),
            time_null("running_since"),
            text_null("running_token", 200),
            text_null("running_subject", 200),
            time_null("last_started_at"),
            time_null("last_at"),
        ],
    )
    .primary_key(Index::create().name("target_pkey").col("service_id").col("environment_id"))
    .foreign_key(&mut reference("target", "service_id", "service"))
    .foreign_key(&mut reference("target", "environment_id", "environment"))
    .foreign_key(&mut reference("target", "current_deployment_id", "deployment"))
    .foreign_key(&mut reference("target", "running_deployment_id", "deployment"))
    .foreign_key(&mut reference("target", "current_release_id", "release"))
    .foreign_key(&mut reference("target", "running_release_id", "release"))
    .take()
}
