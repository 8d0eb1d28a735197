//! The table `event`.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "event")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub seq: Option<i64>,
    pub occurred_at: DateTimeUtc,
    pub kind: String,
    pub actor_token: String,
    pub actor_subject: String,
    pub service: Option<String>,
    pub environment: Option<String>,
    pub version: Option<String>,
    pub deployment_id: Option<Uuid>,
    pub request_id: Option<String>,
    pub data: String,
    pub prev_hash: Option<String>,
    pub hash: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
