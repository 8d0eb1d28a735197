//! A migrated database of its own for each test, and `db_test!`, which runs a test on both databases.

use tempfile::TempDir;
use waybill::usecase::audit::{self, Asked};

use super::{
    postgres::{self, Database},
    secrets, sqlite,
};

/// A migrated and empty database; it is deleted when this is dropped.
#[derive(Debug)]
pub struct TestDb {
    /// Where it is, as `database.url` takes it.
    pub url: String,
    keeper: Keeper,
}

/// Deletes the database when it is dropped.
#[derive(Debug)]
enum Keeper {
    Sqlite { directory: TempDir },
    Postgres { _database: Database },
}

impl TestDb {
    /// A SQLite file.
    pub async fn sqlite() -> Self {
        let (url, directory) = sqlite::create().await;
        Self { url, keeper: Keeper::Sqlite { directory } }
    }

    /// A database on the PostgreSQL server of this test run.
    pub async fn postgres() -> Self {
        let database = postgres::create().await.unwrap_or_else(|error| panic!("{error:#}"));
        Self { url: database.url(), keeper: Keeper::Postgres { _database: database } }
    }

    /// What `waybill audit verify --deep` finds wrong, each on a line.
    pub async fn findings(&self) -> Vec<String> {
        let mut config = waybill::config::Config::default();
        config.database.url = self.url.parse().unwrap();
        let db = waybill::store::db::Db::connect(&config.database).await.unwrap();
        let asked = Asked { deep: true, ..Asked::default() };
        let report = audit::verify(&db, &asked).await.unwrap();
        db.close().await;
        assert!(report.compared.unwrap() > 0);
        report.findings.listed().iter().map(ToString::to_string).collect()
    }

    /// Fails unless every row is as its events say.
    pub async fn assert_sound(&self) {
        let findings = self.findings().await;
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }

    /// Whether it is on PostgreSQL, for the few tests that have to know.
    pub fn is_postgres(&self) -> bool {
        matches!(self.keeper, Keeper::Postgres { .. })
    }
}

impl Drop for TestDb {
    /// What tests do they do on both databases: it is enough to look for secrets in one of them.
    fn drop(&mut self) {
        if let Keeper::Sqlite { directory } = &self.keeper {
            secrets::look_at_file(&directory.path().join(sqlite::FILE));
        }
        secrets::assert_none();
    }
}

/// `db_test!(async fn name(db: TestDb) { … })` is the two tests `name::sqlite` and `name::postgres`.
#[macro_export]
macro_rules! db_test {
    ($(#[$attribute:meta])* async fn $name:ident($db:ident: TestDb) $body:block) => {
        #[cfg(test)]
        mod $name {
            use super::*;

            $(#[$attribute])*
            async fn test($db: $crate::support::db::TestDb) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                test($crate::support::db::TestDb::sqlite().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                test($crate::support::db::TestDb::postgres().await).await;
            }
        }
    };
}
