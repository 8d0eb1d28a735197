//! The table `freeze_window`.

use std::collections::BTreeSet;

use sea_orm::entity::prelude::*;

use super::column::Json;
use crate::domain::vocabulary::Tier;

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "freeze_window")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub name: String,
    pub reason: String,
    pub environments: Option<Json<BTreeSet<String>>>,
    pub tiers: Option<Json<BTreeSet<Tier>>>,
    pub services: Option<Json<BTreeSet<String>>>,
    pub starts_at: Option<DateTimeUtc>,
    pub ends_at: Option<DateTimeUtc>,
    pub start_cron: Option<String>,
    pub end_cron: Option<String>,
    pub timezone: Option<String>,
    pub revision: i64,
    pub actor_token: String,
    pub actor_subject: String,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
