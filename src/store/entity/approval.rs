//! The table `approval`.

use std::collections::BTreeSet;

use sea_orm::entity::prelude::*;

use super::{column::Json, environment, release};
use crate::domain::{text::Image, vocabulary::Voice};

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "approval")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub release_id: Uuid,
    pub environment_id: Uuid,
    pub decision: Voice,
    pub comment: Option<String>,
    pub groups: Json<BTreeSet<String>>,
    pub actor_token: String,
    pub actor_subject: String,
    pub created_at: DateTimeUtc,
    pub withdrawn_at: Option<DateTimeUtc>,
    pub image: Option<Image>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
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
