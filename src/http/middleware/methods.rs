//! HEAD, OPTIONS and methods that a path does not have, answered alike on every path.

use std::sync::Arc;

use poem::{
    Endpoint, Request, Response, Result,
    http::{HeaderValue, Method, StatusCode, header},
};

use crate::http::{
    problem::{Code, Problem},
    spec::Matched,
};

/// The middleware. HEAD is answered as GET with its headers; the server leaves out the body.
pub async fn methods<E>(next: Arc<E>, mut request: Request) -> Result<Response>
where
    E: Endpoint<Output = Response>,
{
    let Some(Matched { path: Some(path), operation, .. }) = request.data::<Matched>() else {
        return next.call(request).await;
    };
    if request.method() == Method::OPTIONS {
        let mut response = Response::from(StatusCode::NO_CONTENT);
        if let Ok(allow) = HeaderValue::from_str(&path.allow()) {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        return Ok(response);
    }
    if operation.is_none() {
        let detail = format!("The path does not have the method {}.", request.method());
        return Err(Problem::new(Code::MethodNotAllowed, detail).allow(path.allow()).into());
    }
    if request.method() == Method::HEAD {
        request.set_method(Method::GET);
    }
    next.call(request).await
}
