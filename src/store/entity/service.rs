//! The table `service`.

use sea_orm::entity::prelude::*;

use super::column::Json;
use crate::domain::{service::Labels, text::Name};

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "service")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub name: Name,
    pub display_name: Option<String>,
    pub description: Option<String>,
    pub repository_url: Option<String>,
    pub owner: Option<String>,
    pub labels: Json<Labels>,
    pub revision: i64,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub archived_at: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
