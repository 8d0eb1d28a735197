//! Turns every error of the framework into a problem, without its words: they name Rust types and repeat input.

use std::{error::Error as StdError, io};

use http_body_util::LengthLimitError;
use poem::{
    Error,
    error::{NotFoundError, ReadBodyError},
    http::StatusCode,
};
use poem_openapi::error::{ContentTypeError, ParseParamError, ParsePathError, ParseRequestPayloadError};
use serde_json::Value;

use super::{Code, FieldError, Problem, body_faults};
use crate::http::spec::{Matched, Operation, Schema, Spec};

/// What is known about the request that failed.
#[derive(Clone, Copy)]
pub struct Failed<'a> {
    /// What it asked for.
    pub matched: Option<&'a Matched>,
    /// As much of the body as was read.
    pub body: &'a [u8],
}

impl Failed<'_> {
    fn operation(&self) -> Option<&Operation> {
        self.matched?.operation.as_deref()
    }
}

/// The problem for an error; a fault of our own is logged here, with its cause, and nowhere else.
pub fn from_framework(error: &Error, failed: Failed<'_>) -> Problem {
    if let Some(problem) = error.downcast_ref::<Problem>() {
        return problem.clone();
    }
    if let Some(error) = error.downcast_ref::<ParseRequestPayloadError>() {
        return body_problem(&error.reason, failed);
    }
    if let Some(ParsePathError { name, reason }) = error.downcast_ref() {
        let known = failed.operation().and_then(|operation| operation.path_parameter(name));
        return parameter_problem(known.unwrap_or(name), "path", reason);
    }
    if let Some(ParseParamError { name, reason }) = error.downcast_ref() {
        let location = failed.operation().and_then(|operation| operation.location_of(name));
        return parameter_problem(name, location.unwrap_or("query"), reason);
    }
    if let Some(error) = error.downcast_ref::<ReadBodyError>() {
        return unreadable(error);
    }
    if let Some(error) = error.downcast_ref::<ContentTypeError>() {
        return Problem::new(Code::UnsupportedMediaType, content_type_detail(error));
    }
    by_status(error)
}

/// The problem for a body that did not arrive whole.
pub fn unreadable(error: &ReadBodyError) -> Problem {
    if is_too_large(error) {
        return too_large();
    }
    Problem::new(Code::InvalidRequest, "The body could not be read.")
}

/// The problem for a body over the limit.
pub fn too_large() -> Problem {
    Problem::new(Code::PayloadTooLarge, "The body is larger than this server takes.")
}

fn is_too_large(error: &ReadBodyError) -> bool {
    match error {
        ReadBodyError::PayloadTooLarge => true,
        ReadBodyError::Io(error) => is_length_limit(error),
        ReadBodyError::BodyHasBeenTaken | ReadBodyError::Utf8(_) => false,
    }
}

/// The framework wraps the body's error into an `io::Error`, which hides what it wraps from `source`.
fn is_length_limit(error: &io::Error) -> bool {
    let Some(inner) = error.get_ref() else { return false };
    let inner: &(dyn StdError + 'static) = inner;
    inner.is::<LengthLimitError>() || inner.downcast_ref::<io::Error>().is_some_and(is_length_limit)
}

fn content_type_detail(error: &ContentTypeError) -> &'static str {
    match error {
        ContentTypeError::NotSupported { .. } => "The body must be sent as `application/json`.",
        ContentTypeError::ExpectContentType => {
            "The request has no `Content-Type`; send the body as `application/json`."
        }
    }
}

fn by_status(error: &Error) -> Problem {
    let status = error.status();
    let (code, detail) = match status {
        StatusCode::UNAUTHORIZED => (Code::Unauthenticated, "Send a token as `Authorization: Bearer wb_…`."),
        StatusCode::FORBIDDEN => (Code::Forbidden, "The token does not permit this."),
        StatusCode::NOT_FOUND if error.is::<NotFoundError>() => {
            (Code::NotFound, "There is nothing at this path.")
        }
        StatusCode::NOT_FOUND => (Code::NotFound, "There is no such thing."),
        StatusCode::METHOD_NOT_ALLOWED => (Code::MethodNotAllowed, "The path does not have this method."),
        StatusCode::CONFLICT => (Code::Conflict, "The state of the thing does not permit this."),
        StatusCode::PRECONDITION_FAILED => (Code::Stale, "The thing has changed since it was read."),
        StatusCode::PAYLOAD_TOO_LARGE => return too_large(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            (Code::UnsupportedMediaType, "The server does not take this media type.")
        }
        StatusCode::UNPROCESSABLE_ENTITY => (Code::InvalidInput, "The input is not valid."),
        StatusCode::TOO_MANY_REQUESTS => (Code::RateLimited, "There were too many requests."),
        StatusCode::SERVICE_UNAVAILABLE => (Code::Unavailable, "The server cannot answer now."),
        status if status.is_client_error() => (Code::InvalidRequest, "The request is malformed."),
        _ => {
            tracing::error!(%status, error = %error, "request failed");
            return Problem::internal();
        }
    };
    Problem::new(code, detail)
}

fn parameter_problem(name: &str, location: &str, reason: &str) -> Problem {
    let fault = FieldError::new(format!("/{location}/{name}"), "invalid", sentence(reason));
    Problem::new(Code::InvalidRequest, format!("The {location} parameter `{name}` is not valid."))
        .errors(vec![fault])
}

fn body_problem(reason: &str, failed: Failed<'_>) -> Problem {
    let body: Value = match serde_json::from_slice(failed.body) {
        Ok(body) => body,
        Err(_) if failed.body.is_empty() => {
            return Problem::new(Code::InvalidRequest, "The request needs a JSON body and has none.");
        }
        Err(error) => {
            return Problem::new(Code::InvalidRequest, format!("The body is not valid JSON: {error}."));
        }
    };
    match failed.operation().and_then(Operation::body).zip(failed.matched) {
        Some((schema, matched)) => no_such_body(&matched.spec, schema, &body, reason),
        None => misshapen(vec![fault_by_reason(reason, &body)]),
    }
}

/// The problem for a body that its schema does not fit, for the reason that the framework gives.
pub fn no_such_body(spec: &Spec, schema: &Schema, body: &Value, reason: &str) -> Problem {
    let mut faults = body_faults::faults(spec, schema, body);
    if faults.is_empty() {
        faults.push(fault_by_reason(reason, body));
    }
    misshapen(faults)
}

fn misshapen(faults: Vec<FieldError>) -> Problem {
    let fields = if faults.len() == 1 { "A field" } else { "Several fields" };
    Problem::new(Code::InvalidInput, format!("{fields} of the body must be corrected; see `errors`."))
        .errors(faults)
}

/// A fault that the schema does not show; the reason may name a field, though not its parent.
fn fault_by_reason(reason: &str, body: &Value) -> FieldError {
    let named = reason.split('`').nth(1);
    let mut pointers = Vec::new();
    if let Some(name) = named {
        pointers_to(name, body, "", &mut pointers);
    }
    match pointers.as_slice() {
        [pointer] => FieldError::new(pointer, "invalid", sentence(reason)),
        _ => FieldError::new("", "invalid", sentence(reason)),
    }
}

fn pointers_to(name: &str, value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let pointer = body_faults::member(at, field);
                pointers_to(name, value, &pointer, found);
                if field == name {
                    found.push(pointer);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers_to(name, item, &body_faults::member(at, &index.to_string()), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Rewrites the framework's reason without type names and without the input that it repeats, as the domain's `parse`
/// functions put theirs.
fn sentence(reason: &str) -> String {
    let reason = reason.split(" (occurred while parsing").next().unwrap_or_default();
    if let Some(rest) = reason.strip_prefix("Expected input type \"") {
        return expected(rest.split('"').next().unwrap_or_default());
    }
    if reason.ends_with("expects an input value.") {
        return "is required".to_owned();
    }
    // What was parsed stands in front, once for each level: `failed to parse "T": …`.
    let mut words = reason;
    while let Some(rest) = words.strip_prefix("failed to parse \"") {
        let Some((_, rest)) = rest.split_once("\": ") else { break };
        words = rest;
    }
    let words = words.trim_end_matches('.');
    let mut letters = words.chars();
    letters.next().map_or_else(
        || "is not valid".to_owned(),
        |first| format!("{}{}", first.to_lowercase(), letters.as_str()),
    )
}

fn expected(kind: &str) -> String {
    let kind = match kind {
        _ if kind.starts_with("string_uuid") => "a UUID",
        _ if kind.starts_with("string_date-time") => "a time as in 2026-01-31T12:00:00Z",
        _ if kind.starts_with("string") => "a string",
        _ if kind.starts_with("integer") => "an integer",
        _ if kind.starts_with("number") => "a number",
        _ if kind.starts_with("bool") => "true or false",
        _ if kind.starts_with('[') => "an array",
        _ => "an object",
    };
    format!("must be {kind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_lose_type_names_and_input() {
        let cases = [
            (
                r#"Expected input type "string", found {"a":1}. (occurred while parsing "T")"#,
                "must be a string",
            ),
            (r#"Type "string" expects an input value."#, "is required"),
            (
                r#"failed to parse "string_uuid": invalid length: expected 32, found 1"#,
                "invalid length: expected 32, found 1",
            ),
            (r#"failed to parse "A": unknown field `x`. (occurred while parsing "B")"#, "unknown field `x`"),
            ("", "is not valid"),
        ];
        for (reason, expected) in cases {
            assert_eq!(sentence(reason), expected);
        }
    }

    #[test]
    fn a_named_field_is_pointed_to_only_when_there_is_one() {
        let reason = r#"failed to parse "T": field `name` verification failed. pattern("a")"#;
        let one = serde_json::json!({"a": [{"name": "x"}]});
        assert_eq!(fault_by_reason(reason, &one).pointer, "/a/0/name");
        let two = serde_json::json!({"a": {"name": "x"}, "name": "y"});
        assert_eq!(fault_by_reason(reason, &two).pointer, "");
    }

    #[test]
    fn an_unknown_error_is_internal_and_keeps_its_cause_to_itself() {
        let failed = Failed { matched: None, body: &[] };
        let error = Error::from_string("the password is hunter2", StatusCode::BAD_GATEWAY);
        let problem = from_framework(&error, failed);
        assert_eq!(problem.code(), Code::Internal);
        assert!(!problem.detail().contains("hunter2"));
    }
}
