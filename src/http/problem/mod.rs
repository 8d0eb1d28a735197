//! What the API answers when it cannot do what was asked: RFC 9457 problem details.
//!
//! A problem is built without knowing the request; the error roof adds `type`, `instance` and `request_id` when it renders
//! it. What the framework refuses becomes one in [`from_framework`], and what a use case refuses in `api/problem.rs`.

mod body_faults;
mod code;
pub mod from_framework;
pub mod page;

use std::{fmt::Display, time::Duration};

use poem::{
    Response,
    error::ResponseError,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use poem_openapi::{
    ApiResponse, Object,
    registry::{MetaMediaType, MetaResponse, MetaResponses, Registry},
    types::{ToJSON, Type},
};
use serde_json::Value;

pub use self::code::Code;
use crate::domain::address::Pages;

/// The media type of a rendered problem.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// When to try again if the server cannot answer and nothing better is known.
const RETRY_UNAVAILABLE_SECONDS: u32 = 1;

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub struct FieldError {
    /// JSON pointer into the body (`/labels/team`), or `/path/…`, `/query/…`, `/header/…` for a parameter;
    /// empty for the whole body.
    pub pointer: String,
    /// A stable word for the kind of fault, such as `required` or `unknown`.
    pub code: String,
    /// The fault in a sentence.
    pub detail: String,
}

/// What is asked of those who probably meant something else.
pub fn guess(meant: &str) -> String {
    format!("Did you mean {meant}?")
}

impl FieldError {
    /// A fault at `pointer`.
    pub fn new(pointer: impl Into<String>, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code: code.into(), detail: detail.into() }
    }
}

/// An RFC 9457 problem.
#[derive(Debug, Object)]
#[oai(rename = "Problem", skip_serializing_if_is_none, skip_serializing_if_is_empty)]
struct Body {
    /// Names the kind of problem and leads to its description.
    #[oai(rename = "type")]
    kind: String,
    /// The kind of problem in a few words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened this time.
    detail: String,
    /// The path that was asked for.
    instance: Option<String>,
    /// The id under which the server's log has this request.
    request_id: Option<String>,
    /// Every field that is wrong.
    #[oai(default)]
    errors: Vec<FieldError>,
    /// The gate's decision, with every check (`gate-denied` only).
    decision: Option<Value>,
    /// The deployment whose lease cannot be renewed: its `id`, its `status`, and in `taken_by` what was started in its
    /// target since, or put on record; null if nothing was (`conflict` of a heartbeat only).
    deployment: Option<Value>,
    /// Where people see why, and what they can do about it: the decision of a `gate-denied`, the deployment of a heartbeat's
    /// `conflict`. Absent where the server was not told its own address (`server.public_url`).
    web_url: Option<String>,
}

/// What only the request and the configuration know about a problem.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// What `type` begins with.
    pub public_url: String,
    /// Where people find pages.
    pub pages: Pages,
    /// The path of the request.
    pub instance: Option<String>,
    /// The id of the request.
    pub request_id: Option<String>,
}

/// Why a request was not granted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}: {detail}", .code.slug())]
pub struct Problem {
    code: Code,
    detail: String,
    errors: Vec<FieldError>,
    retry_after_seconds: Option<u32>,
    allow: Option<Box<str>>,
    decision: Option<Box<Value>>,
    deployment: Option<Box<Value>>,
    page: Option<Box<str>>,
    meant: Option<Box<(String, String)>>,
}

impl Problem {
    /// A problem of this kind; `detail` is read by people.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_seconds: None,
            allow: None,
            decision: None,
            deployment: None,
            page: None,
            meant: None,
        }
    }

    /// The problem for a fault of our own. The cause belongs into the log and never into the answer.
    pub fn internal() -> Self {
        Self::new(Code::Internal, "The server failed to handle this request; its log has the request id.")
    }

    /// The same with these faulty fields.
    #[must_use]
    pub fn errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    /// The same with the time after which another attempt makes sense, in whole seconds and at least one.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.retry_after_seconds = Some(u32::try_from(seconds.max(1)).unwrap_or(u32::MAX));
        self
    }

    /// The same with the methods that the path has.
    #[must_use]
    pub fn allow(mut self, methods: impl Into<String>) -> Self {
        self.allow = Some(methods.into().into());
        self
    }

    /// The same with the gate's decision.
    #[must_use]
    pub fn with_decision(mut self, decision: Value) -> Self {
        self.decision = Some(Box::new(decision));
        self
    }

    /// The same with the deployment that it is about.
    #[must_use]
    pub fn with_deployment(mut self, deployment: Value) -> Self {
        self.deployment = Some(Box::new(deployment));
        self
    }

    /// The same with the page, by its path, on which people see why.
    #[must_use]
    pub fn with_page(mut self, path: impl Display) -> Self {
        self.page = Some(path.to_string().into());
        self
    }

    /// The same, where what was given is probably meant otherwise.
    #[must_use]
    pub fn probably(mut self, given_and_meant: (String, String)) -> Self {
        self.meant = Some(Box::new(given_and_meant));
        self
    }

    /// What was given, and what is probably meant by it.
    pub fn meant(&self) -> Option<(&str, &str)> {
        self.meant.as_deref().map(|(given, meant)| (given.as_str(), meant.as_str()))
    }

    /// What kind of problem it is.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What happened, for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The faulty fields.
    pub fn field_errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// The response that says it.
    pub fn render(&self, context: &Context) -> Response {
        let body = Body {
            kind: format!("{}/problems/{}", context.public_url.trim_end_matches('/'), self.code.slug()),
            title: self.code.title().to_owned(),
            status: self.code.status().as_u16(),
            detail: self.detail.clone(),
            instance: context.instance.clone(),
            request_id: context.request_id.clone(),
            errors: self.errors.clone(),
            decision: self.decision.as_deref().cloned(),
            deployment: self.deployment.as_deref().cloned(),
            web_url: self.page.as_ref().and_then(|path| context.pages.url(path)),
        };
        let mut response = Response::builder()
            .status(self.code.status())
            .content_type(CONTENT_TYPE)
            .body(body.to_json_string());
        self.set_headers(response.headers_mut());
        response
    }

    /// What a document says of the answer with such a problem.
    pub fn response(code: Code) -> MetaResponse {
        MetaResponse {
            description: code.title(),
            status: Some(code.status().as_u16()),
            status_range: None,
            content: vec![MetaMediaType { content_type: CONTENT_TYPE, schema: Body::schema_ref() }],
            headers: Vec::new(),
        }
    }

    fn set_headers(&self, headers: &mut HeaderMap) {
        if self.code.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let default = (self.code == Code::Unavailable).then_some(RETRY_UNAVAILABLE_SECONDS);
        if let Some(seconds) = self.retry_after_seconds.or(default) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow.as_deref().and_then(|methods| HeaderValue::from_str(methods).ok()) {
            headers.insert(header::ALLOW, allow);
        }
    }
}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        self.code.status()
    }

    fn as_response(&self) -> Response {
        self.render(&Context::default())
    }
}

/// An operation that may fail lists nothing of it: whoever writes the document knows which statuses it can answer with.
impl ApiResponse for Problem {
    fn meta() -> MetaResponses {
        MetaResponses { responses: Vec::new() }
    }

    fn register(registry: &mut Registry) {
        Body::register(registry);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[tokio::test]
    async fn a_rendered_problem_has_the_members_of_the_standard_and_ours() {
        let context = Context {
            public_url: "https://waybill.example/".into(),
            pages: Pages::at("https://waybill.example/".parse().ok().as_ref()),
            instance: Some("/api/v1/deployments".into()),
            request_id: Some("abc".into()),
        };
        let response = Problem::new(Code::GateDenied, "Frozen.")
            .errors(vec![FieldError::new("/version", "required", "It is missing.")])
            .retry_after(Duration::from_millis(1_200))
            .with_decision(serde_json::json!({"allowed": false}))
            .with_page("/decisions/7")
            .render(&context);

        assert_eq!(response.status(), StatusCode::CONFLICT);
        assert_eq!(response.content_type(), Some(CONTENT_TYPE));
        assert_eq!(response.header("retry-after"), Some("2"));
        let body: Value = response.into_body().into_json().await.unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "type": "https://waybill.example/problems/gate-denied",
                "title": "Denied by the gate",
                "status": 409,
                "detail": "Frozen.",
                "instance": "/api/v1/deployments",
                "request_id": "abc",
                "errors": [{"pointer": "/version", "code": "required", "detail": "It is missing."}],
                "decision": {"allowed": false},
                "web_url": "https://waybill.example/decisions/7",
            })
        );
    }

    #[tokio::test]
    async fn absent_members_are_left_out() {
        let response = Problem::new(Code::Unauthenticated, "No token.")
            .with_page("/nowhere")
            .render(&Context::default());
        assert_eq!(response.header("www-authenticate"), Some("Bearer"));
        let body: Value = response.into_body().into_json().await.unwrap();
        let members: HashSet<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, HashSet::from(["type", "title", "status", "detail"]));
    }
}
