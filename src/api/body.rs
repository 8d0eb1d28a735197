//! Bodies that come from elsewhere than a request of the API: a page's form asks for the same as an operation, and is read and
//! refused in the same words.

use poem_openapi::types::ParseFromJSON;
use serde_json::Value;

use crate::http::{
    problem::{Problem, from_framework::no_such_body},
    spec::Spec,
};

/// Reads what an operation takes as its body.
pub fn read<T: ParseFromJSON>(spec: &Spec, body: &Value) -> Result<T, Problem> {
    T::parse_from_json(Some(body.clone()))
        .map_err(|error| no_such_body(spec, &spec.component(&T::name()), body, error.message()))
}
