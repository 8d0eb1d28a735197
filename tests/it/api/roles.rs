//! People whose roles reach differently far: each thing that they do is judged by the reach of the very scope that it needs.

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use waybill::{
    clock,
    config::{issuer::IssuerConfig, people::RoleConfig},
    domain::vocabulary::Scope,
    usecase::{
        sessions::{self, From, Vouched},
        upkeep,
    },
};

use crate::{
    db_test,
    support::{
        api::{Api, start_body},
        db::TestDb,
    },
};

/// An admin, and somebody who reads everything and has these scopes in these environments, each by a role of its own.
async fn admin_and_person(db: &TestDb, roles: &[(Scope, &[&str])]) -> (Api, Api) {
    let role = |(scope, environments): &(Scope, &[&str])| RoleConfig {
        group: "staff".to_owned(),
        scopes: vec![*scope],
        services: Vec::new(),
        environments: environments.iter().map(ToString::to_string).collect(),
    };
    let admin = Api::with(db, |config| {
        config.server.public_url = "https://waybill.example.com".parse().ok();
        let (name, url) = ("idp".to_owned(), "https://idp.example.com".to_owned());
        config.auth.issuer = vec![IssuerConfig { name, url, ..IssuerConfig::default() }];
        config.auth.oidc.issuer = Some("idp".to_owned());
        config.auth.oidc.client_id = Some("waybill".to_owned());
        config.auth.role = [(Scope::Read, &[][..])].iter().chain(roles).map(role).collect();
    })
    .await;
    let person = signed_in(&admin, "idp:42").await;
    for environment in ["dev", "prod"] {
        admin.deployed(&format!("shop/{environment}"), "1").await;
    }
    (admin, person)
}

/// As a person for whom the issuer has vouched.
async fn signed_in(api: &Api, subject: &str) -> Api {
    let vouched = Vouched {
        issuer: "idp".to_owned(),
        subject: subject.to_owned(),
        name: None,
        groups: ["staff".to_owned()].into(),
    };
    let begun = sessions::begin_vouched(&api.app, vouched, &From::default()).await.unwrap();
    api.bearing(begun.secret.expose_secret())
}

/// Nothing but a hotfix goes anywhere.
async fn freeze(admin: &Api) {
    let policy = json!({ "freeze": { "exempt_kinds": ["hotfix"] } });
    for environment in ["dev", "prod"] {
        admin.put(&format!("/environments/{environment}/policy"), policy.clone()).await.ok(200);
    }
    let window = json!({ "name": "away", "reason": "nobody is here", "environments": ["dev", "prod"],
        "starts_at": clock::now() - chrono::TimeDelta::hours(1), "ends_at": "2126-01-02T00:00:00Z" });
    admin.post("/freeze-windows", window).await.ok(201);
}

fn question(environment: &str, also: &Value) -> Value {
    let mut question = json!({ "service": "shop", "environment": environment, "version": "1" });
    question.as_object_mut().unwrap().append(&mut also.as_object().unwrap().clone());
    question
}

db_test!(
    async fn the_gate_is_asked_with_each_scope_where_it_is_held(db: TestDb) {
        let dev: &[&str] = &["dev"];
        let roles = [(Scope::Deploy, dev), (Scope::Override, dev), (Scope::Hotfix, dev)];
        let (admin, person) = admin_and_person(&db, &roles).await;
        freeze(&admin).await;
        let why = json!({ "override": { "reason": "customers cannot pay" } });
        for also in [json!({ "record": true }), why] {
            let there = person.post("/gate/check", question("dev", &also)).await;
            there.ok(200);
            let elsewhere = person.post("/gate/check", question("prod", &also)).await;
            elsewhere.problem(403, "forbidden");
        }
        for (environment, allowed) in [("dev", true), ("prod", false)] {
            let hotfix = question(environment, &json!({ "kind": "hotfix" }));
            let answer = person.post("/gate/check", hotfix).await.ok(200);
            assert_eq!(answer["allowed"], allowed, "{environment}: {answer}");
            let query = format!("service=shop&environment={environment}&version=1&kind=hotfix&timeout=1");
            let answer = person.get(&format!("/gate/wait?{query}")).await.ok(200);
            assert_eq!(answer["allowed"], allowed, "{environment}: {answer}");
        }
    }
);

db_test!(
    async fn a_start_is_judged_with_each_scope_where_it_is_held(db: TestDb) {
        let dev: &[&str] = &["dev"];
        let roles = [(Scope::Deploy, &[][..]), (Scope::Override, dev), (Scope::Hotfix, dev)];
        let (admin, person) = admin_and_person(&db, &roles).await;
        freeze(&admin).await;
        let start = |environment: &str, name: &str, value: Value| {
            let mut body = start_body(&format!("shop/{environment}"), "1");
            body[name] = value;
            body
        };
        person.post("/deployments", start("prod", "kind", json!("hotfix"))).await.problem(409, "gate-denied");
        let made = person.post("/deployments", start("dev", "kind", json!("hotfix"))).await.ok(201);
        person.finished(made["deployment"]["id"].as_str().unwrap(), "succeeded").await;
        let why = json!({ "reason": "customers cannot pay" });
        person.post("/deployments", start("prod", "override", why.clone())).await.problem(403, "forbidden");
        person.post("/deployments", start("dev", "override", why)).await.ok(201);
    }
);

db_test!(
    async fn what_is_put_on_record_is_judged_with_each_scope_where_it_is_held(db: TestDb) {
        let (_, person) = admin_and_person(&db, &[(Scope::Record, &["dev"]), (Scope::Deploy, &[])]).await;
        let record = |environment: &str, ungated: bool| {
            let mut body = start_body(&format!("shop/{environment}"), "1");
            body["status"] = json!("succeeded");
            body["ungated"] = json!(ungated);
            body["started_at"] = json!(clock::now() - chrono::TimeDelta::minutes(5));
            body["finished_at"] = json!(clock::now() - chrono::TimeDelta::minutes(4));
            body
        };
        person.post("/deployments/record", record("dev", false)).await.ok(201);
        person.post("/deployments/record", record("prod", true)).await.ok(201);
        person.post("/deployments/record", record("prod", false)).await.problem(403, "forbidden");
    }
);

db_test!(
    async fn either_scope_locks_down_where_it_is_held(db: TestDb) {
        let (_, person) =
            admin_and_person(&db, &[(Scope::Override, &["dev"]), (Scope::Freeze, &["prod"])]).await;
        for environment in ["dev", "prod"] {
            let lockdown = format!("/environments/{environment}/lockdown");
            person.put(&lockdown, json!({ "reason": "stop" })).await.ok(200);
            person.delete(&lockdown).await.ok(204);
        }
        person
            .put("/environments/test/lockdown", json!({ "reason": "stop" }))
            .await
            .problem(404, "not-found");
    }
);

db_test!(
    async fn who_audits_one_environment_and_reads_all_sees_the_log_of_all(db: TestDb) {
        let (admin, person) = admin_and_person(&db, &[(Scope::Audit, &["dev"])]).await;
        while upkeep::seal_events(&admin.app).await.unwrap() > 0 {}
        let log = person.get("/events?kind=deployment.started").await.ok(200);
        let seen: Vec<_> =
            log["items"].as_array().unwrap().iter().map(|event| &event["environment"]).collect();
        assert_eq!(seen, ["dev", "prod"]);
        assert!(!person.get("/events").await.text.contains("token.created"));
        let access = person.get("/access").await.ok(200);
        let seen: Vec<_> =
            access["items"].as_array().unwrap().iter().map(|one| (&one["kind"], &one["scopes"])).collect();
        assert_eq!(seen, [(&json!("role"), &json!(["audit"]))], "nothing that reaches further");
    }
);

db_test!(
    async fn each_person_who_is_refused_is_told_of(db: TestDb) {
        let (admin, ada) = admin_and_person(&db, &[(Scope::Deploy, &[])]).await;
        let bob = signed_in(&admin, "idp:43").await;
        freeze(&admin).await;
        for _ in 0..2 {
            for person in [&ada, &bob] {
                person.start("shop/prod", "1").await.problem(409, "gate-denied");
            }
        }
        while upkeep::seal_events(&admin.app).await.unwrap() > 0 {}
        let log = admin.get("/events?kind=gate.denied").await.ok(200);
        let seen: Vec<_> =
            log["items"].as_array().unwrap().iter().map(|event| &event["actor"]["subject"]).collect();
        assert_eq!(seen, ["idp:42", "idp:43"]);
    }
);
