//! Freeze windows of some services: only these are held up, and only who may see one of them sees the window.

use chrono::TimeDelta;
use serde_json::{Value, json};
use waybill::domain::vocabulary::Scope;

use super::freeze::{at, events, now_for, weekend, with_environments};
use crate::{db_test, support::api::id_of};

db_test!(
    async fn a_window_of_some_services_holds_only_these_up(db: TestDb) {
        let api = with_environments(&db, &["prod"]).await;
        for name in ["shop", "pay"] {
            api.post("/services", json!({ "name": name })).await.ok(201);
        }
        let body = now_for(&json!({ "environments": ["prod"], "services": ["pay"] }), TimeDelta::hours(1));
        let made = api.post("/freeze-windows", body.clone()).await.ok(201);
        let path = format!("/freeze-windows/{}", id_of(&made));
        assert_eq!(made["services"], json!(["pay"]));
        let told = events(&api, "service=pay").await;
        assert_eq!((told.len(), &told[0]["data"]["window"]["services"]), (1, &json!(["pay"])));

        api.deployed("shop/prod", "1").await;
        for _ in 0..2 {
            let denied = api.start("pay/prod", "1").await.problem(409, "gate-denied");
            assert_eq!(denied["decision"]["checks"][2]["code"], "freeze-window");
            assert_eq!(at(&denied["decision"]["retry_at"]), at(&made["ends_at"]));
        }
        for (query, count) in [("", 1), ("?service=pay", 1), ("?service=shop", 0)] {
            let list = api.get(&format!("/freeze-windows{query}")).await.ok(200);
            assert_eq!(list["items"].as_array().unwrap().len(), count, "{query}");
        }
        api.get("/freeze-windows?service=nobody").await.problem(404, "not-found");
        let calendar = api.get("/freeze-windows/calendar?service=pay").await.ok(200);
        assert_eq!(calendar["items"][0]["windows"][0]["services"], json!(["pay"]));
        assert_eq!(api.get("/freeze-windows/calendar?service=shop").await.ok(200)["items"], json!([]));
        api.get("/freeze-windows/calendar?service=nobody").await.problem(404, "not-found");

        let of_shop = api.token(&[Scope::Read], Some(&["shop"]), None).await;
        of_shop.get(&path).await.problem(404, "not-found");

        api.patch(&path, json!({ "services": ["shop", "pay"] })).await.ok(200);
        api.start("shop/prod", "2").await.problem(409, "gate-denied");
        let of_pay = api.token(&[Scope::Read], Some(&["pay"]), None).await;
        assert_eq!(of_pay.get(&path).await.ok(200)["services"], json!(["pay"]));
        api.patch(&path, json!({ "services": ["shop"] })).await.ok(200);
        api.started("pay/prod", "1").await;
        assert_eq!(events(&of_shop, "").await, Vec::<Value>::new(), "each of them names pay, too");
        let all = api.patch(&path, json!({ "services": null })).await.ok(200);
        assert_eq!(all["services"], Value::Null);
        api.start("till/prod", "1").await.problem(409, "gate-denied");
        db.assert_sound().await;
    }
);

db_test!(
    async fn services_of_a_window_must_be_on_record(db: TestDb) {
        let api = with_environments(&db, &["prod"]).await;
        let body = weekend(&json!({ "environments": ["prod"], "services": ["nobody"] }));
        let refused = api.post("/freeze-windows", body).await;
        assert_eq!(refused.faults(), [("/services/0".to_owned(), "unknown".to_owned())]);
        let body = weekend(&json!({ "services": ["nobody"] }));
        let pointers: Vec<_> = api.post("/freeze-windows", body).await.faults();
        assert_eq!(pointers[0].0, "/environments", "it says where, too");
    }
);
