//! What waits for whom: the releases that the gate keeps waiting for approvals, judged by what holds now.

use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use waybill::domain::vocabulary::Scope;

use crate::{
    db_test,
    support::api::{Api, id_of, start_body},
};

async fn ground(db: &crate::support::db::TestDb) -> Api {
    let api = Api::new(db).await;
    for (name, approval) in [
        ("dev", json!({ "mode": "off" })),
        ("staging", json!({})),
        ("prod", json!({ "required": 2, "groups": ["managers"] })),
    ] {
        api.post("/environments", json!({ "name": name })).await.ok(201);
        api.put(&format!("/environments/{name}/policy"), json!({ "approval": approval })).await.ok(200);
    }
    api
}

async fn denied(api: &Api, target: &str, version: &str) -> Value {
    api.start(target, version).await.problem(409, "gate-denied")["decision"].take()
}

async fn pending(api: &Api, query: &str) -> Vec<Value> {
    api.get(&format!("/approvals/pending{query}")).await.ok(200)["items"].as_array().unwrap().clone()
}

/// What waits, as `service/environment version`, in the order of the names.
async fn names(api: &Api, query: &str) -> Vec<String> {
    let text = |one: &Value, field: &str| one[field].as_str().unwrap().to_owned();
    let name = |one: &Value| {
        format!("{}/{} {}", text(one, "service"), text(one, "environment"), text(one, "version"))
    };
    let mut names: Vec<_> = pending(api, query).await.iter().map(name).collect();
    names.sort();
    names
}

async fn say(api: &Api, target: &str, version: &str, decision: &str) -> String {
    let (service, environment) = target.split_once('/').unwrap();
    let path = format!("/services/{service}/releases/{version}/approvals");
    let given = api.post(&path, json!({ "environment": environment, "decision": decision })).await.ok(201);
    format!("{path}/{}", id_of(&given))
}

async fn manager(api: &Api, subject: &str) -> Api {
    api.person(subject, &[Scope::Approve, Scope::Read], &["managers"]).await
}

db_test!(
    async fn what_waits_is_told_with_where_it_stands(db: TestDb) {
        let api = ground(&db).await;
        assert_eq!(names(&api, "").await, [""; 0]);
        let ci = api.person("ci", &[Scope::Deploy, Scope::Approve], &["managers"]).await;
        let first = denied(&ci, "shop/prod", "1").await;
        let waits = pending(&api, "").await;
        let since = waits[0]["waiting_since"].clone();
        let mut expected = json!({
            "service": "shop", "environment": "prod", "version": "1", "required": 2, "approved_by": [],
            "missing": 2, "rejected_by": [], "rejections": [], "not_counted": [], "groups": ["managers"],
            "rules": [{ "groups": ["managers"], "required": 2, "approved_by": [], "missing": 2 }],
            "waiting_since": since, "asked_by": waits[0]["asked_by"], "decision_id": first["id"], "names": {},
        });
        assert_eq!(waits, std::slice::from_ref(&expected));
        assert_eq!((&since, &waits[0]["asked_by"]["subject"]), (&first["evaluated_at"], &json!("ci")));

        say(&manager(&api, "ada").await, "shop/prod", "1", "approved").await;
        say(&ci, "shop/prod", "1", "approved").await;
        let outsider = api.person("bob", &[Scope::Approve, Scope::Read], &[]).await;
        say(&outsider, "shop/prod", "1", "approved").await;
        let rejection = say(&manager(&api, "eve").await, "shop/prod", "1", "rejected").await;
        expected["approved_by"] = json!(["ada"]);
        expected["missing"] = json!(1);
        expected["rules"][0]["approved_by"] = json!(["ada"]);
        expected["rules"][0]["missing"] = json!(1);
        expected["rejected_by"] = json!(["eve"]);
        expected["rejections"] = json!([{ "subject": "eve", "comment": null }]);
        expected["not_counted"] = json!([
            { "subject": "ci", "why": "initiated, recorded or deploys it" },
            { "subject": "bob", "why": "is in none of the groups" },
        ]);
        assert_eq!(pending(&api, "").await, std::slice::from_ref(&expected));

        let later = denied(&ci, "shop/prod", "1").await;
        assert_ne!(later["id"], first["id"], "the reasons have changed");
        expected["decision_id"] = later["id"].clone();
        assert_eq!(pending(&api, "").await, [expected], "it has waited since it was first asked for");

        manager(&api, "eve").await.delete(&rejection).await.ok(204);
        assert_eq!(names(&api, "").await, ["shop/prod 1"]);
        say(&manager(&api, "eve").await, "shop/prod", "1", "approved").await;
        assert_eq!(names(&api, "").await, [""; 0], "nothing is missing, though nobody asked again");
        let mut start = start_body("shop/prod", "1");
        start["release"] = Value::Null;
        ci.post("/deployments", start).await.ok(201);
        assert_eq!(names(&api, "").await, [""; 0]);
    }
);

db_test!(
    async fn what_does_not_wait_is_not_listed(db: TestDb) {
        let api = ground(&db).await;
        api.deployed("shop/dev", "1").await;
        for version in ["1", "2", "3"] {
            denied(&api, "shop/prod", version).await;
        }
        assert_eq!(names(&api, "").await, ["shop/prod 1", "shop/prod 2", "shop/prod 3"]);

        let mut lifted = start_body("shop/prod", "2");
        lifted["override"] = json!({ "reason": "it burns, really" });
        let running = id_of(&api.post("/deployments", lifted).await.ok(201)["deployment"]);
        assert_eq!(names(&api, "").await, ["shop/prod 1", "shop/prod 3"], "2 has started");
        api.finished(&running, "succeeded").await;
        assert_eq!(names(&api, "").await, ["shop/prod 3"], "1 is older than what is current");
        let mut back = start_body("shop/prod", "1");
        back["kind"] = json!("rollback");
        api.post("/deployments", back).await.problem(409, "gate-denied");
        assert_eq!(names(&api, "").await, ["shop/prod 1", "shop/prod 3"], "somebody wants to go back");

        api.put("/environments/prod/policy", json!({ "approval": { "mode": "report" } })).await.ok(200);
        assert_eq!(names(&api, "").await, [""; 0], "approvals no longer stand in the way");
        api.put("/environments/prod/policy", json!({ "approval": {} })).await.ok(200);
        assert_eq!(names(&api, "").await, ["shop/prod 1", "shop/prod 3"]);
        for path in ["/environments/prod", "/services/shop"] {
            api.delete(path).await.ok(200);
            assert_eq!(names(&api, "").await, [""; 0]);
            api.patch(path, json!({ "archived": false })).await.ok(200);
        }
        let sql = api.sql().await;
        let old = "UPDATE decision SET last_evaluated_at = '2026-01-01T00:00:00+00:00', \
                   evaluated_at = '2026-01-01T00:00:00+00:00' WHERE kind = 'deploy'";
        sql.execute_unprepared(old).await.unwrap();
        sql.close().await.unwrap();
        assert_eq!(names(&api, "").await, ["shop/prod 1"], "nobody has asked for 3 for a week");
    }
);

db_test!(
    async fn a_denial_for_something_else_asks_nobody(db: TestDb) {
        let api = ground(&db).await;
        say_approved_twice(&api).await;
        api.put("/environments/prod/lockdown", json!({ "reason": "stop" })).await.ok(200);
        denied(&api, "shop/prod", "1").await;
        assert_eq!(names(&api, "").await, [""; 0]);
        denied(&api, "shop/prod", "2").await;
        assert_eq!(names(&api, "").await, ["shop/prod 2"], "approvals are missing beside the lockdown");
    }
);

async fn say_approved_twice(api: &Api) {
    api.deployed("shop/dev", "1").await;
    for subject in ["ada", "eve"] {
        say(&manager(api, subject).await, "shop/prod", "1", "approved").await;
    }
}

db_test!(
    async fn it_is_confined_to_a_group_a_service_an_environment_and_what_the_token_sees(db: TestDb) {
        let api = ground(&db).await;
        for target in ["shop/prod", "shop/staging", "pay/prod"] {
            denied(&api, target, "1").await;
        }
        for (query, expected) in [
            ("", &["pay/prod 1", "shop/prod 1", "shop/staging 1"][..]),
            ("?group=managers", &["pay/prod 1", "shop/prod 1", "shop/staging 1"]),
            ("?group=others", &["shop/staging 1"]),
            ("?service=shop", &["shop/prod 1", "shop/staging 1"]),
            ("?environment=prod", &["pay/prod 1", "shop/prod 1"]),
            ("?environment=prod&service=shop&group=managers", &["shop/prod 1"]),
        ] {
            assert_eq!(names(&api, query).await, expected, "{query}");
        }
        let narrowed = api.token(&[Scope::Read], Some(&["shop"]), Some(&["prod"])).await;
        assert_eq!(names(&narrowed, "").await, ["shop/prod 1"]);
        api.token(&[Scope::Approve], None, None)
            .await
            .get("/approvals/pending")
            .await
            .problem(403, "forbidden");
    }
);

db_test!(
    async fn it_is_paged_without_gap_or_double(db: TestDb) {
        let api = ground(&db).await;
        for n in 0..11 {
            denied(&api, &format!("svc-{n}/{}", if n % 2 == 0 { "prod" } else { "staging" }), "1").await;
        }
        for n in [3, 7] {
            say(&manager(&api, "ada").await, &format!("svc-{n}/staging"), "1", "approved").await;
        }
        let all = pending(&api, "").await;
        assert_eq!(all.len(), 9);
        let (mut seen, mut next) = (Vec::new(), Some("/approvals/pending?limit=2".to_owned()));
        while let Some(path) = next {
            let answer = api.get(&path).await;
            let page = answer.ok(200)["items"].as_array().unwrap().clone();
            // Whoever waits asks again and again; that moves nothing.
            denied(&api, "svc-0/prod", "1").await;
            assert!(page.len() <= 2);
            seen.extend(page);
            next = answer.header("link").map(|link| {
                link.trim_start_matches("</api/v1").trim_end_matches(">; rel=\"next\"").to_owned()
            });
        }
        assert_eq!(seen, all);
    }
);
