//! A small API, so that the shell around the real one can be tested alone.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use poem::{Endpoint, Response};
use poem_openapi::{
    Enum, Object, OpenApi, OpenApiService, SecurityScheme,
    auth::Bearer,
    param::{Path, Query},
    payload::{Json, PlainText},
};
use uuid::Uuid;
use waybill::{
    domain::address::Pages,
    http::{
        middleware::{access_log::ActorName, body_limit::BodyLimits, guard::TimeLimits},
        ops::{Check, Checks, Readiness},
        problem::{Code, Problem},
        routes::{Shell, routes},
    },
    metrics::Metrics,
    shutdown::Shutdown,
};

#[derive(SecurityScheme)]
#[oai(ty = "bearer")]
struct Auth(Bearer);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "kebab-case")]
enum Kind {
    Deploy,
    Rollback,
}

#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
struct Release {
    id: Uuid,
}

#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
struct Thing {
    name: String,
    size: u32,
    kind: Option<Kind>,
    release: Option<Release>,
}

pub struct Api;

#[OpenApi]
impl Api {
    #[oai(path = "/things", method = "post", operation_id = "create_thing")]
    async fn create(&self, body: Json<Thing>) -> Json<u32> {
        Json(body.0.size)
    }

    #[oai(path = "/things/:id", method = "get", operation_id = "get_thing")]
    async fn get(&self, id: Path<Uuid>, limit: Query<Option<u32>>) -> Result<PlainText<String>, Problem> {
        if id.0.is_nil() {
            return Err(Problem::new(Code::NotFound, "There is no such thing."));
        }
        Ok(PlainText(format!("{} {:?}", id.0, limit.0)))
    }

    #[oai(path = "/secret", method = "get", operation_id = "get_secret")]
    async fn secret(&self, auth: Auth, request: &poem::Request) -> PlainText<String> {
        ActorName::set(request, "robot");
        PlainText(auth.0.token)
    }

    #[oai(path = "/panic", method = "get", operation_id = "panic")]
    async fn panic(&self) -> PlainText<String> {
        panic!("the password is hunter2")
    }

    #[oai(path = "/slow", method = "get", operation_id = "slow")]
    async fn slow(&self, millis: Query<u64>) -> PlainText<&'static str> {
        tokio::time::sleep(Duration::from_millis(millis.0)).await;
        PlainText("done")
    }

    #[oai(path = "/broken", method = "get", operation_id = "broken")]
    async fn broken(&self) -> poem::Result<PlainText<String>> {
        Err(poem::error::InternalServerError(std::io::Error::other("the password is hunter2")))
    }
}

struct Ready(bool);

impl Readiness for Ready {
    fn checks(&self) -> BoxFuture<'_, Checks> {
        let check = if self.0 { Check::ok() } else { Check::unavailable("It is out of reach.") };
        async move { Checks::from([("database", check)]) }.boxed()
    }
}

/// A shell with small limits.
pub fn shell(ready: bool) -> Shell {
    Shell {
        public_url: "https://waybill.example".into(),
        pages: Pages::default(),
        time_limits: TimeLimits { wait: Duration::ZERO, other: Duration::from_millis(500) },
        body_limits: BodyLimits { report: 256, other: 256 },
        required: &[],
        serve_metrics: true,
        metrics: Arc::new(Metrics::new("1.2.3", "abc").unwrap()),
        readiness: Arc::new(Ready(ready)),
        shutdown: Shutdown::new(),
    }
}

/// The toy API in this shell.
#[expect(clippy::needless_pass_by_value, reason = "a test that needs the shell again clones it")]
pub fn app(shell: Shell) -> impl Endpoint<Output = Response> + 'static {
    routes(|| OpenApiService::new(Api, "Toy", "1").server("/api/v1"), |routes, _| routes, &shell).unwrap()
}
