//! The table `scan_part`.

use sea_orm::entity::prelude::*;

use super::{column::Json, scan};
use crate::domain::{gate::facts::Counts, vocabulary::PackageClass};

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "scan_part")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub scan_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub class: PackageClass,
    pub service_id: Uuid,
    pub artefact: String,
    pub scanner: String,
    pub platform: String,
    pub critical: i64,
    pub high: i64,
    pub medium: i64,
    pub low: i64,
    pub unknown: i64,
    pub latest: bool,
    pub fixable: Option<Json<Counts>>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(belongs_to = "scan::Entity", from = "Column::ScanId", to = "scan::Column::Id")]
    Scan,
}

impl ActiveModelBehavior for ActiveModel {}
