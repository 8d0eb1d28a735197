//! Forgetting what has aged, and nothing else.

use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::json;
use waybill::usecase::upkeep;

use crate::{
    db_test,
    support::api::{Api, start_body},
};

async fn count(api: &Api, table: &str) -> i64 {
    let sql = api.sql().await;
    let query = format!("SELECT COUNT(*) AS n FROM {table}");
    let row = sql.query_one_raw(Statement::from_string(sql.get_database_backend(), query)).await.unwrap();
    row.unwrap().try_get("", "n").unwrap()
}

async fn metrics(api: &Api) -> String {
    api.anonymous().get("//metrics").await.text
}

/// Makes everything in a column some years old.
async fn age(api: &Api, table: &str, column: &str) {
    let older = if api.app.db.is_postgres() {
        format!("{column} - interval '5 years'")
    } else {
        format!("'2020' || substr({column}, 5)")
    };
    api.sql().await.execute_unprepared(&format!("UPDATE {table} SET {column} = {older}")).await.unwrap();
}

db_test!(
    async fn idempotency_keys_are_forgotten_when_they_have_aged(db: TestDb) {
        let api = Api::new(&db).await;
        let body = start_body("shop/prod", "1");
        api.post_once("old", "/deployments", body.clone()).await.ok(201);
        age(&api, "idempotency_key", "created_at").await;
        api.post_once("new", "/services", json!({ "name": "pay" })).await.ok(201);
        assert_eq!(upkeep::purge(&api.app).await.unwrap(), 1);
        assert_eq!(upkeep::purge(&api.app).await.unwrap(), 0);
        assert_eq!(count(&api, "idempotency_key").await, 1);
        api.post_once("old", "/deployments", body).await.problem(409, "gate-denied");
        let again = api.post_once("new", "/services", json!({ "name": "pay" })).await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
    }
);

db_test!(
    async fn denials_are_forgotten_and_permissions_are_not(db: TestDb) {
        let api = Api::new(&db).await;
        api.started("shop/prod", "1").await;
        for _ in 0..3 {
            api.start("shop/prod", "1").await.problem(409, "gate-denied");
        }
        assert_eq!(count(&api, "decision").await, 2, "denials that are alike share a row");
        api.start("shop/prod", "2").await.problem(409, "gate-denied");
        assert_eq!(count(&api, "decision").await, 3);
        assert_eq!(upkeep::purge(&api.app).await.unwrap(), 0);
        for column in ["evaluated_at", "last_evaluated_at"] {
            age(&api, "decision", column).await;
        }
        assert_eq!(upkeep::purge(&api.app).await.unwrap(), 2);
        assert_eq!(count(&api, "decision").await, 1, "what let a deployment start stays");
        // The moments that this test has moved into the past are not told of by events.
        db.assert_sound().await;
    }
);

db_test!(
    async fn gauges_can_be_measured_at_any_time(db: TestDb) {
        let api = Api::new(&db).await;
        api.deployed("shop/prod", "1").await;
        api.started("shop/prod", "2").await;
        upkeep::measure(&api.app).await.unwrap();
        let metrics = metrics(&api).await;
        let value = |name: &str| {
            let line = metrics
                .lines()
                .find(|line| line.starts_with(name))
                .unwrap_or_else(|| panic!("{name}\n{metrics}"));
            line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
        };
        assert!(value("waybill_events_unsealed") >= 5.0);
        for operation in ["start_deployment", "finish_deployment"] {
            assert!(metrics.contains(&format!("operation=\"{operation}\"")), "{operation}\n{metrics}");
        }
    }
);

db_test!(
    async fn the_age_of_the_backlog_is_that_of_its_oldest_event(db: TestDb) {
        let api = Api::new(&db).await;
        upkeep::measure(&api.app).await.unwrap();
        assert!(metrics(&api).await.contains("waybill_events_unsealed_age_seconds 0\n"));
        api.deployed("shop/prod", "1").await;
        age(&api, "event", "occurred_at").await;
        api.deployed("shop/prod", "2").await;
        upkeep::measure(&api.app).await.unwrap();
        let text = metrics(&api).await;
        let line = text.lines().find(|line| line.starts_with("waybill_events_unsealed_age_seconds")).unwrap();
        let age: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(age > 4 * 365 * 24 * 3600, "{line}");
        while upkeep::seal_events(&api.app).await.unwrap() > 0 {}
        upkeep::measure(&api.app).await.unwrap();
        assert!(metrics(&api).await.contains("waybill_events_unsealed_age_seconds 0\n"));
    }
);

db_test!(
    async fn the_last_deployments_are_shown_when_that_is_asked_for(db: TestDb) {
        let shown = async |api: &Api| {
            upkeep::measure(&api.app).await.unwrap();
            let text = metrics(api).await;
            let lines = text.lines().filter(|line| line.starts_with("waybill_last_deployment_"));
            lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect::<Vec<_>>()
        };
        let line = |environment: &str, status: &str, actor: &str, version: &str| {
            format!(
                "waybill_last_deployment_timestamp_seconds{{actor=\"{actor}\",environment=\"{environment}\",\
                 kind=\"deploy\",service=\"shop\",status=\"{status}\",version=\"{version}\"}}"
            )
        };
        let api = Api::with(&db, |config| config.metrics.deployments = true).await;
        assert!(shown(&api).await.is_empty());
        let first = api.deployed("shop/prod", "1").await;
        let actor = first["actor"]["subject"].as_str().unwrap();
        assert_eq!(shown(&api).await, [line("prod", "succeeded", actor, "1")]);
        let id = api.started("shop/prod", "2").await;
        assert_eq!(shown(&api).await, [line("prod", "succeeded", actor, "1")], "what runs has not ended");
        api.finished(&id, "failed").await;
        api.deployed("shop/staging", "2").await;
        assert_eq!(
            shown(&api).await,
            [line("prod", "failed", actor, "2"), line("staging", "succeeded", actor, "2")],
            "the one before is shown no longer"
        );
        let silent = Api::new(&db).await;
        assert!(shown(&silent).await.is_empty(), "it tells versions and actors, so it must be asked for");
        age(&api, "target", "last_at").await;
        assert!(shown(&api).await.is_empty(), "what is old is shown no longer");
    }
);

db_test!(
    async fn ends_are_counted_from_zero(db: TestDb) {
        let api = Api::new(&db).await;
        api.started("shop/prod", "1").await;
        upkeep::measure(&api.app).await.unwrap();
        let text = metrics(&api).await;
        for status in ["succeeded", "failed", "canceled", "expired"] {
            let line = format!(
                "waybill_deployment_duration_seconds_count{{environment=\"prod\",status=\"{status}\"}} 0\n"
            );
            assert!(text.contains(&line), "{line}{text}");
        }
    }
);
