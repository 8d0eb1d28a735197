//! The table `finding`.

use sea_orm::entity::prelude::*;

use crate::domain::vocabulary::{PackageClass, Severity};

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "finding")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub scan_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub class: PackageClass,
    #[sea_orm(primary_key, auto_increment = false)]
    pub vulnerability: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub package: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub version: String,
    pub severity: Severity,
    pub fixed_version: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
