//! A start and a finish cost so many round trips to PostgreSQL, however long the history is.

use serde_json::json;
use waybill::{domain::vocabulary::Scope, usecase::upkeep};

use crate::support::{
    api::Api,
    db::TestDb,
    issuer::{Issuer, Key},
    wire::Wire,
};

const START_MAX: usize = 10;
const FINISH_MAX: usize = 7;
/// Of a matrix after a change, and of one after none.
const MATRIX_MAX: usize = 9;
const MATRIX_AGAIN: usize = 1;
const GROWTH: usize = 300;
/// Enough for every connection of the pool to have seen every statement, which costs a round trip more for each.
const WARM_UP: usize = 40;
/// So often it is counted. The least counts, in case a connection sees a statement for the first time after all.
const COUNTED: usize = 5;

struct Counting {
    api: Api,
    wire: Wire,
    version: usize,
}

/// What a start by a pipeline's credential costs: as much as one by a token.
async fn start_by(api: &Api, wire: &Wire, version: &str) -> usize {
    wire.round_trips();
    let id = api.started("shop/prod", version).await;
    let start = wire.round_trips();
    api.finished(&id, "succeeded").await;
    start
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_by_a_pipeline_costs_as_much_as_one_by_a_token() {
    let db = TestDb::postgres().await;
    let wire = Wire::tap(&db.url).await;
    let gitlab = Issuer::start("gitlab", Key::ec()).await;
    let api = Api::with(&db, |config| {
        config.database.url = wire.url.parse().unwrap();
        config.database.max_connections = 2;
        gitlab.configure(config);
    });
    let api = api.await;
    let trust = json!({ "name": "shop", "issuer": "gitlab", "claims": { "project_id": "4711" }, "scopes": ["read", "deploy"] });
    api.post("/trusts", trust).await.ok(201);
    let id_token = gitlab.sign(&gitlab.gitlab(&json!({ "sha": null })));
    let exchanged = api.anonymous().post("/auth/exchange", json!({ "id_token": id_token })).await.ok(200);
    let pipeline = api.bearing(exchanged["token"].as_str().unwrap());
    let token = api.token(&[Scope::Read, Scope::Deploy], None, None).await;
    let mut least = [usize::MAX; 2];
    for round in 0..WARM_UP {
        for (who, caller) in [&token, &pipeline].into_iter().enumerate() {
            let start = start_by(caller, &wire, &format!("{round}.{who}")).await;
            least[who] = start.min(least[who]);
        }
    }
    println!("start by a token and by a pipeline: {least:?}");
    assert!(least[0] == least[1] && least[0] <= START_MAX, "{least:?}");
}

impl Counting {
    /// Starts a release that nobody has heard of before, lets it succeed, and counts both.
    async fn start_and_finish(&mut self) -> (usize, usize) {
        self.version += 1;
        self.wire.round_trips();
        let id = self.api.started("shop/prod", &format!("1.0.{}", self.version)).await;
        let start = self.wire.round_trips();
        self.api.post(&format!("/deployments/{id}/finish"), json!({"status": "succeeded"})).await.ok(200);
        (start, self.wire.round_trips())
    }

    /// What a start, a finish, a matrix after them and one more cost.
    async fn least(&mut self) -> [usize; 4] {
        let mut least = [usize::MAX; 4];
        for _ in 0..COUNTED {
            let ((start, finish), (matrix, again)) = (self.start_and_finish().await, self.matrix().await);
            for (least, now) in least.iter_mut().zip([start, finish, matrix, again]) {
                *least = now.min(*least);
            }
        }
        least
    }

    /// Reads the matrix twice, once the relay has caught up.
    async fn matrix(&self) -> (usize, usize) {
        while upkeep::seal_events(&self.api.app).await.unwrap() > 0 {}
        self.wire.round_trips();
        self.api.get("/matrix").await.ok(200);
        let first = self.wire.round_trips();
        self.api.get("/matrix").await.ok(200);
        (first, self.wire.round_trips())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_and_a_finish_cost_the_same_however_long_the_history_is() {
    let db = TestDb::postgres().await;
    let wire = Wire::tap(&db.url).await;
    let api = Api::with(&db, |config| {
        config.database.url = wire.url.parse().unwrap();
        config.database.max_connections = 2;
    });
    let api = api.await;
    for name in ["staging", "prod"] {
        api.post("/environments", json!({ "name": name })).await.ok(201);
    }
    let policy =
        json!({ "promotion": { "mode": "report", "from": ["staging"] }, "approval": { "mode": "report" } });
    api.put("/environments/prod/policy", policy).await.ok(200);
    let mut counting = Counting { api, wire, version: 0 };
    for _ in 0..WARM_UP {
        counting.start_and_finish().await;
        counting.matrix().await;
    }
    let young = counting.least().await;
    for _ in 0..GROWTH {
        counting.start_and_finish().await;
    }
    let old = counting.least().await;
    println!("start, finish, matrix, once more: {young:?}; {GROWTH} deployments later: {old:?}");
    let [start, finish, matrix, again] = old;
    assert!(start <= START_MAX && finish <= FINISH_MAX, "start {start}, finish {finish}");
    assert!(matrix <= MATRIX_MAX && again == MATRIX_AGAIN, "matrix {matrix}, once more {again}");
    assert_eq!(young[..2], old[..2]);
}
