//! The server inside the test: everything that it serves, without a socket and without its workers, so that nothing
//! but the test's own requests reaches the database.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use poem::{EndpointExt as _, Response, endpoint::BoxEndpoint, http::Method, test::TestClient};
use serde_json::Value;
use waybill::{
    api::{
        self,
        ops::{Checks, Readiness},
        routes::{Shell, routes},
    },
    app::App,
    config::{Config, DatabaseConfig},
    metrics::Metrics,
    middleware::rate_limit::RateLimiter,
    shutdown::Shutdown,
    store::db::Db,
    usecase::tokens::bootstrap,
};

const TOKEN: &str = "test-bootstrap-token-0123456789abcdef";

/// A server that answers this test only.
pub struct Inside {
    client: TestClient<BoxEndpoint<'static, Response>>,
}

struct AlwaysReady;

impl Readiness for AlwaysReady {
    fn checks(&self) -> BoxFuture<'_, Checks> {
        async { Checks::default() }.boxed()
    }
}

impl Inside {
    /// A server on a migrated database.
    pub async fn on(database_url: &str) -> Self {
        let database = DatabaseConfig {
            url: database_url.parse().unwrap(),
            max_connections: 2,
            ..DatabaseConfig::default()
        };
        let config = Config { database, ..Config::default() };
        let db = Db::connect(&config.database).await.unwrap();
        bootstrap(&db, Some(&TOKEN.into())).await.unwrap();
        let metrics = Arc::new(Metrics::new("0", "0").unwrap());
        let shell = Shell {
            public_url: "http://waybill.test".to_owned(),
            request_timeout: Duration::from_secs(30),
            body_limit: 1024 * 1024,
            serve_metrics: false,
            metrics: Arc::clone(&metrics),
            readiness: Arc::new(AlwaysReady),
            shutdown: Shutdown::new(),
        };
        let app = App { config: Arc::new(config), db, metrics };
        let limiter = RateLimiter::new(NonZeroU32::MAX, NonZeroU32::MAX);
        let endpoint = routes(api::service(), &shell).unwrap().data(app).data(Arc::new(limiter));
        Self { client: TestClient::new(endpoint.map_to_response().boxed()) }
    }

    /// Sends a request as the admin, and returns what it is answered with success.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let mut request = self.client.request(method, format!("/api/v1{path}"));
        request = request.header("authorization", format!("Bearer {TOKEN}"));
        if let Some(body) = body {
            request = request.body_json(body);
        }
        let answer = request.send().await;
        let status = answer.0.status();
        let text = answer.0.into_body().into_string().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }
}
