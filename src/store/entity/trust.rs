//! The table `trust`.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::entity::prelude::*;

use super::column::Json;
use crate::domain::vocabulary::Scope;

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "trust")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub name: String,
    pub issuer: String,
    pub claims: Json<BTreeMap<String, String>>,
    pub environment_map: Option<Json<BTreeMap<String, String>>>,
    pub scopes: Json<BTreeSet<Scope>>,
    pub groups: Json<BTreeSet<String>>,
    pub services: Option<Json<BTreeSet<String>>>,
    pub environments: Option<Json<BTreeSet<String>>>,
    pub revision: i64,
    pub actor_token: String,
    pub actor_subject: String,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
