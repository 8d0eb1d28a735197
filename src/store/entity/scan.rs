//! The table `scan`.

use sea_orm::entity::prelude::*;

use super::{release, service};
use crate::domain::vocabulary::ScanFormat;

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "scan")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub service_id: Uuid,
    pub release_id: Uuid,
    pub artefact: String,
    pub scanner: String,
    pub format: ScanFormat,
    pub platform: Option<String>,
    pub scanned_at: DateTimeUtc,
    pub actor_token: String,
    pub actor_subject: String,
    pub created_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(belongs_to = "service::Entity", from = "Column::ServiceId", to = "service::Column::Id")]
    Service,
    #[sea_orm(belongs_to = "release::Entity", from = "Column::ReleaseId", to = "release::Column::Id")]
    Release,
}

impl ActiveModelBehavior for ActiveModel {}
