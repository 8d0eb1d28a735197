//! An auditor asks in a real Chromium why something was allowed months ago, of a ledger that has gone on since:
//! `tests/people/auditor.mjs`.

use std::{fs, path::Path, process::Command};

use chrono::{DateTime, Datelike as _, NaiveDate, TimeDelta, Utc};
use regex::{Captures, Regex};
use reqwest::Method;
use sea_orm::{ConnectionTrait as _, Database};
use serde_json::json;
use waybill::{clock, domain::vocabulary::Scope};

use super::pages_browser::send;
use crate::support::{
    api::{Api, image, start_body},
    browser,
    db::TestDb,
    process::ServerProcess,
};

/// The fourteenth of the last March that is wholly over.
fn march(now: DateTime<Utc>) -> NaiveDate {
    let year = if now.month() > 3 { now.year() } else { now.year() - 1 };
    NaiveDate::from_ymd_opt(year, 3, 14).unwrap()
}

/// What a team did: 1.4.2 went to staging, was scanned, refused for production, approved, and deployed. Gives the token of an
/// auditor.
async fn history(api: &Api) -> String {
    for (rank, name) in ["staging", "prod"].iter().enumerate() {
        api.post("/environments", json!({ "name": name, "rank": rank })).await.ok(201);
    }
    let policy = json!({ "promotion": { "from": ["staging"] }, "vulnerabilities": { "max": { "critical": 0 } },
        "approval": { "required": 1, "groups": ["release-managers"] } });
    api.put("/environments/prod/policy", policy).await.ok(200);
    let mut start = start_body("shop/staging", "1.4.2");
    start["release"]["image"] = json!(image('a'));
    start["initiated_by"] = json!("ada");
    let ci = api.person("ci", &[Scope::Read, Scope::Deploy], &[]).await;
    let staged = ci.post("/deployments", start.clone()).await.ok(201);
    ci.finished(staged["deployment"]["id"].as_str().unwrap(), "succeeded").await;
    let scan = json!({ "scanner": "trivy", "scanned_at": clock::now(),
        "counts": { "critical": 0, "high": 2, "medium": 0, "low": 0, "unknown": 0 } });
    api.post("/services/shop/releases/1.4.2/scans", scan).await.ok(201);
    start["environment"] = json!("prod");
    ci.post("/deployments", start.clone()).await.problem(409, "gate-denied");
    let mira = api.person("mira", &[Scope::Read, Scope::Approve], &["release-managers"]).await;
    let voice = json!({ "environment": "prod", "decision": "approved", "image": image('a'),
        "comment": "the refunds are right again, seen in staging" });
    mira.post("/services/shop/releases/1.4.2/approvals", voice).await.ok(201);
    let started = ci.post("/deployments", start).await.ok(201);
    ci.finished(started["deployment"]["id"].as_str().unwrap(), "succeeded").await;
    api.person("vera", &[Scope::Read, Scope::Audit], &[]).await.secret().to_owned()
}

/// Moves a ledger that no server seals yet back by so many days, with all that is in it.
async fn move_back(db: &TestDb, days: i64) {
    let file = Path::new(db.url.strip_prefix("sqlite://").unwrap());
    let dump = Command::new("sqlite3").arg(file).arg(".dump").output().unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let day = Regex::new(r"\b(20\d\d-\d\d-\d\d)(T\d\d:\d\d:)").unwrap();
    let before = |found: &Captures<'_>| {
        let day: NaiveDate = found[1].parse().unwrap();
        format!("{}{}", day - TimeDelta::days(days), &found[2])
    };
    let moved = day.replace_all(std::str::from_utf8(&dump.stdout).unwrap(), before).into_owned();
    for end in ["", "-wal", "-shm"] {
        fs::remove_file(format!("{}{end}", file.display())).ok();
    }
    fs::write(file, "").unwrap();
    let empty = Database::connect(&db.url).await.unwrap();
    empty.execute_unprepared(&moved).await.unwrap();
    empty.close().await.unwrap();
}

/// What happened since: the rules became stricter, a scan found more, and another release runs.
async fn since_then(server: &ServerProcess) {
    let policy = json!({ "promotion": { "from": ["staging"] }, "vulnerabilities": { "max": { "critical": 0 } },
        "approval": { "required": 2, "groups": ["release-managers"] } });
    send(server, Method::PUT, "/environments/prod/policy", &policy).await;
    let scan = json!({ "scanner": "trivy", "scanned_at": clock::now(),
        "counts": { "critical": 1, "high": 2, "medium": 0, "low": 0, "unknown": 0 } });
    send(server, Method::POST, "/services/shop/releases/1.4.2/scans", &scan).await;
    let mut next = start_body("shop/prod", "1.5.0");
    next["status"] = json!("succeeded");
    next["started_at"] = json!(clock::now() - TimeDelta::minutes(2));
    next["finished_at"] = json!(clock::now() - TimeDelta::minutes(1));
    let recorded = send(server, Method::POST, "/deployments/record", &next).await;
    assert!(recorded["id"].is_string(), "{recorded}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_was_it_allowed_in_march() {
    let db = TestDb::sqlite().await;
    let api = Api::new(&db).await;
    let token = history(&api).await;
    api.app.db.clone().close().await;
    let day = march(clock::now());
    move_back(&db, (clock::now().date_naive() - day).num_days()).await;
    let mut server = ServerProcess::start(&db).await;
    api.secret().clone_into(&mut server.token);
    since_then(&server).await;
    let day = day.to_string();
    let env = [("SERVER", server.url.as_str()), ("TOKEN", &token), ("DAY", &day)];
    browser::run("auditor", &env, async |wish| panic!("nobody can {wish}")).await;
    server.terminate().await;
    db.assert_sound().await;
}
