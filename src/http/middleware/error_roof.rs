//! The one place where errors become responses.

use std::sync::Arc;

use poem::{Endpoint, Request, Response, Result};

use super::{body_limit::BodyCopy, request_id::RequestId};
use crate::{
    domain::address::Pages,
    http::{
        problem::{
            Context,
            from_framework::{Failed, from_framework},
        },
        spec::Matched,
    },
};

/// The middleware; nothing above it sees an error.
pub async fn error_roof<E>(
    next: Arc<E>,
    mut request: Request,
    public_url: Arc<str>,
    pages: Pages,
) -> Result<Response>
where
    E: Endpoint<Output = Response>,
{
    let context = Context {
        public_url: public_url.to_string(),
        pages,
        instance: Some(request.uri().path().to_owned()),
        request_id: RequestId::of(&request),
    };
    let matched = request.data::<Matched>().cloned();
    let body = BodyCopy::default();
    request.set_data(body.clone());

    let error = match next.call(request).await {
        Ok(response) => return Ok(response),
        // A redirect, say, that an operation returned as an error.
        Err(error) if error.status().as_u16() < 400 => return Ok(error.into_response()),
        Err(error) => error,
    };
    let problem = from_framework(&error, Failed { matched: matched.as_ref(), body: &body.take() });

    let mut response = problem.render(&context);
    // Only the framework's own conversion gives access to the data that was attached to an error.
    *response.extensions_mut() = error.into_response().extensions().clone();
    Ok(response)
}
