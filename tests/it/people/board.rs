//! The board and the page of a target: they show what the API tells the same reader, and nothing that anybody wrote does
//! anything there.

use poem::http::Method;
use serde_json::{Value, json};
use waybill::domain::vocabulary::Scope;

use super::visitor::{Visitor, location, looking, site, text};
use crate::{db_test, support::api::start_body};

db_test!(
    async fn the_board_shows_what_runs_where_to_whoever_has_signed_in(db: TestDb) {
        let api = site(&db).await;
        let mut visitor = Visitor::of(&api);
        assert_eq!(location(&visitor.page("/").await), "/login?to=%2F");
        visitor.paste(api.secret()).await;
        let empty = text(&mut visitor, "/").await;
        assert!(empty.contains("export WAYBILL_URL=https://waybill.test"), "{empty}");

        let first = api.deployed("shop/dev", "1.0").await;
        api.deployed("shop/prod", "1.0").await;
        api.deployed("shop/dev", "1.1").await;
        api.started("pay/dev", "7").await;
        api.put("/environments/prod/lockdown", json!({ "reason": "an incident" })).await.ok(200);
        let board = text(&mut visitor, "/").await;
        for part in [
            ">1.1</a>",
            ">1.0</a>",
            "1 behind",
            ">7</a> on its way",
            "locked",
            "/services/shop/environments/prod",
        ] {
            assert!(board.contains(part), "{part}: {board}");
        }
        let then = first["finished_at"].as_str().unwrap();
        let past = text(&mut visitor, &format!("/?as_of={then}")).await;
        assert!(past.contains("as of") && past.contains(">1.0</a>") && !past.contains(">1.1</a>"), "{past}");
        assert!(!past.contains(" data-live"), "the past does not change");
        let shop = text(&mut visitor, "/?service=shop&tier=production").await;
        assert!(
            shop.contains(">1.0</a>") && !shop.contains(">1.1</a>") && !shop.contains(">7</a>"),
            "{shop}"
        );
        assert!(text(&mut visitor, "/?owner=nobody").await.contains("Nothing is on record that fits"));
        for query in ["as_of=yesterday", "tier=moon", "cursor=x"] {
            visitor.page(&format!("/?{query}")).await.problem(400, "invalid-request");
        }
        assert!(text(&mut visitor, "/?service=HO").await.contains(">shop<"), "a part of a name is enough");
        assert!(text(&mut visitor, "/?service=shpo").await.contains("Nothing is on record that fits"));
    }
);

db_test!(
    async fn what_still_shows_the_same_is_not_sent_again(db: TestDb) {
        let api = site(&db).await;
        api.deployed("shop/dev", "1.0").await;
        let mut visitor = looking(&api, &api).await;
        // Ages are told in seconds at first.
        for path in ["/?as_of=2020-01-01", "/deployments?service=shop&since=2999-01-01", "/approvals"] {
            let first = visitor.page(path).await;
            let tag = first.header("etag").unwrap().to_owned();
            let has = [("if-none-match", tag.as_str())];
            let again = visitor.send(Method::GET, &format!("/{path}"), &has, None).await;
            assert_eq!(
                (again.status, again.text.as_str(), again.header("etag")),
                (304, "", Some(tag.as_str())),
                "{path}"
            );
            assert_eq!(again.header("cache-control"), Some("no-store"));
        }
        let tag = visitor.page("/").await.header("etag").unwrap().to_owned();
        api.deployed("shop/dev", "1.1").await;
        let again = visitor.send(Method::GET, "//", &[("if-none-match", &tag)], None).await;
        assert!(again.status == 200 && again.text.contains(">1.1</a>"), "{}", again.text);
    }
);

db_test!(
    async fn the_board_tells_what_differs_what_moves_and_what_is_frozen(db: TestDb) {
        let api = site(&db).await;
        for (target, version) in
            [("shop/dev", "1.1"), ("shop/prod", "1.0"), ("even/dev", "3"), ("even/prod", "3")]
        {
            api.deployed(target, version).await;
        }
        let id = api.started("pay/prod", "7").await;
        let beat = json!({ "phase": "canary", "traffic_percent": 25 });
        api.post(&format!("/deployments/{id}/heartbeat"), beat).await.ok(200);
        let window = |name: &str, more: Value| {
            let mut window =
                json!({ "name": name, "reason": "nobody is there", "starts_at": "2026-01-01T00:00:00Z" });
            window.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            window
        };
        let own = json!({ "environments": ["dev"], "services": ["even"], "ends_at": "2126-01-02T03:04:00Z" });
        api.post("/freeze-windows", window("even", own)).await.ok(201);
        let all = json!({ "environments": ["prod"], "ends_at": "2127-05-06T07:08:00Z" });
        api.post("/freeze-windows", window("all", all)).await.ok(201);

        let mut visitor = looking(&api, &api).await;
        let board = text(&mut visitor, "/").await;
        let part = |from: &str, to: &str| board.split_once(from).unwrap().1.split_once(to).unwrap().0;
        assert!(part("<thead>", "</thead>").matches("frozen until").count() == 1, "{board}");
        assert!(part("<thead>", "</thead>").contains("2127-05-06 07:08"), "{board}");
        assert!(
            part(">even</a>", "</tr>").contains("frozen until")
                && !part(">shop</a>", "</tr>").contains("frozen")
        );
        assert!(
            part(">pay</a>", "</tr>").contains("canary") && part(">pay</a>", "</tr>").contains("25 %"),
            "{board}"
        );

        let services = async |visitor: &mut Visitor, query: &str| -> Vec<&'static str> {
            let board = text(visitor, &format!("/?{query}")).await;
            let shown = ["even", "pay", "shop"].into_iter();
            shown.filter(|name| board.contains(&format!("/services/{name}"))).collect()
        };
        assert_eq!(services(&mut visitor, "only=differs").await, ["shop"]);
        assert_eq!(services(&mut visitor, "only=moves").await, ["pay"]);
        assert_eq!(services(&mut visitor, "only=moves&tier=development").await, [""; 0]);
        assert_eq!(services(&mut visitor, "only=differs&as_of=1us").await, ["shop"]);
        assert_eq!(services(&mut visitor, "only=differs&as_of=2020-01-01").await, [""; 0]);
        visitor.page("/?only=best").await.problem(400, "invalid-request");
        let only = api.get("/matrix?only=moves").await.ok(200);
        assert_eq!((&only["services"][0]["name"], &only["services"][1]), (&json!("pay"), &Value::Null));

        // Production is told of also where it is not on this page, and never to whoever may not see it.
        let shop = text(&mut visitor, "/?service=shop").await;
        assert!(shop.contains("<title>1 on the way") && shop.contains("/assets/moving."), "{shop}");
        let reader = api.token(&[Scope::Read], Some(&["shop"]), None).await;
        let shop = text(&mut looking(&api, &reader).await, "/").await;
        assert!(shop.contains("<title>What runs where") && shop.contains("/assets/calm."), "{shop}");
        api.put("/environments/prod/lockdown", json!({ "reason": "an incident" })).await.ok(200);
        let shop = text(&mut visitor, "/?service=shop").await;
        assert!(
            shop.contains("<title>Production locked down · 1 on the way") && shop.contains("/assets/locked."),
            "{shop}"
        );
    }
);

db_test!(
    async fn nobody_sees_more_on_a_page_than_by_the_api(db: TestDb) {
        let api = site(&db).await;
        for target in ["shop/dev", "pay/dev", "shop/prod"] {
            api.deployed(target, "1").await;
        }
        let reader = api.token(&[Scope::Read], Some(&["shop"]), Some(&["dev"])).await;
        let mut visitor = looking(&api, &reader).await;
        let board = text(&mut visitor, "/").await;
        assert!(board.contains("shop") && !board.contains(">pay<") && !board.contains(">prod<"), "{board}");
        text(&mut visitor, "/services/shop/environments/dev").await;
        for path in [
            "/services/pay/environments/dev",
            "/services/shop/environments/prod",
            "/services/no/environments/dev",
        ] {
            visitor.page(path).await.problem(404, "not-found");
        }
        let blind = api.token(&[Scope::Deploy], None, None).await;
        looking(&api, &blind).await.page("/").await.problem(403, "forbidden");
    }
);

db_test!(
    async fn a_target_shows_every_reason_and_the_way_back(db: TestDb) {
        let api = site(&db).await;
        for version in ["1.0", "1.1"] {
            api.deployed("shop/prod", version).await;
        }
        let mut visitor = looking(&api, &api).await;
        let page = text(&mut visitor, "/services/shop/environments/prod").await;
        assert!(page.contains("waybill rollback --service shop --environment prod --to 1.0 "), "{page}");
        assert!(page.contains("succeeded") && page.contains("<span class=\"yes\">yes</span>"), "{page}");
        api.put("/environments/prod/policy", json!({ "approval": { "required": 2 } })).await.ok(200);
        let hostile = "<script>alert(1)</script> & \"more\"";
        api.put("/environments/prod/lockdown", json!({ "reason": hostile })).await.ok(200);
        let page = text(&mut visitor, "/services/shop/environments/prod").await;
        for part in ["<strong>lockdown</strong>", "<strong>approval</strong>", "<span class=\"no\">no</span>"]
        {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("<script>alert") && page.contains("&#60;script&#62;alert(1)"), "{page}");
    }
);

db_test!(
    async fn more_services_than_a_page_shows_are_on_the_next(db: TestDb) {
        let api = site(&db).await;
        for number in 0..101 {
            let mut body = start_body(&format!("s-{number:03}/dev"), "1");
            body["initiated_by"] = Value::from("ada");
            api.post("/deployments", body).await.ok(201);
        }
        let mut visitor = looking(&api, &api).await;
        let board = text(&mut visitor, "/?tier=development").await;
        assert!(board.contains("s-099") && !board.contains("s-100"));
        let (_, rest) = board.split_once("<p class=\"next\"><a class=\"button plain\" href=\"").unwrap();
        let next = rest.split_once('"').unwrap().0.replace("&#38;", "&");
        let more = text(&mut visitor, &next).await;
        assert!(
            more.contains("s-100") && !more.contains("s-099") && !more.contains("class=\"next\""),
            "{more}"
        );
    }
);
