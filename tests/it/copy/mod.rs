//! A ledger moves from SQLite to PostgreSQL: everything, in one go or in many, or not at all.

mod ledger;
mod process;

use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::FutureExt as _;
use sea_orm::{ConnectionTrait as _, Database, Statement};
use serde_json::json;
use tokio::{runtime::Handle, task::block_in_place};
use waybill::{
    config::Config,
    store::{
        copy::{self, Batch, marker},
        db::Db,
        error::StoreError,
        schema,
    },
    usecase::{
        audit,
        copy::{Copied, CopyError, Order, Step, copy},
        upkeep,
    },
};

use self::ledger::{answers, filled, kept};
use crate::support::{
    api::{Api, start_body},
    db::TestDb,
};

/// Small enough that every table of some size takes several.
const BATCH: Batch = Batch { rows: 3, bytes: 4000 };

async fn connect(db: &TestDb, alone: bool) -> Result<Db, CopyError> {
    let mut config = Config::default();
    config.database.url = db.url.parse().unwrap();
    if alone {
        Db::connect_alone(&config.database).await.map_err(CopyError::opening)
    } else {
        Ok(Db::connect(&config.database).await.unwrap())
    }
}

async fn order(source: &TestDb, target: &TestDb) -> Result<Order, CopyError> {
    Ok(Order {
        source: connect(source, true).await?,
        source_name: source.url.clone(),
        target: connect(target, false).await?,
        start_over: false,
        batch: BATCH,
    })
}

/// Copies to the end, as one run of the command does.
async fn run(source: &TestDb, target: &TestDb, set_up: impl FnOnce(&mut Order)) -> Result<Copied, CopyError> {
    let mut order = order(source, target).await?;
    set_up(&mut order);
    let copied = copy(&order, &|_| {}).await;
    order.source.close().await;
    order.target.close().await;
    copied
}

/// Copies until something was reported that many times, and is gone on the spot, as after `kill -9`; true when it came to
/// its end before.
async fn run_until(source: &TestDb, target: &TestDb, reports: usize) -> bool {
    let order = order(source, target).await.unwrap();
    let seen = AtomicUsize::new(0);
    let report = |_: Step<'_>| {
        if seen.fetch_add(1, Ordering::Relaxed) + 1 == reports {
            resume_unwind(Box::new("killed"));
        }
    };
    let copied = AssertUnwindSafe(copy(&order, &report)).catch_unwind().await;
    order.source.close().await;
    order.target.close().await;
    copied.is_ok_and(|copied| copied.is_ok())
}

async fn sql(db: &TestDb, statement: &str) {
    let connection = Database::connect(&db.url).await.unwrap();
    connection.execute_unprepared(statement).await.unwrap();
    connection.close().await.unwrap();
}

async fn number(db: &TestDb, query: &str) -> i64 {
    let connection = Database::connect(&db.url).await.unwrap();
    let statement = Statement::from_string(connection.get_database_backend(), query);
    let row = connection.query_one_raw(statement).await.unwrap().unwrap();
    connection.close().await.unwrap();
    row.try_get("", "n").unwrap()
}

async fn is_half_copied(db: &TestDb) -> bool {
    let db = connect(db, false).await.unwrap();
    let status = schema::status(&db).await.unwrap();
    db.close().await;
    status.half_copied
}

/// Fails unless the database holds a whole ledger whose every answer is as expected, and which goes on from there.
async fn assert_is_the_ledger(target: &TestDb, callers: &ledger::Callers, expected: &ledger::Answers) {
    assert!(!is_half_copied(target).await);
    target.assert_sound().await;
    let api = Api::without_token(target, |_| {}).await.bearing(&callers.admin);
    let found = answers(&api, callers).await;
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (question, answer) in expected {
        assert_eq!(found[question], *answer, "{question}");
    }
    for (key, path, body) in kept() {
        let again = api.post_once(key, path, body).await;
        assert_eq!((again.status, again.header("idempotency-replayed")), (201, Some("true")), "{key}");
    }
    api.deployed("shop/dev", "10").await;
    api.start("shop/qa", "5").await.problem(409, "gate-denied");
    let before = audit::follow_chain(api.app.db.read(), None).await.unwrap();
    while upkeep::seal_events(&api.app).await.unwrap() > 0 {}
    let after = audit::follow_chain(api.app.db.read(), Some(&before)).await.unwrap();
    assert!(after.seq > before.seq, "what waited to be sealed is sealed");
    target.assert_sound().await;
    api.app.db.clone().close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_answers_every_question_as_the_source_does() {
    let (source, target) = (TestDb::sqlite().await, TestDb::postgres().await);
    let (callers, expected) = filled(&source).await;
    assert!(expected.len() > 100, "{}", expected.len());
    let file = source.url.trim_start_matches("sqlite://");
    let before = std::fs::read(file).unwrap();
    let copied = run(&source, &target, |_| {}).await.unwrap();
    assert_eq!(std::fs::read(file).unwrap(), before, "the source is not changed");
    assert!(
        copied.unsealed > 0 && copied.head.seq > 0 && copied.rows.values().all(|rows| *rows > 0),
        "{copied:?}"
    );
    assert_is_the_ledger(&target, &callers, &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_events_that_waited_are_sealed_alike_in_both() {
    let (source, target) = (TestDb::sqlite().await, TestDb::postgres().await);
    filled(&source).await;
    run(&source, &target, |_| {}).await.unwrap();
    let mut heads = Vec::new();
    for db in [&source, &target] {
        let api = Api::without_token(db, |_| {}).await;
        while upkeep::seal_events(&api.app).await.unwrap() > 0 {}
        heads.push(audit::follow_chain(api.app.db.read(), None).await.unwrap());
    }
    assert_eq!(heads[0], heads[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_killed_again_and_again_goes_on_to_the_same_end() {
    let (source, target) = (TestDb::sqlite().await, TestDb::postgres().await);
    let (callers, expected) = filled(&source).await;
    let rows = "SELECT (SELECT COUNT(*) FROM event) + (SELECT COUNT(*) FROM deployment) + (SELECT COUNT(*) FROM token) AS n";
    let (mut runs, mut before, all) = (0, 0, number(&source, rows).await);
    // Two reports are of the source, the third of the resumption: each run copies one batch more.
    while before < all {
        assert!(!run_until(&source, &target, 4).await);
        assert!(is_half_copied(&target).await);
        let now = number(&target, rows).await;
        assert!((before..=before + 3).contains(&now), "{now} after {before}");
        (runs, before) = (runs + 1, now);
        assert!(runs < 200);
    }
    // Now within the comparison.
    for reports in 5..15 {
        assert!(!run_until(&source, &target, reports).await);
        assert!(is_half_copied(&target).await);
    }
    run(&source, &target, |_| {}).await.unwrap();
    assert_is_the_ledger(&target, &callers, &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_not_empty_is_refused() {
    let (source, target) = (TestDb::sqlite().await, TestDb::postgres().await);
    filled(&source).await;
    let api = Api::new(&target).await;
    for start_over in [false, true] {
        let error = run(&source, &target, |order| order.start_over = start_over).await.unwrap_err();
        assert!(matches!(&error, CopyError::NotEmpty(table) if table == "event"), "{error}");
    }
    assert_eq!(number(&target, "SELECT COUNT(*) AS n FROM token").await, 1);
    api.get("/services").await.ok(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_copy_is_not_copied_into_again() {
    let (source, target) = (TestDb::sqlite().await, TestDb::postgres().await);
    filled(&source).await;
    run(&source, &target, |_| {}).await.unwrap();
    let error = run(&source, &target, |order| order.start_over = true).await.unwrap_err();
    assert!(matches!(error, CopyError::NotEmpty(_)), "{error}");
    // The answer to the commit may have been lost, so that the copy was reported as cut off.
    assert!(error.to_string().contains("waybill audit verify"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_lost_says_nothing_of_the_audit_log() {
    let (source, target) = (TestDb::sqlite().await, TestDb::postgres().await);
    filled(&source).await;
    let order = order(&source, &target).await.unwrap();
    let runtime = Handle::current();
    let cut = |step: Step<'_>| {
        if step == Step::Following("target") {
            let statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                             WHERE datname = current_database() AND pid <> pg_backend_pid()";
            block_in_place(|| runtime.block_on(sql(&target, statement)));
        }
    };
    let error = copy(&order, &cut).await.unwrap_err();
    assert!(matches!(error, CopyError::Target(StoreError::Unavailable(_))), "{error:?}");
    order.source.close().await;
    order.target.close().await;
    run(&source, &target, |_| {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_ledger_is_not_taken_for_an_old_one() {
    let (source, target) = (TestDb::sqlite().await, TestDb::postgres().await);
    for statement in ["UPDATE seaql_migrations SET version = 'x_' || version", "DROP TABLE seaql_migrations"]
    {
        sql(&source, statement).await;
        let error = run(&source, &target, |_| {}).await.unwrap_err();
        assert!(error.to_string().ends_with("is not a Waybill ledger"), "{statement}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_elses_database_is_refused_before_anything_is_made_in_it() {
    let (source, target) = (TestDb::sqlite().await, TestDb::postgres().await);
    sql(&target, "DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TABLE orders (id int)").await;
    let error = run(&source, &target, |_| {}).await.unwrap_err();
    assert!(matches!(&error, CopyError::Foreign(table) if table == "orders"), "{error}");
    let tables = "SELECT COUNT(*) AS n FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(number(&target, tables).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bare_target_gets_its_schema_with_all_its_keys() {
    let (source, target, migrated) =
        (TestDb::sqlite().await, TestDb::postgres().await, TestDb::postgres().await);
    let (callers, expected) = filled(&source).await;
    sql(&target, "DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
    let constraints = "SELECT COUNT(*) AS n FROM pg_constraint WHERE connamespace = 'public'::regnamespace \
                       AND convalidated";
    run(&source, &target, |_| {}).await.unwrap();
    assert_eq!(number(&target, constraints).await, number(&migrated, constraints).await);
    assert_is_the_ledger(&target, &callers, &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemas_of_other_versions_are_refused() {
    let (source, target) = (TestDb::sqlite().await, TestDb::postgres().await);
    let (add, remove) = (
        "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29991231_000000_future', 0)",
        "DELETE FROM seaql_migrations WHERE version = 'm29991231_000000_future'",
    );
    sql(&source, add).await;
    let error = run(&source, &target, |_| {}).await.unwrap_err();
    assert!(matches!(error, CopyError::Ahead("source", _)), "{error}");
    sql(&source, remove).await;
    sql(&target, add).await;
    let error = run(&source, &target, |_| {}).await.unwrap_err();
    assert!(matches!(error, CopyError::Ahead("target", _)), "{error}");
    sql(&target, remove).await;
    sql(&source, "DELETE FROM seaql_migrations WHERE version LIKE '%create_audit'").await;
    let error = run(&source, &target, |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("waybill migrate up"), "{error}");
    assert!(!is_half_copied(&target).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_was_used_meanwhile_is_not_mixed_with_what_is_there() {
    let (source, target) = (TestDb::sqlite().await, TestDb::postgres().await);
    let (callers, _) = filled(&source).await;
    assert!(!run_until(&source, &target, 20).await);
    let api = Api::without_token(&source, |_| {}).await.bearing(&callers.admin);
    api.post("/services", json!({ "name": "newer" })).await.ok(201);
    let expected = answers(&api, &callers).await;
    api.app.db.clone().close().await;
    let error = run(&source, &target, |_| {}).await.unwrap_err();
    assert!(matches!(&error, CopyError::Another(marker) if marker.source == source.url), "{error}");
    assert!(error.to_string().contains("--start-over"), "{error}");
    run(&source, &target, |order| order.start_over = true).await.unwrap();
    assert_is_the_ledger(&target, &callers, &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_no_count_shows_is_found_by_comparing() {
    let (source, target) = (TestDb::sqlite().await, TestDb::postgres().await);
    filled(&source).await;
    assert!(!run_until(&source, &target, 40).await);
    sql(&source, "UPDATE deployment SET message = 'changed' WHERE status = 'failed'").await;
    for _ in 0..2 {
        let error = run(&source, &target, |_| {}).await.unwrap_err();
        assert!(matches!(&error, CopyError::Differs { table, .. } if table == "deployment"), "{error}");
        assert!(is_half_copied(&target).await);
    }
    run(&source, &target, |order| order.start_over = true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_somebody_else_wrote_into_the_target_is_found() {
    let (source, target) = (TestDb::sqlite().await, TestDb::postgres().await);
    filled(&source).await;
    assert!(!run_until(&source, &target, 40).await);
    sql(
        &target,
        "INSERT INTO environment (id, name, tier, rank, revision, created_at, updated_at) VALUES \
         ('00000000-0000-7000-8000-000000000000', 'x', 'other', 1, 1, now(), now())",
    )
    .await;
    let error = run(&source, &target, |_| {}).await.unwrap_err();
    assert!(matches!(&error, CopyError::Differs { table, .. } if table == "environment"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_chain_is_not_copied() {
    let (source, target) = (TestDb::sqlite().await, TestDb::postgres().await);
    filled(&source).await;
    sql(&source, "UPDATE event SET actor_token = 'mallory' WHERE seq = 3").await;
    let error = run(&source, &target, |_| {}).await.unwrap_err();
    assert!(matches!(error, CopyError::Broken(_)), "{error}");
    assert!(!is_half_copied(&target).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_in_use_is_refused_and_one_that_is_copied_lets_nobody_in() {
    let (source, target) = (TestDb::sqlite().await, TestDb::postgres().await);
    let user = connect(&source, false).await.unwrap();
    schema::status(&user).await.unwrap();
    let error = run(&source, &target, |_| {}).await.unwrap_err();
    assert!(matches!(error, CopyError::InUse), "{error}");
    user.close().await;
    let order = order(&source, &target).await.unwrap();
    let held = order.source.hold().await.unwrap();
    let error = connect(&source, true).await.unwrap_err();
    assert!(matches!(error, CopyError::InUse), "{error}");
    drop(held);
    order.source.close().await;
    order.target.close().await;
    connect(&source, false).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_copies_at_once_one_is_refused() {
    let (source, target) = (TestDb::sqlite().await, TestDb::postgres().await);
    let rival = connect(&target, false).await.unwrap();
    let held = rival.hold().await.unwrap();
    assert!(marker::claim(held.conn()).await.unwrap());
    let error = run(&source, &target, |_| {}).await.unwrap_err();
    assert!(matches!(error, CopyError::UnderWay), "{error}");
    let docs = include_str!("../../../docs/sqlite-to-postgresql.md");
    let statement = docs.split('`').find(|text| text.starts_with("SELECT pg_terminate_backend"));
    sql(&target, statement.unwrap()).await;
    run(&source, &target, |_| {}).await.unwrap();
    drop(held);
    rival.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_copied_database_is_neither_migrated_nor_ready() {
    let (source, target) = (TestDb::sqlite().await, TestDb::postgres().await);
    filled(&source).await;
    assert!(!run_until(&source, &target, 10).await);
    let db = connect(&target, false).await.unwrap();
    for error in [schema::up(&db).await.unwrap_err(), schema::down(&db, 1).await.unwrap_err()] {
        assert!(error.to_string().contains("waybill copy"), "{error}");
    }
    let api = Api::without_token(&target, |_| {}).await;
    let ready = api.get("//readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text.contains("copy"), "{}", ready.text);
}

/// What copying takes for granted; a migration that changes it has to teach it to the copy.
#[tokio::test]
async fn every_table_has_a_key_and_nothing_in_it_comes_from_the_database() {
    let target = TestDb::postgres().await;
    let db = connect(&target, false).await.unwrap();
    let tables = copy::tables(db.read()).await.unwrap();
    let columns = copy::columns(db.read()).await.unwrap();
    assert_eq!(
        tables.iter().map(|table| &table.name).collect::<Vec<_>>(),
        columns.keys().collect::<Vec<_>>()
    );
    for (what, query) in [
        (
            "sequences",
            "SELECT COUNT(*) AS n FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace",
        ),
        (
            "identity or generated columns, or triggers",
            "SELECT (SELECT COUNT(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = \
             'public'::regnamespace AND (attidentity <> '' OR attgenerated <> '')) \
             + (SELECT COUNT(*) FROM pg_trigger WHERE NOT tgisinternal) AS n",
        ),
    ] {
        assert_eq!(number(&target, query).await, 0, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_ledger_is_copied_too() {
    let (source, target) = (TestDb::sqlite().await, TestDb::postgres().await);
    let copied = run(&source, &target, |order| order.batch = Batch::default()).await.unwrap();
    assert_eq!((copied.head.seq, copied.rows.values().sum::<i64>()), (0, 1), "the chain's head alone");
    let api = Api::new(&target).await;
    api.post("/deployments", start_body("shop/prod", "1")).await.ok(201);
}
