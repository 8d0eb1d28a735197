//! The table `deployment`.

use sea_orm::entity::prelude::*;

use super::{environment, release, service, target};
use crate::domain::vocabulary::{Kind, Outcome, Status, Strategy};

#[expect(clippy::struct_excessive_bools, reason = "the table has as many flags")]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "deployment")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub service_id: Uuid,
    pub environment_id: Uuid,
    pub release_id: Uuid,
    pub artefact: String,
    pub status: Status,
    pub kind: Kind,
    pub strategy: Strategy,
    pub phase: Option<String>,
    pub traffic_percent: Option<i64>,
    pub message: Option<String>,
    pub reason: Option<String>,
    pub override_reason: Option<String>,
    pub pipeline_url: Option<String>,
    pub initiated_by: Option<String>,
    pub remediates: Option<Uuid>,
    pub decision_id: Option<Uuid>,
    pub actor_token: String,
    pub actor_subject: String,
    pub credential_id: Option<Uuid>,
    pub started_at: DateTimeUtc,
    pub finished_at: Option<DateTimeUtc>,
    pub expired_at: Option<DateTimeUtc>,
    pub heartbeat_at: Option<DateTimeUtc>,
    pub lease_seconds: i64,
    pub lease_expires_at: Option<DateTimeUtc>,
    pub stay_started_at: Option<DateTimeUtc>,
    pub superseded_at: Option<DateTimeUtc>,
    pub superseded_by: Option<Uuid>,
    pub reverts_since: Option<DateTimeUtc>,
    pub reverted_by: Option<Uuid>,
    pub late_status: Option<Outcome>,
    pub recorded: bool,
    pub ungated: bool,
    pub credited: bool,
    pub verified: bool,
    pub preempted: bool,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(
        belongs_to = "target::Entity",
        from = "(Column::ServiceId, Column::EnvironmentId)",
        to = "(target::Column::ServiceId, target::Column::EnvironmentId)"
    )]
    Target,
    #[sea_orm(belongs_to = "service::Entity", from = "Column::ServiceId", to = "service::Column::Id")]
    Service,
    #[sea_orm(
        belongs_to = "environment::Entity",
        from = "Column::EnvironmentId",
        to = "environment::Column::Id"
    )]
    Environment,
    #[sea_orm(belongs_to = "release::Entity", from = "Column::ReleaseId", to = "release::Column::Id")]
    Release,
}

impl ActiveModelBehavior for ActiveModel {}
