//! How many vulnerabilities of a part of a scan have a fix, of each severity, so that the gate need not look at its
//! findings. What is on record is counted where all its findings are kept; of the rest nobody can tell.

use sea_orm_migration::prelude::*;

use crate::schema::json_null;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const SEVERITIES: [&str; 5] = ["critical", "high", "medium", "low", "unknown"];

/// Writes the counts as the server does, as JSON.
fn fill() -> String {
    let count = |severity: &str| {
        format!("'\"{severity}\":' || COUNT(CASE WHEN f.severity = '{severity}' THEN 1 END)")
    };
    let counts = SEVERITIES.map(count).join(" || ',' || ");
    format!(
        "UPDATE scan_part SET fixable = (SELECT '{{' || {counts} || '}}' FROM finding f WHERE f.scan_id = scan_part.scan_id \
         AND f.class = scan_part.class AND f.fixed_version IS NOT NULL) WHERE critical + high + medium + low + unknown = \
         (SELECT COUNT(*) FROM finding f WHERE f.scan_id = scan_part.scan_id AND f.class = scan_part.class)"
    )
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let fixable = &mut json_null("fixable");
        manager.alter_table(Table::alter().table("scan_part").add_column(fixable).to_owned()).await?;
        manager.get_connection().execute_unprepared(&fill()).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("scan_part").drop_column("fixable").to_owned()).await
    }
}
