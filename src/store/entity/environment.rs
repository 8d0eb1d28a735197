//! The table `environment`.

use sea_orm::entity::prelude::*;

use super::column::Json;
use crate::domain::{policy::Policy, text::Name, vocabulary::Tier};

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "environment")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub name: Name,
    pub tier: Tier,
    pub rank: i64,
    pub url: Option<String>,
    pub unconfirmed: bool,
    pub policy: Option<Json<Policy>>,
    pub policy_version: Option<i64>,
    pub lockdown_reason: Option<String>,
    pub lockdown_token: Option<String>,
    pub lockdown_subject: Option<String>,
    pub lockdown_since: Option<DateTimeUtc>,
    pub freezes: Option<Uuid>,
    pub revision: i64,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub archived_at: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
