//! Refuses bodies over the limit by counting what arrives, whatever the headers say.
//!
//! Bodies stay streams: a request that fails before its body is needed never has it read. What was read is kept
//! for the error roof, which explains faults by it; the copy shares its memory with the body.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited, combinators::BoxBody};
use poem::{Body, Endpoint, Request, Response, Result, http::header};

use crate::api::framework::too_large;

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
pub async fn body_limit<E>(next: Arc<E>, mut request: Request, limit: usize) -> Result<Response>
where
    E: Endpoint<Output = Response>,
{
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if declared.and_then(|length| length.parse::<u64>().ok()).is_some_and(|length| length > limit as u64) {
        return Err(too_large().into());
    }
    let copy = request.data::<BodyCopy>().cloned().unwrap_or_default();
    let body: BoxBody<Bytes, io::Error> = request.take_body().into();
    let body = Limited::new(body, limit).map_err(io::Error::other).map_frame(move |frame| {
        if let Some(data) = frame.data_ref() {
            copy.push(data.clone());
        }
        frame
    });
    request.set_body(Body::from(body.boxed()));
    next.call(request).await
}
