//! What a narrowed admin may change, and that a narrowed token cannot find out what lies outside.

use std::collections::BTreeSet;

use poem::http::Method;
use serde_json::{Value, json};
use waybill::{config::issuer::IssuerConfig, domain::vocabulary::Scope};

use crate::{
    db_test,
    support::api::{Api, commit, id_of, start_body},
};

/// An admin that is narrowed one way, and what there is for it to change.
struct Narrowed {
    api: Api,
    /// Tells its things from those of the other.
    tag: &'static str,
    service: &'static str,
    environment: &'static str,
    running: String,
    window: String,
    waiver: String,
    token: String,
    approval: String,
}

async fn narrowed(
    admin: &Api,
    tag: &'static str,
    place: (&'static str, &'static str),
    by_service: bool,
) -> Narrowed {
    let (service, environment) = place;
    let spare = format!("spare-{tag}");
    let made = format!("made-{tag}");
    let (services, environments) = ([service, &spare, &made], [environment, &spare, &made]);
    let api = if by_service {
        admin.token(&[Scope::Admin], Some(&services), None).await
    } else {
        admin.token(&[Scope::Admin], None, Some(&environments)).await
    };
    admin.post("/services", json!({ "name": spare })).await.ok(201);
    admin.post("/environments", json!({ "name": spare })).await.ok(201);
    admin.post("/services", json!({ "name": service })).await.ok(201);
    let release = json!({ "version": "1", "commit_sha": commit("1") });
    admin.post(&format!("/services/{service}/releases"), release).await.ok(201);
    admin.post("/environments", json!({ "name": environment })).await.ok(201);
    // Where each narrowing lets it reach, beside the target that it starts in itself.
    let other = if by_service { format!("{service}/elsewhere") } else { format!("other/{environment}") };
    let running = admin.started(&other, "1").await;
    let window = id_of(&admin.post("/freeze-windows", freeze(environment)).await.ok(201));
    let waiver = id_of(&admin.post("/waivers", waiver(service, environment)).await.ok(201));
    let mut token = json!({ "name": format!("there-{tag}"), "scopes": ["read"] });
    token[if by_service { "services" } else { "environments" }] =
        json!([if by_service { service } else { environment }]);
    let token = id_of(&admin.post("/tokens", token).await.ok(201));
    let said = json!({ "environment": environment, "decision": "approved" });
    let approval = id_of(&api.post(&format!("/services/{service}/releases/1/approvals"), said).await.ok(201));
    Narrowed { api, tag, service, environment, running, window, waiver, token, approval }
}

/// A trust that is narrowed as a token of `who` may make it.
fn trust(name: &str, tag: &str, who: &Narrowed) -> Value {
    let (narrowing, only) =
        if tag == "s" { ("services", who.service) } else { ("environments", who.environment) };
    json!({ "name": format!("{name}-{tag}"), "issuer": "gitlab", "claims": { "project_id": "1" }, "scopes": ["read"],
        narrowing: [only] })
}

/// A waiver that ends in a year that the test does not know.
fn waiver(service: &str, environment: &str) -> Value {
    json!({ "vulnerability": "CVE-2026-1000", "reason": "nobody reaches it", "services": [service],
        "environments": [environment], "expires_at": waybill::clock::now() + chrono::TimeDelta::days(9) })
}

/// A freeze that does not hold yet: what is tried here must not depend on the day it is tried.
fn freeze(environment: &str) -> Value {
    json!({ "name": "year end", "reason": "nobody is here", "environments": [environment],
        "starts_at": "2098-12-20T00:00:00Z", "ends_at": "2099-01-03T00:00:00Z" })
}

/// An operation, whether an admin narrowed to services may do it, and whether one narrowed to environments may.
type Row = (&'static str, bool, bool, fn(&Narrowed) -> (Method, String, Value));

const NONE: Value = Value::Null;

/// Every operation that writes. What concerns all services is not for whoever is narrowed to some, and what concerns all
/// environments is not for whoever is narrowed to some of those.
const TABLE: [Row; 28] = [
    ("check_gate", true, true, |who| {
        let body =
            json!({ "service": who.service, "environment": who.environment, "version": "1", "record": true });
        (Method::POST, "/gate/check".into(), body)
    }),
    ("start_deployment", true, true, |who| {
        (
            Method::POST,
            "/deployments".into(),
            start_body(&format!("{}/{}", who.service, who.environment), "1"),
        )
    }),
    ("record_deployment", true, true, |who| {
        let mut body = start_body(&format!("{}/{}", who.service, who.environment), "3");
        body["status"] = json!("failed");
        body["started_at"] = json!("2026-01-01T00:00:00Z");
        body["finished_at"] = json!("2026-01-01T00:01:00Z");
        (Method::POST, "/deployments/record".into(), body)
    }),
    ("heartbeat_deployment", true, true, |who| {
        (Method::POST, format!("/deployments/{}/heartbeat", who.running), json!({}))
    }),
    ("finish_deployment", true, true, |who| {
        (Method::POST, format!("/deployments/{}/finish", who.running), json!({ "status": "failed" }))
    }),
    ("create_release", true, true, |who| {
        let body = json!({ "version": "9", "commit_sha": commit("9") });
        (Method::POST, format!("/services/{}/releases", who.service), body)
    }),
    ("upload_scan", true, true, |who| {
        let counts = json!({ "critical": 0, "high": 0, "medium": 0, "low": 0, "unknown": 0 });
        let body = json!({ "scanner": "snyk", "scanned_at": "2026-01-20T10:00:00Z", "counts": counts });
        (Method::POST, format!("/services/{}/releases/9/scans", who.service), body)
    }),
    ("create_approval", true, true, |who| {
        let body = json!({ "environment": who.environment, "decision": "approved" });
        (Method::POST, format!("/services/{}/releases/9/approvals", who.service), body)
    }),
    ("withdraw_approval", true, true, |who| {
        (Method::DELETE, format!("/services/{}/releases/1/approvals/{}", who.service, who.approval), NONE)
    }),
    ("create_token", true, true, |who| {
        let mut body = json!({ "name": format!("made-{}", who.tag), "scopes": ["read"] });
        let narrowing =
            if who.tag == "s" { ("services", who.service) } else { ("environments", who.environment) };
        body[narrowing.0] = json!([narrowing.1]);
        (Method::POST, "/tokens".into(), body)
    }),
    ("revoke_token", true, true, |who| (Method::DELETE, format!("/tokens/{}", who.token), NONE)),
    ("create_trust", true, true, |who| (Method::POST, "/trusts".into(), trust("new", who.tag, who))),
    ("update_trust", true, true, |who| {
        (Method::PATCH, format!("/trusts/there-{}", who.tag), json!({ "scopes": ["read", "deploy"] }))
    }),
    ("delete_trust", true, true, |who| (Method::DELETE, format!("/trusts/there-{}", who.tag), NONE)),
    ("create_service", true, false, |who| {
        (Method::POST, "/services".into(), json!({ "name": format!("made-{}", who.tag) }))
    }),
    ("update_service", true, false, |who| {
        (Method::PATCH, format!("/services/{}", who.service), json!({ "owner": "me" }))
    }),
    ("archive_service", true, false, |who| (Method::DELETE, format!("/services/spare-{}", who.tag), NONE)),
    ("create_environment", false, true, |who| {
        (Method::POST, "/environments".into(), json!({ "name": format!("made-{}", who.tag) }))
    }),
    ("update_environment", false, true, |who| {
        (Method::PATCH, format!("/environments/{}", who.environment), json!({ "rank": 7 }))
    }),
    ("archive_environment", false, true, |who| {
        (Method::DELETE, format!("/environments/spare-{}", who.tag), NONE)
    }),
    ("create_freeze_window", false, true, |who| {
        (Method::POST, "/freeze-windows".into(), freeze(who.environment))
    }),
    ("update_freeze_window", false, true, |who| {
        (Method::PATCH, format!("/freeze-windows/{}", who.window), json!({ "reason": "why" }))
    }),
    ("delete_freeze_window", false, true, |who| {
        (Method::DELETE, format!("/freeze-windows/{}", who.window), NONE)
    }),
    ("create_waiver", true, true, |who| {
        (Method::POST, "/waivers".into(), waiver(who.service, who.environment))
    }),
    ("withdraw_waiver", true, true, |who| (Method::DELETE, format!("/waivers/{}", who.waiver), NONE)),
    ("place_lockdown", false, true, |who| {
        (Method::PUT, format!("/environments/{}/lockdown", who.environment), json!({ "reason": "why" }))
    }),
    ("lift_lockdown", false, true, |who| {
        (Method::DELETE, format!("/environments/{}/lockdown", who.environment), NONE)
    }),
    ("set_policy", false, true, |who| {
        (Method::PUT, format!("/environments/{}/policy", who.environment), json!({}))
    }),
];

db_test!(
    async fn a_narrowed_admin_changes_nothing_that_concerns_more(db: TestDb) {
        let document: Value = serde_json::from_str(&waybill::api::document()).unwrap();
        let items =
            document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap());
        let writes: BTreeSet<&str> = items
            .filter(|(method, _)| *method != "get")
            .map(|(_, it)| it["operationId"].as_str().unwrap())
            // These show somebody else's ID token.
            .filter(|id| {
                !["ask_for_session", "check_trusts", "end_session", "exchange_id_token", "redeem_code"]
                    .contains(id)
            })
            .collect();
        assert_eq!(
            TABLE.iter().map(|row| row.0).collect::<BTreeSet<_>>(),
            writes,
            "every write is in the table"
        );

        let admin = Api::with(&db, |config| {
            let (name, url) = ("gitlab".to_owned(), "https://gitlab.example.com".to_owned());
            config.auth.issuer = vec![IssuerConfig { name, url, ..IssuerConfig::default() }];
        });
        let admin = admin.await;
        let by_service = narrowed(&admin, "s", ("shop", "dev"), true).await;
        let by_environment = narrowed(&admin, "e", ("pay", "staging"), false).await;
        for (operation, services, environments, request) in TABLE {
            for (who, may) in [(&by_service, services), (&by_environment, environments)] {
                if operation == "create_trust" {
                    admin.post("/trusts", trust("there", who.tag, who)).await.ok(201);
                }
                let (method, path, body) = request(who);
                let answer = who.api.send_json(method, &path, &[], &body).await;
                let what = format!("{operation} by {}: {} {}", who.tag, answer.status, answer.text);
                if may {
                    assert!(answer.status < 300, "{what}");
                } else {
                    assert!(answer.status == 403 && answer.text.contains("concerns all"), "{what}");
                }
            }
        }
    }
);

/// What an answer tells, whichever of the two names was asked for.
async fn told(api: &Api, (method, path, body): (&Method, &str, &Value), name: &str) -> (u16, String) {
    let (path, body) = (path.replace("NAME", name), body.to_string().replace("NAME", name));
    let headers = [("content-type", "application/json")];
    let body = (body != "null").then(|| body.into_bytes());
    let answer = api.send(method.clone(), &path, &headers, body).await;
    let mut text = answer.text.replace(name, "NAME");
    if let Some(id) = answer.header("x-request-id") {
        text = text.replace(id, "ID");
    }
    (answer.status, text)
}

/// A request in which a name stands as `NAME`.
type Naming = (Method, &'static str, Value);

fn naming_environments() -> Vec<Naming> {
    let mut wrong = freeze("NAME");
    wrong["ends_at"] = wrong["starts_at"].clone();
    let policy = json!({ "promotion": { "from": ["NAME"] } });
    let start = start_body("shop/NAME", "1");
    let said = json!({ "environment": "NAME", "decision": "approved" });
    let asked = json!({ "service": "shop", "environment": "NAME", "version": "1" });
    let token = json!({ "name": "t", "scopes": ["read"], "environments": ["NAME"] });
    vec![
        (Method::POST, "/freeze-windows", freeze("NAME")),
        (Method::POST, "/freeze-windows", wrong),
        (Method::GET, "/freeze-windows?environment=NAME", NONE),
        (Method::POST, "/waivers", waiver("shop", "NAME")),
        (Method::GET, "/waivers?environment=NAME", NONE),
        (Method::GET, "/freeze-windows/calendar?environment=NAME", NONE),
        (Method::PUT, "/environments/prod/policy", policy),
        (Method::PUT, "/environments/NAME/policy", json!({})),
        (Method::GET, "/environments/NAME/policy", NONE),
        (Method::GET, "/environments/NAME/policy?preset=production", NONE),
        (Method::PUT, "/environments/NAME/lockdown", json!({ "reason": "why" })),
        (Method::DELETE, "/environments/NAME/lockdown", NONE),
        (Method::GET, "/environments/NAME", NONE),
        (Method::PATCH, "/environments/NAME", json!({ "rank": 1 })),
        (Method::DELETE, "/environments/NAME", NONE),
        (Method::POST, "/environments", json!({ "name": "NAME" })),
        (Method::POST, "/deployments", start),
        (Method::POST, "/gate/check", asked),
        (Method::GET, "/gate/wait?service=shop&environment=NAME&version=1", NONE),
        (Method::POST, "/services/shop/releases/1/approvals", said),
        (Method::GET, "/services/shop/releases/1/approvals?environment=NAME", NONE),
        (Method::GET, "/approvals/pending?environment=NAME", NONE),
        (Method::GET, "/services/shop/environments/NAME", NONE),
        (Method::GET, "/deployments?environment=NAME", NONE),
        (Method::GET, "/decisions?environment=NAME", NONE),
        (Method::GET, "/events?environment=NAME", NONE),
        (Method::POST, "/tokens", token),
    ]
}

fn naming_services() -> Vec<Naming> {
    let asked = json!({ "service": "NAME", "environment": "prod", "version": "1" });
    let token = json!({ "name": "t", "scopes": ["read"], "services": ["NAME"] });
    vec![
        (Method::GET, "/services/NAME", NONE),
        (Method::POST, "/services", json!({ "name": "NAME" })),
        (Method::PATCH, "/services/NAME", json!({ "owner": "me" })),
        (Method::DELETE, "/services/NAME", NONE),
        (Method::GET, "/services/NAME/releases", NONE),
        (Method::GET, "/services/NAME/releases/1", NONE),
        (Method::POST, "/services/NAME/releases", json!({ "version": "2", "commit_sha": commit("2") })),
        (Method::GET, "/services/NAME/releases/1/scans", NONE),
        (Method::POST, "/services/NAME/releases/1/scans", json!({})),
        (Method::GET, "/services/NAME/releases/1/approvals", NONE),
        (
            Method::POST,
            "/services/NAME/releases/1/approvals",
            json!({ "environment": "prod", "decision": "approved" }),
        ),
        (Method::GET, "/services/NAME/environments/prod", NONE),
        (Method::POST, "/waivers", waiver("NAME", "prod")),
        (Method::GET, "/waivers?service=NAME", NONE),
        (Method::POST, "/deployments", start_body("NAME/prod", "1")),
        (Method::POST, "/gate/check", asked),
        (Method::GET, "/gate/wait?service=NAME&environment=prod&version=1", NONE),
        (Method::GET, "/approvals/pending?service=NAME", NONE),
        (Method::GET, "/deployments?service=NAME", NONE),
        (Method::GET, "/decisions?service=NAME", NONE),
        (Method::GET, "/events?service=NAME", NONE),
        (Method::POST, "/tokens", token),
    ]
}

db_test!(
    async fn what_lies_outside_is_as_if_it_were_not_there(db: TestDb) {
        let api = Api::new(&db).await;
        for target in ["shop/prod", "hidden/hidden"] {
            api.deployed(target, "1").await;
        }
        for name in ["prod", "hidden"] {
            api.patch(&format!("/environments/{name}"), json!({ "tier": "production" })).await.ok(200);
        }
        let mut both = freeze("prod");
        both["environments"] = json!(["prod", "hidden"]);
        api.post("/freeze-windows", both).await.ok(201);
        let mut tiers = freeze("prod");
        tiers.as_object_mut().unwrap().remove("environments");
        tiers["tiers"] = json!(["production"]);
        api.post("/freeze-windows", tiers).await.ok(201);
        let outside_environments = api.token(&[Scope::Admin], None, Some(&["prod"])).await;
        let outside_services = api.token(&[Scope::Admin], Some(&["shop"]), None).await;
        for (outside, requests) in
            [(outside_environments, naming_environments()), (outside_services, naming_services())]
        {
            for (method, path, body) in &requests {
                let there = told(&outside, (method, path, body), "hidden").await;
                let nowhere = told(&outside, (method, path, body), "nowhere").await;
                assert_eq!(there, nowhere, "{method} {path} {body}");
            }
        }
    }
);
