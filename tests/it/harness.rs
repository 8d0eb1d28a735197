//! The databases of the tests are migrated and nobody else's.

use std::time::Duration;

use sea_orm::{ConnectOptions, ConnectionTrait, Database};
use serde_json::json;

use crate::{
    db_test,
    support::{
        api::Api,
        db::TestDb,
        eventually,
        issuer::{Issuer, Key},
        process::TOKEN,
        secrets,
    },
};

const CREATE: &str = "CREATE TABLE only_here (id integer PRIMARY KEY)";

/// The same name twice: a shared database would refuse the second.
async fn create_table(db: &TestDb) {
    let connection = Database::connect(&db.url).await.unwrap();
    connection.execute_unprepared("SELECT version FROM seaql_migrations").await.unwrap();
    connection.execute_unprepared(CREATE).await.unwrap();
    connection.close().await.unwrap();
}

db_test!(
    async fn every_test_has_a_database_of_its_own(db: TestDb) {
        let other = if db.is_postgres() { TestDb::postgres().await } else { TestDb::sqlite().await };
        create_table(&db).await;
        create_table(&other).await;
    }
);

db_test!(
    async fn databases_can_be_made_at_the_same_time(db: TestDb) {
        let postgres = db.is_postgres();
        let made = (0..8).map(|_| async move {
            let db = if postgres { TestDb::postgres().await } else { TestDb::sqlite().await };
            create_table(&db).await;
        });
        futures_util::future::join_all(made).await;
    }
);

#[tokio::test]
async fn a_database_is_deleted_with_its_guard() {
    let (kept, dropped) = (TestDb::postgres().await, TestDb::postgres().await);
    let open = Database::connect(&dropped.url).await.unwrap();
    let url = dropped.url.clone();
    drop(dropped);
    let exists = async |url: &str| {
        let mut options = ConnectOptions::new(url);
        options.acquire_timeout(Duration::from_secs(2));
        Database::connect(options).await.is_ok()
    };
    assert!(!exists(&url).await);
    assert!(exists(&kept.url).await);
    drop(open);
}

#[tokio::test]
async fn eventually_asks_until_there_is_an_answer() {
    let mut asked = 0;
    let answer = eventually("the third question", async || {
        asked += 1;
        (asked == 3).then_some(asked)
    });
    assert_eq!(answer.await, 3);
}

#[tokio::test]
async fn a_secret_is_known_by_its_shape_wherever_it_leaks() {
    let db = TestDb::sqlite().await;
    let api = Api::new(&db).await;
    let gitlab = Issuer::start("gitlab", Key::ec()).await;
    let id_token = gitlab.sign(&gitlab.gitlab(&json!({})));
    let code = "Xk2mJ0c0Tq5v3m1p8Yz4bW7nR9sL6dF2hG0jK1aQeUo";
    for line in [
        api.secret().to_owned(),
        id_token,
        TOKEN.to_owned(),
        format!("__Host-waybill={}", api.secret()),
        format!("waybill-flow={code}.1767225600.L2FjY291bnQ"),
        format!("GET /login/callback?code={code}&state=x"),
    ] {
        assert!(secrets::is_in(format!("{{\"detail\":\"{line}\"}}").as_bytes()), "{line}");
    }
    for line in ["wb_", "Bearer …", "waybill=trace", "the code= is missing", "eyJ", "{\"token\":\"session\"}"]
    {
        assert!(!secrets::is_in(line.as_bytes()), "{line}");
    }
}
