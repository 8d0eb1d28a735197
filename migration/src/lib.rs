//! The schema of Waybill's database, one migration for each step it took.
//!
//! A migration means the same thing for ever, so nothing here imports the entities of the main crate. Each one
//! expands the schema first and contracts it a release later: the old binary runs beside the new schema.

#![expect(
    elided_lifetimes_in_paths,
    reason = "the trait hides the lifetime, so its implementations must too"
)]

use sea_orm_migration::prelude::*;

mod m20261121_000001_create_registry;
mod m20261121_000002_create_ledger;
mod m20261121_000003_create_audit;
mod m20261121_000004_create_gate;
mod m20261127_000005_add_approval_image;
mod m20261128_000006_extend_releases;
mod m20261128_000007_contract_scans;
mod m20261128_000008_contract_kinds;
mod m20261128_000009_add_freeze_services;
mod m20261128_000010_contract_commits;
mod m20261128_000011_count_fixable;
mod m20261128_000012_create_waivers;
mod m20261128_000013_add_platforms;
mod m20261128_000014_contract_credentials;
mod m20261128_000015_create_sign_in;
mod m20261128_000016_index_service_history;
mod m20261128_000017_index_commits;
mod m20261129_000018_tell_questions;
mod m20261129_000019_tell_askers;
mod schema;

pub use sea_orm_migration::MigratorTrait;

/// Applies the migrations in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261121_000001_create_registry::Migration),
            Box::new(m20261121_000002_create_ledger::Migration),
            Box::new(m20261121_000003_create_audit::Migration),
            Box::new(m20261121_000004_create_gate::Migration),
            Box::new(m20261127_000005_add_approval_image::Migration),
            Box::new(m20261128_000006_extend_releases::Migration),
            Box::new(m20261128_000007_contract_scans::Migration),
            Box::new(m20261128_000008_contract_kinds::Migration),
            Box::new(m20261128_000009_add_freeze_services::Migration),
            Box::new(m20261128_000010_contract_commits::Migration),
            Box::new(m20261128_000011_count_fixable::Migration),
            Box::new(m20261128_000012_create_waivers::Migration),
            Box::new(m20261128_000013_add_platforms::Migration),
            Box::new(m20261128_000014_contract_credentials::Migration),
            Box::new(m20261128_000015_create_sign_in::Migration),
            Box::new(m20261128_000016_index_service_history::Migration),
            Box::new(m20261128_000017_index_commits::Migration),
            Box::new(m20261129_000018_tell_questions::Migration),
            Box::new(m20261129_000019_tell_askers::Migration),
        ]
    }
}
