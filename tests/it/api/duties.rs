//! Duties that need no admin: who sets policies, who freezes, and who reads the audit log.

use poem::http::Method;
use serde_json::{Value, json};
use waybill::{domain::vocabulary::Scope, usecase::upkeep};

use crate::{
    db_test,
    support::api::{Api, id_of},
};

const FREEZE: &str = "/freeze-windows";
const POLICY: &str = "/environments/prod/policy";
const LOCKDOWN: &str = "/environments/prod/lockdown";

fn window() -> Value {
    json!({ "name": "year end", "reason": "nobody is here", "environments": ["prod"],
        "starts_at": "2098-12-20T00:00:00Z", "ends_at": "2099-01-03T00:00:00Z" })
}

async fn set_up(db: &crate::support::db::TestDb) -> Api {
    let api = Api::new(db).await;
    api.post("/environments", json!({ "name": "prod" })).await.ok(201);
    api
}

db_test!(
    async fn whoever_sets_policies_does_nothing_else(db: TestDb) {
        let api = set_up(&db).await;
        let policy = api.token(&[Scope::Policy], None, None).await;
        policy.put(POLICY, json!({})).await.ok(200);
        policy.post(FREEZE, window()).await.problem(403, "forbidden");
        policy
            .send_json(Method::PUT, LOCKDOWN, &[], &json!({ "reason": "stop" }))
            .await
            .problem(403, "forbidden");
        policy.get("/events").await.problem(403, "forbidden");
        policy.post("/environments", json!({ "name": "other" })).await.problem(403, "forbidden");
        policy.post("/tokens", json!({ "name": "t", "scopes": ["policy"] })).await.problem(403, "forbidden");
    }
);

db_test!(
    async fn whoever_freezes_also_locks_down_and_does_nothing_else(db: TestDb) {
        let api = set_up(&db).await;
        let freezer = api.token(&[Scope::Freeze], None, None).await;
        let made = id_of(&freezer.post(FREEZE, window()).await.ok(201));
        let path = format!("{FREEZE}/{made}");
        freezer.patch(&path, json!({ "reason": "everybody is away" })).await.ok(200);
        freezer.delete(&path).await.ok(204);
        freezer.put(LOCKDOWN, json!({ "reason": "stop" })).await.ok(200);
        freezer.delete(LOCKDOWN).await.ok(204);
        freezer.put(POLICY, json!({})).await.problem(403, "forbidden");
        freezer.get("/events").await.problem(403, "forbidden");
        freezer.patch("/environments/prod", json!({ "rank": 1 })).await.problem(403, "forbidden");
        let narrowed = api.token(&[Scope::Freeze], Some(&["shop"]), None).await;
        narrowed.post(FREEZE, window()).await.problem(403, "forbidden");
        narrowed.put(LOCKDOWN, json!({ "reason": "stop" })).await.problem(403, "forbidden");
    }
);

db_test!(
    async fn whoever_audits_reads_the_whole_log_and_nothing_else(db: TestDb) {
        let api = set_up(&db).await;
        let auditor = api.token(&[Scope::Audit], None, None).await;
        while upkeep::seal_events(&api.app).await.unwrap() > 0 {}
        let events = auditor.get("/events").await;
        events.ok(200);
        assert!(events.text.contains("token.created"), "{}", events.text);
        auditor.get("/services").await.problem(403, "forbidden");
        auditor.put(POLICY, json!({})).await.problem(403, "forbidden");
        for others in [&[Scope::Read][..], &[Scope::Read, Scope::Policy, Scope::Freeze]] {
            let events = api.token(others, None, None).await.get("/events").await;
            events.ok(200);
            assert!(!events.text.contains("token.created"), "{}", events.text);
        }
        let narrowed = api.token(&[Scope::Audit], Some(&["shop"]), None).await.get("/events").await;
        narrowed.ok(200);
        assert!(!narrowed.text.contains("token.created"), "{}", narrowed.text);
    }
);
