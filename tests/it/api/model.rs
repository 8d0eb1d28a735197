//! A random history, checked against an independent model and against what the matrix said while it happened.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use waybill::clock;

use crate::{
    db_test,
    support::api::{Api, id_of, image, start_body},
};

const STEPS: u32 = 60;
const TARGETS: [&str; 3] = ["shop/dev", "shop/prod", "pay/prod"];

/// A generator of the same numbers every time (Knuth's MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

/// A success as the model keeps it.
#[derive(Clone, Debug)]
struct Success {
    id: String,
    version: String,
    artefact: char,
    at: String,
}

/// What the model knows of a target: nothing but facts, from which it computes what the matrix must show.
#[derive(Clone, Debug, Default)]
struct Model {
    successes: Vec<Success>,
    /// Each run's id, version, start and, once it is over, end.
    runs: Vec<(String, String, String, Option<String>)>,
}

impl Model {
    /// The current deployment at a moment: its id, version and the start of its stay.
    fn current(&self, at: &str) -> Value {
        let mut past: Vec<_> = self.successes.iter().filter(|success| success.at.as_str() <= at).collect();
        past.sort_by(|a, b| a.at.cmp(&b.at));
        let Some(last) = past.last() else { return Value::Null };
        let stay = past.iter().rev().take_while(|success| success.artefact == last.artefact);
        json!([last.id, last.version, stay.last().unwrap().at])
    }

    fn running(&self, at: &str) -> Value {
        let run = self
            .runs
            .iter()
            .find(|(_, _, start, end)| start.as_str() <= at && end.as_deref().is_none_or(|end| at < end));
        run.map_or(Value::Null, |(id, version, start, _)| json!([id, version, start]))
    }
}

fn shown(occupant: &Value) -> Value {
    if occupant.is_null() {
        return Value::Null;
    }
    json!([occupant["deployment_id"], occupant["version"], occupant["since"]])
}

fn cells(matrix: &Value) -> BTreeMap<String, Value> {
    let mut cells = BTreeMap::new();
    for service in matrix["services"].as_array().unwrap() {
        for target in service["targets"].as_array().unwrap() {
            let name =
                format!("{}/{}", service["name"].as_str().unwrap(), target["environment"].as_str().unwrap());
            cells.insert(name, target.clone());
        }
    }
    cells
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn body(random: &mut Random, target: &str) -> (Value, char) {
    let artefact = *random.pick(&['a', 'b', 'c']);
    // Two versions share each digest.
    let version = format!("{artefact}-{}", random.below(2));
    let mut body = start_body(target, &version);
    body["release"]["image"] = json!(image(artefact));
    (body, artefact)
}

async fn start(api: &Api, random: &mut Random, target: &str, model: &mut Model) {
    let (mut body, _) = body(random, target);
    if random.below(4) == 0 {
        body["kind"] = json!("rollback");
        body["preempt"] = json!(random.below(2) == 0);
    }
    let answer = api.post("/deployments", body).await;
    if answer.status == 409 {
        return;
    }
    let started = answer.ok(201)["deployment"].clone();
    if let Some(run) = model.runs.last_mut().filter(|run| run.3.is_none()) {
        run.3 = Some(text(&api.deployment(&run.0).await["finished_at"]));
    }
    model.runs.push((id_of(&started), text(&started["version"]), text(&started["started_at"]), None));
}

async fn finish(api: &Api, random: &mut Random, model: &mut Model) {
    let Some(run) = model.runs.last_mut().filter(|run| run.3.is_none()) else { return };
    let status = *random.pick::<&str>(&["succeeded", "succeeded", "failed", "canceled"]);
    let ended = api.finished(&run.0, status).await;
    run.3 = Some(text(&ended["finished_at"]));
    succeed(model, &ended);
}

fn succeed(model: &mut Model, ended: &Value) {
    if ended["status"] == "succeeded" {
        let version = text(&ended["version"]);
        let artefact = version.chars().next().unwrap();
        model.successes.push(Success {
            id: id_of(ended),
            version,
            artefact,
            at: text(&ended["finished_at"]),
        });
    }
}

/// Puts a success on record somewhere in the last two hours.
async fn record(api: &Api, random: &mut Random, target: &str, began: DateTime<Utc>, model: &mut Model) {
    let (mut body, _) = body(random, target);
    let at = began - TimeDelta::milliseconds(i64::try_from(random.below(7_200_000)).unwrap());
    let at = at.to_rfc3339_opts(SecondsFormat::Micros, true);
    body["status"] = json!("succeeded");
    body["started_at"] = json!(at);
    body["finished_at"] = json!(at);
    let answer = api.post("/deployments/record", body).await;
    if answer.status == 201 {
        succeed(model, &answer.json());
    } else {
        answer.ok(409);
    }
}

async fn check(api: &Api, models: &BTreeMap<&str, Model>, at: &str, what: &str) {
    let matrix = api.get(&format!("/matrix?as_of={at}")).await.ok(200);
    let cells = cells(&matrix);
    for (target, model) in models {
        let empty = json!({});
        let cell = cells.get(*target).unwrap_or(&empty);
        assert_eq!(shown(&cell["current"]), model.current(at), "current of {target} at {at}, {what}");
        assert_eq!(shown(&cell["running"]), model.running(at), "running of {target} at {at}, {what}");
    }
}

async fn random_history(api: &Api, seed: u64, with_records: bool) {
    let random = &mut Random(seed);
    let began = clock::now();
    let mut models: BTreeMap<&str, Model> =
        TARGETS.iter().map(|target| (*target, Model::default())).collect();
    let mut said: Vec<Value> = Vec::new();
    for _ in 0..STEPS {
        let target = *random.pick(&TARGETS);
        let model = models.get_mut(target).unwrap();
        match random.below(if with_records { 6 } else { 4 }) {
            0 | 1 => start(api, random, target, model).await,
            2 | 3 => finish(api, random, model).await,
            _ => record(api, random, target, began, model).await,
        }
        said.push(api.get("/matrix").await.ok(200));
    }
    let now = text(&said.last().unwrap()["as_of"]);
    check(api, &models, &now, "now").await;
    let mut moments: Vec<String> = said.iter().map(|matrix| text(&matrix["as_of"])).collect();
    for model in models.values() {
        moments.extend(model.successes.iter().map(|success| success.at.clone()));
        moments.extend(model.runs.iter().flat_map(|run| [Some(run.2.clone()), run.3.clone()]).flatten());
    }
    for at in &moments {
        check(api, &models, at, &format!("seed {seed}")).await;
    }
    for target in TARGETS {
        check_succession(api, target).await;
    }
    if !with_records {
        // Nothing was put into the past, so the past is what the matrix said when it was the present.
        for then in said {
            let at = text(&then["as_of"]);
            let past = api.get(&format!("/matrix?as_of={at}")).await.ok(200);
            let (past, then) = (cells(&past), cells(&then));
            for (target, cell) in then {
                assert_eq!(past[&target], cell, "{target} at {at}, seed {seed}");
            }
        }
    }
}

/// Every success gives way to the next one of its target, and at most one to none.
async fn check_succession(api: &Api, target: &str) {
    let (service, environment) = target.split_once('/').unwrap();
    let path = format!("/deployments?service={service}&environment={environment}&status=succeeded&limit=200");
    let mut successes = api.get(&path).await.ok(200)["items"].as_array().unwrap().clone();
    successes.sort_by_key(|success| text(&success["finished_at"]));
    for pair in successes.windows(2) {
        assert_eq!(pair[0]["superseded_by"], pair[1]["id"], "{target}");
        assert_eq!(pair[0]["superseded_at"], pair[1]["finished_at"], "{target}");
    }
    if let Some(last) = successes.last() {
        assert_eq!(
            (&last["superseded_by"], &last["superseded_at"]),
            (&Value::Null, &Value::Null),
            "{target}"
        );
        assert_eq!(api.target(target).await["current"]["deployment_id"], last["id"]);
    }
}

/// Registers everything, so that what is shown of it does not depend on the moment.
async fn registered(api: &Api) {
    for name in ["shop", "pay"] {
        api.post("/services", json!({ "name": name })).await.ok(201);
        for artefact in ['a', 'b', 'c'] {
            for twin in 0..2 {
                let version = format!("{artefact}-{twin}");
                let mut release = crate::support::api::release(&version);
                release["version"] = json!(version);
                release["image"] = json!(image(artefact));
                api.post(&format!("/services/{name}/releases"), release).await.ok(201);
            }
        }
    }
    for name in ["dev", "prod"] {
        api.post("/environments", json!({ "name": name })).await.ok(201);
    }
}

db_test!(
    async fn the_past_is_what_the_matrix_said_when_it_was_the_present(db: TestDb) {
        let api = Api::new(&db).await;
        registered(&api).await;
        random_history(&api, 7, false).await;
        db.assert_sound().await;
    }
);

db_test!(
    async fn records_find_their_place_in_a_random_history(db: TestDb) {
        let api = Api::new(&db).await;
        registered(&api).await;
        random_history(&api, 42, true).await;
        db.assert_sound().await;
    }
);
