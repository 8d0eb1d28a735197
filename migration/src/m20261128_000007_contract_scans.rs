//! A scan counts for its platform and for the packages that it is of, and a vulnerability is known by every id that a
//! report gives it. What is on record keeps what it says: it is of packages that were not told apart.
//!
//! It takes columns away at once, and not a release later, because no version that reads them has been released.

use sea_orm_migration::prelude::*;

use crate::schema::{flag, int, reference, table, text, text_null, uuid};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// A finding's version is part of its key, and an index has room for so much.
const FILL: [&str; 4] = [
    "INSERT INTO scan_part (scan_id, class, service_id, artefact, scanner, platform, critical, high, medium, low, unknown, \
     latest) SELECT id, 'any', service_id, artefact, scanner, '', critical, high, medium, low, unknown, latest FROM scan",
    "INSERT INTO finding (scan_id, class, vulnerability, package, version, severity, fixed_version) SELECT scan_id, 'any', \
     vulnerability, package, COALESCE(SUBSTR(installed_version, 1, 100), ''), severity, fixed_version FROM finding_before",
    "INSERT INTO vulnerability_alias (scan_id, class, alias, vulnerability) SELECT DISTINCT scan_id, 'any', alias, \
     vulnerability FROM finding_before WHERE alias IS NOT NULL",
    "DROP TABLE finding_before",
];

/// What is asked for, and that of each scanner one report counts for a platform and a class.
const INDEXES: [&str; 4] = [
    "CREATE UNIQUE INDEX scan_part_latest_key ON scan_part (service_id, artefact, scanner, platform, class) WHERE latest",
    "CREATE INDEX finding_vulnerability_idx ON finding (vulnerability)",
    "CREATE INDEX vulnerability_alias_idx ON vulnerability_alias (alias)",
    "CREATE INDEX vulnerability_alias_of_idx ON vulnerability_alias (vulnerability)",
];

const COUNTS: [&str; 5] = ["critical", "high", "medium", "low", "unknown"];

/// The way back: each scan is whole again, and counts where any part of it did; of several that do, the last.
const UNFILL: [&str; 5] = [
    "UPDATE scan SET critical = p.critical, high = p.high, medium = p.medium, low = p.low, unknown = p.unknown FROM \
     (SELECT scan_id, SUM(critical) AS critical, SUM(high) AS high, SUM(medium) AS medium, SUM(low) AS low, \
     SUM(unknown) AS unknown FROM scan_part GROUP BY scan_id) AS p WHERE p.scan_id = scan.id",
    "UPDATE scan SET latest = TRUE FROM (SELECT c.id, ROW_NUMBER() OVER (PARTITION BY c.service_id, c.artefact, c.scanner \
     ORDER BY c.scanned_at DESC, c.created_at DESC, c.id DESC) AS place FROM scan c) AS q \
     WHERE q.id = scan.id AND q.place = 1",
    "INSERT INTO finding (scan_id, vulnerability, alias, package, severity, installed_version, fixed_version) \
     SELECT f.scan_id, f.vulnerability, MIN(a.alias), f.package, SUBSTR(MIN(CASE f.severity WHEN 'critical' THEN '0' \
     WHEN 'high' THEN '1' WHEN 'medium' THEN '2' WHEN 'low' THEN '3' ELSE '4' END || f.severity), 2), \
     NULLIF(MIN(f.version), ''), MIN(f.fixed_version) FROM finding_before f JOIN scan c ON c.id = f.scan_id AND c.latest \
     LEFT JOIN vulnerability_alias a ON a.scan_id = f.scan_id AND a.vulnerability = f.vulnerability \
     GROUP BY f.scan_id, f.vulnerability, f.package",
    "DROP TABLE finding_before",
    "DROP TABLE vulnerability_alias",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let run = manager.get_connection();
        set_findings_aside(manager, &["finding_vulnerability_idx", "finding_alias_idx", "scan_latest_key"])
            .await?;
        for statement in [scan_part(), finding(), vulnerability_alias()] {
            manager.create_table(statement).await?;
        }
        for statement in FILL.iter().chain(&INDEXES) {
            run.execute_unprepared(statement).await?;
        }
        for column in COUNTS.iter().chain(&["latest"]) {
            manager.alter_table(Table::alter().table("scan").drop_column(*column).to_owned()).await?;
        }
        let platform = &mut text_null("platform", 128);
        manager.alter_table(Table::alter().table("scan").add_column(platform).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let run = manager.get_connection();
        manager.alter_table(Table::alter().table("scan").drop_column("platform").to_owned()).await?;
        for name in COUNTS {
            let column = &mut int(name).default(0).take();
            manager.alter_table(Table::alter().table("scan").add_column(column).to_owned()).await?;
        }
        let latest = &mut flag("latest");
        manager.alter_table(Table::alter().table("scan").add_column(latest).to_owned()).await?;
        set_findings_aside(manager, &["finding_vulnerability_idx"]).await?;
        manager.create_table(finding_before()).await?;
        for statement in UNFILL {
            run.execute_unprepared(statement).await?;
        }
        manager.drop_table(Table::drop().table("scan_part").to_owned()).await?;
        for index in [
            "CREATE UNIQUE INDEX scan_latest_key ON scan (service_id, artefact, scanner) WHERE latest",
            "CREATE INDEX finding_vulnerability_idx ON finding (vulnerability)",
            "CREATE INDEX finding_alias_idx ON finding (alias) WHERE alias IS NOT NULL",
        ] {
            run.execute_unprepared(index).await?;
        }
        Ok(())
    }
}

/// Neither database changes a primary key in a way that the other knows: the table makes room for a new one.
async fn set_findings_aside(manager: &SchemaManager<'_>, indexes: &[&str]) -> Result<(), DbErr> {
    let run = manager.get_connection();
    for index in indexes {
        run.execute_unprepared(&format!("DROP INDEX {index}")).await?;
    }
    run.execute_unprepared("ALTER TABLE finding RENAME TO finding_before").await?;
    Ok(())
}

fn class(name: &'static str) -> ColumnDef {
    text(name, 16).check(Expr::col(name).is_in(["os", "language", "all", "any"])).take()
}

/// A part of a scan: what was found in packages of one class. It says itself what it is of, so that the database keeps of
/// each scanner no more than one that counts. The platform is empty where the report does not tell.
fn scan_part() -> TableCreateStatement {
    let told = [
        uuid("scan_id"),
        class("class"),
        uuid("service_id"),
        text("artefact", 128),
        text("scanner", 100),
        text("platform", 128),
    ];
    table("scan_part", told.into_iter().chain(COUNTS.map(int)).chain([flag("latest")]))
        .primary_key(Index::create().name("scan_part_pkey").col("scan_id").col("class"))
        .foreign_key(&mut reference("scan_part", "scan_id", "scan"))
        .foreign_key(&mut reference("scan_part", "service_id", "service"))
        .take()
}

fn severity() -> ColumnDef {
    text("severity", 16)
        .check(Expr::col("severity").is_in(["critical", "high", "medium", "low", "unknown"]))
        .take()
}

/// The vulnerabilities that a part names, one for each version of each package; kept while it counts.
fn finding() -> TableCreateStatement {
    table(
        "finding",
        [
            uuid("scan_id"),
            class("class"),
            text("vulnerability", 128),
            text("package", 300),
            text("version", 100),
            severity(),
            text_null("fixed_version", 300),
        ],
    )
    .primary_key(
        Index::create()
            .name("finding_key")
            .col("scan_id")
            .col("class")
            .col("vulnerability")
            .col("package")
            .col("version"),
    )
    .foreign_key(&mut reference("finding", "scan_id", "scan"))
    .take()
}

/// The other ids by which a part knows the vulnerabilities that it names.
fn vulnerability_alias() -> TableCreateStatement {
    table(
        "vulnerability_alias",
        [uuid("scan_id"), class("class"), text("alias", 128), text("vulnerability", 128)],
    )
    .primary_key(
        Index::create()
            .name("vulnerability_alias_pkey")
            .col("scan_id")
            .col("class")
            .col("alias")
            .col("vulnerability"),
    )
    .foreign_key(&mut reference("vulnerability_alias", "scan_id", "scan"))
    .take()
}

/// The table of findings as it was.
fn finding_before() -> TableCreateStatement {
    table(
        "finding",
        [
            uuid("scan_id"),
            text("vulnerability", 128),
            text_null("alias", 128),
            text("package", 300),
            severity(),
            text_null("installed_version", 300),
            text_null("fixed_version", 300),
        ],
    )
    .primary_key(Index::create().name("finding_pkey").col("scan_id").col("vulnerability").col("package"))
    .foreign_key(&mut reference("finding", "scan_id", "scan"))
    .take()
}
