//! The table `release`.

use sea_orm::entity::prelude::*;

use super::{column::Json, service};
use crate::domain::{
    platform::Platform,
    release::Change,
    service::Labels,
    text::{CommitSha, Image, Version},
};

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "release")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub service_id: Uuid,
    pub version: Version,
    pub number: i64,
    pub commit_sha: Option<CommitSha>,
    pub image: Option<Image>,
    pub artefact: String,
    pub r#ref: Option<String>,
    pub committed_at: Option<DateTimeUtc>,
    pub changes: Json<Vec<Change>>,
    pub pipeline_url: Option<String>,
    pub initiated_by: Option<String>,
    pub labels: Json<Labels>,
    pub actor_token: String,
    pub actor_subject: String,
    pub created_at: DateTimeUtc,
    pub image_added_by: Option<String>,
    pub ordered_at: DateTimeUtc,
    pub place: i64,
    pub locations: Option<Json<Vec<String>>>,
    pub platforms: Option<Json<Vec<Platform>>>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(belongs_to = "service::Entity", from = "Column::ServiceId", to = "service::Column::Id")]
    Service,
}

impl ActiveModelBehavior for ActiveModel {}
