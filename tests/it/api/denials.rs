//! Denials: each refused start leaves its event, and what is refused again and again leaves no more than a count.

use serde_json::{Value, json};
use waybill::{domain::vocabulary::Scope, usecase::upkeep};

use crate::{
    db_test,
    support::{
        api::{Api, id_of, start_body},
        db::TestDb,
    },
};

/// An environment in which nothing starts, to which two releases want.
async fn locked(db: &TestDb) -> Api {
    let api = Api::new(db).await;
    for version in ["1", "2"] {
        api.deployed("shop/dev", version).await;
    }
    api.post("/environments", json!({ "name": "prod" })).await.ok(201);
    api.put("/environments/prod/lockdown", json!({ "reason": "stop" })).await.ok(200);
    api
}

async fn refused(api: &Api, version: &str) -> Value {
    api.start("shop/prod", version).await.problem(409, "gate-denied")["decision"]["id"].take()
}

/// The decisions that the events of refused starts name.
async fn told(api: &Api) -> Vec<Value> {
    while upkeep::seal_events(&api.app).await.unwrap() > 0 {}
    let events = api.get("/events?kind=gate.denied").await.ok(200)["items"].take();
    events.as_array().unwrap().iter().map(|event| event["data"]["decision_id"].clone()).collect()
}

/// How often each denial was given, the first first.
async fn counts(api: &Api) -> Vec<(Value, i64)> {
    let found = api.get("/decisions?environment=prod&allowed=false").await.ok(200)["items"].take();
    let mut found: Vec<_> = found.as_array().unwrap().iter().map(|one| (one["id"].clone(), one)).collect();
    found.sort_by_key(|(_, one)| one["first_evaluated_at"].as_str().unwrap().to_owned());
    found.into_iter().map(|(id, one)| (id, one["count"].as_i64().unwrap())).collect()
}

db_test!(
    async fn a_refused_start_leaves_its_event_though_the_gate_was_asked_before(db: TestDb) {
        let api = locked(&db).await;
        let question = json!({ "service": "shop", "environment": "prod", "version": "1", "record": true });
        for _ in 0..2 {
            api.post("/gate/check", question.clone()).await.ok(200);
        }
        assert_eq!(told(&api).await, [Value::Null; 0], "nothing was refused");
        let id = refused(&api, "1").await;
        let told_of = [id.clone()];
        assert_eq!(told(&api).await, told_of);
        api.post("/gate/check", question).await.ok(200);
        assert_eq!(refused(&api, "1").await, id);
        assert_eq!(told(&api).await, told_of, "told once");
        assert_eq!(counts(&api).await, [(id, 5)]);
    }
);

db_test!(
    async fn two_that_are_refused_in_turn_add_no_records(db: TestDb) {
        let api = locked(&db).await;
        let other = api.token(&[Scope::Read, Scope::Deploy], None, None).await;
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push([refused(&api, "1").await, refused(&api, "2").await, refused(&other, "1").await]);
        }
        assert!(ids.iter().all(|turn| *turn == ids[0]), "{ids:?}");
        assert_eq!(counts(&api).await, ids[0].clone().map(|id| (id, 3)));
        assert_eq!(told(&api).await, ids[0].clone());
        // Whatever starts there begins a new time.
        let mut body = start_body("shop/prod", "2");
        body["override"] = json!({ "reason": "customers cannot pay" });
        let started = id_of(&api.post("/deployments", body).await.ok(201)["deployment"]);
        api.finished(&started, "succeeded").await;
        let again = refused(&api, "1").await;
        assert!(!ids[0].contains(&again));
        assert_eq!(refused(&api, "1").await, again);
        assert_eq!((counts(&api).await.last(), told(&api).await.len()), (Some(&(again, 2)), 4));
    }
);
