//! What the shell answers, without a socket: every error is a problem, and the pages around the API work.

use poem::{
    Endpoint, Response,
    http::{Method, StatusCode},
    test::{TestClient, TestRequestBuilder, TestResponse},
};
use serde_json::{Value, json};

use super::toy;

fn client() -> TestClient<impl Endpoint<Output = Response>> {
    client_of(toy::app(toy::shell(true)))
}

/// A client that sends what every client must.
fn client_of<E: Endpoint<Output = Response>>(endpoint: E) -> TestClient<E> {
    TestClient::new(endpoint).default_header("host", "waybill.test")
}

async fn problem(response: TestResponse, status: u16, slug: &str) -> Value {
    assert_eq!(response.0.content_type(), Some("application/problem+json"));
    assert_eq!(response.0.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(response.0.header("cache-control"), Some("no-store"));
    assert_eq!(response.0.status(), status);
    let id = response.0.header("x-request-id").unwrap().to_owned();
    let body: Value = response.0.into_body().into_json().await.unwrap();
    assert_eq!(body["type"], format!("https://waybill.example/problems/{slug}"));
    assert_eq!(body["status"], status);
    assert_eq!(body["request_id"], id);
    assert!(!body["title"].as_str().unwrap().is_empty());
    let text = body.to_string();
    for word in ["Thing", "string_", "integer_", "hunter2", "parse"] {
        assert!(!text.contains(word), "{word} in {text}");
    }
    body
}

/// The pointer and code of each error, in order.
fn faults(problem: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let errors = problem["errors"].as_array().unwrap();
    let mut found: Vec<_> =
        errors.iter().map(|error| (text(&error["pointer"]), text(&error["code"]))).collect();
    found.sort();
    found
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(pointer, code)| ((*pointer).to_owned(), (*code).to_owned())).collect()
}

fn post<E: Endpoint>(client: &TestClient<E>, body: impl Into<String>) -> TestRequestBuilder<'_, E> {
    client.post("/api/v1/things").content_type("application/json").body(body.into())
}

#[tokio::test]
async fn malformed_json_is_an_invalid_request() {
    for body in ["{\"name\":", "[1,]", "nonsense", ""] {
        let answer = problem(post(&client(), body).send().await, 400, "invalid-request").await;
        assert_eq!(answer["instance"], "/api/v1/things");
    }
}

#[tokio::test]
async fn wrong_fields_are_named_all_at_once() {
    let cases = [
        (json!({"name": [], "size": 1}), vec![("/name", "type")]),
        (json!({"name": "a"}), vec![("/size", "required")]),
        (json!({"name": "a", "size": 1, "colour": 2}), vec![("/colour", "unknown")]),
        (json!({"name": "a", "size": "x", "kind": "y"}), vec![("/kind", "enum"), ("/size", "type")]),
        (json!({"name": "a", "size": 1, "release": {"id": "x"}}), vec![("/release/id", "format")]),
        (json!({"name": "a", "size": 1, "release": {}}), vec![("/release/id", "required")]),
        (json!([]), vec![("", "type")]),
        (json!(null), vec![("", "type")]),
    ];
    let client = client();
    for (body, expected) in cases {
        let answer = problem(post(&client, body.to_string()).send().await, 422, "invalid-input").await;
        assert_eq!(faults(&answer), pairs(&expected), "{body}");
    }
    post(&client, r#"{"name": "a", "size": 3}"#).send().await.assert_text("3").await;
}

#[tokio::test]
async fn a_wrong_parameter_is_named() {
    let client = client();
    let answer = problem(client.get("/api/v1/things/x").send().await, 400, "invalid-request").await;
    assert_eq!(faults(&answer), pairs(&[("/path/id", "invalid")]));
    let path = "/api/v1/things/01890a5d-ac96-774b-bcce-b302099a8057?limit=many";
    let answer = problem(client.get(path).send().await, 400, "invalid-request").await;
    assert_eq!(faults(&answer), pairs(&[("/query/limit", "invalid")]));
    assert_eq!(answer["instance"], "/api/v1/things/01890a5d-ac96-774b-bcce-b302099a8057");
}

#[tokio::test]
async fn an_operations_own_problem_is_completed() {
    let path = "/api/v1/things/00000000-0000-0000-0000-000000000000";
    let answer = problem(client().get(path).send().await, 404, "not-found").await;
    assert_eq!(answer["detail"], "There is no such thing.");
    assert_eq!(answer["instance"], path);
}

#[tokio::test]
async fn unknown_paths_are_not_found() {
    for path in ["/nothing", "/api/v1/nothing", "/api/v2", "/problems/nothing", "/docs/nothing"] {
        problem(client().get(path).send().await, 404, "not-found").await;
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let client = client();
    for (method, path, allow) in [
        (Method::GET, "/api/v1/things", "OPTIONS, POST"),
        (Method::HEAD, "/api/v1/things", "OPTIONS, POST"),
        (Method::DELETE, "/api/v1/slow", "GET, HEAD, OPTIONS"),
        (Method::POST, "/livez", "GET, HEAD, OPTIONS"),
    ] {
        let response = client.request(method, path).send().await;
        response.assert_header("allow", allow);
        problem(response, 405, "method-not-allowed").await;
        let options = client.request(Method::OPTIONS, path).send().await;
        options.assert_status(StatusCode::NO_CONTENT);
        options.assert_header("allow", allow);
    }
    client.request(Method::HEAD, "/livez").send().await.assert_status_is_ok();
}

#[tokio::test]
async fn another_media_type_is_refused() {
    let client = client();
    let request = client.post("/api/v1/things").content_type("text/plain").body("{}");
    problem(request.send().await, 415, "unsupported-media-type").await;
    problem(client.post("/api/v1/things").body("{}").send().await, 415, "unsupported-media-type").await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_and_without_its_length() {
    let (client, body) = (client(), format!("\"{}\"", "x".repeat(300)));
    let declared = post(&client, body.clone()).header("content-length", body.len());
    problem(declared.send().await, 413, "payload-too-large").await;
    problem(post(&client, body).send().await, 413, "payload-too-large").await;
}

#[tokio::test]
async fn without_a_token_one_is_not_authenticated() {
    let response = client().get("/api/v1/secret").send().await;
    response.assert_header("www-authenticate", "Bearer");
    problem(response, 401, "unauthenticated").await;
    let response = client().get("/api/v1/secret").header("authorization", "Bearer abc").send().await;
    response.assert_text("abc").await;
}

#[tokio::test]
async fn faults_of_the_server_tell_nothing() {
    for path in ["/api/v1/panic", "/api/v1/broken"] {
        problem(client().get(path).send().await, 500, "internal").await;
    }
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let response = client().get("/api/v1/slow?millis=5000").send().await;
    response.assert_header("retry-after", "1");
    problem(response, 503, "unavailable").await;
}

#[tokio::test]
async fn a_request_id_is_kept_if_it_is_plain() {
    let client = client();
    let sent = client.get("/livez").header("x-request-id", "run-7.a_b").send().await;
    sent.assert_header("x-request-id", "run-7.a_b");
    let sent = client.get("/livez").header("x-request-id", "a b").send().await;
    let made = sent.0.header("x-request-id").unwrap();
    assert_eq!(made.parse::<uuid::Uuid>().unwrap().get_version_num(), 7);
}

#[tokio::test]
async fn requests_are_counted_by_operation_even_when_they_fail() {
    let client = client();
    for path in ["/api/v1/panic", "/api/v1/slow?millis=5000", "/api/v1/slow?millis=1", "/no/such/path"] {
        client.get(path).send().await;
    }
    let text = client.get("/metrics").send().await.0.into_body().into_string().await.unwrap();
    for (operation, status) in [("panic", 500), ("slow", 503), ("slow", 200), ("unmatched", 404)] {
        let line = format!(
            r#"waybill_http_requests_total{{method="GET",operation="{operation}",status="{status}"}} 1"#
        );
        assert!(text.contains(&line), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn readiness_follows_the_checks_and_the_shutdown() {
    let down = client_of(toy::app(toy::shell(false)));
    let response = down.get("/readyz").send().await;
    response.assert_status(StatusCode::SERVICE_UNAVAILABLE);
    let expected = json!({"status": "unavailable", "checks": {
        "database": {"status": "unavailable", "detail": "It is out of reach."},
    }});
    response.assert_json(expected).await;
    down.get("/livez").send().await.assert_status_is_ok();

    let shell = toy::shell(true);
    let up = client_of(toy::app(shell.clone()));
    let response = up.get("/readyz").send().await;
    response.assert_json(json!({"status": "ok", "checks": {"database": {"status": "ok"}}})).await;
    shell.shutdown.begin(std::time::Duration::ZERO).await;
    up.get("/readyz").send().await.assert_status(StatusCode::SERVICE_UNAVAILABLE);
    up.get("/livez").send().await.assert_status_is_ok();
}

#[tokio::test]
async fn health_and_version_name_the_build() {
    for path in ["/health", "/version"] {
        let body: Value = client().get(path).send().await.0.into_body().into_json().await.unwrap();
        assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));
        assert!(body["commit"].is_string());
    }
}

#[tokio::test]
async fn the_document_and_its_page_are_served() {
    let client = client();
    let document: Value =
        client.get("/api/v1/openapi.json").send().await.0.into_body().into_json().await.unwrap();
    assert_eq!(document["paths"]["/things/{id}"]["get"]["operationId"], "get_thing");

    let page = client.get("/docs").send().await;
    let policy = page.0.header("content-security-policy").unwrap().to_owned();
    assert_eq!(policy.matches("'sha256-").count(), 2, "{policy}");
    let etag = page.0.header("etag").unwrap().to_owned();
    let html = page.0.into_body().into_string().await.unwrap();
    for part in ["create_thing", "<title>Waybill API</title>", "<meta name=\"viewport\""] {
        assert!(html.contains(part), "{part}");
    }
    let again = client.get("/docs").header("if-none-match", etag).send().await;
    again.assert_status(StatusCode::NOT_MODIFIED);
    let icon = client.get("/favicon.ico").send().await;
    icon.assert_status_is_ok();
    icon.assert_content_type("image/svg+xml");
}

#[tokio::test]
async fn the_type_of_a_problem_leads_to_its_page() {
    let page = client().get("/problems/gate-denied").send().await;
    page.assert_content_type("text/html; charset=utf-8");
    assert!(page.0.header("content-security-policy").unwrap().contains("style-src 'sha256-"));
}

#[tokio::test]
async fn metrics_can_move_to_a_listener_of_their_own() {
    let mut shell = toy::shell(true);
    shell.serve_metrics = false;
    let alone = client_of(waybill::http::routes::metrics_routes(&shell));
    alone.get("/metrics").send().await.assert_status_is_ok();
    alone.get("/livez").send().await.assert_status(StatusCode::NOT_FOUND);
    let main = client_of(toy::app(shell));
    main.get("/metrics").send().await.assert_status(StatusCode::NOT_FOUND);
}
