//! Refuses query parameters that an operation does not have, or that come twice: a misspelt filter would otherwise be
//! ignored, and the answer read as if it were all there is.

use std::{collections::BTreeSet, sync::Arc};

use poem::{Endpoint, Request, Response, Result};
use url::form_urlencoded;

use crate::{
    domain::nearest::nearest,
    http::{
        problem::{Code, FieldError, Problem},
        spec::{Matched, Operation},
    },
};

/// So many faults of one address are named.
const FAULTS_MAX: usize = 20;

/// Looks at the query of every operation that the document describes.
pub async fn queries<E>(next: Arc<E>, request: Request) -> Result<Response>
where
    E: Endpoint<Output = Response>,
{
    let operation = request.data::<Matched>().and_then(|matched| matched.operation.as_deref());
    let faults = match (operation, request.uri().query()) {
        (Some(operation), Some(query)) => faults(operation, query),
        _ => Vec::new(),
    };
    if faults.is_empty() {
        return next.call(request).await;
    }
    let detail =
        "The address has query parameters that are not as they must be; `errors` names each of them.";
    Err(Problem::new(Code::InvalidRequest, detail).errors(faults).into())
}

fn faults(operation: &Operation, query: &str) -> Vec<FieldError> {
    let Some(known) = operation.query_parameters() else { return Vec::new() };
    let known: Vec<&str> = known.collect();
    let mut seen = BTreeSet::new();
    let faults = form_urlencoded::parse(query.as_bytes()).filter_map(|(name, _)| {
        let fault = |code, detail| Some(FieldError::new(format!("/query/{name}"), code, detail));
        if !known.contains(&name.as_ref()) {
            return fault("unknown", unknown(&name, &known));
        }
        if !seen.insert(name.clone()) {
            return fault("repeated", "must be given once".to_owned());
        }
        None
    });
    faults.take(FAULTS_MAX).collect()
}

fn unknown(name: &str, known: &[&str]) -> String {
    if known.is_empty() {
        return "is not a parameter of this, which has none".to_owned();
    }
    nearest(name, known).map_or_else(
        || format!("is not a parameter of this; it has {}", known.join(", ")),
        |meant| format!("is not a parameter of this; did you mean `{meant}`?"),
    )
}
