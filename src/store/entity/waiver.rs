//! The table `waiver`.

use std::collections::BTreeSet;

use sea_orm::entity::prelude::*;

use super::column::Json;

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "waiver")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub vulnerability: String,
    pub reason: String,
    pub services: Option<Json<BTreeSet<String>>>,
    pub environments: Option<Json<BTreeSet<String>>>,
    pub expires_at: DateTimeUtc,
    pub actor_token: String,
    pub actor_subject: String,
    pub created_at: DateTimeUtc,
    pub withdrawn_at: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
