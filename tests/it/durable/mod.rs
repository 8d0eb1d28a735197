//! What is acknowledged lasts, and what is refused leaves nothing behind: whichever statement of a transaction fails,
//! at whatever moment the database does, and though the driver believes otherwise.

mod file;
mod load;
mod rows;

use sea_orm::{ConnectionTrait as _, DatabaseBackend, DatabaseConnection, Statement};
use serde_json::json;
use waybill::store::error::StoreError;

use self::rows::rows;
use crate::{
    db_test,
    support::{
        api::{Answer, Api, release, start_body},
        db::TestDb,
        eventually,
        wire::{Cut, STALL, Wire},
    },
};

/// What a client asks for; each is one transaction that writes to several tables.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Register,
    Start,
    Finish,
}

const OPERATIONS: [Operation; 3] = [Operation::Register, Operation::Start, Operation::Finish];

impl Operation {
    /// Brings about what the operation needs, and tells what to ask for. Nothing of it was there before, however often it
    /// is done.
    async fn prepare(self, api: &Api, number: usize) -> (String, serde_json::Value) {
        let version = format!("{number}.0");
        match self {
            Self::Register => {
                let mut body = release(&version);
                body["version"] = json!(version);
                (format!("/services/{}/releases", service(number)), body)
            }
            Self::Start => (
                "/deployments".to_owned(),
                start_body(&format!("{}/prod-{number}", service(number)), &version),
            ),
            Self::Finish => {
                let id = api.started(&format!("{}/prod", service(number)), &version).await;
                (format!("/deployments/{id}/finish"), json!({ "status": "succeeded" }))
            }
        }
    }
}

fn service(number: usize) -> String {
    format!("service-{number}")
}

/// Asks for an operation that is not there yet while a fault is there. Whether it was done must be seen from outside the
/// server's connections, and agree with the answer.
async fn attempt(api: &Api, operation: Operation, number: usize, fault: impl AsyncFn(bool)) -> Answer {
    let sql = api.sql().await;
    let (path, body) = operation.prepare(api, number).await;
    let before = rows(&sql).await;
    fault(true).await;
    let answer = api.post(&path, body.clone()).await;
    fault(false).await;
    let after = rows(&sql).await;
    if answer.status < 300 {
        assert!(before != after, "{operation:?} {number}: acknowledged and not there: {}", answer.text);
    } else {
        assert!(answer.status >= 500, "{operation:?} {number}: {}", answer.text);
        assert!(before == after, "{operation:?} {number}: refused and there: {}", answer.text);
        // Something else that is refused, and so takes its own transaction back.
        api.post("/services", json!({ "name": service(number) })).await.problem(409, "conflict");
        let again = api.post(&path, body).await;
        assert!(again.status < 300, "{operation:?} {number}: the server does not go on: {}", again.text);
        assert!(before != rows(&sql).await, "{operation:?} {number}: lost after a fault");
    }
    answer
}

/// Lets every write to a table fail, and take the whole transaction back as a full disk does.
async fn break_table(api: &Api, table: &str, verb: &str, broken: bool) {
    let sql = api.sql().await;
    let statement = match (broken, sql.get_database_backend() == DatabaseBackend::Postgres) {
        (true, true) => format!(
            "CREATE OR REPLACE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'a fault' USING ERRCODE = 'disk_full'; END $$; \
             CREATE TRIGGER fault BEFORE {verb} ON {table} FOR EACH ROW EXECUTE FUNCTION fault()"
        ),
        (true, false) => format!(
            "CREATE TRIGGER fault BEFORE {verb} ON {table} BEGIN SELECT RAISE(ROLLBACK, 'a fault'); END"
        ),
        (false, true) => format!("DROP TRIGGER fault ON {table}"),
        (false, false) => "DROP TRIGGER fault".to_owned(),
    };
    sql.execute_unprepared(&statement).await.unwrap();
}

db_test!(
    async fn whichever_write_fails_nothing_of_the_transaction_is_left(db: TestDb) {
        let api = Api::new(&db).await;
        let tables: Vec<String> = rows(&api.sql().await).await.into_keys().collect();
        let mut number = 0;
        for operation in OPERATIONS {
            let mut failed = Vec::new();
            for table in &tables {
                for verb in ["INSERT", "UPDATE"] {
                    number += 1;
                    api.post("/services", json!({ "name": service(number) })).await.ok(201);
                    let fault = async |broken| break_table(&api, table, verb, broken).await;
                    let answer = attempt(&api, operation, number, fault).await;
                    if answer.status >= 500 {
                        failed.push(format!("{verb} {table}"));
                    }
                }
            }
            let least = match operation {
                Operation::Register => 2,
                Operation::Start => 6,
                Operation::Finish => 3,
            };
            assert!(failed.len() >= least, "{operation:?} was broken only by {failed:?}");
        }
    }
);

db_test!(
    async fn a_transaction_that_goes_on_after_a_failed_statement_is_not_committed(db: TestDb) {
        let api = Api::new(&db).await;
        let before = rows(&api.sql().await).await;
        let outcome: Result<(), StoreError> = api
            .app
            .db
            .write(|tx| async move {
                let fails = "INSERT INTO service (id) VALUES (NULL)";
                assert!(tx.conn().execute_unprepared(fails).await.is_err());
                let works = "DELETE FROM token";
                assert!(tx.conn().execute_unprepared(works).await.is_err(), "it would take effect by itself");
                tx.commit(()).await
            })
            .await;
        assert!(outcome.is_err(), "PostgreSQL's rollback looks like a commit");
        assert!(before == rows(&api.sql().await).await, "nothing has changed");
    }
);

/// The statements of an operation that reads first are at most so many.
const MOST_QUESTIONS: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_a_connection_to_postgres_is_cut_nothing_is_half_done() {
    let db = TestDb::postgres().await;
    let wire = Wire::tap(&db.url).await;
    let api = Api::with(&db, |config| {
        config.database.url = wire.url.parse().unwrap();
        config.database.max_connections = 2;
    });
    let api = api.await;
    let mut number = 0;
    for operation in OPERATIONS {
        for cut in [Cut::Question, Cut::Answer] {
            let mut refused = 0;
            for nth in 1..=MOST_QUESTIONS {
                number += 1;
                api.post("/services", json!({ "name": service(number) })).await.ok(201);
                let (path, body) = operation.prepare(&api, number).await;
                let sql = api.sql().await;
                let before = rows(&sql).await;
                wire.cut(nth, cut);
                let answer = api.post_once(&format!("key-{number}"), &path, body.clone()).await;
                if wire.mend() {
                    // The operation was over before its time came.
                    assert!(answer.status < 300, "{}", answer.text);
                    break;
                }
                let after = rows(&sql).await;
                if answer.status < 300 {
                    assert!(before != after, "{operation:?} {cut:?} {nth}: acknowledged and not there");
                    continue;
                }
                answer.problem(503, "unavailable");
                refused += 1;
                // The answer to a COMMIT may be what was lost. Only then is anything there, and then all of it; the same
                // request under its key tells.
                assert!(
                    before == after || cut == Cut::Answer,
                    "{operation:?} {cut:?} {nth}: refused and there"
                );
                let again = api.post_once(&format!("key-{number}"), &path, body).await;
                assert!(again.status < 300, "{operation:?} {cut:?} {nth}: {}", again.text);
                let replayed = again.header("idempotency-replayed").is_some();
                // What was seen before may have been a moment too early to see the commit.
                assert!(replayed || before == after, "{operation:?} {cut:?} {nth}: two effects");
                assert!(!replayed || cut == Cut::Answer, "{operation:?} {cut:?} {nth}: refused and done");
            }
            assert!((4..MOST_QUESTIONS).contains(&refused), "{operation:?} {cut:?}: {refused} cuts");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_a_client_leaves_no_connection_to_postgres_is_left_in_a_transaction() {
    let db = TestDb::postgres().await;
    let wire = Wire::tap(&db.url).await;
    let api = Api::with(&db, |config| {
        config.database.url = wire.url.parse().unwrap();
        config.database.max_connections = 2;
    });
    let api = api.await;
    let sql = api.sql().await;
    let mut left = 0;
    for nth in 1..=MOST_QUESTIONS {
        let (path, body) = Operation::Start.prepare(&api, nth).await;
        wire.cut(nth, Cut::Stall);
        let answer = tokio::time::timeout(STALL / 3, api.post(&path, body.clone())).await;
        let over = wire.mend();
        if let Ok(answer) = answer {
            assert_eq!(answer.status, 201, "{}", answer.text);
            if over {
                break;
            }
        } else {
            left += 1;
        }
        tokio::time::sleep(STALL).await;
        let open = "SELECT COUNT(*) FROM pg_stat_activity \
                    WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
        // It is rolled back as soon as somebody gets to it, which takes its time on a busy machine.
        eventually(&format!("the end of what was left at question {nth}"), async || {
            let open = Statement::from_string(DatabaseBackend::Postgres, open);
            let open = sql.query_one_raw(open).await.unwrap().unwrap();
            (open.try_get_by_index::<i64>(0).unwrap() == 0).then_some(())
        })
        .await;
        let again = api.post(&path, body).await;
        assert!(again.status == 201 || again.status == 409, "left at question {nth}: {}", again.text);
    }
    assert!((4..MOST_QUESTIONS).contains(&left), "a client left {left} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_forgets_is_told_to_keep_what_it_acknowledges() {
    let db = TestDb::postgres().await;
    let name = db.url.rsplit('/').next().unwrap().split('?').next().unwrap();
    let api = Api::new(&db).await;
    let forget = format!("ALTER DATABASE {name} SET synchronous_commit = off");
    api.sql().await.execute_unprepared(&forget).await.unwrap();
    let shown = async |conn: &DatabaseConnection| {
        let show = Statement::from_string(DatabaseBackend::Postgres, "SHOW synchronous_commit");
        conn.query_one_raw(show).await.unwrap().unwrap().try_get_by_index::<String>(0).unwrap()
    };
    assert_eq!(shown(&api.sql().await).await, "off");
    assert_eq!(shown(Api::new(&db).await.app.db.read()).await, "on");
}
