//! The table `token`: every kind of credential.

use std::collections::BTreeSet;

use sea_orm::entity::prelude::*;

use super::column::Json;
use crate::domain::vocabulary::Scope;

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "token")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// `token`, `pipeline` or `session`.
    pub kind: String,
    pub name: String,
    pub subject: String,
    pub shown_name: Option<String>,
    pub scopes: Json<BTreeSet<Scope>>,
    pub groups: Json<BTreeSet<String>>,
    pub services: Option<Json<BTreeSet<String>>>,
    pub environments: Option<Json<BTreeSet<String>>>,
    pub secret_hash: Vec<u8>,
    pub issuer: Option<String>,
    pub parent_id: Option<Uuid>,
    pub lingers_until: Option<DateTimeUtc>,
    pub proof_hash: Option<Vec<u8>>,
    pub proof_use: Option<i64>,
    pub proof_expires_at: Option<DateTimeUtc>,
    pub commit_sha: Option<String>,
    pub initiator: Option<String>,
    pub idle_until: Option<DateTimeUtc>,
    pub place: Option<String>,
    pub created_at: DateTimeUtc,
    pub expires_at: Option<DateTimeUtc>,
    pub revoked_at: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
