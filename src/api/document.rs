//! What the document says of many operations alike, said once: how they fail, and that a POST may be sent with an
//! idempotency key.

use std::collections::HashMap;

use poem::{endpoint::BoxEndpoint, http::Method};
use poem_openapi::{
    OpenApi,
    registry::{MetaApi, MetaOperation, Registry},
};

use crate::{
    api::auth,
    http::problem::{Code, Problem},
};

/// Operations whose document is completed.
pub struct Completed<T>(pub T);

impl<T: OpenApi> OpenApi for Completed<T> {
    fn meta() -> Vec<MetaApi> {
        let mut apis = T::meta();
        for path in apis.iter_mut().flat_map(|api| &mut api.paths) {
            for operation in &mut path.operations {
                complete(&path.path, operation);
            }
        }
        apis
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn add_routes(self, routes: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {
        self.0.add_routes(routes);
    }
}

fn complete(path: &str, operation: &mut MetaOperation) {
    if operation.method == Method::POST {
        operation.params.push(auth::key_parameter());
    }
    let failures = failures(path, operation).into_iter().map(Problem::response);
    operation.responses.responses.extend(failures);
}

/// How an operation may fail. That it may not be asked at all, as with another method, is no failure of its own.
fn failures(path: &str, operation: &MetaOperation) -> Vec<Code> {
    let takes = |name: &str| operation.params.iter().any(|param| param.name == name);
    let (changes, has_body) = (operation.method != Method::GET, operation.request.is_some());
    let names_something = path.contains('{');
    // These name in their body or query what others name in their path, and may find a release that fits no target.
    let asks_gate = path.starts_with("/gate/");
    let judges = takes("If-Match") || (changes && path.ends_with("/approvals"));
    let mut codes = vec![Code::InvalidRequest, Code::Unauthenticated, Code::Forbidden];
    let may = [
        (names_something || asks_gate || path.ends_with("/calendar"), Code::NotFound),
        (changes || asks_gate || takes("preset"), Code::Conflict),
        (judges, Code::Stale),
        (has_body, Code::PayloadTooLarge),
        (has_body, Code::UnsupportedMediaType),
        (has_body, Code::InvalidInput),
    ];
    codes.extend(may.into_iter().filter_map(|(may, code)| may.then_some(code)));
    codes.extend([Code::RateLimited, Code::Internal, Code::Unavailable]);
    codes
}
