//! The OpenAPI document as the HTTP shell reads it: which methods a path has, what each operation is called
//! and what its body must look like. The document is the only source, so that the two cannot drift apart.

use std::sync::Arc;

use poem::{Request, http::Method};
use serde_json::{Map, Value};

/// One method of one path.
#[derive(Debug, Clone)]
pub struct Operation {
    /// The operation's id; it is what logs and metrics call it.
    pub id: String,
    method: Method,
    parameters: Vec<(String, String)>,
    path_parameters: Vec<String>,
    body: Option<Value>,
}

impl Operation {
    /// Where the parameter with this name is: `path`, `query` or `header`.
    pub fn location_of(&self, parameter: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(parameter));
        found.map(|(_, location)| location.as_str())
    }

    /// The name of a path parameter that the framework numbers by its place in the template, as `param0`.
    pub fn path_parameter(&self, numbered: &str) -> Option<&str> {
        let place: usize = numbered.strip_prefix("param")?.parse().ok()?;
        self.path_parameters.get(place).map(String::as_str)
    }

    /// The schema of the JSON body.
    pub fn body(&self) -> Option<&Value> {
        self.body.as_ref()
    }
}

/// One path template with its operations.
#[derive(Debug, Clone)]
pub struct PathEntry {
    segments: Vec<String>,
    operations: Vec<Arc<Operation>>,
}

impl PathEntry {
    /// The operation for this method; HEAD is answered as GET.
    pub fn operation(&self, method: &Method) -> Option<&Arc<Operation>> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        self.operations.iter().find(|operation| operation.method == *method)
    }

    /// The value of the `Allow` header.
    pub fn allow(&self) -> String {
        let mut methods: Vec<&str> =
            self.operations.iter().map(|operation| operation.method.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.push("OPTIONS");
        methods.sort_unstable();
        methods.join(", ")
    }

    fn matches(&self, path: &[&str]) -> bool {
        let fits = |(template, segment): (&String, &&str)| {
            (is_parameter(template) && !segment.is_empty()) || template == segment
        };
        self.segments.len() == path.len() && self.segments.iter().zip(path).all(fits)
    }
}

fn is_parameter(segment: &str) -> bool {
    segment.starts_with('{')
}

fn segments(path: &str) -> Vec<&str> {
    path.trim_start_matches('/').split('/').collect()
}

/// The paths that the server knows.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    paths: Vec<Arc<PathEntry>>,
    schemas: Map<String, Value>,
}

impl Spec {
    /// Reads an OpenAPI document whose paths are served below `prefix`.
    pub fn parse(prefix: &str, document: &[u8]) -> Result<Self, serde_json::Error> {
        let mut document: Value = serde_json::from_slice(document)?;
        forget_texts(&mut document);
        let schemas = match document.pointer_mut("/components/schemas").map(Value::take) {
            Some(Value::Object(schemas)) => schemas,
            _ => Map::new(),
        };
        let mut spec = Self { paths: Vec::new(), schemas };
        for (template, item) in document.get("paths").and_then(Value::as_object).into_iter().flatten() {
            let names = segments(template).into_iter().filter(|segment| is_parameter(segment));
            let names: Vec<_> = names.map(|name| name.trim_matches(['{', '}']).to_owned()).collect();
            let methods = item.as_object().into_iter().flatten();
            let operations = methods
                .filter_map(|(method, item)| operation(method, item, names.clone()).map(Arc::new))
                .collect();
            spec.add(&format!("{prefix}{template}"), operations);
        }
        Ok(spec)
    }

    /// Adds a path outside the document that is only read.
    pub fn add_get(&mut self, template: &str, id: &str) {
        let operation = Operation {
            id: id.to_owned(),
            method: Method::GET,
            parameters: Vec::new(),
            path_parameters: Vec::new(),
            body: None,
        };
        self.add(template, vec![Arc::new(operation)]);
    }

    fn add(&mut self, template: &str, operations: Vec<Arc<Operation>>) {
        let segments: Vec<String> = segments(template).into_iter().map(str::to_owned).collect();
        self.paths.push(Arc::new(PathEntry { segments, operations }));
        // As in the router, a literal segment wins over a parameter.
        let shape =
            |entry: &Arc<PathEntry>| entry.segments.iter().map(|s| is_parameter(s)).collect::<Vec<_>>();
        self.paths.sort_by_cached_key(shape);
    }

    /// The entry for a concrete path.
    pub fn find(&self, path: &str) -> Option<&Arc<PathEntry>> {
        let path = segments(path);
        self.paths.iter().find(|entry| entry.matches(&path))
    }

    /// The schema that a `$ref` points to.
    pub fn schema(&self, reference: &str) -> Option<&Value> {
        self.schemas.get(reference.strip_prefix("#/components/schemas/")?)
    }
}

/// What a request asks for: looked up once, when it comes in, and carried in its data.
#[derive(Debug, Clone)]
pub struct Matched {
    /// All that the server knows.
    pub spec: Arc<Spec>,
    /// The path, if there is such a one.
    pub path: Option<Arc<PathEntry>>,
    /// The operation, if the path has the method.
    pub operation: Option<Arc<Operation>>,
}

impl Matched {
    /// Looks up what this request asks for.
    pub fn new(spec: Arc<Spec>, request: &Request) -> Self {
        let path = spec.find(request.uri().path()).cloned();
        let operation = path.as_ref().and_then(|path| path.operation(request.method())).cloned();
        Self { spec, path, operation }
    }

    /// The id of the operation that this request calls, if any.
    pub fn id(request: &Request) -> Option<&str> {
        request.data::<Self>()?.operation.as_deref().map(|operation| operation.id.as_str())
    }
}

/// Removes what is there for people: it would be most of what is kept in memory.
fn forget_texts(value: &mut Value) {
    match value {
        Value::Object(members) => {
            // A property may have these names too; its value is a schema.
            members.retain(|name, value| !(name == "description" && value.is_string()));
            members.values_mut().for_each(forget_texts);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_texts),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn operation(method: &str, item: &Value, path_parameters: Vec<String>) -> Option<Operation> {
    let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).ok()?;
    let text = |value: &Value, key| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let parameters = item.get("parameters").and_then(Value::as_array).into_iter().flatten();
    let content = item.pointer("/requestBody/content").and_then(Value::as_object);
    Some(Operation {
        id: text(item, "operationId").unwrap_or_else(|| "unnamed".to_owned()),
        method,
        parameters: parameters
            .filter_map(|parameter| Some((text(parameter, "name")?, text(parameter, "in")?)))
            .collect(),
        path_parameters,
        body: content.and_then(|content| content.values().next()?.get("schema").cloned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        let document = serde_json::json!({"paths": {
            "/deployments/{id}": {"get": {"operationId": "get_deployment"}},
            "/deployments/record": {"post": {"operationId": "record_deployment"}},
        }});
        Spec::parse("/api/v1", document.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_literal_segment_wins_over_a_parameter() {
        let spec = spec();
        let entry = spec.find("/api/v1/deployments/record").unwrap();
        assert_eq!(entry.allow(), "OPTIONS, POST");
        assert_eq!(entry.operation(&Method::POST).unwrap().id, "record_deployment");
        assert!(entry.operation(&Method::GET).is_none());
    }

    #[test]
    fn texts_are_forgotten_and_a_property_of_that_name_is_not() {
        let document = serde_json::json!({"components": {"schemas": {"Release": {
            "description": "What was built.",
            "properties": {"description": {"type": "string", "description": "What is in it."}},
        }}}});
        let spec = Spec::parse("/api/v1", document.to_string().as_bytes()).unwrap();
        let kept = serde_json::json!({"properties": {"description": {"type": "string"}}});
        assert_eq!(spec.schema("#/components/schemas/Release"), Some(&kept));
    }

    #[test]
    fn head_is_get() {
        let spec = spec();
        let entry = spec.find("/api/v1/deployments/1").unwrap();
        assert_eq!(entry.operation(&Method::HEAD).unwrap().id, "get_deployment");
        assert_eq!(entry.allow(), "GET, HEAD, OPTIONS");
        assert_eq!(entry.operation(&Method::GET).unwrap().path_parameter("param0"), Some("id"));
    }

    #[test]
    fn other_paths_are_unknown() {
        let spec = spec();
        for path in ["/", "/api/v1/deployments", "/api/v1/deployments/", "/api/v1/deployments/1/2"] {
            assert!(spec.find(path).is_none(), "{path}");
        }
    }
}
