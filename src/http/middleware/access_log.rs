//! One line in the log and one observation in the metrics for every request, also for one whose client has gone.
//!
//! Neither carries the query, a header or anything of the body: they may hold secrets.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use poem::{
    Endpoint, Request, Response, Result,
    http::{Method, StatusCode},
};
use tracing::Instrument as _;

use super::request_id::RequestId;
use crate::{http::spec::Matched, metrics::Metrics, telemetry::REQUEST};

/// What a request that fits no operation is called, so that the number of labels stays bounded.
pub const UNMATCHED: &str = "unmatched";

/// The status for a request whose client went away before the response, as nginx has it.
const CLIENT_GONE: u16 = 499;

/// The name of the token behind a request, told to the access log by whoever authenticates.
#[derive(Debug, Clone, Default)]
pub struct ActorName(Arc<OnceLock<String>>);

impl ActorName {
    /// Names the actor of this request; the first name stays.
    pub fn set(request: &Request, name: &str) {
        if let Some(actor) = request.data::<Self>() {
            actor.0.get_or_init(|| name.to_owned());
        }
    }
}

/// The middleware.
pub async fn access_log<E>(next: Arc<E>, mut request: Request, metrics: Arc<Metrics>) -> Result<Response>
where
    E: Endpoint<Output = Response>,
{
    let actor = ActorName::default();
    request.set_data(actor.clone());
    let mut entry = Entry {
        request_id: RequestId::of(&request).unwrap_or_default(),
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        operation: Matched::id(&request).unwrap_or(UNMATCHED).to_owned(),
        actor,
        started: Instant::now(),
        status: None,
        metrics,
    };
    // A span of the highest level, so that no filter takes the id from a line that it lets through.
    let span = tracing::error_span!(REQUEST, request_id = entry.request_id, operation = entry.operation);
    let response = next.get_response(request).instrument(span).await;
    entry.status = Some(response.status());
    Ok(response)
}

/// Written when dropped, because the server drops the future of a request whose client has gone.
struct Entry {
    request_id: String,
    method: Method,
    path: String,
    operation: String,
    actor: ActorName,
    started: Instant,
    status: Option<StatusCode>,
    metrics: Arc<Metrics>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        let status = self.status.map_or(CLIENT_GONE, |status| status.as_u16());
        self.metrics.observe_request(&self.method, &self.operation, status, elapsed);
        let duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let actor = self.actor.0.get().map(String::as_str);
        let Self { request_id, method, path, operation, .. } = self;
        // Probes and scrapes come every few seconds and tell nothing as long as they succeed.
        if matches!(operation.as_str(), "livez" | "readyz" | "metrics") && status < 400 {
            tracing::debug!(request_id, %method, path, operation, actor, status, duration_ms, "served");
        } else {
            tracing::info!(request_id, %method, path, operation, actor, status, duration_ms, "served");
        }
    }
}
