//! The OpenAPI document as the HTTP shell reads it: which methods a path has, what each operation is called
//! and what its body must look like. The document is the only source, so that the two cannot drift apart.

use std::{collections::BTreeMap, sync::Arc};

use poem::{Request, http::Method};
use serde::Deserialize;
use serde_json::Value;

/// One method of one path.
#[derive(Debug, Clone)]
pub struct Operation {
    /// The operation's id; it is what logs and metrics call it.
    pub id: String,
    method: Method,
    /// The names of its parameters, each with where it is; none where the document does not describe it.
    parameters: Option<Vec<(String, String)>>,
    path_parameters: Vec<String>,
    body: Option<Schema>,
}

impl Operation {
    /// Where the parameter with this name is: `path`, `query` or `header`.
    pub fn location_of(&self, parameter: &str) -> Option<&str> {
        let found = self.parameters.iter().flatten().find(|(name, _)| name.eq_ignore_ascii_case(parameter));
        found.map(|(_, location)| location.as_str())
    }

    /// The names of its query parameters; none where the document does not describe it.
    pub fn query_parameters(&self) -> Option<impl Iterator<Item = &str>> {
        let in_query = self.parameters.as_ref()?.iter().filter(|(_, location)| location == "query");
        Some(in_query.map(|(name, _)| name.as_str()))
    }

    /// The name of a path parameter that the framework numbers by its place in the template, as `param0`.
    pub fn path_parameter(&self, numbered: &str) -> Option<&str> {
        let place: usize = numbered.strip_prefix("param")?.parse().ok()?;
        self.path_parameters.get(place).map(String::as_str)
    }

    /// The schema of the JSON body.
    pub fn body(&self) -> Option<&Schema> {
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

/// What a reference to a component begins with.
const COMPONENTS: &str = "#/components/schemas/";

/// What of a schema says whether a body has the right shape. The rest, texts above all, is not kept.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Schema {
    /// The schema that stands in this one's place, as `#/components/schemas/Name`.
    #[serde(rename = "$ref")]
    pub reference: Option<String>,
    /// `object`, `array`, `string`, `integer`, `number` or `boolean`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// What a text must be, as `uuid`.
    pub format: Option<String>,
    /// The only values.
    #[serde(rename = "enum")]
    pub choices: Vec<Value>,
    /// Schemas that hold as well.
    pub all_of: Vec<Schema>,
    /// Members that an object must have.
    pub required: Vec<String>,
    /// Members that an object must have in some cases only, which a document has no words for.
    #[serde(skip)]
    pub unless: Vec<Unless>,
    /// Members that an object may have.
    pub properties: BTreeMap<String, Schema>,
    /// What all other members are.
    pub additional_properties: Option<Box<Schema>>,
    /// What the members of a list are.
    pub items: Option<Box<Schema>>,
    /// How many members a list may have.
    pub max_items: Option<usize>,
    /// The least number.
    pub minimum: Option<f64>,
    /// The greatest number.
    pub maximum: Option<f64>,
}

/// A member that an object must have unless another one has this value.
#[derive(Debug, Clone, Copy)]
pub struct Unless {
    /// The component that the object is.
    pub component: &'static str,
    /// The member.
    pub member: &'static str,
    /// The other one, and its value.
    pub other: (&'static str, &'static str),
    /// What to say where it is missing.
    pub detail: &'static str,
}

impl Schema {
    /// The name of the component that stands in this one's place.
    fn component(&self) -> Option<&str> {
        self.reference.as_deref()?.strip_prefix(COMPONENTS)
    }

    fn parts(&self) -> impl Iterator<Item = &Self> {
        let boxed = [&self.additional_properties, &self.items].into_iter().flatten();
        self.all_of.iter().chain(self.properties.values()).chain(boxed.map(AsRef::as_ref))
    }
}

/// The OpenAPI document as far as it is kept.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    paths: BTreeMap<String, BTreeMap<String, Described>>,
    #[serde(default)]
    components: Components,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Components {
    schemas: BTreeMap<String, Schema>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    operation_id: String,
    #[serde(default)]
    parameters: Vec<Parameter>,
    request_body: Option<RequestBody>,
}

#[derive(Deserialize)]
struct Parameter {
    name: String,
    r#in: String,
}

#[derive(Deserialize)]
struct RequestBody {
    content: BTreeMap<String, Media>,
}

#[derive(Deserialize)]
struct Media {
    schema: Schema,
}

/// The paths that the server knows.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    paths: Vec<Arc<PathEntry>>,
    schemas: BTreeMap<String, Schema>,
}

impl Spec {
    /// Reads an OpenAPI document whose paths are served below `prefix`.
    pub fn parse(prefix: &str, document: &[u8]) -> Result<Self, serde_json::Error> {
        let Document { paths, mut components } = serde_json::from_slice(document)?;
        let mut spec = Self::default();
        for (template, methods) in paths {
            let names = segments(&template).into_iter().filter(|segment| is_parameter(segment));
            let names: Vec<_> = names.map(|name| name.trim_matches(['{', '}']).to_owned()).collect();
            let operations: Vec<_> = methods
                .into_iter()
                .filter_map(|(method, described)| operation(&method, described, names.clone()))
                .collect();
            for body in operations.iter().filter_map(Operation::body) {
                spec.keep(body, &mut components.schemas);
            }
            spec.add(&format!("{prefix}{template}"), operations);
        }
        Ok(spec)
    }

    /// Keeps the components that a request body is made of: most of the document is about answers.
    fn keep(&mut self, schema: &Schema, components: &mut BTreeMap<String, Schema>) {
        if let Some((name, component)) = schema.component().and_then(|name| components.remove_entry(name)) {
            self.keep(&component, components);
            self.schemas.insert(name, component);
        }
        for part in schema.parts() {
            self.keep(part, components);
        }
    }

    /// Adds what the document does not say.
    pub fn require(&mut self, unless: Unless) {
        if let Some(schema) = self.schemas.get_mut(unless.component) {
            schema.unless.push(unless);
        }
    }

    /// Adds a path outside the document that is only read.
    pub fn add_get(&mut self, template: &str, id: &str) {
        self.add_page(template, id, &[Method::GET]);
    }

    /// Adds a page, which takes these methods.
    pub fn add_page(&mut self, template: &str, id: &str, methods: &[Method]) {
        let operations: Vec<_> = methods.iter().map(|method| (method.clone(), id)).collect();
        self.add_pages(template, &operations);
    }

    /// Adds a page, with what each of its methods is called.
    pub fn add_pages(&mut self, template: &str, operations: &[(Method, &str)]) {
        let operation = |(method, id): &(Method, &str)| Operation {
            id: (*id).to_owned(),
            method: method.clone(),
            parameters: None,
            path_parameters: Vec::new(),
            body: None,
        };
        self.add(template, operations.iter().map(operation).collect());
    }

    fn add(&mut self, template: &str, operations: Vec<Operation>) {
        let operations = operations.into_iter().map(Arc::new).collect();
        let segments: Vec<String> = segments(template).into_iter().map(str::to_owned).collect();
        self.paths.push(Arc::new(PathEntry { segments, operations }));
        // As in the router, a literal segment wins over a parameter.
        let shape =
            |entry: &Arc<PathEntry>| entry.segments.iter().map(|s| is_parameter(s)).collect::<Vec<_>>();
        self.paths.sort_by_cached_key(shape);
    }

    /// Every path that there is, as a template, with the methods that it takes.
    pub fn templates(&self) -> impl Iterator<Item = (String, Vec<&Method>)> {
        self.paths.iter().map(|entry| {
            let methods = entry.operations.iter().map(|operation| &operation.method);
            (format!("/{}", entry.segments.join("/")), methods.collect())
        })
    }

    /// The entry for a concrete path.
    pub fn find(&self, path: &str) -> Option<&Arc<PathEntry>> {
        let path = segments(path);
        self.paths.iter().find(|entry| entry.matches(&path))
    }

    /// A schema that stands for this component of the document.
    pub fn component(&self, name: &str) -> Schema {
        Schema { reference: Some(format!("{COMPONENTS}{name}")), ..Schema::default() }
    }

    /// The schema that this one stands for, if it only names one.
    pub fn target(&self, schema: &Schema) -> Option<&Schema> {
        self.schemas.get(schema.component()?)
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

fn operation(method: &str, described: Described, path_parameters: Vec<String>) -> Option<Operation> {
    let content = described.request_body.map(|body| body.content);
    Some(Operation {
        id: described.operation_id,
        method: Method::from_bytes(method.to_ascii_uppercase().as_bytes()).ok()?,
        parameters: Some(described.parameters.into_iter().map(|p| (p.name, p.r#in)).collect()),
        path_parameters,
        body: content.and_then(|content| content.into_values().next()).map(|media| media.schema),
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
    fn what_no_body_is_made_of_is_not_kept() {
        let reference = |name: &str| serde_json::json!({"$ref": format!("#/components/schemas/{name}")});
        let document = serde_json::json!({
            "paths": {"/releases": {"post": {
                "operationId": "create_release",
                "requestBody": {"content": {"application/json": {"schema": reference("Release")}}},
            }}},
            "components": {"schemas": {
                "Release": {"type": "object", "properties": {"parts": {"items": reference("Release")}}},
                "Answer": {"type": "object"},
            }},
        });
        let spec = Spec::parse("", document.to_string().as_bytes()).unwrap();
        let entry = spec.find("/releases").unwrap();
        let body = entry.operation(&Method::POST).unwrap().body().unwrap();
        assert!(spec.target(body).unwrap().properties.contains_key("parts"));
        assert_eq!(spec.schemas.len(), 1);
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
