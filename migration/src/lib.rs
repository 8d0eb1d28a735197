//! The schema of Waybill's database, as the migrations that lead to it. It imports nothing of the server, so that an
//! old migration means the same for ever.

use sea_orm_migration::{MigrationTrait, MigratorTrait};

/// Every migration, the oldest first.
#[derive(Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        Vec::new()
    }
}
