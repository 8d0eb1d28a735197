//! The pages in a real Chromium, of the real binary: `tests/people/pages.mjs`.

use serde_json::{Value, json};

use crate::support::{
    api::{id_of, start_body},
    browser,
    db::TestDb,
    process::ServerProcess,
};

/// Asks the API of a server as an admin, and gives what it answers.
pub async fn send(server: &ServerProcess, method: reqwest::Method, path: &str, body: &Value) -> Value {
    let url = server.at(&format!("/api/v1{path}"));
    server.client().request(method, url).json(body).send().await.unwrap().json().await.unwrap()
}

async fn start(server: &ServerProcess, target: &str, version: &str) -> Value {
    send(server, reqwest::Method::POST, "/deployments", &start_body(target, version)).await
}

async fn deploy(server: &ServerProcess, target: &str, version: &str) {
    let id = id_of(&start(server, target, version).await["deployment"]);
    let path = format!("/deployments/{id}/finish");
    send(server, reqwest::Method::POST, &path, &json!({ "status": "succeeded" })).await;
}

/// What the pages that change something have to show: an environment that is frozen and locked down, and a waiver. Gives the
/// path of the freeze window.
async fn acting(server: &ServerProcess) -> String {
    let (post, put) = (reqwest::Method::POST, reqwest::Method::PUT);
    let window = json!({
        "name": "Weekend", "reason": "word ".repeat(80), "tiers": ["production", "development"],
        "start_cron": "0 18 * * FRI", "end_cron": "0 8 * * MON", "timezone": "Europe/Berlin",
    });
    let window = send(server, post.clone(), "/freeze-windows", &window).await;
    let reason = json!({ "reason": "x".repeat(400) });
    send(server, put, "/environments/dev/lockdown", &reason).await;
    let until = (waybill::clock::now() + chrono::TimeDelta::days(30)).to_rfc3339();
    let waiver = json!({ "vulnerability": "CVE-2021-44228", "reason": "x".repeat(300), "expires_at": until });
    send(server, post, "/waivers", &waiver).await;
    format!("/freeze-windows/{}", id_of(&window))
}

/// The pages that are always there; the others are those of what the test makes.
const PAGES: &[&str] = &[
    "/",
    "/?as_of=2020-01-01",
    "/services",
    "/services/shop",
    "/services/shop?zoom=day&as_of=1m",
    "/services/shop/environments/prod",
    "/services/shop/environments/prod?as_of=1m",
    "/services/shop/releases/1.1",
    "/deployments",
    "/search?q=1.1",
    "/vulnerabilities/CVE-2021-44228",
    "/approvals",
    "/environments",
    "/environments/dev",
    "/environments/prod",
    "/environments/prod/policy",
    "/freeze-windows",
    "/audit",
    "/settings",
    "/settings/tokens",
    "/settings/trusts",
    "/settings/sessions",
    "/settings/waivers",
    "/settings/access",
    "/account",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_open_to_everybody_and_follows_what_happens() {
    let db = TestDb::sqlite().await;
    let server = ServerProcess::start(&db).await;
    for (target, version) in
        [("shop/dev", "1.0"), ("shop/prod", "1.0"), ("shop/dev", "1.1"), ("shop/prod", "1.1")]
    {
        deploy(&server, target, version).await;
    }
    let words = "word ".repeat(80) + &"x".repeat(400);
    let about =
        json!({ "description": words, "owner": words[..190].to_owned(), "labels": { "team": "shop" } });
    send(&server, reqwest::Method::PATCH, "/services/shop", &about).await;
    send(
        &server,
        reqwest::Method::PUT,
        "/environments/prod/policy",
        &json!({ "approval": { "required": 2 } }),
    )
    .await;
    let denied = start(&server, "shop/prod", "1.2").await;
    let running = id_of(&start(&server, "shop/dev", "1.2").await["deployment"]);
    let decision = denied["decision"]["id"].as_str().unwrap();
    let own = [format!("/deployments/{running}"), format!("/decisions/{decision}"), acting(&server).await];
    let paths: Vec<_> = PAGES.iter().map(ToString::to_string).chain(own).collect();
    let paths = json!(paths).to_string();
    let env =
        [("SERVER", server.url.as_str()), ("TOKEN", &server.token), ("RUNNING", &running), ("PATHS", &paths)];
    browser::run("pages", &env, async |wish| panic!("nobody can {wish}")).await;
}
