//! Bounds what one request can do to the server: a panic becomes an answer, and so does a request that takes
//! too long.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use poem::{Endpoint, Request, Response, Result};

use crate::http::{
    problem::{Code, Problem},
    spec::Matched,
};

/// The operation that waits on purpose.
const WAIT: &str = "wait_gate";

/// Answers a panic with a problem and logs its message.
pub async fn catch_panic<E>(next: Arc<E>, request: Request) -> Result<Response>
where
    E: Endpoint<Output = Response>,
{
    match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => {
            tracing::error!(panic = message(panic.as_ref()), "a request panicked");
            Err(Problem::internal().into())
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

/// How long requests may take, their bodies included.
#[derive(Debug, Clone, Copy)]
pub struct TimeLimits {
    /// How long one may wait on purpose, beyond what others take.
    pub wait: Duration,
    /// Any other.
    pub other: Duration,
}

/// Gives up on a request, its body included, when its time is up. Dropping it leaves nothing half done: what it
/// had begun in the database is rolled back.
pub async fn time_limit<E>(next: Arc<E>, request: Request, limits: TimeLimits) -> Result<Response>
where
    E: Endpoint<Output = Response>,
{
    let waits = Matched::id(&request) == Some(WAIT);
    let limit = if waits { limits.other + limits.wait } else { limits.other };
    match tokio::time::timeout(limit, next.call(request)).await {
        Ok(result) => result,
        Err(_elapsed) => {
            Err(Problem::new(Code::Unavailable, "The request took too long and was given up.").into())
        }
    }
}

/// Refuses an address with a NUL in it: no name has one, and PostgreSQL has no such text.
pub async fn refuse_nul<E>(next: Arc<E>, request: Request) -> Result<Response>
where
    E: Endpoint<Output = Response>,
{
    let query = request.uri().query().unwrap_or_default();
    if request.uri().path().contains("%00") || query.contains("%00") {
        return Err(Problem::new(Code::InvalidRequest, "The address must not hold a NUL (%00).").into());
    }
    next.call(request).await
}
