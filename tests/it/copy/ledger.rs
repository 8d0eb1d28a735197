//! A ledger with something of everything, and all that the API answers about it.

use std::{collections::BTreeMap, time::Duration};

use sea_orm::{ConnectionTrait as _, EntityTrait as _, IntoActiveModel as _, Statement};
use serde_json::{Value, json};
use waybill::{
    domain::vocabulary::Scope,
    store::entity::sign_in_code,
    usecase::{
        sessions::{self, From, Vouched},
        upkeep,
    },
};

use crate::support::{
    api::{Api, commit, id_of, image, start_body},
    db::TestDb,
    issuer::{Issuer, Key},
};

const TEXT: &str = "it's \"quoted\" \\ back\\slash\ttab\nline; DROP TABLE event; -- \u{1f680} \u{e9}\u{301} \u{4e2d}\u{6587} %s $1";

/// Who asks: with these secrets everything has to look the same in the copy.
pub struct Callers {
    pub admin: String,
    narrowed: String,
}

/// Requests that were made under an idempotency key, to be made again.
pub fn kept() -> [(&'static str, &'static str, Value); 2] {
    [
        ("key-1", "/services", json!({ "name": "kept", "description": TEXT })),
        ("Key-1 /x", "/deployments", start_body("kept/dev", "1")),
    ]
}

/// Fills the source, closes it, and tells what it answers.
pub async fn filled(db: &TestDb) -> (Callers, Answers) {
    let gitlab = Issuer::start("gitlab", Key::ec()).await;
    let api = Api::with(db, |config| gitlab.configure(config)).await;
    fill_registry(&api).await;
    fill_history(&api).await;
    fill_identities(&api, &gitlab).await;
    api.app.db.clone().close().await;
    // As the copy, whose server knows no issuer.
    let api = Api::without_token(db, |_| {}).await.bearing(api.secret());
    let narrowed = api.token(&[Scope::Read], Some(&["shop"]), Some(&["dev", "prod"])).await;
    while upkeep::seal_events(&api.app).await.unwrap() > 0 {}
    // These wait for the relay.
    api.patch("/services/shop", json!({ "owner": "somebody else" })).await.ok(200);
    api.deployed("shop/dev", "9").await;
    let callers = Callers { admin: api.secret().to_owned(), narrowed: narrowed.secret().to_owned() };
    let answers = answers(&api, &callers).await;
    assert_every_column_is_used(&api).await;
    api.app.db.clone().close().await;
    (callers, answers)
}

async fn fill_registry(api: &Api) {
    let service = json!({
        "name": "shop", "display_name": "Shop \u{1f6d2}", "description": TEXT, "owner": "team \"\u{fc}\"",
        "repository_url": "https://git.example.com/shop?a=%27b", "labels": { "tier": "1", "note": "it's" },
    });
    api.post("/services", service).await.ok(201);
    for name in ["old", "pay"] {
        api.post("/services", json!({ "name": name })).await.ok(201);
    }
    api.delete("/services/old").await.ok(200);
    for (name, rank) in [("dev", 10), ("staging", 20), ("prod", 30), ("gone", 40)] {
        let environment = json!({ "name": name, "rank": rank, "url": format!("https://{name}.example.com") });
        api.post("/environments", environment).await.ok(201);
    }
    api.delete("/environments/gone").await.ok(200);
    let release = json!({
        "version": "1", "commit_sha": commit("1"), "image": image('a'), "ref": "refs/heads/m\u{e4}in",
        "committed_at": "2026-01-02T03:04:05.678901Z", "pipeline_url": "https://ci.example.com/1",
        "initiated_by": "Zo\u{eb} O'Neil", "labels": { "a": "b" },
        "changes": [{ "sha": commit("1"), "committed_at": "2026-01-02T03:04:05.000001Z", "title": TEXT }],
    });
    let mut late = release.clone();
    (late["version"], late["image"]) = (json!("0.9"), Value::Null);
    api.post("/services/shop/releases", late.clone()).await.ok(201);
    late["image"] = json!(image('f'));
    api.post("/services/shop/releases", late).await.ok(200);
    let mut whole = release.clone();
    whole["platforms"] = json!([{ "os": "linux", "architecture": "arm", "variant": "v6",
        "digest": image('e').rsplit_once('@').map(|(_, digest)| digest) }]);
    api.post("/services/shop/releases", whole).await.ok(201);
    let mut elsewhere = release;
    elsewhere["image"] = json!(image('a').replace(".com", ".org"));
    api.post("/services/shop/releases", elsewhere).await.ok(200);
    let token = json!({
        "name": "ci", "subject": TEXT.split('\n').next(), "scopes": ["read", "deploy"],
        "services": ["shop"], "environments": ["dev"], "expires_at": "2099-12-31T23:59:59.999999Z",
    });
    let made = api.post("/tokens", token.clone()).await.ok(201);
    api.delete(&format!("/tokens/{}", id_of(&made))).await.ok(204);
    // The name is free again: two rows have it.
    api.post("/tokens", token).await.ok(201);
    for (key, path, body) in kept() {
        api.post_once(key, path, body).await.ok(201);
    }
}

async fn fill_history(api: &Api) {
    api.deployed("shop/prod", "1").await;
    let second = api.deployed("shop/prod", "2").await;
    api.deployed("shop/prod", "2").await;
    let mut back = start_body("shop/prod", "1");
    (back["kind"], back["release"]) = (json!("rollback"), Value::Null);
    (back["reason"], back["remediates"]) = (json!(TEXT), second["id"].clone());
    (back["initiated_by"], back["pipeline_url"]) = (json!("somebody"), json!("https://ci.example.com/2"));
    let back = api.post("/deployments", back).await.ok(201)["deployment"].take();
    api.finished(&id_of(&back), "succeeded").await;
    for status in ["failed", "canceled"] {
        let id = api.started("shop/staging", "2").await;
        let end = json!({ "status": status, "message": TEXT });
        api.post(&format!("/deployments/{id}/finish"), end).await.ok(200);
    }
    expire_and_finish_late(api).await;
    fill_people(api).await;
    let mut lifted = start_body("pay/prod", "1");
    lifted["override"] = json!({ "reason": "the house burns, and \"how\"" });
    api.post("/deployments", lifted).await.ok(201);
    let running = api.started("shop/qa", "3").await;
    let beat = json!({ "message": TEXT, "phase": "canary", "traffic_percent": 10 });
    api.post(&format!("/deployments/{running}/heartbeat"), beat).await.ok(200);
    for _ in 0..2 {
        api.start("shop/qa", "4").await.problem(409, "gate-denied");
    }
    let mut recorded = start_body("pay/staging", "1");
    (recorded["status"], recorded["ungated"]) = (json!("succeeded"), json!(true));
    recorded["started_at"] = json!("2026-02-01T00:00:00.000001Z");
    recorded["finished_at"] = json!("2026-02-01T00:00:00.999999Z");
    api.post("/deployments/record", recorded).await.ok(201);
    fill_scans(api).await;
    fill_freezes(api).await;
    fill_waivers(api).await;
}

async fn fill_scans(api: &Api) {
    for hour in ["09", "10"] {
        let report = json!({
            "SchemaVersion": 2, "CreatedAt": format!("2026-02-01T{hour}:00:00.000001Z"), "ArtifactName": image('a'),
            "Metadata": { "ImageConfig": { "architecture": "arm64" } },
            "Results": [{ "Vulnerabilities": [
                { "VulnerabilityID": "CVE-2026-1", "VendorIDs": ["GHSA-aaaa"], "PkgName": "it's \"quoted\"",
                  "InstalledVersion": "1", "FixedVersion": "2", "Severity": "HIGH" },
                { "VulnerabilityID": "CVE-2026-1", "PkgName": "other" },
            ] }],
        });
        api.post("/services/shop/releases/1/scans", report).await.ok(201);
    }
}

/// Windows of the far future and of rare days, so that they hold nothing up.
async fn fill_freezes(api: &Api) {
    let once = json!({
        "name": "it's \"once\"", "reason": TEXT, "environments": ["dev", "prod"],
        "starts_at": "2099-01-01T00:00:00.000001Z", "ends_at": "2099-12-31T23:59:59.999999Z",
    });
    api.post("/freeze-windows", once).await.ok(201);
    let recurring = json!({
        "name": "leap day", "reason": TEXT, "tiers": ["other", "production"], "services": ["pay", "shop"],
        "start_cron": "0 3 29 2 *", "end_cron": "1 3 29 2 *", "timezone": "Australia/Lord_Howe",
    });
    api.post("/freeze-windows", recurring).await.ok(201);
}

async fn fill_waivers(api: &Api) {
    let waiver = json!({ "vulnerability": "CVE-2026-1", "reason": TEXT, "services": ["shop"], "environments": ["prod", "dev"],
        "expires_at": waybill::clock::now() + chrono::TimeDelta::days(300) });
    api.post("/waivers", waiver.clone()).await.ok(201);
    let gone = id_of(&api.post("/waivers", waiver).await.ok(201));
    api.delete(&format!("/waivers/{gone}")).await.ok(204);
}

/// A trust, a pipeline that it let in and that deploys, somebody who has signed in, and a code that waits.
async fn fill_identities(api: &Api, gitlab: &Issuer) {
    let trust = json!({
        "name": "robot", "issuer": "gitlab", "claims": { "project_id": "4711", "/a\u{e9}~1b": "**" },
        "environment_map": { "d\u{e9}v": "dev" }, "scopes": ["read", "deploy"], "groups": ["release-managers"],
        "services": ["robot"], "environments": ["dev"],
    });
    api.post("/trusts", trust).await.ok(201);
    let claims = gitlab.gitlab(&json!({ "environment": "d\u{e9}v", "a\u{e9}/b": TEXT }));
    let id_token = gitlab.sign(&claims);
    let given = api.anonymous().post("/auth/exchange", json!({ "id_token": id_token })).await.ok(200);
    let mut body = start_body("robot/dev", "1");
    body["release"]["commit_sha"] = claims["sha"].clone();
    api.bearing(given["token"].as_str().unwrap()).post("/deployments", body).await.ok(201);
    let zoe = Vouched {
        issuer: "gitlab".to_owned(),
        subject: "gitlab:42".to_owned(),
        name: Some("Zo\u{eb}".to_owned()),
        groups: ["release-managers".to_owned()].into(),
    };
    let from = From { place: Some(TEXT.to_owned()), ..From::default() };
    let session = sessions::begin_vouched(&api.app, zoe, &from).await.unwrap().session;
    let code = sign_in_code::Model {
        id: waybill::clock::new_id(),
        code_hash: vec![5; 32],
        user_code: Some("BCDF-GHJK".to_owned()),
        challenge: "challenge".to_owned(),
        client: TEXT.to_owned(),
        session_id: Some(session.principal.token_id),
        created_at: session.created_at,
        expires_at: session.created_at,
        network: Some("192.0.2.1".to_owned()),
    };
    let sql = api.sql().await;
    sign_in_code::Entity::insert(code.into_active_model()).exec_without_returning(&sql).await.unwrap();
    sql.close().await.unwrap();
}

async fn expire_and_finish_late(api: &Api) {
    let mut body = start_body("pay/dev", "1");
    body["lease_seconds"] = json!(1);
    let late = id_of(&api.post("/deployments", body).await.ok(201)["deployment"]);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(upkeep::expire_leases(&api.app).await.unwrap(), 1);
    api.started("pay/dev", "2").await;
    let finish = format!("/deployments/{late}/finish");
    api.post(&finish, json!({ "status": "succeeded" })).await.problem(409, "conflict");
}

/// A policy, a lockdown, and approvals that stand and that were withdrawn.
async fn fill_people(api: &Api) {
    let policy = json!({ "promotion": { "mode": "report", "from": ["dev"] }, "image": { "mode": "report", "require_digest": true } });
    api.put("/environments/prod/policy", policy).await.ok(200);
    api.put("/environments/staging/lockdown", json!({ "reason": TEXT })).await.ok(200);
    let approvals = "/services/shop/releases/1/approvals";
    for decision in ["rejected", "approved"] {
        let said = json!({ "environment": "prod", "decision": decision, "comment": TEXT });
        api.post(approvals, said).await.ok(201);
    }
}

/// So that a migration that adds a table or a column is not forgotten here.
async fn assert_every_column_is_used(api: &Api) {
    let sql = api.sql().await;
    let columns = "SELECT t.name AS t, c.name AS c FROM sqlite_master t JOIN pragma_table_info(t.name) c \
                   WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' AND t.name <> 'seaql_migrations'";
    let backend = sql.get_database_backend();
    let mut unused = Vec::new();
    for row in sql.query_all_raw(Statement::from_string(backend, columns)).await.unwrap() {
        let (table, column): (String, String) =
            (row.try_get("", "t").unwrap(), row.try_get("", "c").unwrap());
        let query = format!("SELECT COUNT(\"{column}\") AS n FROM \"{table}\"");
        let row = sql.query_one_raw(Statement::from_string(backend, query)).await.unwrap().unwrap();
        if row.try_get::<i64>("", "n").unwrap() == 0 {
            unused.push(format!("{table}.{column}"));
        }
    }
    sql.close().await.unwrap();
    assert_eq!(unused, [""; 0], "no row of the test's ledger has a value there");
}

/// Everything that can be read, by caller and path, page after page.
pub type Answers = BTreeMap<String, String>;

/// Asks for everything, as everybody.
pub async fn answers(api: &Api, callers: &Callers) -> Answers {
    let mut answers = Answers::new();
    let admin = api.bearing(&callers.admin);
    ask(&admin, "admin", &mut answers).await;
    ask(&api.bearing(&callers.narrowed), "narrowed", &mut answers).await;
    read(&admin, "admin", "/tokens?limit=2", &mut answers).await;
    answers
}

async fn ask(api: &Api, who: &str, answers: &mut Answers) {
    for list in ["services", "environments"] {
        read(api, who, &format!("/{list}?limit=1"), answers).await;
        read(api, who, &format!("/{list}?archived=true"), answers).await;
    }
    for list in [
        "/services/shop",
        "/environments/prod",
        "/services/shop/releases?limit=2",
        "/services/shop/releases/1",
        "/services/shop/releases/1/scans?limit=1",
        "/vulnerabilities/GHSA-AAAA",
        "/services/shop/releases/1/approvals",
        "/environments/prod/policy",
        "/approvals/pending",
        "/deployments?limit=3",
        "/events?limit=7",
        "/waivers?all=true&limit=1",
        "/freeze-windows?limit=1",
        "/freeze-windows/calendar?from=2099-06-01T00:00:00Z&to=2099-06-02T00:00:00Z",
        "/events?service=shop&limit=200",
        "/events/head",
    ] {
        read(api, who, list, answers).await;
    }
    let mut moments =
        vec!["2026-02-01T00:00:00.500000Z".to_owned(), "2026-02-01T00:00:00.999999Z".to_owned()];
    let deployments = api.get("/deployments?limit=200").await.ok(200)["items"].take();
    for deployment in deployments.as_array().unwrap() {
        read(api, who, &format!("/deployments/{}", id_of(deployment)), answers).await;
        let (service, environment) = (&deployment["service"], &deployment["environment"]);
        let (service, environment) = (service.as_str().unwrap(), environment.as_str().unwrap());
        read(api, who, &format!("/services/{service}/environments/{environment}"), answers).await;
        let times = ["started_at", "finished_at"].map(|time| deployment[time].as_str().map(str::to_owned));
        moments.extend(times.into_iter().flatten());
    }
    for moment in moments {
        read(api, who, &format!("/matrix?as_of={moment}"), answers).await;
    }
    let mut now = api.get("/matrix").await.ok(200);
    assert!(now["as_of"].take().is_string());
    answers.insert(format!("{who} /matrix"), now.to_string());
}

/// Reads a path, and the pages that follow it.
async fn read(api: &Api, who: &str, path: &str, answers: &mut Answers) {
    let mut page = path.to_owned();
    loop {
        let answer = api.get(&page).await;
        let headers = format!("{:?} {:?}", answer.header("etag"), answer.header("link"));
        answers.insert(format!("{who} {page}"), format!("{} {headers} {}", answer.status, answer.text));
        let next = answer.json()["next_cursor"].as_str().map(str::to_owned);
        let Some(next) = next.filter(|_| answer.status == 200) else { return };
        let separator = if path.contains('?') { '&' } else { '?' };
        page = format!("{path}{separator}cursor={next}");
    }
}
