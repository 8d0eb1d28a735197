//! The history of a public project, replayed over HTTP; then the matrix, now and in the past, against a computation
//! that shares nothing with the server.

#[path = "../../examples/replay/plan.rs"]
pub mod plan;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use reqwest::Client;
use serde_json::{Value, json};

use self::plan::{ENVIRONMENTS, History, Step};
use crate::{
    db_test,
    support::{db::TestDb, process::ServerProcess},
};

pub const DATA: &str = include_str!("../data/podinfo-releases.json");
const NO_LIMITS: [(&str, &str); 2] =
    [("WAYBILL__LIMITS__REQUESTS_PER_SECOND", "1000000"), ("WAYBILL__LIMITS__BURST", "1000000")];

/// What a target shows: the current version and since when, the running version and since when, and how far it is
/// behind.
#[derive(Debug, PartialEq)]
struct Cell {
    current: Option<(String, DateTime<Utc>)>,
    running: Option<(String, DateTime<Utc>)>,
    behind: Option<usize>,
}

/// Looks through all steps, one environment after the other. `recorded` ones were never seen running.
fn expected(history: &History, steps: &[Step], recorded: bool, at: DateTime<Utc>) -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut newest_below: Option<usize> = None;
    for environment in ENVIRONMENTS {
        let mut current: Option<(String, DateTime<Utc>)> = None;
        let mut running = None;
        for step in steps {
            if step.environment != environment || step.started_at > at {
                continue;
            }
            if step.finished_at > at {
                if !recorded {
                    running = Some((step.version.clone(), step.started_at));
                }
            } else if step.succeeds && current.as_ref().is_none_or(|(version, _)| *version != step.version) {
                current = Some((step.version.clone(), step.finished_at));
            }
        }
        let number = current.as_ref().map(|(version, _)| {
            history.releases.iter().position(|release| release.version == *version).unwrap()
        });
        let behind = match (number, newest_below) {
            (Some(number), Some(newest)) => Some(newest.saturating_sub(number)),
            _ => None,
        };
        newest_below = newest_below.max(number);
        cells.push(Cell { current, running, behind });
    }
    cells
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

struct Replay {
    server: ServerProcess,
    client: Client,
    history: History,
}

impl Replay {
    async fn start(db: &TestDb) -> Self {
        let server = ServerProcess::start_with(db, &NO_LIMITS).await;
        let replay = Self { client: server.client(), server, history: serde_json::from_str(DATA).unwrap() };
        let service =
            json!({"name": replay.history.service, "repository_url": replay.history.repository_url});
        replay.post("/services", &service).await;
        for name in ENVIRONMENTS {
            replay.post("/environments", &json!({"name": name})).await;
        }
        for (release, number) in replay.history.releases.iter().zip(1..) {
            let path = format!("/services/{}/releases", replay.history.service);
            let made = replay.post(&path, &serde_json::to_value(release).unwrap()).await;
            assert_eq!(made["number"], number, "{made}");
            assert_eq!(made["changes"].as_array().unwrap().len(), release.changes.len(), "{made}");
        }
        replay
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let url = self.server.at(&format!("/api/v1{path}"));
        let answer = self.client.post(url).json(body).send().await.unwrap();
        let (status, answer) = (answer.status(), answer.json::<Value>().await.unwrap());
        assert!(status.is_success(), "{path} {body}: {status} {answer}");
        answer
    }

    async fn matrix(&self, at: Option<DateTime<Utc>>) -> Vec<Cell> {
        let query = at.map(|at| format!("?as_of={}", at.to_rfc3339_opts(SecondsFormat::Micros, true)));
        let url = self.server.at(&format!("/api/v1/matrix{}", query.unwrap_or_default()));
        let matrix: Value = self.client.get(url).send().await.unwrap().json().await.unwrap();
        let occupant = |value: &Value| {
            let version = value["version"].as_str()?.to_owned();
            let release = self.history.releases.iter().find(|release| release.version == version).unwrap();
            assert_eq!(value["commit_sha"], release.commit_sha, "{value}");
            Some((version, time(&value["since"])))
        };
        let services = matrix["services"].as_array().unwrap();
        if services.is_empty() {
            // Nobody knew of the service yet.
            return ENVIRONMENTS.map(|_| Cell { current: None, running: None, behind: None }).into();
        }
        assert_eq!(services.len(), 1, "{matrix}");
        let targets = services[0]["targets"].as_array().unwrap();
        let names: Vec<_> = targets.iter().map(|target| target["environment"].as_str().unwrap()).collect();
        assert_eq!(names, ENVIRONMENTS);
        let cell = |target: &Value| Cell {
            current: occupant(&target["current"]),
            running: occupant(&target["running"]),
            behind: target["behind"].as_u64().map(|behind| usize::try_from(behind).unwrap()),
        };
        targets.iter().map(cell).collect()
    }

    async fn check(&self, steps: &[Step], recorded: bool, moments: &[DateTime<Utc>]) {
        for at in moments {
            let (found, right) =
                (self.matrix(Some(*at)).await, expected(&self.history, steps, recorded, *at));
            assert_eq!(found, right, "as of {at}");
        }
        let right = expected(&self.history, steps, recorded, DateTime::<Utc>::MAX_UTC);
        assert_eq!(self.matrix(None).await, right, "now");
    }
}

/// The moments that are easiest to get wrong: when a rollback takes effect, right before it, after a redeployment of
/// what was current, and while a deployment into prod is under way; and one in the middle of nowhere.
fn moments(steps: &[Step]) -> Vec<DateTime<Utc>> {
    let last = |kind: &str| steps.iter().rfind(|step| step.kind == kind).unwrap();
    let rollback = last("rollback").finished_at;
    let under_way = steps.iter().rfind(|step| step.environment == "prod" && step.succeeds).unwrap();
    let middle = steps[0].started_at + (rollback - steps[0].started_at) / 2;
    vec![
        rollback,
        rollback - TimeDelta::microseconds(1),
        last("redeploy").finished_at,
        under_way.started_at,
        middle,
        steps[0].started_at - TimeDelta::microseconds(1),
    ]
}

#[test]
fn the_plan_has_something_of_everything() {
    let history: History = serde_json::from_str(DATA).unwrap();
    assert!(history.releases.is_sorted_by_key(|release| release.committed_at));
    let steps = plan::plan(&history);
    for environment in ENVIRONMENTS {
        assert!(steps.iter().filter(|step| step.environment == environment && step.succeeds).count() > 20);
    }
    for kind in ["rollback", "redeploy"] {
        assert!(steps.iter().filter(|step| step.kind == kind).count() > 1, "{kind}");
    }
    assert!(steps.iter().filter(|step| !step.succeeds).count() > 5);
    let right = expected(&history, &steps, false, moments(&steps)[3]);
    assert!(
        right.iter().any(|cell| cell.running.is_some()) && right.iter().any(|cell| cell.behind > Some(0))
    );
}

db_test!(
    async fn a_recorded_history_gives_the_matrix_of_every_moment(db: TestDb) {
        let replay = Replay::start(&db).await;
        let steps = plan::plan(&replay.history);
        for step in &steps {
            let body = json!({
                "service": replay.history.service,
                "environment": step.environment,
                "version": step.version,
                "kind": step.kind,
                "status": if step.succeeds { "succeeded" } else { "failed" },
                "started_at": step.started_at,
                "finished_at": step.finished_at,
            });
            replay.post("/deployments/record", &body).await;
        }
        replay.check(&steps, true, &moments(&steps)).await;
    }
);

db_test!(
    async fn a_live_history_gives_the_matrix_of_every_moment(db: TestDb) {
        let replay = Replay::start(&db).await;
        let mut steps = plan::plan(&replay.history);
        for step in &mut steps {
            let mut body = json!({
                "service": replay.history.service,
                "environment": step.environment,
                "version": step.version,
            });
            if step.kind == "rollback" {
                body["kind"] = json!("rollback");
            }
            let started = replay.post("/deployments", &body).await["deployment"].take();
            assert_eq!(started["kind"], step.kind, "{started}");
            let end = json!({"status": if step.succeeds { "succeeded" } else { "failed" }});
            let path = format!("/deployments/{}/finish", started["id"].as_str().unwrap());
            let finished = replay.post(&path, &end).await;
            step.started_at = time(&finished["started_at"]);
            step.finished_at = time(&finished["finished_at"]);
        }
        replay.check(&steps, false, &moments(&steps)).await;
    }
);
