//! Policies: reading, presets, setting them as a whole, every fault at once, and what their modes do to a start.

use futures_util::future::join_all;
use poem::http::Method;
use serde_json::{Value, json};
use waybill::domain::vocabulary::Scope;

use crate::{
    db_test,
    support::api::{Answer, Api, id_of, start_body},
};

const PROD: &str = "/environments/prod/policy";

async fn environments(api: &Api, names: &[&str]) {
    for name in names {
        api.post("/environments", json!({ "name": name })).await.ok(201);
    }
}

async fn put_if(api: &Api, tag: &str, policy: &Value) -> Answer {
    api.send_json(Method::PUT, PROD, &[("if-match", tag)], policy).await
}

async fn events(api: &Api) -> Vec<Value> {
    while waybill::usecase::upkeep::seal_events(&api.app).await.unwrap() > 0 {}
    let events = api.get("/events?kind=policy.updated").await.ok(200)["items"].take();
    events.as_array().unwrap().clone()
}

db_test!(
    async fn a_policy_is_set_as_a_whole_and_versioned(db: TestDb) {
        let api = Api::new(&db).await;
        environments(&api, &["staging", "prod"]).await;
        let none = api.get(PROD).await;
        assert_eq!(none.header("etag"), Some("\"0\""));
        let none = none.ok(200);
        assert_eq!((&none["environment"], &none["version"]), (&json!("prod"), &json!(0)));
        for (rule, mode) in [
            ("freeze", "enforce"),
            ("promotion", "off"),
            ("approval", "off"),
            ("vulnerabilities", "off"),
            ("image", "off"),
            ("outdated", "report"),
        ] {
            assert_eq!(none["policy"][rule]["mode"], mode, "{rule}");
        }
        let wanted = json!({
            "promotion": { "from": ["staging"], "soak_seconds": 60 },
            "approval": { "required": 2, "groups": ["managers"] },
        });
        let answer = put_if(&api, "\"0\"", &wanted).await;
        let set = answer.ok(200);
        assert_eq!((answer.header("etag"), &set["version"]), (Some("\"1\""), &json!(1)));
        let approval = json!({
            "mode": "enforce", "required": 2, "groups": ["managers"], "rules": [], "allow_self": false,
            "require_known_initiator": false,
            "expires_after_seconds": 604_800,
        });
        assert_eq!(set["policy"]["approval"], approval, "a section that is given is enforced");
        assert_eq!(set["policy"]["promotion"]["require"], "any");
        assert_eq!(set["policy"]["image"]["mode"], "off", "one that is left out is not");
        assert_eq!(api.get(PROD).await.ok(200), set);

        assert_eq!(api.put(PROD, set["policy"].clone()).await.ok(200), set, "what is read can be set again");
        assert_eq!(api.put(PROD, wanted.clone()).await.ok(200), set, "the same again changes nothing");
        for stale in ["\"0\"", "\"2\"", "nonsense"] {
            put_if(&api, stale, &json!({})).await.problem(412, "stale");
        }
        assert_eq!(put_if(&api, "*", &json!({})).await.ok(200)["version"], 2);
        assert_eq!(api.get(PROD).await.ok(200)["policy"], none["policy"]);

        let events = events(&api).await;
        assert_eq!(events.len(), 2, "{events:?}");
        assert_eq!((&events[0]["environment"], &events[0]["service"]), (&json!("prod"), &Value::Null));
        let data = &events[0]["data"];
        assert_eq!((&data["version"], &data["before"]), (&json!(1), &Value::Null));
        assert_eq!(data["after"], set["policy"]);
        let changed = [
            "/approval/groups",
            "/approval/mode",
            "/approval/required",
            "/promotion/from",
            "/promotion/mode",
            "/promotion/soak_seconds",
        ];
        assert_eq!(data["changed"], json!(changed));
        assert_eq!(
            (&events[1]["data"]["changed"], &events[1]["data"]["before"]),
            (&json!(changed), &data["after"])
        );
    }
);

db_test!(
    async fn saying_what_held_anyway_is_a_change_once(db: TestDb) {
        let api = Api::new(&db).await;
        environments(&api, &["prod"]).await;
        for _ in 0..2 {
            assert_eq!(api.put(PROD, json!({})).await.ok(200)["version"], 1);
        }
        let events = events(&api).await;
        assert_eq!((events.len(), &events[0]["data"]["changed"]), (1, &json!([])));
    }
);

db_test!(
    async fn faults_are_named_at_once(db: TestDb) {
        let api = Api::new(&db).await;
        environments(&api, &["old", "prod", "staging"]).await;
        api.delete("/environments/old").await.ok(200);
        api.deployed("shop/fresh", "1").await;
        let policy = json!({
            "freeze": { "exempt_kinds": ["rollback", "rollback"] },
            "promotion": { "from": ["fresh", "old", "prod", "nowhere", "staging", "Staging", "staging"] },
            "approval": {
                "groups": ["managers", "managers", "managers "],
                "rules": [{ "groups": ["leads"] }, { "groups": ["leads", "", "leads"] }],
            },
            "vulnerabilities": { "scanners": ["", "trivy"] },
            "image": { "allowed_repositories": ["registry.example.com/**", "a@b"] },
        });
        let expected = [
            ("/freeze/exempt_kinds/1", "duplicate"),
            ("/promotion/from/0", "unconfirmed"),
            ("/promotion/from/1", "archived"),
            ("/promotion/from/2", "itself"),
            ("/promotion/from/3", "unknown"),
            ("/promotion/from/5", "invalid-name"),
            ("/promotion/from/6", "duplicate"),
            ("/approval/groups/1", "duplicate"),
            ("/approval/groups/2", "invalid-group"),
            ("/approval/rules/1/groups/1", "invalid-group"),
            ("/approval/rules/1/groups/2", "duplicate"),
            ("/vulnerabilities/max", "required"),
            ("/vulnerabilities/scanners/0", "invalid-name"),
            ("/image/allowed_repositories/1", "invalid-repository"),
        ];
        let expected = expected.map(|(pointer, code)| (pointer.to_owned(), code.to_owned()));
        assert_eq!(api.put(PROD, policy).await.faults(), expected);
        let faults = api.put(PROD, json!({ "promotion": {}, "image": {} })).await.faults();
        let pointers: Vec<_> = faults.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(pointers, ["/promotion/from", "/image/require_digest"]);
        assert_eq!(api.get(PROD).await.ok(200)["version"], 0);
    }
);

db_test!(
    async fn faults_of_shape_are_named_at_once_wherever_they_are(db: TestDb) {
        let api = Api::new(&db).await;
        environments(&api, &["prod"]).await;
        let policy = json!({
            "colour": 1,
            "freeze": { "mode": "loud", "exempt_kinds": "rollback" },
            "promotion": { "from": [1.5, []], "require": "some", "soak_seconds": -1, "soak": 3 },
            "approval": { "required": 0, "allow_self": "yes", "expires_after_seconds": 59, "groups": vec!["a"; 21] },
            "vulnerabilities": {
                "max": { "critical": -1, "high": 1_000_001, "low": "0", "severe": 0 },
                "max_scan_age_seconds": 1e30, "scanners": vec!["a"; 21],
            },
            "image": { "require_digest": 1, "allowed_repositories": {} },
            "outdated": [],
        });
        let mut faults = api.put(PROD, policy).await.faults();
        faults.sort();
        let pointers: Vec<_> = faults.iter().map(|(pointer, _)| pointer.as_str()).collect();
        let expected = [
            "/approval/allow_self",
            "/approval/expires_after_seconds",
            "/approval/groups",
            "/approval/required",
            "/colour",
            "/freeze/exempt_kinds",
            "/freeze/mode",
            "/image/allowed_repositories",
            "/image/require_digest",
            "/outdated",
            "/promotion/from/0",
            "/promotion/from/1",
            "/promotion/require",
            "/promotion/soak",
            "/promotion/soak_seconds",
            "/vulnerabilities/max/critical",
            "/vulnerabilities/max/high",
            "/vulnerabilities/max/low",
            "/vulnerabilities/max/severe",
            "/vulnerabilities/max_scan_age_seconds",
            "/vulnerabilities/scanners",
        ];
        assert_eq!(pointers, expected);
        for (policy, pointer) in [
            (json!({ "approval": { "required": 21 } }), "/approval/required"),
            (json!({ "promotion": { "soak_seconds": 7_776_001 } }), "/promotion/soak_seconds"),
            (
                json!({ "vulnerabilities": { "max": { "critical": 4_294_967_296_i64 } } }),
                "/vulnerabilities/max/critical",
            ),
            (json!({ "approval": { "required": 1.5 } }), "/approval/required"),
            (json!({ "approval": { "rules": [{ "required": 0 }] } }), "/approval/rules/0/required"),
            (json!({ "approval": { "rules": [{}, { "required": 21 }] } }), "/approval/rules/1/required"),
            (json!({ "approval": { "rules": [{ "groups": vec!["a"; 21] }] } }), "/approval/rules/0/groups"),
            (json!({ "approval": { "rules": [{ "group": "a" }] } }), "/approval/rules/0/group"),
            (json!({ "approval": { "rules": vec![json!({}); 11] } }), "/approval/rules"),
            (json!({ "approval": { "require_known_initiator": 1 } }), "/approval/require_known_initiator"),
            (json!([]), ""),
        ] {
            assert_eq!(api.put(PROD, policy.clone()).await.faults()[0].0, pointer, "{policy}");
        }
    }
);

db_test!(
    async fn hostile_policies_are_refused_or_kept_as_they_are(db: TestDb) {
        let api = Api::new(&db).await;
        environments(&api, &["prod", "staging"]).await;
        let texts = [
            "",
            " ",
            "\u{0}",
            "a\u{0}b",
            "'; DROP TABLE environment; --",
            "\u{202e}x",
            "%s%n",
            "\u{1b}[31m",
            "../..",
        ];
        for text in texts.into_iter().map(str::to_owned).chain([("x".repeat(100_000))]) {
            for policy in [
                json!({ "promotion": { "from": [text] } }),
                json!({ "approval": { "groups": [text] } }),
                json!({ "vulnerabilities": { "require_scan": true, "scanners": [text] } }),
                json!({ "image": { "allowed_repositories": [text] } }),
                json!({ "approval": { "mode": text } }),
            ] {
                let answer = api.put(PROD, policy.clone()).await;
                if answer.status == 200 {
                    assert_eq!(api.get(PROD).await.ok(200), answer.json());
                    assert!(answer.text.contains(&json!([text]).to_string()), "{}", answer.text);
                } else {
                    answer.assert_refused(&text.chars().take(20).collect::<String>());
                }
            }
        }
        for path in ["/environments/%00/policy", "/environments/Prod/policy", "/environments/none/policy"] {
            api.get(path).await.assert_refused(path);
            api.put(path, json!({})).await.assert_refused(path);
        }
    }
);

db_test!(
    async fn presets_are_made_for_the_place_of_the_environment(db: TestDb) {
        let api = Api::new(&db).await;
        environments(&api, &["dev", "staging", "stg-us", "prod"]).await;
        api.deployed("shop/preprod", "1").await;
        api.patch("/environments/prod", json!({ "rank": 400 })).await.ok(200);
        let preset = api.get(&format!("{PROD}?preset=production")).await;
        assert_eq!(preset.header("etag"), Some("\"0\""), "the version of the policy in force");
        let preset = preset.ok(200)["policy"].take();
        assert_eq!(
            preset["promotion"],
            json!({ "mode": "enforce", "from": ["staging", "stg-us"], "require": "any", "soak_seconds": 3600 }),
            "an unconfirmed environment is no source"
        );
        assert_eq!(
            (&preset["approval"]["mode"], &preset["approval"]["required"]),
            (&json!("enforce"), &json!(1))
        );
        assert_eq!(
            (&preset["image"]["mode"], &preset["image"]["require_digest"]),
            (&json!("enforce"), &json!(true))
        );
        assert_eq!(preset["vulnerabilities"]["mode"], "report");
        assert_eq!(preset["vulnerabilities"]["max"], json!({ "critical": 0 }));
        assert_eq!(
            (&preset["freeze"]["mode"], &preset["outdated"]["mode"]),
            (&json!("enforce"), &json!("enforce"))
        );
        assert_eq!(api.get(PROD).await.ok(200)["version"], 0, "a preset is not set by looking at it");
        assert_eq!(api.put(PROD, preset.clone()).await.ok(200)["policy"], preset);

        let staging = api.get("/environments/staging/policy?preset=staging").await.ok(200)["policy"].take();
        assert_eq!(
            (&staging["promotion"]["mode"], &staging["promotion"]["from"]),
            (&json!("report"), &json!(["dev"]))
        );
        assert_eq!(
            (&staging["promotion"]["soak_seconds"], &staging["approval"]["mode"]),
            (&json!(0), &json!("off"))
        );
        let lowest = api.get("/environments/dev/policy?preset=staging").await.ok(200);
        assert_eq!(lowest["policy"]["promotion"]["mode"], "off");
        let none = api.get("/environments/dev/policy?preset=production").await.problem(409, "conflict");
        assert!(none["detail"].as_str().unwrap().contains("register one"), "{none}");
        let unknown = api.get(&format!("{PROD}?preset=reckless")).await.problem(400, "invalid-request");
        assert_eq!(unknown["errors"][0]["pointer"], "/query/preset");
    }
);

db_test!(
    async fn rights_and_narrowing_hold(db: TestDb) {
        let api = Api::new(&db).await;
        environments(&api, &["dev", "staging", "prod"]).await;
        api.put(PROD, json!({ "promotion": { "from": ["staging"] } })).await.ok(200);
        let reader = api.token(&[Scope::Read], None, Some(&["prod"])).await;
        reader.get(PROD).await.ok(200);
        reader.get("/environments/dev/policy").await.problem(404, "not-found");
        reader.put(PROD, json!({})).await.problem(403, "forbidden");
        let enough = [Scope::Policy, Scope::Admin];
        let others: Vec<_> = Scope::ALL.iter().copied().filter(|one| !enough.contains(one)).collect();
        api.token(&others, None, None).await.put(PROD, json!({})).await.problem(403, "forbidden");
        let of_shop = api.token(&[Scope::Admin], Some(&["shop"]), None).await;
        of_shop.put(PROD, json!({})).await.problem(403, "forbidden");

        let of_prod = api.token(&[Scope::Admin], None, Some(&["prod"])).await;
        of_prod.put("/environments/dev/policy", json!({})).await.problem(404, "not-found");
        let longer = json!({ "promotion": { "from": ["staging"], "soak_seconds": 9 } });
        of_prod.put(PROD, longer).await.ok(200);
        let hidden = json!({ "promotion": { "from": ["staging", "dev"] } });
        let faults = of_prod.put(PROD, hidden).await.faults();
        assert_eq!(
            faults,
            [("/promotion/from/1".to_owned(), "unknown".to_owned())],
            "it may keep, and not add"
        );
        let preset = of_prod.get(&format!("{PROD}?preset=production")).await;
        preset.problem(409, "conflict");
    }
);

db_test!(
    async fn nothing_is_set_in_what_is_archived(db: TestDb) {
        let api = Api::new(&db).await;
        environments(&api, &["prod"]).await;
        api.delete("/environments/prod").await.ok(200);
        api.put(PROD, json!({})).await.problem(409, "conflict");
        api.get(PROD).await.ok(200);
    }
);

db_test!(
    async fn of_policies_for_one_version_at_once_one_is_set(db: TestDb) {
        let api = Api::new(&db).await;
        environments(&api, &["prod"]).await;
        for version in 0..4 {
            let tag = format!("\"{version}\"");
            let policies = (1..5).map(|n| {
                let (api, tag) = (api.clone(), tag.clone());
                let policy = json!({ "approval": { "expires_after_seconds": 60 * n + version } });
                async move { put_if(&api, &tag, &policy).await.status }
            });
            let mut statuses = join_all(policies).await;
            statuses.sort_unstable();
            assert_eq!(statuses, [200, 412, 412, 412]);
        }
        assert_eq!(events(&api).await.len(), 4);
    }
);

db_test!(
    async fn a_rule_refuses_reports_or_is_not_looked_at(db: TestDb) {
        let api = Api::new(&db).await;
        environments(&api, &["prod"]).await;
        let check = |decision: &Value, rule: &str| {
            let checks = decision["checks"].as_array().unwrap();
            checks.iter().find(|check| check["rule"] == rule).unwrap().clone()
        };
        for (mode, outcome) in [("enforce", "fail"), ("report", "fail"), ("off", "skipped")] {
            api.put(PROD, json!({ "approval": { "mode": mode } })).await.ok(200);
            let answer = api.start("shop/prod", mode).await;
            let decision = if mode == "enforce" {
                answer.problem(409, "gate-denied")["decision"].take()
            } else {
                let started = answer.ok(201);
                api.finished(&id_of(&started["deployment"]), "succeeded").await;
                started["decision"].clone()
            };
            let approval = check(&decision, "approval");
            assert_eq!(
                (&approval["mode"], &approval["outcome"]),
                (&json!(mode), &json!(outcome)),
                "{decision}"
            );
        }
        api.put(PROD, json!({ "approval": {}, "image": { "require_digest": true } })).await.ok(200);
        let both = api.start("shop/prod", "both").await.problem(409, "gate-denied")["decision"].take();
        for rule in ["approval", "image"] {
            assert_eq!(check(&both, rule)["outcome"], "fail", "every rule that fails is named");
        }
        let mut lifted = start_body("shop/prod", "both");
        lifted["override"] = json!({ "reason": "it burns, really" });
        api.post("/deployments", lifted).await.ok(201);
    }
);
