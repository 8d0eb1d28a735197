//! The table `release`.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "release")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub service_id: Uuid,
    pub version: String,
    pub number: i64,
    pub commit_sha: String,
    pub image: Option<String>,
    pub artefact: String,
    pub r#ref: Option<String>,
    pub committed_at: Option<DateTimeUtc>,
    pub changes: String,
    pub pipeline_url: Option<String>,
    pub initiated_by: Option<String>,
    pub labels: String,
    pub actor_token: String,
    pub actor_subject: String,
    pub created_at: DateTimeUtc,
    pub image_added_by: Option<String>,
    pub ordered_at: DateTimeUtc,
    pub place: i64,
    pub locations: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
