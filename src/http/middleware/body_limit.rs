//! Refuses bodies over the limit by counting what arrives, whatever the headers say. Reports of scanners are large and
//! have a limit of their own.
//!
//! Bodies stay streams: a request that fails before its body is needed never has it read. What was read is kept
//! for the error roof, which explains faults by it; the copy shares its memory with the body. Nothing is kept of a
//! report: its faults are explained by whoever reads it.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited, combinators::BoxBody};
use poem::{Body, Endpoint, Request, Response, Result, http::header};

use crate::http::{problem::from_framework::too_large, spec::Matched};

/// How much of a refused body is read, and for how long, to let its client get to the answer.
const DISCARDED_BYTES: usize = 64 * 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// The operation whose bodies may be larger.
const REPORTS: &str = "upload_scan";

/// How large a body may be, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// Of a scanner's report.
    pub report: usize,
    /// Of any other request.
    pub other: usize,
}

/// The part of a request's body that was read.
#[derive(Debug, Clone, Default)]
pub struct BodyCopy(Arc<Mutex<Vec<Bytes>>>);

impl BodyCopy {
    /// The bytes so far; the copy is empty afterwards.
    pub fn take(&self) -> Vec<u8> {
        let chunks = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        chunks.concat()
    }

    fn push(&self, chunk: Bytes) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(chunk);
    }
}

/// The middleware.
pub async fn body_limit<E>(next: Arc<E>, mut request: Request, limits: BodyLimits) -> Result<Response>
where
    E: Endpoint<Output = Response>,
{
    let is_report = Matched::id(&request) == Some(REPORTS);
    let limit = if is_report { limits.report } else { limits.other };
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if declared.and_then(|length| length.parse::<u64>().ok()).is_some_and(|length| length > limit as u64) {
        if !request.headers().contains_key(header::EXPECT) {
            discard(request.take_body()).await;
        }
        return Err(too_large().into());
    }
    let copy = request.data::<BodyCopy>().cloned().unwrap_or_default();
    let body: BoxBody<Bytes, io::Error> = request.take_body().into();
    let body = Limited::new(body, limit).map_err(io::Error::other).map_frame(move |frame| {
        if let Some(data) = frame.data_ref().filter(|_| !is_report) {
            copy.push(data.clone());
        }
        frame
    });
    request.set_body(Body::from(body.boxed()));
    next.call(request).await
}

/// Reads a body away. A client that is still writing when the connection closes sees a broken pipe and not why.
async fn discard(body: Body) {
    let mut body = Limited::new(BoxBody::from(body), DISCARDED_BYTES);
    let read = async { while let Some(Ok(_)) = body.frame().await {} };
    if tokio::time::timeout(DISCARD_TIMEOUT, read).await.is_err() {
        tracing::debug!("a refused body was not read to its end");
    }
}
