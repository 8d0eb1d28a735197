//! The table `target`.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "target")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub service_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub environment_id: Uuid,
    pub current_deployment_id: Option<Uuid>,
    pub current_release_id: Option<Uuid>,
    pub current_artefact: Option<String>,
    pub current_since: Option<DateTimeUtc>,
    pub current_finished_at: Option<DateTimeUtc>,
    pub current_token: Option<String>,
    pub current_subject: Option<String>,
    pub running_deployment_id: Option<Uuid>,
    pub running_release_id: Option<Uuid>,
    pub running_since: Option<DateTimeUtc>,
    pub running_token: Option<String>,
    pub running_subject: Option<String>,
    pub last_started_at: Option<DateTimeUtc>,
    pub last_at: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
