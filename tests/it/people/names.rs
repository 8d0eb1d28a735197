//! The names of people: beside their subjects wherever these are read, as they were last seen.

use poem::http::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use waybill::{
    config::{Config, issuer::IssuerConfig, people::RoleConfig},
    domain::vocabulary::Scope,
    usecase::{
        sessions::{self, From, Vouched},
        upkeep,
    },
};

use super::visitor::{SITE, Visitor};
use crate::{
    db_test,
    support::{api::Api, db::TestDb},
};

const ADA: &str = "idp:42";

/// A server at which people sign in, who may do all that people do.
pub async fn server(db: &TestDb) -> Api {
    Api::with(db, set_up).await
}

fn set_up(config: &mut Config) {
    config.server.public_url = Some(SITE.parse().unwrap());
    let (name, url) = ("idp".to_owned(), "https://idp.example.com".to_owned());
    config.auth.issuer = vec![IssuerConfig { name, url, ..IssuerConfig::default() }];
    config.auth.oidc.issuer = Some("idp".to_owned());
    config.auth.oidc.client_id = Some("waybill".to_owned());
    let role = |group: &str, scopes: &[Scope], services: &[&str]| RoleConfig {
        group: group.to_owned(),
        scopes: scopes.to_vec(),
        services: services.iter().map(ToString::to_string).collect(),
        environments: Vec::new(),
    };
    config.auth.role = vec![
        role("staff", &[Scope::Read], &[]),
        role("staff", &[Scope::Deploy, Scope::Approve, Scope::Freeze, Scope::Override], &[]),
        role("pay", &[Scope::Record], &["pay"]),
    ];
}

/// As a person whom the issuer has vouched for just now.
pub async fn person(api: &Api, subject: &str, name: &str, groups: &[&str]) -> Api {
    let vouched = Vouched {
        issuer: "idp".to_owned(),
        subject: subject.to_owned(),
        name: Some(name.to_owned()),
        groups: groups.iter().map(ToString::to_string).collect(),
    };
    let begun = sessions::begin_vouched(&api.app, vouched, &From::default()).await.unwrap();
    api.bearing(begun.secret.expose_secret())
}

/// Ada deploys, approves, and locks the environment down.
async fn history(api: &Api) -> String {
    let ada = person(api, ADA, "Ada", &["staff"]).await;
    let id = ada.started("shop/prod", "1").await;
    ada.finished(&id, "succeeded").await;
    api.put("/environments/prod/policy", json!({ "approval": { "required": 2 } })).await.ok(200);
    let other = api.person("mira", &[Scope::Read, Scope::Deploy], &[]).await;
    other.start("shop/prod", "2").await.problem(409, "gate-denied");
    for (environment, decision) in [("prod", "approved"), ("prod", "rejected")] {
        let body = json!({ "environment": environment, "decision": decision, "comment": "seen" });
        ada.post("/services/shop/releases/2/approvals", body).await.ok(201);
    }
    api.post("/environments", json!({ "name": "dev" })).await.ok(201);
    ada.put("/environments/prod/lockdown", json!({ "reason": "it burns" })).await.ok(200);
    let window = json!({ "name": "party", "reason": "all are away", "environments": ["dev"],
        "starts_at": "2099-01-01T00:00:00Z", "ends_at": "2099-01-02T00:00:00Z" });
    ada.post("/freeze-windows", window).await.ok(201);
    while upkeep::seal_events(&api.app).await.unwrap() > 0 {}
    id
}

/// Every actor in an answer, as `name (subject)`.
fn actors(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| actors(item, found)),
        Value::Object(members) => {
            if let (Some(Value::String(subject)), true) =
                (members.get("subject"), members.contains_key("token"))
            {
                found.push(match &members.get("name") {
                    Some(Value::String(name)) => format!("{name} ({subject})"),
                    _ => subject.clone(),
                });
            }
            members.values().for_each(|member| actors(member, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

db_test!(
    async fn names_stand_beside_subjects_wherever_people_are_read(db: TestDb) {
        let api = server(&db).await;
        let id = history(&api).await;
        person(&api, ADA, "Ada Lovelace", &["staff"]).await;
        for path in [
            "/deployments",
            &format!("/deployments/{id}"),
            "/decisions",
            "/services/shop/releases",
            "/services/shop/releases/1",
            "/services/shop/releases/2/approvals",
            "/services/shop/environments/prod",
            "/environments",
            "/environments/prod",
            "/freeze-windows",
        ] {
            let mut found = Vec::new();
            actors(&api.get(path).await.ok(200), &mut found);
            assert!(found.iter().any(|who| who == "Ada Lovelace (idp:42)"), "{path}: {found:?}");
            assert!(!found.iter().any(|who| who == ADA), "{path}: {found:?}");
        }
        let deployments = api.get("/deployments").await.ok(200);
        assert_eq!(deployments["items"][0]["initiated_by"], ADA);
        assert_eq!(deployments["items"][0]["initiator_name"], "Ada Lovelace");
        let events = api.get("/events").await.ok(200);
        assert_eq!(events["names"], json!({ (ADA): "Ada Lovelace" }));
        let mut found = Vec::new();
        actors(&events["items"], &mut found);
        assert!(
            found.iter().all(|who| !who.contains("Lovelace")),
            "an event is what it was when it was sealed: {found:?}"
        );
        let pending = api.get("/approvals/pending").await.ok(200);
        assert_eq!(pending["items"][0]["rejected_by"], json!([ADA]));
        assert_eq!(pending["items"][0]["names"], json!({ (ADA): "Ada Lovelace" }));
        assert_eq!(
            pending["items"][0]["asked_by"],
            json!({ "token": pending["items"][0]["asked_by"]["token"], "subject": "mira" })
        );
    }
);

db_test!(
    async fn pages_show_the_name_and_the_subject(db: TestDb) {
        let api = server(&db).await;
        let id = history(&api).await;
        let mut visitor = Visitor::of(&api);
        visitor.paste(api.secret()).await;
        let deployment = format!("/deployments/{id}");
        for path in [
            "/",
            "/services/shop",
            "/services/shop/environments/prod",
            "/services/shop/releases/2",
            "/deployments",
            &deployment,
            "/environments/prod",
            "/freeze-windows",
            "/audit",
        ] {
            let page = visitor.page(path).await;
            assert!(page.text.contains("Ada (idp:42)"), "{path}: {}", page.text);
        }
        for who in ["Ada", "Ada+(idp:42)", ADA] {
            for path in [format!("/search?q={who}"), format!("/deployments?actor={who}")] {
                let page = visitor.page(&path).await;
                let is_found = page.text.contains(&deployment);
                assert_eq!(is_found, path != "/deployments?actor=Ada", "{path}: {}", page.text);
            }
        }
    }
);

db_test!(
    async fn whoever_audits_sees_roles_and_who_is_signed_in(db: TestDb) {
        let api = server(&db).await;
        person(&api, ADA, "Ada", &["staff"]).await;
        let all = async |caller: &Api| {
            let (mut all, mut path) = (Vec::new(), "/access?limit=2".to_owned());
            loop {
                let page = caller.send(Method::GET, &path, &[], None).await.ok(200);
                all.extend(page["items"].as_array().unwrap().clone());
                let Some(next) = page["next_cursor"].as_str() else { break all };
                path = format!("/access?limit=2&cursor={next}");
            }
        };
        let auditor = api.token(&[Scope::Audit], None, None).await;
        let access = all(&auditor).await;
        let kinds: Vec<_> = access.iter().map(|one| one["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["role", "role", "role", "token", "session", "token"]);
        let pay = json!({ "kind": "role", "id": null, "name": "pay", "who": "idp: group pay", "scopes": ["record"],
            "groups": ["pay"], "services": ["pay"], "environments": null, "created_at": null, "expires_at": null });
        assert_eq!(access[2], pay);
        let session = &access[4];
        assert_eq!((&session["who"], &session["groups"]), (&json!("Ada (idp:42)"), &json!(["staff"])));
        let narrow = api.token(&[Scope::Audit], Some(&["pay"]), None).await;
        let seen: Vec<_> = all(&narrow).await.iter().map(|one| one["kind"].clone()).collect();
        assert_eq!(
            seen,
            ["role", "token"],
            "what reaches further is left out, a person with a wide role, too"
        );
    }
);
