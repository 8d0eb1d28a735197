//! The table `token`.

use std::collections::BTreeSet;

use sea_orm::entity::prelude::*;

use super::column::Json;
use crate::domain::vocabulary::Scope;

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "token")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub name: String,
    pub subject: String,
    pub scopes: Json<BTreeSet<Scope>>,
    pub groups: Json<BTreeSet<String>>,
    pub services: Option<Json<BTreeSet<String>>>,
    pub environments: Option<Json<BTreeSet<String>>>,
    pub secret_hash: Vec<u8>,
    pub created_at: DateTimeUtc,
    pub expires_at: Option<DateTimeUtc>,
    pub revoked_at: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
