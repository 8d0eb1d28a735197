//! The table `decision`.

use sea_orm::entity::prelude::*;

use super::{environment, release, service};
use crate::domain::vocabulary::Kind;

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "decision")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub service_id: Uuid,
    pub environment_id: Uuid,
    pub release_id: Uuid,
    pub deployment_id: Option<Uuid>,
    pub kind: Kind,
    pub actor_token: String,
    pub actor_subject: String,
    pub allowed: bool,
    pub evaluated_at: DateTimeUtc,
    pub last_evaluated_at: DateTimeUtc,
    pub count: i64,
    pub checks: String,
    pub inputs: String,
    pub override_reason: Option<String>,
    pub retry_at: Option<DateTimeUtc>,
    pub asked: bool,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
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
