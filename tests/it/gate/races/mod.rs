//! Starts that race with all that the gate reads, from two processes on one database: no decision but what the state at
//! its `evaluated_at` says. That state is told by the audit log, and what it says by the model of the rules.

mod history;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use chrono::TimeDelta;
use futures_util::future::join_all;
use poem::http::Method;
use reqwest::Client;
use sea_orm::{ConnectionTrait as _, Database, DbBackend, Statement};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;
use waybill::clock;

use self::history::{History, question, text};
use crate::{
    gate::model::{
        edits::time,
        heard,
        ledger::Ledger,
        policy::{ENFORCE, OFF, Policy},
        rules::{self, Finding},
    },
    support::{
        api::{commit, image},
        db::TestDb,
        eventually,
        process::ServerProcess,
        random::Random,
    },
};

const NO_LIMITS: [(&str, &str); 3] = [
    ("WAYBILL__LIMITS__REQUESTS_PER_SECOND", "1000000"),
    ("WAYBILL__LIMITS__BURST", "1000000"),
    ("WAYBILL__LEDGER__ROLLBACK_DEPTH", "2"),
];
const WORKERS: u64 = 10;
const STEPS: u32 = 120;
const SERVICES: [&str; 2] = ["shop", "pay"];
const ENVIRONMENTS: [&str; 3] = ["dev", "staging", "prod"];
const VERSIONS: [&str; 4] = ["1", "2", "3", "4"];

/// What the workers tell each other.
#[derive(Default)]
struct Shared {
    running: Vec<String>,
    windows: Vec<String>,
    /// By whom, and where they are withdrawn.
    voices: Vec<(usize, String)>,
    policies: BTreeMap<(String, i64), Policy>,
}

struct Traffic {
    urls: [String; 2],
    admin: Client,
    scanner: Client,
    deployers: Vec<Client>,
    approvers: Vec<Client>,
    shared: Mutex<Shared>,
}

/// One of several who do things at the same time.
struct Worker {
    traffic: Arc<Traffic>,
    random: Random,
}

impl Traffic {
    async fn new(servers: [&ServerProcess; 2]) -> Self {
        let admin = servers[0].client();
        let urls = servers.map(|server| server.at("/api/v1"));
        let spelled = async |name: &str, subject: &str, scopes: &[&str]| {
            let body =
                json!({ "name": format!("{name}-{}", scopes.len()), "subject": subject, "scopes": scopes });
            let made = admin.post(format!("{}/tokens", urls[0])).json(&body).send().await.unwrap();
            let made: Value = made.json().await.unwrap();
            ServerProcess::client_of(&text(&made["token"]))
        };
        let token = async |subject: &str, scopes: &[&str]| spelled(subject, subject, scopes).await;
        let scanner = token("scanner", &["read", "attest"]).await;
        let deployers =
            vec![token("eve", &["read", "deploy"]).await, token("hank", &["read", "deploy"]).await];
        let mut approvers = Vec::new();
        for (name, subject) in [("ann", "ann"), ("ann-again", "Ann"), ("ben", "ben"), ("eve", "ＥＶＥ")] {
            approvers.push(spelled(name, subject, &["read", "approve", "record"]).await);
        }
        Self { urls, admin, scanner, deployers, approvers, shared: Mutex::default() }
    }

    /// Asks one of the servers. Whatever goes wrong, it is none of the server's faults.
    async fn ask(
        &self,
        client: &Client,
        server: usize,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let mut request =
            client.request(method.as_str().parse().unwrap(), format!("{}{path}", self.urls[server]));
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let said = answer.text().await.unwrap();
        assert!(status < 500, "{path}: {status} {said}");
        (status, serde_json::from_str(&said).unwrap_or_default())
    }

    /// All pages of a list.
    async fn all(&self, path: &str, by: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let (_, page) =
                self.ask(&self.admin, 0, Method::GET, &format!("{path}&limit=200{cursor}"), None).await;
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next_cursor"].as_str() else { return items };
            cursor = format!("&{by}={next}");
        }
    }

    async fn registered(&self) {
        for name in ENVIRONMENTS {
            self.ask(&self.admin, 0, Method::POST, "/environments", Some(&json!({ "name": name }))).await;
        }
        for service in SERVICES {
            self.ask(&self.admin, 0, Method::POST, "/services", Some(&json!({ "name": service }))).await;
            for (version, digit) in VERSIONS.iter().zip('a'..) {
                let body =
                    json!({ "version": version, "commit_sha": commit(version), "image": image(digit) });
                let path = format!("/services/{service}/releases");
                self.ask(&self.admin, 0, Method::POST, &path, Some(&body)).await;
            }
            for environment in ENVIRONMENTS {
                let body = json!({ "service": service, "environment": environment, "version": "1" });
                let (_, started) =
                    self.ask(&self.deployers[0], 0, Method::POST, "/deployments", Some(&body)).await;
                self.finish(&self.deployers[0], 0, &text(&started["deployment"]["id"]), "succeeded").await;
            }
        }
    }

    async fn finish(&self, client: &Client, server: usize, id: &str, status: &str) {
        let body = json!({ "status": status });
        self.ask(client, server, Method::POST, &format!("/deployments/{id}/finish"), Some(&body)).await;
    }
}

fn policy(random: &mut Random, environment: &str) -> Policy {
    let mut policy = Policy::default();
    let sources = ENVIRONMENTS.iter().copied().filter(|other| *other != environment).collect::<Vec<_>>();
    // Each of two environments may be promoted from the other: their starts lock the same targets in another order.
    policy.promotion.from = random.some(&sources);
    let promotes = !policy.promotion.from.is_empty() && !random.once_in(3);
    policy.promotion.mode = if promotes { ENFORCE } else { OFF };
    policy.promotion.all = random.once_in(2);
    policy.approval.mode = *random.pick(&[ENFORCE, OFF]);
    policy.vulnerabilities.mode = *random.pick(&[ENFORCE, OFF]);
    policy.vulnerabilities.max[0] = Some(0);
    policy.freeze.exempt_kinds = random.some(&["rollback", "redeploy"]);
    policy.outdated = *random.pick(&[ENFORCE, OFF, OFF]);
    policy
}

impl Worker {
    async fn ask(
        &mut self,
        client: &Client,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let server = usize::from(self.random.once_in(2));
        self.traffic.ask(client, server, method, path, body).await
    }

    fn taken<T>(&mut self, from: impl Fn(&mut Shared) -> &mut Vec<T>) -> Option<T> {
        let mut shared = self.traffic.shared.lock().unwrap();
        let list = from(&mut shared);
        let place = usize::try_from(self.random.below(list.len().max(1) as u64)).unwrap();
        (!list.is_empty()).then(|| list.swap_remove(place))
    }

    async fn step(&mut self) {
        match self.random.below(30) {
            0..11 => self.start().await,
            11..18 => self.finish().await,
            18..21 => self.speak().await,
            21..23 => self.freeze().await,
            23..25 => self.set_policy().await,
            25..27 => self.lock_down().await,
            27..29 => self.scan().await,
            _ => self.edit().await,
        }
    }

    async fn start(&mut self) {
        let kind = *self.random.pick(&["deploy", "deploy", "rollback", "hotfix"]);
        let environment = *self.random.pick(&["prod", "prod", "staging", "dev"]);
        let preempt = kind == "rollback" && self.random.once_in(3);
        let (service, version) = (*self.random.pick(&SERVICES), *self.random.pick(&VERSIONS));
        let body = json!({ "service": service, "environment": environment, "version": version, "kind": kind,
            "preempt": preempt, "lease_seconds": 600 });
        let deployer = self.random.pick(&self.traffic.deployers).clone();
        let (status, started) = self.ask(&deployer, Method::POST, "/deployments", Some(&body)).await;
        if status == 201 {
            let id = text(&started["deployment"]["id"]);
            self.traffic.shared.lock().unwrap().running.push(id);
        }
    }

    async fn finish(&mut self) {
        let Some(id) = self.taken(|shared| &mut shared.running) else { return };
        let status = *self.random.pick(&["succeeded", "succeeded", "failed"]);
        let deployer = self.random.pick(&self.traffic.deployers).clone();
        let server = usize::from(self.random.once_in(2));
        self.traffic.finish(&deployer, server, &id, status).await;
    }

    async fn speak(&mut self) {
        if self.random.once_in(3)
            && let Some((approver, path)) = self.taken(|shared| &mut shared.voices)
        {
            let approver = self.traffic.approvers[approver].clone();
            self.ask(&approver, Method::DELETE, &path, None).await;
            return;
        }
        let (service, version) = (*self.random.pick(&SERVICES), *self.random.pick(&VERSIONS));
        let environment = *self.random.pick(&["prod", "prod", "staging"]);
        let decision = *self.random.pick(&["approved", "approved", "approved", "rejected"]);
        let body = json!({ "environment": environment, "decision": decision });
        let number = usize::try_from(self.random.below(self.traffic.approvers.len() as u64)).unwrap();
        let approver = self.traffic.approvers[number].clone();
        let path = format!("/services/{service}/releases/{version}/approvals");
        let (status, made) = self.ask(&approver, Method::POST, &path, Some(&body)).await;
        if status == 201 {
            let path = format!("{path}/{}", text(&made["id"]));
            self.traffic.shared.lock().unwrap().voices.push((number, path));
        }
    }

    async fn freeze(&mut self) {
        let admin = self.traffic.admin.clone();
        if self.random.once_in(5) || self.traffic.shared.lock().unwrap().windows.len() > 1 {
            let Some(id) = self.taken(|shared| &mut shared.windows) else { return };
            self.ask(&admin, Method::DELETE, &format!("/freeze-windows/{id}"), None).await;
            return;
        }
        let now = clock::now();
        let mut body = json!({ "name": "pause", "reason": "hands off", "starts_at": now - TimeDelta::hours(1),
            "ends_at": now + TimeDelta::milliseconds(*self.random.pick(&[40, 200, 60_000])) });
        match self.random.below(3) {
            0 => body["tiers"] = json!(["production"]),
            1 => body["tiers"] = json!(["staging", "testing"]),
            _ => body["environments"] = json!(["prod", "staging"]),
        }
        let (status, made) = self.ask(&admin, Method::POST, "/freeze-windows", Some(&body)).await;
        if status == 201 {
            self.traffic.shared.lock().unwrap().windows.push(text(&made["id"]));
        }
    }

    async fn set_policy(&mut self) {
        let environment = *self.random.pick(&["prod", "prod", "staging"]);
        let policy = policy(&mut self.random, environment);
        let (admin, path) = (self.traffic.admin.clone(), format!("/environments/{environment}/policy"));
        let (status, made) = self.ask(&admin, Method::PUT, &path, Some(&policy.body())).await;
        if status == 200 {
            let version = (environment.to_owned(), made["version"].as_i64().unwrap());
            let before = self.traffic.shared.lock().unwrap().policies.insert(version, policy.clone());
            assert!(before.is_none_or(|before| before == policy), "two policies of one version");
        }
    }

    async fn lock_down(&mut self) {
        let environment = *self.random.pick(&["prod", "staging"]);
        let (admin, path) = (self.traffic.admin.clone(), format!("/environments/{environment}/lockdown"));
        if self.random.once_in(5) {
            self.ask(&admin, Method::PUT, &path, Some(&json!({ "reason": "stop" }))).await;
        } else {
            self.ask(&admin, Method::DELETE, &path, None).await;
        }
    }

    async fn scan(&mut self) {
        let (service, version) = (*self.random.pick(&SERVICES), *self.random.pick(&VERSIONS));
        let critical = self.random.below(2);
        let body = json!({ "scanner": "other", "scanned_at": clock::now(),
            "counts": { "critical": critical, "high": 0, "medium": 0, "low": 0, "unknown": 0 } });
        let (scanner, path) =
            (self.traffic.scanner.clone(), format!("/services/{service}/releases/{version}/scans"));
        self.ask(&scanner, Method::POST, &path, Some(&body)).await;
    }

    async fn edit(&mut self) {
        let admin = self.traffic.admin.clone();
        let (environment, body) = match self.random.below(4) {
            0 => ("dev", json!({ "archived": true })),
            1 => ("dev", json!({ "archived": false })),
            2 => ("staging", json!({ "archived": self.random.once_in(2) })),
            _ => (
                "staging",
                json!({ "archived": false, "tier": *self.random.pick(&["staging", "testing", "other"]) }),
            ),
        };
        self.ask(&admin, Method::PATCH, &format!("/environments/{environment}"), Some(&body)).await;
    }
}

async fn race(traffic: &Arc<Traffic>, seed: u64) {
    let workers = (0..WORKERS).map(|number| {
        let traffic = Arc::clone(traffic);
        let mut worker = Worker { traffic, random: Random(seed * WORKERS + number) };
        TaskTracker::new().spawn(async move {
            for _ in 0..STEPS {
                worker.step().await;
            }
        })
    });
    for worker in join_all(workers).await {
        worker.unwrap();
    }
}

/// The audit log, once all that has happened is in it.
async fn log(traffic: &Traffic) -> Vec<Value> {
    let mark = json!({ "name": "mark" });
    traffic.ask(&traffic.admin, 0, Method::POST, "/services", Some(&mark)).await;
    eventually("the end of the audit log", async || {
        let events = traffic.all("/events?", "after_seq").await;
        events.iter().any(|event| event["service"] == "mark").then_some(events)
    })
    .await
}

/// Every reason that must have come up.
const CODES: [&str; 7] = [
    "concurrent-deployment",
    "lockdown",
    "freeze-window",
    "promotion-missing",
    "approval-missing",
    "approval-rejected",
    "vulnerability-budget",
];

/// What the log comes to is what the servers show.
async fn nothing_is_lost(traffic: &Traffic, ledger: &Ledger) {
    let get = async |path: &str| traffic.ask(&traffic.admin, 1, Method::GET, path, None).await.1;
    for (name, environment) in &ledger.environments {
        let shown = get(&format!("/environments/{name}")).await;
        assert_eq!(shown["lockdown"].is_object(), environment.locked_down, "{shown}");
        assert_eq!(shown["archived"], environment.archived, "{shown}");
        assert_eq!(shown["tier"], environment.tier, "{shown}");
        let shown = get(&format!("/environments/{name}/policy")).await;
        assert_eq!(shown["policy"]["promotion"], environment.policy.body()["promotion"], "{shown}");
        assert_eq!(shown["policy"]["approval"], environment.policy.body()["approval"], "{shown}");
    }
    let ids = |list: Vec<Value>| list.iter().map(|one| text(&one["id"])).collect::<BTreeSet<_>>();
    let windows = ids(traffic.all("/freeze-windows?", "cursor").await);
    assert_eq!(windows, ledger.windows.keys().cloned().collect());
    let mut voices = BTreeSet::new();
    for (service, version) in SERVICES.iter().flat_map(|service| VERSIONS.map(|version| (service, version))) {
        let path = format!("/services/{service}/releases/{version}/approvals?");
        let mut said = traffic.all(&path, "cursor").await;
        said.retain(|one| one["withdrawn_at"].is_null());
        voices.extend(ids(said));
    }
    assert_eq!(voices, ledger.voices.keys().cloned().collect());
    for ((service, environment), target) in &ledger.targets {
        let shown = get(&format!("/services/{service}/environments/{environment}")).await;
        let current = target.current().map(|current| current.version.as_str());
        assert_eq!(shown["current"]["version"].as_str(), current, "{shown}");
        assert_eq!(shown["running"]["deployment_id"].as_str(), target.running.as_deref(), "{shown}");
    }
}

/// Everybody takes the locks in one order: a circle costs the one that the database lets go of a second, and may cost it
/// the request.
async fn nobody_waited_in_a_circle(db: &TestDb) {
    let direct = Database::connect(db.url.as_str()).await.unwrap();
    let sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let row = direct.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await.unwrap().unwrap();
    assert_eq!(row.try_get_by_index::<i64>(0).unwrap(), 0, "deadlocks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_start_slips_past_a_change_of_what_the_gate_reads() {
    let db = TestDb::postgres().await;
    let (one, two) =
        tokio::join!(ServerProcess::start_with(&db, &NO_LIMITS), ServerProcess::start_with(&db, &NO_LIMITS));
    let traffic = Arc::new(Traffic::new([&one, &two]).await);
    traffic.registered().await;
    race(&traffic, 1).await;
    nobody_waited_in_a_circle(&db).await;
    db.assert_sound().await;
    let events = log(&traffic).await;
    let mut decisions = traffic.all("/decisions?inputs=true", "cursor").await;
    decisions.sort_by_key(|decision| time(&decision["evaluated_at"]));
    let policies = traffic.shared.lock().unwrap().policies.clone();
    let mut history = History::new(events, policies, &decisions);
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for decision in &decisions {
        let question = question(decision);
        history.until(question.at);
        let right = rules::answer(&history.ledger, &question);
        assert_eq!(heard(decision), right, "{question:?}: {decision}");
        assert_eq!(decision["deployment_id"].is_string(), right.allowed, "{decision}");
        for (_, finding) in right.rules.values() {
            let code = if let Finding::Fails(code, _) = finding { code } else { "" };
            *seen.entry(code).or_default() += 1;
        }
        *seen.entry(if right.allowed { "allowed" } else { "denied" }).or_default() += 1;
    }
    history.until(clock::now() + TimeDelta::days(1));
    nothing_is_lost(&traffic, &history.ledger).await;
    assert!(CODES.iter().all(|code| seen.contains_key(code)) && seen["allowed"] > 30, "{seen:?}");
}
